"""Weighted particles, fewer or evener: resampling, recombination, and how much is a copy.

Flows change weights, and weights concentrate. `mu.ess` and the `ess` of every step record say how
far; these functions act on it between steps.
"""

from __future__ import annotations

import numpy as np

from jko.errors import InvalidArgument
from jko.kernels import Kernel, pivoted_cholesky
from jko.measures.atoms import Particles
from jko.measures.base import Discrete
from jko.numerics.recombination import kernel_features
from jko.numerics.recombination import recombine as eliminate
from jko.threads import limited
from jko.validation import Array, Seed, instance, one_of, positive_int, rng_of

#: Eigenfunctions kept per atom of the budget.
FEATURES_PER_ATOM = 0.9


def resample(
    mu: Particles, n: int | None = None, *, method: str = "systematic", rng: Seed = None
) -> Particles:
    """Equal weights again: heavy particles are doubled, light ones dropped.

    Parameters
    ----------
    mu : Particles
    n : int, optional
        How many particles to draw; as many as there are by default.
    method : {"systematic", "multinomial"}
        "systematic": one random shift for all; particle i is drawn floor or ceil of n w_i/m times.
        "multinomial": independent draws, with more noise.
    rng : seed or numpy Generator, optional

    Returns
    -------
    Particles
        n particles of equal weight and the same mass. The expected measure is `mu`; the squared
        MMD to it is of order 1/n, which a deterministic flow had to spend steps on.
    """
    instance(mu, Particles, "mu", "pass jko.Particles")
    one_of(method, ("systematic", "multinomial"), "method")
    count = mu.n if n is None else positive_int(n, "n")
    generator = rng_of(rng)
    if method == "systematic":
        levels = (generator.random() + np.arange(count)) / count
    else:
        levels = np.sort(generator.random(count))
    cumulative = np.cumsum(mu.weights)
    index = np.searchsorted(cumulative, levels * cumulative[-1], side="right")
    index = np.minimum(index, np.flatnonzero(mu.weights)[-1])
    return Particles(mu.points[index], np.full(count, mu.mass / count))


def recombine(mu: Particles, budget: int, kernel: Kernel) -> Particles:
    """At most `budget` of the particles, reweighted so that the kernel hardly sees it.

    The mass and the leading kernel eigenfunctions are kept exactly, weights stay positive
    (Caratheodory). Nothing random.

    Parameters
    ----------
    mu : Particles
    budget : int
        At least 2.
    kernel : Kernel
        Positive definite; the eigenfunctions are those of its Gram matrix on `mu`.

    Returns
    -------
    Particles

    References
    ----------
    Litterer and Lyons (2012); Hayakawa et al. (2022).
    """
    instance(mu, Particles, "mu", "pass jko.Particles")
    instance(kernel, Kernel, "kernel", "pass a kernel such as jko.kernels.Gaussian(bandwidth=1.0)")
    if positive_int(budget, "budget") < 2:
        raise InvalidArgument("budget = 1 keeps no function besides the mass; pass 2 or more")
    live = np.flatnonzero(mu.weights)
    points, weights = mu.points[live], mu.weights[live]
    if len(live) <= budget:
        return Particles(points, weights)
    with limited():
        factor = pivoted_cholesky(
            kernel.positive_about(points), points, 1e-14, max_rank=4 * budget
        ).factor
        count = max(1, min(budget - 1, int(FEATURES_PER_ATOM * budget)))
        found = eliminate(weights, kernel_features(factor, weights, count), budget)
    return Particles(points[found.indices], found.weights * (mu.mass / found.weights.sum()))


def copied_mass(mu: Discrete, target: Discrete) -> float:
    """Fraction of the mass of `mu` that sits exactly on atoms of `target`.

    1 for a flow that has become its data: with union support the fraction that has entered is
    1 - (1 + eta)^-k after k steps, whatever the particles do afterwards.
    """
    for name, value in (("mu", mu), ("target", target)):
        instance(value, Discrete, name, "pass a measure made of atoms, such as jko.Particles")
    charged = target.points[target.weights > 0]
    known = {row.tobytes() for row in np.ascontiguousarray(charged + 0.0)}
    rows = np.ascontiguousarray(mu.points + 0.0)
    on = np.array([row.tobytes() in known for row in rows])
    return float(mu.weights[on].sum()) / mu.mass


def nearest_distances(mu: Discrete, target: Discrete) -> Array:
    """Distance (n,) of each atom of `mu` to the nearest charged atom of `target`."""
    from scipy.spatial import cKDTree

    charged = target.points[target.weights > 0]
    return np.asarray(cKDTree(charged).query(mu.points)[0])
