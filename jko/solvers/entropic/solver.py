r"""Entropic Wasserstein steps on fixed supports: scaling algorithms with a certificate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from jko.errors import InvalidArgument
from jko.geometries.base import Geometry
from jko.geometries.wasserstein import Wasserstein
from jko.measures.atoms import Histogram
from jko.measures.base import Measure
from jko.measures.grid import GridDensity
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Claim, Controls
from jko.solvers.base import NearMiss, ProxSolver, infeasible, not_transport, other_ground
from jko.solvers.entropic.regularisation import DENSE_LIMIT, LOWERED, choose_reg
from jko.solvers.grids.accuracy import finer_cells, whole_error
from jko.solvers.grids.resolution import spacing, warn_if_coarse, warn_if_unresolved
from jko.validation import brief, one_of, positive, positive_int, switch

if TYPE_CHECKING:
    from jko.solvers.entropic.stated import EntropicStep

#: Squared cells that plain and half steps should carry mass by (`jko.solvers.grids.resolution`).
PLAIN_REACH = 0.5
HALF_REACH = 0.05
#: How far a regularisation is lowered for an accuracy where costs, not cells, say what is fine.
LOWEST = 1e-3


@dataclass(frozen=True)
class Entropic(ProxSolver):
    r"""Entropic Wasserstein steps: log-domain scaling, debiased by default.

    Solves argmin_w F(w) + S(w, m')/(2 tau), S the Sinkhorn divergence (debias=True), or
    argmin_w F(w) + OT(w, m')/(2 tau) (debias=False), with cost |x-y|^2, regularisation eps = reg
    and counting reference (formulas W1, W2), on the grid or histogram of the previous measure.
    On histograms plain steps take any cost: OT/(p tau^{p-1}) in W_p (formula Y2); of more than 4096
    atoms powers of lengths, also along graphs, by a sparse kernel of the short ways.

    Parameters
    ----------
    reg : float, optional
        eps beside the cost, for |x-y|^2 in units of a squared distance. None: see
        `jko.solvers.entropic.regularisation.choose_reg`; for other costs a tenth of what leaving an
        atom for the nearest one costs.
    debias : bool or "half"
        True: bias O(eps^2) and the equilibrium kept. False: the step adds diffusion eps/(4 tau).
        "half", on grids: half the entropy is taken away from the cost instead of a self-transport;
        O(eps^2) too but up to 14 times larger, moving the equilibrium, at two kernel applications
        a sweep instead of three; sound for potentials with a bound on the density, too.
    backend : {"log", "pot"}
        "pot" goes through POT's semi-relaxed solver (debias=False only), as a cross-check.
    depth : int
        Memory of the Anderson acceleration; 0 turns it off.
    bound : bool
        Whether `bias` is computed: a bound of the regularisation and an estimate of the grid
        (`jko.solvers.entropic.excess`; `info["bias_seconds"]` says what it took). False: None.

    Notes
    -----
    With r = 2 tau/eps the iteration is, for the unknown log b [and log d],

        a = m'/(K b),  s = K'a,  log w = KL-prox of r F at d s,  b <- w/s,  d <- sqrt(d w/(K d)),

    d = 1 in the plain step (`jko.solvers.entropic.maps`; the half step there too). Kernels enter
    the prox by products only (`jko.solvers.entropic.prox`); without an internal energy d takes
    better changes, and no cell falls below a floor that the gap pays for
    (`jko.solvers.entropic.maps`); small supports where scaling stalls go on to Newton's
    method.
    On large grids it starts from coarser ones (`jko.solvers.entropic.levels`). The result is b K'a,
    whose mass is exact.
    `sqdistance` is that of the returned measure: the Sinkhorn divergence, within what a sharp plan
    allows. `objective` and `gap` refer to the regularised problem; `bias` is how far the
    unregularised objective may be above its minimum: `info["bias_reg"]`, a bound for the same
    discretisation (formula B3), plus `info["bias_grid"]`, an estimate of the grid.
    `info["products"]` counts products with K by grid, coarser ones, bias and judge (two of them)
    included, `info["products_by_stage"]` the same by stage, `info["seconds_by_stage"]` their
    seconds; `info["kernel_applications"]` those before the judge, on coarser grids by their share
    of the cells; `info["bias_transforms"]` and `info["bias_seconds"]` what the bound costs.

    References
    ----------
    Peyré (2015); Chizat et al. (2018a); Feydy et al. (2019) for the debiased step.
    """

    reg: float | None = None
    debias: bool | str = True
    backend: str = "log"
    depth: int = 5
    bound: bool = True

    geometries: ClassVar[tuple[type[Geometry], ...]] = (Wasserstein,)
    kinds: ClassVar[tuple[type[Measure], ...]] = (
        GridDensity,
        Histogram,
    )
    claim: ClassVar[Claim] = Claim.REGULARISED
    guarantee: ClassVar[str] = (
        "global minimum of the entropic step, with its duality gap; bias bounds the regularisation"
    )
    default_tol: ClassVar[float] = 1e-8
    any_cost: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.reg is not None:
            object.__setattr__(self, "reg", positive(self.reg, "reg"))
        one_of(self.backend, ("log", "pot"), "backend")
        half = isinstance(self.debias, str) and self.debias == "half"
        if not (half or isinstance(self.debias, (bool, np.bool_))):
            raise InvalidArgument(
                f"debias = {brief(self.debias)} must be True (Sinkhorn divergence), False or 'half'"
            )
        if not half:  # a NumPy boolean is not `True`
            object.__setattr__(self, "debias", bool(self.debias))
        if not (isinstance(self.depth, (int, np.integer)) and self.depth == 0):
            positive_int(self.depth, "depth")
        switch(self.bound, "bound")

    @property
    def name(self) -> str:
        if self.backend == "pot":
            return "Entropic(pot)"
        return {True: "Entropic", "half": "Entropic(half)"}.get(self.debias, "Entropic(plain)")

    def accepts(self, problem: ProxProblem) -> str | None:
        why = not_transport(problem)
        if why is not None:
            return why
        previous = problem.discrete
        if _many(problem):
            why = self._too_many(problem)
            if why is not None:
                return why
        if isinstance(previous, GridDensity) and previous.grid.mask is not None:
            return "its separable kernel goes through obstacles; use jko.solvers.FiniteVolume"
        if other_ground(problem) is not None and (
            self.debias is not False or self.backend == "pot"
        ):
            return "takes other costs than |x-y|^2 in plain steps alone; pass debias=False"
        if self.debias == "half" and not isinstance(previous, GridDensity):
            return "debias='half' needs the cells of a GridDensity; pass debias=True or False"
        if self.backend == "pot" and previous.n > DENSE_LIMIT:
            return f"backend='pot' needs a dense cost of {previous.n} atoms, limit {DENSE_LIMIT}"
        if self.backend == "pot" and self.debias:
            return "backend='pot' has no debiased step; pass debias=False, or backend='log'"
        return self._energy_reason(problem)

    def _too_many(self, problem: ProxProblem) -> str | None:
        """Beyond the dense kernel plain steps of lengths remain, by the short ways alone."""
        geometry, n = problem.geometry, problem.discrete.n
        assert isinstance(geometry, Wasserstein)
        if self.debias is not False or self.backend == "pot":
            return f"needs a dense kernel of {n} atoms, limit {DENSE_LIMIT}; pass debias=False"
        if geometry.ground.power:
            return None
        return NearMiss(
            f"needs a dense kernel of {n} atoms, limit {DENSE_LIMIT}; pass the cost as a sparse"
            " graph of lengths between neighbours"
        )

    def _energy_reason(self, problem: ProxProblem) -> str | None:
        form = problem.form  # raises Unsupported, a reason too, when there is none
        why = infeasible(problem)
        if why is not None:
            return why
        if any(q.kernel.definiteness != "positive" for q in form.quadratics):
            return (
                "needs quadratic terms with a positive-definite kernel; on grids"
                " jko.solvers.FiniteVolume() takes others"
            )
        curved = form.separable.powers or form.quadratics
        if self.debias is True and not curved:
            return (
                "the debiased step of a linear energy, bounded or not, is a deconvolution without a"
                " smooth solution (mass clumps); pass debias=False, on grids debias='half', or add"
                " jko.Entropy()"
            )
        return None

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        if other_ground(problem) is not None:
            from jko.solvers.entropic.costs import cost_unit, default_reg
            from jko.solvers.entropic.near import near_reg

            least = near_reg if _many(problem) else default_reg
            reg = least(problem) if self.reg is None else self.reg
            eps = reg * cost_unit(problem)
        elif self.reg is None:
            eps = choose_reg(problem, bool(self.debias))
            self._warn_if_coarse(problem)
        else:
            eps = self.reg
            warn_if_unresolved(problem, eps)
        asked = controls.accuracy
        if asked is None:
            return self._at(problem, eps, controls)
        return self._accurate(problem, eps, controls, asked)

    def _at(self, problem: ProxProblem, eps: float, controls: Controls) -> Answer:
        """The step at one regularisation."""
        stated = _stated(problem, eps, self.debias)
        if self.backend == "pot":
            from jko.solvers.entropic.pot_backend import solve_with_pot

            return solve_with_pot(stated, controls, self.bound)
        from jko.solvers.entropic.run import EntropicRun  # it needs scipy.linalg

        return EntropicRun(stated, controls, self.depth, self.bound).answer()

    def _accurate(
        self, problem: ProxProblem, eps: float, controls: Controls, asked: float
    ) -> Answer:
        """The step at the largest of a few regularisations that is as accurate as asked for.

        The excess is of second order in eps; below half a squared cell nothing is left to gain.
        """
        solver = replace(self, bound=True)
        least, answer = _least(problem, eps), solver._at(problem, eps, controls)
        reached = whole_error(problem, answer)
        for _ in range(LOWERED):
            error = whole_error(problem, answer, "bias_reg")
            if reached <= asked or self.reg is not None or eps <= least or error <= 0.5 * asked:
                break
            smaller = max(least, eps * float(np.clip(np.sqrt(0.3 * asked / error), 0.1, 0.7)))
            answer = solver._at(problem, smaller, replace(controls, warm=answer.warm))
            eps, reached = smaller, whole_error(problem, answer)
        if reached <= asked:
            return answer
        remedy = finer_cells(problem, answer, asked)
        if not remedy:
            most = min(problem.discrete.n, 400)
            fewer = "" if most == problem.discrete.n else f"take {most} atoms at most, and "
            remedy = f"{fewer}use jko.solvers.TransportProgram(max_atoms={most})"
        remedy += ", or let the solver choose reg" if self.reg else ""
        why = f"accuracy = {asked:.3g} asked, {reached:.3g} reached at reg = {eps:.3g}: {remedy}"
        return replace(answer, remark=why, info={**answer.info, "accuracy": reached})

    def _warn_if_coarse(self, problem: ProxProblem) -> None:
        """Debiased steps are right at any length; the blur of others may be longer than they."""
        if self.debias is True:
            return
        fault = "the step blurs the measure by a large share of its way"
        debiased = bool(problem.form.separable.powers or problem.form.quadratics)
        instead = "the debiased step" if debiased else "jko.solvers.FiniteVolume()"
        warn_if_coarse(problem, HALF_REACH if self.debias else PLAIN_REACH, fault, instead)


def _many(problem: ProxProblem) -> bool:
    """Whether there are too many atoms for a dense kernel."""
    return isinstance(problem.discrete, Histogram) and problem.discrete.n > DENSE_LIMIT


def _stated(problem: ProxProblem, eps: float, debias: bool | str) -> EntropicStep:
    """The entropic step with the kernel that its cost and its support ask for."""
    from jko.solvers.entropic.stated import EntropicStep  # `import jko` stays light

    if _many(problem):
        from jko.solvers.entropic.near import NearStep

        return NearStep(problem, eps, debias)
    if other_ground(problem) is None:
        return EntropicStep(problem, eps, debias)
    from jko.solvers.entropic.costs import CostStep

    return CostStep(problem, eps, debias)


def _least(problem: ProxProblem, eps: float) -> float:
    """The regularisation below which nothing is left to gain."""
    if other_ground(problem) is not None:
        return LOWEST * eps
    return 0.5 * _finest(problem) ** 2


def _finest(problem: ProxProblem) -> float:
    """The shortest side of a cell, or the usual distance between scattered atoms."""
    mu = problem.discrete
    if not isinstance(mu, GridDensity):
        return spacing(mu)
    return float(mu.grid.spacing[np.asarray(mu.grid.shape) > 1].min(initial=np.inf))
