"""Sets of measures that are no metric balls of a geometry: CVaR, total variation, Sinkhorn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from jko.dro.ball import PenalisedResponse, Respond
from jko.errors import InvalidArgument, Unsupported
from jko.geometries.ground import MAX_PAIRS
from jko.numerics.exact_transport import square_costs
from jko.validation import Array, positive, real

if TYPE_CHECKING:
    from jko.dro.ambiguity import Ambiguity


class Neighbourhood(ABC):
    """A set of measures around a given one, by a convex cost and a radius.

    Attributes
    ----------
    kinked : bool
        Whether the cost of penalised worst cases jumps with the price.
    """

    kinked: ClassVar[bool] = False

    @property
    def power(self) -> float:
        """The budget is radius^power."""
        return 1.0

    @abstractmethod
    def respond_to(self, stated: Ambiguity) -> Respond:
        """gamma -> the worst case of E loss - gamma cost."""

    @abstractmethod
    def extreme(self, stated: Ambiguity) -> PenalisedResponse:
        """The nearest measure on the atoms of largest loss."""


@dataclass(frozen=True)
class TotalVariation(Neighbourhood):
    """All measures that differ from the given one in a share of its mass of at most the radius.

    The distance is 1/2 sum |w - w'|, the mass that is moved; where it goes is free. The worst case
    moves the mass of least loss to where the loss is largest.

    References
    ----------
    Ben-Tal et al. (2013).
    """

    kinked: ClassVar[bool] = True

    def respond_to(self, stated: Ambiguity) -> Respond:
        w, loss = stated.nominal.weights, np.where(stated.opened, stated.loss, -np.inf)
        at = int(np.argmax(loss))

        def respond(gamma: float) -> PenalisedResponse:
            moved = (loss < loss[at] - gamma) & (w > 0)
            weights = np.where(moved, 0.0, w)
            cost = float(w[moved].sum())
            weights[at] += cost
            return PenalisedResponse(weights, float(weights @ stated.loss), cost, 0.0)

        return respond

    def extreme(self, stated: Ambiguity) -> PenalisedResponse:
        return self.respond_to(stated)(0.0)


@dataclass(frozen=True)
class Sinkhorn(Neighbourhood):
    r"""Measures within a radius of entropic transport cost.

    radius^p bounds min <C, P> + reg KL(P | w x nu) over plans P from the given measure w, with
    C = |x - y|^p and nu uniform on the points that may be charged. The worst case is smooth: it
    charges every point. The cost of no measure is 0, and the least radius is that of the cheapest
    plan.

    Parameters
    ----------
    reg : float, > 0
        In the unit of C.
    p : float, >= 1

    References
    ----------
    Wang et al. (2023).
    """

    reg: float
    p: float = 2.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "reg", positive(self.reg, "reg"))
        p = real(self.p, "p")
        if p < 1:
            raise InvalidArgument(f"p = {p:g} is below 1, where |x - y|^p is no cost; pass p >= 1")
        object.__setattr__(self, "p", p)

    @property
    def power(self) -> float:
        return self.p

    def respond_to(self, stated: Ambiguity) -> Respond:
        plans = _EntropicPlans(stated, self)
        return lambda gamma: plans.best(stated.loss[plans.targets] / gamma)

    def extreme(self, stated: Ambiguity) -> PenalisedResponse:
        plans = _EntropicPlans(stated, self)
        loss = stated.loss[plans.targets]
        return plans.best(np.where(loss >= loss.max(), 0.0, -np.inf))


class _EntropicPlans:
    """Plans m_i softmax_j (log nu_j + (gain_j - C_ij)/reg), and what they cost."""

    def __init__(self, stated: Ambiguity, ball: Sinkhorn) -> None:
        nominal = stated.nominal
        self.stated, self.reg = stated, ball.reg
        self.sources = np.flatnonzero(nominal.weights > 0)
        self.targets = np.flatnonzero(stated.opened)
        if self.sources.size * self.targets.size > MAX_PAIRS:
            raise Unsupported(
                f"{self.sources.size} atoms and {self.targets.size} points make more than"
                f" {MAX_PAIRS} pairs; pass fewer points"
            )
        square = square_costs(nominal.points[self.sources], nominal.points[self.targets])
        self.cost = square ** (ball.p / 2)
        self.mass = nominal.weights[self.sources]

    def best(self, gain: Array) -> PenalisedResponse:
        """The plan that maximises E gain - cost; its second marginal, E loss and cost."""
        score = (gain - self.cost) / self.reg
        top = score.max(axis=1, keepdims=True)
        share = np.exp(score - top)
        total = share.sum(axis=1, keepdims=True)
        share /= total
        count = self.targets.size
        # log(P/(m nu)) = score - log mean exp score: the entropy of the plan, row by row.
        level = top[:, 0] + np.log(total[:, 0] / count)
        live = np.where(np.isfinite(gain), gain, 0.0)
        spent = self.mass @ (share @ live) - self.reg * float(self.mass @ level)
        weights = np.zeros(self.stated.nominal.n)
        weights[self.targets] = self.mass @ share
        return PenalisedResponse(weights, float(weights @ self.stated.loss), float(spent), 0.0)


@dataclass(frozen=True)
class CVaR:
    """Measures of density at most 1/(1 - level) with respect to the given one.

    The worst case is the conditional value at risk: the mean of the worst share 1 - level of the
    losses. It has no radius.

    Parameters
    ----------
    level : float in [0, 1)

    References
    ----------
    Rockafellar and Uryasev (2000).
    """

    level: float

    def __post_init__(self) -> None:
        level = real(self.level, "level")
        if not 0 <= level < 1:
            raise InvalidArgument(
                f"level = {level:g} must lie in [0, 1): 0.95 is the mean of the worst 5 %"
            )
        object.__setattr__(self, "level", level)

    def worst(self, loss: Array, nominal: Array) -> tuple[Array, float, float]:
        """Weights, the threshold of the loss, and the dual value at it, an upper bound."""
        mass = float(nominal.sum())
        top = nominal / (1 - self.level)
        order = np.argsort(-loss, kind="stable")
        before = np.concatenate([[0.0], np.cumsum(top[order])[:-1]])
        weights = np.zeros(loss.size)
        weights[order] = np.clip(mass - before, 0.0, top[order])
        threshold = float(loss[weights > 0].min())
        upper = threshold * mass + float(top @ np.maximum(loss - threshold, 0.0))
        return weights, threshold, upper
