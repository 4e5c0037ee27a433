"""Every public energy on every kind of measure that takes it keeps what it promises."""

import numpy as np
import pytest
from generators import measures

import jko
from jko.testing import check_energy

SEPARABLE = {"value", "algebra", "first_variation", "log_prox_kl", "conic"}
QUADRATIC = {"value", "algebra", "first_variation", "conic"}
MOVING = {"wasserstein_gradient"}
MAKERS = {
    "histogram": measures.histogram,
    "particles": measures.particles,
    "grid": measures.grid_density,
}


def well(x):
    return 0.3 * (x**2).sum(axis=1) - x[:, 0]


def slope(x):
    return 0.6 * x - np.array([1.0, 0.0])


def on_the_same_atoms(p, zeros):
    """The target covers the measure for p >= 1, and the measure the target for p <= 0."""

    def make(mu):
        target = measures.sibling(mu, seed=7, mass=1.3, zeros=0 if p >= 1 else zeros)
        if p <= 0:
            target = mu.with_weights(0.7 * mu.weights)
        return {0: jko.InclusiveKL(target), 1: jko.KL(target)}.get(
            p, jko.PhiDivergence(target, p=p)
        )

    return make


CASES = {
    **{f"phi{p:g}": (on_the_same_atoms(p, 3), SEPARABLE) for p in (-0.5, 0, 0.5, 1, 1.7, 2)},
    "entropy": (lambda mu: jko.Entropy(reference=np.linspace(0.5, 2.0, mu.n)), SEPARABLE),
    "porous2": (lambda mu: jko.PorousMedium(2, reference=np.linspace(0.5, 2.0, mu.n)), SEPARABLE),
    "porous0.6": (lambda mu: jko.PorousMedium(0.6, reference=np.full(mu.n, 0.7)), SEPARABLE),
    "box": (lambda mu: jko.BoxConstraint(1.1 * mu.weights.max(), np.ones(mu.n)), SEPARABLE),
    "potential": (lambda mu: jko.Potential(well, gradient=slope), SEPARABLE | MOVING),
    "values": (lambda mu: jko.Potential(np.sin(np.arange(mu.n))), SEPARABLE),
    "sum": (
        lambda mu: jko.Potential(well) + 0.5 * jko.Entropy(reference=np.ones(mu.n)),
        SEPARABLE,
    ),
}
TARGETS = {
    "apart": lambda mass: measures.particles(9, seed=5, mass=mass),
    "gaussian": lambda mass: measures.gaussian(seed=5, mass=mass),
    "mixture": lambda mass: measures.mixture(),
}


def promised(names, mu):
    return names if isinstance(mu, jko.Particles) else names - MOVING


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", MAKERS)
def test_separable_energies(kind, case):
    make, names = CASES[case]
    mu = MAKERS[kind](seed=3, mass=1.6)
    assert set(check_energy(make(mu), mu)) == promised(names, mu)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", MAKERS)
def test_mmd_energy_of_a_positive_kernel(kind, target):
    mu = MAKERS[kind](seed=3, mass=1.6)
    energy = 0.7 * jko.MMDEnergy(TARGETS[target](1.2), jko.kernels.Gaussian(0.9))
    assert set(check_energy(energy, mu)) == promised(QUADRATIC | MOVING, mu)


@pytest.mark.parametrize(
    "kernel", [jko.kernels.Energy(), jko.kernels.Laplace(1.0), jko.kernels.Matern(1.0, nu=1.5)]
)
@pytest.mark.parametrize("kind", MAKERS)
def test_mmd_energy_of_other_kernels(kind, kernel):
    mu = MAKERS[kind](seed=3, mass=1.6)
    energy = jko.MMDEnergy(measures.particles(9, seed=5, mass=1.6), kernel)
    assert set(check_energy(energy, mu)) == promised(QUADRATIC | MOVING, mu)


INTERACTIONS = {
    "kernel": (lambda: jko.Interaction(jko.kernels.Gaussian(0.9)), QUADRATIC),
    "attraction": (jko.Interaction.quadratic, QUADRATIC - {"conic"}),
    "logarithm": (jko.Interaction.logarithmic, QUADRATIC - {"conic"}),
    "coulomb": (lambda: jko.Interaction.power(-1.0, repulsive=True), QUADRATIC - {"conic"}),
    "callable": (
        lambda: jko.Interaction(lambda z: np.cos(z[:, 0]), lambda z: -np.sin(z) * [1, 0]),
        QUADRATIC - {"conic"},
    ),
}


@pytest.mark.parametrize("case", INTERACTIONS)
@pytest.mark.parametrize("kind", MAKERS)
def test_interactions(kind, case):
    make, names = INTERACTIONS[case]
    mu = MAKERS[kind](seed=3, mass=1.6)
    assert set(check_energy(0.7 * make(), mu)) == promised(names | MOVING, mu)


@pytest.mark.parametrize("curvature", [lambda r: r, None])
def test_local_energies(curvature):
    energy = jko.LocalEnergy(lambda r: r**3 / 6, lambda r: r**2 / 2, curvature)
    for mu in (measures.grid_density(seed=3), measures.histogram(seed=3)):
        assert check_energy(energy, mu) == ["value", "algebra", "first_variation"]


def test_the_u_statistic_is_only_a_value():
    mu = measures.particles(seed=3)
    energy = jko.MMDEnergy(measures.particles(9, seed=5), jko.kernels.Gaussian(0.9), statistic="U")
    assert check_energy(energy, mu) == ["value", "algebra"]


def test_default_entropy_lives_on_grids_and_histograms():
    for mu in (measures.grid_density(seed=3), measures.histogram(seed=3)):
        assert set(check_energy(jko.Entropy(), mu)) == SEPARABLE


@pytest.mark.parametrize("target", ["gaussian", "mixture", "log_density"])
@pytest.mark.parametrize("energy", [jko.KL, jko.PhiDivergence])
def test_divergence_to_a_density_on_a_grid(energy, target):
    mu = measures.grid_density((12, 11), seed=3)
    pi = {
        "gaussian": measures.gaussian(seed=5),
        "mixture": measures.mixture(),
        "log_density": jko.LogDensity(lambda x: -(x**2).sum(axis=1), dim=2),
    }[target]
    assert set(check_energy(energy(pi), mu)) == SEPARABLE


@pytest.mark.parametrize("energy", [jko.KL, jko.InclusiveKL])
def test_divergence_between_gaussians(energy):
    f = energy(measures.gaussian(seed=5, mass=1.4))
    assert check_energy(f, measures.gaussian(seed=6, mass=1.1)) == ["value", "algebra"]


def test_every_public_energy_is_covered():
    from jko.energies import Energy

    public = {
        name
        for name in jko.__all__
        if isinstance(getattr(jko, name), type) and issubclass(getattr(jko, name), Energy)
    }
    covered = {
        "KL",
        "InclusiveKL",
        "PhiDivergence",
        "Entropy",
        "PorousMedium",
        "BoxConstraint",
        "Potential",
        "Interaction",
        "MMDEnergy",
        "LocalEnergy",
        "Moment",
    }
    apart = {"Energy", "TimeDependent", "WassersteinEnergy", "SinkhornDivergence"}  # own files
    # An energy of time has no value itself; what its `at` returns is one of these.
    assert public - apart == covered, "a new energy needs a case in this file"


def test_a_set_is_an_energy_that_is_0_or_infinite():
    mu = measures.histogram(seed=1)
    inside, outside = jko.Moment(well, upper=1e3), jko.Moment(well, lower=1e3)
    assert set(check_energy(inside, mu)) == {"value", "algebra"}
    assert inside.value(mu) == 0
    assert outside.value(mu) == np.inf
    assert (jko.Potential(well) + 2 * inside).value(mu) == jko.Potential(well).value(mu)
