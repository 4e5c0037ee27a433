"""What a flow says when a step fails: where, what was tried, what is kept, what to change."""

from __future__ import annotations

import copy
from dataclasses import replace

from jko.errors import InvalidArgument, Unsupported
from jko.flows.clock import Clock
from jko.flows.plan import Plan, StepOptions
from jko.flows.splitting import SplitResult, advance
from jko.flows.state import Run
from jko.solvers.remedies import Remedy, advice, remedies, sentence, tried
from jko.status import Breakdown


def explain(run: Run, plan: Plan, failed: SplitResult) -> str:
    """The sentence of a failed step, of at most 600 characters.

    Where the step was quick, what to change is tried first: what the sentence then names worked.
    """
    last = failed.substeps[-1]
    chosen = isinstance(run.clock, Clock)
    tau = run.clock.length(run.index) if isinstance(run.clock, Clock) else run.clock.tau
    options = remedies(
        last,
        max_iter=run.options.max_iter,
        auto=all(solver == "auto" for solver in plan.solvers),
        tau=tau if chosen else None,
    )
    change = advice(list(options), failed.seconds, lambda r: _works(run, plan, tau, r))
    where = f"step {run.index + 1} failed (t = {run.clock.time(run.index) + tau:.6g}"
    where += f", tau = {tau:.4g}): "
    kept = f"{run.index} good steps are in .trajectory"
    return sentence(where, last.message, tried(last), kept, change)


def _works(run: Run, plan: Plan, tau: float, remedy: Remedy) -> bool:
    """Whether the step succeeds; the random numbers of the run are left alone."""
    change = remedy.settings
    if "solver" in change:
        plan = replace(plan, solvers=("auto",) * len(plan.solvers))
    tau = change.get("tau", tau)
    own: StepOptions = {**run.step_options, "rng": copy.deepcopy(run.rng)}
    if "max_iter" in change:
        own["max_iter"] = change["max_iter"]
    if "tol" in change:
        own["tol"] = change["tol"]
    try:
        now = run.clock.time(run.index)
        return advance(run.measure, plan, tau, None, own, now).success
    except (Unsupported, InvalidArgument, Breakdown, ArithmeticError):
        return False
