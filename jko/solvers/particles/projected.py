"""Explicit steps of the weights in the Euclidean metric: w <- Proj(w - s f)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from jko.geometries.hellinger import Hellinger, SphericalHellinger
from jko.geometries.mmd import MMD
from jko.measures.base import Discrete
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Claim, Controls
from jko.solvers.base import ProxSolver, no_weights
from jko.solvers.particles.stated import HALVINGS, Search, answer
from jko.validation import Array


@dataclass(frozen=True)
class ProjectedWeights(ProxSolver):
    r"""Euclidean projected gradient on the weights: w <- Proj(w - s f), Proj onto the simplex.

    **This is a step of no geometry of jko.** Its metric is the Euclidean one on the vector of
    weights, which depends on how a measure is cut into atoms; published codes call it an MMD or a
    Fisher-Rao step. It takes the place of a step in `jko.SphericalHellinger()`,
    `jko.Hellinger(mass="fixed")` or `jko.MMD(kernel)` when it is asked for by name, because on few
    particles it lowers 1/2 MMD^2 fastest while keeping the weights spread. "auto" never chooses it.

    Notes
    -----
    s = `tau` times the rate of the geometry, over n, halved until F has fallen by what the step
    promises,

        F(w_+) <= F(w) + <f, w_+ - w> + |w_+ - w|^2/(2 s),

    the right-hand side being its minimum over the simplex, and at most F(w) - |w_+ - w|^2/(2 s).
    For 1/2 MMD^2 with k(x, x) <= kappa the largest eigenvalue of K is at most n kappa, so any
    s <= 1/(n kappa) keeps it at once. Weights may vanish. No gap; the residual is the missing part
    of the promise. `sqdistance` is that of the geometry whose place it takes.

    References
    ----------
    Gladin et al. (2024), as the step of the literature to compare with.
    """

    claim: ClassVar[Claim] = Claim.DECREASES
    guarantee: ClassVar[str] = (
        "a Euclidean projected step, of no geometry here: sufficient decrease of the energy, no gap"
    )
    default_tol: ClassVar[float] = 1e-9

    def against(self, scheme: str) -> str | None:
        return "ProjectedWeights chooses its step lengths by the energy, not by tau"

    def accepts(self, problem: ProxProblem) -> str | None:
        geometry = problem.geometry
        known = isinstance(geometry, (Hellinger, SphericalHellinger, MMD))
        if not (known and geometry.conserves_mass):
            return (
                "it takes the place of steps in jko.SphericalHellinger(), jko.MMD(kernel) and"
                f" jko.Hellinger(mass='fixed'), not in {geometry!r}"
            )
        return no_weights(problem)

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        previous, energy = problem.discrete, problem.energy
        f = energy.first_variation(previous)

        def propose(length: float) -> tuple[Discrete, float]:
            weights = project_simplex(previous.weights - length * f, previous.mass)
            moved = weights - previous.weights
            # <f - mean f, d> is <f, d> when the mass is kept, with fewer digits to cancel.
            linear = float((f - f.mean()) @ moved)
            promised = -linear - float(moved @ moved) / (2 * length)
            return previous.with_weights(weights), max(promised, 0.0)

        search = Search(energy, previous, energy.value(previous), propose)
        length = problem.step / previous.n
        return answer(problem, search, search.run(length, controls.max_iter or HALVINGS))


def project_simplex(v: Array, mass: float = 1.0) -> Array:
    """The nearest point of {w >= 0, sum w = mass} in the Euclidean norm, by sorting."""
    v = v - v.max()  # the answer is the same, and mass is no longer lost in large numbers
    order = np.sort(v)[::-1]
    level = (np.cumsum(order) - mass) / np.arange(1, len(v) + 1)
    last = int(np.flatnonzero(order > level)[-1])
    w = np.maximum(v - level[last], 0.0)
    return np.asarray(w * (mass / w.sum()))
