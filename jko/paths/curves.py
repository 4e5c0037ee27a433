"""Curves of measures with their tangents (velocity, rate), one small class per kind."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from jko.errors import InvalidArgument
from jko.geometries.bures import bures_map
from jko.measures.atoms import Particles
from jko.measures.base import Discrete, Measure
from jko.measures.gaussian import Gaussian
from jko.measures.grid import Grid, GridDensity
from jko.validation import Array, points_array


class Curve(ABC):
    """A curve mu_t, 0 <= t <= 1, with d_t mu + div(mu v) = mu xi."""

    @abstractmethod
    def at(self, t: float) -> Measure:
        """The measure at time t."""

    def velocity(self, t: float, points: Array | None) -> Array:
        """v (n, d) at the atoms of the measure at time t."""
        mu = self.at(t)
        assert isinstance(mu, Discrete)
        return np.zeros((mu.n, mu.dim))

    def rate(self, t: float) -> Array:
        """xi (n,) at the atoms."""
        mu = self.at(t)
        return np.zeros(mu.n if isinstance(mu, Discrete) else 1)

    def as_tree(self) -> dict[str, object]:
        """The fields, for files."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        return {"kind": type(self).__name__, **fields}

    @classmethod
    def from_tree(cls, tree: Mapping[str, object]) -> Self:
        """The inverse of `as_tree`."""
        return cls(**{k: v for k, v in tree.items() if k != "kind"})


@dataclass(frozen=True, eq=False)
class GridCurve(Curve):
    """Cell masses (N + 1, n) at equal times; fluxes (d, N, n) through the face behind every cell.

    Fluxes and sources are masses per time: sum over faces and `sources` (N, n) change the cells.
    """

    grid: Grid | GridDensity
    weights: Array
    fluxes: Array
    sources: Array | None
    duration: float

    @property
    def _cells(self) -> Grid:
        return self.grid.grid if isinstance(self.grid, GridDensity) else self.grid

    def _where(self, t: float) -> tuple[int, float]:
        slices = len(self.weights) - 1
        k = min(int(t / self.duration * slices), slices - 1)
        return k, t / self.duration * slices - k

    def _mean(self, t: float) -> tuple[int, Array]:
        k, _ = self._where(t)
        return k, 0.5 * (self.weights[k] + self.weights[k + 1])

    def at(self, t: float) -> GridDensity:
        """Linear in time between the nodes, as the continuity equation has it."""
        k, s = self._where(t)
        return GridDensity(self._cells, (1 - s) * self.weights[k] + s * self.weights[k + 1])

    def velocity(self, t: float, points: Array | None = None) -> Array:
        """Mean of the fluxes through both faces of a cell over its mass; 0 in empty cells."""
        k, mass = self._mean(t)
        grid = self._cells
        out = np.zeros((grid.size, grid.dim))
        for axis, h in enumerate(grid.spacing):
            ahead = self.fluxes[axis][k].reshape(grid.shape)
            out[:, axis] = (0.5 * h * (ahead + np.roll(ahead, 1, axis))).ravel()
        filled = mass[:, None] > 0
        return np.where(filled, out / np.where(filled, mass[:, None], 1.0), 0.0)

    def rate(self, t: float) -> Array:
        k, mass = self._mean(t)
        if self.sources is None:
            return np.zeros(mass.size)
        return np.where(mass > 0, self.sources[k] / np.where(mass > 0, mass, 1.0), 0.0)

    def as_tree(self) -> dict[str, object]:
        # A measure carries its grid into a file.
        return {**super().as_tree(), "grid": GridDensity(self._cells, self.weights[0])}


@dataclass(frozen=True, eq=False)
class LineCurve(Curve):
    """Particles of fixed weights (n,) that move straight from `start` to `end` (n, d)."""

    start: Array
    end: Array
    weights: Array

    def at(self, t: float) -> Particles:
        return Particles((1 - t) * self.start + t * self.end, self.weights)

    def velocity(self, t: float, points: Array | None = None) -> Array:
        return self.end - self.start


@dataclass(frozen=True, eq=False)
class ConeCurve(Curve):
    """Particles along cone geodesics (formula U1): masses and places change together.

    Roots of the masses are radii and `angle` (n,) the angle between the two ends; the place goes
    from `start` to `end` (n, d) in proportion to the angle.
    """

    start: Array
    end: Array
    before: Array
    after: Array
    angle: Array

    def _plane(self, t: float) -> tuple[Array, Array, Array, Array]:
        """Coordinates in the plane of the cone, and their derivatives in time."""
        a, b = np.sqrt(self.before), np.sqrt(self.after)
        x = (1 - t) * a + t * b * np.cos(self.angle)
        y = t * b * np.sin(self.angle)
        return x, y, b * np.cos(self.angle) - a, b * np.sin(self.angle)

    def _charged(self, t: float) -> Array:
        x, y, *_ = self._plane(t)
        return np.asarray(x**2 + y**2 > 0)

    def _share(self, angle: Array) -> Array:
        """Part of the way that belongs to an angle."""
        return np.divide(angle, self.angle, out=np.zeros_like(angle), where=self.angle > 0)

    def at(self, t: float) -> Particles:
        x, y, *_ = self._plane(t)
        points = self.start + self._share(np.arctan2(y, x))[:, None] * (self.end - self.start)
        keep = self._charged(t)
        return Particles(points[keep], (x**2 + y**2)[keep])

    def velocity(self, t: float, points: Array | None = None) -> Array:
        x, y, dx, dy = self._plane(t)
        with np.errstate(divide="ignore", invalid="ignore"):
            turning = (x * dy - y * dx) / (x**2 + y**2)
        out = self._share(turning)[:, None] * (self.end - self.start)
        return np.asarray(out[self._charged(t)])

    def rate(self, t: float) -> Array:
        x, y, dx, dy = self._plane(t)
        with np.errstate(divide="ignore", invalid="ignore"):
            xi = 2 * (x * dx + y * dy) / (x**2 + y**2)
        return np.asarray(xi[self._charged(t)])


@dataclass(frozen=True, eq=False)
class AffineCurve(Curve):
    """Gaussians moved by affine maps: the Bures geodesic from `a` to `b`."""

    a: Gaussian
    b: Gaussian

    def _map(self, t: float) -> tuple[Array, Array]:
        linear = bures_map(self.a, self.b)
        return linear, (1 - t) * np.eye(self.a.dim) + t * linear

    def at(self, t: float) -> Gaussian:
        _, blend = self._map(t)
        mean = (1 - t) * self.a.mean + t * self.b.mean
        return Gaussian(mean, blend @ self.a.cov @ blend.T, self.a.mass)

    def velocity(self, t: float, points: Array | None = None) -> Array:
        if points is None:
            raise InvalidArgument(
                "points = None: a Gaussian has no atoms; pass the points (n, d) where the velocity"
                " is wanted, velocity(t, points)"
            )
        x = points_array(points)
        linear, blend = self._map(t)
        mean = (1 - t) * self.a.mean + t * self.b.mean
        origin = np.linalg.solve(blend, (x - mean).T).T  # x_0 - mean of a
        return np.asarray(origin @ (linear - np.eye(self.a.dim)).T + self.b.mean - self.a.mean)


@dataclass(frozen=True, eq=False)
class RootCurve(Curve):
    """Square roots of the weights on a great circle (angle > 0) or a straight line (angle = 0)."""

    support: Discrete
    before: Array
    after: Array
    angle: float

    def _root(self, t: float) -> tuple[Array, Array]:
        """sqrt(w_t) and its derivative."""
        a, b, half = np.sqrt(self.before), np.sqrt(self.after), self.angle
        if half == 0:
            return (1 - t) * a + t * b, b - a
        one, two = np.sin((1 - t) * half) * a + np.sin(t * half) * b, np.cos(t * half) * b
        return one / np.sin(half), half * (two - np.cos((1 - t) * half) * a) / np.sin(half)

    def at(self, t: float) -> Discrete:
        weights = self._root(t)[0] ** 2
        if self.angle > 0:
            weights = weights * (float(self.before.sum()) / float(weights.sum()))
        out: Discrete = self.support.with_weights(weights)
        return out

    def rate(self, t: float) -> Array:
        root, change = self._root(t)
        return np.where(root > 0, 2 * change / np.where(root > 0, root, 1.0), 0.0)


@dataclass(frozen=True, eq=False)
class MixtureCurve(Curve):
    """(1 - t) a + t b on a common support (formula M8)."""

    support: Discrete
    before: Array
    after: Array

    def at(self, t: float) -> Discrete:
        weights = (1 - t) * self.before + t * self.after
        out: Discrete = self.support.with_weights(weights)
        return out

    def rate(self, t: float) -> Array:
        w = (1 - t) * self.before + t * self.after
        return np.where(w > 0, (self.after - self.before) / np.where(w > 0, w, 1.0), 0.0)


CURVES: dict[str, type[Curve]] = {
    c.__name__: c for c in (GridCurve, LineCurve, ConeCurve, AffineCurve, RootCurve, MixtureCurve)
}
