"""The density of a cloud of particles, estimated by a kernel of local scale; d <= 3."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.measures.atoms import Particles
from jko.validation import Array

#: Beyond this dimension no density is estimated.
MOST_DIM = 3
#: An estimate rests on at least this many particles, or it is not trusted.
NEIGHBOURS = 10.0
#: Share of the mass whose estimate may be untrustworthy before there is a warning.
TOLERATED = 0.2
#: Neighbours are looked up for about this many particles.
PROBES = 100
#: Points whose kernels are summed at a time.
BLOCK = 1024


@dataclass(frozen=True, eq=False)
class DensityEstimate:
    """Log density (n,) at the particles, and the share of their mass where it rests on few.

    Attributes
    ----------
    log_density : (n,) array
    untrusted : float
    """

    log_density: Array
    untrusted: float


def estimate_density(mu: Particles) -> DensityEstimate:
    r"""sum_j w_j N(x_i; x_j, H) at every particle.

    H = 2 S, S the mean covariance of the k = n^{4/(d+4)} nearest neighbours, over the half of the
    particles where it is smallest: for one Gaussian this is near Scott's rule, and the distance
    between separate modes does not widen it. An estimate is untrusted where the squared weights
    of its kernel say that fewer than `NEIGHBOURS` particles carry it.
    """
    x, w = mu.points, mu.weights / mu.mass
    root = _bandwidth(x[w > 0])
    white = np.linalg.solve(root, (x - x.mean(axis=0)).T).T
    log_norm = -0.5 * mu.dim * np.log(2 * np.pi) - np.log(np.diag(root)).sum()
    density, size = np.empty(mu.n), np.empty(mu.n)
    for i in range(0, mu.n, BLOCK):
        a = white[i : i + BLOCK]
        square = ((a[:, None, :] - white[None]) ** 2).sum(axis=2)
        kernel = np.exp(-0.5 * square) * w
        density[i : i + BLOCK] = kernel.sum(axis=1)
        total = np.maximum((kernel**2).sum(axis=1), 1e-300)
        size[i : i + BLOCK] = density[i : i + BLOCK] ** 2 / total
    untrusted = float(w[size < NEIGHBOURS].sum())
    with np.errstate(divide="ignore"):  # a weightless particle far from all others
        return DensityEstimate(np.log(density) + log_norm, untrusted)


def _bandwidth(x: Array) -> Array:
    """A lower-triangular root of H; a second pass looks for neighbours in the scale of the first.

    In the scale of the whole cloud the neighbours of a point stretch along the line between modes.
    """
    size = x.std(axis=0)
    size[~(size > 0)] = 1.0
    root = np.asarray(np.diag(size), dtype=float)
    for _ in range(2):
        white = np.asarray(np.linalg.solve(root, x.T).T, dtype=float)
        root = np.asarray(np.matmul(root, _local_root(white)), dtype=float)
    return root


def _local_root(unit: Array) -> Array:
    """Root of twice the mean covariance of neighbours, over the denser half of the particles."""
    from scipy.spatial import cKDTree

    n, d = unit.shape
    k = min(n, max(d + 2, int(np.ceil(n ** (4 / (d + 4))))))
    asked = unit[:: max(1, n // PROBES)]
    near = unit[cKDTree(unit).query(asked, k=k)[1].reshape(len(asked), -1)]
    near = near - near.mean(axis=1, keepdims=True)
    local = np.einsum("nki,nkj->nij", near, near) / k
    trace = np.trace(local, axis1=1, axis2=2)
    cov = 2 * local[trace <= np.median(trace)].mean(axis=0)
    cov[np.diag_indices(d)] += 1e-8 + 1e-8 * float(np.trace(cov)) / d  # duplicated particles
    return np.asarray(np.linalg.cholesky(cov))
