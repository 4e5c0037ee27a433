"""Moduli of convexity, along geodesics, and the warning of a step too long to be unique."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import jko

WELL = jko.Potential(
    lambda x: (x[:, 0] ** 2 - 1) ** 2, lambda x: 4 * x * (x**2 - 1), convexity=-4.0
)
KNOWN = {
    "well": WELL,
    "KL": jko.KL(jko.Gaussian([0.5], [[2.0]])),
    "attraction": jko.Interaction.quadratic(),
    "sum": jko.Interaction.power(1.5) + 2 * WELL,
    "entropy": jko.Entropy() + jko.PorousMedium(2),
}


@pytest.mark.parametrize("name", list(KNOWN))
def test_modulus_along_geodesics(name: str) -> None:
    """F(mu_t) <= (1-t) F(mu_0) + t F(mu_1) - modulus/2 t (1-t) W2^2 for displaced particles."""
    energy, geometry, rng = KNOWN[name], 0.5 * jko.Wasserstein(), np.random.default_rng(0)
    modulus = energy.convexity(geometry)
    assert modulus is not None
    for _ in range(20):
        if name == "KL":
            a, b = (jko.Gaussian(rng.normal(size=1), [[rng.uniform(0.2, 3)]]) for _ in "ab")
        else:
            a, b = (jko.Particles(np.sort(rng.normal(size=(7, 1)), axis=0)) for _ in "ab")
        t = rng.uniform(0.1, 0.9)
        if name == "KL":
            middle = geometry.geodesic(a, b, t)
        else:
            middle = jko.Particles((1 - t) * a.points + t * b.points)
        chord = (1 - t) * energy.value(a) + t * energy.value(b)
        bend = modulus / 2 * t * (1 - t) * geometry.sqdistance(a, b)
        assert energy.value(middle) <= chord - bend + 1e-9


def test_unknown_moduli_are_none() -> None:
    kernel = jko.kernels.Gaussian(1.0)
    target = jko.Particles(np.zeros((1, 1)))
    for energy in (
        jko.MMDEnergy(target, kernel),
        jko.Potential(lambda x: x[:, 0]),
        WELL + jko.MMDEnergy(target, kernel),
        jko.PorousMedium(0.5),
        jko.Interaction.logarithmic(),
    ):
        assert energy.convexity(jko.Wasserstein()) is None
    assert WELL.convexity(jko.Hellinger()) is None


def test_a_step_too_long_to_be_unique_warns() -> None:
    mu = jko.Particles(np.array([[0.1], [0.7]]))
    with pytest.warns(jko.JkoWarning, match=r"tau = 0\.3 is too long .* use tau < 0\.25"):
        jko.step(mu, WELL, jko.Wasserstein(), 0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jko.step(mu, WELL, jko.Wasserstein(), 0.2)
        jko.step(mu, WELL, 0.5 * jko.Wasserstein(), 0.3)
