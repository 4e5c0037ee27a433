"""The figure of an energy that results and trajectories keep."""

from __future__ import annotations

import numpy as np

from jko.energies.base import Energy
from jko.energies.divergence import KL, PhiDivergence
from jko.errors import Unsupported
from jko.measures.atoms import Particles
from jko.measures.base import Measure
from jko.measures.target import DENSITIES


def recorded(energy: Energy, mu: Measure) -> float:
    """F(mu); of KL from atoms to a density the part that atoms see, -int log pi dmu.

    KL(mu|pi) is infinite for every cloud of atoms: the entropy of its law is not a function of the
    atoms. The cross-entropy is; along a Langevin flow it settles, it need not decrease.
    """
    return float(sum(c * _recorded(term, mu) for c, term in energy.terms))


def _recorded(term: Energy, mu: Measure) -> float:
    if isinstance(term, PhiDivergence) and term.p <= 0 and isinstance(mu, Particles):
        return _covered(term, mu)
    if not isinstance(term, KL) or not isinstance(mu, Particles):
        return term.value(mu)
    target = term.target
    if not isinstance(target, DENSITIES):
        return term.value(mu)
    charged = mu.weights > 0
    log_p = np.asarray(target.log_density_at(mu.points[charged]))
    return -float(mu.weights[charged] @ log_p)


def _covered(term: PhiDivergence, mu: Particles) -> float:
    """The value where the particles charge the target's atoms, else +inf: no step can be taken
    there but by what needs no value (`jko.geometries.KernelFisherRao`)."""
    try:
        return term.value(mu)
    except Unsupported:
        return np.inf


def density_target(energy: Energy) -> tuple[float, object] | None:
    """(c, pi) when the energy is c KL(. | pi) to a density, else None."""
    terms = energy.terms
    if len(terms) != 1:
        return None
    c, term = terms[0]
    target = term.target if isinstance(term, KL) else None
    return (c, target) if isinstance(target, DENSITIES) else None
