"""Values and gradients from one evaluation, remembered for the points they were asked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from jko.errors import InvalidMeasure, InvalidType, Unsupported
from jko.numerics.called import one_each
from jko.validation import Array

#: Sets of points remembered: those of a chain and of its proposals.
REMEMBERED = 2


class Fused:
    """A function that returns values and gradients at once, seen as two functions.

    The last few sets of points are remembered, so that asking for values and gradients at the same
    points evaluates once. `plain`, values alone, is used where values are asked for first, until a
    caller turns out to ask for the gradients at the same points next.
    """

    def __init__(
        self, both: Callable[[Array], ArrayLike], plain: Callable[[Array], ArrayLike] | None
    ) -> None:
        self.both, self.plain = both, plain
        self._memo: list[tuple[Array, Array, Array]] = []
        self._last: Array | None = None  # points of the last values without gradients
        self._ahead = False  # whether values are followed by gradients
        self._unused = False  # whether the last gradients taken ahead were asked for

    def values(self, x: Array) -> ArrayLike:
        """Values (n,) at points (n, d)."""
        known = self._known(x)
        if known is not None:
            return np.array(known[1])
        if self._unused:
            self._ahead = False
        if self.plain is None or self._ahead:
            self._unused = self._ahead
            return self.pair(x)[0]
        self._last = np.array(x)
        return self.plain(x)

    def gradients(self, x: Array) -> ArrayLike:
        """Gradients (n, d)."""
        self._unused = False
        if self._last is not None and np.array_equal(self._last, x):
            self._ahead = True
        return self.pair(x)[1]

    def pair(self, x: Array) -> tuple[ArrayLike, ArrayLike]:
        """Both; copies, so that a caller may write into them."""
        known = self._known(x)
        if known is None:
            found = self.both(x)
            if not (isinstance(found, tuple | list) and len(found) == 2):
                raise InvalidMeasure(
                    f"value_and_grad returned {type(found).__name__}; return a pair: values (n,)"
                    " and gradients (n, d)"
                )
            known = (np.array(x), np.asarray(found[0]), np.asarray(found[1]))
            self._memo.insert(0, known)
            del self._memo[REMEMBERED:]
        return np.array(known[1]), np.array(known[2])

    def _known(self, x: Array) -> tuple[Array, Array, Array] | None:
        for entry in self._memo:
            if entry[0].shape == np.shape(x) and np.array_equal(entry[0], x):
                return entry
        return None


class Apart:
    """Values and gradients from two functions, seen as one."""

    def __init__(
        self, values: Callable[[Array], ArrayLike], gradients: Callable[[Array], ArrayLike] | None
    ) -> None:
        self.values, self.gradients = values, gradients

    def pair(self, x: Array) -> tuple[ArrayLike, ArrayLike]:
        """Values (n,) and gradients (n, d) at points (n, d)."""
        if self.gradients is None:
            raise Unsupported(NO_GRADIENT)
        return self.values(x), self.gradients(x)


NO_GRADIENT = (
    "this LogDensity has no gradient; pass gradient=... or value_and_grad=... when making it"
)


class Columns:
    """The coordinates of points by name: what `constrain` does for a plain function."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def __call__(self, x: Array) -> dict[str, Array]:
        """{name: (n,) array}."""
        x = np.asarray(x, dtype=float)
        return {name: x[..., j] for j, name in enumerate(self.names)}


def names_of(names: Sequence[str] | None, dim: int) -> tuple[str, ...]:
    """One distinct name for each coordinate."""
    if names is None:
        return tuple(f"x[{j}]" for j in range(dim))
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise InvalidType(f"names = {names!r}; pass a list of {dim} strings")
    found = tuple(names)
    if len(found) != dim or len(set(found)) != dim:
        raise InvalidMeasure(f"names = {list(found)}; pass {dim} different names, one a coordinate")
    return found


def checked_values(found: ArrayLike, x: Array) -> Array:
    """Values of a log density at points (n, d): (n,), neither NaN nor +inf."""
    values = np.asarray(found, dtype=float)
    if values.shape != (x.shape[0],):
        raise InvalidMeasure(one_each("log_density", values.shape, x.shape[0]))
    bad = np.isnan(values) | (values == np.inf)
    if bad.any():
        i = int(np.argmax(bad))
        raise InvalidMeasure(
            f"log_density is {values[i]} at point {x[i].tolist()}; return a finite number, or -inf"
            " where the density vanishes"
        )
    return values


def checked_gradients(found: ArrayLike, x: Array, name: str = "gradient") -> Array:
    """Gradients at points (n, d): (n, d) and finite."""
    values = np.asarray(found, dtype=float)
    if values.shape != x.shape:
        raise InvalidMeasure(f"{name} returned shape {values.shape} for points of shape {x.shape}")
    if not np.isfinite(values).all():
        i = int(np.argmax(~np.isfinite(values).all(axis=1)))
        raise InvalidMeasure(
            f"{name} is not finite at point {x[i].tolist()}; it must be wherever the log density is"
        )
    return values


def absent(x: Array) -> Array:
    """Stands for a log density that was not given; `value_and_grad` takes its place."""
    raise Unsupported("pass log_density or value_and_grad")


def check_callables(log_density: object, gradient: object, both: object, constrain: object) -> None:
    """A sentence where one of the four is no function, or the density is missing."""
    if not callable(log_density):
        raise InvalidType(
            f"log_density got {type(log_density).__name__};"
            " pass a vectorised function (n, d) -> (n,)"
        )
    if log_density is absent and both is None:
        raise InvalidType("log_density is missing; pass a vectorised function (n, d) -> (n,)")
    wanted = (
        (gradient, "gradient", "(n, d) -> (n, d)"),
        (both, "value_and_grad", "(n, d) -> ((n,), (n, d))"),
        (constrain, "constrain", "(n, d) -> dict of arrays"),
    )
    for value, name, shapes in wanted:
        if value is not None and not callable(value):
            raise InvalidType(
                f"{name} got {type(value).__name__}; pass a vectorised function {shapes} or None"
            )
