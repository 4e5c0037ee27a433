"""What relaxed marginals of `jko.transport` pay: weights and divergences as users write them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jko.errors import InvalidArgument
from jko.validation import brief, one_of, positive

#: What `relax=` takes: the weight of both marginals, or one each.
Relax = float | Sequence[float | None] | None


def weights_of(relax: Relax) -> tuple[float, float]:
    """The two divergences' weights; inf for a marginal that is met."""
    pair = relax if isinstance(relax, (tuple, list)) else (relax, relax)
    if len(pair) != 2:
        raise InvalidArgument(
            f"relax = {brief(relax)} has {len(pair)} entries; pass None, a weight, or a pair such"
            " as (1.0, None)"
        )
    remedy = "a marginal is relaxed with a positive weight, or met exactly with None"
    first, second = (np.inf if w is None else positive(w, "relax", remedy) for w in pair)
    return float(first), float(second)


def hellinger_of(divergence: str | Sequence[str]) -> tuple[bool, bool]:
    """Which of the two divergences are Hellinger's."""
    pair = [divergence] * 2 if isinstance(divergence, str) else list(divergence)
    if len(pair) != 2:
        raise InvalidArgument(
            f"divergence = {brief(divergence)} has {len(pair)} entries; pass 'kl', 'hellinger', or"
            " one for each marginal"
        )
    for name in pair:
        one_of(name, ("kl", "hellinger"), "divergence")
    return pair[0] == "hellinger", pair[1] == "hellinger"
