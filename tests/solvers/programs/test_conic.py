"""The conic reference: its objectives agree with the exact solvers, its gaps are honest."""

import numpy as np
import pytest
from generators import measures

import jko
from jko.solvers import Conic, SimplexQP

FREE, FIXED, SPHERE = jko.Hellinger(), jko.Hellinger(mass="fixed"), jko.SphericalHellinger()
GAUSS = jko.kernels.Gaussian(0.7)


def setting(n, mass=1.0):
    """Skewed weights over several orders of magnitude, with zeros on both sides."""
    rng = np.random.default_rng(3)
    w, pi, v = rng.gamma(0.5, size=n), rng.gamma(0.5, size=n), rng.normal(size=n)
    w[::7], pi[3::11] = 0.0, 0.0
    mu = jko.Histogram(measures.points(n, seed=1), mass * w / w.sum())
    return mu, mu.with_weights(mass * pi / pi.sum()), v


def energies(pi, v):
    return {
        "kl": jko.KL(pi),
        "inclusive": jko.InclusiveKL(pi),
        "half chi2": jko.PhiDivergence(pi, p=2.0),
        "hellinger": jko.PhiDivergence(pi, p=0.5),
        "p = 3/2": jko.PhiDivergence(pi, p=1.5),
        "potential": jko.Potential(0.3 * v + 0.6),
        "kl + V": jko.KL(pi) + jko.Potential(v),
        "capped": jko.InclusiveKL(pi) + jko.BoxConstraint(3.0 * pi.mass / pi.n),
    }


NAMES = tuple(energies(*setting(5)[1:]))


@pytest.mark.parametrize("geometry", [FREE, FIXED, SPHERE], ids=repr)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("solver", "n", "asked"), [("CLARABEL", 200, 1e-8), ("SCS", 50, 1e-5)])
def test_objectives_agree_with_the_exact_step(solver, n, asked, name, geometry):
    mu, pi, v = setting(n)
    energy = energies(pi, v)[name]
    for tau in (0.01, 1.0, 5.0) if solver == "CLARABEL" else (1.0,):
        exact = jko.step(mu, energy, geometry, tau)
        found = jko.step(mu, energy, geometry, tau, solver=Conic(solver))
        scale = max(1, abs(exact.objective))
        excess = found.objective - exact.objective
        assert -1e-12 * scale <= excess <= asked * scale
        assert excess - 1e-12 * scale <= found.gap  # the gap bounds the true error ...
        assert found.gap <= excess + 1e-8 * scale  # ... and is not much larger
        assert found.tol == asked
        if geometry.conserves_mass:
            assert found.measure.mass == pytest.approx(mu.mass, rel=1e-14)


@pytest.mark.parametrize("mass", [1e-3, 1.0, 50.0])
def test_the_scale_of_the_mass_does_not_matter(mass):
    mu, pi, v = setting(60, mass)
    for energy in (jko.KL(pi) + jko.Potential(v), jko.PhiDivergence(pi, p=2.0)):
        exact = jko.step(mu, energy, FIXED, 0.7)
        found = jko.step(mu, energy, FIXED, 0.7, solver=Conic())
        assert found.objective == pytest.approx(exact.objective, rel=1e-8)
        assert found.gap <= 1e-8 * max(mass, abs(exact.objective))


@pytest.mark.parametrize("solver", ["CLARABEL", "SCS"])
@pytest.mark.parametrize("mass", ["fixed", "free"])
def test_mmd_steps(solver, mass):
    mu, pi, _ = setting(40)
    geometry = jko.MMD(GAUSS, mass=mass)
    cases = [jko.KL(pi), jko.InclusiveKL(pi), jko.PhiDivergence(pi, p=2.0)]
    cases.append(jko.KL(pi) + 0.5 * jko.MMDEnergy(pi, jko.kernels.Laplace(1.0)))
    for energy in cases:
        for tau in (0.1, 2.0):
            found = jko.step(mu, energy, geometry, tau, solver=Conic(solver))
            problem = jko.ProxProblem(energy, geometry, mu, tau)
            best, rng = problem.objective(found.measure), np.random.default_rng(0)
            for size in (1e-3, 1e-1):
                w = found.measure.weights * np.exp(size * rng.normal(size=mu.n))
                w = w * (mu.mass / w.sum()) if mass == "fixed" else w
                assert problem.objective(mu.with_weights(w)) >= best - found.tol


def test_mmd_step_of_the_mmd_energy_against_the_quadratic_program():
    mu, pi, v = setting(60)
    for kernel in (GAUSS, jko.kernels.Energy()):
        energy = jko.MMDEnergy(pi, kernel) + jko.Potential(0.1 * v)
        exact = jko.step(mu, energy, jko.MMD(kernel), 0.7, solver=SimplexQP())
        found = jko.step(mu, energy, jko.MMD(kernel), 0.7, solver=Conic())
        assert found.objective == pytest.approx(exact.objective, abs=1e-9)
        assert found.gap <= 1e-8


@pytest.mark.parametrize("geometry", [FREE, FIXED, SPHERE], ids=repr)
def test_coupled_energies_in_hellinger_geometries(geometry, rng):
    mu, pi, v = setting(40)
    energy = jko.KL(pi) + 2.0 * jko.MMDEnergy(pi, GAUSS) + jko.Potential(0.1 * v)
    found = jko.step(mu, energy, geometry, 0.7, solver=Conic())
    problem = jko.ProxProblem(energy, geometry, mu, 0.7)
    for size in (1e-4, 1e-2, 0.5):
        w = found.measure.weights * np.exp(size * rng.normal(size=mu.n))
        w = w * (mu.mass / w.sum()) if geometry.conserves_mass else w
        assert problem.objective(mu.with_weights(w)) >= found.objective - 1e-8


def test_particles_keep_their_points():
    mu = measures.particles(20, seed=3, mass=1.5)
    pi = mu.with_weights(measures.weights(20, seed=4, mass=1.5))
    found = jko.step(mu, jko.KL(pi), FIXED, 0.5, solver=Conic())
    assert isinstance(found.measure, jko.Particles)
    assert found.measure.points is mu.points


class TestRefusals:
    def test_settings(self):
        assert Conic("scs").name == "Conic(SCS)"
        assert (Conic().default_tol, Conic("SCS").default_tol) == (1e-8, 1e-5)
        with pytest.raises(jko.InvalidArgument, match="solver"):
            Conic("simplex")

    def test_size_and_geometry(self):
        mu, pi, _ = setting(20)
        with pytest.raises(jko.Unsupported, match="at most 10 atoms, this measure has 20"):
            jko.step(mu, jko.KL(pi), FREE, 1.0, solver=Conic(max_atoms=10))
        with pytest.raises(jko.Unsupported, match="Hellinger, spherical Hellinger and MMD"):
            jko.step(mu, jko.KL(pi), jko.Wasserstein(), 1.0, solver=Conic())

    @pytest.mark.parametrize("solver", ["CLARABEL", "SCS"])
    def test_unbounded_steps_say_so(self, solver):
        mu, _, _ = setting(20)
        energy = jko.Potential(np.linspace(-1, 1, 20))
        found = jko.step(mu, energy, FREE, 4.0, solver=Conic(solver), throw=False)
        assert found.status is jko.Status.UNBOUNDED
        assert not found.success

    def test_too_few_iterations_are_not_certified(self):
        mu, pi, _ = setting(50)
        found = jko.step(
            mu, jko.KL(pi), FIXED, 0.01, solver=Conic("SCS"), max_iter=5, tol=1e-9, throw=False
        )
        assert not found.success

    def test_impossible_masses(self):
        mu = setting(20)[0]
        with pytest.raises(jko.Unsupported, match="less than the mass"):
            jko.step(mu, jko.BoxConstraint(0.01), FIXED, 1.0, solver=Conic())
