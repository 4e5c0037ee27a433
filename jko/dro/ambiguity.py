"""The stated problem: loss values on a support, the nominal weights, the geometry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from jko.dro.sets import CVaR, Neighbourhood, TotalVariation
from jko.errors import InvalidArgument, InvalidMeasure, InvalidType, Unsupported
from jko.geometries.base import Geometry, GeometrySum
from jko.geometries.divergence import Divergence
from jko.geometries.hellinger import Hellinger, SphericalHellinger
from jko.geometries.mmd import MMD
from jko.geometries.wasserstein import Wasserstein
from jko.measures.atoms import Histogram
from jko.measures.base import Discrete, Measure
from jko.measures.grid import Grid
from jko.validation import (
    Array,
    Mask,
    finite_array,
    instance,
    one_of,
    points_array,
    positive,
    real,
    shown,
)

#: What a set of measures may be given by.
Set = Geometry | Neighbourhood | CVaR
SUPPORTS = ("sample", "union", "grid", "particles")


@dataclass(frozen=True, eq=False)
class Ambiguity:
    """A finite worst-case problem: sup of weights . loss near the nominal weights.

    Attributes
    ----------
    nominal : Histogram
        The given measure on the support (zero weight on added points).
    loss : (n,) array
    opened : (n,) mask
        Atoms the worst case may charge; the sample is closed under support="grid".
    geometry : Geometry, Neighbourhood or CVaR
        With fixed mass.
    """

    nominal: Histogram
    loss: Array
    opened: Mask
    geometry: Set

    @property
    def reachable(self) -> Mask:
        """Atoms with a finite divergence from the nominal measure."""
        reweighted = isinstance(self.geometry, Divergence) and self.geometry.p >= 1
        if reweighted or isinstance(self.geometry, CVaR):
            return self.opened & (self.nominal.weights > 0)
        return self.opened

    @property
    def power(self) -> float:
        """The budget of a ball is radius^power."""
        geometry = self.geometry
        if isinstance(geometry, Neighbourhood):
            return geometry.power
        if isinstance(geometry, Wasserstein):
            return geometry.p if geometry.is_power else 2.0
        return 1.0 if isinstance(geometry, Divergence) else 2.0

    def with_loss(self, loss: Array) -> Ambiguity:
        """The same set, another loss (n,)."""
        return replace(self, loss=loss)

    @property
    def average(self) -> float:
        """The nominal expectation."""
        return float(self.nominal.weights @ self.loss)


def check_geometry(geometry: object) -> Set:
    """A geometry of sets of probability measures: Hellinger, MMD and divergences at fixed mass."""
    if isinstance(geometry, (Neighbourhood, CVaR)):
        return geometry
    if isinstance(geometry, (GeometrySum, SphericalHellinger)) or not isinstance(
        geometry, (Divergence, Hellinger, Wasserstein, MMD)
    ):
        if not isinstance(geometry, (Geometry, GeometrySum)):
            raise InvalidType(
                f"geometry got {shown(geometry)}; pass jko.Divergence(p), jko.Hellinger(),"
                " jko.Wasserstein(), jko.MMD(kernel) or a set of jko.dro"
            )
        remedy = "use jko.Divergence(p), jko.Hellinger(), jko.Wasserstein() or jko.MMD(kernel)"
        if isinstance(geometry, SphericalHellinger):
            remedy = (
                "its ball of radius r is that of jko.Hellinger() of radius 4 sin(r/4), at mass 1"
            )
        raise Unsupported(f"geometry = {geometry!r} has no worst cases of its own; {remedy}")
    if isinstance(geometry, (Divergence, Hellinger, MMD)) and geometry.mass != "fixed":
        return replace(geometry, mass="fixed")
    return geometry


def check_measure(measure: Measure) -> Discrete:
    """A discrete measure."""
    instance(measure, Measure, "measure", "pass the sample, such as jko.Particles(points)")
    if not isinstance(measure, Discrete):
        raise Unsupported(
            f"measure got {type(measure).__name__}, which has no atoms; sample it into"
            " jko.Particles, or put it on a jko.GridDensity"
        )
    return measure


def check_size(
    radius: object, tau: object, geometry: object = None
) -> tuple[float | None, float | None]:
    """Exactly one of radius >= 0 and tau > 0; neither of them where the set has a size."""
    if isinstance(geometry, CVaR):
        if radius is not None or tau is not None:
            raise InvalidArgument(
                f"{geometry!r} has its size in its level; leave radius and tau out"
            )
        return None, None
    if (radius is None) == (tau is None):
        given = "neither" if radius is None else "both"
        raise InvalidArgument(
            f"got {given} of radius and tau; pass radius= for a ball or tau= for a penalty"
        )
    if tau is not None:
        return None, positive(tau, "tau", "a penalty is D^2/(2 tau)")
    size = real(radius, "radius")
    if size < 0:
        raise InvalidArgument(
            f"radius = {size:.6g} is negative; pass 0 for the given measure alone, or more"
        )
    return size, None


def loss_values(
    loss: Callable[[Array], ArrayLike] | ArrayLike, points: Array, name: str = "loss"
) -> Array:
    """The loss at the points (n,), finite."""
    value = loss(points) if callable(loss) else loss
    values = finite_array(value, name, InvalidArgument)
    if values.shape != (len(points),):
        hint = ""
        if not callable(loss):
            hint = "; an array needs one value per atom of the support, added points last"
        raise InvalidArgument(
            f"{name} has shape {values.shape} for {len(points)} atoms,"
            f" expected ({len(points)},){hint}"
        )
    return values


def certification_points(
    points: ArrayLike | Grid | Discrete | None, support: str, dim: int
) -> Array | None:
    """The points (m, d) that support="union" and "grid" add."""
    if support not in ("union", "grid"):
        if points is not None:
            raise InvalidArgument(
                f"points are given but support = {support!r} does not use them;"
                " pass support='union' or support='grid'"
            )
        return None
    if points is None:
        raise InvalidArgument(f"support = {support!r} needs points=, an (m, d) array or a jko.Grid")
    if isinstance(points, (Grid, Discrete)):
        points = points.points
    array = points_array(points, "points")
    if array.shape[1] != dim:
        raise InvalidMeasure(
            f"points have dimension {array.shape[1]}, the measure has dimension {dim}"
        )
    return array


def ambiguity(
    loss: Callable[[Array], ArrayLike] | ArrayLike,
    measure: Measure,
    geometry: Set,
    support: str = "sample",
    points: ArrayLike | Grid | Discrete | None = None,
) -> Ambiguity:
    """The finite problem of these arguments, or a sentence that says what is wrong with them."""
    mu, metric = check_measure(measure), check_geometry(geometry)
    one_of(support, SUPPORTS, "support")
    extra = certification_points(points, support, mu.dim)
    if extra is None:
        nominal, opened = Histogram(mu.points, mu.weights), np.ones(mu.n, dtype=bool)
    else:
        _check_added(metric, support)
        nominal = Histogram(
            np.concatenate([mu.points, extra]), np.concatenate([mu.weights, np.zeros(len(extra))])
        )
        opened = np.full(nominal.n, True)
        opened[: mu.n] = support == "union"
    _check_variety(nominal, metric)
    stated = Ambiguity(nominal, loss_values(loss, nominal.points), opened, metric)
    _check_one_value_per_point(stated)
    return stated


def _check_added(geometry: Set, support: str) -> None:
    """Divergences compare weights atom by atom: what they can do with further points."""
    if isinstance(geometry, CVaR) or (isinstance(geometry, Divergence) and geometry.p >= 1):
        raise Unsupported(
            f"support = {support!r}: every measure at a finite {geometry!r} is a reweighting of the"
            " sample; use support='sample', or jko.Wasserstein() or jko.MMD(kernel)"
        )
    if support == "grid" and isinstance(geometry, (Divergence, Hellinger, TotalVariation)):
        raise Unsupported(
            f"support = 'grid': {geometry!r} compares weights atom by atom and sees a grid as far"
            " from every sample; use support='union', or jko.Wasserstein() or jko.MMD(kernel)"
        )


def _check_variety(nominal: Histogram, geometry: Set) -> None:
    """At least two atoms, and two places where the geometry measures distances."""
    remedy = "pass more samples, or support='union' with points"
    if isinstance(geometry, Wasserstein):
        remedy += ", or support='particles'"
    if nominal.n == 1:
        raise InvalidArgument(f"measure has one atom: no other measure lives on it; {remedy}")
    if isinstance(geometry, (Wasserstein, MMD)) and not np.ptp(nominal.points, axis=0).any():
        raise InvalidArgument(
            f"all {nominal.n} samples are identical: every measure on them has distance 0 in"
            f" {geometry!r}; {remedy}"
        )


def _check_one_value_per_point(stated: Ambiguity) -> None:
    """Transport moves mass between identical points for nothing: their losses must agree."""
    if not isinstance(stated.geometry, Wasserstein):
        return
    _, index = np.unique(stated.nominal.points + 0.0, axis=0, return_inverse=True)
    index = index.ravel()
    low, high = np.full(stated.nominal.n, np.inf), np.full(stated.nominal.n, -np.inf)
    np.minimum.at(low, index, stated.loss)
    np.maximum.at(high, index, stated.loss)
    apart = high[index] - low[index] > 1e-12 * np.abs(stated.loss).max()
    if apart.any():
        i = int(np.argmax(apart))
        raise InvalidArgument(
            f"loss has different values at the identical points {stated.nominal.points[i].tolist()}"
            " (transport between them is free); add what tells them apart to the points"
        )
