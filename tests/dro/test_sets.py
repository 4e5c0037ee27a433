"""Order-1 transport, total variation, CVaR, Sinkhorn: linear programs, definitions, fits."""

import cvxpy as cp
import numpy as np
import pytest
from generators import measures
from scipy.optimize import linprog

import jko
from jko.dro import CVaR, RobustClassifier, RobustRegressor, Sinkhorn, TotalVariation, worst_case


def wave(x):
    return np.sin(3 * x[:, 0]) + x[:, 1]


def kinks(x):
    return np.maximum(np.maximum(x @ [1.0, -0.5], 0), 2 * (x @ [0.3, 1.0]) - 0.4)


LOSSES = {"wave": wave, "kinks": kinks, "logistic": lambda x: np.logaddexp(0, x @ [1.0, -2.0])}


def sample(n=40, mass=1.7):
    return measures.particles(n, seed=3, mass=mass)


def transport_program(mu, loss, cost, budget):
    """max sum P_ij l_j over plans from mu with <C, P> <= budget, as a linear program."""
    n = mu.n
    rows = np.kron(np.eye(n), np.ones(n))
    found = linprog(
        -np.tile(loss, n), cost.reshape(1, -1), [budget], rows, mu.weights, method="highs"
    )
    return -found.fun


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("p", [1.0, 1.5, 3.0])
def test_transport_of_any_order_is_a_linear_program(name, p):
    mu, radius = sample(), 0.3
    loss = LOSSES[name](mu.points)
    found = worst_case(LOSSES[name], mu, jko.Wasserstein(p=p), radius=radius)
    apart = np.sqrt(((mu.points[:, None] - mu.points[None]) ** 2).sum(-1))
    assert found.success
    assert found.value == pytest.approx(transport_program(mu, loss, apart**p, radius**p), rel=1e-8)
    assert jko.Wasserstein(p=p).distance(found.measure, mu) <= radius * (1 + 1e-7)


def test_transport_of_a_given_cost_is_a_linear_program():
    mu = measures.histogram(30, seed=2)
    cost = np.abs(mu.points[:, None] - mu.points[None]).sum(-1)
    found = worst_case(wave, mu, jko.Wasserstein(cost=cost), radius=0.4)
    wanted = transport_program(mu, wave(mu.points), cost, 0.4**2)
    assert found.value == pytest.approx(wanted, rel=1e-8)


@pytest.mark.parametrize("p", [1.5, 3.0])
def test_the_penalised_form_is_minus_a_step(p):
    mu, tau = measures.histogram(20, seed=2), 0.6
    found = worst_case(wave, mu, jko.Wasserstein(p=p), tau=tau)
    step = jko.step(mu, jko.Potential(lambda x: -wave(x)), jko.Wasserstein(p=p), tau)
    assert found.value == pytest.approx(-step.objective, rel=1e-8)


@pytest.mark.parametrize("name", LOSSES)
def test_total_variation_and_cvar_are_linear_programs(name):
    mu, radius, level = sample(), 0.3, 0.8
    loss, w, n = LOSSES[name](mu.points), mu.weights, mu.n
    eye, zero = np.eye(n), np.zeros(n)
    bounds = np.block([[eye, -eye], [-eye, -eye], [np.zeros((1, n)), 0.5 * np.ones((1, n))]])
    program = linprog(
        np.concatenate([-loss, zero]), bounds, np.concatenate([w, -w, [radius]]),
        np.concatenate([np.ones(n), zero])[None], [mu.mass], method="highs",
    )  # fmt: skip
    found = worst_case(LOSSES[name], mu, TotalVariation(), radius=radius)
    assert found.success
    assert found.value == pytest.approx(-program.fun, rel=1e-9)
    assert 0.5 * np.abs(found.measure.weights - w).sum() <= radius * (1 + 1e-12)
    tail = linprog(
        -loss, None, None, np.ones((1, n)), [mu.mass],
        bounds=[(0, m) for m in w / (1 - level)], method="highs",
    )  # fmt: skip
    found = worst_case(LOSSES[name], mu, CVaR(level))
    assert found.success
    assert found.value == pytest.approx(-tail.fun, rel=1e-9)
    assert (found.measure.weights <= w / (1 - level) * (1 + 1e-12)).all()


def entropic_cost(weights, mu, cost, reg):
    """min <C, P> + reg KL(P | mu x nu) by a dual ascent of its own, nu uniform."""
    live = weights > 0
    f, g = np.zeros(mu.n), np.zeros(mu.n)
    m = mu.weights > 0
    for _ in range(400):
        f = -reg * np.log(np.mean(np.exp((g[None] - cost) / reg), axis=1))
        plan = mu.weights[:, None] * np.exp((f[:, None] + g[None] - cost) / reg) / mu.n
        g = g + reg * np.where(live, np.log(weights / np.maximum(plan.sum(0), 1e-300)), 0.0)
    plan = mu.weights[:, None] * np.exp((f[:, None] + g[None] - cost) / reg) / mu.n
    ratio = np.log(np.maximum(plan[m], 1e-300) / (mu.weights[m][:, None] / mu.n))
    return float((plan * cost).sum() + reg * (plan[m] * ratio).sum())


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_sinkhorn_balls_hold_their_radius_and_no_rival_is_worse(p):
    mu, reg, radius = sample(25, mass=1.0), 0.3, 0.9
    cost = np.sqrt(((mu.points[:, None] - mu.points[None]) ** 2).sum(-1)) ** p
    ball = Sinkhorn(reg, p=p)
    found = worst_case(wave, mu, ball, radius=radius)
    assert found.success
    spent = entropic_cost(found.measure.weights, mu, cost, reg)
    assert spent == pytest.approx(radius**p, rel=1e-6)
    rng, inside = np.random.default_rng(0), 0
    for _ in range(15):
        w = found.measure.weights * np.exp(0.05 * rng.normal(size=mu.n))
        rival = mu.with_weights(0.9 * w / w.sum() + 0.1 * mu.weights)
        if entropic_cost(rival.weights, mu, cost, reg) <= radius**p:
            inside += 1
            assert rival.expect(wave) <= found.bound + 1e-9
    assert inside > 5


def test_small_entropy_is_transport_and_the_least_radius_is_named():
    mu = sample(25, mass=1.0)
    sharp = worst_case(wave, mu, jko.Wasserstein(), radius=0.5).value
    soft = worst_case(wave, mu, Sinkhorn(1e-3), radius=0.5).value
    assert soft == pytest.approx(sharp, rel=2e-2)
    assert soft <= sharp
    with pytest.raises(jko.InvalidArgument, match="is below"):
        worst_case(wave, mu, Sinkhorn(1.0), radius=0.1)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: CVaR(1.0), "level"),
        (lambda: Sinkhorn(0.0), "reg"),
        (lambda: Sinkhorn(0.1, p=0.5), "p = 0.5"),
        (lambda: worst_case(wave, sample(), CVaR(0.5), radius=0.1), "leave radius and tau out"),
        (lambda: worst_case(wave, sample(), TotalVariation()), "radius and tau"),
        (
            lambda: worst_case(
                wave, sample(), jko.Wasserstein(p=1), radius=0.1, support="particles"
            ),
            "free particles move",
        ),
        (
            lambda: worst_case(wave, sample(), CVaR(0.5), support="union", points=np.zeros((1, 2))),
            "reweighting",
        ),
    ],
)
def test_bad_input_gets_one_sentence(make, match):
    with pytest.raises(jko.JkoError, match=match) as caught:
        make()
    assert "\n" not in str(caught.value)


# -- training --------------------------------------------------------------------------------------


def data(n=120, d=3):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, d))
    z = x @ rng.normal(size=d)
    signs = np.where(z + 0.7 * rng.normal(size=n) > 0, 1.0, -1.0)
    return x, signs, z + 0.5 * rng.standard_t(3, size=n)


def robust_program(x, loss_of, geometry, radius, alpha):
    """The robust fit written down directly, by strong duality of the set, in one program."""
    n, d = x.shape
    theta, shift, w = cp.Variable(d), cp.Variable(), np.full(n, 1 / n)
    loss = loss_of(x @ theta + shift)
    if isinstance(geometry, CVaR):
        level = cp.Variable()
        total = level + cp.sum(cp.pos(loss - level)) / n / (1 - geometry.level)
    elif isinstance(geometry, TotalVariation):
        # The share `radius` of least loss moves to the largest: a difference of convex functions
        # of the losses that is convex, as a supremum; written through its dual.
        level, price = cp.Variable(), cp.Variable(nonneg=True)
        total = price * radius + w @ cp.maximum(loss, level - price)
        problem = cp.Problem(
            cp.Minimize(total + alpha / 2 * cp.sum_squares(theta)), [level >= cp.max(loss)]
        )
        return problem.solve(solver="CLARABEL")
    else:
        total = w @ loss + radius * cp.norm(theta)
    return cp.Problem(cp.Minimize(total + alpha / 2 * cp.sum_squares(theta))).solve(
        solver="CLARABEL"
    )


SETS = {"w1": jko.Wasserstein(p=1), "cvar": CVaR(0.8), "tv": TotalVariation()}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("loss", ["hinge", "logistic"])
def test_classifiers_reach_the_minimum_of_the_program(name, loss):
    x, y, _ = data()
    fit = RobustClassifier(loss=loss, geometry=SETS[name], radius=0.1, alpha=0.01).fit(x, y)

    def loss_of(z):
        margin = cp.multiply(y, z)
        return cp.pos(1 - margin) if loss == "hinge" else cp.logistic(-margin)

    wanted = robust_program(x, loss_of, SETS[name], 0.1, 0.01)
    assert fit.robust_loss_ == pytest.approx(wanted, abs=1e-6)
    assert abs(fit.gap_) <= 1e-6


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("loss", ["absolute", "own"])
def test_regressors_reach_the_minimum_of_the_program(name, loss):
    x, _, y = data()

    def pieces(t):  # the quantile loss at 0.3
        return (0.7 + 0 * t, -0.7 * t), (-0.3 + 0 * t, 0.3 * t)

    own = jko.dro.PredictionLoss(
        lambda z, t: np.maximum(0.7 * (z - t), 0.3 * (t - z)),
        lambda z, t: np.where(z > t, 0.7, -0.3),
        lipschitz=0.7,
        pieces=pieces,
    )
    used = own if loss == "own" else loss
    fit = RobustRegressor(loss=used, geometry=SETS[name], radius=0.1).fit(x, y)

    def loss_of(z):
        if loss == "absolute":
            return cp.abs(z - y)
        return cp.maximum(0.7 * (z - y), 0.3 * (y - z))

    factor = 0.7 if loss == "own" and name == "w1" else 1.0
    wanted = robust_program(x, loss_of, SETS[name], 0.1 * factor, 0.0)
    assert fit.robust_loss_ == pytest.approx(wanted, abs=1e-6)
    assert abs(fit.gap_) <= 1e-6


def test_divergence_balls_train_piecewise_losses_too():
    """No coefficients nearby do better against their own worst case (jko's, which is certified)."""
    x, y, _ = data(60)
    geometry, alpha = jko.Divergence(p=1), 0.01
    fit = RobustClassifier(loss="hinge", geometry=geometry, radius=0.1, alpha=alpha).fit(x, y)
    assert abs(fit.gap_) <= 1e-6
    mu, rng = jko.Particles(x), np.random.default_rng(0)
    for size in (1e-3, 1e-2, 1e-1):
        for _ in range(5):
            coef = fit.coef_ + size * rng.normal(size=3)
            shift = fit.intercept_ + size * rng.normal()
            loss = np.maximum(0, 1 - y * (x @ coef + shift))
            value = worst_case(loss, mu, geometry, radius=0.1).value + alpha / 2 * coef @ coef
            assert value >= fit.robust_loss_ - 1e-6


@pytest.mark.parametrize(("loss", "p", "radius"), [("hinge", 1.0, 1.1), ("absolute", 2.0, 1.2)])
def test_entropic_balls_train_piecewise_losses_too(loss, p, radius):
    """As above, and no line does better against one measure of the ball: the gap."""
    x, y, z = data(40, 2)
    ball, alpha, target = Sinkhorn(0.3, p=p), 0.01, y if loss == "hinge" else z
    learner = RobustClassifier if loss == "hinge" else RobustRegressor
    fit = learner(loss=loss, geometry=ball, radius=radius, alpha=alpha).fit(x, target)
    assert abs(fit.gap_) <= 1e-6 * max(1.0, fit.robust_loss_)
    mu, rng = jko.Particles(x), np.random.default_rng(0)
    for size in (0.0, 1e-2, 1e-1):
        for _ in range(4):
            coef = fit.coef_ + size * rng.normal(size=2)
            line = x @ coef + fit.intercept_ + size * rng.normal()
            losses = np.maximum(0, 1 - y * line) if loss == "hinge" else np.abs(line - z)
            value = worst_case(losses, mu, ball, radius=radius).value + alpha / 2 * coef @ coef
            assert value >= fit.robust_loss_ - 1e-6
            if size == 0:
                assert value == pytest.approx(fit.robust_loss_, rel=1e-6)


def test_entropic_balls_that_hold_nearly_every_measure_leave_the_least_largest_loss():
    x, y, _ = data(30, 2)
    fit = RobustClassifier(loss="hinge", geometry=Sinkhorn(0.3), radius=50.0).fit(x, y)
    assert abs(fit.gap_) <= 1e-6
    assert fit.robust_loss_ == pytest.approx(1.0, abs=1e-6)  # not separable: no line beats 0


def test_losses_without_what_a_set_needs_are_refused():
    x, y, z = data(40)
    with pytest.raises(jko.Unsupported, match="lipschitz"):
        RobustRegressor(geometry=jko.Wasserstein(p=1)).fit(x, z)
    with pytest.raises(jko.Unsupported, match="piecewise linear"):
        RobustClassifier(loss="hinge", geometry=jko.Hellinger()).fit(x, y)
    with pytest.raises(jko.Unsupported, match="features move"):
        RobustClassifier(geometry=jko.Wasserstein(p=3)).fit(x, y)
    with pytest.raises(jko.Unsupported, match="pass radius"):
        RobustClassifier(loss="hinge", geometry=jko.Divergence(p=1), tau=1.0).fit(x, y)
