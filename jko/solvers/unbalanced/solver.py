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
from jko.prox.stated import Answer, Claim, Controls
from jko.solvers.base import ProxSolver
from jko.solvers.entropic.regularisation import LOWERED
from jko.solvers.grids.resolution import diffusivity
from jko.solvers.unbalanced.refusals import SPLIT, not_unbalanced, unbounded
from jko.validation import positive, switch

#: Largest number of atoms off grids: of a dense kernel, kept three times.
DENSE = 3000
#: A regularisation is lowered for an accuracy as far as potentials stand it.
LEAST_REG = 1e-5
#: Ratio of two regularisations of which the second is tried for an accuracy.
FINER = 4.0


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
    the debiased estimate. `info["bias_kind"]` says which.

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
        if controls.accuracy is None:
            return self._at(problem, eps, controls)
        solver, asked = replace(self, bound=True), controls.accuracy
        answer = solver._at(problem, eps, controls)
        for _ in range(LOWERED if self.reg is None else 0):
            if answer.bias is None or _error(answer) <= asked or eps <= LEAST_REG:
                break
            eps = max(eps / FINER, LEAST_REG)
            answer = solver._at(problem, eps, replace(controls, warm=answer.warm))
        reached = _error(answer)
        if reached <= asked:
            return answer
        why = (
            f"accuracy = {asked:.3g} asked, {reached:.3g} reached at reg = {eps:.3g}; use finer"
            " cells, or a jko.Histogram of at most 200 atoms"
        )
        return replace(answer, remark=why)

    def _at(self, problem: ProxProblem, eps: float, controls: Controls) -> Answer:
        """The step at one regularisation."""
        from jko.solvers.unbalanced.run import ScalingRun  # `import jko` stays light
        from jko.solvers.unbalanced.stated import UnbalancedStep

        stated = UnbalancedStep(problem, eps)
        if stated.cone.unbounded:
            raise unbounded()
        with np.errstate(under="ignore"):
            return ScalingRun(stated, controls, self.bound).answer()


def _error(answer: Answer) -> float:
    """Gap plus bias relative to the decrease of the objective."""
    gap = answer.problem.certificate(answer).gap
    if answer.bias is None or gap is None or answer.baseline is None or answer.objective is None:
        return np.inf
    decrease = answer.baseline - answer.objective
    return (answer.bias + abs(gap)) / decrease if decrease > 0 else np.inf


def choose_reg(problem: ProxProblem) -> float:
    """eps for a blur of 1.2 spacings of the support (at most .02), not below beta tau / 10.

    Below the first the kernel does not resolve displacements under a spacing (the unregularised
    step on a grid does not either); the cap keeps the blur under a fifteenth of the cut. The second
    balances the iteration, whose rate is |s - 1|/(s + 1) with s = eps/(beta tau w F''(w)), where
    w F'' = 1 for KL; the bias O(eps^2) stays far below the time error of the step.
    """
    geometry, previous = problem.geometry, problem.discrete
    assert isinstance(geometry, WassersteinFisherRao)
    if isinstance(previous, GridDensity):
        square = float((previous.grid.spacing**2).max())
    else:
        from scipy.spatial import cKDTree

        x = previous.points
        near = cKDTree(x).query(x, k=min(2, len(x)))[0].reshape(len(x), -1)[:, -1]
        square = float(np.median(near) ** 2)
    resolved = min(0.72 * square * geometry.beta / geometry.alpha, 0.02)
    w, pace = previous.weights, diffusivity(problem)
    for term in problem.form.quadratics:
        pace += term.scale * float(w**2 @ term.operator.diagonal()) / previous.mass
    return min(max(resolved, 0.1 * geometry.beta * problem.step * pace, 1e-6), 0.2)
