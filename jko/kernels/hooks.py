"""What kernels and their algebra ask of each other, without importing each other."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from jko.validation import Array

if TYPE_CHECKING:
    from .base import Kernel


class Definiteness(StrEnum):
    """Which quadratic forms v'Kv are nonnegative: all, those with sum v = 0, or not even those."""

    POSITIVE = "positive"
    CONDITIONAL = "conditional"
    INDEFINITE = "indefinite"


class Algebra(Protocol):
    """What the operators of kernels call; a sum is a kernel itself, so it lives above `Kernel`."""

    def add(self, left: Kernel, right: Kernel, /) -> Kernel:
        """``left + right``."""

    def multiply(self, left: Kernel, right: Kernel, /) -> Kernel:
        """``left * right``."""

    def scale(self, factor: object, kernel: Kernel, /) -> Kernel:
        """``factor * kernel``."""


class Alone:
    """`Kernel.terms`: no property, since a sum stores a field of that name."""

    def __get__(self, kernel: Kernel | None, owner: type) -> tuple[Kernel, ...]:
        if kernel is None:
            raise AttributeError("the terms are those of a kernel, not of its class")
        return (kernel,)


class Weighted(Protocol):
    """Weighted points: all that sums over a measure see of it."""

    @property
    def points(self) -> Array:
        """Array (n, d)."""

    @property
    def weights(self) -> Array:
        """Array (n,)."""


def no_closed_form(kernel: Kernel) -> str:
    """Why a kernel cannot be integrated against a Gaussian."""
    return (
        f"{kernel!r} has no closed-form integral against a Gaussian measure; use"
        " jko.kernels.Gaussian, or sample the Gaussian into Particles"
    )
