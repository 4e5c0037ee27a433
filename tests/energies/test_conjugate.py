"""Bounds of conjugates from above: for any guess of the maximiser, however wrong."""

import mpmath as mp
import numpy as np
import pytest

from jko.energies.conjugate import brackets, bregman, response
from jko.forms.separable import Separable

POWERS = {
    "plain": {},
    "entropy": {1.0: 1.0},
    "inclusive": {0.0: 0.3},
    "half": {0.5: 2.0},
    "porous": {2.0: 1.0},
    "steep": {4.0: 1e-3},
    "mixed": {1.0: 1e-6, 3.0: 2.0, 0.0: 1e-9},
}


def one_atom(name, linear, upper=np.inf):
    powers = {p: np.array([c]) for p, c in POWERS[name].items()}
    return Separable(np.array([linear]), powers, np.array([upper]))


def exact(h, w, y):
    """h(w) + h*(y) - y w in 60 digits: bisection on the derivative."""
    linear, upper, w, y = (mp.mpf(float(v)) for v in (h.linear[0], h.ceiling[0], w, y))
    powers = [(mp.mpf(p), mp.mpf(float(c[0]))) for p, c in h.powers.items()]

    def value(v):
        out = linear * v
        for p, c in powers:
            if p == 1:
                out += c * (v * mp.log(v) - v) if v > 0 else 0
            elif p == 0:
                out += mp.inf if v == 0 else -c * mp.log(v)
            else:
                out += c * v**p / (p * (p - 1))
        return out

    def slope(v):
        return (
            y
            - linear
            - sum(c * (mp.log(v) if p == 1 else v ** (p - 1) / (p - 1)) for p, c in powers)
        )

    lo, hi = mp.mpf("1e-400"), min(upper, mp.mpf("1e400"))
    if slope(hi) >= 0:
        if not mp.isinf(upper):
            return value(w) + y * upper - value(upper) - y * w
        return mp.inf if slope(hi) > 0 else value(w) - y * w
    if slope(lo) > 0:
        for _ in range(500):
            middle = mp.sqrt(lo * hi)
            lo, hi = (middle, hi) if slope(middle) > 0 else (lo, middle)
    return value(w) + y * lo - value(lo) - y * w


@pytest.mark.parametrize("upper", [np.inf, 0.7], ids=["open", "ceiling"])
@pytest.mark.parametrize("name", POWERS)
def test_any_guess_gives_a_bound_and_a_good_one_a_sharp_one(name, upper, rng):
    with mp.workdps(60):
        for _ in range(8):
            scale = 10.0 ** rng.uniform(-6, 6)
            h = one_atom(name, scale * rng.normal(), upper)
            w = min(upper, 10.0 ** rng.uniform(-12, 0))
            y = h.gradient(np.array([w])) + scale * rng.choice([0.0, 1e-9, 1.0, -1.0])
            true = exact(h, w, y[0])
            w = np.array([w])
            fixed = [np.array([v]) for v in (1.0, 1e-30, 1e-300, np.inf)]
            guesses = [response(h, y, w), w, *fixed]
            for guess in guesses:
                assert brackets(h, w, y, guess)[0] >= true
            best = mp.mpf(float(brackets(h, w, y, guesses[0])[0]))
            size = (abs(h.linear[0]) + abs(y[0])) * max(w[0], min(guesses[0][0], 1e200))
            assert mp.isinf(true) or best - true <= 1e-7 * true + 1e-14 * size


def test_a_response_one_ulp_below_its_ceiling_keeps_its_bracket():
    """y above the slope at the ceiling: the bound is that of the ceiling, 0.4 here."""
    h = Separable(np.zeros(1), {}, np.array([0.4]))
    for guess in (0.4, np.nextafter(0.4, 0), 0.4 * (1 - 1e-9), 0.1, np.inf, np.nan):
        got = brackets(h, np.zeros(1), np.ones(1), np.array([guess]))
        np.testing.assert_allclose(got, 0.4, rtol=1e-12)


def test_nothing_proved_is_infinite():
    free = Separable(np.zeros(1), {0.5: np.ones(1)})
    assert brackets(free, np.ones(1), np.zeros(1), np.ones(1))[0] == np.inf
    flat = Separable(np.zeros(1))
    assert brackets(flat, np.ones(1), np.full(1, 1e-16), np.ones(1))[0] == np.inf
    assert brackets(flat, np.ones(1), np.zeros(1), np.ones(1))[0] == 0.0
    closed = Separable(np.zeros(2), {}, np.zeros(2))
    np.testing.assert_array_equal(
        brackets(closed, np.array([0.0, 1.0]), np.ones(2), np.zeros(2)), [0.0, np.inf]
    )


@pytest.mark.parametrize("p", [-2.0, -0.5, 0.0, 0.5])
@pytest.mark.parametrize("c", [1e-308, 1e-290, 1e-200])
def test_powers_that_overflow_keep_their_sign(p, c):
    # w^{p-1} overflows before c w^{p-1} says anything: the sign was unknown, and no bracket proved.
    h = Separable(np.full(1, 4.6), {p: np.full(1, c)})
    w, y = np.full(1, 2.6e-8), np.full(1, 4.6 * (1 - 1e-13))
    bound = brackets(h, w, y, w)[0]
    with mp.workdps(60):
        true = float(exact(h, w[0], y[0]))
    assert np.isfinite(bound)
    assert bound >= true * (1 - 1e-9)


def test_bounds_cover_an_uncertain_slope(rng):
    h = Separable(rng.normal(size=50), {1.0: np.ones(50), 2.0: rng.exponential(size=50)})
    w, y = rng.exponential(size=50), rng.normal(size=50)
    bound = brackets(h, w, y, response(h, y, w), 1e-3)
    for shift in (-1e-3, 1e-3):
        assert (bound >= brackets(h, w, y + shift, response(h, y + shift, w)) * (1 - 1e-7)).all()


@pytest.mark.parametrize("p", [-0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 6.0])
def test_divergences_of_any_ratio(p):
    h = Separable(np.zeros(1), {p: np.ones(1)})
    with mp.workdps(60):
        for v in (1e-20, 1e-3, 7.0):
            for e in (-0.9, -0.1, -2.9e-3, 1e-12, 3.1e-3, 0.3, 0.6, 40.0):
                w = np.array([v * (1 + e)])
                a, b, power = mp.mpf(float(w[0])), mp.mpf(v), mp.mpf(p)
                if p == 1:
                    true = a * mp.log(a / b) - a + b
                elif p == 0:
                    true = a / b - 1 - mp.log(a / b)
                else:
                    true = a**power - b**power - power * b ** (power - 1) * (a - b)
                    true /= power * (power - 1)
                got = bregman(h, w, np.array([v]))[0]
                assert abs(got / true - 1) <= 1e-8
