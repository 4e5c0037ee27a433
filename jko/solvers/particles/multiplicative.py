"""Explicit steps of the weights by a factor: w_i <- w_i exp(-s f_i)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from jko.geometries.divergence import Divergence
from jko.geometries.hellinger import Hellinger, SphericalHellinger
from jko.measures.base import Discrete
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Claim, Controls
from jko.solvers.base import ProxSolver, no_weights
from jko.solvers.particles.stated import HALVINGS, Search, answer
from jko.status import Breakdown, Status
from jko.validation import Array, Mask


@dataclass(frozen=True)
class Multiplicative(ProxSolver):
    r"""The explicit step of (spherical) Hellinger flows, w_i <- w_i exp(-s f_i), normalised on P.

    It follows mu_t = -mu f on M+ (`jko.Hellinger()`) and mu_t = -mu (f - int f dmu) on P
    (`jko.SphericalHellinger()`, `jko.Hellinger(mass="fixed")`, `jko.Divergence(p=1)`). After a
    transport step it makes the Wasserstein-Fisher-Rao flow of the energy, not
    interaction-force transport. It is no proximal step and is never chosen by "auto".

    Notes
    -----
    s = `tau` times the rate of the geometry, halved until F has fallen by what the step promises,

        F(w_+) <= F(w) + <f, w_+ - w> + KL(w_+ | w)/s,

    the right-hand side being its minimum over all weights. For 1/2 MMD^2 of a kernel with
    k(x, x) <= kappa and measures of mass m any s <= 1/(m kappa) does so at once, by Pinsker's
    inequality: 1/2 d'Kd <= kappa |d|_1^2/2 <= m kappa KL(w_+|w), d = w_+ - w. So F never rises, and
    no weight vanishes. No gap; the residual is the missing part of the promise, 0 when it is kept.

    References
    ----------
    Lu et al. (2019); Beck and Teboulle (2003).
    """

    claim: ClassVar[Claim] = Claim.DECREASES
    guarantee: ClassVar[str] = "an explicit step: sufficient decrease of the energy, no gap"
    default_tol: ClassVar[float] = 1e-9

    def against(self, scheme: str) -> str | None:
        return "Multiplicative chooses its step lengths by the energy, not by tau"

    def accepts(self, problem: ProxProblem) -> str | None:
        geometry = problem.geometry
        mirror = isinstance(geometry, Divergence) and geometry.p == 1
        if not (isinstance(geometry, (Hellinger, SphericalHellinger)) or mirror):
            return (
                "it steps in jko.Hellinger(), jko.SphericalHellinger() and jko.Divergence(p=1),"
                f" not in {geometry!r}"
            )
        return no_weights(problem)

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        previous, energy = problem.discrete, problem.energy
        f = energy.first_variation(previous)
        live = previous.weights > 0
        if not np.isfinite(f[live]).any():
            raise Breakdown(Status.EMPTY, "the first variation is infinite at every charged atom")
        fixed = problem.geometry.conserves_mass

        def propose(length: float) -> tuple[Discrete, float]:
            weights, promised = multiplied(previous.weights, f, live, length, fixed)
            return previous.with_weights(weights), promised

        search = Search(energy, previous, energy.value(previous), propose)
        return answer(problem, search, search.run(problem.step, controls.max_iter or HALVINGS))


def multiplied(
    weights: Array, f: Array, live: Mask, length: float, fixed: bool
) -> tuple[Array, float]:
    """The new weights (n,) and the decrease they promise, both free of cancellation."""
    w, g = weights[live], f[live]
    mass = float(w.sum())
    if fixed:
        inside = np.isfinite(g)
        g = g - float(w[inside] @ g[inside]) / float(w[inside].sum())
        lowest = float(g.min())
        factor = np.exp(-length * (g - lowest))
        new = w * factor * (mass / float(w @ factor))
        new *= mass / new.sum()
    else:
        new = w * np.exp(-length * g)
    with np.errstate(over="ignore", invalid="ignore"):
        excess = float(w @ (np.expm1(-length * g) + length * g))
        if fixed:
            excess = mass * float(np.log1p(excess / mass))
    out = np.zeros_like(weights)
    out[live] = new
    return out, excess / length if np.isfinite(excess) else 0.0
