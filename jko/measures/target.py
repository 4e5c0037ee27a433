"""Targets, measures or log densities, and how any of them is read on a given support."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.errors import InvalidArgument, Unsupported
from jko.measures.base import Discrete, Measure
from jko.measures.gaussian import Gaussian, GaussianMixture
from jko.measures.grid import GridDensity
from jko.measures.log_density import LogDensity as LogDensity
from jko.measures.support import merged, place_of
from jko.validation import Array

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
    """Mass of the target on each atom of the support, and what is on none of them.

    Where the support lists an atom twice, the first of the two carries all: energies and steps
    merge their atoms before they ask (`jko.measures.support`).
    """
    distinct, index = merged(support)
    place = place_of(target.points, distinct.points, target.weights > 0)
    found = place >= 0
    weights = np.bincount(place[found], target.weights[found], distinct.n).astype(float)
    missing = float(target.weights[~found].sum())
    if index is None:
        return weights, missing
    spread = np.zeros(support.n)
    spread[np.unique(index, return_index=True)[1]] = weights
    return spread, missing
