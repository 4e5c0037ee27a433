r"""Kernel DRO between the points: a sampled dual, and how much it may be violated in a box.

With constraints f0 + f >= l at sampled points only, the dual value is a LOWER bound of the
supremum over measures on the box: the points are part of it. Every violation of the constraint
between them, bounded from above by branch and bound, lifts it to an upper bound (formula R2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from jko.dro.ambiguity import ambiguity, check_size, loss_values
from jko.dro.dual import DualFunction
from jko.dro.finite import DEFAULT_ITER, DEFAULT_TOL, solve_finite
from jko.dro.result import WorstCase
from jko.errors import InvalidArgument, Unsupported
from jko.geometries.mmd import MMD
from jko.measures.base import Discrete
from jko.validation import Array, Mask, positive, positive_int, real, vector

#: Cells split at a time.
BATCH = 256


@dataclass(frozen=True, eq=False)
class Violation:
    """Bounds of max over a box of loss - f0 - f.

    Attributes
    ----------
    lower : float
        The largest violation found.
    upper : float or None
        No point of the box violates by more; None without a Lipschitz constant of the loss.
    where : (d,) array
        The point of `lower`.
    cells : int
        Points evaluated.
    """

    lower: float
    upper: float | None
    where: Array
    cells: int


@dataclass(frozen=True, eq=False)
class BoxWorstCase:
    """The result of `kernel_worst_case`: what is proven from below and from above.

    Attributes
    ----------
    lower : float
        Attained by `worst.measure`, a measure on the sample and the certification points.
    upper : float or None
        Bound of the supremum over all measures on the box; None without a Lipschitz constant.
    violation : Violation
    worst : WorstCase
        The finite problem, its dual function in `worst.dual`.
    points : (m, d) array
        The certification points, with those the refinement added.
    rounds : int
    """

    lower: float
    upper: float | None
    violation: Violation
    worst: WorstCase
    points: Array
    rounds: int

    def __repr__(self) -> str:
        upper = "unknown" if self.upper is None else f"{self.upper:.6g}"
        return f"BoxWorstCase({self.lower:.6g} <= supremum <= {upper}, {len(self.points)} points)"


def kernel_worst_case(
    loss: Callable[[Array], ArrayLike],
    measure: Discrete,
    geometry: MMD,
    *,
    radius: float,
    lower: ArrayLike,
    upper: ArrayLike,
    points: object,
    lipschitz: float | None = None,
    rounds: int = 1,
    cells: int = 20_000,
    tol: float = 1e-3,
) -> BoxWorstCase:
    r"""sup {E_mu loss : MMD(mu, measure) <= radius, mu on a box}, bracketed.

    Parameters
    ----------
    loss : callable (n, d) -> (n,)
    measure : discrete measure inside the box
    geometry : MMD
        With a kernel that decreases with |x - y| (all of `jko.kernels`).
    radius : float > 0
    lower, upper : (d,) arrays
        Corners of the box.
    points : (m, d) array, jko.Grid or discrete measure
        Certification points inside the box.
    lipschitz : float, optional
        A Lipschitz constant of the loss on the box: needed for the upper bound.
    rounds : int
        Times the finite problem is solved; each but the first adds the worst points found.
    cells : int
        Evaluations of each branch and bound.
    tol : float
        Stop once the violation is at most this, relative to |value| or the range of the losses.

    Returns
    -------
    BoxWorstCase

    References
    ----------
    Zhu et al. (2021); Staib and Jegelka (2019).
    """
    box = _box(measure, lower, upper)
    size, _ = check_size(radius, None)
    if not isinstance(geometry, MMD) or not geometry.kernel.stationary:
        raise Unsupported(
            f"geometry = {geometry!r}: kernel worst cases need jko.MMD(kernel) of a kernel that"
            " depends on |x - y|"
        )
    steep = None if lipschitz is None else real(lipschitz, "lipschitz")
    limit, count = positive_int(cells, "cells"), positive_int(rounds, "rounds")
    accuracy = positive(tol, "tol")
    extra = np.asarray(getattr(points, "points", points), dtype=float)
    for done in range(1, count + 1):
        stated = ambiguity(loss, measure, geometry, "union", extra)
        _inside(stated.nominal.points, box)
        worst = solve_finite(stated, size, None, tol=DEFAULT_TOL, max_iter=DEFAULT_ITER)
        if worst.dual is None:
            raise InvalidArgument(
                f"radius = {size:.6g} leaves no dual function on these points (no measure moves, or"
                " the ball holds all of them); pass another radius or more points"
            )
        scale = accuracy * max(float(np.ptp(stated.loss)), abs(worst.value))
        found = dual_violation(
            worst.dual, loss, *box, lipschitz=steep, cells=limit, tol=0.1 * scale
        )
        if done == count or found.lower <= 0.1 * scale:
            break
        extra = np.concatenate([extra, found.where[None]])
    bound = None
    if found.upper is not None:
        assert worst.dual is not None
        assert size is not None
        bound = worst.dual.bound(size) + measure.mass * max(found.upper, 0.0)
    return BoxWorstCase(worst.value, bound, found, worst, extra, done)


def dual_violation(
    dual: DualFunction,
    loss: Callable[[Array], ArrayLike],
    lower: ArrayLike,
    upper: ArrayLike,
    *,
    lipschitz: float | None,
    cells: int = 20_000,
    tol: float = 1e-4,
) -> Violation:
    """max over a box of loss - f0 - f, bracketed by branch and bound.

    In a cell of half diagonal r around c it is at most its value at c plus lipschitz r plus
    |f|_H sqrt(2 k(0) - 2 k(r)); the cells with the largest bounds are split.

    References
    ----------
    Zhu et al. (2021).
    """
    low, high = vector(lower, "lower"), vector(upper, "upper")
    search = _Branches(dual, loss, low, high, lipschitz or 0.0)
    while search.count < cells and search.top - search.best > tol and search.live:
        search.split()
    upper_bound = None if lipschitz is None else max(search.top, search.best)
    return Violation(search.best, upper_bound, search.where, search.count)


class _Branches:
    """Cells of the box with bounds of the violation."""

    def __init__(
        self,
        dual: DualFunction,
        loss: Callable[[Array], ArrayLike],
        low: Array,
        high: Array,
        steep: float,
    ) -> None:
        self.dual, self.loss, self.steep = dual, loss, steep
        self.best, self.count, self.where = -np.inf, 0, (low + high) / 2
        self.centres, self.halves, self.bounds = self.bounded(
            ((low + high) / 2)[None], ((high - low) / 2)[None]
        )

    @property
    def top(self) -> float:
        """The largest bound of a cell that may still hold the maximum."""
        return float(self.bounds.max(initial=-np.inf))

    @property
    def live(self) -> bool:
        return self.bounds.size > 0

    def bounded(self, centres: Array, halves: Array) -> tuple[Array, Array, Array]:
        """Evaluate at the centres; the cells that may hold more than the best value."""
        value = loss_values(self.loss, centres) - self.dual(centres)
        self.count += len(centres)
        i = int(np.argmax(value))
        if value[i] > self.best:
            self.best, self.where = float(value[i]), centres[i]
        reach = np.linalg.norm(halves, axis=1)
        bounds = value + self.steep * reach + self.dual.variation(reach)
        return centres, halves, bounds

    def split(self) -> None:
        """Halve the longest side of the cells with the largest bounds; drop the hopeless."""
        order = np.argsort(-self.bounds)[:BATCH]
        centres, halves = self.centres[order], self.halves[order].copy()
        axis = halves.argmax(axis=1)
        rows = np.arange(len(order))
        halves[rows, axis] /= 2
        offset = np.zeros_like(centres)
        offset[rows, axis] = halves[rows, axis]
        fresh = self.bounded(
            np.concatenate([centres - offset, centres + offset]), np.concatenate([halves, halves])
        )
        keep: Mask = np.ones(self.bounds.size, dtype=bool)
        keep[order] = False
        old = (self.centres[keep], self.halves[keep], self.bounds[keep])
        merged = [np.concatenate(pair) for pair in zip(old, fresh, strict=True)]
        hopeful = merged[2] > self.best
        self.centres, self.halves, self.bounds = (part[hopeful] for part in merged)


def _box(measure: Discrete, lower: ArrayLike, upper: ArrayLike) -> tuple[Array, Array]:
    low, high = vector(lower, "lower"), vector(upper, "upper")
    if low.shape != high.shape or not (low < high).all() or low.size != measure.dim:
        raise InvalidArgument(
            f"lower = {low.tolist()} and upper = {high.tolist()} are no box in dimension"
            f" {measure.dim}; every lower corner must be below the upper one"
        )
    return low, high


def _inside(points: Array, box: tuple[Array, Array]) -> None:
    outside = ((points < box[0]) | (points > box[1])).any(axis=1)
    if outside.any():
        raise InvalidArgument(
            f"{int(outside.sum())} points lie outside the box, the first at"
            f" {points[np.argmax(outside)].tolist()}; enlarge the box or leave them out"
        )
