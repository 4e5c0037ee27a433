"""Who answers a theta with a worst case, and coordinates in which samples have size one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from jko.validation import Array

if TYPE_CHECKING:
    from jko.dro.features import MovedSamples
    from jko.dro.result import WorstCase
    from jko.dro.scenarios import Scenario


class Attack(NamedTuple):
    """The worst case at a theta: the value of the supremum, and the measure as a smooth loss."""

    value: float
    gradient: Array
    scenario: Scenario
    gap: float
    report: WorstCase | MovedSamples


class Adversary(Protocol):
    """Answers every theta with a worst case."""

    def __call__(self, theta: Array) -> Attack: ...


def centre(x: Array, weights: Array, intercept: bool) -> tuple[Array, float]:
    """The mean of the samples, 0 without an intercept to take it, and their size about it."""
    middle = weights @ x if intercept else np.zeros(x.shape[1])
    return middle, float(np.sqrt(weights @ ((x - middle) ** 2).sum(axis=1))) or 1.0


def frame_of(x: Array, weights: Array, intercept: bool) -> Array:
    """theta of the samples (p, p) from theta' of samples about 0 of size 1."""
    middle, size = centre(x, weights, intercept)
    out = np.eye(x.shape[1] + intercept)
    out[: x.shape[1], : x.shape[1]] /= size
    if intercept:
        out[-1, :-1] = -middle / size
    return out


@dataclass(frozen=True, eq=False)
class Framed:
    """An adversary that is asked in other coordinates."""

    inner: Adversary
    frame: Array

    def __call__(self, theta: Array) -> Attack:
        found = self.inner(self.frame @ theta)
        scenario = found.scenario.framed(self.frame)
        return found._replace(gradient=found.gradient @ self.frame, scenario=scenario)
