"""The size of an energy's terms: what tolerances and rounding are relative to."""

from __future__ import annotations

from typing import NamedTuple

#: How many times as large as after a step, penalty included, the terms of its energy before it
#: count at most: a target of next to no weight makes a chi-square of 1e286 of some measures, which
#: says nothing about the measures near the answer. Steps to a steady state in smooth energies stay
#: within 10.
REACH = 1e3


class Sizes(NamedTuple):
    """The sizes of the terms of an energy at a measure.

    Attributes
    ----------
    slopes : float
        Of all that is linear, logarithms included: its spread where the mass is fixed.
    rest : float
        Of powers and kernels.
    raw : float
        Of all terms, with constants that no step can change.
    level : float
        The integral of the slopes, with its sign, up to a constant where the mass is fixed.
    """

    slopes: float
    rest: float
    raw: float
    level: float = 0.0

    @property
    def size(self) -> float:
        """Without what no step can change."""
        return self.slopes + self.rest


def joint(here: Sizes, before: Sizes, moved: float) -> tuple[float, float]:
    """Size and raw size of an energy over a step, from those at both ends and the penalty's.

    The larger end counts, since the terms of a long step may vanish at its end; powers that were
    huge before it count up to `REACH` times what is left, slopes as they were. The linear part
    counts with its change too: it has no spread at measures on one atom.
    """
    slopes = max(before.slopes, abs(here.level - before.level))
    left, raw = here.size + slopes + moved, here.raw + slopes + moved
    size = max(here.size, slopes, min(before.size, REACH * left))
    return size, max(here.raw, min(before.raw, REACH * raw))
