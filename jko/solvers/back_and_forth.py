r"""Unregularised Wasserstein steps on grids, by ascending the dual back and forth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from jko.energies.separable import Separable
from jko.measures.grid import bent_paths
from jko.prox.problem import ProxProblem
from jko.solvers.base import Answer, Controls, ProxSolver
from jko.solvers.cell_response import Response
from jko.solvers.cell_transport import CellStep
from jko.solvers.dual_ascent import Found, ascend
from jko.solvers.refusals import not_on_cells
from jko.validation import Array, one_of, positive_int

#: The ascent stops when the gap is this share of the tolerance.
MARGIN = 0.03
#: A proximal term lets a full cell empty over this many times the cost of moving by a cell.
SOFT = 4.0
#: Empty cells count as this share of the fullest one in the slope that the ascent begins with.
FLOOR = 1e-12


@dataclass(frozen=True)
class BackAndForth(ProxSolver):
    r"""The Wasserstein step on a grid without regularisation, by its dual (MATH W8).

    It ascends the dual of F(w) + T(w, m')/(2 tau) in potentials on the cells: c-transforms axis by
    axis (`jko.solvers.c_transform`; compiled when numba is installed), steps in an H^1 metric that
    follows the density, lengths from a line search, no step sizes to set. T moves mass between the
    cells of one measure and places whose mass the other one's cells share linearly, as cell
    averages do (`jko.solvers.cell_transport`). Takes internal energies, potentials and bounds on
    the density. `auto` does not choose it: it is an independent opinion on an entropic step.

    Parameters
    ----------
    side : {"auto", "previous", "new"}
        The measure whose cells share. "auto" begins with "new" where the energy is flat somewhere
        (potentials, bounds), else with "previous", and tries the other one when the gap is not
        below the tolerance.
    max_iter : int, default 200
        Ascent steps when `jko.step` is given none.

    Notes
    -----
    `gap` bounds the excess over the stated step, from a plan and potentials. With W2 between the
    cells as atoms the least objective is between objective - gap and objective + `bias`: a bound,
    unlike the bias of an entropic step.

    Linear shares blur or sharpen a density by a part of a cell a step, O(h^2): measured, on smooth
    densities of an entropy the debiased entropic step is 2 to 20 times closer to the exact step; on
    the porous medium they are about equally close, and this one is 4 to 20 times faster; with a
    bound on the density it is mostly closer than entropic steps, and faster. Steps that move mass
    by much less than a cell are for `jko.solvers.FiniteVolume`. Where the dual has kinks
    (few cells, contractions under an internal energy) the ascent can stop with a gap of 1e-5 to
    1e-4.
    """

    side: str = "auto"
    max_iter: int = 200

    guarantee: ClassVar[str] = (
        "global minimum of the unregularised step between cells, with its duality gap;"
        " bias is a bound"
    )
    default_tol: ClassVar[float] = 1e-5

    def __post_init__(self) -> None:
        one_of(self.side, ("auto", "previous", "new"), "side")
        positive_int(self.max_iter, "max_iter")

    def accepts(self, problem: ProxProblem) -> str | None:
        why = not_on_cells(problem) or bent_paths(problem.previous)
        if why is not None:
            return why
        if problem.form.quadratics:
            return (
                "takes energies that act cell by cell (internal energies, potentials, bounds);"
                " use jko.solvers.Entropic for kernels"
            )
        return None

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        limit = self.max_iter if controls.max_iter is None else controls.max_iter
        spent, found, stated = 0, None, CellStep(problem)
        sides = self._sides(problem)
        for side in sides:
            trial = CellStep(problem, side)
            starts = self._starts(trial, controls.warm)
            most = limit - spent if side == sides[-1] else max(1, limit // 2)
            new = ascend(trial, self._response(trial), starts, MARGIN * controls.tol, most)
            spent += new.iterations
            if found is None or new.bound.gap < found.bound.gap:
                found, stated = new, trial
            if found.bound.gap <= controls.tol or spent >= limit:
                break
        assert found is not None
        return self._answer(stated, replace(found, iterations=spent, exhausted=spent >= limit))

    def _answer(self, stated: CellStep, found: Found) -> Answer:
        problem, w = stated.problem, found.w.ravel()
        nu = stated.previous.with_weights(w * (stated.previous.mass / float(w.sum())))
        energy, moved = problem.value(nu), found.bound.transport
        return Answer(
            nu,
            stated,
            found.iterations,
            objective=energy + moved / (2 * problem.step),
            sqdistance=moved / problem.geometry.rate,
            energy=energy,
            bias=found.bound.spread,
            dual={"g": found.g},
            baseline=problem.value(problem.previous),
            exhausted=found.exhausted,
            warm={"side": stated.side, "g": found.g},
            info={"side": stated.side, "bias_kind": "bound: the shares put at the cells"},
        )

    def _sides(self, problem: ProxProblem) -> tuple[str, ...]:
        """Which cells share: an energy that spreads mass has smooth duals on the old side."""
        if self.side != "auto":
            return (self.side,)
        return ("new", "previous") if _flat(problem.form.separable) else ("previous", "new")

    @staticmethod
    def _response(stated: CellStep) -> Response:
        """The energy's response, with a proximal term where it is not strictly convex."""
        if not _flat(stated.h):
            return Response(stated.h)
        kappa = SOFT * 2 * max(stated.scales) / float(stated.m.max())
        return Response(stated.h, kappa, stated.m.ravel())

    @staticmethod
    def _starts(stated: CellStep, warm: Any) -> list[Array]:
        """Potentials to begin with: at rest, of the energy's slope, of an earlier step."""
        m, h = stated.m, stated.h
        floor = np.maximum(m.ravel(), FLOOR * float(m.max()))
        slope = np.where(h.ceiling > 0, h.gradient(floor), np.nan)
        psi = -np.where(np.isfinite(slope), slope, np.nanmax(slope)).reshape(m.shape)
        starts = [np.zeros(m.shape), psi]
        if stated.side == "previous":
            starts[1] = stated.transform(psi).values
        if isinstance(warm, dict) and warm.get("side") == stated.side:
            g = warm.get("g")
            if isinstance(g, np.ndarray) and g.shape == m.shape and np.isfinite(g).all():
                starts.append(g)
        return starts


def _flat(h: Separable) -> bool:
    """Whether some cell that may be charged has no strictly convex energy."""
    bent = h.ceiling == 0
    for c in h.powers.values():
        bent = bent | (c > 0)
    return not bool(bent.all())
