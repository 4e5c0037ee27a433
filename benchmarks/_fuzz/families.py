"""All families of problems, and how often each is drawn."""

from __future__ import annotations

import numpy as np

from _fuzz import crowds, densities, gaussians, lines, spacings, transport, weights

#: (draw, share) of every family.
FAMILIES = (
    *(
        (f.draw, f.SHARE)
        for f in (weights, lines, crowds, spacings, gaussians, transport, densities)
    ),
    (transport.draw_sources, transport.SOURCES),
)


def draw(rng):
    """A random problem of a random family."""
    shares = np.array([share for _, share in FAMILIES])
    return FAMILIES[rng.choice(len(FAMILIES), p=shares / shares.sum())][0](rng)
