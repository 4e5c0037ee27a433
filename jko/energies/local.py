"""Local energies: the integral of a function of the density, given by that function."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from jko.energies.base import Energy
from jko.errors import InvalidArgument, InvalidType, Unsupported
from jko.measures.atoms import Particles
from jko.measures.base import Discrete, Measure
from jko.measures.grid import GridDensity
from jko.validation import Array

#: A density of this share of the largest one stands for an empty cell where U' is infinite at 0.
LEAST = 1e-12


class LocalEnergy(Energy):
    r"""F(mu) = int U(rho) dx, rho the density of mu, for any convex U.

    Parameters
    ----------
    U : callable (n,) -> (n,)
        Energy per unit of volume at densities rho >= 0.
    U1 : callable (n,) -> (n,)
        Its derivative, the first variation of F. It may be infinite at 0.
    U2 : callable (n,) -> (n,), optional
        Its second derivative, >= 0. None: differences of U1.

    Raises
    ------
    InvalidType
        An argument is no function.
    InvalidArgument
        At the first step, where U1 is not the derivative of U.

    Notes
    -----
    On a `GridDensity` rho is mass over volume of a cell, on a `Histogram` (which has no volumes)
    the weight itself. Powers and rho log rho are `jko.PorousMedium` and `jko.Entropy`, whose steps
    are solved directly; others are stepped by `jko.solvers.ProximalNewton`. McCann's condition,
    that s^d U(s^-d) is convex and falls, makes F convex along Wasserstein geodesics: McCann (1997).

    Examples
    --------
    >>> F = jko.LocalEnergy(lambda r: r**3 / 6, lambda r: r**2 / 2, lambda r: r)
    """

    of_functions: ClassVar[bool] = True

    def __init__(
        self,
        U: Callable[[Array], Array],
        U1: Callable[[Array], Array],
        U2: Callable[[Array], Array] | None = None,
    ) -> None:
        for name, f in (("U", U), ("U1", U1), ("U2", U2)):
            if not callable(f) and not (name == "U2" and f is None):
                raise InvalidType(f"{name} got {type(f).__name__}; pass a function of the density")
        self.U, self.U1, self.U2 = U, U1, U2

    def value(self, mu: Measure) -> float:
        """int U(rho) dx."""
        rho, volume = self._density(mu)
        return volume * float(_checked(self.U, rho, "U").sum())

    def first_variation(self, mu: Discrete) -> Array:
        """U'(rho) (n,)."""
        rho, _ = self._density(mu)
        return _checked(self.U1, rho, "U1")

    def log_slope(self, mu: Discrete) -> Array:
        """rho U''(rho) (n,): how the first variation answers to the logarithm of the weights."""
        if self.U2 is None:
            return super().log_slope(mu)
        rho, _ = self._density(mu)
        return rho * _checked(self.U2, np.maximum(rho, LEAST * float(rho.max())), "U2")

    @staticmethod
    def _density(mu: Measure) -> tuple[Array, float]:
        if not isinstance(mu, Discrete) or isinstance(mu, Particles):
            raise Unsupported(
                f"LocalEnergy needs a density, not a {type(mu).__name__}; use a jko.GridDensity"
            )
        volume = mu.grid.cell_volume if isinstance(mu, GridDensity) else 1.0
        return mu.weights / volume, volume

    def __repr__(self) -> str:
        name = getattr(self.U, "__name__", "U")
        return f"LocalEnergy({name})"


def _checked(f: Callable[[Array], Array], rho: Array, name: str) -> Array:
    out = np.asarray(f(rho), dtype=float)
    if out.shape != rho.shape or np.isnan(out).any():
        raise InvalidArgument(
            f"{name} returned shape {out.shape} for densities of shape {rho.shape}, or NaN;"
            " return one number per density"
        )
    return out
