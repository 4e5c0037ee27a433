r"""The unregularised Wasserstein-Fisher-Rao step between atoms: its objective and its dual.

With lam = 2/(beta tau) and the cost c of formula U2 the step is

    min_w  F(w) + lam min_g KL(g1 | w) + KL(g2 | m') + <c, g>,      g1, g2 the marginals of g,

and for any potential psi of m' and its transform phi_i = min_j c_ij - psi_j its minimum is at least

    lam sum m' (1 - e^{-psi}) - sum_i F_i*(-lam (1 - e^{-phi_i})).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from jko.energies.conjugate import brackets, charged_by, response
from jko.forms.separable import Separable
from jko.geometries.unbalanced import WassersteinFisherRao
from jko.geometries.unbalanced_transport import relative_entropy
from jko.measures.base import Discrete, Measure
from jko.measures.grid import GridDensity
from jko.numerics.elementary import EPS
from jko.numerics.radial import RadialCosts
from jko.prox.duality.fenchel import tilted
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Certificate, Neighbour, on_atoms
from jko.validation import Array, Index

#: Where tangents of quadratic parts touch, above w: shares of w, that cost their squares.
TANGENTS = (0.0, 1e-8, 1e-6)
#: Weights, in units of w, at whose slope an energy that flattens is held.
BEYOND = 1e4
#: A potential this low lets no mass go anywhere, a cost this high carries none.
FARTHEST = 700.0
#: Cells of a grid up to which costs are kept in matrices.
SMALL = 1024
#: Cells as far as which a transform on a large grid looks for partners.
FAR_CELLS = 25.0


@dataclass(frozen=True, eq=False)
class ConeStep(Neighbour):
    """A step of unsplit transport with sources, as a problem between the atoms of a support."""

    problem: ProxProblem

    @property
    def geometry(self) -> WassersteinFisherRao:
        """The geometry of the step."""
        geometry = self.problem.geometry
        assert isinstance(geometry, WassersteinFisherRao)
        return geometry

    @property
    def previous(self) -> Discrete:
        """The previous measure."""
        return self.problem.discrete

    @property
    def lam(self) -> float:
        """2/(beta tau), the weight of the transport terms."""
        return 2 / (self.geometry.beta * self.problem.step)

    @cached_property
    def charged(self) -> Index:
        """Atoms of m'."""
        return np.flatnonzero(self.previous.weights)

    @cached_property
    def m(self) -> Array:
        """Weights of the atoms of m'."""
        return self.previous.weights[self.charged]

    @cached_property
    def cost(self) -> Array:
        """c between the support and the atoms of m' (n, m)."""
        x = self.previous.points
        return self.geometry.cost(x, x[self.charged])

    @property
    def unbounded(self) -> bool:
        """Whether more mass at some atom lowers the objective for ever."""
        if self.problem.form.quadratics:
            return False  # a positive-definite kernel grows faster than any line
        h = self.problem.form.separable
        wanting = ~charged_by(h, 1.0) & np.isinf(h.ceiling)
        return bool((h.linear[wanting] + self.lam <= 0).any())

    def objective(self, nu: Measure) -> float:
        """F(nu) + WFR^2(nu, m') / (2 tau), by exact transport."""
        return self.problem.objective(nu)

    def certificate(self, answer: Answer) -> Certificate:
        """Gap of an answer from a plan `dual["plan"]` (n, m) and a potential `dual["psi"]` (m,)."""
        w, dual = on_atoms(answer.measure).weights, answer.potentials
        gap = self.gap(w, dual["psi"], self.paid(w, dual["plan"]))
        return Certificate(gap, None)

    def paid(self, w: Array, plan: Array) -> float:
        """KL(g1 | w) + KL(g2 | m') + <c, g>, at least WFR^2 beta/4, for any plan g >= 0."""
        if not (plan >= 0).all() or not np.isfinite(plan).all() or (plan[w == 0] > 0).any():
            return np.inf
        charged, near = w > 0, plan > 0
        moved = float((self.cost[near] * plan[near]).sum())
        first = relative_entropy(plan[charged].sum(axis=1), w[charged])
        return moved + first + relative_entropy(plan.sum(axis=0), self.m)

    def gap(self, w: Array, psi: Array, paid: float) -> float:
        """Upper bound of the excess of weights w that transport `paid` reaches; any psi (m,).

        A quadratic part enters by its tangent at w, and at slightly larger weights: where it alone
        keeps weights from growing, its slope at w may be too low by rounding.
        """
        shares = TANGENTS if self.problem.form.quadratics else (0.0,)
        return min(self._gap(w, psi, paid, share) for share in shares)

    def _gap(self, w: Array, psi: Array, paid: float, share: float) -> float:
        """The bound with the tangent of the quadratic part at (1 + share) w."""
        lower, below = tilted(self.problem.form, w, (1 + share) * w)
        psi = self._feasible(lower, psi, w)
        with np.errstate(over="ignore", invalid="ignore"):
            phi = np.where(lower.ceiling > 0, self.transform(psi), np.inf)
            value = -float(w @ np.expm1(-phi) + self.m @ np.expm1(-psi))
            y = self.lam * np.expm1(-phi)
        if not (np.isfinite(y).all() and np.isfinite(value)):
            return np.inf
        energy = float(brackets(lower, w, y, response(lower, y, w)).sum())
        gap = energy + below + self.lam * max(paid - value, 0.0)
        return gap if np.isfinite(gap) else np.inf

    def away(self, distance: Array) -> Array:
        """c of distances, of any shape."""
        origin = np.zeros((1, 1))
        return self.geometry.cost(distance.reshape(-1, 1), origin).reshape(distance.shape)

    def transform(self, psi: Array) -> Array:
        """min_j c_ij - psi_j (n,), or below it on large grids."""
        if self.radial:
            whole = np.full(self.previous.n, -np.inf)
            whole[self.charged] = psi
            return self._least(whole)
        near = np.isfinite(self.cost)
        gains = np.where(near, np.where(near, self.cost, 0.0) - psi, np.inf)
        return np.asarray(gains.min(axis=1, initial=np.inf))

    @cached_property
    def radial(self) -> bool:
        """Whether c is applied as a function of the distance, on grids with one or two axes."""
        mu = self.previous
        return isinstance(mu, GridDensity) and mu.n > SMALL and mu.dim <= 2

    def _least(self, values: Array) -> Array:
        """min over all cells of c - values, values (n,) -inf where nothing is; or below it."""
        mu = self.previous
        assert isinstance(mu, GridDensity)
        known = values[np.isfinite(values)]
        spacing = tuple(float(h) for h in mu.grid.spacing)
        farthest = float(self.away(np.array([FAR_CELLS * min(spacing)]))[0])
        most = min(max(float(known.max() - known.min()), 1e-300), farthest, FARTHEST)
        costs = RadialCosts(mu.grid.shape, spacing, self.away, most)
        return costs.transform(values.reshape(mu.grid.shape)).ravel()

    def _partners(self, wanting: Index, room: Array) -> Array:
        """min over the wanting atoms i of c_ij + room_i (m,)."""
        if self.radial:
            values = np.full(self.previous.n, -np.inf)
            values[wanting] = -room
            return self._least(values)[self.charged]
        return np.asarray((self.cost[wanting] + room[:, None]).min(axis=0, initial=np.inf))

    def _feasible(self, lower: Separable, psi: Array, w: Array) -> Array:
        """The potential lowered until F* is finite at y, where F grows no faster than linearly.

        Only partners of atoms that want it are lowered: phi_i + room_i >= 0.
        """
        wanting = np.flatnonzero(~charged_by(lower, 1.0) & np.isinf(lower.ceiling))
        if not wanting.size:
            return psi
        part = lower.take(wanting)
        heavy = BEYOND * np.maximum(w[wanting], w.mean())
        slope = np.where(charged_by(part), part.gradient(heavy), part.linear)
        with np.errstate(divide="ignore", invalid="ignore"):
            room = np.log1p(np.maximum(slope / self.lam, -1.0))
        room -= 4 * EPS * (np.abs(room) + np.abs(slope / self.lam))
        most = self._partners(wanting, np.maximum(room, -FARTHEST))
        return np.minimum(psi, np.maximum(most, -FARTHEST))
