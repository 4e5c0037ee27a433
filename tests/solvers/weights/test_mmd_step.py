"""The MMD step on its atoms: optimal by definition, certified densely, nine digits at n = 1000."""

import numpy as np
import pytest
from generators import measures

import jko
from jko import kernels
from jko.prox import ProxProblem
from jko.prox.stated import Answer
from jko.solvers import Mixture, SimplexQP
from jko.solvers.weights.stated import QuadraticStep

KERNELS = [
    kernels.Gaussian(0.8),
    kernels.Laplace(1.1),
    kernels.Matern(0.9, nu=1.5),
    kernels.InverseMultiquadric(0.8),
    kernels.Gaussian(0.5) + 0.3 * kernels.Laplace(2.0),
    kernels.Energy(),
    kernels.Energy(exponent=1.5),
]
GAUSS = KERNELS[0]


def well(x):
    return 0.3 * (x**2).sum(axis=1)


def dense_objective(w, mu, pi, kernel, tau, factor=1.0, rate=1.0):
    """factor/2 MMD^2(w, pi) + MMD^2(w, mu)/(2 rate tau) with one dense Gram matrix."""
    k = kernel(np.concatenate([mu.points, pi.points]))
    n = mu.n
    to_pi = np.concatenate([w, -pi.weights])
    moved = w - mu.weights
    return factor / 2 * to_pi @ k @ to_pi + moved @ k[:n, :n] @ moved / (2 * rate * tau)


def dense_gap(w, mu, pi, kernel, tau, extra=0.0):
    """Frank-Wolfe gap on the simplex of the mass of mu, dense; `extra` a linear energy."""
    k = kernel.positive()
    gradient = k(mu.points) @ (w + (w - mu.weights) / tau) - k(mu.points, pi.points) @ pi.weights
    gradient = gradient + extra
    return w @ gradient - w.sum() * gradient.min()


def rival(rng, w, fixed=True):
    size = 10.0 ** rng.uniform(-4, 0)
    v = (1 - size) * w + size * w.sum() * rng.dirichlet(np.full(w.size, 0.3))
    return v if fixed else v * np.exp(size * rng.normal())


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_fixed_support_is_optimal_and_the_gap_is_true(kernel, rng):
    mu, pi = measures.particles(30, seed=1, mass=2.0), measures.particles(21, seed=2, mass=2.0)
    tau = 0.7
    found = jko.step(mu, jko.MMDEnergy(pi, kernel), jko.MMD(kernel), tau)
    w = found.measure.weights
    assert found.solver == "SimplexQP"
    assert (w >= 0).all()
    assert w.sum() == pytest.approx(2.0, rel=1e-12)
    best = dense_objective(w, mu, pi, kernel, tau)
    assert found.objective == pytest.approx(best, rel=1e-10, abs=1e-12)
    gap = dense_gap(w, mu, pi, kernel, tau)
    assert found.gap == pytest.approx(gap, rel=1e-3, abs=1e-12)
    assert gap <= 1e-9 * max(1, abs(best))
    for _ in range(100):
        assert dense_objective(rival(rng, w), mu, pi, kernel, tau) >= best - gap - 1e-13


@pytest.mark.parametrize("kernel", KERNELS[:5], ids=repr)
def test_free_mass_is_optimal(kernel, rng):
    mu, pi = measures.particles(30, seed=1, mass=2.0), measures.particles(21, seed=2, mass=0.7)
    geometry = jko.MMD(kernel, mass="free")
    found = jko.step(mu, jko.MMDEnergy(pi, kernel), geometry, 0.7)
    w = found.measure.weights
    best = dense_objective(w, mu, pi, kernel, 0.7)
    assert found.objective == pytest.approx(best, rel=1e-10, abs=1e-12)
    assert found.gap + 1e-13 >= 0
    assert found.gap <= 1e-9
    for _ in range(100):
        v = rival(rng, w, fixed=False)
        assert dense_objective(v, mu, pi, kernel, 0.7) >= best - found.gap - 1e-13
    fixed = jko.step(mu, jko.MMDEnergy(pi, kernel), jko.MMD(kernel), 0.7)
    assert fixed.objective >= found.objective


@pytest.mark.parametrize("mass", ["fixed", "free"])
@pytest.mark.parametrize(("factor", "rate"), [(1.0, 1.0), (3.0, 1.0), (1.0, 0.4), (0.2, 5.0)])
def test_mixture_is_the_minimum_on_the_union(mass, factor, rate):
    """M1: closed form and quadratic program reach the same objective, scaled or not."""
    mu = measures.histogram(25, seed=1, mass=2.0)
    pi = measures.sibling(mu, 2, mass=2.0 if mass == "fixed" else 3.1)
    energy, geometry = factor * jko.MMDEnergy(pi, GAUSS), rate * jko.MMD(GAUSS, mass=mass)
    exact, by_qp = (jko.step(mu, energy, geometry, 0.8, solver=s) for s in (Mixture(), SimplexQP()))
    eta = factor * rate * 0.8
    expected = (mu.weights + eta * pi.weights) / (1 + eta)
    np.testing.assert_allclose(exact.measure.weights, expected, rtol=1e-14)
    assert exact.gap <= 1e-13
    assert by_qp.objective == pytest.approx(exact.objective, abs=1e-9)
    dense = dense_objective(expected, mu, pi, GAUSS, 0.8, factor, rate)
    assert exact.objective == pytest.approx(dense, rel=1e-12)


def test_scaling_energy_or_geometry_is_a_longer_step():
    mu, pi = measures.particles(20, seed=1), measures.particles(13, seed=2)
    energy, geometry = jko.MMDEnergy(pi, GAUSS), jko.MMD(GAUSS)
    long = jko.step(mu, energy, geometry, 1.5)
    for other in (jko.step(mu, energy, 3 * geometry, 0.5), jko.step(mu, 3 * energy, geometry, 0.5)):
        assert jko.MMD(GAUSS).distance(other.measure, long.measure) <= 1e-4
        dense = dense_objective(other.measure.weights, mu, pi, GAUSS, 1.5)
        assert dense == pytest.approx(long.objective, abs=1e-8)


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
@pytest.mark.parametrize("tau", [0.1, 1.0, 20.0])
def test_contraction_on_the_union_is_exact(kernel, tau):
    """M2: MMD(step, pi) = MMD(mu, pi)/(1 + eta), and the mass is kept."""
    mu, pi = measures.particles(20, seed=1, mass=1.7), measures.particles(33, seed=2, mass=1.7)
    found = jko.step(
        mu, jko.MMDEnergy(pi, kernel), jko.MMD(kernel), tau, solver=SimplexQP(support="union")
    )
    distance = jko.MMD(kernel).distance
    assert distance(found.measure, pi) == pytest.approx(distance(mu, pi) / (1 + tau), rel=1e-8)
    assert found.measure.mass == pytest.approx(1.7, rel=1e-13)
    assert found.info["copied_mass"] == pytest.approx(tau / (1 + tau), rel=1e-12)
    assert found.bias is None


def test_a_fixed_support_does_not_contract_as_much():
    mu, pi = measures.particles(20, seed=1), measures.particles(33, seed=2, shift=0.5)
    energy, distance = jko.MMDEnergy(pi, GAUSS), jko.MMD(GAUSS).distance
    fixed = jko.step(mu, energy, jko.MMD(GAUSS), 1.0)
    union = jko.step(mu, energy, jko.MMD(GAUSS), 1.0, solver=SimplexQP(support="union"))
    assert distance(fixed.measure, pi) > distance(mu, pi) / 2
    assert union.objective <= fixed.objective


def test_thousand_particles_reach_nine_digits():
    """The acceptance problem: x ~ N(0, I), target 0.8 N(0, I) + (.7, -.3), h = .5, eta = 1."""
    rng = np.random.default_rng(0)
    mu = jko.Particles(rng.standard_normal((1000, 2)))
    pi = jko.Particles(0.8 * rng.standard_normal((1000, 2)) + [0.7, -0.3])
    kernel = kernels.Gaussian(0.5)
    found = jko.step(mu, jko.MMDEnergy(pi, kernel), jko.MMD(kernel), 1.0)
    assert found.gap <= 1e-9
    assert dense_gap(found.measure.weights, mu, pi, kernel, 1.0) <= 1e-9
    # What the step costs: Newton systems (15 of them) of the factor's rank (336).
    assert found.iterations <= 20
    assert found.info["rank"] <= 400


@pytest.mark.parametrize("mass", [1e-3, 1.0, 50.0, 1e4])
def test_the_mass_scales_through(mass):
    """Weights, weights and target times c: the step times c, whatever the tolerance is held to."""
    mu, pi = measures.particles(20, seed=1, mass=mass), measures.particles(13, seed=2, mass=mass)
    found = jko.step(mu, jko.MMDEnergy(pi, GAUSS), jko.MMD(GAUSS), 0.7, tol=1e-10)
    gap = dense_gap(found.measure.weights, mu, pi, GAUSS, 0.7)
    assert gap <= 1e-10 * max(1.0, found.objective)
    assert found.gap == pytest.approx(gap, rel=1e-2, abs=1e-14 * mass**2)


def test_duplicated_and_shared_points():
    """Atoms that occur twice, in the measure, in the target and in both."""
    x = measures.points(12, seed=1)
    mu = jko.Particles(np.concatenate([x, x[:4], x[:2]]), measures.weights(18, 1))
    pi = jko.Particles(np.concatenate([x[2:6], x[2:3], x[-1:] + 0.3]), measures.weights(6, 2))
    energy = jko.MMDEnergy(pi, GAUSS)
    found = jko.step(mu, energy, jko.MMD(GAUSS), 0.7)
    assert dense_gap(found.measure.weights, mu, pi, GAUSS, 0.7) <= 1e-9
    union = jko.step(mu, energy, jko.MMD(GAUSS), 0.7, solver=SimplexQP(support="union"))
    distance = jko.MMD(GAUSS).distance
    assert distance(union.measure, pi) == pytest.approx(distance(mu, pi) / 1.7, rel=1e-8)
    on_target = (union.measure.points[:, None] == pi.points[pi.weights > 0][None]).all(2).any(1)
    expected = union.measure.weights[on_target].sum()
    assert union.info["copied_mass"] == pytest.approx(expected, rel=1e-12)


def test_potential_and_discrepancy_together(rng):
    mu, pi = measures.particles(30, seed=1, mass=2.0), measures.particles(21, seed=2, mass=2.0)
    energy = jko.MMDEnergy(pi, GAUSS) + 0.4 * jko.Potential(well)
    extra = 0.4 * well(mu.points)
    found = jko.step(mu, energy, jko.MMD(GAUSS), 0.7)
    w = found.measure.weights
    gap = dense_gap(w, mu, pi, GAUSS, 0.7, extra)
    assert found.gap == pytest.approx(gap, rel=1e-3, abs=1e-12)
    assert gap <= 1e-9
    best = dense_objective(w, mu, pi, GAUSS, 0.7) + extra @ w
    assert found.objective == pytest.approx(best, rel=1e-10)
    for _ in range(100):
        v = rival(rng, w)
        assert dense_objective(v, mu, pi, GAUSS, 0.7) + extra @ v >= best - gap - 1e-13


def test_two_kernels_in_one_step():
    """The energy's kernel need not be that of the geometry."""
    mu, pi = measures.particles(20, seed=1), measures.particles(13, seed=2)
    far = kernels.Laplace(2.0)
    found = jko.step(mu, jko.MMDEnergy(pi, far), jko.MMD(GAUSS), 0.7)
    w = found.measure.weights
    gradient = far(mu.points) @ w - far(mu.points, pi.points) @ pi.weights
    gradient += GAUSS(mu.points) @ (w - mu.weights) / 0.7
    assert found.gap == pytest.approx(w @ gradient - gradient.min(), rel=1e-3, abs=1e-12)
    assert found.success


def test_target_of_another_mass_on_fixed_mass(rng):
    """M1 does not hold: the mixture would have the wrong mass, the program serves."""
    mu = measures.histogram(20, seed=1, mass=1.0)
    pi = measures.sibling(mu, 2, mass=3.0)
    found = jko.step(mu, jko.MMDEnergy(pi, GAUSS), jko.MMD(GAUSS), 0.7)
    assert found.solver == "SimplexQP"
    assert found.measure.mass == pytest.approx(1.0, rel=1e-12)
    best = dense_objective(found.measure.weights, mu, pi, GAUSS, 0.7)
    for _ in range(100):
        v = rival(rng, found.measure.weights)
        assert dense_objective(v, mu, pi, GAUSS, 0.7) >= best - 1e-9


def test_energy_distance_between_unequal_masses_is_refused():
    mu, pi = measures.particles(20, seed=1), measures.particles(13, seed=2, mass=3.0)
    k = kernels.Energy()
    for solver in ("auto", SimplexQP(), SimplexQP(support="union")):
        with pytest.raises(jko.Unsupported, match="conditionally positive"):
            jko.step(mu, jko.MMDEnergy(pi, k), jko.MMD(k), 0.7, solver=solver)


@pytest.mark.parametrize("target", [measures.gaussian(seed=4), measures.mixture(seed=4)])
def test_noise_free_targets(target):
    """M7: many samples of the target give nearly the step to the target itself."""
    mu = measures.particles(40, seed=1)
    exact = jko.step(mu, jko.MMDEnergy(target, GAUSS), jko.MMD(GAUSS), 1.0)
    samples = target.sample(20_000, np.random.default_rng(0))
    w, k = exact.measure.weights, GAUSS(mu.points)
    embedding = GAUSS.apply(mu.points, samples, np.full(20_000, 1 / 20_000))
    gradient = k @ (2 * w - mu.weights) - embedding
    assert exact.gap <= 1e-9
    assert w @ gradient - gradient.min() <= 0.03
    near = np.linalg.norm(embedding - GAUSS.embed(target, mu.points), np.inf)
    assert near <= 0.02


@pytest.mark.parametrize("target", ["same", "other-grid", "particles"])
def test_grids(target):
    mu = measures.grid_density((9, 8), seed=1, mass=1.4)
    pi = {
        "same": measures.sibling(mu, 2),
        "other-grid": measures.grid_density((5, 7), seed=2, mass=1.4),
        "particles": measures.particles(15, seed=2, mass=1.4),
    }[target]
    found = jko.step(mu, jko.MMDEnergy(pi, GAUSS), jko.MMD(GAUSS), 0.7)
    assert found.solver == ("Mixture" if target == "same" else "SimplexQP")
    assert isinstance(found.measure, jko.GridDensity)
    assert dense_gap(found.measure.weights, mu, pi, GAUSS, 0.7) <= 1e-9


def test_walls_stay_empty_and_closing_every_atom_is_an_error():
    mu, pi = measures.particles(20, seed=1), measures.particles(13, seed=2)
    energy = jko.MMDEnergy(pi, GAUSS)
    wall = jko.Potential(lambda x: np.where(x[:, 0] > 0, np.inf, 0.0))
    found = jko.step(mu, energy + wall, jko.MMD(GAUSS), 0.7)
    assert (found.measure.weights[mu.points[:, 0] > 0] == 0).all()
    assert found.measure.mass == pytest.approx(1.0, rel=1e-12)
    closed = energy + jko.Potential(lambda x: np.full(len(x), np.inf))
    for mass in ("fixed", "free"):
        with pytest.raises(jko.JkoError, match="forbids every atom"):
            jko.step(mu, closed, jko.MMD(GAUSS, mass=mass), 0.7)


@pytest.mark.parametrize("mass", ["fixed", "free"])
@pytest.mark.parametrize("target", [measures.particles(1, seed=2), measures.particles(7, seed=2)])
def test_one_atom(target, mass):
    mu = jko.Particles([[0.2, 0.1]], [1.0])
    found = jko.step(mu, jko.MMDEnergy(target, GAUSS), jko.MMD(GAUSS, mass=mass), 0.7)
    pull = float(GAUSS.embed(target, mu.points)[0])
    expected = 1.0 if mass == "fixed" else (pull + 1 / 0.7) / (1 + 1 / 0.7)
    assert found.measure.weights[0] == pytest.approx(expected, rel=1e-6)


def test_a_warm_start_helps_and_a_useless_one_is_ignored():
    mu, pi = measures.particles(60, seed=1), measures.particles(40, seed=2)
    energy, geometry = jko.MMDEnergy(pi, GAUSS), jko.MMD(GAUSS)
    cold = jko.step(mu, energy, geometry, 0.7)
    warm = jko.step(mu, energy, geometry, 0.7, warm=cold.warm)
    assert warm.success
    for useless in ("text", {"weights": np.ones(3)}, {"weights": None}, 5):
        same = jko.step(mu, energy, geometry, 0.7, warm=useless)
        np.testing.assert_array_equal(same.measure.weights, cold.measure.weights)


def test_longer_steps_lower_the_energy_and_a_tiny_one_stays():
    mu, pi = measures.particles(30, seed=1), measures.particles(21, seed=2)
    energy, geometry = jko.MMDEnergy(pi, GAUSS), jko.MMD(GAUSS)
    energies = [jko.step(mu, energy, geometry, tau).energy for tau in (1e-4, 0.1, 1.0, 1e3)]
    assert np.all(np.diff(energies) < 1e-9)
    assert energies[0] == pytest.approx(energy.value(mu), rel=1e-2)


def test_interactions_are_taken_when_convex():
    mu = measures.particles(30, seed=1)
    found = jko.step(mu, jko.Interaction(kernels.Laplace(1.0)), jko.MMD(GAUSS), 0.7)
    w = found.measure.weights
    gradient = kernels.Laplace(1.0)(mu.points) @ w + GAUSS(mu.points) @ (w - mu.weights) / 0.7
    assert w @ gradient - gradient.min() <= 1e-9
    for energy in (jko.Interaction.quadratic(), jko.Interaction(kernels.Energy())):
        with pytest.raises(jko.Unsupported, match="not known to be convex"):
            jko.step(mu, energy, jko.MMD(GAUSS), 0.7, solver=SimplexQP())


@pytest.mark.parametrize("tau", 10.0 ** -np.arange(3, 13))
@pytest.mark.parametrize("mass", [1.0, 30.0])
def test_short_steps_are_certified(tau, mass):
    """Rounding over tau once kept steps below 1e-5 from nine digits."""
    mu = measures.particles(60, seed=1, mass=mass)
    pi = measures.particles(45, seed=2, mass=mass, shift=0.5)
    energy, geometry = jko.MMDEnergy(pi, GAUSS), jko.MMD(GAUSS)
    found = jko.step(mu, energy, geometry, tau)
    before = energy.value(mu)
    assert found.gap <= 1e-9 * mass**2  # the size of the terms, k <= 1
    assert found.objective <= before * (1 + 1e-14)
    assert found.objective >= before / (1 + tau) * (1 - 1e-14)  # M2: nothing descends further
    assert dense_objective(found.measure.weights, mu, pi, GAUSS, tau) == pytest.approx(
        found.objective, rel=1e-9, abs=1e-14 * mass**2 / tau
    )


def test_the_gap_of_short_steps_bounds_any_answer(rng):
    """The blend with the unconstrained minimum, on answers good and bad."""
    mu, pi = measures.particles(60, seed=1), measures.particles(45, seed=2, shift=0.5)
    problem = ProxProblem(jko.MMDEnergy(pi, GAUSS), jko.MMD(GAUSS), mu, 1e-3)
    stated = QuadraticStep.of(problem)
    best = jko.step(mu, problem.energy, problem.geometry, 1e-3, tol=1e-12).measure.weights
    least = dense_objective(best, mu, pi, GAUSS, 1e-3) - 1e-12
    for _ in range(50):
        w = rival(rng, best)
        answer = Answer(mu.with_weights(w), stated, 0)
        gap = stated.certificate(answer).gap
        assert dense_objective(w, mu, pi, GAUSS, 1e-3) - least <= gap + 1e-11


def test_an_empty_minimiser_has_a_status_of_its_own():
    mu, pi = measures.particles(20, seed=1), measures.particles(13, seed=2)
    energy = jko.MMDEnergy(pi, GAUSS) + jko.Potential(lambda x: np.full(len(x), 50.0))
    found = jko.step(mu, energy, jko.MMD(GAUSS, mass="free"), 10.0, throw=False)
    assert found.status is jko.Status.EMPTY
    assert "empty measure" in found.message
    assert np.array_equal(found.measure.weights, mu.weights)
