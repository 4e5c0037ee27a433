"""What a user's energy returns is looked at where it enters: a number, or one entry an atom."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from types import FunctionType

import numpy as np

from jko.errors import InvalidArgument, InvalidType
from jko.measures.base import Discrete
from jko.validation import Array


def guard(cls: type) -> None:
    """Let the hooks that a class of the user's defines check what they return.

    Lists and arrays of no dimension become what solvers compute with; what has another shape, is no
    number or NaN is named, before a solver meets it.
    """
    if cls.__module__.split(".")[0] == "jko":
        return
    for name, check in _CHECKS.items():
        own = cls.__dict__.get(name)
        if isinstance(own, FunctionType) and not getattr(own, "__isabstractmethod__", False):
            setattr(cls, name, _checked(own, name, check))


def _checked(
    own: Callable[..., object], name: str, check: Callable[..., object]
) -> Callable[..., object]:
    @wraps(own)
    def hook(self: object, mu: object) -> object:
        return check(own(self, mu), f"{name} of {type(self).__name__}", mu)

    return hook


def _number(out: object, name: str, _: object) -> float | np.floating:
    if isinstance(out, (float, np.floating)):
        return out
    given = _array(out, name, "return one number, such as float(...)")
    if given.size != 1:
        raise InvalidArgument(
            f"{name} returned an array of shape {given.shape}; return one number, the energy of"
            " the whole measure"
        )
    return given.flat[0]


def _per_atom(out: object, name: str, mu: object) -> Array:
    given = _array(out, name, "return an array with one entry per atom (n,)")
    if not isinstance(mu, Discrete):
        return given
    return _finite(_shaped(given, name, (mu.n,), "(n,)"), name)


def _force(out: object, name: str, mu: object) -> Array:
    given = _array(out, name, "return an array with one row per atom (n, d)")
    if not isinstance(mu, Discrete):
        return given
    return _finite(_shaped(given, name, (mu.n, mu.dim), "(n, d)"), name)


def _array(out: object, name: str, remedy: str) -> Array:
    try:
        given = np.asarray(out)
    except ValueError as trouble:  # rows of unequal lengths
        raise InvalidType(f"{name} returned no array ({trouble}); {remedy}") from trouble
    if given.dtype.kind in "iub":
        return given.astype(float)
    if given.dtype.kind != "f":
        raise InvalidType(f"{name} returned {type(out).__name__}, no real numbers; {remedy}")
    return given


def _shaped(given: Array, name: str, shape: tuple[int, ...], letters: str) -> Array:
    if given.shape == shape:
        return given
    raise InvalidArgument(
        f"{name} returned shape {given.shape} for {shape[0]} atoms; return shape {letters} ="
        f" {shape}"
    )


def _finite(given: Array, name: str) -> Array:
    """The array without NaN; infinite entries are the business of solvers."""
    bad = np.isnan(given)
    if not bad.any():
        return given
    i = int(np.argwhere(bad)[0, 0])
    raise InvalidArgument(f"{name} is nan at atom {i}; return a number there, or +-inf")


_CHECKS: dict[str, Callable[..., object]] = {
    "value": _number,
    "first_variation": _per_atom,
    "log_slope": _per_atom,
    "wasserstein_gradient": _force,
}
