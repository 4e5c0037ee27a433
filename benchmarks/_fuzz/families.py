"""All families of problems, and how often each is drawn."""

from __future__ import annotations

import numpy as np

from _fuzz import (
    crowds,
    densities,
    drawn,
    gaussians,
    lines,
    mixtures,
    own,
    spacings,
    transport,
    weights,
)

#: (draw, share) of every family.
FAMILIES = (
    *(
        (f.draw, f.SHARE)
        for f in (weights, lines, crowds, spacings, gaussians, transport, densities)
    ),
    (transport.draw_sources, transport.SOURCES),
)
#: Families that came later, so that the numbers of earlier problems stay theirs: by other seeds.
LATER = tuple((f.draw, f.SHARE) for f in (own, drawn, mixtures))


def draw(rng, families=FAMILIES):
    """A random problem of a random family."""
    shares = np.array([share for _, share in families])
    return families[rng.choice(len(families), p=shares / shares.sum())][0](rng)


def draw_later(rng):
    """A random problem of a later family."""
    return draw(rng, LATER)
