"""Gaussian measures and finite mixtures of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jko.errors import InvalidMeasure
from jko.measures.base import Measure
from jko.validation import (
    Array,
    Index,
    covariance,
    finite_array,
    frozen,
    points_array,
    positive,
    vector,
    weights_array,
)


class _GaussianFamily(Measure):
    """Density, score and components, written once for one Gaussian and for mixtures."""

    @property
    def components(self) -> tuple[Array, Array, Array]:
        """Weights (c,), means (c, d) and covariances (c, d, d) of the components."""
        raise NotImplementedError

    @cached_property
    def _precision_roots(self) -> Array:
        # inv(chol(S)) per component: |L^{-1}(x - m)|^2 is the Mahalanobis distance.
        return np.stack([np.linalg.inv(np.linalg.cholesky(c)) for c in self.components[2]])

    def _log_terms(self, x: Array) -> tuple[Array, Array]:
        """Log of each weighted component density (n, c), and whitened residuals (n, c, d)."""
        weights, means, _ = self.components
        roots = self._precision_roots
        white = np.stack([(x - m) @ root.T for m, root in zip(means, roots, strict=True)])
        squares = np.stack([(y * y) @ np.ones(self.dim) for y in white], axis=1)
        logdet = np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(axis=1)
        const = logdet - 0.5 * self.dim * np.log(2 * np.pi)
        with np.errstate(divide="ignore"):  # a zero weight is a component that is not there
            const = const + np.log(weights)
        return const - 0.5 * squares, np.moveaxis(white, 0, 1)

    def log_density_at(self, x: Array) -> Array:
        """Log density at points (n, d), with the measure's mass."""
        terms, _ = self._log_terms(x)
        one = terms.shape[1] == 1
        return np.asarray(terms[:, 0] if one else np.logaddexp.reduce(terms, axis=1))

    def score(self, x: Array) -> Array:
        """Gradient of the log density at points (n, d)."""
        terms, white = self._log_terms(x)
        share = np.exp(terms - np.logaddexp.reduce(terms, axis=1)[:, None])
        return np.asarray(-np.einsum("nc,cji,ncj->ni", share, self._precision_roots, white))

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n points (n, d) from the normalised measure."""
        weights, means, covs = self.components
        which = rng.choice(len(weights), size=n, p=weights / weights.sum())
        noise = rng.standard_normal((n, self.dim))
        return np.asarray(means[which] + coloured(noise, which, np.linalg.cholesky(covs)))


def coloured(noise: Array, which: Index, roots: NDArray[np.floating]) -> Array:
    """Rows roots[which[i]] @ noise[i], component by component: never n matrices at once."""
    out = np.empty_like(noise)
    for k, root in enumerate(roots):
        mine = which == k
        out[mine] = noise[mine] @ root.T
    return out


@dataclass(frozen=True, eq=False, repr=False)
class Gaussian(_GaussianFamily):
    """A Gaussian measure.

    Parameters
    ----------
    mean : (d,) array
    cov : (d, d) symmetric positive-definite array (a number in one dimension)
    mass : float, default 1
    """

    mean: Array
    cov: Array
    mass: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", vector(self.mean, "mean"))
        object.__setattr__(self, "cov", covariance(self.cov, self.dim))
        object.__setattr__(self, "mass", positive(self.mass, "mass"))

    @property
    def dim(self) -> int:
        return int(self.mean.size)

    @property
    def components(self) -> tuple[Array, Array, Array]:
        return np.array([self.mass]), self.mean[None], self.cov[None]

    def __repr__(self) -> str:
        return f"Gaussian(mean={self.mean.tolist()}, cov={self.cov.tolist()}, mass={self.mass:g})"


@dataclass(frozen=True, eq=False, repr=False)
class GaussianMixture(_GaussianFamily):
    """A finite mixture of Gaussians, a noise-free target.

    Parameters
    ----------
    means : (c, d) array
    covs : (c, d, d) array
    weights : (c,) array, optional
        Uniform of total mass 1 by default; their sum is the mass.
    """

    means: Array
    covs: Array
    weights: Array | None = None

    def __post_init__(self) -> None:
        means = points_array(self.means, "means")
        count, dim = means.shape
        covs = finite_array(self.covs, "covs", InvalidMeasure)
        if covs.shape != (count, dim, dim):
            raise InvalidMeasure(f"covs has shape {covs.shape}, expected {(count, dim, dim)}")
        covs = np.stack([covariance(c, dim, f"covs[{i}]") for i, c in enumerate(covs)])
        weights: ArrayLike = np.full(count, 1 / count) if self.weights is None else self.weights
        object.__setattr__(self, "means", means)
        object.__setattr__(self, "covs", frozen(covs))
        object.__setattr__(self, "weights", weights_array(weights, count))

    @property
    def dim(self) -> int:
        return int(self.means.shape[1])

    @property
    def components(self) -> tuple[Array, Array, Array]:
        assert self.weights is not None  # set by __post_init__
        return self.weights, self.means, self.covs

    @property
    def mass(self) -> float:  # type: ignore[override]
        return float(self.components[0].sum())

    @property
    def mean(self) -> Array:  # type: ignore[override]
        return self.components[0] @ self.means / self.mass

    @property
    def cov(self) -> Array:  # type: ignore[override]
        share = self.components[0] / self.mass
        centred = self.means - self.mean
        return np.tensordot(share, self.covs, axes=1) + (centred.T * share) @ centred

    def __repr__(self) -> str:
        return f"GaussianMixture({self.means.shape[0]} components, dim={self.dim})"


def parts_of(mu: GaussianMixture) -> list[Gaussian]:
    """The components as normalised Gaussians."""
    return [Gaussian(m, s) for _, m, s in zip(*mu.components, strict=True)]
