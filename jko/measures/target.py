"""Targets: unnormalised log densities, and how any target is read on a given support."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from jko.errors import InvalidArgument, InvalidMeasure, InvalidType, Unsupported
from jko.measures.base import Discrete, Measure
from jko.measures.gaussian import Gaussian, GaussianMixture
from jko.measures.grid import GridDensity
from jko.validation import Array, positive_int


@dataclass(frozen=True, eq=False, repr=False)
class LogDensity:
    """An unnormalised density exp(log_density) on R^d.

    Parameters
    ----------
    log_density : callable (n, d) -> (n,)
    gradient : callable (n, d) -> (n, d), optional
        Gradient of `log_density` (the score); needed by steps that move particles.
    dim : int
    log_concave : bool
        Your word that the log density is concave; steps on Gaussians then have a gap.
    """

    log_density: Callable[[Array], Array]
    gradient: Callable[[Array], Array] | None = None
    dim: int = 1
    log_concave: bool = False

    def __post_init__(self) -> None:
        if not callable(self.log_density):
            raise InvalidType(
                f"log_density got {type(self.log_density).__name__};"
                " pass a vectorised function (n, d) -> (n,)"
            )
        if self.gradient is not None and not callable(self.gradient):
            raise InvalidType(
                f"gradient got {type(self.gradient).__name__};"
                " pass a vectorised function (n, d) -> (n, d) or None"
            )
        positive_int(self.dim, "dim")

    def log_density_at(self, x: Array) -> Array:
        """Checked values (n,) at points (n, d); -inf is allowed, NaN and +inf are not."""
        values = np.asarray(self.log_density(x), dtype=float)
        if values.shape != (x.shape[0],):
            raise InvalidMeasure(
                f"log_density returned shape {values.shape} for {x.shape[0]} points;"
                " return one value per point"
            )
        bad = np.isnan(values) | (values == np.inf)
        if bad.any():
            i = int(np.argmax(bad))
            raise InvalidMeasure(f"log_density is {values[i]} at point {x[i].tolist()}")
        return values

    def score(self, x: Array) -> Array:
        """Checked gradient (n, d) of the log density."""
        if self.gradient is None:
            raise Unsupported("this LogDensity has no gradient; pass gradient=... when making it")
        values = np.asarray(self.gradient(x), dtype=float)
        if values.shape != x.shape:
            raise InvalidMeasure(
                f"gradient returned shape {values.shape} for points of shape {x.shape}"
            )
        if not np.isfinite(values).all():
            i = int(np.argmax(~np.isfinite(values).all(axis=1)))
            raise InvalidMeasure(f"gradient is not finite at point {x[i].tolist()}")
        return values

    def __repr__(self) -> str:
        return f"LogDensity({getattr(self.log_density, '__name__', 'callable')}, dim={self.dim})"


Target = Measure | LogDensity
DENSITIES = (Gaussian, GaussianMixture, LogDensity)


@dataclass(frozen=True, eq=False)
class Restriction:
    """A target read on the atoms of a support.

    Attributes
    ----------
    log_weights : (n,) array
        Log of the target's mass at each atom; -inf where it has none.
    missing : float
        Mass of the target that sits on no atom of the support.
    """

    log_weights: Array
    missing: float

    @property
    def weights(self) -> Array:
        """The target's mass at each atom (n,)."""
        return np.exp(self.log_weights)


def restrict(target: Target, support: Discrete) -> Restriction:
    """Read `target` on the atoms of `support`.

    Densities are sampled at the cell centres of a grid (density times cell volume);
    discrete targets are matched atom by atom, whatever their order.
    """
    if target.dim != support.dim:
        raise InvalidArgument(
            f"target lives in dimension {target.dim}, the measure in dimension {support.dim}"
        )
    if isinstance(target, Discrete):
        return _match_atoms(target, support)
    if not isinstance(support, GridDensity):
        raise Unsupported(
            f"a {type(target).__name__} has no mass on the atoms of a {type(support).__name__};"
            " give the target as a jko.Histogram on these points, or use a jko.GridDensity"
        )
    log_density = target.log_density_at(support.points)  # type: ignore[union-attr]
    if support.free is not None:
        log_density = np.where(support.free, log_density, -np.inf)
    return Restriction(log_density + np.log(support.grid.cell_volume), 0.0)


def _match_atoms(target: Discrete, support: Discrete) -> Restriction:
    if isinstance(target, GridDensity) and isinstance(support, GridDensity):
        if target.grid != support.grid:
            raise InvalidArgument(
                f"target lives on {target.grid}, the measure on {support.grid};"
                " sample the target on the measure's grid"
            )
        weights, missing = target.weights, 0.0
    elif target.same_support(support):
        weights, missing = target.weights, 0.0
    else:
        weights, missing = _lookup(target, support)
    with np.errstate(divide="ignore"):
        return Restriction(np.log(weights), missing)


def _lookup(target: Discrete, support: Discrete) -> tuple[Array, float]:
    """Mass of the target on each atom of the support; duplicates share it by first match."""
    index: dict[bytes, int] = {}
    # + 0.0 turns -0.0 into 0.0, which has other bytes.
    for i, row in enumerate(np.ascontiguousarray(support.points + 0.0)):
        index.setdefault(row.tobytes(), i)
    weights, missing = np.zeros(support.n), 0.0
    for row, w in zip(np.ascontiguousarray(target.points + 0.0), target.weights, strict=True):
        i = index.get(row.tobytes(), -1)
        if i < 0:
            missing += float(w)
        else:
            weights[i] += w
    return weights, missing
