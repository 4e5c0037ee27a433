"""Functions of the user's, called with many points at once."""

from __future__ import annotations

from collections.abc import Callable

from numpy.typing import ArrayLike

from jko.validation import Array

#: What a function of points is given, for messages.
POINTS = "x has shape (n, d), a row for every point, and x[:, 0] is the first coordinate"


def called(function: Callable[[Array], ArrayLike], x: Array, name: str) -> ArrayLike:
    """function(x); an error inside it says what it is called with."""
    try:
        return function(x)
    except (TypeError, ValueError, IndexError) as error:
        error.add_note(f"{name} is called with an array of shape {x.shape} at once: {POINTS}")
        raise


def one_each(name: str, shape: tuple[int, ...], count: int) -> str:
    """The message where a function did not return a value for every point."""
    return f"{name} returned shape {shape} for {count} points; return one value per point: {POINTS}"
