"""Warnings that point to the caller's line, and come once per flow with a count."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from jko.errors import JkoWarning

#: Where the library lies; warnings point to the first line outside.
HERE = str(Path(__file__).parent)
#: What two warnings of one kind differ in.
FIGURES = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


class Gathered(dict[str, list[str]]):
    """Warnings by kind: the same words, whatever the figures."""

    def add(self, text: str) -> None:
        """One more."""
        self.setdefault(FIGURES.sub("#", text), []).append(text)

    def say(self, steps: int) -> None:
        """Each kind once, as it was first said, with how often it was."""
        for texts in self.values():
            often = "once" if len(texts) == 1 else f"{len(texts)} times"
            caution(f"{texts[0]} (said {often} in {steps} steps)")


_GATHERED: ContextVar[Gathered | None] = ContextVar("gathered", default=None)


def caution(text: str) -> None:
    """Warn the user, at the line outside jko that called; inside a flow, when the flow ends."""
    box = _GATHERED.get()
    if box is not None:
        box.add(text)
    else:
        warnings.warn(text, JkoWarning, stacklevel=_outside())


def _outside() -> int:
    """The stack level of the first frame outside the library, as `caution` counts."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(HERE):
        level, frame = level + 1, frame.f_back
    return level


@contextmanager
def gathering(box: Gathered) -> Iterator[None]:
    """Inside, warnings are gathered in a box instead of said."""
    token = _GATHERED.set(box)
    try:
        yield
    finally:
        _GATHERED.reset(token)
