"""The exact Wasserstein step of small histograms: by hand, by certificate, against Entropic."""

from dataclasses import replace

import numpy as np
import pytest
from generators import measures
from scipy.optimize import minimize_scalar

import jko
from jko.prox.stated import Controls
from jko.solvers import Entropic, TransportProgram

W = jko.Wasserstein()
ORACLE = TransportProgram()


def well(x):
    return 0.5 * (x**2).sum(axis=1)


def line(n=50, at=0.8, width=0.5, mass=1.5, half=3.0):
    grid = jko.Grid(-half, half, n)
    return jko.GridDensity.from_function(
        lambda x: np.exp(-((x[:, 0] - at) ** 2) / (2 * width**2)), grid, mass=mass
    )


def test_two_atoms_by_a_scalar_search():
    """With two atoms the step is a function of one weight: W^2 = d^2 |t - m_1|."""
    mu = jko.Histogram([[0.0], [1.5]], [0.4, 1.6])
    energy = jko.KL(mu.with_weights([1.5, 0.5])) + 0.3 * jko.PhiDivergence(mu, p=3)

    def objective(t):
        nu = mu.with_weights([t, 2.0 - t])
        return energy.value(nu) + 1.5**2 * abs(t - 0.4) / (2 * 0.9)

    best = minimize_scalar(objective, bounds=(1e-9, 2 - 1e-9), options={"xatol": 1e-12})
    found = jko.step(mu, energy, W, 0.9, solver=ORACLE)
    assert found.objective == pytest.approx(best.fun, abs=1e-9)
    assert found.measure.weights[0] == pytest.approx(best.x, abs=1e-5)


def test_a_potential_sends_every_atom_to_its_own_minimum():
    """Linear energies decouple: min_j |x_i - x_j|^2/(2 tau) + V_j, and the weights follow."""
    mu, tau = measures.histogram(23, seed=4, mass=2.0), 0.6
    v = well(mu.points)
    cost = ((mu.points[:, None] - mu.points) ** 2).sum(axis=2) / (2 * tau) + v
    goal = cost.argmin(axis=1)
    expected = np.bincount(goal, mu.weights, minlength=mu.n)
    found = jko.step(mu, jko.Potential(well), 0.5 * W, 2 * tau, solver=ORACLE)
    np.testing.assert_allclose(found.measure.weights, expected, atol=1e-8)
    assert found.objective == pytest.approx(mu.weights @ cost.min(axis=1), abs=1e-8)


@pytest.mark.parametrize("tau", [1e-3, 1e-1, 10])
@pytest.mark.parametrize("p", [0, 0.5, 1, 1.5, 2])
def test_gaps_are_far_below_the_declared_tolerance(p, tau):
    mu = measures.histogram(seed=1, mass=2.0)
    energy = jko.PhiDivergence(measures.sibling(mu, seed=2), p=p)
    found = jko.step(mu, energy, W, tau, solver=ORACLE)
    assert abs(found.gap) <= 1e-7
    assert found.measure.mass == pytest.approx(2.0, rel=1e-14)


def true_excess(n, solver):
    """How much worse an entropic step is than the oracle, and the bound it reports."""
    mu, pi = line(n), line(n, at=0.0, width=1.0)
    best = jko.step(mu, jko.KL(pi), W, 0.5, solver=ORACLE)
    found = jko.step(mu, jko.KL(pi), W, 0.5, solver=solver)
    excess = jko.ProxProblem(jko.KL(pi), W, mu, 0.5).objective(found.measure) - best.objective
    assert excess >= -best.gap - 1e-12
    return excess, found.info["bias_reg"]


@pytest.mark.parametrize("reg", [0.4, 0.1, 0.05])
def test_the_bias_of_plain_entropic_steps_covers_the_true_one(reg):
    excess, bias = true_excess(80, Entropic(reg=reg, debias=False))
    assert excess < bias < 3 * excess


def test_debiased_entropic_steps_are_exact_up_to_the_grid():
    """What is left at a small bias is the resolution: the exact step moves mass by whole cells."""
    floors = []
    for n in (40, 80):
        excess, bias = true_excess(n, Entropic(reg=0.1))
        # A bound of the excess, not an estimate: of a plan between cells, so of their size too.
        assert excess < bias < 20 * excess
        floors.append(excess)
    assert floors[1] < 2e-5
    assert floors[1] < floors[0] / 6


def test_ornstein_uhlenbeck_step_on_a_fine_grid():
    """W3 within the spacing, where the displacements are many cells."""
    tau, s = 1.0, 0.5
    mu, pi = line(80, at=1.0, width=s, half=3.5), line(80, at=0.0, width=1.0, half=3.5)
    found = jko.step(mu, jko.KL(pi), W, tau, solver=ORACLE).measure
    mean, std = 1.0 / (1 + tau), (s + np.sqrt(s**2 + 4 * tau * (1 + tau))) / (2 * (1 + tau))
    assert found.mean[0] == pytest.approx(mean, abs=5e-3)
    assert np.sqrt(found.cov[0, 0]) == pytest.approx(std, abs=5e-3)


@pytest.mark.parametrize("kernel", [jko.kernels.Gaussian(0.8), jko.kernels.Energy()])
def test_kernels_in_the_energy(kernel):
    """MMD energies, the conditionally positive one included, beat their own neighbours."""
    mu = measures.histogram(seed=1, mass=2.0)
    energy = jko.MMDEnergy(measures.sibling(mu, seed=2), kernel)
    found = jko.step(mu, energy, W, 2.0, solver=ORACLE)
    assert abs(found.gap) <= 1e-9
    assert found.objective < found.baseline
    problem, rng = jko.ProxProblem(energy, W, mu, 2.0), np.random.default_rng(0)
    for size in (1e-3, 1e-1):
        w = found.measure.weights * np.exp(size * rng.normal(size=mu.n))
        rival = mu.with_weights(w * (2.0 / w.sum()))
        assert problem.objective(rival) >= found.objective - 1e-9


def test_any_slope_bounds_and_a_wrong_answer_is_caught():
    mu, pi = line(30), line(30, at=0.0, width=1.0)
    problem = jko.ProxProblem(jko.KL(pi), W, mu, 0.3)
    answer = ORACLE.solve(problem, Controls(1e-6))
    best, stated = problem.objective(answer.measure), answer.problem
    rng = np.random.default_rng(1)
    for size in (1e-3, 0.1, 1.0):
        noise = answer.dual["slope"] + size * rng.normal(size=mu.n)
        assert stated.certificate(replace(answer, dual={"slope": noise})).gap >= 0
        w = answer.measure.weights * np.exp(size * rng.normal(size=mu.n))
        nu = mu.with_weights(w * (mu.mass / w.sum()))
        gap = stated.certificate(replace(answer, measure=nu)).gap
        assert gap >= problem.objective(nu) - best - 1e-9
        assert gap > 1e-6


def test_refusals_name_the_remedy():
    potential = jko.Potential(well, gradient=lambda x: x)
    cases = [
        (measures.particles(9, seed=1), potential, "Lagrangian"),
        (line(81), jko.KL(line(81)), "raise max_atoms"),
    ]
    for mu, energy, sentence in cases:
        with pytest.raises(jko.Unsupported, match=sentence):
            jko.step(mu, energy, W, 0.1, solver=ORACLE)
    with pytest.raises(jko.Unsupported, match="takes Wasserstein steps"):
        jko.step(line(), potential, jko.Hellinger(), 0.1, solver=ORACLE)
    with pytest.raises(jko.JkoError, match="max_atoms"):
        TransportProgram(max_atoms=0)
    mu = measures.histogram(10, seed=1, mass=2.0)
    with pytest.raises(jko.Unsupported, match="less than the mass 2"):
        jko.step(mu, jko.BoxConstraint(0.1) + potential, W, 0.1, solver=ORACLE)


def test_auto_prefers_entropic_and_lists_the_oracle():
    names = [s.name for s in jko.solvers_for(line(), jko.KL(line()), W)]
    assert names.index("Entropic") < names.index("TransportProgram")


UNITS = [(1.0, 1.0, 1.0), (1e-9, 1.0, 1.0), (1e9, 1.0, 1.0), (1.0, 1e-4, 1.0), (1.0, 1e9, 1.0),
         (1.0, 1.0, 1e-9), (1e-6, 1e-6, 1e6)]  # fmt: skip


@pytest.mark.parametrize("name", ["entropy", "chi2", "mmd", "ceiling"])
@pytest.mark.parametrize("tau", [0.01, 0.5])
def test_the_step_is_the_same_in_any_unit(name, tau):
    """Masses M, lengths L, energies c (formula B2): certified, and as good in every unit."""
    rng = np.random.default_rng(3)
    x, m, v = (
        rng.normal(size=(6, 2)),
        np.array([0.3, 0.0, 0.2, 0.4, 1e-12, 0.1]),
        rng.normal(size=6),
    )
    target = rng.uniform(1, 3, 6) / 12
    steps = []
    for M, L, c in UNITS:
        mu, pi = jko.Histogram(L * x, M * m), jko.Histogram(L * x, M * target)
        energy = {
            "entropy": lambda mu, pi, M, L: jko.Entropy() + jko.Potential(v),
            "chi2": lambda mu, pi, M, L: jko.PhiDivergence(pi, p=2),
            "mmd": lambda mu, pi, M, L: 1 / M * jko.MMDEnergy(pi, jko.kernels.Gaussian(L)),
            "ceiling": lambda mu, pi, M, L: jko.BoxConstraint(0.3 * M) + jko.Potential(v),
        }[name](mu, pi, M, L)
        step = jko.step(
            mu, c * energy, jko.Wasserstein(), tau * L**2 / c, solver=TransportProgram()
        )
        unit = c * M
        shift = np.log(M) if name == "entropy" else 0.0
        gained = (step.baseline - step.objective) / unit
        steps.append((step.objective / unit - shift * m.sum(), step.gap / unit, gained))
    value, gap, gained = steps[0]
    for other, its_gap, _ in steps[1:]:
        assert abs(other - value) <= gap + its_gap + 1e-6 * gained


@pytest.mark.parametrize("length", [1e-5, 1.0])
def test_a_single_atom_stays(length):
    """Nothing costs anything, and nothing is what a tolerance could be relative to."""
    mu = jko.Histogram([[0.7 * length]], [0.36])
    for energy in (jko.BoxConstraint(1.05), jko.Entropy(), jko.KL(mu.with_weights([0.2]))):
        assert jko.step(mu, energy, W, 0.1, solver=ORACLE).measure.weights == mu.weights
        assert jko.step(mu, energy, W, 0.1).success
