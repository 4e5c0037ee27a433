"""Hellinger steps of particles towards a density: new weights, or births and deaths."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from jko.energies.divergence import KL
from jko.energies.recorded import recorded
from jko.errors import InvalidMeasure
from jko.geometries.hellinger import Hellinger, SphericalHellinger
from jko.markov.density_estimate import MOST_DIM, TOLERATED, estimate_density
from jko.markov.resampling import effective_size, systematic
from jko.measures.atoms import Particles
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Controls
from jko.solvers.base import ProxSolver
from jko.solvers.stochastic.langevin import refusal, stated_target
from jko.validation import Array
from jko.warned import caution


@dataclass(frozen=True)
class Reweighting(ProxSolver):
    r"""A (spherical) Hellinger step of c KL(. | pi) in the weights, the density being estimated.

    The particles stand for a density rho, estimated by kernels. On their atoms the target has the
    masses pi_i proportional to w_i pi(x_i) / rho(x_i), and the step

        argmin_w  c sum w log(w / pi_i) + D(w, w')^2 / (2 tau)

    on those atoms is solved and certified as any other. Flow: mu_t = -mu (f - int f dmu) with
    f = log(rho / pi).

    Notes
    -----
    The gap is that of the step stated with the estimated density; how far the estimate is from the
    truth no figure knows. `info["untrusted"]` is the share of the mass whose estimate rests on
    fewer than 10 particles; there is a warning above 20 %. In more than 3 dimensions the estimate
    is refused: two modes of weights .3 / .7 came out as .1 / .9 at d = 10. Use
    `jko.solvers.Tempering` or `jko.sample` there, which estimate no density.

    References
    ----------
    Lu et al. (2019); Mielke and Zhu (2025).
    """

    guarantee: ClassVar[str] = "gap of the step on the atoms; the density is an estimate, d <= 3"
    default_tol: ClassVar[float] = 1e-8

    def accepts(self, problem: ProxProblem) -> str | None:
        geometry = problem.geometry
        if not isinstance(geometry, (Hellinger, SphericalHellinger)):
            return f"it steps in jko.SphericalHellinger(), not in {geometry!r}"
        why = refusal(problem, "Reweighting")
        if why is not None:
            return why
        if not geometry.conserves_mass:
            return (
                "the mass of an unnormalised target is unknown; use jko.SphericalHellinger() or"
                " jko.Hellinger(mass='fixed')"
            )
        if problem.previous.dim > MOST_DIM:
            return (
                f"densities of particles are estimated in at most {MOST_DIM} dimensions, these have"
                f" {problem.previous.dim}; jko.solvers.Tempering and jko.sample need no estimate"
            )
        return None

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        previous = problem.previous
        assert isinstance(previous, Particles)
        c, target = stated_target(problem)
        estimate = estimate_density(previous)
        if estimate.untrusted > TOLERATED:
            caution(
                f"the density estimate rests on fewer than 10 particles for"
                f" {estimate.untrusted:.0%} of the mass: do not trust the weights of this step;"
                " take more particles, or use jko.sample(method='tempered')",
            )
        log_ratio = target.log_density_at(previous.points) - estimate.log_density
        answer = step_on_atoms(problem, c, log_ratio, controls)
        assert isinstance(answer.measure, Particles)
        info = {"untrusted": estimate.untrusted, "ess": answer.measure.ess}
        energy = recorded(problem.energy, answer.measure)
        return replace(answer, energy=energy, info={**answer.info, **info}, warm=None)


@dataclass(frozen=True)
class BirthDeath(Reweighting):
    """The step of `Reweighting`, carried out by births and deaths: equal weights remain.

    Particles are killed and copied by systematic resampling: atom i of the reweighted measure gets
    floor or ceil of n w_i / mass copies, with the right expectation. The certificate is that of
    the reweighted measure; the resampling adds a random error of order 1/sqrt(n), without bias.

    References
    ----------
    Lu et al. (2019).
    """

    guarantee: ClassVar[str] = (
        "gap of the reweighted step, then unbiased resampling; the density is an estimate, d <= 3"
    )

    def against(self, scheme: str) -> str | None:
        return "births and deaths are random"

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        answer = super().solve(problem, controls)
        weighted = answer.measure
        assert isinstance(weighted, Particles)
        index = systematic(weighted.weights, weighted.n, controls.rng)
        even = np.full(weighted.n, weighted.mass / weighted.n)
        measure = Particles(weighted.points[index], even)
        info = {**answer.info, "survivors": len(np.unique(index)) / weighted.n}
        return replace(
            answer,
            measure=measure,
            certified=weighted,
            energy=recorded(problem.energy, measure),
            info=info,
        )


def step_on_atoms(problem: ProxProblem, c: float, log_ratio: Array, controls: Controls) -> Answer:
    """The step of c KL to the target with masses w exp(log_ratio) on the atoms, all figures set."""

    from jko.solvers.auto import select  # solvers of weights are chosen as anywhere else

    previous = problem.discrete
    masses = importance_masses(previous.weights, log_ratio)
    stated = ProxProblem(
        c * KL(previous.with_weights(masses)), problem.geometry, previous, problem.tau
    )
    answer = select(stated).solve(stated, replace(controls, warm=None))
    return replace(
        answer,
        objective=stated.objective(answer.measure)
        if answer.objective is None
        else answer.objective,
        sqdistance=problem.geometry.sqdistance(answer.measure, previous),
        baseline=stated.value(previous),
    )


def importance_masses(weights: Array, log_ratio: Array) -> Array:
    """w exp(log_ratio) (n,), scaled to the mass of w."""
    usable = (weights > 0) & (log_ratio > -np.inf)
    if not usable.any():
        raise InvalidMeasure(
            "log_density is -inf at every particle that has weight; start inside its support"
        )
    top = float(log_ratio[usable].max())
    with np.errstate(invalid="ignore", over="ignore"):
        masses: Array = np.where(usable, weights * np.exp(log_ratio - top), 0.0)
    return np.asarray(masses * (weights.sum() / masses.sum()))


def thinned(weights: Array) -> float:
    """Effective sample size as a share of the particles that have weight."""
    return effective_size(weights) / max(1, int((weights > 0).sum()))
