"""Products with exp(L) in the log domain, for sparse L: the dense twin is `LogMatrix`."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from jko.numerics.log_matrix import LogMatrix
from jko.validation import Array, Index


class LogSparse(LogMatrix):
    """v -> log(exp(L) e^v) for L with -inf where nothing is stored; every row stores something.

    Parameters
    ----------
    log_entries : (nnz,) array
        Of a CSR array, row by row.
    indices, indptr : arrays of int
    """

    def __init__(self, log_entries: Array, indices: Index, indptr: Index) -> None:
        super().__init__(log_entries)
        self.indices, self.indptr = indices, indptr

    def __call__(self, v: Array) -> Array:
        self.count += 1
        with np.errstate(under="ignore", divide="ignore"):
            drift = self._drift(v)
            if drift is not None:
                return np.asarray(self._beta + np.log(self._sparse @ np.exp(drift)))
            return self._absorb(v)

    def _absorb(self, v: Array) -> Array:
        starts, counts = self.indptr[:-1], np.diff(self.indptr)
        work = self.log_entries + v[self.indices]
        top = np.maximum.reduceat(work, starts)
        top = np.where(np.isfinite(top), top, 0.0)
        work -= np.repeat(top, counts)
        np.exp(work, out=work)
        total = np.add.reduceat(work, starts)
        self._beta = top + np.log(total)
        work /= np.repeat(np.where(total > 0, total, 1.0), counts)
        n = len(starts)
        self._sparse = csr_array((work, self.indices, self.indptr), shape=(n, v.size))
        self._alpha = v.copy()
        return np.asarray(self._beta)
