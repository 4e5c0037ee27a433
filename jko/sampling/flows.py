r"""Sampling by flows of the engine: Wasserstein-Fisher-Rao with an estimated density, and SVGD."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from jko.energies import KL
from jko.errors import JkoWarning, Unsupported
from jko.flows.callbacks import Event
from jko.flows.driver import flow, interrupts_passed_on
from jko.flows.trajectory import Trajectory
from jko.geometries import SphericalHellinger, Wasserstein
from jko.geometries.base import Geometry, GeometrySum
from jko.markov.density_estimate import MOST_DIM
from jko.markov.mala import Density
from jko.markov.scale import Preconditioner
from jko.measures.atoms import Particles
from jko.measures.target import LogDensity
from jko.prox.stated import figure
from jko.sampling.methods import compare_with_search
from jko.sampling.moves.ensemble import settle
from jko.sampling.moves.path import wide
from jko.sampling.task import SampleProgress, Task
from jko.solvers import BirthDeath, Kernelised, Langevin
from jko.validation import Array

#: Steps of the flow, their length, the Langevin moves of each, and how wide the start is at most.
WFR_STEPS = 60
WFR_TAU = 0.4
WFR_MOVES = 2
WFR_SPREAD = 6.0
#: Steps of SVGD and their length.
SVGD_STEPS = 300
SVGD_TAU = 0.05


def whitened(target: Density, mean: Array, root: Array) -> LogDensity:
    """The density of u, x = mean + root u, up to a constant."""

    def log_density(u: Array) -> Array:
        return target.log_density_at(mean + u @ root.T)

    def gradient(u: Array) -> Array:
        return np.asarray(target.score(mean + u @ root.T) @ root)

    return LogDensity(log_density, gradient, target.dim).trusted()  # the target was compared


def wfr(task: Task, progress: SampleProgress) -> None:
    """Langevin moves and births and deaths by an estimated density, from a wide start."""
    if task.target.dim > MOST_DIM:
        raise Unsupported(
            f"method='wfr' estimates the density of its particles, which is trustworthy in at most"
            f" {MOST_DIM} dimensions, not {task.target.dim}; use method='tempered'"
        )
    cloud, _, _ = settle(task.target, task.cloud(task.start), task.rng)
    scale = Preconditioner.of_points(cloud.x)
    first = wide(cloud.x, task.start, min(task.spread, WFR_SPREAD)).sample(task.size, task.rng)
    inside = task.target.log_density_at(first) > -np.inf
    first = first[inside] if inside.any() else cloud.x.mean(axis=0, keepdims=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", JkoWarning)
        sol = _flow(
            task,
            progress,
            (cloud.x.mean(axis=0), scale.root),
            first,
            Wasserstein() + SphericalHellinger(),
            tau=WFR_TAU,
            steps=WFR_STEPS,
            solver=(Langevin(moves=WFR_MOVES), BirthDeath()),
        )
    progress.notes += sorted({str(w.message) for w in caught[-1:]})
    last = sol.steps[-1].substeps
    progress.figures["acceptance"] = figure(last[0].info, "acceptance", np.nan)
    progress.figures["untrusted"] = figure(last[1].info, "untrusted", np.nan)
    progress.notes.append(
        "the weights of births and deaths come from a density estimate, whose error no figure here"
        " measures; method='tempered' needs none"
    )
    assert progress.points is not None
    compare_with_search(task, progress, progress.points)


def svgd(task: Task, progress: SampleProgress) -> None:
    """Stein variational gradient descent, a deterministic baseline, in whitened coordinates."""
    cloud, _, _ = settle(task.target, task.cloud(task.start), task.rng)
    where = cloud.x.mean(axis=0), Preconditioner.of_points(cloud.x).root
    solver = Kernelised(adaptive=True)
    geometry = Wasserstein()
    _flow(task, progress, where, cloud.x, geometry, tau=SVGD_TAU, steps=SVGD_STEPS, solver=solver)
    progress.notes.append(
        "SVGD is a baseline: its particles spread less than the density, the more so in many"
        " dimensions; use method='tempered' for figures"
    )
    assert progress.points is not None
    compare_with_search(task, progress, progress.points)


def _flow(
    task: Task,
    progress: SampleProgress,
    where: tuple[Array, Array],
    points: Array,
    geometry: Geometry | GeometrySum,
    **options: Any,
) -> Trajectory:
    """A flow of KL in whitened coordinates from points (m, d); `progress` follows every step."""
    mean, root = where

    def reached(event: Event) -> None:
        assert isinstance(event.measure, Particles)
        progress.points = mean + event.measure.points @ root.T

    start = Particles((points - mean) @ np.linalg.inv(root).T)
    energy = KL(whitened(task.target, mean, root))
    with interrupts_passed_on():
        return flow(
            start, energy, geometry, save="last", callbacks=reached, rng=task.rng, **options
        )
