"""Linear extrapolation between measures that are described by the same numbers."""

from __future__ import annotations

import numpy as np

from jko.errors import InvalidMeasure, Unsupported
from jko.measures.atoms import Particles
from jko.measures.base import Discrete, Measure
from jko.measures.gaussian import Gaussian


def extrapolated(rough: Measure, fine: Measure) -> Measure:
    """2 fine - rough: in the weights of a fixed support, the positions of particles, or moments.

    On a fixed support weights that would be negative become 0 and the others share the excess, so
    that the mass is that of `fine`; that happens where the two disagree by more than half, at
    sharp fronts and far out in tails.
    """
    if isinstance(rough, Gaussian) and isinstance(fine, Gaussian):
        try:
            return Gaussian(2 * fine.mean - rough.mean, 2 * fine.cov - rough.cov, fine.mass)
        except InvalidMeasure:
            raise Unsupported(
                "extrapolation needs a covariance that is not positive; reduce tau, or use"
                " scheme='midpoint'"
            ) from None
    if isinstance(rough, Discrete) and isinstance(fine, Discrete):
        if rough.same_support(fine):
            weights = np.maximum(2 * fine.weights - rough.weights, 0.0)
            mass = 2 * fine.mass - rough.mass
            return fine.with_weights(weights * (mass / weights.sum()))
        if isinstance(fine, Particles) and np.array_equal(rough.weights, fine.weights):
            return fine.with_points(2 * fine.points - rough.points)
    raise Unsupported(
        f"scheme='richardson' cannot extrapolate a {type(fine).__name__} whose atoms and weights"
        " both change; use scheme='midpoint'"
    )
