"""Energies that depend on time: an energy for every time, of one kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from jko.energies.base import Energy
from jko.errors import InvalidType, Unsupported
from jko.measures.base import Discrete, Measure
from jko.validation import real, shown


class TimeDependent(Energy):
    r"""An energy F_t that depends on time, for `jko.flow`.

    A step from t to t + tau is taken with the energy at its end, argmin F_{t+tau}(mu) +
    D^2(mu, mu_k) / (2 tau), which is first order in tau as the scheme itself; with
    `scheme="midpoint"` at its middle, which keeps second order. Energies of a trajectory are those
    at their own time: they may rise, since F_t moves.

    Parameters
    ----------
    f : callable float -> Energy
        The energy at time t: the same kinds of terms in the same order at every time, with other
        parameters. Adding and scaling work as for any energy, `jko.Entropy() + TimeDependent(f)`.

    Raises
    ------
    InvalidType
        From a flow: f returned no energy, or one of another kind than before.

    Notes
    -----
    A single step has no time: `jko.step` takes `energy.at(t)`.
    """

    def __init__(self, f: Callable[[float], Energy]) -> None:
        if not callable(f):
            raise InvalidType(f"f got {shown(f)}; pass a function of time that returns an energy")
        self.f = f
        self._first: tuple[float, tuple[type, ...]] | None = None

    @property
    def varies(self) -> bool:
        return True

    @property
    def listed(self) -> bool:
        return False

    @property
    def needs_fixed_mass(self) -> bool:
        return False

    def at(self, time: float) -> Energy:
        """The energy at a time.

        Raises
        ------
        InvalidType
            Where f returns no energy, or one of another kind than at the time first asked for.
        """
        time = real(time, "time")
        found = self.f(time)
        if not isinstance(found, Energy) or found.varies:
            raise InvalidType(
                f"f({time:g}) of a TimeDependent energy returned {shown(found)}; return an energy"
                " such as jko.Potential(V)"
            )
        kinds = tuple(type(term) for _, term in found.terms)
        if self._first is None:
            self._first = time, kinds
        before, first = self._first
        if kinds != first:
            raise InvalidType(
                f"a TimeDependent energy is {_names(first)} at t = {before:g} and {_names(kinds)}"
                f" at t = {time:g}; keep the kinds of its terms, and change their parameters only"
                " (a small factor instead of leaving a term out)"
            )
        return found

    def value(self, mu: Measure) -> float:
        self._refuse()

    def restrict(self, mu: Discrete) -> NoReturn:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise Unsupported(
            f"{self!r} has no value without a time; use .at(t), or pass it to jko.flow"
        )

    def __repr__(self) -> str:
        name = getattr(self.f, "__qualname__", type(self.f).__name__)
        return f"TimeDependent({name.rpartition('.')[2]})"


def _names(kinds: tuple[type, ...]) -> str:
    return " + ".join(kind.__name__ for kind in kinds)
