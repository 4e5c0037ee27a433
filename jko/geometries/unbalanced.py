"""The Wasserstein-Fisher-Rao (Hellinger-Kantorovich) geometry, unsplit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from jko.errors import Unsupported
from jko.geometries.base import Geometry, check_pair, check_time, show
from jko.geometries.unbalanced_transport import unbalanced_plan
from jko.measures.atoms import Particles
from jko.measures.base import Discrete, Measure
from jko.measures.grid import not_straight
from jko.numerics.elementary import EPS
from jko.numerics.sinkhorn import BoundedPlan
from jko.validation import Array, Index, positive

if TYPE_CHECKING:
    from cvxpy import Constraint, Expression

#: Above this many pairs of charged atoms the interior-point method is refused.
MAX_PAIRS = 4_000_000


@dataclass(frozen=True, repr=False)
class WassersteinFisherRao(Geometry):
    r"""Transport and reaction in one metric on M+; flow mu_t = alpha div(mu grad f) - beta mu f.

    The Onsager operator is that of alpha*Wasserstein() + beta*Hellinger(). Squared distance (U2):

        WFR^2 = (4/beta) min_g KL(g 1 | mu) + KL(g' 1 | nu) + <c, g>,
        c = -2 log cos(min(delta, pi/2)),  delta = sqrt(beta / (4 alpha)) |x - y|.

    Mass travels less than the cut, pi sqrt(alpha / beta); beyond it, it dies and is born (U1).
    Distances are solved by an interior-point method to a relative duality gap of about 1e-13.

    Parameters
    ----------
    alpha, beta : float, > 0
        Rates of transport and of reaction.

    References
    ----------
    Liero et al. (2018); Chizat et al. (2018b); Kondratyev et al. (2016).
    """

    alpha: float = 1.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        remedy = "both rates are positive; use jko.Wasserstein() or jko.Hellinger() for one alone"
        object.__setattr__(self, "alpha", positive(self.alpha, "alpha", remedy))
        object.__setattr__(self, "beta", positive(self.beta, "beta", remedy))

    @property
    def conserves_mass(self) -> bool:
        return False

    @property
    def cut(self) -> float:
        """The distance pi sqrt(alpha/beta) beyond which nothing is transported."""
        return float(np.pi * np.sqrt(self.alpha / self.beta))

    def angles(self, x: Array, y: Array) -> Array:
        """delta (n, m) between points (n, d) and (m, d), not cut."""
        square = np.zeros((len(x), len(y)))
        for a, b in zip(x.T, y.T, strict=True):
            square += (a[:, None] - b) ** 2
        return np.sqrt(square * (self.beta / (4 * self.alpha)))

    def cost(self, x: Array, y: Array) -> Array:
        """c (n, m) of U2, +inf from the cut on."""
        delta = self.angles(x, y)
        with np.errstate(divide="ignore"):
            near = -np.log1p(-np.minimum(np.sin(delta) ** 2, 1.0))
            far = -2 * np.log(np.maximum(np.cos(delta), 0.0))
        # The ends of the range keep their relative accuracy each in its own form.
        cost = np.where(delta < np.pi / 4, near, far)
        return np.where(delta >= np.pi / 2 * (1 - EPS), np.inf, cost)

    def solve(self, a: Measure, b: Measure) -> tuple[BoundedPlan, Index, Index]:
        """The static problem between the charged atoms of two measures, and their indices."""
        if not isinstance(a, Discrete) or not isinstance(b, Discrete):
            raise Unsupported(
                f"no Wasserstein-Fisher-Rao distance between {type(a).__name__} and"
                f" {type(b).__name__}; discretise them on a jko.Grid or sample them"
            )
        curved = not_straight(a, b)
        if curved is not None:
            raise Unsupported(curved)
        left, right = np.flatnonzero(a.weights), np.flatnonzero(b.weights)
        if left.size * right.size > MAX_PAIRS:
            raise Unsupported(
                f"the unbalanced transport problem between {left.size} and {right.size} atoms is"
                f" too large (more than {MAX_PAIRS} pairs); compare coarser grids, or fewer"
                " particles: jko.thinning.resample(measure, 2000)"
            )
        cost = self.cost(a.points[left], b.points[right])
        return unbalanced_plan(a.weights[left], b.weights[right], cost), left, right

    def bounds(self, a: Measure, b: Measure) -> tuple[float, float]:
        """Certified lower and upper bounds of D^2(a, b), rate included."""
        check_pair(a, b)
        solved, *_ = self.solve(a, b)
        unit = 4 / (self.beta * self.rate)
        return unit * solved.lower, unit * solved.upper

    def _sqdistance(self, a: Measure, b: Measure) -> float:
        if isinstance(a, Discrete) and isinstance(b, Discrete) and _same(a, b):
            return 0.0
        return 4 / self.beta * self.solve(a, b)[0].upper

    def potential(self, a: Discrete, b: Discrete) -> Array:
        """(2/beta) (1 - e^{-f}), f_i = min_j c_ij - h_j the dual potential of U2 (n,).

        At empty atoms of `a` it is the slope of the first mass there: 2/beta beyond the cut of all
        of `b`, -inf within that of an atom of `b` that `a` does not reach.
        """
        check_pair(a, b)
        solved, _, right = self.solve(a, b)
        cost = self.cost(a.points, b.points[right])
        near = np.isfinite(cost)
        f = np.where(near, np.where(near, cost, 0.0) - solved.h, np.inf).min(axis=1)
        return np.asarray(-(2 / self.beta) * np.expm1(-f) / self.rate)

    def geodesic(self, a: Measure, b: Measure, t: float) -> Measure:
        """Every pair of the plan follows the cone geodesic of its two masses (U1), as particles.

        In polar coordinates, sqrt(mass) the radius and delta the angle, it is a straight segment.
        """
        t = check_time(t)
        check_pair(a, b)
        solved, left, right = self.solve(a, b)
        assert isinstance(a, Discrete)
        assert isinstance(b, Discrete)
        i, j, before, after = _semi_couplings(solved, a.weights[left], b.weights[right])
        start, end = np.sqrt(before) * (1 - t), np.sqrt(after) * t
        x, y = a.points[left[i]], b.points[right[j]]
        theta = np.minimum(_paired(self, x, y), np.pi / 2)
        angle = np.arctan2(end * np.sin(theta), start + end * np.cos(theta))
        share = np.divide(angle, theta, out=np.full_like(theta, t), where=theta > 0)
        points = x + share[:, None] * (y - x)
        mass = start**2 + end**2 + 2 * start * end * np.cos(theta)
        keep = mass > 0
        return Particles(points[keep], mass[keep])

    def conic(self, w: Expression, previous: Discrete) -> tuple[Expression, list[Constraint]]:
        """(4/beta) (sum w + mass' - 2 sum cos(delta) sqrt(u v)), u and v semi-couplings of w, m'.

        Dense: the previous measure times the support, for small supports.
        """
        import cvxpy as cp

        right = np.flatnonzero(previous.weights)
        delta = self.angles(previous.points, previous.points[right])
        i, j = np.nonzero(delta < np.pi / 2)
        u, v = cp.Variable(i.size, nonneg=True), cp.Variable(i.size, nonneg=True)
        rows, columns = np.zeros((previous.n, i.size)), np.zeros((right.size, i.size))
        rows[i, np.arange(i.size)] = 1
        columns[j, np.arange(i.size)] = 1
        means = cp.Variable(i.size)
        cones = cp.SOC(u + v, cp.vstack([u - v, 2 * means]), axis=0)  # means^2 <= u v
        constraints = [rows @ u <= w, columns @ v <= previous.weights[right], cones]
        affinity = np.cos(delta[i, j]) @ means
        return 4 / self.beta * (cp.sum(w) + previous.mass - 2 * affinity), constraints

    def __repr__(self) -> str:
        return show(self, f"WassersteinFisherRao(alpha={self.alpha:g}, beta={self.beta:g})")


def _paired(geometry: WassersteinFisherRao, x: Array, y: Array) -> Array:
    """delta (k,) between partners."""
    return np.asarray(np.sqrt(geometry.beta / (4 * geometry.alpha) * ((x - y) ** 2).sum(axis=1)))


def _semi_couplings(solved: BoundedPlan, mu: Array, nu: Array) -> tuple[Index, Index, Array, Array]:
    """Pairs (i, j) of the plan with the masses of i and j they use; the rest stays in place.

    Pairs below the accuracy of the plan are dropped. An atom without partner keeps its place: its
    partner's mass is 0, whichever atom j (or i) names.
    """
    plan = np.where(solved.plan > 1e-10 * solved.plan.max(initial=0.0), solved.plan, 0.0)
    i, j = np.nonzero(plan)
    first, second = plan.sum(axis=1), plan.sum(axis=0)
    before, after = mu[i] * plan[i, j] / first[i], nu[j] * plan[i, j] / second[j]
    alone, newborn = np.flatnonzero(first == 0), np.flatnonzero(second == 0)
    i = np.concatenate([i, alone, np.zeros_like(newborn)])
    j = np.concatenate([j, np.zeros_like(alone), newborn])
    before = np.concatenate([before, mu[alone], np.zeros(newborn.size)])
    after = np.concatenate([after, np.zeros(alone.size), nu[newborn]])
    return i, j, before, after


def _same(a: Discrete, b: Discrete) -> bool:
    """Whether two measures are one, atom by atom."""
    return a.same_support(b) and np.array_equal(a.weights, b.weights)
