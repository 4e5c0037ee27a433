"""Steps within sets of measures: multipliers outside, the solvers of such steps inside."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from jko.energies.moment import constraints_of, tilted
from jko.geometries.wasserstein import Wasserstein
from jko.measures.atoms import Particles
from jko.measures.base import Discrete, Measure
from jko.measures.gaussian import Gaussian
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Controls
from jko.solvers.base import Elsewhere, ProxSolver
from jko.solvers.rules import Rule
from jko.validation import positive_int


@dataclass(frozen=True)
class Constrained(ProxSolver):
    r"""Steps that minimise over a set A = {lower_j <= int f_j dmu <= upper_j} of measures.

    Maximises the concave dual of the constraints: at multipliers y the step of F + sum_j y_j f_j, a
    potential more, is taken by the solvers of such steps, and the slope of the dual is what the
    moments miss. Where the steps jump with y (quadratic programs) the answer is a mixture of
    those on either side. The gap is that of the step at y plus what complementarity leaves.

    Parameters
    ----------
    inner : tuple of Rule
        What solves the steps at fixed multipliers, `jko.solvers.RULES` as a rule.
    max_iter : int, default 100
        Steps solved when `jko.step` is given none.

    Notes
    -----
    `info["multipliers"]` holds y, one per constraint in their order: the first variation of
    F + D^2/(2 tau) + y.f is constant where the answer has mass. `info["moments"]` holds the
    moments reached, `info["problems"]` counts the steps solved. Constraints that no weights on the
    support meet raise `InvalidArgument` with a combination of them that shows it (Farkas' lemma).
    Densities on grids, histograms, and particles in geometries that vary weights: a gap. Gaussians:
    stationarity, as there the moments are no linear functions of the parameters.

    References
    ----------
    Rockafellar (1970); Csiszár (1975) for entropies.
    """

    inner: tuple[Rule, ...]
    max_iter: int = 100

    kinds: ClassVar[tuple[type[Measure], ...]] = (Discrete, Gaussian)
    guarantee: ClassVar[str] = (
        "minimum within a set of moments; gap by the constraints' multipliers"
    )
    default_tol: ClassVar[float] = 1e-6

    def __post_init__(self) -> None:
        positive_int(self.max_iter, "max_iter")

    def accepts(self, problem: ProxProblem) -> str | None:
        moments = constraints_of(problem.energy)
        if not moments:
            return Elsewhere("the step has no constraints")
        if isinstance(problem.previous, Particles) and isinstance(problem.geometry, Wasserstein):
            return "constraints need a support that stays, or a Gaussian; these particles move"
        trial = replace(problem, energy=tilted(problem.energy, np.zeros(len(moments))))
        reasons = [rule.reason(trial) for rule in self.inner]
        if all(why is not None for why in reasons):
            return f"no solver takes the step without its constraints: {_likely(trial, self.inner)}"
        return None

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        from jko.solvers.constrained.run import ConstrainedRun  # most steps have no constraints

        limit = controls.max_iter or self.max_iter
        return ConstrainedRun(self.inner, limit, problem, controls).answer()


def _likely(trial: ProxProblem, rules: tuple[Rule, ...]) -> str:
    """What a solver of this geometry and measure says against the step."""
    said = [r.reason(trial) for r in rules if r.solver.fits(trial) and not r.last]
    return str(said[0]) if said else "none knows this geometry on this measure"
