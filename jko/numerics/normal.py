r"""Sums of products of tiny numbers without denormal ones, on any processor.

Numbers below 2.2e-308 are denormal, and many processors take ten to a hundred times as long over a
product with one. So kernels keep no entry below TINY, what they are applied to is scaled up to LIFT
and keeps none below FAINT, and TINY * FAINT is still normal: every product and every sum is. With n
sources what is left out is at most n (LIFT * TINY + FAINT), so that results above SAFE * LIFT are
right to rounding.
"""

from __future__ import annotations

import numpy as np

from jko.validation import Array

#: The largest scaled value; sums of 10^12 of them do not overflow.
LIFT = 1e295
#: The least entry of a kernel, and of what it is applied to.
TINY, FAINT = 1e-295, 1e-10
#: Results above this share of LIFT lost nothing that matters.
SAFE = 1e-280
#: log(FAINT / LIFT).
LEAST_LOG = float(np.log(FAINT) - np.log(LIFT))


def without_tiny(kernel: Array) -> Array:
    """A kernel without entries that cannot matter, in place."""
    kernel[np.abs(kernel) < TINY] = 0.0
    return kernel


def without_faint(values: Array) -> Array:
    """Scaled values without those that cannot matter, in place."""
    values[np.abs(values) < FAINT] = 0.0
    return values


def exp_scaled(v: Array) -> Array:
    """LIFT e^v for v <= 0, entries -inf allowed; those that cannot matter are 0."""
    out = np.exp(np.maximum(v, LEAST_LOG))
    out *= LIFT
    out[v < LEAST_LOG] = 0.0
    return np.asarray(out)


def log_scaled(results: Array) -> Array:
    """log(results / LIFT), without the rounding of log LIFT; -inf at 0."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(results * (1 / LIFT)))


def lifted(values: Array) -> tuple[Array, float]:
    """Values of any sign as scaled ones, and what a result is to be multiplied with."""
    top = float(np.abs(values).max(initial=0.0))
    if not 0 < top < np.inf:
        return np.zeros_like(values), top
    return without_faint(values / top * LIFT), top


def lowered(results: Array, top: float) -> Array:
    """Results from scaled ones."""
    return np.asarray(without_faint(results) / LIFT * top)


def product(left: Array, right: Array, out: Array | None = None) -> Array:
    """left @ right: every product of kernels with scaled values, so that tests see them all."""
    return np.asarray(np.matmul(left, right, out=out))
