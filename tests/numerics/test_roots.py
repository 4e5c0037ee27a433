"""Roots of exponential sums, from starts where their terms or derivatives overflow."""

import numpy as np
import pytest

from jko.numerics.roots import exponential_sum_root, last_true


@pytest.mark.parametrize("log_c", [-5, 0, 20, 60, 120])
@pytest.mark.parametrize("power", [5.0, -0.5])
def test_root_from_far_starts(log_c, power):
    # From z = -constant the term is near the largest double for some atoms: its derivative
    # overflows there first, and a Newton step of length 0 must not pass for the root.
    constant = np.linspace(-200.0, 200.0, 100_001)
    c = np.full_like(constant, np.sign(power) * np.exp(log_c))
    z = exponential_sum_root(constant, 1.0, [(c, power)], -constant)
    with np.errstate(over="ignore"):
        residual = constant + z + c * np.exp(power * z)
    assert np.abs(residual / np.maximum(1.0, np.abs(constant))).max() < 1e-9


def _sides(constant, slope, terms, z):
    """The sum a few ulps below and above z, and the size of its terms."""
    step = 8 * np.finfo(float).eps * np.maximum(1.0, np.abs(z))

    def total(x):
        with np.errstate(over="ignore"):
            parts = [constant, slope * x, *(c * np.exp(k * x) for c, k in terms)]
        return sum(parts), sum(np.abs(part) for part in parts)

    (below, size), (above, _) = total(z - step), total(z + step)
    return below / size, above / size


@pytest.mark.parametrize("scale", [1e-17, 1e-12, 1e-6])
def test_starts_near_one_are_no_roots(scale, rng):
    """Near log w = 0 the linear part alone vanishes, and Newton in the logs makes tiny steps."""
    n = 4000
    constant = rng.normal(size=n) * 10 ** rng.uniform(-12, 3, n)
    slope = 10 ** rng.uniform(-9, 6, n)
    terms = [(10 ** rng.uniform(-16, 6, n), 1.0), (-(10 ** rng.uniform(-16, 6, n)), -0.5)]
    z = exponential_sum_root(constant, slope, terms, scale * rng.normal(size=n))
    below, above = _sides(constant, slope, terms, z)
    assert below.max() <= 2e-15
    assert above.min() >= -2e-15


def test_start_one_ulp_from_one_finds_the_root_of_the_exact_start():
    # Half a porous medium and an entropic penalty: 2 w + log(w / m') / 10 = 0.
    starts = np.array([0.7 + 0.2 + 0.1, 1.0])
    roots = exponential_sum_root(np.zeros(2), 0.1, [(np.full(2, 2.0), 1.0)], np.log(starts))
    np.testing.assert_allclose(2 * np.exp(roots), -0.1 * roots, rtol=1e-14)


def _over_decades(rng, n, decades):
    """Positive numbers over so many decades either way, every fifth nought."""
    values = 10 ** rng.uniform(-decades, decades, n)
    values[rng.random(n) < 0.2] = 0.0
    return values


@pytest.mark.parametrize("power", [0.5, 3.0, -1.5])
def test_one_exponential_over_all_decades(power, rng):
    """The sum changes sign within some ulps of the root, counted in 40 digits."""
    from mpmath import mp, mpf

    n = 300
    constant = rng.choice([-1.0, 1.0], n) * _over_decades(rng, n, 300)
    slope = _over_decades(rng, n, 300)
    c = np.sign(power) * np.maximum(_over_decades(rng, n, 307), 1e-307)
    z = exponential_sum_root(constant, slope, [(c, power)])

    def total(i, x):
        return mpf(constant[i]) + mpf(slope[i]) * x + mpf(c[i]) * mp.exp(power * mpf(x))

    with mp.workdps(40):
        for i in range(n):
            step = 16 * np.finfo(float).eps * max(1.0, abs(z[i])) if np.isfinite(z[i]) else 0.0
            assert z[i] == -np.inf or total(i, max(z[i] - step, -745.0)) <= 0 or z[i] == np.inf
            assert z[i] == np.inf or total(i, min(z[i] + step, 745.0)) >= 0 or z[i] == -np.inf
            if z[i] == np.inf:
                assert total(i, mpf(745)) <= 0
            if z[i] == -np.inf:
                assert total(i, mpf(-745)) >= 0


def test_halving_ends_where_the_condition_still_holds():
    asked = []

    def holds(x):
        asked.append(x)
        return x <= 0.3

    found = last_true(holds, 0.0, 1.0, 40)
    assert 0.3 - 2**-40 <= found <= 0.3
    assert len(asked) == 40
    assert last_true(lambda x: True, 0.0, 1.0, 50) == pytest.approx(1.0, abs=1e-14)
    assert last_true(lambda x: False, 0.0, 1.0, 50) == 0.0
