"""Checks of arguments: one place that turns bad input into one clear sentence."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Sequence
from typing import TypeGuard, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jko.errors import MESSAGE, InvalidArgument, InvalidMeasure, InvalidType, SingularCovariance

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Index = NDArray[np.intp]

#: Relative difference of masses that counts as rounding: the second is rescaled to the first.
#: Weights in single precision, and their sum where all are equal, are off by 6e-8.
MASS_TOLERANCE = 1e-6
T = TypeVar("T")
Entry = TypeVar("Entry", bound=np.generic)
#: What `rng=` takes.
Seed = (
    int
    | Sequence[int]
    | np.random.Generator
    | np.random.BitGenerator
    | np.random.SeedSequence
    | None
)

#: Counts above this are refused: no array has so many entries.
MOST = 2**62
#: Characters of a wrong value that an error shows.
LONGEST = 60


def float_array(value: ArrayLike, name: str) -> Array:
    """A float64 array, or an error that names the argument (no silent casts of objects)."""
    if type(value) is np.ndarray and value.dtype == np.float64:  # what most of them are
        return value.copy(order="K")
    unfit = _not_an_array(value, name)
    if unfit is not None:
        raise InvalidType(unfit)
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise InvalidType(f"{name} must be an array of numbers: {_first_line(error)}") from None
    if array.dtype.kind not in "fiub":
        real = f"{name}.real" if array.dtype.kind == "c" else f"np.asarray({name}, dtype=float)"
        got = f"got {type(value).__name__} of dtype {array.dtype}; pass {real}, if they are"
        raise InvalidType(f"{name} must be an array of real numbers, {got}")
    with np.errstate(over="ignore"):  # the check for infinities tells
        return np.array(array, dtype=np.float64, order="K")


def masked(
    value: object,
) -> TypeGuard[np.ma.MaskedArray[tuple[int, ...], np.dtype[np.generic]]]:
    """Whether a value is a masked array; `numpy.ma` is loaded wherever there is one."""
    module = sys.modules.get("numpy.ma")
    return module is not None and isinstance(value, module.MaskedArray)


def _not_an_array(value: object, name: str) -> str | None:
    """Why an array-like object of another library cannot be read as numbers, with the remedy."""
    kind = type(value).__name__
    if masked(value):
        hidden = int(np.count_nonzero(np.ma.getmaskarray(value)))
        if hidden:
            return (
                f"{name} is a masked array with {hidden} masked entries; say what they are, such as"
                f" {name}.filled(0.0) for no mass, or leave them out with {name}.compressed()"
            )
    elif hasattr(value, "toarray") and hasattr(value, "nnz"):
        return f"{name} is a sparse {kind}; pass {name}.toarray()"
    elif getattr(value, "requires_grad", False) is True:
        return f"{name} is a {kind} that requires grad; pass {name}.detach().cpu().numpy()"
    return None


def _first_line(error: Exception) -> str:
    """What an error of another library says, in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def frozen(array: NDArray[Entry]) -> NDArray[Entry]:
    """The same array, read-only: measures never change under a reader's hands."""
    array.setflags(write=False)
    return array


class ReadOnly:
    """Copied, deep-copied or unpickled, the arrays of an object are read-only again."""

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        for value in state.values():
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, np.ndarray):
                    frozen(part)


def finite_array(value: ArrayLike, name: str, error: type[InvalidArgument]) -> Array:
    """A float64 array without NaN or infinity; `error` is the class to raise."""
    array = float_array(value, name)
    bad = ~np.isfinite(array)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise error(
            f"{name} has {int(bad.sum())} non-finite values, the first at index {where};"
            " remove or replace them"
        )
    return array


def points_array(value: ArrayLike, name: str = "points") -> Array:
    """Points as a finite (n, d) array."""
    points = finite_array(value, name, InvalidMeasure)
    if points.ndim == 1:
        raise InvalidMeasure(
            f"{name} has shape {points.shape}, expected (n, d);"
            f" write {name}[:, None] for n points on the line"
        )
    if points.ndim != 2 or points.shape[0] == 0 or points.shape[1] == 0:
        raise InvalidMeasure(f"{name} has shape {points.shape}, expected (n, d) with n, d >= 1")
    return frozen(points)


def weights_array(value: ArrayLike, n: int, name: str = "weights") -> Array:
    """Weights as a finite, non-negative (n,) array of positive mass."""
    weights = finite_array(value, name, InvalidMeasure)
    if weights.shape != (n,):
        raise InvalidMeasure(f"{name} has shape {weights.shape}, expected ({n},), one per point")
    if (weights < 0).any():
        worst = int(np.argmin(weights))
        raise InvalidMeasure(
            f"{name}[{worst}] = {weights[worst]:.6g} is negative; measures need weights >= 0"
        )
    with np.errstate(over="ignore"):
        total = weights.sum()
    if not np.isfinite(total):
        raise InvalidMeasure(f"{name} sum to infinity; rescale them to a finite mass")
    if not total > 0:
        raise InvalidMeasure(f"{name} sum to zero; a measure needs positive mass")
    return frozen(weights)


def vector(value: ArrayLike, name: str) -> Array:
    """A finite one-dimensional array (a mean, a box corner)."""
    array = np.atleast_1d(finite_array(value, name, InvalidMeasure))
    if array.ndim != 1 or array.size == 0:
        raise InvalidMeasure(f"{name} has shape {array.shape}, expected (d,) with d >= 1")
    return frozen(array)


def covariance(value: ArrayLike, dim: int, name: str = "cov") -> Array:
    """A symmetric positive-definite (d, d) matrix."""
    array = finite_array(value, name, InvalidMeasure)
    if array.ndim == 0 and dim == 1:
        array = array.reshape(1, 1)
    if array.shape != (dim, dim):
        raise InvalidMeasure(f"{name} has shape {array.shape}, expected ({dim}, {dim})")
    if np.abs(array - array.T).max() > 1e-10 * float(np.abs(array).max()):
        raise InvalidMeasure(f"{name} is not symmetric; pass ({name} + {name}.T) / 2")
    array = (array + array.T) / 2
    try:  # eigenvalues of a singular matrix may round to above 0
        np.linalg.cholesky(array)
    except np.linalg.LinAlgError:
        smallest = float(np.linalg.eigvalsh(array)[0])
        raise SingularCovariance(
            f"{name} is not positive definite (smallest eigenvalue {smallest:.3g});"
            " add a small multiple of the identity"
        ) from None
    return frozen(array)


def real(value: object, name: str) -> float:
    """A finite real number; booleans, strings and arrays are refused."""
    dtype = getattr(value, "dtype", None)
    text = isinstance(value, (bool, str, bytes)) or masked(value)
    text = text or (isinstance(dtype, np.dtype) and dtype.kind not in "fiu")
    if text or isinstance(value, (list, tuple, dict, set)) or getattr(value, "ndim", 0) != 0:
        raise InvalidType(f"{name} must be a number, got {brief(value)}")
    try:
        number = float(value)  # type: ignore[arg-type]
    except OverflowError:
        raise InvalidArgument(
            f"{name} = {brief(value)} is beyond double precision; pass a number below 1e308"
        ) from None
    except (TypeError, ValueError, RuntimeError):
        raise InvalidType(f"{name} must be a number, got {type(value).__name__}") from None
    if not np.isfinite(number):
        raise InvalidArgument(f"{name} = {number} is not finite; pass a finite number")
    return number


def positive(value: object, name: str, remedy: str = "pass a positive number") -> float:
    """A finite number > 0."""
    number = real(value, name)
    if not number > 0:
        raise InvalidArgument(f"{name} = {number:.6g} must be positive; {remedy}")
    return number


def positive_int(value: object, name: str) -> int:
    """A whole number >= 1."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise InvalidType(f"{name} must be a whole number, got {brief(value)}")
    if value < 1:
        raise InvalidArgument(f"{name} = {brief(value)} must be at least 1")
    if value > MOST:
        raise InvalidArgument(f"{name} = {brief(value)} is more than any computer can hold")
    return int(value)


def instance(value: object, kind: type[T] | tuple[type, ...], name: str, remedy: str) -> T:
    """`value` itself when it is of the right kind, otherwise a sentence with the remedy."""
    if not isinstance(value, kind):
        raise InvalidType(f"{name} got {shown(value)}; {remedy}")
    return value  # type: ignore[return-value]


def entries(value: object) -> tuple[object, ...] | None:
    """The entries of a list; None for text, and for arrays of dimension 0."""
    try:
        text = isinstance(value, (str, bytes, memoryview))
        return tuple(value) if isinstance(value, Iterable) and not text else None
    except TypeError:
        return None


def shown(value: object) -> str:
    """A wrong value as an error shows it: short values in full, objects by their type."""
    if isinstance(value, type):
        return f"the class {value.__name__} where an object belongs"
    return brief(value) if isinstance(value, (str, bytes, int, float)) else type(value).__name__


def brief(value: object) -> str:
    """The representation of a wrong value, cut where it is long; whole numbers may be endless."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MOST:
        sign = "-" if value < 0 else ""
        return f"{sign}2**{value.bit_length() - 1} or more"
    plain = isinstance(value, (str, bytes, int, float, complex, np.generic, list, tuple))
    try:
        text = repr(value) if value is None or plain else type(value).__name__
    except ValueError:  # Python writes no whole numbers of more than some thousand digits
        text = type(value).__name__
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def one_of(value: object, choices: Iterable[str], name: str) -> str:
    """One of a few strings."""
    allowed = tuple(choices)
    if not isinstance(value, str) or value not in allowed:
        listed = ", ".join(repr(c) for c in allowed)
        raise InvalidArgument(f"{name} = {brief(value)} is unknown; choose one of {listed}")
    return str(value)


def switch(value: object, name: str) -> bool:
    """True or False, Python's or NumPy's; nothing else is one by chance."""
    if not isinstance(value, (bool, np.bool_)):
        raise InvalidType(f"{name} = {brief(value)} is neither True nor False")
    return bool(value)


def rng_of(value: Seed) -> np.random.Generator:
    """A generator from None, a seed or a generator: nothing in jko touches global state."""
    seeds = (int, np.integer, np.random.Generator, np.random.BitGenerator, np.random.SeedSequence)
    flat = isinstance(value, (list, tuple)) and all(isinstance(v, int) for v in value)
    flat = flat or (isinstance(value, np.ndarray) and value.ndim == 1)
    if isinstance(value, (bool, np.bool_)) or not (
        value is None or flat or isinstance(value, seeds)
    ):
        raise InvalidType(
            f"rng = {brief(value)} is not a seed or a numpy Generator; pass None or a whole number"
        )
    try:
        return np.random.default_rng(value)
    except (TypeError, ValueError) as error:
        raise InvalidType(
            f"rng = {brief(value)} is not a seed or a numpy Generator: {_first_line(error)}"
        ) from None


def deprecated(given: bool, name: str, instead: str) -> None:
    """Warn of an argument that has no effect any more and goes with the next release."""
    if given:
        text = f"{name} has no effect and will go: {instead}"
        warnings.warn(text, DeprecationWarning, stacklevel=4)


def cut(text: str, most: int = MESSAGE) -> str:
    """A text of at most so many characters, in one line."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: max(most - 3, 0)] + "..."
