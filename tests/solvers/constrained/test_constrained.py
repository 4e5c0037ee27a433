"""Steps within sets of moments: from the definition, exact answers, programs, refusals."""

import itertools

import cvxpy as cp
import numpy as np
import pytest
from generators import measures

import jko
from jko.energies.moment import constraints_of
from jko.prox import ProxProblem

GAUSS = jko.kernels.Gaussian(0.8)
TAU = 0.7


def first(x):
    return x[:, 0]


def square(x):
    return (x**2).sum(axis=1)


def pair(n=23):
    mu = measures.histogram(n, seed=1, mass=2.0)
    return mu, measures.sibling(mu, seed=2, mass=2.0)


def solve(objective, w, rows):
    problem = cp.Problem(cp.Minimize(objective), [w >= 0, *rows])
    problem.solve(solver="CLARABEL", tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    return problem


def penalties(mu, pi):
    """Energy and penalty of three steps as expressions of CVXPY: shares no code with solvers."""
    s, root = (
        np.sqrt(mu.weights),
        np.linalg.cholesky(
            np.exp(-((mu.points[:, None] - mu.points[None]) ** 2).sum(-1) / (2 * 0.8**2))
            + 1e-13 * np.eye(mu.n)
        ),
    )

    def hellinger(w):
        t = cp.Variable(mu.n)
        kl = cp.sum(cp.kl_div(w, pi.weights))
        cost = cp.sum(w) + s @ s - 2 * s @ t
        return kl + 4 * cost / (2 * TAU), [t <= cp.sqrt(w)]

    def mirror(w):
        chi = 0.5 * cp.sum_squares(cp.multiply(1 / np.sqrt(pi.weights), w - pi.weights))
        return chi + cp.sum(cp.kl_div(w, mu.weights)) / TAU, []

    def mmd(w):
        away = cp.sum_squares(root.T @ (w - pi.weights)) / 2
        return away + cp.sum_squares(root.T @ (w - mu.weights)) / (2 * TAU), []

    return {
        "hellinger": (jko.KL(pi), jko.Hellinger(mass="fixed"), hellinger),
        "mirror": (jko.PhiDivergence(pi, p=2), jko.Divergence(p=1), mirror),
        "mmd": (jko.MMDEnergy(pi, GAUSS), jko.MMD(GAUSS), mmd),
    }


@pytest.mark.parametrize("name", ["hellinger", "mirror", "mmd"])
@pytest.mark.parametrize("case", ["one", "two", "below", "between"])
def test_the_step_is_that_of_a_program_written_down_directly(name, case):
    mu, pi = pair()
    mu, pi = mu.with_weights(mu.weights + 0.01), pi.with_weights(pi.weights + 0.01)
    pi = pi.with_weights(pi.weights * (mu.mass / pi.mass))
    energy, geometry, expressed = penalties(mu, pi)[name]
    m, v = mu.expect(first), mu.expect(square)
    listed = {
        "one": [jko.Moment(first, m + 0.3)],
        "two": [jko.Moment(first, m + 0.2), jko.Moment(square, 1.1 * v)],
        "below": [jko.Moment(square, upper=0.8 * v)],
        "between": [jko.Moment(square, lower=1.2 * v, upper=1.3 * v), jko.Moment(first, upper=9.0)],
    }[case]
    found = jko.step(mu, energy, geometry, TAU, constraints=listed, tol=1e-8)
    w = cp.Variable(mu.n)
    objective, rows = expressed(w)
    for each in listed:
        values = each.values(mu)
        rows = [*rows, values @ w <= min(each.upper, 1e6), values @ w >= max(each.lower, -1e6)]
    program = solve(objective, w, [*rows, cp.sum(w) == mu.mass])
    assert found.objective == pytest.approx(program.value, rel=2e-7, abs=1e-9)
    assert found.gap <= 1e-7
    for each in listed:
        assert each.value(found.measure) == 0


def test_no_competitor_in_the_set_does_better():
    mu, pi = pair()
    moment = jko.Moment(square, upper=0.8 * mu.expect(square))
    energy, geometry = jko.KL(pi), jko.Hellinger()
    found = jko.step(mu, energy, geometry, TAU, constraints=[moment])
    plain = ProxProblem(energy, geometry, mu, TAU)
    rng, inside = np.random.default_rng(0), 0
    for _ in range(300):
        w = found.measure.weights * np.exp(rng.normal(size=mu.n) * 10.0 ** rng.uniform(-4, 0))
        rival = mu.with_weights(w)
        if moment.value(rival) == 0:
            inside += 1
            assert plain.objective(rival) >= found.objective - found.gap
    assert inside > 50


def test_multipliers_are_those_of_the_optimality_condition():
    mu, pi = pair()
    sets = [jko.Moment(first, 0.1), jko.Moment(square, upper=0.9 * mu.expect(square))]
    found = jko.step(mu, jko.KL(pi), jko.Hellinger(mass="fixed"), TAU, constraints=sets, tol=1e-10)
    w, y = found.measure.weights, found.info["multipliers"]
    on = (w > 1e-12) & (mu.weights > 0)
    w, x = w[on], mu.points[on]
    force = np.log(w / pi.weights[on]) + (2 / TAU) * (1 - np.sqrt(mu.weights[on] / w))
    total = force + y[0] * first(x) + y[1] * square(x)
    assert np.ptp(total) <= 1e-4 * np.ptp(force)
    assert y[1] >= 0


def test_a_slack_constraint_changes_nothing():
    mu, pi = pair()
    free = jko.step(mu, jko.KL(pi), jko.Hellinger(), TAU)
    held = jko.step(
        mu, jko.KL(pi), jko.Hellinger(), TAU, constraints=jko.Moment(square, upper=99.0)
    )
    np.testing.assert_array_equal(held.measure.weights, free.measure.weights)
    assert held.info["multipliers"] == [0.0]


def test_constraints_are_energies():
    mu, pi = pair()
    moment = jko.Moment(first, 0.1)
    geometry = jko.Hellinger(mass="fixed")
    listed = jko.step(mu, jko.KL(pi), geometry, TAU, constraints=[moment])
    added = jko.step(mu, jko.KL(pi) + 3 * moment, geometry, TAU)
    np.testing.assert_array_equal(listed.measure.weights, added.measure.weights)
    assert constraints_of(jko.KL(pi) + moment) == (moment,)
    assert listed.energy == pytest.approx(jko.KL(pi).value(listed.measure))


def test_projection_on_a_set_alone():
    """No energy at all: KL projection is the exponential family (Csiszár 1975)."""
    mu, _ = pair()
    found = jko.step(mu, jko.Moment(first, 0.1), jko.Divergence(p=1), TAU, tol=1e-10)
    on = mu.weights > 0
    ratio = np.log(found.measure.weights[on] / mu.weights[on])
    x = first(mu.points[on])
    slope, level = np.polyfit(x, ratio, 1)
    np.testing.assert_allclose(ratio, slope * x + level, atol=1e-6)


def test_transport_with_a_mean_has_the_multiplier_of_the_gaussian():
    """W2 step of KL to N(1, 1/2) from N(0, 1/4), mean held at 0: m + tau(2 - y) = 0, y = 2."""
    grid = jko.Grid(-3.0, 3.0, 120)
    x = grid.points[:, 0]
    mu = jko.GridDensity.from_density(np.exp(-2 * x**2), grid, mass=1.0)
    pi = jko.GridDensity.from_density(np.exp(-((x - 1) ** 2)), grid, mass=1.0)
    held = jko.Moment(first, 0.0)
    found = jko.step(mu, jko.KL(pi), jko.Wasserstein(), 0.3, constraints=[held])
    assert found.info["multipliers"][0] == pytest.approx(2.0, abs=1e-4)
    exact = jko.step(jko.Gaussian([0.0], [[0.25]]), jko.KL(jko.Gaussian([0.0], [[0.5]])),
                     jko.Wasserstein(), 0.3)  # fmt: skip
    assert found.measure.cov[0, 0] == pytest.approx(exact.measure.cov[0, 0], rel=2e-3)
    assert found.claim is jko.Claim.REGULARISED


def test_gaussians_keep_means_and_covariances():
    """A linear tilt moves the mean alone: the covariance is that of the free step."""
    mu = jko.Gaussian([0.0, 0.0], np.eye(2))
    energy = jko.KL(jko.Gaussian([1.0, 1.0], 2 * np.eye(2)))
    free = jko.step(mu, energy, jko.Wasserstein(), 0.5).measure
    means = [jko.Moment(lambda x, i=i: x[:, i], v) for i, v in enumerate((0.1, -0.3))]
    found = jko.step(mu, energy, jko.Wasserstein(), 0.5, constraints=means)
    np.testing.assert_allclose(found.measure.mean, [0.1, -0.3], atol=1e-8)
    np.testing.assert_allclose(found.measure.cov, free.cov, atol=1e-7)
    small = jko.Moment(square, upper=1.5)
    found = jko.step(mu, energy, jko.Wasserstein(), 0.5, constraints=[small])
    nu = found.measure
    assert np.trace(nu.cov) + nu.mean @ nu.mean == pytest.approx(1.5, abs=1e-7)
    plain = ProxProblem(energy, jko.Wasserstein(), mu, 0.5)
    rng = np.random.default_rng(0)
    for size in (1e-3, 1e-2, 1e-1):
        for _ in range(30):
            root = np.linalg.cholesky(nu.cov) + size * np.tril(rng.normal(size=(2, 2)))
            mean = nu.mean + size * rng.normal(size=2)
            scale = np.sqrt(1.5 / ((root**2).sum() + mean @ mean))
            rival = jko.Gaussian(scale * mean, scale**2 * root @ root.T)
            assert plain.objective(rival) >= found.objective - 1e-7


def test_flows_stay_in_the_set_and_go_on(tmp_path):
    mu, pi = pair()
    cap = jko.Moment(square, upper=0.9 * mu.expect(square))
    path = tmp_path / "run.npz"
    geometry = jko.Hellinger(mass="fixed")
    sol = jko.flow(mu, jko.KL(pi), geometry, tau=0.3, steps=3, constraints=[cap], checkpoint=path)
    assert all(cap.value(m) == 0 for m in sol.measures[1:])
    assert np.isinf(sol.energies[0])
    sol.verify().raise_if_failed()
    more = jko.resume(path, jko.KL(pi) + cap, steps=1)
    assert len(more) == 5
    assert cap.value(more.final) == 0


def test_every_part_of_a_split_step_stays_in_the_set():
    mu, pi = pair()
    cap = jko.Moment(square, upper=0.9 * mu.expect(square))
    geometry, energy = jko.Wasserstein() + jko.Hellinger(mass="fixed"), jko.KL(pi)
    done = jko.split_step(mu, energy, geometry, 0.3, constraints=[cap])
    same = jko.split_step(mu, energy + cap, geometry, 0.3)
    assert np.array_equal(done.measure.weights, same.measure.weights)
    assert all(cap.value(part.measure) == 0 for part in done.substeps)
    assert jko.split_step(mu, energy, geometry, 0.3).measure.expect(square) > cap.upper


def test_contradictions_are_shown_by_a_combination():
    mu, pi = pair()
    m = mu.expect(square)
    wrong = [jko.Moment(square, upper=0.5 * m), jko.Moment(lambda x: square(x) + 1, lower=2 * m)]
    with pytest.raises(jko.InvalidArgument, match="contradict each other") as caught:
        jko.step(mu, jko.KL(pi), jko.Hellinger(mass="fixed"), TAU, constraints=wrong)
    assert "bounds allow at most" in str(caught.value)


@pytest.mark.parametrize("geometry", [jko.Hellinger(mass="fixed"), jko.MMD(GAUSS)], ids=repr)
def test_a_moment_out_of_reach_is_refused(geometry):
    mu, pi = pair()
    energy = jko.MMDEnergy(pi, GAUSS)
    top = 2.0 * first(mu.points).max()
    with pytest.raises(jko.InvalidArgument, match="cannot be met"):
        jko.step(mu, energy, geometry, TAU, constraints=[jko.Moment(first, 1.01 * top)])
    jko.step(mu, energy, geometry, TAU, constraints=[jko.Moment(first, 0.9 * top)])


def test_walls_and_ceilings_count_in_what_can_be_met():
    mu, _ = pair()
    low = jko.BoxConstraint(1.2 * mu.mass / mu.n)
    with pytest.raises(jko.InvalidArgument, match="cannot be met"):
        jko.step(
            mu.with_weights(np.full(mu.n, mu.mass / mu.n)), low, jko.Hellinger(mass="fixed"), TAU,
            constraints=[jko.Moment(first, 0.9 * 2.0 * first(mu.points).max())],
        )  # fmt: skip


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: jko.Moment(first), "needs a bound"),
        (lambda: jko.Moment(first, lower=1.0, upper=0.0), "the set is empty"),
        (lambda: jko.Moment(first, 1.0, upper=2.0), "value sets both bounds"),
        (lambda: jko.Moment(first, np.nan), "value"),
        (lambda: jko.Moment(first, 1.0, tol=0.0), "tol"),
    ],
)
def test_bad_sets_get_one_sentence(make, match):
    with pytest.raises(jko.JkoError, match=match) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_bad_lists_and_values_get_one_sentence():
    mu, pi = pair()
    step = lambda c, m=mu: jko.step(m, jko.KL(pi), jko.Hellinger(), TAU, constraints=c)
    for wrong in ("mean", 3, [first], [jko.KL(pi)]):
        with pytest.raises(jko.InvalidType, match="constraints"):
            step(wrong)
    with pytest.raises(jko.InvalidMeasure, match="f of a moment is inf"):
        step([jko.Moment(lambda x: np.full(len(x), np.inf), 1.0)])
    moving = measures.particles(9, seed=2)
    with pytest.raises(jko.Unsupported, match="Constrained"):
        jko.step(moving, jko.Potential(square, lambda x: 2 * x), jko.Wasserstein(), TAU,
                 constraints=[jko.Moment(first, 0.1)])  # fmt: skip


@pytest.mark.parametrize("geometry", [jko.Hellinger(mass="fixed"), jko.Divergence(p=1)])
def test_a_multiplier_that_does_not_bind_stays_at_zero(geometry):
    """One bound binds, one nearly: the curvature between them moved the second one off 0."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(15, 2))
    mu, pi = (jko.Histogram(points, rng.dirichlet(np.ones(15))) for _ in range(2))
    x = points[:, 0]
    sets = [jko.Moment(x, lower=0.1), jko.Moment(x**2, upper=0.9)]
    res = jko.step(mu, jko.KL(pi), geometry, 0.3, constraints=sets)
    alone = jko.step(mu, jko.KL(pi), geometry, 0.3, constraints=sets[:1])
    assert res.info["multipliers"][1] == 0
    assert res.objective == pytest.approx(alone.objective, rel=1e-5)


def test_every_order_of_constraints_gives_the_same_step():
    mu, pi = pair()
    sets = [jko.Moment(first, 0.1), jko.Moment(square, upper=0.9 * mu.expect(square))]
    found = [
        jko.step(mu, jko.KL(pi), jko.Hellinger(), TAU, constraints=list(order), tol=1e-10)
        for order in itertools.permutations(sets)
    ]
    np.testing.assert_allclose(found[0].measure.weights, found[1].measure.weights, atol=1e-6)
