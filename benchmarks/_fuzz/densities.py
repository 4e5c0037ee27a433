"""Smooth densities on a grid against steps of quantile functions, in the continuum.

On the line a step minimises over the places X(s) of the quantiles, a convex problem; W_2 between
densities that are constant on cells is a sum of integrals of squares. In the plane all is a product
of two such steps, and the sum of the squared distances of the marginals is a lower bound of W_2^2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solveh_banded

import jko
from _fuzz.rivals import Rival
from _fuzz.terms import HOME

SHARE = 0.03
#: Pieces of the rival for each cell of the grid.
FINER = 8
#: Nodes and weights of the integral over a piece.
NODES, WEIGHTS = np.polynomial.legendre.leggauss(4)


@dataclass
class Axis:
    """A well and an internal energy along one axis."""

    lower: float
    upper: float
    n: int
    before: np.ndarray  # (n,) of mass 1
    stiff: float
    bend: float
    centre: float

    @property
    def edges(self):
        return np.linspace(self.lower, self.upper, self.n + 1)

    def well(self, x):
        z = x - self.centre
        return self.stiff * z**2 / 2 + self.bend * z**4 / 4

    def slope(self, x):
        z = x - self.centre
        return self.stiff * z + self.bend * z**3

    def curve(self, x):
        return self.stiff + 3 * self.bend * (x - self.centre) ** 2


def integral(f, x):
    """Means of f over the pieces between places x."""
    middle, half = (x[1:] + x[:-1]) / 2, np.diff(x) / 2
    at = middle[:, None] + half[:, None] * NODES
    return (f(at) * WEIGHTS).sum(axis=1) / 2


def quantiles(edges, w):
    """Places and masses (k+1,) where the distribution function of a density on cells bends."""
    charged = w > 0
    s = np.append(0.0, np.cumsum(w[charged]))
    return edges[:-1][charged], edges[1:][charged], s / s[-1]


def at(s, left, right, knots):
    """Quantiles just above and just below masses s between the knots: (below, above)."""
    out = []
    for side in ("left", "right"):
        k = np.clip(np.searchsorted(knots, s, side) - 1, 0, len(left) - 1)
        share = (s - knots[k]) / (knots[k + 1] - knots[k])
        out.append(left[k] + np.clip(share, 0, 1) * (right[k] - left[k]))
    return out


def squared_distance(edges, a, b):
    """W_2^2 of two densities of mass 1, constant on the cells."""
    one, two = quantiles(edges, a), quantiles(edges, b)
    s = np.union1d(one[2], two[2])
    s = s[np.append(True, np.diff(s) > 1e-16)]
    (low1, high1), (low2, high2) = at(s, *one), at(s, *two)
    start, end = (high1 - high2)[:-1], (low1 - low2)[1:]
    return float((np.diff(s) * (start**2 + start * end + end**2) / 3).sum())


@dataclass
class Density:
    """A step of c int U(rho) + wells from a smooth density, one axis or the product of two."""

    axes: list
    power: float  # 1: entropy
    cost: float
    mass: float
    tau: float

    closed_form = False
    #: The rival's own error, an estimate, relative to the terms.
    verified = 1e-3

    @property
    def label(self):
        return f"Wasserstein density {len(self.axes)}-D"

    @property
    def name(self):
        kind = "ent" if self.power == 1 else f"pm{self.power:g}"
        return f"{kind} + V on " + " x ".join(str(a.n) for a in self.axes)

    def problem(self, u=HOME):
        grid = jko.Grid([u.L * a.lower for a in self.axes], [u.L * a.upper for a in self.axes],
                        [a.n for a in self.axes])  # fmt: skip
        mu = jko.GridDensity(grid, u.M * self.before)
        d = len(self.axes)
        V = lambda x: sum(a.well(x[:, i] / u.L) for i, a in enumerate(self.axes))
        if self.power == 1:
            own = jko.Entropy()
        else:
            own = (u.M / u.L**d) ** (1 - self.power) * jko.PorousMedium(self.power)
        energy = u.c * self.cost * own + u.c * jko.Potential(V)
        return mu, energy, jko.Wasserstein(), self.tau * u.L**2 / u.c

    @property
    def before(self):
        product = self.axes[0].before
        for a in self.axes[1:]:
            product = np.multiply.outer(product, a.before)
        return self.mass * product.ravel()

    def shift(self, u):
        if self.power != 1:
            return 0.0
        return self.cost * self.mass * (np.log(u.M) - len(self.axes) * np.log(u.L))

    def raw(self, w, u):
        """What squared distances are made of, whose rounding a regularised objective keeps."""
        size = sum((a.upper - a.lower) ** 2 for a in self.axes)
        return self.mass * size / (2 * self.tau)

    def expected(self):
        return "solvable"

    def back(self, measure, u):
        return measure.weights / u.M

    def objective(self, w):
        """F and the squared distance (a lower bound in the plane); a number is itself."""
        if np.ndim(w) == 0:
            return float(w), abs(float(w))
        shape = [a.n for a in self.axes]
        volume = float(np.prod([np.diff(a.edges)[0] for a in self.axes]))
        shaped, rho = w.reshape(shape), np.asarray(w) / volume
        with np.errstate(all="ignore"):
            own = np.where(rho > 0, rho * np.log(rho), 0) if self.power == 1 else (
                rho**self.power / (self.power - 1))  # fmt: skip
        parts = [self.cost * volume * own]
        for i, a in enumerate(self.axes):
            marginal = shaped.sum(axis=tuple(k for k in range(len(shape)) if k != i))
            parts.append(marginal * integral(a.well, a.edges))
            moved = squared_distance(a.edges, marginal / marginal.sum(), a.before)
            parts.append(np.array([self.mass * moved / (2 * self.tau)]))
        flat = np.concatenate([np.ravel(p) for p in parts])
        return float(flat.sum()), float(np.abs(flat).sum())

    def rivals(self, rng, answer):
        """The minimum over quantile functions; of a product, the sum over the axes."""
        fine, coarse = self._best(FINER), self._best(FINER // 2)
        # Quantiles of twice as many pieces see the minimum from above, of second order.
        return [Rival("quantiles", fine, fine - 2 * abs(coarse - fine) - 1e-12 * abs(fine))]

    def _best(self, finer):
        total = 0.0
        for a in self.axes:
            one = step_of_quantiles(a, self.power, self._cost_of_line(), self.tau, finer)
            total += self.mass * one
        if self.power == 1:  # mass log mass
            total += self.cost * self.mass * np.log(self.mass)
        return total

    def _cost_of_line(self):
        return self.cost if self.power == 1 else self.cost * self.mass ** (self.power - 1)


def step_of_quantiles(a, power, cost, tau, finer):
    """min over X of cost int U + int V + |X - X'|^2 / (2 tau), X linear on pieces of mass."""
    knots = quantiles(a.edges, a.before)
    pieces = finer * a.n
    s = np.union1d(np.linspace(0, 1, pieces + 1), knots[2])
    s = s[np.append(True, np.diff(s) > 1e-12)]
    s[-1] = 1.0
    m = np.diff(s)
    below, above = at(s, *knots)
    start, end = above[:-1], below[1:]  # the previous quantiles on each piece
    x = np.append(start[0], end)
    x = x[0] + np.append(0, np.cumsum(np.maximum(np.diff(x), 1e-9 * (x[-1] - x[0]))))

    def parts(x):
        width = np.diff(x)
        if not (width > 0).all():
            return np.inf
        own = -np.log(width / m) if power == 1 else (m / width) ** (power - 1) / (power - 1)
        d0, d1 = x[:-1] - start, x[1:] - end
        moved = (d0**2 + d0 * d1 + d1**2) / 3
        return float((m * (cost * own + integral(a.well, x) + moved / (2 * tau))).sum())

    value = parts(x)
    for _ in range(200):
        gradient, bands = slopes(a, power, cost, tau, x, m, start, end)
        try:
            way = -solveh_banded(bands, gradient)
        except np.linalg.LinAlgError:  # rounding: the value is as good as it gets
            break
        fall, t = -float(gradient @ way), 1.0
        if fall <= 1e-13 * abs(value):
            break
        while t > 1e-12:
            new = parts(x + t * way)
            if new <= value - 1e-4 * t * fall:
                break
            t /= 2
        else:
            break
        x, value = x + t * way, new
    return value


def slopes(a, power, cost, tau, x, m, start, end):
    """Gradient and (2, k) bands of the Hessian of the step in X."""
    width, g, diagonal = np.diff(x), np.zeros(len(x)), np.zeros(len(x))
    first = -1 / width if power == 1 else -(m ** (power - 1)) / width**power
    second = 1 / width**2 if power == 1 else power * m ** (power - 1) / width ** (power + 1)
    first, second = cost * m * first, cost * m * second
    d0, d1 = x[:-1] - start, x[1:] - end
    middle, half = (x[1:] + x[:-1]) / 2, width / 2
    place = middle[:, None] + half[:, None] * NODES
    lam = (1 + NODES) / 2
    push, curve = a.slope(place) * WEIGHTS / 2, a.curve(place) * WEIGHTS / 2
    g[:-1] += -first + m * ((push * (1 - lam)).sum(axis=1) + (2 * d0 + d1) / (6 * tau))
    g[1:] += first + m * ((push * lam).sum(axis=1) + (2 * d1 + d0) / (6 * tau))
    diagonal[:-1] += second + m * ((curve * (1 - lam) ** 2).sum(axis=1) + 1 / (3 * tau))
    diagonal[1:] += second + m * ((curve * lam**2).sum(axis=1) + 1 / (3 * tau))
    off = -second + m * ((curve * lam * (1 - lam)).sum(axis=1) + 1 / (6 * tau))
    return g, np.stack([np.append(0, off), diagonal])


def axis(rng, n):
    lower, upper = -4.0, 4.0
    grid = np.linspace(lower, upper, n + 1)
    x, sd = (grid[1:] + grid[:-1]) / 2, rng.uniform(0.3, 0.8)
    before = np.exp(-((x - rng.uniform(-1, 1)) ** 2) / (2 * sd**2))
    if rng.random() < 0.5:
        before += rng.uniform(0.2, 1) * np.exp(-((x - rng.uniform(-1.5, 1.5)) ** 2) / (2 * 0.4**2))
    before[before < 1e-12] = 0.0
    return Axis(lower, upper, n, before / before.sum(), float(rng.uniform(0.5, 4)),
                float(rng.uniform(0, 1)), float(rng.uniform(-0.7, 0.7)))  # fmt: skip


def draw(rng):
    plane = rng.random() < 0.4
    power = 1.0 if plane else float(rng.choice([1.0, 1.0, 2.0, 3.0]))
    n = int(rng.choice([16, 24, 32] if plane else [32, 64, 128]))
    axes = [axis(rng, n) for _ in range(1 + plane)]
    return Density(axes, power, 10.0 ** rng.uniform(-1, 0), 10.0 ** rng.uniform(-1, 1),
                   10.0 ** rng.uniform(-6, 6))  # fmt: skip
