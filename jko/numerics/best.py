"""What iterations keep count of: the best so far, and how long nothing has been better."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def best_of(
    tries: Iterable[T], figure: Callable[[T], float], enough: Callable[[T], bool]
) -> T | None:
    """The first of several tries that is good enough, else the one of the least figure.

    Tries are made one by one: none after one that is good enough. None where there are none; of
    equal ones the first is kept.
    """
    best: T | None = None
    for found in tries:
        if best is None or figure(found) < figure(best):
            best = found
        if enough(best):
            break
    return best


@dataclass
class Halving:
    """How many times in a row a figure was seen that is not below half of a mark.

    Attributes
    ----------
    mark : float
        The figure when it was last halved.
    stale : int
    """

    mark: float = np.inf
    stale: int = 0

    def seen(self, figure: float) -> int:
        """Count a figure; the number of those in a row that were not halved."""
        if figure < 0.5 * self.mark:
            self.mark, self.stale = figure, 0
        else:
            self.stale += 1
        return self.stale
