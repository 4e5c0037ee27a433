"""Entropic steps by definition: competitors, mass, supports, failures, warm starts."""

import numpy as np
import pytest

import jko
from jko import ProxProblem
from jko.forms.separable import Separable
from jko.solvers import Controls, Entropic
from jko.solvers.entropic.prox import KLProx, log_prox_separable
from jko.solvers.entropic.stated import EntropicStep

W2 = jko.Wasserstein()
GAUSS = jko.kernels.Gaussian(bandwidth=1.0)


def well():
    return jko.Potential(lambda x: 0.5 * (x**2).sum(axis=1))


def scattered(n=40, mass=1.7, seed=0):
    """Histograms on common scattered points, each with zeros where the other has none."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 2))
    m, p = rng.random((2, n))
    m[::7], p[3::9] = 0, 0
    return jko.Histogram(x, m * mass / m.sum()), jko.Histogram(x, p * mass / p.sum())


def planar(shape=(20, 17)):
    grid = jko.Grid([-3, -3], [3, 2.5], shape)
    bump = [
        lambda x, c=c, v=v: np.exp(-((x - c) ** 2).sum(axis=1) / (2 * v))
        for c, v in [((1.0, 0.5), 0.25), ((0.0, 0.0), 0.5)]
    ]
    return tuple(jko.GridDensity.from_function(f, grid, mass=2.0) for f in bump)


def energies(pi):
    return {
        "KL": jko.KL(pi),
        "inclusive": jko.InclusiveKL(pi),
        "chi2": jko.PhiDivergence(pi, p=2),
        "porous": jko.PhiDivergence(pi.with_weights(np.full(pi.n, pi.mass / pi.n)), p=2) + well(),
        "entropy+well": jko.Entropy() + well(),
        "KL+inclusive": 0.5 * jko.KL(pi) + jko.InclusiveKL(pi),
        "MMD": jko.MMDEnergy(pi, GAUSS),
        "energy distance": jko.MMDEnergy(pi, jko.kernels.Energy()),
        "MMD+entropy": jko.MMDEnergy(pi, GAUSS) + 0.1 * jko.Entropy(),
        "well": well(),
    }


CASES = [
    (kind, name, debias)
    for kind in ("scattered", "planar")
    for name in energies(scattered()[1])
    for debias in (True, False)
    if not (debias and name == "well")
]


@pytest.mark.parametrize(("kind", "name", "debias"), CASES)
def test_every_energy_is_certified_and_keeps_the_mass(kind, name, debias):
    mu, pi = scattered() if kind == "scattered" else planar()
    energy = energies(pi)[name]
    r = jko.step(mu, energy, W2, 0.05, solver=Entropic(reg=0.1, debias=debias))
    assert r.success
    assert abs(r.gap) <= 1e-8 * max(1, abs(r.objective))
    assert r.measure.mass == pytest.approx(mu.mass, rel=1e-14)
    assert type(r.measure) is type(mu)
    assert r.bias >= 0
    assert r.sqdistance >= 0
    assert r.energy == pytest.approx(energy.value(r.measure), rel=1e-9)
    assert r.energy < energy.value(mu)


def naive_transport(x, m, w, eps, sweeps=4000):
    """OT of formula W1 by textbook Sinkhorn on charged atoms, evaluated on the plan itself."""
    i, j = m > 0, w > 0
    cost = ((x[i][:, None] - x[j][None]) ** 2).sum(-1)
    kernel, b = np.exp(-cost / eps), np.ones(j.sum())
    for _ in range(sweeps):
        a = m[i] / (kernel @ b)
        b = w[j] / (kernel.T @ a)
    plan = a[:, None] * kernel * b
    plan_log = np.log(a)[:, None] - cost / eps + np.log(b)
    return (plan * cost).sum() + eps * (plan * (plan_log - 1)).sum()


def naive_objective(problem, nu, eps, debias):
    x, m, w = problem.previous.points, problem.previous.weights, nu.weights
    value = naive_transport(x, m, w, eps)
    if debias:
        value -= (naive_transport(x, w, w, eps) + naive_transport(x, m, m, eps)) / 2
    return problem.energy.value(nu) + value / (2 * problem.step)


@pytest.mark.parametrize("debias", [True, False])
@pytest.mark.parametrize("name", ["KL", "inclusive", "MMD+entropy"])
def test_no_random_competitor_beats_the_step(name, debias):
    mu, pi = scattered(16)
    eps, rng = 0.5, np.random.default_rng(1)
    problem = ProxProblem(energies(pi)[name], W2, mu, 0.3)
    solver = Entropic(reg=eps, debias=debias)
    r = jko.step(mu, problem.energy, W2, 0.3, solver=solver, tol=1e-11)
    assert naive_objective(problem, r.measure, eps, debias) == pytest.approx(r.objective, abs=1e-9)
    stated = EntropicStep(problem, eps, debias)
    assert stated.objective(r.measure) == pytest.approx(r.objective, abs=1e-10)
    for size in (1.0, 0.1, 1e-2, 1e-3):
        for _ in range(3):
            w = r.measure.weights * np.exp(size * rng.standard_normal(mu.n))
            rival = mu.with_weights(w * mu.mass / w.sum())
            naive = naive_objective(problem, rival, eps, debias)
            assert naive > r.objective - 1e-9
            assert stated.objective(rival) == pytest.approx(naive, abs=1e-8)


def test_the_regularised_objective_decreases():
    for mu, pi in (scattered(), planar()):
        r = jko.step(mu, jko.KL(pi), W2, 0.05, solver=Entropic(reg=0.1))
        assert r.objective <= jko.KL(pi).value(mu)  # the Sinkhorn divergence of mu to itself is 0
        stated = EntropicStep(ProxProblem(jko.KL(pi), W2, mu, 0.05), 0.1, False)
        plain = jko.step(mu, jko.KL(pi), W2, 0.05, solver=Entropic(reg=0.1, debias=False))
        assert plain.objective < stated.objective(mu)


@pytest.mark.parametrize("debias", [True, "half", False])
def test_distances_are_those_of_the_returned_measures(debias):
    """Not those of a blurred plan; the measures are nearly Gaussian."""
    mu, pi = planar((24, 20))
    r = jko.step(mu, jko.KL(pi), W2, 0.1, solver=Entropic(reg=0.1, debias=debias))
    before, after = (jko.Gaussian(m.mean, m.cov, m.mass) for m in (mu, r.measure))
    exact = W2.sqdistance(after, before)
    assert r.sqdistance == pytest.approx(exact, rel=0.02)
    assert abs(r.sqdistance - exact) <= 2 * 0.1 * r.bias
    rough = Entropic(reg=0.1, debias=debias, bound=False)
    other = jko.step(mu, jko.KL(pi), W2, 0.1, solver=rough)
    assert other.bias is None
    assert other.sqdistance == pytest.approx(exact, rel=0.15)


@pytest.mark.parametrize("shape", [(80,), (16, 15), (10, 9, 8)])
def test_steps_on_grids_agree_with_dense_histograms(shape):
    grid = jko.Grid([-2.0] * len(shape), [2.0] * len(shape), shape)
    mu = jko.GridDensity.from_function(lambda x: np.exp(-4 * ((x - 0.5) ** 2).sum(1)), grid, mass=1)
    pi = jko.GridDensity.from_function(lambda x: np.exp(-(x**2).sum(1)), grid, mass=1.0)
    as_atoms = [jko.Histogram(grid.points, m.weights) for m in (mu, pi)]
    for debias in (True, False):
        solver = Entropic(reg=0.3, debias=debias)
        r = jko.step(mu, jko.KL(pi), W2, 0.1, solver=solver, tol=1e-12)
        s = jko.step(as_atoms[0], jko.KL(as_atoms[1]), W2, 0.1, solver=solver, tol=1e-12)
        assert np.abs(r.measure.weights - s.measure.weights).sum() < 1e-12
        assert r.objective == pytest.approx(s.objective, rel=1e-13)
        # Distances and bounds of the regularisation differ in kind: atoms, or densities on cells.


def test_geometry_rates_are_folded_in():
    mu, pi = scattered()
    a = jko.step(mu, jko.KL(pi), 0.5 * W2, 0.1, solver=Entropic(reg=0.1), tol=1e-12)
    b = jko.step(mu, jko.KL(pi), W2, 0.05, solver=Entropic(reg=0.1), tol=1e-12)
    np.testing.assert_array_equal(a.measure.weights, b.measure.weights)


@pytest.mark.parametrize("debias", [True, False])
def test_warm_starts_are_plain_data_and_save_iterations(debias):
    mu, pi = planar()
    solver = Entropic(reg=0.1, debias=debias)
    first = jko.step(mu, jko.KL(pi), W2, 0.3, solver=solver)
    assert all(isinstance(v, np.ndarray) for v in first.warm.values())
    again = jko.step(mu, jko.KL(pi), W2, 0.3, solver=solver, warm=first.warm)
    assert again.iterations <= first.iterations // 2
    copy = {k: np.array(v) for k, v in first.warm.items()}
    twin = jko.step(mu, jko.KL(pi), W2, 0.3, solver=solver, warm=copy)
    np.testing.assert_array_equal(twin.measure.weights, again.measure.weights)
    other, _ = scattered()
    for useless in (first.warm, {"log_b": 1}, 3):
        assert jko.step(other, jko.KL(other), W2, 0.3, solver=solver, warm=useless).success


@pytest.mark.parametrize("debias", [True, False])
def test_running_out_of_iterations_says_so_and_hands_back_the_measure(debias):
    mu, pi = planar()
    with pytest.raises(jko.StepFailed, match="raise max_iter") as caught:
        jko.step(mu, jko.KL(pi), W2, 0.3, solver=Entropic(reg=0.1, debias=debias), max_iter=1)
    r = caught.value.result
    assert np.isfinite(r.measure.weights).all()
    assert r.measure.mass == pytest.approx(mu.mass, rel=1e-14)
    assert r.gap > 1e-8


def test_compact_supports_and_small_regularisation():
    """Potentials span thousands of eps here: the log domain has to carry it."""
    grid = jko.Grid(-4.0, 4.0, 200)
    mu = jko.GridDensity.from_function(lambda x: 1.0 * (np.abs(x[:, 0] + 2) < 0.5), grid, mass=1.0)
    pi = jko.GridDensity.from_function(lambda x: 1.0 * (np.abs(x[:, 0] - 1) < 0.5), grid, mass=1.0)
    r = jko.step(mu, jko.KL(pi), W2, 0.05, solver=Entropic(reg=0.01, debias=False))
    assert np.all(r.measure.weights[pi.weights == 0] == 0)
    assert r.sqdistance > 6


def test_single_atoms_and_single_cells():
    one = jko.Histogram(np.zeros((1, 2)), [2.0])
    assert jko.step(one, jko.Entropy(), W2, 0.1, solver=Entropic()).measure.weights[0] == 2.0
    slab = jko.Grid([-1, 0], [1, 1], [30, 1])
    mu = jko.GridDensity.from_function(lambda x: np.exp(-3 * x[:, 0] ** 2), slab, mass=1.0)
    line = jko.GridDensity(jko.Grid(-1.0, 1.0, 30), mu.weights)
    r, s = (jko.step(m, jko.Entropy(), W2, 0.1, solver=Entropic()) for m in (mu, line))
    np.testing.assert_allclose(r.measure.weights, s.measure.weights, atol=1e-12)


def test_refusals_name_the_remedy():
    mu, pi = scattered()
    cloud = jko.Particles(mu.points)
    linear = jko.step, (mu, well(), W2, 0.1)
    for args, solver, words in [
        ((cloud, well(), W2, 0.1), Entropic(), "Lagrangian"),
        ((mu, jko.KL(pi), jko.Hellinger(), 0.1), Entropic(), "Wasserstein steps"),
        (linear[1], Entropic(), "debias=False"),
        ((mu, jko.BoxConstraint(1.0) + well(), W2, 0.1), Entropic(), "clumps"),
        ((mu, jko.KL(pi), W2, 0.1), Entropic(backend="pot"), "debias=False"),
    ]:
        with pytest.raises(jko.Unsupported, match=words):
            jko.step(*args, solver=solver)
    with pytest.raises(jko.InvalidArgument, match="reg"):
        Entropic(reg=-1)
    with pytest.raises(jko.InvalidArgument, match="backend"):
        Entropic(backend="exp")


@pytest.mark.parametrize("r", [0.5, 10.0, 200.0])
@pytest.mark.parametrize("extra", [False, True])
def test_kl_prox_of_quadratics_solves_its_equation(r, extra):
    mu, pi = scattered()
    energy = jko.MMDEnergy(pi, GAUSS) + (
        0.2 * jko.InclusiveKL(pi) if extra else jko.Potential(np.zeros(mu.n))
    )
    form = energy.restrict(mu)
    log_q = np.random.default_rng(2).standard_normal(mu.n) - 3
    if not extra:  # the inclusive divergence is infinite on an empty atom
        log_q[4] = -np.inf
    start = np.full(mu.n, np.log(mu.mass / mu.n))
    log_w = KLProx(form, r, mu.mass, accuracy=1e-13)(log_q, start)
    w = np.exp(log_w)
    charged = w > 0
    residual = log_w[charged] - log_q[charged] + r * form.gradient(w)[charged]
    assert np.ptp(residual) < 1e-9  # q was known up to a factor


def test_kl_prox_below_the_range_of_exponentials():
    h = Separable(np.full(3, 0.5), {2.0: np.ones(3), 1.0: np.full(3, 0.25)})
    log_q = np.array([-5000.0, -1.0, -np.inf])
    found = log_prox_separable(h, log_q, 2.0)
    assert found[0] == pytest.approx((-5000 - 1) / 1.5)
    assert found[2] == -np.inf
    assert found[1] == pytest.approx(h.log_prox_kl(log_q, 2.0)[1])


def test_info_counts_the_work():
    mu, pi = planar()
    answer = Entropic().solve(ProxProblem(jko.KL(pi), W2, mu, 0.1), Controls(1e-8))
    assert answer.info["kernel_applications"] >= 3 * answer.iterations
    assert answer.info["reg"] > 0
