r"""Newton's method for the finite-volume step, from far away too.

Three things make it converge for degenerate diffusion over many cells. It moves in the mass where
a cell gives less than it keeps, in the pressure w^p where it gives more: the linear system is the
same, and a linear step in w^p cannot overshoot as w does. It starts from the solution on blocks of
cells, since Newton's method moves a front by one cell an iteration. It falls back on shorter
steps from the same masses, each the start of the next.
"""

from __future__ import annotations

import numpy as np

from jko.numerics.multigrid import solve
from jko.solvers.finite_volume.faces import Flux
from jko.solvers.finite_volume.means import power
from jko.solvers.finite_volume.scheme import CellScheme
from jko.status import Breakdown, Status
from jko.validation import Array

#: Newton stops when sum |R| is this share of the mass, or below the second when it stops falling.
FINE = 1e-13
ROUGH = 1e-9
#: A Newton step leaves at least this share of a cell's mass; under an entropy, of the fullest cell.
KEEP = 1e-3
FLOOR = 1e-150
#: What counts as rounding, relative to the sizes of the fluxes.
ROUNDING = 1e-15
#: Limit on the sweeps that mend tails.
SWEEPS = 20
#: Accuracy of the first linear solves, relative; later ones as the square of what was gained.
FORCING = 0.1
#: Halvings of a Newton step, and growth of the residual that is let pass.
HALVINGS = 8
GROWTH = 2.0


class Newton:
    """Newton's method in the cell masses of one step.

    Where the density has a bound the unknown x is the mass up to the ceiling, and the ceiling plus
    a multiple of the pressure in full cells: one number for the two that complement each other.
    """

    def __init__(self, scheme: CellScheme, previous: Array, step: float) -> None:
        self.scheme, self.previous, self.step = scheme, previous, step
        self.mass = float(previous.sum())
        # Where f(0) = -inf the dual point must be positive.
        self.floor = FLOOR * float(previous.max()) if scheme.barrier else 0.0
        self.linear = 0
        # Pressures of full cells per unit of x above the ceiling: there R changes as in free ones.
        self.ceiling = scheme.form.separable.ceiling
        with np.errstate(divide="ignore"):
            self.stiff = 1 / (step * scheme.faces.degree * np.where(scheme.opened, self.ceiling, 1))

    def run(self, start: Array, limit: int, fine: float = FINE) -> tuple[Array, int, bool]:
        """x (n,), iterations, and whether the residual is as small as it gets."""
        x = np.where(self.scheme.opened, np.maximum(start, self.floor), 0.0)
        r, flux = self._residual(x)
        size, tol, count = self._size(r), FORCING, 0
        done = self._full(r) + size <= fine
        while count < limit and not done:
            tol = max(tol, min(0.1, 0.1 * fine / max(size, 1e-300)))
            x, r, flux = self._damped(x, r, self._change(x, r, flux, tol))
            count, before, size = count + 1, size, self._size(r)
            if not np.isfinite(size):
                raise Breakdown(Status.BROKEN, "Newton's method left the range of numbers")
            tol = float(np.clip(0.5 * (size / before) ** 2, 1e-9, FORCING))
            rough = max(ROUGH, self._noise(x, flux))
            done = self._full(r) + size <= fine or (size <= rough and size > 0.5 * before)
        return self._relaxed(x, r, flux), count, done

    def state(self, x: Array) -> tuple[Array, Array | None]:
        """Masses min(x, ceiling) and the pressures that the rest of x stands for."""
        if self.scheme.bounded is None:
            return x, None
        w = np.minimum(x, self.ceiling)
        return w, self.stiff * (x - w)

    def unknown(self, w: Array, pressure: Array | None) -> Array:
        """x from masses and pressures."""
        if pressure is None:
            return w
        above = np.where(self.stiff > 0, pressure / np.where(self.stiff > 0, self.stiff, 1.0), 0.0)
        return np.where(above > 0, self.ceiling + above, w)

    def _residual(self, x: Array) -> tuple[Array, Flux]:
        w, pressure = self.state(x)
        return self.scheme.residual(w, self.previous, self.step, pressure)

    def _full(self, r: Array) -> float:
        """The residual in cells with a bound, relative to it: full cells must not overflow."""
        bounded = self.scheme.bounded
        return 0.0 if bounded is None else float((np.abs(r[bounded]) / self.ceiling[bounded]).max())

    def _size(self, r: Array) -> float:
        return float(np.abs(r).sum()) / self.mass

    def _noise(self, x: Array, flux: Flux) -> float:
        """Rounding errors of the residual, whose fluxes are differences of larger numbers."""
        w = np.minimum(x, self.ceiling)
        gross = np.abs(flux.by_i) @ (self.scheme.faces.scale * w[self.scheme.faces.i])
        return ROUNDING * (1 + self.step * float(gross) / self.mass)

    def _change(self, x: Array, r: Array, flux: Flux, tol: float) -> Array:
        """-J^{-1} R."""
        full = x > self.ceiling
        push = np.where(full, self.stiff, 0.0) if self.scheme.bounded is not None else None
        matrix, slope = self.scheme.jacobian(flux, self.step, push)
        dense = self.scheme.long_range(flux, self.step)
        extra = None if dense is None else lambda u: dense(np.where(full, 0.0, u / slope))
        symmetric = self.scheme.driftless
        change, count = solve(matrix, -r, extra=extra, symmetric=symmetric, tol=tol)
        self.linear += count
        if not np.isfinite(change).all():
            raise Breakdown(Status.BROKEN, "the linear solver returned numbers that are not finite")
        return change / slope

    def _damped(self, x: Array, r: Array, change: Array) -> tuple[Array, Array, Flux]:
        """A step that keeps masses positive and does not blow the residual up."""
        size, t, w = self._size(r), 1.0, self.state(x)[0]
        least = np.where(self.scheme.opened, np.maximum(KEEP * w, self.floor), 0.0)
        for _ in range(HALVINGS):
            new = np.where(x > w, x + t * change, self._moved(w, t * change))
            new = np.maximum(new, least)
            found, flux = self._residual(new)
            if self._size(found) <= GROWTH * size:
                break
            t /= 2
        return new, found, flux

    def _moved(self, w: Array, change: Array) -> Array:
        """w + change where a cell gives less than it keeps, else the same in the pressure.

        With p the power that gives most and w* the mass at which k c w*^{p-1} = 1, k the sum of
        step/h^2 over the faces, the unknown is X = w up to w* and linear in w^p beyond, with
        X' = max(1, (w/w*)^{p-1}).
        """
        new = w + change
        most = self._conductance(1.0, w) if 1.0 in self.scheme.powers else np.zeros_like(w)
        for p in self.scheme.powers:
            if p <= 1:
                continue
            reach = np.maximum(w, new)
            given = self._conductance(p, reach)
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                knee = reach * (np.maximum(given, 1e-300)) ** (-1 / (p - 1))
                moved = _in_pressure(p, w, change, np.minimum(knee, 1e300))
            new = np.where((given > 1) & (given > most), moved, new)
            most = np.maximum(most, given)
        return new

    def _conductance(self, p: float, w: Array) -> Array:
        """k c w^{p-1}."""
        c = self.scheme.powers[p]
        return self.step * self.scheme.faces.degree * c * power(w, p - 1)

    def _relaxed(self, x: Array, r: Array, flux: Flux) -> Array:
        """Jacobi sweeps in cells that would give more than they have.

        Absolute rounding errors of the linear solver can do that far out in tails.
        """
        for _ in range(SWEEPS):
            poor = r > x
            if not poor.any():
                break
            slope = 1 + self.step * self.scheme.faces.outgoing(flux)
            x = np.where(poor, np.maximum(x - r / slope, np.maximum(KEEP * x, self.floor)), x)
            r, flux = self._residual(x)
        return x


def _in_pressure(p: float, w: Array, change: Array, knee: Array) -> Array:
    """X^{-1}(X(w) + X'(w) change) for X = w below the knee, linear in w^p above, in units of it."""
    v = w / knee
    rise = power(np.maximum(v, 1.0), p - 1)
    x = np.where(v <= 1, v, 1 + (v * rise - 1) / p) + rise * change / knee
    return knee * np.where(x <= 1, x, np.maximum(1 + p * (x - 1), 1.0) ** (1 / p))
