"""Barenblatt's solution of the porous medium equation, at points and in exact cell averages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gamma, pi

import numpy as np
from numpy.typing import ArrayLike

from jko.errors import InvalidArgument
from jko.measures.grid import Grid, GridDensity
from jko.numerics.roots import increasing_root
from jko.validation import Array, instance, positive, positive_int, real

#: Points of Gauss's rule on each piece of an axis.
NODES = 12


@dataclass(frozen=True)
class Barenblatt:
    r"""The self-similar solution of rho_t = g Lap(rho^m), exact for PDE and JKO (formula W5).

        rho(x) = lam^{-d} (C - k |x|^2 / lam^2)_+^{1/(m-1)},   k = beta (m-1)/(2m),
        beta = 1/(d (m-1) + 2).

    The PDE moves the scale as lam(t) = (lam_0^{1/beta} + g t)^beta; the JKO step of
    F = g/(m-1) int rho^m is the dilation lam_+ - lam = tau g beta lam_+^{1-1/beta}.

    Parameters
    ----------
    dim, m : int, float
        d, and the exponent m > 1.
    mass, peak : float
        Total mass, and the density at the centre at time 0.
    g : float
        Diffusivity.

    Raises
    ------
    InvalidArgument
        If m <= 1, or another parameter is not positive.

    References
    ----------
    Vázquez (2007); Otto (2001).
    """

    dim: int = 1
    m: float = 2.0
    mass: float = 0.5
    peak: float = 15.0
    g: float = 1e-3

    def __post_init__(self) -> None:
        positive_int(self.dim, "dim")
        if not real(self.m, "m") > 1:
            raise InvalidArgument(f"m = {self.m:g} must exceed 1: other profiles have no front")
        for name in ("mass", "peak", "g"):
            positive(getattr(self, name), name)

    @property
    def beta(self) -> float:
        """Exponent of the spreading, 1/(d (m-1) + 2)."""
        return 1 / (self.dim * (self.m - 1) + 2)

    @property
    def curvature(self) -> float:
        """The constant k of the profile."""
        return self.beta * (self.m - 1) / (2 * self.m)

    @property
    def height(self) -> float:
        """The constant C of the profile, from the mass."""
        power = 1 / (self.m - 1)
        half = self.dim / 2
        # int (1 - |y|^2)_+^power dy
        unit = pi**half * gamma(power + 1) / gamma(power + 1 + half)
        return float((self.mass * self.curvature**half / unit) ** (1 / (power + half)))

    @property
    def start(self) -> float:
        """The scale at time 0, from the peak."""
        return float((self.height ** (1 / (self.m - 1)) / self.peak) ** (1 / self.dim))

    def flow(self, scale: float, time: float) -> float:
        """The scale that the PDE reaches from `scale` after `time`."""
        return float((scale ** (1 / self.beta) + self.g * time) ** self.beta)

    def jko(self, scale: float, tau: float) -> float:
        """The scale after one exact JKO step."""
        rate, power = tau * self.g * self.beta, 1 - 1 / self.beta
        top = scale + rate * scale**power  # the explicit step is the longest
        return increasing_root(lambda x: x - scale - rate * x**power, scale, top)

    def radius(self, scale: float) -> float:
        """Radius of the support."""
        return scale * float(np.sqrt(self.height / self.curvature))

    def density(self, points: ArrayLike, scale: float) -> Array:
        """The density (n,) at points (n, d)."""
        square = (np.asarray(points, dtype=float) ** 2).sum(axis=-1)
        inner = np.maximum(self.height - self.curvature * square / scale**2, 0.0)
        return np.asarray(inner ** (1 / (self.m - 1)) / scale**self.dim)

    def on(self, grid: Grid, scale: float) -> GridDensity:
        """The profile in exact averages over the cells of a grid.

        Closed along the last axis, by quadrature between all crossings of front and edges along the
        others: within 1e-8 (in the plane) or 1e-5 (in space) of the mass in L1, rounding on the
        line. If the box holds the support, the total mass is `mass`; the part outside is cut off.

        Parameters
        ----------
        grid : Grid
            Of dimension d.
        scale : float
            As handed out by `flow` and `jko`.

        Raises
        ------
        InvalidArgument
            If the dimensions differ, or no cell meets the support.
        """
        instance(grid, Grid, "grid", "pass a jko.Grid(lower, upper, shape)")
        if grid.dim != self.dim:
            raise InvalidArgument(
                f"grid has dimension {grid.dim}; this profile has dim = {self.dim}"
            )
        # In units of the radius: C^{1/(m-1)} / lam^d (1 - |y|^2)_+^{1/(m-1)}.
        power, radius = 1 / (self.m - 1), self.radius(positive(scale, "scale"))
        pairs = zip(grid.lower, grid.upper, grid.shape, strict=True)
        edges = [np.linspace(low, up, n + 1) / radius for low, up, n in pairs]
        masses = _cell_masses(np.ones(1), edges, power)[0].ravel()
        masses *= self.height**power * (radius / scale) ** self.dim
        if all(e[0] <= -1 and e[-1] >= 1 for e in edges):
            masses *= self.mass / masses.sum()
        return GridDensity(grid, masses)


def _cell_masses(squares: Array, edges: Sequence[Array], power: float) -> Array:
    """Integrals (k, n_1, .., n_d) of (s - |y|^2)_+^power over cells, for k numbers s > 0."""
    if len(edges) == 1:
        return _interval_masses(squares, edges[0], power)
    out = np.zeros((len(squares), *(len(e) - 1 for e in edges)))
    node, weight = np.polynomial.legendre.leggauss(NODES)
    u = (1 + node) / 2
    place, share = u**2 * (3 - 2 * u), 3 * weight * u * (1 - u)  # flat at singular ends of a piece
    for square, cells in zip(squares, out, strict=True):
        start, width = _pieces(float(square), edges)
        y = start[:, None] + width[:, None] * place
        left = np.maximum(square - y.ravel() ** 2, 1e-300)
        across = _cell_masses(left, edges[1:], power).reshape(*y.shape, *cells.shape[1:])
        masses = np.einsum("pq...,q,p->p...", across, share, width)
        np.add.at(cells, np.searchsorted(edges[0], start + width / 2) - 1, masses)
    return out


def _pieces(square: float, edges: Sequence[Array]) -> tuple[Array, Array]:
    """Starts and widths of the pieces of the first axis on which the integrand is smooth: between
    the edges of its cells and the places where the front crosses an edge of another axis.
    """
    crossings = np.concatenate([[square], *(square - e**2 for e in edges[1:])])
    crossings = np.sqrt(crossings[crossings > 0])
    cuts = np.unique(np.concatenate([edges[0], crossings, -crossings]))
    reach = crossings[0]
    cuts = cuts[(cuts >= max(edges[0][0], -reach)) & (cuts <= min(edges[0][-1], reach))]
    wide = np.diff(cuts) > 1e-14
    return cuts[:-1][wide], np.diff(cuts)[wide]


def _interval_masses(squares: Array, edges: Array, power: float) -> Array:
    """Integrals (k, n) of (s - y^2)_+^power over intervals, by the incomplete beta function."""
    from scipy.special import beta, betainc

    half = np.sqrt(squares)[:, None]
    y = np.clip(edges / half, -1.0, 1.0)
    below = np.sign(y)
    inside = np.abs(y) < 1
    below[inside] *= betainc(0.5, power + 1, y[inside] ** 2)
    whole: Array = half ** (2 * power + 1) * beta(0.5, power + 1) / 2
    return np.diff(below, axis=1) * whole
