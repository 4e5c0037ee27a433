"""Particle steps: stationary, never uphill, in the metric of the weights."""

import numpy as np
import pytest
from scipy.optimize import minimize

import jko
from jko.energies import KL, Energy, MMDEnergy, Potential
from jko.geometries import Hellinger, Wasserstein
from jko.numerics.lbfgs import descend
from jko.prox import Status
from jko.solvers import Lagrangian
from jko.solvers.step import step

W = Wasserstein()
K = jko.kernels.Gaussian(1.0)
QUADRATIC = Potential(lambda x: 2 * (x**2).sum(1), gradient=lambda x: 4 * x)
DOUBLE_WELL = Potential(lambda x: ((x**2 - 1) ** 2).sum(1) / 4, gradient=lambda x: x * (x**2 - 1))


def cloud(n=30, m=23, d=2, seed=0, zeros=3, mass=1.3):
    """Particles with unequal weights, some zero, and a target of another size."""
    rng = np.random.default_rng(seed)
    w = rng.dirichlet(np.full(n, 0.4)) + 1e-4
    w[:zeros] = 0
    b = rng.dirichlet(np.ones(m))
    b[0] = 0
    mu = jko.Particles(rng.normal(size=(n, d)) - 0.7, mass * w / w.sum())
    return mu, jko.Particles(0.5 * rng.normal(size=(m, d)) + 0.7, mass * b / b.sum())


def residual(out, mu, energy, tau):
    x = out.measure.points
    force = x - mu.points + tau * energy.wasserstein_gradient(out.measure)
    size = np.sqrt(mu.weights @ (force**2).sum(1))
    moved = np.sqrt(mu.weights @ ((x - mu.points) ** 2).sum(1))
    pull = energy.wasserstein_gradient(out.measure)
    return size / (moved + tau * np.sqrt(mu.weights @ (pull**2).sum(1)))


@pytest.mark.parametrize("tau", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("tol", [1e-4, 1e-6, 1e-11])
@pytest.mark.parametrize("d", [1, 2, 5])
def test_mmd_steps_are_stationary_to_any_tolerance(d, tol, tau):
    mu, target = cloud(d=d)
    energy = MMDEnergy(target, K)
    out = step(mu, energy, W, tau, tol=tol)
    assert out.solver == "Lagrangian"
    assert out.gap is None
    assert out.residual == pytest.approx(residual(out, mu, energy, tau))
    assert out.residual <= tol
    assert out.objective < energy.value(mu)
    assert out.measure.weights == pytest.approx(mu.weights, abs=0)


@pytest.mark.parametrize("tau", [0.3, 20.0])
def test_no_competitor_of_a_general_optimiser_does_better(tau):
    mu, target = cloud(n=8, m=7, zeros=0)
    energy = MMDEnergy(target, K) + 0.1 * QUADRATIC
    out = step(mu, energy, W, tau, tol=1e-9)

    def objective(x):
        moved = mu.with_points(x.reshape(8, 2))
        cost = mu.weights @ ((moved.points - mu.points) ** 2).sum(1)
        return energy.value(moved) + cost / (2 * tau)

    assert objective(out.measure.points.ravel()) == pytest.approx(out.objective, abs=1e-15)
    free = minimize(objective, mu.points.ravel(), method="BFGS", options={"gtol": 1e-9})
    assert out.objective <= free.fun + 1e-10
    if tau == 0.3:  # one minimum; at 20 there are several, and that of BFGS is a worse one
        assert out.measure.points.ravel() == pytest.approx(free.x, abs=1e-4)
    rng = np.random.default_rng(1)
    for size in (1e-4, 1e-2, 1):
        for _ in range(20):
            x = out.measure.points.ravel() + size * rng.normal(size=16)
            assert objective(x) >= out.objective - 1e-15


def test_linear_energies_are_solved_per_particle():
    """The prox of 2 |x|^2 is x'/(1 + 4 tau), whatever the weight."""
    mu, _ = cloud()
    out = step(mu, QUADRATIC, W, 0.3, tol=1e-12)
    assert out.measure.points == pytest.approx(mu.points / 2.2, abs=1e-9)
    assert out.iterations <= 2
    tiny = mu.with_weights(mu.weights * np.where(np.arange(mu.n) == 5, 1e-12, 1))
    moved = step(tiny, QUADRATIC, W, 0.3, tol=1e-12).measure.points
    assert moved[5] == pytest.approx(tiny.points[5] / 2.2, abs=1e-3)


def test_an_explicit_step_is_the_limit_of_small_tau():
    mu, target = cloud()
    energy = MMDEnergy(target, K)
    velocity = -energy.wasserstein_gradient(mu)
    for tau in (1e-3, 1e-4):
        out = step(mu, energy, W, tau, tol=1e-12)
        difference = out.measure.points - mu.points - tau * velocity
        assert np.abs(difference).max() < 3 * tau**2


def test_massless_particles_follow_the_same_field():
    mu, target = cloud()
    energy = MMDEnergy(target, K)
    out = step(mu, energy, W, 2.0, tol=1e-9)
    x, x0 = out.measure.points, mu.points
    gradient = energy.wasserstein_gradient(out.measure)
    assert (mu.weights[:3] == 0).all()
    assert np.abs(x - x0 + 2.0 * gradient).max() < 1e-7
    assert out.info["massless_residual"] < 1e-9
    # They are the limit of light ones, and do not touch the others.
    without = step(jko.Particles(x0[3:], mu.weights[3:]), energy, W, 2.0, tol=1e-9).measure
    assert without.points == pytest.approx(x[3:], abs=1e-7)


class Spring(Energy):
    """1/2 int |x|^2, with a gradient and a value but no first variation."""

    def value(self, mu):
        return 0.5 * mu.expect(lambda x: (x**2).sum(1))

    def wasserstein_gradient(self, mu):
        return mu.points


def test_massless_particles_without_a_first_variation():
    mu, _ = cloud()
    out = step(mu, Spring(), W, 1.0, tol=1e-10)
    assert out.measure.points == pytest.approx(mu.points / 2, abs=1e-9)


def test_the_matching_costs_at_least_w2_and_agrees_for_small_steps():
    mu, target = cloud(n=20)
    energy = MMDEnergy(target, K)
    for tau in (0.2, 30.0):
        out = step(mu, energy, W, tau)
        matched = mu.weights @ ((out.measure.points - mu.points) ** 2).sum(1)
        assert out.sqdistance == pytest.approx(matched, rel=1e-12)
        exact = W.sqdistance(out.measure, mu)
        assert exact <= out.sqdistance * (1 + 1e-9)
        if tau == 0.2:
            assert exact == pytest.approx(out.sqdistance, rel=1e-9)


def test_the_rate_of_the_geometry_scales_the_step():
    mu, target = cloud()
    energy = MMDEnergy(target, K)
    scaled, plain = (step(mu, energy, c * W, 0.6 / c, tol=1e-10) for c in (3.0, 1.0))
    assert scaled.measure.points == pytest.approx(plain.measure.points, abs=1e-8)
    assert scaled.sqdistance == pytest.approx(plain.sqdistance / 3)
    assert scaled.objective == pytest.approx(plain.objective)


def test_never_worse_than_staying_and_partial_results_are_kept():
    mu, target = cloud(n=40, m=30)
    energy = MMDEnergy(target, K)
    with pytest.raises(jko.StepFailed, match="iteration limit") as caught:
        step(mu, energy, W, 100.0, max_iter=3)
    partial = caught.value.result
    assert partial.status is Status.MAX_ITERATIONS
    assert partial.iterations == 3
    assert partial.objective < energy.value(mu)
    assert partial.residual > 1e-6


def test_kinked_kernels_fail_openly_and_downhill():
    """With -|x-y| particles end on target atoms, where no gradient vanishes."""
    mu, target = cloud(d=1)
    energy = MMDEnergy(target, jko.kernels.Energy())
    out = step(mu, energy, W, 2.0, solver=Lagrangian(), throw=False)
    assert out.status is Status.INACCURATE
    assert out.objective < energy.value(mu)


def test_at_equilibrium_nothing_moves():
    mu, _ = cloud()
    out = step(mu, MMDEnergy(mu, K), W, 10.0, tol=1e-12)
    assert out.iterations == 0
    assert out.sqdistance == 0
    near = jko.Particles(mu.points + 1e-7, mu.weights)
    assert step(near, MMDEnergy(mu, K), W, 10.0, tol=1e-13).success


@pytest.mark.parametrize("seed", range(8))
def test_an_energy_that_cancels_almost_to_zero_is_no_obstacle(seed):
    """1/2 MMD^2 near 1e-15 has no digits left; its gradient still has eight."""
    mu, _ = cloud(seed=seed)
    shift = 1e-7 * np.random.default_rng(seed).normal(size=mu.points.shape)
    near = jko.Particles(mu.points + shift, mu.weights)
    assert step(near, MMDEnergy(mu, K), W, 10.0, tol=1e-12).success


@pytest.mark.parametrize("power", [2, 4])
def test_uphill_by_slopes_is_no_rounding(power):
    """Slopes that lie lead to a stationary point that is higher: the better one comes back."""

    class Lying:
        def value(self, y):
            return 1e-12 * float(y @ y)

        def slope(self, y):
            return power * (y - 1.0) ** (power - 1)

        def residual(self, y, slope):
            return float(np.linalg.norm(slope))

    run = descend(Lying(), np.zeros(2), 1e-10, 200, 10)
    assert np.array_equal(run.point, np.zeros(2))


def test_values_buried_in_rounding_do_not_stop_the_descent():
    """V + 1e6: steps change the objective below its last digit long before the residual is met."""
    mu, _ = cloud()
    lifted = Potential(
        lambda x: 1e6 + ((x**2 - 1) ** 2).sum(1) / 4, gradient=lambda x: x * (x**2 - 1)
    )
    buried, plain = (step(mu, e, W, 0.5, tol=1e-10) for e in (lifted, DOUBLE_WELL))
    assert buried.residual <= 1e-10
    assert buried.measure.points == pytest.approx(plain.measure.points, abs=1e-8)


def test_walls_and_gradients_that_blow_up_shorten_the_step():
    barrier = Potential(
        lambda x: (
            np.where(x[:, 0] < 1, -np.log(np.maximum(1 - x[:, 0], 1e-300)), np.inf) - 50 * x[:, 0]
        ),
        gradient=lambda x: np.where(x < 1, 1 / np.where(x < 1, 1 - x, 1.0), np.nan) - 50,
    )
    mu = jko.Particles([[-1.0], [0.5], [0.9]], [0.2, 0.0, 0.8])
    out = step(mu, barrier, W, 1.0)
    assert (out.measure.points < 1).all()
    assert out.success


def test_unbounded_steps_say_so():
    hill = Potential(lambda x: -(x**2).sum(1), gradient=lambda x: -2 * x)
    with pytest.raises(jko.StepFailed, match="unbounded below; reduce tau"):
        step(jko.Particles([[1.0], [2.0]]), hill, W, 1.0)
    assert step(jko.Particles([[1.0], [2.0]]), hill, W, 0.4).success


def test_warm_starts_help_and_bad_ones_are_ignored():
    mu, target = cloud(n=40, m=30, zeros=0)
    energy = MMDEnergy(target, K)
    cold = step(mu, energy, W, 20.0, tol=1e-9)
    again = step(mu, energy, W, 20.0, tol=1e-8, warm=cold.warm)
    assert again.iterations <= 1
    for bad in ("x", np.ones(3), np.full_like(mu.points, np.nan), 1e6 * np.ones_like(mu.points)):
        out = step(mu, energy, W, 20.0, tol=1e-9, warm=bad)
        assert out.measure.points == pytest.approx(cold.measure.points, abs=1e-6)


def test_a_thousand_particles():
    mu, target = cloud(n=1000, m=700, zeros=10)
    out = step(mu, MMDEnergy(target, K), W, 1.0)
    assert out.residual <= 1e-6
    assert out.info["evaluations"] < 30


@pytest.mark.parametrize(
    ("energy", "geometry", "kind", "sentence"),
    [
        (MMDEnergy(jko.Particles([[0.0]]), K), Hellinger(), "particles", "jko.Wasserstein"),
        (MMDEnergy(jko.Particles([[0.0]]), K), W, "histogram", "moves jko.Particles"),
        (
            KL(jko.Gaussian([0.0], [[1.0]])),
            W,
            "particles",
            "take random steps with solver=jko.solvers.Langevin",
        ),
        (Potential(lambda x: x[:, 0]), W, "particles", "gradient="),
    ],
)
def test_refusals(energy, geometry, kind, sentence):
    make = jko.Particles if kind == "particles" else jko.Histogram
    mu = make([[0.0], [1.0]], [0.5, 0.5])
    with pytest.raises(jko.Unsupported, match=sentence):
        step(mu, energy, geometry, 0.1, solver=Lagrangian())


@pytest.mark.parametrize("setting", [{"memory": 0}, {"max_iter": 2.5}])
def test_settings_are_checked(setting):
    with pytest.raises(jko.InvalidArgument, match=next(iter(setting))):
        Lagrangian(**setting)


class Rosenbrock:
    """A curved valley, to test the descent apart from measures."""

    def value(self, y):
        return float((1 - y[0]) ** 2 + 100 * (y[1] - y[0] ** 2) ** 2)

    def slope(self, y):
        bend = y[1] - y[0] ** 2
        return np.array([-2 * (1 - y[0]) - 400 * y[0] * bend, 200 * bend])

    def residual(self, y, slope):
        return float(np.linalg.norm(slope))


def test_descent_on_rosenbrock():
    run = descend(Rosenbrock(), np.array([-1.2, 1.0]), 1e-12, 200, 10)
    assert run.point == pytest.approx([1, 1], abs=1e-11)
    assert run.iterations < 60
