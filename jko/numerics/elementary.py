"""Elementary functions that are safe at zero, and the size of rounding."""

from __future__ import annotations

import numpy as np

from jko.validation import Array

#: The distance from 1 to the next double: every rounding is a multiple of it.
EPS = float(np.finfo(float).eps)


def log_quotient(a: Array, b: Array) -> Array:
    """log(a/b) of positive numbers, with all its digits where they are close."""
    apart = (a - b) / b
    close = np.abs(apart) < 0.5
    return np.where(close, np.log1p(np.where(close, apart, 0.0)), np.log(a / b))


def xlogy(x: Array, y: Array) -> Array:
    """x log y with 0 log 0 = 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(x == 0, 0.0, x * np.log(y))


def log_or_minus_inf(x: Array) -> Array:
    """Logarithm with log 0 = -inf, without a warning: zero weights are legitimate."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(x))


def gram_root(gram: Array) -> Array:
    """R (r, n) with R'R = gram, eigenvalues below rounding clipped.

    Solvers of conic programs get this factor: `quad_form` on a kernel matrix fails in ARPACK.
    """
    values, vectors = np.linalg.eigh((gram + gram.T) / 2)
    keep = values > values[-1] * len(values) * EPS
    root: Array = np.sqrt(values[keep])[:, None] * vectors[:, keep].T
    return root
