r"""An ensemble of chains that learns its scale from itself."""

from __future__ import annotations

import numpy as np

from jko.errors import InvalidMeasure
from jko.markov.hamiltonian import Frames, Hamiltonian
from jko.markov.mala import Cloud, Density, Outcome
from jko.markov.scale import Preconditioner, Tuner, clip_of
from jko.validation import Array


def sweep(
    target: Density,
    cloud: Cloud,
    scale: Preconditioner | Frames,
    tuner: Tuner,
    rng: np.random.Generator,
    *,
    steps: int = 1,
) -> Outcome:
    """One move of every chain, of so many leapfrog steps; the step length learns from it."""
    frames = scale if isinstance(scale, Frames) else Frames(scale.root[None])
    kernel = Hamiltonian(tuner.h, frames, steps, clip_of(cloud.x.shape[1]))
    move = kernel.move(target, cloud, rng)
    tuner.learn(move)
    return move


def settle(
    target: Density, cloud: Cloud, rng: np.random.Generator, *, least: int = 2, most: int = 12
) -> tuple[Cloud, Preconditioner, Tuner]:
    """Move an ensemble until its mean and spread stop changing: rounds of 40 adapted moves.

    Raises
    ------
    InvalidMeasure
        Mean or spread still grow after the last round: the target is improper, or the start is
        absurdly far from its mass.
    """
    scale, tuner = Preconditioner.of_points(cloud.x), Tuner.fresh(cloud.x.shape[1])
    mean, spread = cloud.x.mean(axis=0), cloud.x.std(axis=0)
    for k in range(most):
        for i in range(40):
            cloud = sweep(target, cloud, scale, tuner, rng).after
            if i % 8 == 7:
                scale = Preconditioner.of_points(_within_range(cloud.x))
        now, size = cloud.x.mean(axis=0), cloud.x.std(axis=0)
        tiny = 1e-12 * (1 + np.abs(now))
        growth = np.max((size + tiny) / (spread + tiny))
        shift = np.max(np.abs(now - mean) / (size + tiny))
        mean, spread = now, size
        if k + 1 >= least and growth < 1.5 and shift < 1.0:
            return cloud, scale, tuner
    raise _runs_away(spread)


def _within_range(x: Array) -> Array:
    if np.abs(x).max() > 1e100:
        raise _runs_away(np.abs(x).max(axis=0))
    return x


def _runs_away(spread: Array) -> InvalidMeasure:
    j = int(np.argmax(spread))
    return InvalidMeasure(
        f"log_density looks improper: the particles run away (coordinate {j} has spread"
        f" {spread[j]:.3g} and still grows); give it finite mass, for instance by a prior, or pass"
        " start= closer to where its mass is"
    )
