r"""Smooth concave duals of the plain entropic step, their Newton systems and line search.

With r = 2 tau/eps, a tilt d > 0 (d = 1 in the plain step) and P = diag(a) K diag(b), the step

    min over P >= 0 with P 1 = m' of  sum P (log(P / (K d)) - 1) + r F(P'1)

is convex. A convex quadratic part w'Qw/2 of F has its own dual variable z (formula W1b). Two duals:

- `RowDual`, in alpha = log a. Every column solves its own problem, w = KL-prox of r h at d K'a, so
  the dual is finite everywhere, whatever h; its scaled Hessian I - S Theta S' has eigenvalues of
  at least 1/(1 + r h'' w). Linear and box-constrained energies are no special case.
- `ColumnDual`, in l = log(b/d). Every row solves its own problem, a = m'/(K b), so rows of mass
  1e-40 do no harm; w = h*'(-l/r) needs an energy that is steep at 0 (inclusive KL, p < 1), whose
  barrier the line search respects.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from jko.solvers.entropic.prox import log_prox_separable
from jko.solvers.entropic.stated import EntropicStep
from jko.validation import Array, Mask

#: From this number of atoms on, the dense systems leave out light ones and fewer are solved.
LARGE = 700
#: Added to the unit diagonal of a scaled system.
JITTER = 1e-14


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
    respond: Any
    follow: Any


class RowDual(TiltedDual):
    r"""max <alpha, m'> + min_w r h(w) + r <Qz, w> + sum w (log(w / (d K'a)) - 1) - r z'Qz/2."""

    @property
    def unknowns(self) -> Mask:
        return self.rows

    def at(self, x: Array, tilt: Array, z: Array | None) -> DualPoint:
        log_s = self.kernel.log_apply(x, "a") + tilt
        h, value, slope_z = self.h, 0.0, None
        if z is not None:
            pull = self.stated.form.quadratic_gradient(z)
            h, value = h.shifted(-pull), -0.5 * self.r * float(z @ pull)
        log_w = np.where(self.open, log_prox_separable(h, log_s, self.r), -np.inf)
        w = np.exp(log_w)
        charged = w > 0
        value += float(self.m[self.rows] @ x[self.rows]) + self.r * h.value(w)
        value += float(w[charged] @ (log_w[charged] - 1 - log_s[charged]))
        if z is not None:
            slope_z = self.r * self.stated.form.quadratic_gradient(w - z)
        log_b = np.where(self.open, log_w - log_s + tilt, -np.inf)
        log_mass = x + self.kernel.log_apply(log_b, "b")
        mass = np.where(self.rows, np.exp(log_mass), 0.0)
        return DualPoint(x, tilt, z, log_b, log_w, log_w, mass, value, self.m - mass, slope_z, x)

    def sweep(self, p: DualPoint) -> DualPoint:
        log_a = np.where(self.rows, self.log_m - self.kernel.log_apply(p.log_b, "b"), -np.inf)
        return self.at(log_a, p.tilt, p.z)

    def start(self, log_b: Array, tilt: Array, z: Array | None) -> DualPoint:
        """The point whose rows answer a potential b."""
        log_a = np.where(self.rows, self.log_m - self.kernel.log_apply(log_b, "b"), -np.inf)
        return self.at(log_a, tilt, z)

    def newton(self, p: DualPoint) -> NewtonStep:
        small = self.negligible * self.mass / self.m.size
        rows = self.rows & (np.maximum(p.mass, self.m) > small) & (p.mass > 0)
        columns = self.active(p.w)
        with np.errstate(divide="ignore"):
            plan = self.plan(p, rows, columns, np.log(p.mass), p.log_w)
        inverse = self._compliance(p, columns)
        moved = plan * inverse if inverse.ndim == 1 else plan @ inverse
        system = (moved - plan) @ plan.T
        system[np.diag_indices_from(system)] += 1 + JITTER
        factor = cho_factor(system, lower=True, overwrite_a=True, check_finite=False)
        t, root = np.sqrt(p.w[columns]), np.sqrt(p.mass[rows])
        pull = None if p.slope_z is None else t * p.slope_z[columns]

        def apply(v: Array) -> Array:
            return inverse * v if inverse.ndim == 1 else inverse @ v

        def move(right: Array, lift: Array) -> tuple[Array, Array | None]:
            """dx from the right-hand side, dz from t (d log s) minus the pull."""
            xi = cho_solve(factor, right, check_finite=False)
            dx = np.zeros_like(p.x)
            dx[rows] = xi / root
            if p.z is None:
                return dx, None
            dz = p.w - p.z
            dz[columns] += t * apply(plan.T @ xi + lift)
            return dx, dz

        right = p.slope_x[rows] / root
        no_lift = np.zeros(t.size)
        if pull is not None:
            right = right + moved @ pull
        dx, dz = move(right, no_lift if pull is None else -pull)
        gain = float(p.slope_x[rows] @ dx[rows])
        if dz is not None and p.slope_z is not None:
            gain += float(p.slope_z @ dz)

        def respond() -> Array:
            """d flux / d log d, scaled by sqrt(w) on both sides."""
            half = solve_triangular(factor[0], moved, lower=True, check_finite=False)
            full = np.diag(inverse) if inverse.ndim == 1 else inverse
            return np.asarray(full - half.T @ half)

        def follow(d_tilt: Array) -> tuple[Array, Array | None]:
            lift = t * d_tilt[columns]
            return move(-(moved @ lift), lift if pull is None else lift - pull)

        return NewtonStep(dx, dz, gain, columns, respond, follow)

    def _compliance(self, p: DualPoint, columns: Mask) -> Array:
        """(I + N)^{-1} on free columns, 0 at ceilings; its diagonal when it is diagonal."""
        free = (p.w < self.h.ceiling * (1 - 1e-13))[columns]
        if not self.quadratic:
            with np.errstate(all="ignore"):
                local = self.r * self.h.hessian(p.w)[columns] * p.w[columns]
            return np.where(free, 1 / (1 + np.minimum(local, 1e30)), 0.0)
        system = self.stiffness(p, columns, np.where(p.w < self.h.ceiling * (1 - 1e-13), p.w, 0.0))
        system[np.diag_indices_from(system)] += 1
        out = cho_solve(cho_factor(system, lower=True, check_finite=False), np.diag(free * 1.0))
        return np.asarray(0.5 * (out + out.T) * free)


class ColumnDual(TiltedDual):
    r"""max - r h*(-l/r - Qz) - r z'Qz/2 - sum m' log K(d e^l), b = d e^l, for steep h."""

    @property
    def unknowns(self) -> Mask:
        return self.open

    def at(self, x: Array, tilt: Array, z: Array | None) -> DualPoint:
        log_b = np.where(self.open, x + tilt, -np.inf)
        log_a = self.log_m - self.kernel.log_apply(log_b, "b")
        log_s = self.kernel.log_apply(log_a, "a")
        y, slope_z, value = -x / self.r, None, 0.0
        if z is not None:
            pull = self.stated.form.quadratic_gradient(z)
            y, value = y - pull, -0.5 * self.r * float(z @ pull)
        w = np.where(self.open, self.h.best_response(np.where(self.open, y, 0.0)), 0.0)
        with np.errstate(all="ignore"):
            log_w = np.log(w)
            value += float(self.m[self.rows] @ log_a[self.rows])
            value -= self.r * (float((y * w)[self.open].sum()) - self.h.value(w))
            log_flux = log_b + log_s
            slope = np.where(self.open, w - np.exp(log_flux), 0.0)
        if z is not None:
            slope_z = self.r * self.stated.form.quadratic_gradient(w - z)
        return DualPoint(x, tilt, z, log_b, log_w, log_flux, self.m, value, slope, slope_z, log_a)

    def sweep(self, p: DualPoint) -> DualPoint:
        log_s = p.log_flux - p.log_b + p.tilt
        h = self.h
        if p.z is not None:
            h = h.shifted(-self.stated.form.quadratic_gradient(p.z))
        log_w = log_prox_separable(h, log_s, self.r)
        return self.at(np.where(self.open, log_w - log_s, 0.0), p.tilt, p.z)

    def start(self, log_b: Array, tilt: Array, z: Array | None) -> DualPoint:
        """The point reached by one sweep from a potential b: inside the barrier."""
        log_a = self.log_m - self.kernel.log_apply(log_b, "b")
        log_s = self.kernel.log_apply(log_a, "a") + tilt
        h = self.h if z is None else self.h.shifted(-self.stated.form.quadratic_gradient(z))
        log_w = log_prox_separable(h, log_s, self.r)
        return self.at(np.where(self.open, log_w - log_s, 0.0), tilt, z)

    def newton(self, p: DualPoint) -> NewtonStep:
        rows = self.m > 1e-3 * self.negligible * self.mass / self.m.size
        columns = self.active(np.maximum(p.flux, p.w))
        plan = self.plan(p, rows, columns, self.log_m, p.log_flux)
        transport = plan.T @ plan
        np.negative(transport, out=transport)
        transport[np.diag_indices_from(transport)] += 1 + JITTER
        t = np.sqrt(p.flux[columns])
        give = self._compliance(p, columns)
        system = transport + give
        factor = cho_factor(system, lower=True, check_finite=False)
        pull = None if p.slope_z is None else p.slope_z[columns] / self.r

        def move(right: Array, pull: Array | None) -> tuple[Array, Array | None]:
            xi = cho_solve(factor, right, check_finite=False)
            dx = np.zeros_like(p.x)
            dx[columns] = xi / t
            if p.z is None or pull is None:
                return dx, None
            dz = p.w - p.z
            dz[columns] -= t * (give @ (xi + self.r * t * pull))
            return dx, dz

        right = p.slope_x[columns] / t
        if pull is not None:
            right = right - give @ (self.r * t * pull)
        dx, dz = move(right, pull)
        gain = float(p.slope_x[columns] @ dx[columns])
        if dz is not None and p.slope_z is not None:
            gain += float(p.slope_z @ dz)

        def respond() -> Array:
            half = solve_triangular(factor[0], transport, lower=True, check_finite=False)
            return np.asarray(transport - half.T @ half)

        def follow(d_tilt: Array) -> tuple[Array, Array | None]:
            right = -(transport @ (t * d_tilt[columns]))
            return move(right, None if pull is None else pull)

        return NewtonStep(dx, dz, gain, columns, respond, follow)

    def _compliance(self, p: DualPoint, columns: Mask) -> Array:
        """N^{-1}."""
        if not self.quadratic:
            with np.errstate(all="ignore"):
                local = self.r * self.h.hessian(p.w)[columns] * p.flux[columns]
            return np.diag(1 / np.clip(local, 1e-30, 1e30))
        system = self.stiffness(p, columns, p.flux)
        scale = np.sqrt(np.diag(system))
        system /= scale[:, None] * scale
        out = cho_solve(cho_factor(system, lower=True, check_finite=False), np.eye(scale.size))
        return np.asarray(0.5 * (out + out.T) / (scale[:, None] * scale))


def dual_of(stated: EntropicStep) -> RowDual | ColumnDual:
    """The column dual where every open atom is kept from 0 by a power p < 1, else the row dual."""
    h = stated.form.separable
    steep = np.zeros(h.n, dtype=bool)
    for power, c in h.powers.items():
        if power < 1:
            steep |= c > 0
    free = bool(np.isinf(h.ceiling[h.ceiling > 0]).all())
    return ColumnDual(stated) if steep[h.ceiling > 0].all() and free else RowDual(stated)
