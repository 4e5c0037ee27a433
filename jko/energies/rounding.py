"""What rounding leaves undecided: the digits of an energy's value and of its gradient.

Near a minimum rounding dominates every figure that a step is judged by. These are the sizes below
which a difference of values, or a force on particles, says nothing; they scale with the units.
"""

from __future__ import annotations

import numpy as np

from jko.energies.base import Energy
from jko.energies.interaction import Interaction
from jko.energies.mmd import MMDEnergy
from jko.energies.potential import Potential
from jko.errors import InvalidMeasure
from jko.measures.base import Discrete
from jko.measures.gaussian import Gaussian
from jko.numerics.elementary import EPS
from jko.validation import Array

#: Roundings of its terms that a sum of them may be off by: a few in each kernel or user function.
VALUE_ROUNDINGS = 64.0
#: Units in the last place by which coordinates are perturbed to measure the rounding of a force.
ULPS = 4.0
#: Largest ratio of the changes under a perturbation by `ULPS` roundings and by sqrt(EPS) where the
#: force is smooth: there it is about 6e-8.
SMOOTH = 1e-4


def value_rounding(energy: Energy, mu: Discrete) -> float:
    """The difference of two values of `energy` near `mu` that rounding can hide."""
    return VALUE_ROUNDINGS * EPS * value_size(energy, mu)


def value_size(energy: Energy, mu: Discrete) -> float:
    """The sum of the absolute terms that make up the value of `energy` at `mu`."""
    return float(sum(c * term_size(term, mu) for c, term in energy.terms))


def term_size(term: Energy, mu: Discrete) -> float:
    """The sum of the absolute terms that make up the value of an elementary energy."""
    if isinstance(term, MMDEnergy):
        top, target = term.kernel.maximum, term.target
        if top is not None:
            return 0.5 * top * (mu.mass + target.mass) ** 2
        across = abs(term.kernel.inner(mu, target))
        if term.needs_fixed_mass:  # a kernel without a maximum that compares equal masses
            return 2 * across
        inside = abs(term.kernel.inner(mu, mu)) + abs(term.kernel.inner(target, target))
        return 0.5 * inside + across
    if isinstance(term, Potential):
        values = term.values(mu)
        return float(mu.weights @ np.where(np.isfinite(values), np.abs(values), 0.0))
    if isinstance(term, Interaction):
        return 0.5 * float(mu.weights @ np.abs(term.kernel.embed(mu, mu.points)))
    return abs(term.value(mu))


def position_rounding(mu: Discrete) -> float:
    """Root of int |u|^2 dmu for a rounding u of the points: `ULPS` units in the last place."""
    return ULPS * EPS * mean_size(mu.weights, mu.points)


def force_rounding(energy: Energy, mu: Discrete) -> float:
    """Root of int |error of grad f|^2 dmu: the change of grad f when the points are rounded anew.

    A coordinate counts as large as itself, the usual one along its axis and that of a target,
    since sums over a target cancel at the size of their terms. Across a kink the change does not
    fall with the perturbation: only `SMOOTH` of that under a much wider one is forgiven.
    """
    way = (np.abs(mu.points) + usual_size(energy, mu)) * _signs(mu.points.shape)
    try:
        with np.errstate(all="ignore"):
            here, fine, wide = (
                energy.wasserstein_gradient(mu.with_points(mu.points + t * way))
                for t in (0.0, ULPS * EPS, np.sqrt(EPS))
            )
    except InvalidMeasure:
        return 0.0  # the points touch the edge of the domain: nothing is forgiven there
    changes = mean_size(mu.weights, fine - here), mean_size(mu.weights, wide - here)
    out = min(changes[0], SMOOTH * changes[1])
    return out if np.isfinite(out) else 0.0


def usual_size(energy: Energy, mu: Discrete) -> Array:
    """The usual absolute coordinate (d,) of the atoms and of the targets of `energy`, by axis."""
    size = np.median(np.abs(mu.points), axis=0)
    for _, term in energy.terms:
        target = getattr(term, "target", None)
        if isinstance(target, Discrete):
            size = size + np.median(np.abs(target.points), axis=0)
        elif isinstance(target, Gaussian):
            size = size + np.abs(target.mean) + np.sqrt(np.diag(target.cov))
    return np.asarray(size)


def mean_size(weights: Array, v: Array) -> float:
    """Root of int |v|^2 dmu of a field (n, d), without overflow or underflow of the squares."""
    top = float(np.max(np.abs(v), initial=0.0))
    if top == 0 or not np.isfinite(top):
        return top
    unit = v / top
    return top * float(np.sqrt(weights @ np.einsum("ij,ij->i", unit, unit)))


def _signs(shape: tuple[int, ...]) -> Array:
    """+-1 without a pattern that sums could cancel, the same in every run."""
    count = np.arange(1, int(np.prod(shape)) + 1)
    return np.where(np.sin(count**2 * 0.7390851332) >= 0, 1.0, -1.0).reshape(shape)
