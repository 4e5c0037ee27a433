"""Products with exp(L) in the log domain, for any dense L: potentials are absorbed."""

from __future__ import annotations

import numpy as np

from jko.numerics.products import product
from jko.validation import Array

#: Arguments may drift this far (in log) from the one absorbed.
DRIFT = 60.0
#: Entries below this cannot matter beside rows whose sum is 1, drift included.
LEAST_ENTRY = 1e-250


class LogMatrix:
    """v -> log(exp(L) e^v), for L (n, m) with entries -inf allowed (also whole rows).

    The rows of exp(L + alpha) are normalised once, beta being the log of their sums; then the
    product is beta + log(A e^{v - alpha}), a matrix-vector product as long as v stays within
    DRIFT of alpha. It is absorbed anew when it does not.
    """

    def __init__(self, log_entries: Array) -> None:
        self.log_entries = log_entries
        self.count = 0
        self._alpha: Array | None = None

    def __call__(self, v: Array) -> Array:
        self.count += 1
        with np.errstate(under="ignore", divide="ignore"):
            drift = self._drift(v)
            if drift is not None:
                return np.asarray(self._beta + np.log(product(self._matrix, np.exp(drift))))
            return self._absorb(v)

    def _drift(self, v: Array) -> Array | None:
        """v minus the absorbed argument, None where it is too far or charges other entries."""
        if self._alpha is None:
            return None
        charged = np.isfinite(v)
        if not np.array_equal(charged, np.isfinite(self._alpha)):
            return None
        drift = v - np.where(charged, self._alpha, 0.0)
        return drift if np.abs(drift[charged]).max(initial=0.0) <= DRIFT else None

    def _absorb(self, v: Array) -> Array:
        work = self.log_entries + v
        top = work.max(axis=1, keepdims=True)
        top = np.where(np.isfinite(top), top, 0.0)
        np.exp(np.subtract(work, top, out=work), out=work)
        total = work.sum(axis=1, keepdims=True)
        self._beta: Array = (top + np.log(total))[:, 0]
        work /= np.where(total > 0, total, 1.0)
        work[work < LEAST_ENTRY] = 0.0
        self._matrix, self._alpha = work, v.copy()
        return np.asarray(self._beta)
