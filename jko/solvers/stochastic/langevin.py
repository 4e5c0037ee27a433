"""Langevin moves of particles: the Wasserstein flow of KL to a density, by random steps."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import numpy as np

from jko.energies.recorded import density_target, recorded
from jko.errors import InvalidMeasure
from jko.geometries.wasserstein import Wasserstein
from jko.markov.mala import Cloud, Density, LangevinKernel, Move
from jko.measures.atoms import Particles
from jko.measures.base import Measure
from jko.measures.target import LogDensity
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Certificate, Claim, Controls, Neighbour, of_kind
from jko.solvers.base import ProxSolver
from jko.status import Breakdown, Status
from jko.validation import Array, positive_int, switch
from jko.warned import caution


@dataclass(frozen=True)
class Langevin(ProxSolver):
    r"""Move particles by dX = grad log pi dt + sqrt(2) dW for a time tau (formula L1).

    The law of X follows the Wasserstein flow of KL(. | pi). Every particle takes `moves` Euler
    steps of length delta = tau / moves,

        y = x + delta grad log pi(x) + sqrt(2 delta) xi,

    each with a Metropolis test unless `adjusted` is false. Weights stay.

    Parameters
    ----------
    adjusted : bool, default True
        The Metropolis test makes pi exactly invariant. Without it the law settles at distance
        O(delta) from pi, and may diverge when delta is too large.
    moves : int, default 1
        Raise it where the acceptance is low.

    Notes
    -----
    A random move minimises nothing: there is no gap. The problem it states is *leave pi
    invariant*; the residual is the largest violation of detailed balance,

        |a(x, y) - min(1, pi(y) q(y, x) / (pi(x) q(x, y)))|

    of the acceptance probability a over the pairs (x, y) proposed, relative to the size of the
    logarithms, with densities and gradients evaluated anew: a log density that changes between
    calls, or a test that was not applied, does not pass. It says nothing of how near the particles
    are to pi. Unadjusted moves state Euler's step; `info["metropolis_defect"]`, the mean of 1 - a,
    is how far in total variation the step is from one that keeps pi.

    The energy on record is the cross-entropy -int log pi dmu: KL from atoms is infinite.
    `sqdistance` is sum w |x - x'|^2.

    References
    ----------
    Jordan et al. (1998) for the flow; Roberts and Tweedie (1996).
    """

    adjusted: bool = True
    moves: int = 1

    claim: ClassVar[Claim] = Claim.INVARIANT
    guarantee: ClassVar[str] = (
        "random; leaves the target invariant (detailed balance to rounding); no gap"
    )
    default_tol: ClassVar[float] = 1e-6

    def __post_init__(self) -> None:
        positive_int(self.moves, "moves")
        switch(self.adjusted, "adjusted")

    def against(self, scheme: str) -> str | None:
        return "Langevin moves are random"

    def accepts(self, problem: ProxProblem) -> str | None:
        if not isinstance(problem.geometry, Wasserstein):
            return f"it steps in jko.Wasserstein(), not in {problem.geometry!r}"
        return refusal(problem, self.name)

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        previous = problem.previous
        assert isinstance(previous, Particles)
        c, target = stated_target(problem)
        if isinstance(target, LogDensity):
            target.believe(previous.points)
        kernel = LangevinKernel(float(np.sqrt(2 * c * problem.step / self.moves)))
        cloud = start_cloud(target, previous)
        trace: list[Move] = []
        for _ in range(self.moves):
            move = kernel.move(target, cloud, controls.rng)
            trace.append(move if self.adjusted else _unadjusted(move))
            cloud = trace[-1].after
        acceptance = float(np.mean([m.acceptance for m in trace]))
        kind = MarkovMove if self.adjusted else EulerMove
        moved = previous.with_points(cloud.x)
        cost = float(previous.weights @ ((moved.points - previous.points) ** 2).sum(axis=1))
        energy = -c * float(previous.weights @ _finite(cloud.log_p))
        return Answer(
            moved,
            kind(problem, target, tuple(trace)),
            iterations=self.moves,
            objective=energy,
            energy=energy,
            sqdistance=cost / problem.geometry.rate,
            info=self._info(acceptance),
        )

    def _info(self, acceptance: float) -> dict[str, object]:
        if not self.adjusted:
            note = "unadjusted: the invariant law is not the target, at distance O(tau / moves)"
            return {"metropolis_defect": 1 - acceptance, "note": note}
        if acceptance < 0.05:
            caution(
                f"Langevin accepts {acceptance:.1%} of its moves: the particles hardly move;"
                f" reduce tau, or raise moves = {self.moves}",
            )
        return {"acceptance": acceptance}


def refusal(problem: ProxProblem, name: str) -> str | None:
    """Why a step is not one of KL from particles to a density."""
    if not isinstance(problem.previous, Particles):
        return f"it moves jko.Particles, not a {type(problem.previous).__name__}"
    found = density_target(problem.energy)
    if found is None:
        return f"{name} needs c * jko.KL(target) with a density as the target, such as a LogDensity"
    target = stated_target(problem)[1]
    if target.dim != problem.previous.dim:
        return f"the target has dimension {target.dim}, the particles {problem.previous.dim}"
    if isinstance(target, LogDensity) and target.gradient is None and name != "Reweighting":
        return "the target has no gradient; pass gradient=... to jko.LogDensity"
    return None


def stated_target(problem: ProxProblem) -> tuple[float, Density]:
    """The factor c and the density pi of the energy c KL(. | pi)."""
    found = density_target(problem.energy)
    assert found is not None  # `accepts` has asked
    return found[0], cast(Density, found[1])


def start_cloud(target: Density, mu: Particles) -> Cloud:
    """The target at the particles, which must lie where it is positive."""
    cloud = Cloud.at(target, mu.points)
    outside = cloud.log_p == -np.inf
    if outside.any():
        i = int(np.argmax(outside))
        raise InvalidMeasure(
            f"log_density is -inf at particle {i}, {mu.points[i].tolist()}; a particle cannot leave"
            " such a place by itself: start where the target is positive"
        )
    return cloud


def _finite(values: Array) -> Array:
    return np.where(np.isfinite(values), values, 0.0)


def _unadjusted(move: Move) -> Move:
    """The move with every proposal taken."""
    lost = move.proposed.log_p == -np.inf
    if lost.any():
        where = move.proposed.x[int(np.argmax(lost))].tolist()
        raise Breakdown(
            Status.BROKEN,
            f"an unadjusted move left the support of the target, to {where};"
            " reduce tau or use adjusted=True",
        )
    everyone = np.ones(len(lost), dtype=bool)
    return replace(move, accepted=everyone)


@dataclass(frozen=True, eq=False)
class ChainedMoves(Neighbour):
    """Moves of particles one after the other, each judged by itself, and that they are a chain."""

    problem: ProxProblem
    target: Density
    trace: tuple[Move, ...]

    def objective(self, nu: Measure) -> float:
        """The cross-entropy part of the energy; nothing is minimised."""
        return recorded(self.problem.energy, nu)

    def certificate(self, answer: Answer) -> Certificate:
        """The largest violation of a move; none where they do not lead to the answer."""
        if not _chained(self.problem.previous, self.trace, answer.measure):
            return Certificate(None, np.inf)
        return Certificate(None, max(self.violation(move) for move in self.trace))

    @abstractmethod
    def violation(self, move: Move) -> float:
        """How far a move is from what the step states."""


@dataclass(frozen=True, eq=False)
class MarkovMove(ChainedMoves):
    """The problem an adjusted step states: every move leaves the target invariant."""

    claim: ClassVar[Claim] = Claim.INVARIANT

    def violation(self, move: Move) -> float:
        """Of detailed balance, on every pair proposed."""
        before, after = Cloud.at(self.target, move.before.x), Cloud.at(self.target, move.proposed.x)
        noise = move.kernel.noise(before, after)
        wanted = np.minimum(0.0, move.kernel.log_ratio(before, after, noise))
        size = 1 + np.abs(before.log_p) + np.abs(_finite(after.log_p)) + (noise**2).sum(axis=1)
        # A drawn number that accepts what has probability zero would be a mistake as well.
        wrong = move.accepted & (wanted == -np.inf)
        with np.errstate(invalid="ignore"):
            off = np.abs(np.exp(wanted) - np.exp(move.log_accept)) / size
        return float(np.max(np.where(wrong, np.inf, off), initial=0.0))


@dataclass(frozen=True, eq=False)
class EulerMove(ChainedMoves):
    """The problem an unadjusted step states: Euler's step of the Langevin equation."""

    claim: ClassVar[Claim] = Claim.FOLLOWS

    def violation(self, move: Move) -> float:
        """Distance of every new point from Euler's formula with the noise that was drawn."""
        before = Cloud.at(self.target, move.before.x)
        step = move.kernel.forward(before, move.noise) - before.x
        off = float(np.abs(move.proposed.x - before.x - step).max())
        size = max(float(np.abs(step).max()), float(np.abs(before.x).max()))
        return off / size if off > 0 else 0.0


def _chained(before: Measure, trace: tuple[Move, ...], after: Measure) -> bool:
    """Whether each move starts where the one before ended, and the last one at the answer."""
    previous, nu = of_kind(before, Particles), of_kind(after, Particles)
    ends = [previous.points, *(m.after.x for m in trace)]
    starts = [*(m.before.x for m in trace), nu.points]
    same = all(np.array_equal(a, b) for a, b in zip(ends, starts, strict=True))
    return same and np.array_equal(previous.weights, nu.weights)
