r"""Sampling by flows of the engine: Wasserstein-Fisher-Rao with an estimated density, and SVGD."""

from __future__ import annotations

import warnings

import numpy as np

from jko.energies import KL
from jko.errors import JkoWarning, Unsupported
from jko.flow import flow
from jko.geometries import SphericalHellinger, Wasserstein
from jko.measures.atoms import Particles
from jko.measures.target import LogDensity
from jko.sampling.ensemble import settle
from jko.sampling.methods import compare_with_search, scale_of
from jko.sampling.path import wide
from jko.sampling.task import Progress, Task
from jko.solvers.birth_death import BirthDeath
from jko.solvers.density_estimate import MOST_DIM
from jko.solvers.langevin import Langevin
from jko.solvers.mala import Density
from jko.validation import Array

#: Steps of the flow, their length, the Langevin moves of each, and how wide the start is at most.
WFR_STEPS, WFR_TAU, WFR_MOVES, WFR_SPREAD = 60, 0.4, 2, 6.0
#: Steps of SVGD.
SVGD_STEPS = 300


def whitened(target: Density, mean: Array, root: Array) -> LogDensity:
    """The density of u, x = mean + root u, up to a constant."""

    def log_density(u: Array) -> Array:
        return target.log_density_at(mean + u @ root.T)

    def gradient(u: Array) -> Array:
        return np.asarray(target.score(mean + u @ root.T) @ root)

    return LogDensity(log_density, gradient, target.dim)


def wfr(task: Task, progress: Progress) -> None:
    """Langevin moves and births and deaths by an estimated density, from a wide start."""
    if task.target.dim > MOST_DIM:
        raise Unsupported(
            f"method='wfr' estimates the density of its particles, which is trustworthy in at most"
            f" {MOST_DIM} dimensions, not {task.target.dim}; use method='tempered'"
        )
    cloud, _, _ = settle(task.target, task.cloud(task.start), task.rng)
    mean, root = scale_of(cloud.x)
    first = wide(cloud.x, task.start, min(task.spread, WFR_SPREAD)).sample(task.size, task.rng)
    start = Particles((first - mean) @ np.linalg.inv(root).T)
    inside = task.target.log_density_at(mean + start.points @ root.T) > -np.inf
    start = Particles(start.points[inside]) if inside.any() else Particles(np.zeros((1, len(mean))))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", JkoWarning)
        sol = flow(
            start,
            KL(whitened(task.target, mean, root)),
            Wasserstein() + SphericalHellinger(),
            tau=WFR_TAU,
            steps=WFR_STEPS,
            save="last",
            solver=(Langevin(moves=WFR_MOVES), BirthDeath()),
            rng=task.rng,
        )
    progress.notes += sorted({str(w.message) for w in caught[-1:]})
    assert isinstance(sol.final, Particles)
    progress.points = mean + sol.final.points @ root.T
    last = sol.steps[-1].substeps
    progress.figures["acceptance"] = float(last[0].info["acceptance"])
    progress.figures["untrusted"] = float(last[1].info["untrusted"])
    progress.notes.append(
        "the weights of births and deaths come from a density estimate, whose error no figure here"
        " measures; method='tempered' needs none"
    )
    compare_with_search(task, progress, progress.points)


def svgd(task: Task, progress: Progress) -> None:
    r"""Stein variational gradient descent, a deterministic baseline.

    x_i += h (1/n) sum_j [k(x_j, x_i) grad log pi(x_j) + grad_1 k(x_j, x_i)] in whitened
    coordinates, Gaussian kernel of median bandwidth, steps scaled as in Adagrad.
    """
    cloud, _, _ = settle(task.target, task.cloud(task.start), task.rng)
    mean, root = scale_of(cloud.x)
    target = whitened(task.target, mean, root)
    u = (cloud.x - mean) @ np.linalg.inv(root).T
    history = np.zeros_like(u)
    for k in range(SVGD_STEPS):
        force = _stein_force(u, target.score(u))
        history = force**2 if k == 0 else 0.9 * history + 0.1 * force**2
        u = u + 0.05 * force / (1e-6 + np.sqrt(history))
        progress.points = mean + u @ root.T
    progress.notes.append(
        "SVGD is a baseline: its particles spread less than the density, the more so in many"
        " dimensions; use method='tempered' for figures"
    )
    assert progress.points is not None
    compare_with_search(task, progress, progress.points)


def _stein_force(u: Array, score: Array) -> Array:
    n = len(u)
    square = np.maximum((u**2).sum(1)[:, None] + (u**2).sum(1) - 2 * u @ u.T, 0.0)
    width = max(float(np.median(square[:: max(1, n // 100)])) / np.log(n + 1.0), 1e-12)
    kernel = np.exp(-square / width)
    repulsion = 2 / width * (u * kernel.sum(axis=1)[:, None] - kernel @ u)
    return np.asarray((kernel @ score + repulsion) / n)
