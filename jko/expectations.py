"""Expectations under a Gaussian: fixed nodes for the standard normal, with error estimates.

A rule is a list of nodes z_i and weights that stand for N(0, I). Nodes are drawn once and kept, so
an expectation is a smooth deterministic function of the Gaussian: steps have exact fixed points,
and the error of the rule is a figure of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from jko.errors import Unsupported
from jko.validation import Array, positive_int

#: More nodes than this in a tensor grid are refused.
MAX_NODES = 200_000


@dataclass(frozen=True, eq=False)
class Nodes:
    """Nodes z (n, d) and weights (n,) for N(0, I), in `blocks` consecutive parts of equal size.

    With more than one block each is an independent unbiased estimate, and their spread gives the
    standard error.
    """

    z: Array
    weights: Array
    blocks: int = 1

    def mean(self, values: Array) -> Array:
        """Expectation of values (n, ...) at the nodes."""
        return np.asarray(np.tensordot(self.weights, values, axes=1))

    def block_means(self, values: Array) -> Array:
        """The estimate of each block (blocks, ...)."""
        size = len(self.weights) // self.blocks
        shape = (self.blocks, size, *values.shape[1:])
        weights = self.blocks * self.weights.reshape(self.blocks, size)
        return np.asarray(np.einsum("bs,bs...->b...", weights, values.reshape(shape)))


class ExpectationRule(ABC):
    """Settings of an expectation rule; `nodes(dim)` are its nodes, the same at every call."""

    @abstractmethod
    def nodes(self, dim: int) -> Nodes:
        """Nodes in dimension `dim`."""

    def coarser(self) -> ExpectationRule | None:
        """A cheaper rule whose difference to this one estimates the error; None: use blocks."""
        return None


@dataclass(frozen=True)
class GaussHermite(ExpectationRule):
    """Tensor product of Gauss-Hermite rules: exact up to degree 2 order - 1 per coordinate.

    Parameters
    ----------
    order : int
        Nodes per axis; the number of nodes is order^dim, so this is for dim <= 3 or so.
    """

    order: int = 20

    def __post_init__(self) -> None:
        positive_int(self.order, "order")

    def nodes(self, dim: int) -> Nodes:
        if self.order**dim > MAX_NODES:
            raise Unsupported(
                f"GaussHermite(order={self.order}) needs {self.order}^{dim} nodes in dimension"
                f" {dim}; use Cubature() or MonteCarlo() beyond dimension 3"
            )
        return _gauss_hermite(self.order, dim)

    def coarser(self) -> ExpectationRule | None:
        return replace(self, order=self.order - 4) if self.order > 6 else None


@dataclass(frozen=True)
class Cubature(ExpectationRule):
    r"""Randomised spherical-radial cubature: exact to degree 3 in every block, and unbiased.

    A block is the origin and the points +-rho_j q_j for a random orthonormal basis q and radii
    rho_j ~ chi(d + 2), stratified over the blocks,

        E f = (1/d) sum_j [(1 - d/rho_j^2) f(0) + (d/rho_j^2) (f(rho_j q_j) + f(-rho_j q_j)) / 2].

    Quadratic functions are integrated without error: what control variates would remove is
    absent from the start, and only degrees four and higher contribute noise.

    Parameters
    ----------
    points : int
        Number of nodes, about; at least eight blocks are drawn.
    seed : int

    References
    ----------
    Genz and Monahan, Stochastic integration rules for infinite regions, SIAM J. Sci. Comput. 1998.
    """

    points: int = 4000
    seed: int = 0

    def __post_init__(self) -> None:
        positive_int(self.points, "points")

    def nodes(self, dim: int) -> Nodes:
        return _cubature(max(8, -(-self.points // (2 * dim + 1))), self.seed, dim)


@dataclass(frozen=True)
class MonteCarlo(ExpectationRule):
    """Antithetic normal draws whose mean and covariance are matched to N(0, I) exactly.

    Matching the first two moments is a regression on all quadratic functions: the control variate
    with the best coefficients, whatever the integrand.

    Parameters
    ----------
    samples : int
        Number of draws, rounded up to a multiple of 32 and at least 4 d.
    seed : int
    """

    samples: int = 4000
    seed: int = 0

    def __post_init__(self) -> None:
        positive_int(self.samples, "samples")

    def nodes(self, dim: int) -> Nodes:
        return _monte_carlo(max(self.samples, 4 * dim), self.seed, dim)


def default_rule(dim: int, seed: int = 0) -> ExpectationRule:
    """Gauss-Hermite for dim <= 3, randomised cubature beyond."""
    orders = {1: 40, 2: 24, 3: 14}
    return GaussHermite(orders[dim]) if dim in orders else Cubature(seed=seed)


@lru_cache(maxsize=16)
def _gauss_hermite(order: int, dim: int) -> Nodes:
    x, w = np.polynomial.hermite_e.hermegauss(order)
    w = w / w.sum()
    z = np.stack([a.ravel() for a in np.meshgrid(*[x] * dim, indexing="ij")], axis=1)
    weights = np.ones(1)
    for _ in range(dim):
        weights = np.outer(weights, w).ravel()
    return Nodes(z, weights)


@lru_cache(maxsize=8)
def _cubature(blocks: int, seed: int, dim: int) -> Nodes:
    from scipy.special import gammaincinv

    rng = np.random.default_rng([seed, dim])
    count = blocks * dim
    # rho^2 ~ chi^2(d + 2), one draw in each of `count` strata.
    level = (rng.permutation(count) + rng.random(count)) / count
    square = 2 * gammaincinv(dim / 2 + 1, level).reshape(blocks, dim)
    z, weights = np.zeros((blocks, 2 * dim + 1, dim)), np.empty((blocks, 2 * dim + 1))
    for b in range(blocks):
        q, r = np.linalg.qr(rng.standard_normal((dim, dim)))
        q *= np.sign(np.diag(r))  # Haar
        arms = (q * np.sqrt(square[b])).T
        z[b, 1 : dim + 1], z[b, dim + 1 :] = arms, -arms
        weights[b, 1:] = np.tile(0.5 / square[b], 2)
        weights[b, 0] = 1 - (1 / square[b]).sum()
    return Nodes(z.reshape(-1, dim), weights.ravel() / blocks, blocks)


@lru_cache(maxsize=8)
def _monte_carlo(samples: int, seed: int, dim: int) -> Nodes:
    blocks = 16
    half = -(-samples // (2 * blocks))
    z = np.random.default_rng([seed, dim]).standard_normal((blocks, half, dim))
    z = np.concatenate([z, -z], axis=1).reshape(-1, dim)
    root = np.linalg.cholesky(z.T @ z / len(z))
    z = np.linalg.solve(root, z.T).T
    return Nodes(z, np.full(len(z), 1 / len(z)), blocks)
