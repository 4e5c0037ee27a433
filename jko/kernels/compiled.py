"""Exact sums by loops that numba compiles (the extra `fast`): nothing leaves the cache.

A row of squared distances, of profiles and their sum live in a buffer of `WIDTH` numbers. One
triangle of the matrix is swept when y is x. Differences are taken coordinate by coordinate, so no
digit is lost, for close pairs neither. The exponential is written out, since it becomes vector
instructions only then; it is good to 1.5 units in the last place. The readable twins are
`block_sums` and `difference_sums` of `pairwise`; `radial.compiled` says where which one is faster.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Protocol, TypeVar, cast

import numba
import numpy as np

from jko.validation import Array

#: Columns of one buffer.
WIDTH = 512
#: Pairs of one compiled call, some 0.1 s: Ctrl-C is heard in between.
PAIRS = 2**27
LOG2E = 1 / math.log(2)
LN2_HIGH = 0.693147180369123816490
LN2_LOW = 1.90821492927058770002e-10

#: Sums may be taken in any order and products joined to them; nothing else is relaxed.
SUMMING = {"reassoc", "contract", "nsz"}
Function = TypeVar("Function", bound=Callable[..., object])
Profile = Callable[[float, float], float]


class _Inlining(Protocol):
    """A decorator that keeps what a function takes and gives."""

    def __call__(self, function: Function, /) -> Function: ...


# Inlined by LLVM, after each function was translated with its own rules of rounding.
# The error model of NumPy has no branch at a division, which would keep vectors away.
_inline = cast(_Inlining, numba.njit(forceinline=True, error_model="numpy"))
_inline_sums = cast(_Inlining, numba.njit(forceinline=True, fastmath=SUMMING))


@_inline
def _exp(t: float) -> float:
    """exp(t) for t <= 0: a power of 2 times a polynomial on [-ln 2/2, ln 2/2]; 0 below -708."""
    power = np.floor(max(t, -708.0) * LOG2E + 0.5)
    r = (max(t, -708.0) - power * LN2_HIGH) - power * LN2_LOW
    p = 1 / 479001600
    p = p * r + 1 / 39916800
    p = p * r + 1 / 3628800
    p = p * r + 1 / 362880
    p = p * r + 1 / 40320
    p = p * r + 1 / 5040
    p = p * r + 1 / 720
    p = p * r + 1 / 120
    p = p * r + 1 / 24
    p = p * r + 1 / 6
    p = p * r + 1 / 2
    p = p * r + 1.0
    p = p * r + 1.0
    return p * np.int64((np.int64(power) + 1023) << 52).view(np.float64) if t > -708.0 else 0.0


# Profiles and slopes as functions of the squared distance and a rate, as in `stationary`.


@_inline
def _gaussian(sq: float, rate: float) -> float:
    return float(_exp(-rate * sq))


@_inline
def _gaussian_slope(sq: float, rate: float) -> float:
    return float(-2.0 * rate * _exp(-rate * sq))


@_inline
def _laplace(sq: float, rate: float) -> float:
    return float(_exp(-rate * math.sqrt(sq)))


@_inline
def _laplace_slope(sq: float, rate: float) -> float:
    r = math.sqrt(sq)
    return -rate * _exp(-rate * r) / r if r > 0.0 else 0.0


@_inline
def _matern3(sq: float, rate: float) -> float:
    a = rate * math.sqrt(sq)
    return float((1.0 + a) * _exp(-a))


@_inline
def _matern3_slope(sq: float, rate: float) -> float:
    return float(-rate * rate * _exp(-rate * math.sqrt(sq)))


@_inline
def _matern5(sq: float, rate: float) -> float:
    a = rate * math.sqrt(sq)
    return float((1.0 + a + a * a / 3.0) * _exp(-a))


@_inline
def _matern5_slope(sq: float, rate: float) -> float:
    a = rate * math.sqrt(sq)
    return float(-rate * rate / 3.0 * (1.0 + a) * _exp(-a))


@_inline
def _multiquadric(sq: float, rate: float) -> float:
    return 1.0 / math.sqrt(1.0 + rate * sq)


@_inline
def _multiquadric_slope(sq: float, rate: float) -> float:
    u = 1.0 + rate * sq
    return -rate / (u * math.sqrt(u))


@_inline
def _energy(sq: float, rate: float) -> float:
    return -math.sqrt(sq)


@_inline
def _energy_slope(sq: float, rate: float) -> float:
    return -1.0 / math.sqrt(sq) if sq > 0.0 else 0.0


FORMULAS: dict[str, tuple[Profile, Profile]] = {
    "gaussian": (_gaussian, _gaussian_slope),
    "laplace": (_laplace, _laplace_slope),
    "matern3": (_matern3, _matern3_slope),
    "matern5": (_matern5, _matern5_slope),
    "multiquadric": (_multiquadric, _multiquadric_slope),
    "energy": (_energy, _energy_slope),
}


def sums(formula: str, rate: float, x: Array, y: Array, v: Array) -> Array:
    """Sum over j of v_j k(x_i, y_j), shape (n, ...) like v (m, ...)."""
    columns = np.ascontiguousarray(v.reshape(len(v), -1).T)
    out = _run(_sum_loop(formula), rate, x, y, columns, len(columns))
    return out.T.reshape(len(x), *v.shape[1:])


def gradient_sums(formula: str, rate: float, x: Array, y: Array, v: Array) -> Array:
    """Sum over j of v_j grad_1 k(x_i, y_j), shape (n, d)."""
    return _run(_gradient_loop(formula), rate, x, y, v[None], x.shape[1]).T


def _run(loop: Callable[..., None], rate: float, x: Array, y: Array, v: Array, rows: int) -> Array:
    """The loop over pieces of the rows; coordinates, weights and sums are rows of arrays."""
    out = np.zeros((rows, len(x)))
    a = np.ascontiguousarray(x.T)
    b = a if y is x else np.ascontiguousarray(y.T)
    height = max(1, PAIRS // max(1, len(y)))
    for start in range(0, len(x), height):
        loop(start, min(start + height, len(x)), a, b, v, rate, y is x, out)
    return np.ascontiguousarray(out)


@_inline_sums
def _squares(x: Array, i: int, y: Array, first: int, sq: Array) -> None:
    """|x_i - y_j|^2 into `sq` for j from `first`."""
    sq[:] = 0.0
    for k in range(len(x)):
        c, row = x[k, i], y[k, first : first + len(sq)]
        for j in range(len(sq)):
            sq[j] += (c - row[j]) * (c - row[j])


@cache
def _sum_loop(formula: str) -> Callable[..., None]:
    profile = FORMULAS[formula][0]

    def loop(
        start: int, stop: int, x: Array, y: Array, v: Array, rate: float, half: bool, out: Array
    ) -> None:
        buffer, m = np.empty(WIDTH), y.shape[1]
        for left in range(0, m, WIDTH):
            right = min(left + WIDTH, m)
            for i in range(start, min(stop, right) if half else stop):
                first = max(left, i) if half else left
                kept = buffer[: right - first]
                _squares(x, i, y, first, kept)
                for j in range(len(kept)):
                    kept[j] = profile(kept[j], rate)
                for q in range(len(v)):
                    weights, total = v[q, first:right], 0.0
                    for j in range(len(kept)):
                        total += kept[j] * weights[j]
                    out[q, i] += total
                    if half:
                        own, mirror = v[q, i], out[q, first:right]
                        begin = 1 if first == i else 0  # a pair with itself counts once
                        for j in range(begin, len(kept)):
                            mirror[j] += own * kept[j]

    ready: Callable[..., None] = numba.njit(nogil=True, fastmath=SUMMING)(loop)
    return ready


@cache
def _gradient_loop(formula: str) -> Callable[..., None]:
    slope = FORMULAS[formula][1]

    def loop(
        start: int, stop: int, x: Array, y: Array, v: Array, rate: float, half: bool, out: Array
    ) -> None:
        buffer, m = np.empty(WIDTH), y.shape[1]
        for left in range(0, m, WIDTH):
            right = min(left + WIDTH, m)
            for i in range(start, min(stop, right) if half else stop):
                first = max(left, i) if half else left
                kept, weights = buffer[: right - first], v[0, first:right]
                _squares(x, i, y, first, kept)
                for j in range(len(kept)):
                    kept[j] = slope(kept[j], rate)
                for k in range(len(x)):
                    c, row, total = x[k, i], y[k, first:right], 0.0
                    for j in range(len(kept)):
                        total += kept[j] * weights[j] * (c - row[j])
                    out[k, i] += total
                    if half:  # a pair with itself pulls nowhere
                        own, mirror = v[0, i], out[k, first:right]
                        for j in range(len(kept)):
                            mirror[j] -= own * kept[j] * (c - row[j])

    ready: Callable[..., None] = numba.njit(nogil=True, fastmath=SUMMING)(loop)
    return ready
