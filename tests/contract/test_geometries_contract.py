"""Every public geometry is a metric whose potential and geodesics belong together."""

import pytest
from generators import measures

import jko
from jko.testing import check_geometry

ALL = {"axioms", "triangle", "rate", "potential", "geodesic"}
PRICED = ALL | {"penalty"}
GAUSS = jko.kernels.Gaussian(0.9)
MAKERS = {
    "histogram": measures.histogram,
    "particles": measures.particles,
    "grid": measures.grid_density,
}
#: Geometry, masses of the measures it compares, checks that must run on a shared support.
CASES = {
    "hellinger": (jko.Hellinger(), (1.7, 0.9, 2.0), PRICED),
    "hellinger-fixed": (jko.Hellinger(mass="fixed"), (1.7,) * 3, PRICED - {"geodesic"}),
    "spherical": (jko.SphericalHellinger(), (1.7,) * 3, ALL),
    "mmd": (jko.MMD(GAUSS), (1.7,) * 3, PRICED),
    "mmd-free": (jko.MMD(GAUSS, mass="free"), (1.7, 0.9, 2.0), PRICED),
    "mmd-energy": (jko.MMD(jko.kernels.Energy()), (1.7,) * 3, PRICED),
    "kernel-fisher-rao": (
        jko.geometries.KernelFisherRao(GAUSS, 0.3),
        (1.7,) * 3,
        ALL - {"geodesic"},
    ),
    "kernel-fisher-rao-free": (
        jko.geometries.KernelFisherRao(GAUSS, 0.3, mass="free"),
        (1.7, 0.9, 2.0),
        ALL - {"geodesic"},
    ),
    "wasserstein": (jko.Wasserstein(), (1.7,) * 3, ALL),
    "wasserstein-fisher-rao": (jko.WassersteinFisherRao(0.7, 1.3), (1.7, 0.9, 2.0), ALL),
}


def triple(make, masses):
    first = make(seed=1, mass=masses[0])
    return first, *(measures.sibling(first, s, mass=m) for s, m in enumerate(masses[1:], start=2))


@pytest.mark.parametrize("rate", [1.0, 2.5])
@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("case", CASES)
def test_on_one_support(case, kind, rate):
    geometry, masses, names = CASES[case]
    a, b, c = triple(MAKERS[kind], masses)
    assert set(check_geometry(rate * geometry, a, b, c)) == names


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("case", CASES)
def test_on_different_supports_of_different_sizes(case, dim):
    geometry, masses, _ = CASES[case]
    sizes = (11, 17, 6)
    a, b, c = (
        measures.particles(n, dim, seed=i, mass=m)
        for i, (n, m) in enumerate(zip(sizes, masses, strict=True))
    )
    ran = set(check_geometry(geometry, a, b, c))
    if case.startswith(("mmd", "wasserstein")):
        assert ran == ALL
    else:
        assert {"axioms", "triangle", "rate"} <= ran


@pytest.mark.parametrize("mass", [1.0, 2.3])
def test_wasserstein_between_gaussians(mass):
    a, b, c = (measures.gaussian(seed=s, mass=mass) for s in (1, 2, 3))
    assert set(check_geometry(0.5 * jko.Wasserstein(), a, b, c)) == ALL - {"potential"}


def test_mmd_between_gaussians():
    a, b = measures.gaussian(seed=1), measures.mixture()
    assert set(check_geometry(jko.MMD(GAUSS), a, b)) == {"axioms", "rate"}


@pytest.mark.parametrize("p", [0, 0.5, 1, 2])
@pytest.mark.parametrize("mass", ["free", "fixed"])
def test_divergence_is_no_metric_but_has_a_potential(p, mass):
    a = measures.histogram(seed=1, mass=1.7, zeros=0 if p == 0 else None)
    b = measures.sibling(a, 2, mass=0.8 if mass == "free" else None, zeros=0)
    geometry = 1.5 * jko.Divergence(p=p, mass=mass)
    assert check_geometry(geometry, a, b, metric=False) == [
        "axioms",
        "rate",
        "penalty",
        "potential",
    ]


def test_every_public_geometry_is_covered():
    from jko.geometries.base import Geometry

    public = {
        name
        for name in jko.geometries.__all__
        if issubclass(getattr(jko.geometries, name), Geometry)
    }
    covered = {type(geometry).__name__ for geometry, *_ in CASES.values()}
    missing = (public - {"Geometry"}) ^ (covered | {"Divergence"})
    assert not missing, "a new geometry needs a case in this file"
