"""All families of problems, and how often each is drawn."""

from __future__ import annotations

import numpy as np

from _fuzz import crowds, densities, gaussians, lines, spacings, transport, weights

FAMILIES = (weights, lines, crowds, spacings, gaussians, transport, densities)


def draw(rng):
    """A random problem of a random family."""
    shares = np.array([family.SHARE for family in FAMILIES])
    return FAMILIES[rng.choice(len(FAMILIES), p=shares / shares.sum())].draw(rng)
