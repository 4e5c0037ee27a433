"""Whole flows: the loop around split steps."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar

from jko.energies.moment import Moment
from jko.errors import InvalidArgument, JkoWarning, StepFailed, Unsupported
from jko.flows.callbacks import Callbacks, Event, Watching
from jko.flows.checkpoint import Checkpoint, resumed
from jko.flows.clock import pace_of
from jko.flows.container import InvalidFile
from jko.flows.control import AdaptiveStep
from jko.flows.failure import explain
from jko.flows.plan import Functional, Plan, Scheme
from jko.flows.state import Options, Run, Saving
from jko.flows.trajectory import Trajectory
from jko.geometries.base import Geometry, GeometrySum
from jko.measures.base import Measure, check_measure
from jko.solvers.rules import Solver
from jko.validation import Seed, cut, rng_of
from jko.warned import Gathered, gathering


def flow(
    measure: Measure | Trajectory,
    energy: Functional | None = None,
    geometry: Geometry | GeometrySum | None = None,
    *,
    tau: float | str | AdaptiveStep | None = None,
    steps: int | None = None,
    t1: float | None = None,
    save: int | str | Sequence[int] | None = None,
    callbacks: Watching = (),
    progress: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    every: int = 1,
    splitting: str = "lie",
    scheme: str = "implicit",
    solver: Solver | tuple[Solver, ...] = "auto",
    tol: float | None = None,
    max_iter: int | None = None,
    rng: Seed = None,
    constraints: Sequence[Moment] = (),
    throw: bool = True,
) -> Trajectory:
    """Run a flow: one split step after the other.

    Parameters
    ----------
    measure : Measure or Trajectory
        The start; or a flow to go on with: its steps stay in front, its energy, geometry and tau
        are the defaults, `steps` counts the further ones.
    energy : Energy or function of time, or a tuple with one per geometry
        A function t -> Energy is short for `jko.TimeDependent(f)`: steps are taken with the energy
        at their end, and F_t may rise along the flow.
    geometry : Geometry or sum of geometries
    tau : float, "adaptive" or AdaptiveStep
        Step length, or `jko.AdaptiveStep(tol=...)` to choose it by step doubling; "adaptive" is
        `jko.AdaptiveStep()`.
    steps, t1 : int, float
        How far: a number of steps, or a final time (the last step is shortened to hit it).

    Other Parameters
    ----------------
    save : None, int, "last" or a sequence of int
        Which steps keep their measure: all, every k-th, only the last, or these indices. The start
        and the last measure are always kept; figures are kept for every step.
    callbacks : functions of a `jko.callbacks.Event`, or objects from `jko.callbacks`
    progress : bool
        Show a progress bar.
    checkpoint : path, optional
        Written atomically at the start, after every `every`-th step and at the end; a killed run
        goes on with `jko.resume(path, ...)`. An older checkpoint is replaced, any other file
        refused. Every write holds all measures kept so far: with 1000 of 1000 particles it is
        25 MB and takes about 0.05 s. Thin with `save`, or raise `every`, when steps are fast.
    splitting, scheme, solver, tol, max_iter, rng
        As in `jko.split_step`.
    constraints : sequence of Moment
        Sets of measures that every step stays in, as in `jko.step`: they are added to every
        energy. A start outside of them has infinite energy.
    throw : bool
        Raise `jko.StepFailed` when a step misses its tolerance; its `trajectory` attribute holds
        the steps so far. Otherwise they are returned, with the reason as `status`.

    Returns
    -------
    Trajectory
        Also after Ctrl-C: the steps so far, with status "interrupted" and a warning.

    Notes
    -----
    Any other exception that ends the flow carries the steps so far as its `trajectory`. The loop
    is short enough to write by hand:

    >>> warm = None
    >>> for k in range(steps):  # doctest: +SKIP
    ...     result = jko.split_step(measure, energy, geometry, tau, warm=warm)
    ...     measure, warm = result.measure, result.warm

    References
    ----------
    Jordan et al. (1998); Ambrosio et al. (2008); Santambrogio (2017) as an introduction.
    """
    before, first, start = None, 0, 0.0
    if isinstance(measure, Trajectory):
        before, first, start = measure, measure.taken, float(measure.times[-1])
        energy, geometry, tau = _again(before, energy, geometry, tau)
        measure = before.final
    check_measure(measure, "measure")
    plan = Plan.of(energy, geometry, solver, Scheme(splitting, scheme), constraints)
    clock = pace_of(tau, steps, t1, first, start)
    keep, options = Saving.of(save, clock.steps), Options(tol, max_iter)
    watchers = Callbacks.of(callbacks, progress)
    run = Run.begin(measure, plan, clock, keep, options, rng_of(rng), before)
    keeper = Checkpoint.of(checkpoint, every, plan, run)
    return drive(run, plan, watchers, keeper, throw)


def _again(
    sol: Trajectory,
    energy: Functional | None,
    geometry: Geometry | GeometrySum | None,
    tau: float | str | AdaptiveStep | None,
) -> tuple[Functional | None, Geometry | GeometrySum | None, float | str | AdaptiveStep]:
    """Energy, geometry and step length of a trajectory, where no others are given."""
    if sol.plan is None and (energy is None or geometry is None):
        raise InvalidArgument(
            "measure is a trajectory from a file, which holds no functions; pass its energy and"
            " geometry again"
        )
    if sol.plan is not None:
        shared, parts = sol.plan.shared_energy, sol.plan.geometries
        own = sol.plan.energies[0] if shared else sol.plan.energies
        energy = own if energy is None else energy
        whole = parts[0] if len(parts) == 1 else GeometrySum(parts)
        geometry = whole if geometry is None else geometry
    if tau is None:
        tau = sol.description["tau"]
        if isinstance(tau, str):
            raise InvalidArgument(f"tau is missing; the run had {tau}: pass it, or another, again")
    return energy, geometry, tau


def resume(
    path: str | os.PathLike[str],
    energy: Functional | None = None,
    geometry: Geometry | GeometrySum | None = None,
    callbacks: Watching = (),
    *,
    steps: int | None = None,
    solver: Solver | tuple[Solver, ...] | None = None,
    progress: bool = False,
    throw: bool = True,
) -> Trajectory:
    """Go on with a run from its checkpoint, to the trajectory it would have had, or further.

    Parameters
    ----------
    path : file written by `jko.flow(..., checkpoint=path)`
    energy : Energy, or tuple
        The one the run used, handed in again: functions are not stored. It is checked against the
        description and the probe values in the file. Not needed for a finished run.
    geometry : Geometry, optional
        Rebuilt from the file unless it was made of objects from outside jko.
    callbacks : as in `jko.flow`
    steps : int, optional
        So many further steps from where the file stands, instead of the end the run was to have;
        so a finished run is extended. Its file is written on.
    solver : optional
        Only for solvers from outside jko; others are rebuilt from the file.

    Returns
    -------
    Trajectory
        Bit-identical to that of an uninterrupted run (timings apart, same number of threads).
    """
    state = resumed(path, energy, geometry, solver, steps)
    if isinstance(state, Trajectory):
        return state
    run, plan, keeper = state
    return drive(run, plan, Callbacks.of(callbacks, progress), keeper, throw)


def drive(
    run: Run, plan: Plan, callbacks: Callbacks, keeper: Checkpoint, throw: bool
) -> Trajectory:
    """The loop. Whatever ends it, the steps so far come back."""
    event: Event | None = None
    said = Gathered()
    try:
        keeper.write(run)
        while not run.done:
            with gathering(said):
                result, tau, clock = run.next(plan)
            if not result.success:
                raise StepFailed(result.message, result)
            event = run.propose(result, tau, clock, plan)
            run = run.accept(event, stop=callbacks(event))
            keeper.after_step(run)
        said.say(run.index)
    except (KeyboardInterrupt, Exception) as error:
        _save_what_there_is(run, error, keeper)
        if event is not None and event.index > run.index:  # its callbacks did not all run
            run = run.accept(event)
        with suppress(JkoWarning):  # made an error by a filter, it must not hide this one
            said.say(run.index + 1)
        return _cut_short(run, plan, error, throw)
    finally:
        callbacks.finish()
    return run.trajectory(plan=plan)


def _save_what_there_is(run: Run, error: BaseException, keeper: Checkpoint) -> None:
    """A last checkpoint; the steps in memory matter more than an error in writing it."""
    try:
        keeper.write(run)
    except (InvalidFile, Unsupported) as trouble:
        if str(trouble) != str(error):
            warnings.warn(f"no last checkpoint: {trouble}", RuntimeWarning, stacklevel=4)


def _interrupted(error: BaseException | None) -> bool:
    """Whether it all began with Ctrl-C; numpy and C libraries may raise something else instead."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__
    return isinstance(error, KeyboardInterrupt)


#: Whether Ctrl-C goes through a flow instead of ending it with what there is.
_PASSED_ON: ContextVar[bool] = ContextVar("interrupts_passed_on", default=False)


@contextmanager
def interrupts_passed_on() -> Iterator[None]:
    """Inside, Ctrl-C leaves a flow as KeyboardInterrupt (its checkpoint is still written).

    For callers that judge a whole flow, which half a flow would mislead: checks and demos.
    """
    token = _PASSED_ON.set(True)
    try:
        yield
    finally:
        _PASSED_ON.reset(token)


def _cut_short(
    run: Run, plan: Plan, error: KeyboardInterrupt | Exception, throw: bool
) -> Trajectory:
    """Hand the steps so far back: as the result, or as an attribute of the error."""
    if _interrupted(error) and _PASSED_ON.get():
        raise KeyboardInterrupt from error
    if _interrupted(error):
        said = "the flow was interrupted; its steps so far are returned"
        warnings.warn(said, RuntimeWarning, stacklevel=4)
        return run.trajectory("interrupted", plan)
    failed = isinstance(error, StepFailed)
    status = f"step {run.index + 1} failed: {error}" if failed else f"ended by {error!r}"
    trajectory = run.trajectory(" ".join(status.split()), plan)
    if failed and not throw:
        return trajectory
    if isinstance(error, StepFailed):
        error = _explained(run, plan, error)
    error.trajectory = trajectory  # type: ignore[union-attr]
    raise error


def _explained(run: Run, plan: Plan, error: StepFailed) -> StepFailed:
    """The error with where it happened, what was tried and what to change."""
    if error.result is None or str(error) != error.result.message:  # it says itself what to change
        kept = f"step {run.index + 1} failed: {error}; {run.index} good steps are in .trajectory"
        return StepFailed(cut(kept), error.result)
    with gathering(Gathered()):  # what remedies warn of is not the flow's
        return StepFailed(explain(run, plan, error.result), error.result)
