"""Hellinger steps from their definition: no competitor does better, mass and bounds are kept."""

import numpy as np
import pytest
from generators import measures

import jko
from jko.energies.base import FormEnergy
from jko.forms.form import WeightForm
from jko.forms.separable import Separable
from jko.solvers import ClosedForm, DualRoot

FREE, FIXED = jko.Hellinger(), jko.Hellinger(mass="fixed")
SOLVERS = [ClosedForm(), DualRoot()]


class Form(FormEnergy):
    """An energy given by its normal form."""

    def __init__(self, linear, powers=None, upper=None):
        powers = {p: np.asarray(c, float) for p, c in (powers or {}).items()}
        self.form = WeightForm(Separable(np.asarray(linear, float), powers, upper))

    def restrict(self, mu):
        return self.form


def energies(mu):
    pi = measures.sibling(mu, seed=4, mass=1.7)
    v = np.random.default_rng(5).normal(size=mu.n)
    return {
        "potential": jko.Potential(np.abs(v)),
        "kl": jko.KL(pi),
        "inclusive + V": jko.InclusiveKL(pi) + 0.1 * jko.Potential(v),
        "half chi2": jko.PhiDivergence(pi, p=2.0),
        "hellinger": jko.PhiDivergence(pi, p=0.5),
        "mixed": jko.KL(pi) + 0.3 * jko.PhiDivergence(pi, p=0.5) + jko.Potential(v),
        "cube + entropy": jko.PhiDivergence(pi, p=3.0) + 0.2 * jko.Entropy(),
        "capped": jko.InclusiveKL(pi) + jko.BoxConstraint(0.15),
    }


NAMES = tuple(energies(measures.histogram()))


def competitors(w, mass, rng):
    """Multiplicative perturbations, transfers between atoms, and empty atoms given some mass."""
    for size in (1e-4, 1e-2, 0.5):
        yield w * np.exp(size * rng.normal(size=w.size))
        i, j = rng.choice(w.size, 2, replace=False)
        moved = w.copy()
        moved[i], moved[j] = w[i] * (1 - size), w[j] + w[i] * size
        yield moved
        seeded = w.copy()
        seeded[w < 1e-3 * w.mean()] += size * mass / w.size
        yield seeded


def kept(w, mass, fixed):
    return w * (mass / w.sum()) if fixed else w


@pytest.mark.parametrize("geometry", [FREE, FIXED], ids=["free", "fixed"])
@pytest.mark.parametrize("name", NAMES)
def test_no_competitor_does_better(name, geometry, rng):
    mu = measures.histogram(23, seed=3, mass=1.4)
    energy = energies(mu)[name]
    for tau in (1e-2, 1.0, 30.0):
        found = jko.step(mu, energy, geometry, tau)
        problem = jko.ProxProblem(energy, geometry, mu, tau)
        assert abs(found.gap) < 1e-12 * max(1, abs(found.objective))
        best = problem.objective(found.measure)
        for _ in range(5):
            for w in competitors(found.measure.weights, mu.mass, rng):
                w = kept(w, mu.mass, geometry.conserves_mass)
                assert problem.objective(mu.with_weights(w)) >= best - 1e-13 * max(1, abs(best))


@pytest.mark.parametrize("geometry", [FREE, FIXED, 0.3 * FIXED], ids=repr)
@pytest.mark.parametrize("make", [measures.histogram, measures.particles, measures.grid_density])
def test_formula_and_root_agree_on_every_measure(make, geometry):
    mu = make(seed=8, mass=0.6)
    for name, energy in energies(mu).items():
        if isinstance(mu, jko.Particles) and name in ("cube + entropy", "capped"):
            continue  # these need a density
        problem = jko.ProxProblem(energy, geometry, mu, 0.8)
        root = jko.step(mu, energy, geometry, 0.8, solver=DualRoot())
        assert type(root.measure) is type(mu)
        assert root.measure.same_support(mu)
        if ClosedForm().accepts(problem) is None:
            form = jko.step(mu, energy, geometry, 0.8, solver=ClosedForm())
            assert form.solver == "ClosedForm"
            np.testing.assert_allclose(form.measure.weights, root.measure.weights, rtol=1e-12)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: s.name)
@pytest.mark.parametrize("mass", [1e-9, 1.0, 1e6])
def test_mass_is_kept_to_rounding(solver, mass):
    mu = measures.histogram(201, seed=1, mass=mass)
    pi = measures.sibling(mu, seed=2, mass=3 * mass)
    energy = jko.PhiDivergence(pi, p=1.0) + jko.Potential(np.linspace(-2, 1, mu.n))
    for tau in (1e-6, 1.0, 1e6):
        found = jko.step(mu, energy, FIXED, tau, solver=solver)
        assert abs(found.measure.mass / mu.mass - 1) < 1e-15


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: s.name)
class TestHardCase:
    """The missing mass sits on empty atoms that are indifferent at the largest multiplier."""

    mu = jko.Histogram([[0.0], [1.0], [2.0]], [0.0, 0.5, 0.5])

    def test_the_example_of_the_text(self, solver):
        found = jko.step(self.mu, jko.Potential([0.0, 1.0, 2.0]), FIXED, 4.0, solver=solver)
        assert found.measure.weights == pytest.approx([0.84375, 0.125, 0.03125], rel=1e-15)
        assert 0 <= found.gap < 4e-15  # a bound counts the rounding of its own sums

    def test_no_seeding_below_the_threshold(self, solver):
        found = jko.step(self.mu, jko.Potential([0.0, 1.0, 2.0]), FIXED, 0.5, solver=solver)
        assert found.measure.weights[0] == 0

    def test_ties_share_equally(self, solver):
        mu = jko.Histogram(np.arange(5.0)[:, None], [0.0, 0.5, 0.0, 0.5, 0.0])
        found = jko.step(mu, jko.Potential([0.0, 1.0, 0.0, 2.0, 0.1]), FIXED, 4.0, solver=solver)
        expected = [0.421875, 0.125, 0.421875, 0.03125, 0.0]
        assert found.measure.weights == pytest.approx(expected, rel=1e-15)

    @pytest.mark.parametrize("p", [0.0, 0.5, 2.0])
    def test_with_a_power_on_other_atoms(self, solver, p):
        # The empty atom has no power and the least linear part.
        energy = Form([-3.0, 1.0, 2.0], {p: [0.0, 1.0, 0.7]})
        found = jko.step(self.mu, energy, FIXED, 4.0, solver=solver)
        lam = -3.0 + 2 / 4.0
        w = found.measure.weights
        slope = energy.form.separable.gradient(w) + 0.5 * (1 - np.sqrt(self.mu.weights / w))
        assert w[0] > 0
        assert slope == pytest.approx(np.full(3, lam), rel=1e-12)

    def test_ceilings_are_filled_in_order(self, solver):
        # Thresholds 0, 1, 2: the first empty atom fills, the second takes the rest.
        mu = jko.Histogram(np.arange(4.0)[:, None], [0.0, 0.0, 0.0, 1.0])
        energy = Form([0.0, 1.0, 2.0, 50.0], upper=np.array([0.3, 0.9, 0.9, np.inf]))
        found = jko.step(mu, energy, FIXED, 4.0, solver=solver)
        last = 1 / (1 + 2 * (50.0 - 1.5)) ** 2
        assert found.measure.weights == pytest.approx([0.3, 0.7 - last, 0.0, last], rel=1e-14)
        assert abs(found.gap) < 1e-13

    def test_many_ceilings_against_a_linear_program_limit(self, solver):
        rng = np.random.default_rng(0)
        n = 40
        mu = jko.Histogram(rng.normal(size=(n, 1)), np.r_[1.0, np.zeros(n - 1)])
        v, top = rng.normal(size=n), rng.uniform(0.02, 0.2, n)
        v[0], top[0] = 60.0, np.inf
        found = jko.step(mu, Form(v, upper=top), FIXED, 50.0, solver=solver)
        order = np.argsort(v)
        filled = np.minimum(np.maximum(1 - np.r_[0, np.cumsum(top[order])[:-1]], 0), top[order])
        assert found.measure.weights[order] == pytest.approx(filled, abs=1e-5)
        assert abs(found.gap) < 1e-13


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: s.name)
class TestRefusals:
    mu = jko.Histogram([[0.0], [1.0], [2.0]], [0.2, 0.3, 0.5])

    def test_unbounded_names_the_atom_and_the_largest_tau(self, solver):
        energy = jko.Potential([0.0, -2.0, -0.5])
        found = jko.step(self.mu, energy, 0.5 * FREE, 4.0, solver=solver, throw=False)
        assert found.status is jko.Status.UNBOUNDED
        assert "[1.0]" in found.message
        assert "tau below 2" in found.message
        assert jko.step(self.mu, energy, 0.5 * FREE, 1.999, solver=solver).success

    def test_a_power_or_a_ceiling_keeps_it_bounded(self, solver):
        v = np.array([0.0, -2.0, -0.5])
        pi = self.mu.with_weights([0.5, 0.25, 0.25])
        assert jko.step(self.mu, jko.KL(pi) + jko.Potential(v), FREE, 4.0, solver=solver).success
        capped = jko.step(self.mu, Form(v, upper=np.full(3, 0.8)), FREE, 4.0, solver=solver)
        assert capped.measure.weights == pytest.approx([0.2, 0.8, 0.8])

    def test_ceilings_below_the_mass(self, solver):
        with pytest.raises(jko.Unsupported, match=r"carry 0\.9 in all, less than the mass 1"):
            jko.step(self.mu, jko.BoxConstraint(0.3), FIXED, 1.0, solver=solver)
        full = jko.step(self.mu, Form(np.zeros(3), upper=np.full(3, 1 / 3)), FIXED, 1.0)
        assert full.measure.weights == pytest.approx(np.full(3, 1 / 3), rel=1e-12)

    def test_every_atom_forbidden(self, solver):
        wall = jko.Potential(np.full(3, np.inf))
        for geometry in (FREE, FIXED):
            with pytest.raises(jko.Unsupported, match="forbids every atom"):
                jko.step(self.mu, wall, geometry, 1.0, solver=solver)

    def test_other_problems(self, solver):
        pi = self.mu.with_weights([0.5, 0.25, 0.25])
        coupled = jko.KL(pi) + jko.MMDEnergy(pi, jko.kernels.Gaussian(1.0))
        with pytest.raises(jko.Unsupported, match="separable"):
            jko.step(self.mu, coupled, FREE, 1.0, solver=solver)
        with pytest.raises(jko.Unsupported, match="Hellinger"):
            jko.step(self.mu, jko.KL(pi), jko.SphericalHellinger(), 1.0, solver=solver)


def test_closed_form_leaves_mixtures_to_the_root():
    mu = measures.histogram()
    energy = energies(mu)["mixed"]
    with pytest.raises(jko.Unsupported, match="one power"):
        jko.step(mu, energy, FREE, 1.0, solver=ClosedForm())
    assert jko.step(mu, energy, FREE, 1.0).solver == "DualRoot"


def test_walls_and_targets_with_holes_empty_their_atoms():
    mu = measures.histogram(23, seed=3)
    pi = measures.sibling(mu, seed=4)
    wall = np.where(np.arange(mu.n) % 4 == 0, np.inf, 0.0)
    found = jko.step(mu, jko.KL(pi) + jko.Potential(wall), FIXED, 0.7)
    closed = (pi.weights == 0) | np.isinf(wall)
    assert (found.measure.weights[closed] == 0).all()
    assert (found.measure.weights[~closed] > 0).all()
    assert found.measure.mass == pytest.approx(mu.mass, rel=1e-15)


def test_the_rate_multiplies_tau_and_a_warm_start_changes_nothing():
    mu = measures.histogram(23, seed=3)
    energy = energies(mu)["mixed"]
    first = jko.step(mu, energy, 0.5 * FIXED, 1.2)
    second = jko.step(mu, energy, FIXED, 0.6, warm=first.warm)
    np.testing.assert_allclose(first.measure.weights, second.measure.weights, rtol=1e-13)
    assert second.iterations <= first.iterations


def test_a_million_atoms_take_a_few_sweeps():
    n = 1_000_000
    rng = np.random.default_rng(0)
    grid = jko.Grid([0.0], [1.0], (n,))
    mu = jko.GridDensity(grid, rng.gamma(0.5, size=n) / n)
    pi = mu.with_weights(rng.gamma(2.0, size=n) / n)
    found = jko.step(mu, jko.KL(pi) + jko.PhiDivergence(pi, p=0.5), FIXED, 1.0)
    assert found.success
    assert found.iterations <= 8  # sweeps over the atoms: 6; the seconds are in benchmarks/
