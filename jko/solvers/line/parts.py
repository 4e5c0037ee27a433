"""The terms of an energy, by what they are to sorted particles on the line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.energies.base import Energy
from jko.energies.interaction import Interaction, PowerLaw
from jko.energies.internal import BoxConstraint, Internal
from jko.energies.mmd import MMDEnergy
from jko.energies.potential import Potential
from jko.kernels import Energy as EnergyKernel
from jko.kernels.algebra import Scaled
from jko.measures.atoms import Particles
from jko.measures.base import Discrete


@dataclass(frozen=True, eq=False)
class Parts:
    """The terms of an energy, by what they are to sorted particles.

    Attributes
    ----------
    internal : pairs (c, energy)
        Functions of the spacings.
    ceiling : float
        Least bound on the density, +inf without one.
    rank : float
        a in the linear term -a sum_i w_i (W_{<i} - W_{>i}) x_i: what |x - y| of two particles is.
    knots : pairs (c, target)
        c int |x - y| dtarget(y): a potential with kinks.
    potentials, smooth : pairs (c, energy)
        Potentials with a gradient; energies that only move particles by their gradient.
    convex : bool
        Whether `smooth` is convex; of the potentials only a user can tell.
    """

    internal: tuple[tuple[float, Internal], ...]
    ceiling: float
    rank: float
    knots: tuple[tuple[float, Discrete], ...]
    potentials: tuple[tuple[float, Potential], ...]
    smooth: tuple[tuple[float, Energy], ...]
    convex: bool

    @classmethod
    def of(cls, energy: Energy) -> Parts:
        """Sort the terms of an energy; `Unsupported` names one that has no place here."""
        internal, knots, potentials, smooth = [], [], [], []
        ceiling, rank, convex = np.inf, 0.0, True
        for c, term in energy.terms:
            slope = kink(term)
            if isinstance(term, BoxConstraint):
                ceiling = min(ceiling, term.bound)
            elif isinstance(term, Internal):
                internal.append((c, term))
            elif isinstance(term, Potential):
                potentials.append((c, term))
            elif slope is not None:
                rank -= c * slope
                if isinstance(term, MMDEnergy):
                    knots.append((-c * slope, term.target))
            else:
                smooth.append((c, term))
                convex = convex and _convex(term)
        lists = (tuple(internal), ceiling, rank, tuple(knots), tuple(potentials), tuple(smooth))
        return cls(*lists, convex)  # type: ignore[arg-type]

    @property
    def coupled(self) -> bool:
        """Whether neighbours feel each other through their spacing."""
        return bool(self.internal) or np.isfinite(self.ceiling)


def kink(term: Energy) -> float | None:
    """a for an energy whose particles interact by a |x - y| (pairs counted once), else None."""
    kernel = getattr(term, "kernel", None)
    factor = 1.0
    if isinstance(kernel, Scaled):
        factor, kernel = kernel.factor, kernel.kernel
    if isinstance(term, MMDEnergy) and isinstance(kernel, EnergyKernel) and kernel.exponent == 1:
        return -factor if isinstance(term.target, Discrete) else None
    if isinstance(term, Interaction) and isinstance(kernel, PowerLaw) and kernel.a == 1:
        return kernel.sign * factor
    return None


def _convex(term: Energy) -> bool:
    kernel = getattr(term, "kernel", None)
    return isinstance(kernel, PowerLaw) and kernel.a > 1 and kernel.sign > 0


def check_terms(energy: Energy, parts: Parts, mu: Particles) -> None:
    """`Unsupported`, with its sentence, from a term that cannot move these particles."""
    moving: list[tuple[float, Energy]] = [*parts.potentials, *parts.smooth]
    for _, term in moving:
        term.wasserstein_gradient(mu)
    for _, term in energy.terms:
        if isinstance(term, Internal):
            term.wasserstein_gradient(mu)
        if isinstance(term, MMDEnergy):
            term.check_restriction(mu)
