"""Sliced Wasserstein distances: the mean over directions of those on lines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.errors import InvalidArgument, Unsupported
from jko.geometries.base import check_masses, check_pair
from jko.geometries.wasserstein import Wasserstein
from jko.measures.base import Discrete, Measure
from jko.measures.grid import not_straight
from jko.numerics.exact_transport import quantile_plan
from jko.validation import Array, Seed, instance, positive_int, real, rng_of

#: Directions when none are asked for: equispaced in the plane, random beyond it.
DIRECTIONS = 200


@dataclass(frozen=True, repr=False)
class Sliced:
    """What `jko.sliced_wasserstein` found.

    Attributes
    ----------
    value : float
        SW_p, the p-th root of the mean of W_p^p over the directions.
    error : float
        Of `value`: in the plane its change against half the directions, beyond it the standard
        error of the mean; 0 on the line.
    directions : int
    """

    value: float
    error: float
    directions: int

    def __repr__(self) -> str:
        return f"Sliced({self.value:.9g} +- {self.error:.1e}, {self.directions} directions)"


def sliced_wasserstein(
    a: Measure,
    b: Measure,
    p: float = 2.0,
    *,
    directions: int = DIRECTIONS,
    rng: Seed = None,
) -> Sliced:
    r"""SW_p^p(a, b) = mean over unit vectors u of W_p^p between the projections on u.

    Parameters
    ----------
    a, b : GridDensity, Histogram or Particles
        Of one mass.
    p : float >= 1
    directions : int
        Equispaced in the plane, where the mean converges fast; drawn uniformly beyond it.
    rng : seed or numpy Generator, optional

    Returns
    -------
    Sliced
        With `.value` and `.error`.

    Notes
    -----
    O(directions (n + m) log(n + m)). Rabin et al. (2012); Bonneel et al. (2015).

    Examples
    --------
    >>> import jko
    >>> a = jko.Particles([[0.0, 0.0]])
    >>> b = jko.Particles([[3.0, 4.0]])
    >>> round(jko.sliced_wasserstein(a, b).value, 9)  # 5 / sqrt(2), a direction's mean square
    3.535533906
    """
    check_pair(a, b)
    remedy = "sample it into jko.Particles, or put it on a jko.GridDensity"
    a, b = instance(a, Discrete, "a", remedy), instance(b, Discrete, "b", remedy)
    power = real(p, "p")
    if power < 1:
        raise InvalidArgument(f"p = {power:g} is below 1, where W_p is no distance; pass p >= 1")
    check_masses(a, b, Wasserstein(p=power))
    why = not_straight(a, b)
    if why is not None:
        raise Unsupported(why)
    count = positive_int(directions, "directions")
    ways = _directions(a.dim, count, rng_of(rng))
    i, j = a.weights > 0, b.weights > 0
    wa, wb = a.weights[i], b.weights[j]
    # About a common point and in a unit of their own, projections keep their digits and powers
    # stay in range.
    x, y = a.points[i], b.points[j]
    origin = x[0]
    x, y = x - origin, y - origin
    unit = float(max(np.abs(x).max(), np.abs(y).max())) or 1.0
    lengths = [_lengths(x / unit @ u, y / unit @ u, wa, wb) for u in ways]
    longest = max(float(way.max()) for way, _ in lengths) or 1.0
    costs = np.array([share @ (way / longest) ** power for way, share in lengths])
    value, error = float(costs.mean() ** (1 / power)), _error(costs, a.dim, power)
    return Sliced(unit * longest * value, unit * longest * error, len(ways))


def _directions(dim: int, count: int, rng: np.random.Generator) -> Array:
    """Unit vectors (k, d)."""
    if dim == 1:
        return np.ones((1, 1))
    if dim == 2:
        angle = np.pi * np.arange(count) / count
        return np.column_stack([np.cos(angle), np.sin(angle)])
    drawn = rng.normal(size=(count, dim))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))


def _lengths(x: Array, y: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """Ways of the optimal plan between points (n,), (m,) on a line, and their masses."""
    left, right, share = quantile_plan(x, a, y, b)
    return np.abs(x[left] - y[right]), share


def _error(costs: Array, dim: int, p: float) -> float:
    if costs.size < 2:
        return 0.0
    mean = float(costs.mean())
    if mean <= 0:
        return 0.0
    half = float(costs[::2].mean())
    off = abs(mean - half) if dim == 2 else float(costs.std(ddof=1)) / np.sqrt(costs.size)
    return float(mean ** (1 / p) * off / (p * mean))
