"""Penalised worst cases on a finite support: one proximal step of -loss each (formula R1)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from jko.dro.ambiguity import Ambiguity
from jko.dro.ball import PenalisedResponse, Respond
from jko.dro.sets import Neighbourhood
from jko.energies.potential import Potential
from jko.errors import Unsupported
from jko.geometries.base import Geometry
from jko.geometries.divergence import Divergence
from jko.geometries.ground import MAX_PAIRS
from jko.geometries.mmd import MMD
from jko.geometries.wasserstein import Wasserstein
from jko.measures.base import Discrete
from jko.numerics.partners import best_partners
from jko.prox.result import StepResult
from jko.solvers import Conic
from jko.solvers.rules import Solver
from jko.solvers.step import step
from jko.validation import Array, Index

#: Tolerance of the steps under a ball, a few digits below that of the ball.
STEP_TOL = 1e-12
#: A gap above this is a stall; below this many atoms a conic program helps out.
STALLED = 1e-9
SMALL = 200


def respond_to(stated: Ambiguity) -> Respond:
    """gamma -> the penalised worst case of the stated problem."""
    if isinstance(stated.geometry, Neighbourhood):
        return stated.geometry.respond_to(stated)
    if isinstance(stated.geometry, Wasserstein):
        return TransportResponse(stated)
    return StepResponse(stated)


@dataclass(eq=False)
class StepResponse:
    """sup E loss - gamma D^2 (gamma D_p) as minus one `jko.step` of Potential(-loss)."""

    stated: Ambiguity
    tol: float = STEP_TOL
    warm: object = None
    energy: Potential = field(init=False)

    def __post_init__(self) -> None:
        stated = self.stated
        self.energy = Potential(np.where(stated.opened, -stated.loss, np.inf))

    def __call__(self, gamma: float) -> PenalisedResponse:
        geometry = self._geometry
        divergence = isinstance(geometry, Divergence)
        tau = (1.0 if divergence else 0.5) / gamma
        found = self._step(tau)
        self.warm = found.warm
        cost = found.sqdistance / 2 if divergence else found.sqdistance
        assert isinstance(found.measure, Discrete)
        weights = found.measure.weights
        slack = np.inf if found.gap is None else max(found.gap, 0.0)
        return PenalisedResponse(weights, float(weights @ self.stated.loss), cost, slack)

    @property
    def _geometry(self) -> Geometry:
        assert isinstance(self.stated.geometry, Geometry)
        return self.stated.geometry

    def _step(self, tau: float) -> StepResult:
        """The step; where a quadratic program stalls, again from other starts or as a cone."""
        geometry, nominal = self._geometry, self.stated.nominal
        found = step(nominal, self.energy, geometry, tau, tol=self.tol, warm=self.warm, throw=False)
        if not isinstance(geometry, MMD) or _closed(found):
            return found
        rivals: list[tuple[Solver, object]] = [("auto", {"weights": nominal.weights})]
        rivals.append(("auto", found.warm))
        if nominal.n <= SMALL:
            rivals.append((Conic("CLARABEL"), None))
        for solver, warm in rivals:
            rival = step(
                nominal,
                self.energy,
                geometry,
                tau,
                solver=solver,
                tol=self.tol,
                warm=warm,
                throw=False,
            )
            if rival.gap is not None and (found.gap is None or rival.gap < found.gap):
                found = rival
            if _closed(found):
                break
        return found


def _closed(found: StepResult) -> bool:
    """Whether a step's gap is small for an objective of order 1."""
    return found.gap is not None and found.gap <= STALLED * max(1.0, abs(found.objective))


@dataclass(eq=False)
class TransportResponse:
    """The c-transform of the loss, with the costs of transport kept from one gamma to the next."""

    stated: Ambiguity
    cost: Array = field(init=False)
    charged: Index = field(init=False)
    targets: Index = field(init=False)

    def __post_init__(self) -> None:
        nominal = self.stated.nominal
        self.charged = np.flatnonzero(nominal.weights > 0)
        self.targets = np.flatnonzero(self.stated.opened)
        if self.charged.size * self.targets.size > MAX_PAIRS:
            raise Unsupported(
                f"{self.charged.size} atoms and {self.targets.size} points make more than"
                f" {MAX_PAIRS} pairs; pass fewer points, or use support='particles'"
            )
        geometry = self.stated.geometry
        assert isinstance(geometry, Wasserstein)
        costs = geometry.ground.between(nominal, nominal, self.charged, self.targets)
        self.cost = costs / geometry.rate ** (self.stated.power - 1)

    def __call__(self, gamma: float) -> PenalisedResponse:
        m = self.stated.nominal.weights[self.charged]
        partner, _ = best_partners(self.stated.loss[self.targets], self.cost, gamma)
        arrived = self.targets[partner]
        weights = np.bincount(arrived, m, self.stated.nominal.n).astype(float)
        spent = float(m @ self.cost[np.arange(m.size), partner])
        return PenalisedResponse(weights, float(m @ self.stated.loss[arrived]), spent, 0.0)
