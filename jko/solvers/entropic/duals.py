r"""Smooth concave duals of the plain entropic step, and their Newton systems.

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

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from jko.solvers.entropic.dual import DualPoint, NewtonStep, TiltedDual
from jko.solvers.entropic.prox import log_prox_separable
from jko.solvers.entropic.stated import EntropicStep
from jko.validation import Array, Mask

#: Added to the unit diagonal of a scaled system.
JITTER = 1e-14


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
        system = _RowSystem(p, plan, self._compliance(p, columns), rows, columns)
        dx, dz = system.direction()
        return NewtonStep(dx, dz, p.gain(dx, dz), columns, system.respond, system.follow)

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


class _RowSystem:
    """Newton's equations of the row dual, eliminated down to the rows."""

    def __init__(
        self, p: DualPoint, plan: Array, inverse: Array, rows: Mask, columns: Mask
    ) -> None:
        self.p, self.plan, self.inverse, self.rows, self.columns = p, plan, inverse, rows, columns
        self.moved = plan * inverse if inverse.ndim == 1 else plan @ inverse
        system = (self.moved - plan) @ plan.T
        system[np.diag_indices_from(system)] += 1 + JITTER
        self.factor = cho_factor(system, lower=True, overwrite_a=True, check_finite=False)
        self.t, self.root = np.sqrt(p.w[columns]), np.sqrt(p.mass[rows])
        self.pull = None if p.slope_z is None else self.t * p.slope_z[columns]

    def _move(self, right: Array, lift: Array) -> tuple[Array, Array | None]:
        """dx from the right-hand side, dz from t (d log s) minus the pull."""
        p = self.p
        xi = cho_solve(self.factor, right, check_finite=False)
        dx = np.zeros_like(p.x)
        dx[self.rows] = xi / self.root
        if p.z is None:
            return dx, None
        risen = self.plan.T @ xi + lift
        dz = p.w - p.z
        answer = self.inverse * risen if self.inverse.ndim == 1 else self.inverse @ risen
        dz[self.columns] += self.t * answer
        return dx, dz

    def direction(self) -> tuple[Array, Array | None]:
        """Towards the maximum."""
        right = self.p.slope_x[self.rows] / self.root
        if self.pull is None:
            return self._move(right, np.zeros(self.t.size))
        return self._move(right + self.moved @ self.pull, -self.pull)

    def respond(self) -> Array:
        """d flux / d log d, scaled by sqrt(w) on both sides."""
        half = solve_triangular(self.factor[0], self.moved, lower=True, check_finite=False)
        full = np.diag(self.inverse) if self.inverse.ndim == 1 else self.inverse
        return np.asarray(full - half.T @ half)

    def follow(self, d_tilt: Array) -> tuple[Array, Array | None]:
        """How the maximum moves with the tilt."""
        lift = self.t * d_tilt[self.columns]
        return self._move(-(self.moved @ lift), lift if self.pull is None else lift - self.pull)


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
        system = _ColumnSystem(p, transport, self._compliance(p, columns), columns, self.r)
        dx, dz = system.direction()
        return NewtonStep(dx, dz, p.gain(dx, dz), columns, system.respond, system.follow)

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


class _ColumnSystem:
    """Newton's equations of the column dual; `transport` + `give` over the columns."""

    def __init__(
        self, p: DualPoint, transport: Array, give: Array, columns: Mask, r: float
    ) -> None:
        self.p, self.transport, self.give, self.columns, self.r = p, transport, give, columns, r
        self.factor = cho_factor(transport + give, lower=True, check_finite=False)
        self.t = np.sqrt(p.flux[columns])
        self.pull = None if p.slope_z is None else p.slope_z[columns] / r

    def _move(self, right: Array) -> tuple[Array, Array | None]:
        p = self.p
        xi = cho_solve(self.factor, right, check_finite=False)
        dx = np.zeros_like(p.x)
        dx[self.columns] = xi / self.t
        if p.z is None or self.pull is None:
            return dx, None
        dz = p.w - p.z
        dz[self.columns] -= self.t * (self.give @ (xi + self.r * self.t * self.pull))
        return dx, dz

    def direction(self) -> tuple[Array, Array | None]:
        """Towards the maximum."""
        right = self.p.slope_x[self.columns] / self.t
        if self.pull is not None:
            right = right - self.give @ (self.r * self.t * self.pull)
        return self._move(right)

    def respond(self) -> Array:
        """d flux / d log d, scaled by sqrt(flux) on both sides."""
        half = solve_triangular(self.factor[0], self.transport, lower=True, check_finite=False)
        return np.asarray(self.transport - half.T @ half)

    def follow(self, d_tilt: Array) -> tuple[Array, Array | None]:
        """How the maximum moves with the tilt."""
        return self._move(-(self.transport @ (self.t * d_tilt[self.columns])))


def dual_of(stated: EntropicStep) -> RowDual | ColumnDual:
    """The column dual where every open atom is kept from 0 by a power p < 1, else the row dual."""
    h = stated.form.separable
    steep = np.zeros(h.n, dtype=bool)
    for power, c in h.powers.items():
        if power < 1:
            steep |= c > 0
    free = bool(np.isinf(h.ceiling[h.ceiling > 0]).all())
    return ColumnDual(stated) if steep[h.ceiling > 0].all() and free else RowDual(stated)
