"""What is imported when it is first asked for: packages of the extras, and the room of plots.

Nothing imports `jko.plot`, which needs matplotlib and reads every result; the methods that draw
(`Trajectory.plot` and its kin) find it here by name, when they are called.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any


def package(name: str, extra: str, purpose: str) -> ModuleType:
    """A package of an extra, or one line that says how to install it."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ModuleNotFoundError(
            f"{purpose} needs {name.split('.')[0]}; pip install 'jko[{extra}]' brings it", name=name
        ) from error


def draw(what: str, *args: object, **options: object) -> Any:
    """Call a function of `jko.plot` by its name."""
    return getattr(import_module("jko.plot"), what)(*args, **options)
