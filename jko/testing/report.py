"""What the checks share: comparisons that speak, and a list of what ran."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jko.errors import Unsupported
from jko.validation import Array

#: Relative step of central differences: truncation 1e-10, rounding 1e-11.
STEP = 1e-5


def close(found: float, expected: float, scale: float, tol: float, sentence: str) -> None:
    """Raise AssertionError unless |found - expected| <= tol scale."""
    if not abs(found - expected) <= tol * scale:
        raise AssertionError(f"{sentence}: found {found:.10g}, expected {expected:.10g}")


def require(condition: bool, sentence: str) -> None:
    """Raise AssertionError with the sentence unless the condition holds."""
    if not condition:
        raise AssertionError(sentence)


def ran(checks: dict[str, Callable[[], None]]) -> list[str]:
    """Run named checks, skip those that meet a missing capability, list the others."""
    names = []
    for name, check in checks.items():
        try:
            check()
        except Unsupported:
            continue
        names.append(name)
    return names


def central(f: Callable[[float], float], step: float = STEP) -> float:
    """Derivative of f at 0 by a central difference."""
    return (f(step) - f(-step)) / (2 * step)


def directions(w: Array, free: bool, rng: np.random.Generator, count: int = 4) -> list[Array]:
    """Changes of weights that vanish with the weights; mass-preserving ones first.

    With `free` the last half changes the mass too.
    """
    out = []
    for i in range(count):
        z = rng.uniform(-1, 1, w.shape[0])
        if not free or i < count // 2:
            z = z - float(w @ z) / float(w.sum())
        out.append(w * z)
    return out
