"""What every adapter hands back, and the rules they share: errors, batches, names, NaN."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jko.errors import InvalidArgument, JkoWarning, Unsupported
from jko.validation import Array

#: What foreign code raises when it is wrong, as opposed to a point outside the support.
FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)
#: Rows handed to a framework at once, at most: bounds its memory.
MOST_ROWS = 4096
#: The smallest padded batch.
LEAST_ROWS = 16
#: A batch that exists already is used for fewer rows, down to one in this many.
SPARE = 1.5

Values = NDArray[np.floating]
Both = Callable[[Array], tuple[Values, Values]]


@dataclass
class Faults:
    """How often a density could not be evaluated; all but `gradients` count as -inf.

    Attributes
    ----------
    nan : int
        Points where it was NaN.
    errors : int
        Points where it raised a domain error.
    gradients : int
        Points of finite density whose gradient was not finite; it was set to 0.
    """

    nan: int = 0
    errors: int = 0
    gradients: int = 0

    def __bool__(self) -> bool:
        return bool(self.nan or self.errors or self.gradients)


@dataclass(frozen=True, eq=False)
class Adapted:
    """A log density of a framework as functions of arrays.

    Attributes
    ----------
    value : callable (n, d) -> (n,)
    both : callable (n, d) -> ((n,), (n, d))
        Values and gradients in one evaluation.
    dim : int
    names : tuple of str
        One for each coordinate.
    constrain : callable (n, d) -> dict of arrays (n, ...), or None
        The parameters of the model, by name.
    faults : Faults
    """

    value: Callable[[Array], Values]
    both: Both
    dim: int
    names: tuple[str, ...]
    constrain: Callable[[Array], dict[str, Array]] | None = None
    faults: Faults = field(default_factory=Faults)


def framework(module: str, extra: str) -> ModuleType:
    """Import a framework, or say which extra brings it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise Unsupported(
            f"{module} cannot be imported ({error}); install it with pip install 'jko[{extra}]'"
        ) from error


def fault(what: str, error: BaseException, remedy: str) -> InvalidArgument:
    """One sentence for an exception of the user's function; raise it `from` the exception."""
    said = " ".join(str(error).split())
    return InvalidArgument(f"{what} raised {type(error).__name__}: {said[:200]}; {remedy}")


def default_names(dim: int) -> tuple[str, ...]:
    """Names of coordinates: x[0], x[1]..."""
    return tuple(f"x[{j}]" for j in range(dim))


def entry_names(name: str, shape: Iterable[int]) -> Iterator[str]:
    """The names of the entries of an array: tau, theta[0], L[1,0]..."""
    shape = tuple(shape)
    if not shape:
        yield name
    else:
        for index in np.ndindex(*shape):
            yield f"{name}[{','.join(map(str, index))}]"


def warn_single(source: str, remedy: str) -> None:
    """Say that a density works in single precision, and how to change that."""
    warnings.warn(
        f"{source} works in single precision, good to about 1e-4 of the log density; {remedy}",
        JkoWarning,
        stacklevel=4,
    )


def tidy(values: Values, gradients: Values | None, faults: Faults) -> tuple[Values, Values]:
    """NaN counts as -inf; where the density vanishes or breaks, the gradient is 0.

    Right outside a support, and on the paths of a search that overflow; `faults` counts what is
    neither.
    """
    lost = np.isnan(values)
    if lost.any():
        faults.nan += int(lost.sum())
        values = np.where(lost, np.array(-np.inf, values.dtype), values)
    if gradients is None:
        return values, values
    inside = np.isfinite(values)
    bad = np.asarray(~(np.isfinite(gradients).all(axis=1) & inside))
    if bad.any():
        faults.gradients += int((bad & inside).sum())
        gradients = np.where(bad[:, None], np.array(0, gradients.dtype), gradients)
    return values, gradients


class Padded:
    """Batches in a few sizes, so that a compiler sees few shapes.

    The last row is repeated to fill a batch. Sizes are powers of two up to 256 and quarters
    between them beyond, which wastes at most a quarter; a size that exists already is taken for
    fewer rows, down to 1/`SPARE`.
    """

    def __init__(self) -> None:
        self.sizes: set[int] = set()

    def size_of(self, n: int) -> int:
        """The batch for n rows."""
        fit = [s for s in self.sizes if n <= s <= max(SPARE * n, LEAST_ROWS)]
        if fit:
            return min(fit)
        power = max(LEAST_ROWS, 1 << (n - 1).bit_length())
        step = power if power <= 256 else power // 8
        size = -(-n // step) * step
        self.sizes.add(size)
        return size

    def __call__(self, x: Array) -> Iterator[tuple[Array, int]]:
        """Padded batches of the rows of x, and how many rows of each count."""
        for first in range(0, len(x), MOST_ROWS):
            part = x[first : first + MOST_ROWS]
            size = self.size_of(len(part))
            if size > len(part):
                part = np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])
            yield part, min(len(x) - first, MOST_ROWS)


def gathered(parts: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Concatenate tuples of arrays, batch by batch."""
    if len(parts) == 1:
        return parts[0]
    return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))
