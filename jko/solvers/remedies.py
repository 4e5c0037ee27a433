"""What a failed step says besides its figures: what else was tried, and a change that works."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypedDict

from jko.errors import MESSAGE
from jko.prox.result import StepResult
from jko.solvers.rules import Try
from jko.status import Status
from jko.validation import cut

#: Seconds that a failed step may have taken for its remedies to be tried: each takes about as long.
CHEAP = 2.0
#: Shorter steps that are tried, as shares of tau.
SHORTER = (1 / 4, 1 / 16)
#: The largest tolerance worth naming: a gap above 1 % of the size of the terms is no answer.
LOOSEST = 1e-2
#: Most characters that other solvers' figures may take.
OTHERS = 150


class Change(TypedDict, total=False):
    """Settings of a step that differ from those that failed."""

    max_iter: int | None
    solver: str
    tau: float
    tol: float


@dataclass(frozen=True)
class Remedy:
    """A change of settings: how the message names it, and the settings it changes.

    Attributes
    ----------
    name : str
    settings : Change
    """

    name: str
    settings: Change


def remedies(
    last: StepResult, *, max_iter: int | None, auto: bool, tau: float | None
) -> Iterator[Remedy]:
    """Changes that may help, the mildest first.

    Parameters
    ----------
    last : StepResult
        The step that failed.
    max_iter : int or None
        The limit it had.
    auto : bool
        Whether the solvers were chosen by "auto".
    tau : float or None
        Its length, None where that is not the caller's to choose.
    """
    if last.status is Status.MAX_ITERATIONS and max_iter is not None:
        yield Remedy(f"a larger max_iter than {max_iter}, or None", {"max_iter": None})
    if not auto:
        yield Remedy("solver='auto'", {"solver": "auto"})
    if tau is not None:
        for share in SHORTER:
            shown = f"{share * tau:.4g}"
            yield Remedy(f"tau = {shown}", {"tau": float(shown)})
    loose = tolerance(last)
    if loose is not None:
        yield Remedy(f"tol = {loose:.0e}", {"tol": loose})


def advice(options: Sequence[Remedy], seconds: float, works: Callable[[Remedy], bool]) -> str:
    """The first remedy that works, or the one to try; a slow step is not taken again."""
    if not options:
        return ""
    if seconds > CHEAP:
        return f"try {options[0].name}"
    for remedy in options:
        if works(remedy):
            return f"use {remedy.name}: this step then succeeds"
    return ""


def tolerance(last: StepResult) -> float | None:
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


def tried(result: StepResult) -> str:
    """How far the other solvers came."""
    others = [f"{t['solver']} ({_figure(t['gap'], t['residual'])})" for t in tries(result)]
    return cut("also tried: " + ", ".join(others), OTHERS) if others else ""


def tries(result: StepResult) -> tuple[Try, ...]:
    """The tries of other solvers that `info` lists."""
    listed = result.info.get("tried")
    return listed if isinstance(listed, tuple) else ()


def _figure(gap: float | None, residual: float | None) -> str:
    if gap is not None:
        return f"gap {gap:.2g}"
    return "no answer" if residual is None else f"residual {residual:.2g}"


def sentence(before: str, said: str, *after: str) -> str:
    """What happened where, what was tried and what to do, in at most `MESSAGE` characters."""
    rest = "".join(f"; {part}" for part in after if part)
    return f"{before}{cut(said, MESSAGE - len(before) - len(rest))}{rest}"
