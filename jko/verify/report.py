"""Run checks by name and gather them in a report."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import replace

from jko.errors import InvalidArgument, JkoError
from jko.flows.driver import interrupts_passed_on
from jko.identity import Identity, Report
from jko.verify.catalogue import CHECKS


def names() -> tuple[str, ...]:
    """The names of all checks, in the order they run."""
    return tuple(CHECKS)


def select(patterns: str | Iterable[str] | None = None) -> tuple[str, ...]:
    """The names that patterns stand for, each once; all when there is none.

    Parameters
    ----------
    patterns : str or iterable of str, optional
        Names, or beginnings of names followed by *.

    Raises
    ------
    InvalidArgument
        When a pattern fits no check; the message has the nearest names.
    """
    wanted = [patterns] if isinstance(patterns, str) else list(patterns or CHECKS)
    return tuple(dict.fromkeys(name for pattern in wanted for name in _matching(pattern)))


def run_all(names: str | Iterable[str] | None = None) -> Report:
    """Run every check, or those named, on fixed problems.

    Parameters
    ----------
    names : str or iterable of str, optional
        Names from `jko.verify.names()`; a name that ends in * stands for all that begin so.

    Returns
    -------
    Report
        A check that cannot run is an identity that does not hold; its statement says why.
    """
    with interrupts_passed_on():
        return Report(tuple(_run(name) for name in select(names)))


def _matching(pattern: str) -> list[str]:
    pattern = pattern.replace("_", "-")  # the name of a Python function serves too
    if pattern in CHECKS:
        return [pattern]
    stem = pattern.removesuffix("*")
    found = [name for name in CHECKS if name.startswith(stem)] if stem != pattern else []
    if not found:
        near = difflib.get_close_matches(pattern, CHECKS, n=3, cutoff=0.4)
        hint = f"nearest: {', '.join(near)}" if near else "jko.verify.names() lists them"
        raise InvalidArgument(f"there is no check named {pattern!r}; {hint}")
    return found


def _run(name: str) -> Identity:
    try:
        return replace(CHECKS[name](), name=name)
    except JkoError as error:
        reason = str(error).splitlines()[0]
        nan = float("nan")
        return Identity(name, f"could not run: {reason}", nan, nan, float("inf"), 0.0)
