"""What the concave duals of the plain entropic step share (`jko.solvers.entropic.duals`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from jko.solvers.entropic.stated import EntropicStep
from jko.validation import Array, Mask

#: From this number of atoms on, the dense systems leave out light ones and fewer are solved.
LARGE = 700


@dataclass(eq=False)
class DualPoint:
    """A dual point (x, z) at a tilt: the plan it stands for, its value and its gradient.

    `flux` is the column mass of the plan, `w` the weights that answer the potential; they agree
    at the maximum (and always in the row dual).
    """

    x: Array
    tilt: Array
    z: Array | None
    log_b: Array
    log_w: Array
    log_flux: Array
    mass: Array
    value: float
    slope_x: Array
    slope_z: Array | None
    log_a: Array

    @cached_property
    def w(self) -> Array:
        """exp(log_w)."""
        return np.exp(self.log_w)

    @cached_property
    def flux(self) -> Array:
        """exp(log_flux)."""
        return np.exp(self.log_flux)

    def gain(self, dx: Array, dz: Array | None) -> float:
        """What a direction promises, to first order."""
        gain = float(self.slope_x @ dx)
        if dz is not None and self.slope_z is not None:
            gain += float(self.slope_z @ dz)
        return gain


class TiltedDual:
    """What both duals share: the stated step, its atoms and the dense matrices."""

    def __init__(self, stated: EntropicStep) -> None:
        self.stated, self.kernel, self.r = stated, stated.kernel, stated.rate
        self.m, self.log_m = stated.previous.weights, stated.log_m
        self.mass = float(self.m.sum())
        self.h = stated.form.separable
        self.rows: Mask = self.m > 0
        self.open: Mask = self.h.ceiling > 0
        self.quadratic = bool(stated.form.quadratics)
        # Atoms below this share of the mean weight are left to the sweeps.
        self.negligible = 1e-15 if self.m.size <= LARGE else 1e-7

    @cached_property
    def gram(self) -> Array:
        """Q (n, n)."""
        terms = [q.scale * q.operator.dense() for q in self.stated.form.quadratics]
        return np.asarray(np.sum(terms, axis=0))

    def log_kernel(self, rows: Mask, columns: Mask) -> Array:
        """log K between two sets of atoms."""
        return self.stated.log_block(rows, columns)

    def plan(self, p: DualPoint, rows: Mask, columns: Mask, left: Array, right: Array) -> Array:
        """diag(a) K diag(b) divided by exp(left/2) and exp(right/2)."""
        out = self.log_kernel(rows, columns)
        out += (p.log_a - 0.5 * left)[rows][:, None]
        out += (p.log_b - 0.5 * right)[columns]
        return np.asarray(np.exp(out, out=out))

    def active(self, w: Array) -> Mask:
        """Columns that take part in the Newton systems."""
        return self.open & (w > self.negligible * self.mass / w.size)

    def stiffness(self, p: DualPoint, columns: Mask, scale: Array) -> Array:
        """N = r t (h'' + Q) t on some columns, t = sqrt(scale)."""
        with np.errstate(all="ignore"):
            local = self.r * self.h.hessian(p.w)[columns] * scale[columns]
        local = np.minimum(local, 1e30)
        if not self.quadratic:
            return np.diag(local)
        t = np.sqrt(scale[columns])
        out = (self.r * t[:, None]) * self.gram[np.ix_(columns, columns)] * t
        out[np.diag_indices_from(out)] += local
        return np.asarray(out)

    def search(self, p: DualPoint, dx: Array, dz: Array | None, gain: float) -> DualPoint | None:
        """A point along the direction where the slope has at least halved; concave, so robust."""
        low, high, t = 0.0, np.inf, 1.0
        best: DualPoint | None = None
        for _ in range(40):
            q = self.at(p.x + t * dx, p.tilt, None if dz is None or p.z is None else p.z + t * dz)
            slope = float(q.slope_x[self.unknowns] @ dx[self.unknowns])
            if dz is not None and q.slope_z is not None:
                slope += float(q.slope_z @ dz)
            if not (np.isfinite(q.value) and np.isfinite(slope)):
                slope = -np.inf
            if abs(slope) <= 0.5 * gain:
                return q
            if slope > 0:
                low, best = t, q
                t = 3 * t if high == np.inf else 0.5 * (low + high)
            else:
                high = t
                t = 0.5 * (low + high) if low > 0 else 0.1 * high
        return best

    @property
    def unknowns(self) -> Mask:
        raise NotImplementedError

    def at(self, x: Array, tilt: Array, z: Array | None) -> DualPoint:
        raise NotImplementedError

    def sweep(self, p: DualPoint) -> DualPoint:
        raise NotImplementedError

    def start(self, log_b: Array, tilt: Array, z: Array | None) -> DualPoint:
        raise NotImplementedError

    def newton(self, p: DualPoint) -> NewtonStep:
        raise NotImplementedError


@dataclass(eq=False)
class NewtonStep:
    """The Newton direction of a dual, its decrement, and how the maximum follows the tilt."""

    dx: Array
    dz: Array | None
    gain: float
    columns: Mask
    respond: Callable[[], Array]
    follow: Callable[[Array], tuple[Array, Array | None]]
