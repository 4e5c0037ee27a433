"""What a flow says when a step fails: where, what was tried, what is kept, what to change."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from jko.errors import InvalidArgument, Unsupported
from jko.flows.clock import Clock
from jko.flows.plan import Plan
from jko.flows.splitting import SplitResult, advance
from jko.flows.state import Run
from jko.prox.result import StepResult
from jko.solvers.rules import LONGEST, cut
from jko.status import Breakdown, Status

#: Seconds that a failed step may have taken for its remedies to be tried: each takes about as long.
CHEAP = 2.0
#: Shorter steps that are tried, as shares of tau.
SHORTER = (1 / 4, 1 / 16)
#: The largest tolerance worth naming: a gap above 1 % of the size of the terms is no answer.
LOOSEST = 1e-2

Remedy = tuple[str, Plan, float, dict[str, Any]]


def explain(run: Run, plan: Plan, failed: SplitResult) -> str:
    """The sentence of a failed step, of at most 600 characters.

    Where the step was quick, what to change is tried first: what the sentence then names worked.
    """
    last = failed.substeps[-1]
    tau = _tau(run)
    kept = f"{run.index} good steps are in .trajectory"
    where = f"step {run.index + 1} failed (t = {run.clock.time(run.index) + tau:.6g}"
    where += f", tau = {tau:.4g})"
    tried = _tried(last)
    advice = _advice(run, plan, failed, tau)
    rest = "; ".join(filter(None, (tried, kept, advice)))
    return f"{where}: {cut(last.message, LONGEST - len(where) - len(rest) - 5)}; {rest}"


def _tau(run: Run) -> float:
    return run.clock.length(run.index) if isinstance(run.clock, Clock) else run.clock.tau


def _tried(result: StepResult) -> str:
    """How far the other solvers came."""
    others = [
        f"{t['solver']} ({_figure(t['gap'], t['residual'])})" for t in result.info.get("tried", ())
    ]
    return cut("also tried: " + ", ".join(others), 150) if others else ""


def _figure(gap: float | None, residual: float | None) -> str:
    if gap is not None:
        return f"gap {gap:.2g}"
    return "no answer" if residual is None else f"residual {residual:.2g}"


def _advice(run: Run, plan: Plan, failed: SplitResult, tau: float) -> str:
    """The first remedy that works on this step, or the one to try."""
    remedies = list(_remedies(run, plan, failed.substeps[-1], tau))
    if not remedies:
        return ""
    if failed.seconds > CHEAP:
        return f"try {remedies[0][0]}"
    for name, other, length, options in remedies:
        if _works(run, other, length, options):
            return f"use {name}: this step then succeeds"
    return ""


def _works(run: Run, plan: Plan, tau: float, options: dict[str, Any]) -> bool:
    """Whether the step succeeds; the random numbers of the run are left alone."""
    try:
        own = {**options, "rng": copy.deepcopy(run.rng)}
        now = run.clock.time(run.index)
        return advance(run.measure, plan, tau, None, own, now).success
    except (Unsupported, InvalidArgument, Breakdown, ArithmeticError):
        return False


def _remedies(run: Run, plan: Plan, last: StepResult, tau: float) -> Iterator[Remedy]:
    """Settings that may help, the mildest first."""
    options = run.step_options
    if last.status is Status.MAX_ITERATIONS and run.options.max_iter is not None:
        free = {**options, "max_iter": None}
        yield f"a larger max_iter than {run.options.max_iter}, or None", plan, tau, free
    if any(solver != "auto" for solver in plan.solvers):
        yield "solver='auto'", replace(plan, solvers=("auto",) * len(plan.solvers)), tau, options
    if isinstance(run.clock, Clock):
        for share in SHORTER:
            yield f"tau = {share * tau:.4g}", plan, float(f"{share * tau:.4g}"), options
    loose = _tolerance(last)
    if loose is not None:
        yield f"tol = {loose:.0e}", plan, tau, {**options, "tol": loose}


def _tolerance(last: StepResult) -> float | None:
    """The next power of ten of a tolerance that the figures of the step meet."""
    if last.gap is not None and last.allowed:
        needed = last.tol * abs(last.gap) / last.allowed
    elif last.residual is not None:
        needed = last.residual
    else:
        return None
    for power in range(-12, 0):
        if needed < 10.0**power <= LOOSEST:
            return float(10.0**power)
    return None
