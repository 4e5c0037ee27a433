"""Atoms listed twice, in another order or in other digits are one measure: one value, one step."""

from functools import cache

import numpy as np
import pytest

import jko

K = jko.kernels.Gaussian(1.0)
RNG = np.random.default_rng(3)
X, W, T = RNG.normal(size=(6, 1)), RNG.dirichlet(np.ones(6)), RNG.dirichlet(np.ones(6))
OTHER = jko.Histogram(RNG.normal(size=(5, 1)), RNG.dirichlet(np.ones(5)))
ORDER = RNG.permutation(6)
GEOMETRIES = (
    jko.Wasserstein(), jko.Wasserstein(p=1.5), jko.Hellinger(), jko.Hellinger(mass="fixed"),
    jko.SphericalHellinger(), jko.MMD(K), jko.MMD(K, mass="free"), jko.WassersteinFisherRao(),
    jko.Divergence(1.0), jko.Divergence(2.0),
)  # fmt: skip


def twice(w, share):
    """The first atom in two parts, the second one at the end."""
    return np.append(np.append((1 - share) * w[:1], w[1:]), share * w[0])


LISTS = {
    "twice": (
        jko.Histogram(np.vstack([X, X[:1]]), twice(W, 0.3)),
        jko.Histogram(np.vstack([X, X[:1]]), twice(T, 0.6)),
        lambda w: np.append(w[0] + w[-1], w[1:-1]),
    ),
    "in another order": (
        jko.Histogram(X[ORDER], W[ORDER]),
        jko.Histogram(X[ORDER], T[ORDER]),
        lambda w: w[np.argsort(ORDER)],
    ),
    "in single precision": (
        jko.Histogram(X, W),
        jko.Histogram(X.astype(np.float32), T.astype(np.float32)),
        lambda w: w,
    ),
    "a few units off": (
        jko.Histogram(X, W),
        jko.Histogram(X * (1 + 2.0**-52), T),
        lambda w: w,
    ),
}

#: Relative change of values that the digits of the list account for.
DIGITS = {"in single precision": 1e-5, "a few units off": 1e-12}


def energies(target):
    return {
        "KL": jko.KL(target),
        "inclusive KL": jko.InclusiveKL(target),
        "half chi^2": jko.PhiDivergence(target, p=2.0),
        "MMD": jko.MMDEnergy(target, K),
        "MMD to other atoms": jko.MMDEnergy(OTHER, K),
        "V": jko.Potential(lambda x: (x**2).sum(axis=1)),
        "interaction": jko.Interaction(K),
        "transport": jko.WassersteinEnergy(target),
        "Sinkhorn": jko.SinkhornDivergence(target, 1e-3),
    }


@cache
def of_each_atom_once(name):
    """The value of an energy, and its step in every geometry; None where it has none."""
    plain, steps = energies(jko.Histogram(X, T))[name], []
    for geometry in GEOMETRIES:
        try:
            steps.append(jko.step(jko.Histogram(X, W), plain, geometry, 0.4, throw=False, rng=0))
        except jko.JkoError:
            steps.append(None)
    return plain.value(jko.Histogram(X, W)), steps


@pytest.mark.parametrize("listed", LISTS)
@pytest.mark.parametrize("name", energies(OTHER))
def test_energies_and_steps(name, listed):
    mu, target, back = LISTS[listed]
    (value, steps), again = of_each_atom_once(name), energies(target)[name]
    digits = DIGITS.get(listed, 1e-12)
    assert again.value(mu) == pytest.approx(value, rel=digits)
    taken = 0
    for geometry, one in zip(GEOMETRIES, steps, strict=True):
        if one is None:
            continue
        two = jko.step(mu, again, geometry, 0.4, throw=False, rng=0)
        label = f"{geometry}: {one.message} but {two.message}"
        assert two.status == one.status, label
        room = abs(one.gap or 0) + abs(two.gap or 0) + max(digits, 1e-9) * abs(one.objective)
        assert two.objective == pytest.approx(one.objective, abs=room), label
        assert np.abs(back(two.measure.weights) - one.measure.weights).max() < 3e-4, label
        taken += one.success
    assert taken >= 4


@pytest.mark.parametrize("listed", LISTS)
@pytest.mark.parametrize(
    "distance",
    [
        *(g.sqdistance for g in GEOMETRIES if isinstance(g, (jko.Wasserstein, jko.MMD))),
        jko.WassersteinFisherRao().sqdistance,
        lambda a, b: jko.transport(a, b).value,
        lambda a, b: jko.transport(a, b, relax=1.0).value,
        lambda a, b: jko.transport(a, b, reg=0.1, reference="product").value,
        lambda a, b: jko.SinkhornDivergence(b, 0.1).value(a),
        lambda a, b: jko.barycentre([a, b]).value,
        lambda a, b: jko.dro.worst_case(lambda x: x[:, 0] ** 2, a, jko.Divergence(1.0),
                                        radius=0.1).value,
    ],
)  # fmt: skip
def test_distances_and_what_is_made_of_them(distance, listed):
    found = distance(LISTS[listed][0], OTHER)
    assert found == pytest.approx(distance(jko.Histogram(X, W), OTHER), rel=1e-8, abs=1e-12)
