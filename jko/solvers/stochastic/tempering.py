"""Mirror steps along the path from a known reference to the target: no density is estimated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from jko.energies.recorded import recorded
from jko.errors import InvalidMeasure
from jko.geometries.divergence import Divergence
from jko.markov.mala import Between, Cloud, LangevinKernel
from jko.markov.resampling import systematic
from jko.markov.scale import Preconditioner, Tuner, clip_of
from jko.measures.atoms import Particles
from jko.measures.gaussian import Gaussian
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Controls
from jko.solvers.base import ProxSolver
from jko.solvers.stochastic.birth_death import step_on_atoms, thinned
from jko.solvers.stochastic.langevin import refusal, stated_target
from jko.validation import instance, positive_int


@dataclass(frozen=True)
class Tempering(ProxSolver):
    r"""Entropic mirror steps of c KL(. | pi) from a known density: exact weights in any dimension.

    The particles start as a sample of `reference` = mu_0. The mirror step of mu_0^{1-s} pi^s is on
    the same path (formula H4): 1 - s' = (1 - s) / (1 + c tau), normalised. Both densities are
    known, so that the weights need no estimate:

        w ~ w' (pi / mu_0)^{s' - s}.

    Below half their effective sample size the particles are resampled; `moves` Langevin moves that
    keep mu_0^{1-s'} pi^{s'} renew their places. With c tau = e^h - 1 a step is the spherical
    Hellinger flow for time h, exactly (formula H5).

    Parameters
    ----------
    reference : Gaussian
        The law the first particles are drawn from. `warm` carries s from step to step.
    moves : int, default 5

    Notes
    -----
    Without `warm` a step takes its particles for a sample of the reference. The gap is that of the
    weights on the atoms before resampling and moves, which are random and change the law by
    nothing but noise.

    References
    ----------
    Del Moral et al. (2006).
    """

    reference: Gaussian
    moves: int = 5

    guarantee: ClassVar[str] = "gap of the weights, then resampling and moves that keep the path"
    default_tol: ClassVar[float] = 1e-8

    def __post_init__(self) -> None:
        instance(self.reference, Gaussian, "reference", "pass the jko.Gaussian the start is from")
        positive_int(self.moves, "moves")

    def against(self, scheme: str) -> str | None:
        return "Tempering resamples at random and its warm start goes on from where it was"

    def accepts(self, problem: ProxProblem) -> str | None:
        geometry = problem.geometry
        if not (isinstance(geometry, Divergence) and geometry.p == 1 and geometry.conserves_mass):
            return f"it takes mirror steps, jko.Divergence(p=1), not {geometry!r}"
        why = refusal(problem, self.name)
        if why is None and self.reference.dim != problem.previous.dim:
            why = f"the reference has dimension {self.reference.dim}, not {problem.previous.dim}"
        return why

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        previous = problem.previous
        assert isinstance(previous, Particles)
        c, target = stated_target(problem)
        before, tuner = self._resume(controls.warm, previous.dim)
        log_ratio = target.log_density_at(previous.points)
        log_ratio = log_ratio - self.reference.log_density_at(previous.points)
        answer = step_on_atoms(problem, c, (1 - before) * log_ratio, controls)
        weighted = answer.measure
        assert isinstance(weighted, Particles)
        after = 1 - (1 - before) / (1 + c * problem.step)
        kept = thinned(weighted.weights)
        measure = weighted
        if kept < 0.5:
            index = systematic(weighted.weights, weighted.n, controls.rng)
            even = np.full(weighted.n, weighted.mass / weighted.n)
            measure = Particles(weighted.points[index], even)
        between = Between(self.reference, target, after)
        measure, acceptance = self._renew(measure, between, tuner, controls)
        return replace(
            answer,
            measure=measure,
            certified=weighted,
            energy=recorded(problem.energy, measure),
            warm={"exponent": after, "h": tuner.h},
            info={**answer.info, "exponent": after, "ess": kept, "acceptance": acceptance},
        )

    def _resume(self, warm: object, dim: int) -> tuple[float, Tuner]:
        tuner = Tuner.fresh(dim)
        if not isinstance(warm, dict) or not {"exponent", "h"} <= set(warm):
            return 0.0, tuner
        return float(warm["exponent"]), Tuner(float(warm["h"]))

    def _renew(
        self, mu: Particles, between: Between, tuner: Tuner, controls: Controls
    ) -> tuple[Particles, float]:
        """Moves of the particles that have weight; the others stay."""
        charged = np.flatnonzero(mu.weights > 0)
        cloud = Cloud.at(between, mu.points[charged])
        if (cloud.log_p == -np.inf).any():
            raise InvalidMeasure("a particle with weight lies where the target vanishes")
        root = Preconditioner.of_points(cloud.x).root
        acceptance = 0.0
        for _ in range(self.moves):
            move = LangevinKernel(tuner.h, root, clip_of(mu.dim)).move(between, cloud, controls.rng)
            tuner.learn(move)
            cloud, acceptance = move.after, move.acceptance
        points = mu.points.copy()
        points[charged] = cloud.x
        return mu.with_points(points), acceptance
