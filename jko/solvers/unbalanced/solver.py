r"""Unsplit Wasserstein-Fisher-Rao steps by unbalanced scaling in the log domain."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from jko.geometries.base import Geometry
from jko.geometries.unbalanced import WassersteinFisherRao
from jko.measures.base import Discrete, Measure
from jko.measures.grid import GridDensity
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Claim, Controls, figure
from jko.solvers.base import ProxSolver
from jko.solvers.entropic.regularisation import LOWERED
from jko.solvers.grids.accuracy import advised, whole_error
from jko.solvers.unbalanced.refusals import SPLIT, not_unbalanced, unbounded
from jko.solvers.unbalanced.regularisation import choose_reg, unlocking
from jko.validation import positive, switch

#: Largest number of atoms off grids: of a dense kernel, kept three times.
DENSE = 3000
#: A regularisation is lowered for an accuracy as far as potentials stand it.
LEAST_REG = 1e-5


@dataclass(frozen=True)
class UnbalancedScaling(ProxSolver):
    r"""Wasserstein-Fisher-Rao steps of convex energies, debiased, on a fixed support.

    Solves the jointly convex problem of `jko.solvers.unbalanced.stated` over the weights and the
    plan: the
    static form U2 plus eps times a relative entropy whose reference is debiased, so that a
    minimiser of the energy is kept exactly. Per iteration, for the potential psi of m',

        log A = t + log K e^{log e + psi/eps},
        w     = argmin F(w) + lam [w - (1 + eps)/(1 + eps/2) A^q w^{1-q/2}]   (a root per atom),
        psi  <- q log(m' / (e K'a)),   a = sqrt(w) exp(t) (sqrt(w)/A)^{1/(1+eps)},

    with Anderson acceleration; with quadratic terms (MMD) the weights take a few Newton steps.

    Parameters
    ----------
    reg : float, optional
        eps, in the units of the cost -2 log cos: a blur of variance 2 alpha eps / beta. None: what
        the support resolves, and at least beta tau / 10 (see `choose_reg`).
    bound : bool
        Whether `bias` is computed: a bound of the regularisation. False: None.

    Notes
    -----
    On grids with one or two axes the kernel, radial and of compact reach, is applied as such
    (`jko.numerics.radial`): 128^2 cells take a second, 256^2 six.

    `bias` bounds the excess of the unregularised objective between the atoms: by exact transport
    up to 40 000 pairs of them, whose cost `sqdistance` then is, except on grids, where it pins mass
    to the cells; beyond by the regularised plan, which may overstate the cost. Else `sqdistance` is
    the debiased estimate. `info["bias_kind"]` says which. On grids an estimate of what the
    cells add comes on top of that bound, `info["bias_reg"]`: `info["bias_grid"]`, by the step on
    cells half as wide (`jko.solvers.unbalanced.grid_error`), on large grids twice as wide.

    References
    ----------
    Chizat et al. (2018a); Liero et al. (2018); Feydy et al. (2019).
    """

    reg: float | None = None
    bound: bool = True

    geometries: ClassVar[tuple[type[Geometry], ...]] = (WassersteinFisherRao,)
    kinds: ClassVar[tuple[type[Measure], ...]] = (Discrete,)
    claim: ClassVar[Claim] = Claim.REGULARISED
    guarantee: ClassVar[str] = "entropic bias: global minimum of the debiased step, with its gap"
    default_tol: ClassVar[float] = 1e-8

    def __post_init__(self) -> None:
        if self.reg is not None:
            object.__setattr__(self, "reg", positive(self.reg, "reg"))
        switch(self.bound, "bound")

    def accepts(self, problem: ProxProblem) -> str | None:
        why = not_unbalanced(problem, self.name)
        if why is not None:
            return why
        previous = problem.discrete
        if previous.n > DENSE and not (isinstance(previous, GridDensity) and previous.dim <= 2):
            return (
                f"takes at most {DENSE} atoms (a dense kernel) off grids with one or two axes,"
                f" this measure has {previous.n}; {SPLIT}"
            )
        return None

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        eps = choose_reg(problem) if self.reg is None else self.reg
        asked = controls.accuracy
        if asked is None:
            return self._at(problem, eps, controls)
        solver, least = replace(self, bound=True), max(LEAST_REG, _unlocking(problem))
        best = answer = solver._at(problem, eps, controls)
        for _ in range(LOWERED if self.reg is None else 0):
            if whole_error(problem, best) <= asked or eps <= least:
                break
            eps = max(eps / 4, least)
            answer = solver._at(problem, eps, replace(controls, warm=answer.warm))
            best = min(best, answer, key=lambda one: whole_error(problem, one))
        reached = whole_error(problem, best)
        if reached <= asked:
            return best
        if isinstance(problem.previous, GridDensity):
            # Bounds between cells as atoms fall slower than with their square.
            return advised(problem, best, asked, room=0.25)
        n = problem.discrete.n
        why = (
            f"accuracy = {asked:.3g} asked, {reached:.3g} reached at reg ="
            f" {figure(best.info, 'reg', eps):.3g}; use"
            f" jko.solvers.UnbalancedProgram(max_atoms={n})"
        )
        return replace(best, remark=why)

    def _at(self, problem: ProxProblem, eps: float, controls: Controls) -> Answer:
        """The step at one regularisation."""
        from jko.solvers.unbalanced.grid_error import on_densities  # `import jko` stays light
        from jko.solvers.unbalanced.run import ScalingRun
        from jko.solvers.unbalanced.stated import UnbalancedStep

        stated = UnbalancedStep(problem, eps)
        if stated.cone.unbounded:
            raise unbounded()
        with np.errstate(under="ignore"):
            answer = ScalingRun(stated, controls, self.bound).answer()
            return on_densities(problem, answer, eps) if self.bound else answer


def _unlocking(problem: ProxProblem) -> float:
    """The least regularisation that leaves no cell of a grid locked; 0 on scattered atoms."""
    mu = problem.previous
    if not isinstance(mu, GridDensity):
        return 0.0
    return float(unlocking(problem.geometry, mu.grid.spacing).max())
