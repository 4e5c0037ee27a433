r"""Matrix scaling in the log domain, accelerated: the iterations behind entropic transport.

Every iteration is a fixed-point map on log scalings, contracting but slowly when the
regularisation is small. Anderson acceleration extrapolates it; the safeguards (best iterate kept,
restart on growth or NaN, a residual measured on the exact marginal) are what make it usable.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from jko.numerics.best import Best
from jko.solvers.entropic.kernel import Gibbs
from jko.validation import Array

#: Stands for log 0 inside an iteration, where -inf - (-inf) would be NaN.
FLOOR = -1e8
#: Iterations without a better residual after which rounding is taken to have been reached.
STALL = 60
#: A residual this much above the best one makes the acceleration start afresh.
GROWTH = 10.0
#: Residual of scalings that start others, or estimate a distance.
FINE = 1e-5
#: Numbers up to which inner products of few rows are one product of matrices; BLAS is slow at
#: long thin ones: row by row takes half as long from 10^5 numbers on.
SMALL = 1 << 16

R = TypeVar("R")


class Sweep(NamedTuple, Generic[R]):
    """One evaluation of a fixed-point map: the image, the weights of the norm, and a record.

    The weights (of the shape of x, or of its last axis) define the norm of g(x) - x. The record is
    what the evaluation at x learnt, kept for the best x; None where nothing is.
    """

    image: Array
    weights: Array
    record: R


@dataclass(frozen=True, eq=False)
class Scaling(Generic[R]):
    """Where a fixed-point iteration ended.

    Attributes
    ----------
    x : array
        Image of the best iterate.
    record : object
        The record of the best iterate itself; None where no change was a number.
    residual : float
        Its weighted root-mean-square change.
    iterations : int
    converged : bool
    """

    x: Array
    residual: float
    iterations: int
    converged: bool
    record: R | None


def anderson(
    step: Callable[[Array], Sweep[R]],
    x: Array,
    *,
    done: Callable[[Sweep[R], float], bool],
    depth: int = 5,
    max_iter: int = 1000,
) -> Scaling[R]:
    r"""Fixed point of g by Anderson acceleration in a weighted norm.

    Parameters
    ----------
    step : x -> Sweep(g(x), weights, record)
    x : array
    done : (sweep, residual) -> bool
        Asked after every evaluation that is the best so far.
    depth : int
        Number of earlier differences combined; 0 is the plain iteration.
    max_iter : int
    """
    best: Best[tuple[Array, R | None]] = Best(found=(x, None))
    since = iteration = 0
    memory = _Memory(depth, x.shape)
    for iteration in range(1, max_iter + 1):
        sweep = step(x)
        image, weights, _ = sweep
        f = image - x
        weighted = weights * f
        norm = _root_mean(weighted, f, weights)
        if not norm <= GROWTH * best.figure or norm == np.inf:
            # The extrapolation left the region where it is good: resume from the best image.
            if memory.last is None:
                break
            assert best.found is not None
            memory.forget()
            x = best.found[0]
            continue
        since += 1
        if since > STALL:
            break
        if best.offer(norm, (image, sweep.record)):
            since = 0
            if done(sweep, norm):
                return Scaling(image, norm, iteration, True, sweep.record)
        x = memory.extrapolated(f, image, weights, weighted)
    assert best.found is not None
    return Scaling(best.found[0], best.figure, iteration, False, best.found[1])


def _root_mean(weighted: Array, f: Array, weights: Array) -> float:
    """Weighted root-mean-square of f, NaN where there is no weight."""
    total = float(weights.sum())
    return math.sqrt(float(np.vdot(weighted, f)) / total) if total > 0 else math.nan


class _Memory:
    """The last differences of f = g(x) - x and of images g(x), the newest in place of the oldest.

    Attributes
    ----------
    last : pair of arrays, or None
        f and image of the iterate before.
    """

    def __init__(self, depth: int, shape: tuple[int, ...]) -> None:
        self.depth, self.shape = depth, shape
        self.count = 0
        self.last: tuple[Array, Array] | None = None

    def forget(self) -> None:
        """Start afresh."""
        self.count, self.last = 0, None

    @cached_property
    def _differences(self) -> tuple[Array, Array]:
        room = (self.depth, *self.shape)
        return np.empty(room), np.empty(room)

    @cached_property
    def _scratch(self) -> Array:
        return np.empty(self.shape)

    def extrapolated(self, f: Array, image: Array, weights: Array, weighted: Array) -> Array:
        """image - sum_j c_j dg_j, c the least-squares fit of f by the df_j in the weighted norm.

        `weighted` is weights f.
        """
        if self.last is not None and self.depth:
            df, dg = (x[self.count % self.depth] for x in self._differences)
            np.subtract(f, self.last[0], out=df)
            np.subtract(image, self.last[1], out=dg)
            self.count += 1
        self.last = f, image
        kept = min(self.count, self.depth)
        if not kept:
            return image
        df, dg = (x[:kept] for x in self._differences)
        gram, right = self._gram(df, weights), df.reshape(kept, -1).dot(weighted.ravel())
        scale = np.sqrt(np.maximum(gram.diagonal(), 1e-300))
        gram /= scale[:, None] * scale
        gram.flat[:: kept + 1] += 1e-10
        coefficients = np.linalg.solve(gram, right / scale) / scale
        out: Array = coefficients.dot(dg.reshape(kept, -1)).reshape(self.shape)
        out *= -1
        out += image
        return out

    def _gram(self, rows: Array, weights: Array) -> Array:
        """Weighted inner products (k, k) of rows (k, *shape)."""
        k, scaled = len(rows), self._scratch
        flat, gram = rows.reshape(k, -1), np.empty((k, k))
        if rows.size <= SMALL:
            return np.asarray((weights * rows).reshape(k, -1).dot(flat.T))
        for i in range(k):
            np.multiply(weights, rows[i], out=scaled)
            gram[i, : i + 1] = gram[: i + 1, i] = flat[: i + 1].dot(scaled.ravel())
        return gram


def floored(log_values: Array) -> Array:
    """The same logarithms with FLOOR instead of -inf."""
    return np.maximum(log_values, FLOOR)


def self_scaling(
    kernel: Gibbs,
    log_w: Array,
    start: Array | None = None,
    tol: float = 1e-9,
    max_iter: int = 500,
    slot: str = "self",
) -> Array:
    """log d with d K d = w (formula W2), to relative accuracy `tol` in the w-weighted norm.

    The kernel remembers log K d under the name `slot`.
    """
    w = np.exp(log_w)
    log_w = floored(log_w)

    def step(x: Array) -> Sweep[Array]:
        return Sweep(floored(0.5 * (x + log_w - kernel.log_apply(x, slot))), w, x)

    if start is None:
        start = 0.5 * (log_w - kernel.log_one())
    run = anderson(step, floored(start), done=lambda _, r: r <= tol, max_iter=max_iter)
    return run.x if run.record is None else run.record


def pair_scaling(
    kernel: Gibbs,
    log_m: Array,
    log_w: Array,
    start: Array | None = None,
    tol: float = 1e-9,
    max_iter: int = 2000,
) -> Array:
    """log b with b K'(m / K b) = w: balanced entropic transport from m to w (Sinkhorn)."""
    w = np.exp(log_w)
    log_w = floored(log_w)

    def step(x: Array) -> Sweep[None]:
        log_a = log_m - kernel.log_apply(x, "b")
        return Sweep(floored(log_w - kernel.log_apply(log_a, "a")), w, None)

    begin = np.where(w > 0, 0.0, FLOOR) if start is None else floored(start)
    return anderson(step, begin, done=lambda _, r: r <= tol, max_iter=max_iter).x
