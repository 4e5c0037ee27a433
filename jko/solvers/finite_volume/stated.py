r"""The problem that a finite-volume step solves, and its certificate."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from jko.measures.base import Measure
from jko.measures.grid import GridDensity
from jko.numerics.multigrid import solve
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Certificate, Claim, Neighbour, of_kind
from jko.solvers.finite_volume.faces import Flux
from jko.solvers.finite_volume.scheme import CellScheme
from jko.status import Breakdown
from jko.validation import Array

#: Relative shift that makes the singular matrix of a mobility invertible.
SHIFT = 1e-13
#: Share of the mass that counts as rounding between the returned masses and the carried ones.
ROUNDING = 1e-14


@dataclass(frozen=True, eq=False)
class LinearisedStep(Neighbour):
    r"""min over v of F(v) + |v - w'|^2_{-1,M} / (2 step), the mobility M = M(w) held fixed.

    |d|^2_{-1,M} = d.A^+ d with A f = sum_j M_ij (f_i - f_j)/h^2: the square of the Wasserstein
    distance linearised at M. The optimality condition at v = w, w - w' + step A f(w) = 0, is the
    implicit finite-volume step: the step is a fixed point of the minimisation. As M is a mean of
    the new density, the problem is not the Wasserstein step but O(step) apart.

    Attributes
    ----------
    dual : (n,) array
        The masses w at which M and the slope f are taken.
    pressure : (n,) array or None
        What f has above the slope of F in full cells, where the density has a bound.
    """

    claim: ClassVar[Claim] = Claim.REGULARISED

    problem: ProxProblem
    scheme: CellScheme
    dual: Array
    pressure: Array | None = None

    @property
    def previous(self) -> GridDensity:
        """The previous measure."""
        mu = self.problem.previous
        assert isinstance(mu, GridDensity)
        return mu

    @cached_property
    def flux(self) -> Flux:
        """Mobilities and fluxes at the dual point."""
        return self.scheme.flux(self.dual, self.pressure)

    @cached_property
    def carried(self) -> Array:
        """w' - step A f(w), the masses that the fluxes at w lead to: mass kept to rounding."""
        return self.previous.weights - self.problem.step * self.scheme.outflow(self.flux)

    @cached_property
    def answer(self) -> Array:
        """The carried masses, within [0, ceiling]: rounding above it goes to cells with room."""
        ceiling = self.problem.form.separable.ceiling
        v = np.maximum(self.carried, 0.0)
        over = np.where(v > (1 + 1e-12) * ceiling, v - ceiling, 0.0)
        if not over.any():
            return v
        v = v - over
        room = np.where(np.isfinite(ceiling), ceiling - v, v.sum()) * v
        return v + room * (over.sum() / room.sum() if room.any() else 0.0)

    def dissipation(self) -> float:
        """f.A f at the dual point: step^2 times this is |carried - w'|^2_{-1,M}."""
        i, j, scale = self.scheme.faces.i, self.scheme.faces.j, self.scheme.faces.scale
        f = self.scheme.first_variation(self.dual)
        f = f if self.pressure is None else f + self.pressure
        moving = self.flux.value != 0
        return float((scale * self.flux.value)[moving] @ (f[i] - f[j])[moving])

    def sheared(self) -> float:
        """step/2 sum w |dv|^2, dv the change of the velocity across a cell along an axis.

        What the metric sees of a velocity at the faces of a cell differs by a share of this from
        what moving the density of the cell costs; an estimate of the grid's part.
        """
        faces, total = self.scheme.faces, 0.0
        f = self.scheme.first_variation(self.dual)
        f = f if self.pressure is None else f + self.pressure
        with np.errstate(invalid="ignore"):
            speed = np.sqrt(faces.scale) * (f[faces.i] - f[faces.j])
        speed = np.where(self.flux.value != 0, speed, 0.0)
        for start, end in zip((0, *faces.cuts), faces.cuts, strict=False):
            ahead = np.bincount(faces.i[start:end], speed[start:end], f.size)
            change = ahead - np.bincount(faces.j[start:end], speed[start:end], f.size)
            total += float(self.dual @ change**2)
        return 0.5 * self.problem.step * total

    def dual_energy(self, d: Array) -> float:
        """d.A^+ d; +inf where no flux can make d, as between parts without mobility."""
        faces, mobility = self.scheme.faces, self.flux.mobility
        total = faces.laplacian(mobility, np.zeros(d.size)).main.ravel()
        shifted = faces.laplacian(mobility, np.where(total > 0, SHIFT * total, 1.0))
        try:
            phi, _ = solve(shifted, d, symmetric=True)
        except Breakdown:
            return np.inf
        flux = mobility * faces.scale * (phi[faces.i] - phi[faces.j])
        left = float(np.abs(faces.divergence(flux) - d).sum())
        if not left <= 1e-6 * float(np.abs(d).sum()) + 1e-13 * self.previous.mass:
            return np.inf
        return max(0.0, float(d @ phi))

    def objective(self, nu: Measure) -> float:
        """F + |v - w'|^2_{-1,M} / (2 step)."""
        moved = self.dual_energy(of_kind(nu, GridDensity).weights - self.previous.weights)
        return self.problem.value(nu) + moved / (2 * self.problem.step)

    def certificate(self, answer: Answer) -> Certificate:
        r"""Gap F(v) + F*(f) - f.v + |r|^2_{-1,M}/(2 step), f = f(w), r = v - w' + step A f.

        The first part is the Bregman divergence of F from w to v, the second vanishes for the
        masses that the fluxes at w lead to, which is what the solver returns. So the gap costs no
        linear system, and does not suffer in tails where mobilities underflow (there rounding
        errors of a dual point may ask for more than a cell has; it is left empty). None where F
        is not convex.
        The residual is sum |v - w| / mass.
        """
        v, w, step = of_kind(answer.measure, GridDensity).weights, self.dual, self.problem.step
        size = float(np.abs(v - w).sum()) / self.previous.mass
        if not self.problem.form.convex:
            return Certificate(None, size)
        gap = self._bregman(v)
        apart = float(np.abs(v - self.carried).sum())
        if apart > ROUNDING * self.previous.mass:
            gap += self.dual_energy(v - self.carried) / (2 * step)
        return Certificate(gap if np.isfinite(gap) else np.inf, size)

    def _bregman(self, v: Array) -> float:
        """F(v) - F(w) - f(w).(v - w), of the separable part cell by cell."""
        h, w = self.problem.form.separable, self.dual
        with np.errstate(invalid="ignore"):
            part = h.per_atom(v) - h.per_atom(w) - h.gradient(w) * (v - w)
        if self.pressure is not None:  # full cells: the conjugate of the bound
            part = part + self.pressure * (w - v)
        part = np.where(v == w, 0.0, np.maximum(part, 0.0))
        curved = self.problem.form.quadratic_gradient(v - w)
        return float(part.sum()) + 0.5 * float(curved @ (v - w))
