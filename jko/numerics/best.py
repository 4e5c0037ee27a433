"""What iterations keep count of: the best so far, and how long nothing has been better.

A loop that keeps its best answer by one figure keeps a `Best`; a few tries in turn are a `best_of`.
Three loops are other things: the interior point of `jko.solvers.weights.predictor_corrector` orders
its iterates by gap and value, forgets them when the model is corrected, and counts progress of
either; `jko.solvers.successive` keeps a model, not the least figure; the splitting of
`jko.solvers.dynamic` keeps its two bounds each for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

T = TypeVar("T")


@dataclass
class Best(Generic[T]):
    """What has had the least figure so far; of equal ones the first.

    Attributes
    ----------
    figure : float
    found : T or None
        None before anything was offered.
    """

    figure: float = np.inf
    found: T | None = None

    def offer(self, figure: float, found: T) -> bool:
        """Keep what is better than all before it; whether it was kept.

        The first is kept in any case, and one whose figure is NaN until another comes.
        """
        better = self.found is None or figure < self.figure or np.isnan(self.figure)
        if better:
            self.figure, self.found = figure, found
        return bool(better)


def best_of(
    tries: Iterable[T], figure: Callable[[T], float], enough: Callable[[T], bool]
) -> T | None:
    """The first of several tries that is good enough, else the one of the least figure.

    Tries are made one by one: none after one that is good enough. None where there are none; of
    equal ones the first is kept.
    """
    best: Best[T] = Best()
    for found in tries:
        best.offer(figure(found), found)
        if best.found is not None and enough(best.found):
            break
    return best.found


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
