"""What the arguments of a grid say of its axes and cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

import numpy as np
from numpy.typing import ArrayLike

from jko.errors import InvalidArgument, InvalidType
from jko.validation import (
    Mask,
    brief,
    masked,
)


def listed(value: object) -> TypeGuard[Sequence[object]]:
    """Whether a value has an entry per axis."""
    return isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim == 1)


def per_axis(periodic: bool | Sequence[bool], dim: int) -> tuple[bool, ...]:
    flags = tuple(periodic) if listed(periodic) else (periodic,) * dim
    if len(flags) != dim or not all(isinstance(f, (bool, np.bool_)) for f in flags):
        raise InvalidArgument(
            f"periodic = {brief(periodic)} must be True, False or one of them per axis ({dim} axes)"
        )
    return tuple(bool(f) for f in flags)


def free_cells(mask: ArrayLike, shape: tuple[int, ...]) -> Mask | None:
    if masked(mask) or hasattr(mask, "nnz"):
        raise InvalidType(
            f"mask is a {type(mask).__name__}; pass a plain array of booleans, True where free"
        )
    try:
        free = np.array(mask)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidType(f"mask must be an array of booleans: {error}") from None
    size = int(np.prod(shape))
    if free.dtype != bool or free.shape not in (shape, (size,)):
        raise InvalidArgument(
            f"mask has dtype {free.dtype} and shape {free.shape}; pass booleans of shape {shape},"
            " True where a cell is free"
        )
    if not free.any():
        raise InvalidArgument("mask leaves no cell free; it is True where a cell is free")
    free = free.ravel()
    free.setflags(write=False)
    return None if free.all() else free


def same_mask(a: Mask | None, b: Mask | None) -> bool:
    return a is b or (a is not None and b is not None and np.array_equal(a, b))
