r"""The Wasserstein geometry: W_p^p is the least integral of |x-y|^p (or a cost) over couplings."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from jko.errors import InvalidArgument, Unsupported
from jko.geometries.base import (
    Geometry,
    charged_pair,
    check_discrete,
    check_masses,
    check_pair,
    check_straight,
    check_time,
    show,
    too_large,
)
from jko.geometries.bures import bures, bures_geodesic, bures_images, bures_map
from jko.geometries.costs import ground_of
from jko.geometries.ground import MAX_PAIRS, Ground, MatrixCost, PowerCost, needs_metric
from jko.measures.atoms import Particles
from jko.measures.base import Discrete, Measure
from jko.measures.gaussian import Gaussian
from jko.measures.grid import periods
from jko.numerics.exact_transport import exact_plan, quantile_plan, square_costs
from jko.validation import Array, Index, Mask, real

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from jko.geometries.costs import Cost


@dataclass(frozen=True, repr=False)
class Wasserstein(Geometry):
    r"""W2 (no factor 1/2) by default, W_p or any cost on request; W2 flow mu_t = div(mu grad f).

    With T(a, b) = min over couplings of the integral of the cost c(x, y) (formula Y2):

    - c = |x-y|^p or d(x, y)^p: W_p = T^{1/p}; a step of length tau pays W_p^p/(p tau^{p-1}), whose
      flow is mu_t = div(mu |grad f|^{q-2} grad f), 1/p + 1/q = 1. At p = 1 it pays W_1 whatever
      tau is. `sqdistance` is W_p^2.
    - any other cost C, never raised to a power: a step pays T/(2 tau), `sqdistance` is T itself,
      from the first measure to the second, and `distance` its root, where the root of C is a
      metric.

    A rate r makes a step of length tau one of length r tau.

    Parameters
    ----------
    p : float >= 1
        Power of the distance.
    cost : (n, m) array, callable or SciPy sparse graph, optional
        Costs between atom i of the first and atom j of the second measure, finite and >= 0 (steps:
        (n, n), from the old to the new measure); a function of points (n, d) and (m, d) with
        values (n, m); or the lengths of the edges of an undirected graph with a node per atom,
        where d is the length of the shortest way.

    Raises
    ------
    InvalidArgument
        p < 1, p beside a matrix or a function, negative or non-finite costs, lengths of edges that
        differ in their two directions.
    InvalidMeasure
        When it is used: a cost of another shape than the measures, or a graph that is disconnected
        between atoms that carry mass.

    Notes
    -----
    Exact distances: sorted quantiles in one dimension, the network simplex of POT between scattered
    atoms (its value is checked by its own dual), the Bures formula between Gaussians (p = 2), at
    p = 1 between many nodes of a graph a flow along its edges (Ahuja et al. (1993), chapter 9).

    References
    ----------
    Jordan et al. (1998); Benamou and Brenier (2000); Ambrosio et al. (2008), chapter 11 for p != 2.
    """

    p: float = 2.0
    cost: Cost | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        p = real(self.p, "p")
        if p < 1:
            raise InvalidArgument(
                f"p = {p:g} is below 1, where W_p is no distance; pass p >= 1, or the cost itself"
                " as cost=lambda x, y: ..."
            )
        ground = PowerCost(p) if self.cost is None else ground_of(p, self.cost)
        object.__setattr__(self, "p", p)
        object.__setattr__(self, "_ground", ground)
        if isinstance(ground, MatrixCost):
            object.__setattr__(self, "cost", ground.matrix)

    @property
    def ground(self) -> Ground:
        """The cost between atoms."""
        out: Ground = self.__dict__["_ground"]
        return out

    @property
    def is_quadratic(self) -> bool:
        """Whether the cost is |x-y|^2: most solvers, and the theory of W2 flows, take no other."""
        return self.cost is None and self.p == 2

    @property
    def is_power(self) -> bool:
        """Whether the cost is a distance to the power p, so that W_p is a distance."""
        return self.ground.power

    @property
    def listed(self) -> bool:
        return self.ground.listed

    @property
    def conserves_mass(self) -> bool:
        return True

    @property
    def _key(self) -> tuple[Hashable, ...]:
        return (type(self), self.rate, self.ground.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Wasserstein) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def _sqdistance(self, a: Measure, b: Measure) -> float:
        if isinstance(a, Gaussian) and isinstance(b, Gaussian) and self.is_quadratic:
            return a.mass * bures(a, b)
        return self.of_cost(self._moves(a, b)[3]) * self.rate

    def of_cost(self, value: float) -> float:
        """D^2 for the least cost `value` of transport between two measures."""
        if self.is_quadratic or not self.is_power:
            return value / self.rate
        # A step of tau is one of r tau, r the rate: W_p^2 r^{2/p - 2}.
        return float(max(value, 0.0) ** (2 / self.p) * self.rate ** (2 / self.p - 2))

    def distance(self, a: Measure, b: Measure) -> float:
        if not self.is_power and isinstance(a, Discrete) and isinstance(b, Discrete):
            why = self.ground.not_metric(a, b)
            if why is not None:
                raise needs_metric("distance", why)
        return super().distance(a, b)

    def penalty(self, a: Measure, previous: Measure, tau: float) -> float:
        """What a step pays: W_p^p/(p tau^{p-1}), or T/(2 tau) from `previous` to `a`."""
        return self.paid(self.sqdistance(previous, a), tau)

    def paid(self, sqdistance: float, tau: float) -> float:
        if self.is_power:
            return float(max(sqdistance, 0.0) ** (self.p / 2) / (self.p * tau ** (self.p - 1)))
        return super().paid(sqdistance, tau)

    def step_cost(
        self, mu: Discrete, tau: float, rows: Index | None = None, columns: Index | None = None
    ) -> Array:
        """What a step of length tau pays for a unit of mass from atoms `rows` to `columns`."""
        everything = np.arange(mu.n)
        rows = everything if rows is None else rows
        columns = everything if columns is None else columns
        costs = self.ground.between(mu, mu, rows, columns)
        p = self.p if self.is_power else 2.0
        return np.asarray(costs / (p * (tau * self.rate) ** (p - 1)))

    def reachable(self, mu: Discrete) -> Mask | None:
        """Atoms (n,) that the mass of `mu` can reach; None for all."""
        return self.ground.reachable(mu)

    def potential(self, a: Discrete, b: Discrete) -> Array:
        """Kantorovich potential of |x-y|^2/2 on the atoms of `a` (zero mean; exact LP dual).

        At empty atoms it is the c-transform of the dual on `b`: a subgradient of the cost there.
        """
        if not self.is_quadratic:
            raise Unsupported(f"{self!r} has no potential of the quadratic cost; use jko.transport")
        check_pair(a, b)
        check_masses(a, b, self)
        x, wa, y, wb = charged_pair(a, b)
        if a.n * len(y) > MAX_PAIRS:
            raise Unsupported(too_large(a.n, len(y), MAX_PAIRS))
        dual = exact_plan(wa, wb, square_costs(x, y)).v
        phi = (square_costs(a.points, y) - dual).min(axis=1)
        phi = phi - float(a.weights @ phi) / a.mass
        return np.asarray(0.5 * phi / self.rate)

    def geodesic(self, a: Measure, b: Measure, t: float) -> Measure:
        """McCann interpolation: every particle moves straight to its partner (any p >= 1)."""
        t = check_time(t)
        check_pair(a, b)
        check_masses(a, b, self)
        if self.cost is not None:
            raise Unsupported(
                f"{self!r} names costs, not the ways between points; read jko.Wasserstein.plan, or"
                " use jko.Wasserstein(p=...) for straight ways"
            )
        if isinstance(a, Gaussian) and isinstance(b, Gaussian) and self.is_quadratic:
            return bures_geodesic(a, b, t)
        check_straight(a, b)
        left, right, share, _ = self._moves(a, b)
        assert isinstance(a, Discrete)
        assert isinstance(b, Discrete)
        start, end = a.points[left], b.points[right]
        return Particles(start + t * (end - start), share)

    def plan(self, a: Measure, b: Measure) -> csr_array:
        """The optimal plan between two discrete measures (exact).

        Parameters
        ----------
        a, b : GridDensity, Histogram or Particles
            Of n and m atoms, and of one mass.

        Returns
        -------
        (n, m) sparse array
            Entry (i, j) is the mass that goes from atom i of `a` to atom j of `b`: rows sum to the
            weights of `a`, columns to those of `b`. At most n + m - 1 entries are not zero.

        Raises
        ------
        Unsupported
            Gaussians (see `geodesic`), grids with obstacles, grids whose periodic axes differ, or
            more pairs than `MAX_PAIRS`. Between grids with the same periodic axes ways may lead
            round.
        """
        from scipy.sparse import csr_array

        check_pair(a, b)
        check_masses(a, b, self)
        left, right, share, _ = self._moves(a, b)
        assert isinstance(a, Discrete)
        assert isinstance(b, Discrete)
        return csr_array((share, (left, right)), shape=(a.n, b.n))

    def barycentric_map(self, a: Measure, b: Measure, x: Array | None = None) -> Array:
        """Where the optimal plan sends every atom of `a` on average (n, d).

        T(x_i) = sum_j P_ij y_j / a_i, the optimal map itself where the plan does not split an atom;
        atoms without mass stay. Arguments and errors are those of `plan`; between Gaussians it is
        the affine map of the points `x` (k, d), which atoms do without.
        """
        if isinstance(a, Gaussian) and isinstance(b, Gaussian) and self.is_quadratic:
            return bures_images(a, b, x)
        check_straight(a, b)
        plan = self.plan(a, b).tocoo()
        assert isinstance(a, Discrete)
        assert isinstance(b, Discrete)
        i, j = plan.coords
        moved, mass = np.zeros(a.points.shape), np.bincount(i, plan.data, a.n)
        np.add.at(moved, i, plan.data[:, None] * (b.points[j] - a.points[i]))
        return a.points + moved / np.where(mass > 0, mass, 1.0)[:, None]

    def extrapolate(self, a: Measure, b: Measure) -> Measure:
        """Every point goes as far again: 2 T - id, T the map (particles: index by index)."""
        if not self.is_quadratic:
            return super().extrapolate(a, b)
        if isinstance(a, Gaussian) and isinstance(b, Gaussian):
            linear = 2 * bures_map(a, b) - np.eye(a.dim)
            return Gaussian(2 * b.mean - a.mean, linear @ a.cov @ linear.T, a.mass)
        if isinstance(a, Particles) and isinstance(b, Particles) and a.n == b.n:
            return b.with_points(2 * b.points - a.points)
        return super().extrapolate(a, b)

    def _moves(self, a: Measure, b: Measure) -> tuple[Index, Index, Array, float]:
        """The optimal plan as a list of moves: from, to, mass; and what it costs at rate 1."""
        around = periods(a, b)
        if not self.ground.listed and around is None:
            check_straight(a, b)
        check_discrete(a, b, "" if self.is_quadratic else repr(self))
        assert isinstance(a, Discrete)
        assert isinstance(b, Discrete)
        wa, wb = a.weights, b.weights
        if not (a.dim == 1 and self.cost is None and around is None):
            return self.ground.moves(a, b, wa, wb * (wa.sum() / wb.sum()))
        rows, columns = np.flatnonzero(wa), np.flatnonzero(wb)
        x, y = a.points[rows, 0], b.points[columns, 0]
        left, right, share = quantile_plan(x, wa[rows], y, wb[columns])
        value = float(share @ np.abs(x[left] - y[right]) ** self.p)
        return rows[left], columns[right], share, value

    def __repr__(self) -> str:
        shown = [] if self.p == 2 else [f"p={self.p:g}"]
        if self.cost is not None:
            kind = getattr(self.cost, "__name__", None)
            shape = "x".join(str(k) for k in getattr(self.cost, "shape", ()))
            kind = kind or f"<{shape} {'graph' if self.is_power else 'matrix'}>"
            shown.append(f"cost={kind}")
        return show(self, f"Wasserstein({', '.join(shown)})")
