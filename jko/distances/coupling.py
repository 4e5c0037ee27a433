r"""Transport between two given measures, hard or relaxed, with or without entropy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from jko.distances.relaxation import Relax, hellinger_of, weights_of
from jko.errors import InvalidArgument, Unsupported
from jko.geometries.base import check_masses, check_pair
from jko.geometries.costs import ground_of
from jko.geometries.ground import MAX_PAIRS
from jko.geometries.unbalanced import MAX_PAIRS as MOST_RELAXED
from jko.geometries.unbalanced import WassersteinFisherRao
from jko.geometries.unbalanced_transport import unbalanced_plan
from jko.geometries.wasserstein import Wasserstein
from jko.measures.base import Discrete, Measure
from jko.measures.grid import not_straight, periods
from jko.numerics.exact_transport import exact_plan
from jko.numerics.relaxed import Marginal
from jko.numerics.sinkhorn import entropic_plan
from jko.validation import Array, Index, instance, one_of, real

if TYPE_CHECKING:
    from scipy.sparse import sparray

    from jko.geometries.costs import Cost

#: Above this many pairs of charged atoms the dense entropic problem is refused.
MOST_ENTROPIC = 9_000_000


@dataclass(frozen=True, eq=False, repr=False)
class Transport:
    """A solved transport problem.

    Attributes
    ----------
    value : float
        The objective of the plan: cost, relaxations and entropy.
    plan : (n, m) sparse array
        Entry (i, j) is the mass from atom i of the first to atom j of the second measure; at most
        n + m - 1 entries are not zero where the problem is a linear program.
    gap : float
        `value` minus that of the potentials: the minimum lies within it.
    potentials : pair of arrays (n,), (m,)
        Feasible dual variables f, h; +inf at atoms without mass and at those no cost reaches.
    cost : float
        <C, P> alone.
    """

    value: float
    plan: sparray
    gap: float
    potentials: tuple[Array, Array]
    cost: float

    def __repr__(self) -> str:
        return f"Transport(value={self.value:.9g}, gap={self.gap:.1e}, cost={self.cost:.9g})"


def transport(
    a: Measure,
    b: Measure,
    cost: Cost | str | WassersteinFisherRao | None = None,
    p: float = 2,
    relax: Relax = None,
    reg: float = 0.0,
    reference: str = "counting",
    divergence: str | Sequence[str] = "kl",
) -> Transport:
    r"""Optimal transport between two discrete measures, certified by its own dual.

        min_{P >= 0} <C, P> + r_1 D_1(P 1 | a) + r_2 D_2(P' 1 | b) + reg E(P),

    D_k the Kullback-Leibler divergence with its mass terms, or Hellinger's; where r is None the
    marginal is met exactly.

    Parameters
    ----------
    a, b : Histogram, Particles or GridDensity
        Of n and m atoms (cell centres on a grid); of one mass where neither side is relaxed.
    cost : (n, m) array, callable, sparse graph, "wfr" or jko.WassersteinFisherRao, optional
        As in `jko.Wasserstein`; |x - y|^p by default. "wfr" is -2 log cos(min(|x - y|, pi/2)), that
        of formula U2 with alpha = 1, beta = 4: with relax=1 the value is the squared distance.
        A geometry brings its own rates; the value is then beta/4 of its squared distance.
    p : float >= 1
        Power of the distance, of a graph too.
    relax : None, float > 0, or a pair of these
        Weights r_1, r_2 of the two divergences.
    reg : float >= 0
        Weight of the entropy, in the unit of the cost.
    reference : {"counting", "product"}
        E(P) = sum P (log P - 1), or KL(P | R) with R = a b' / sqrt(mass of a times mass of b).
    divergence : {"kl", "hellinger"}, or a pair of these
        What relaxed marginals pay: "hellinger" is He^2/2 = 2 sum (sqrt x - sqrt a)^2.

    Returns
    -------
    Transport
        With `.value`, `.plan`, `.gap`.

    Raises
    ------
    InvalidMeasure
        Unequal masses without relaxation, costs of another shape.
    Unsupported
        Costs that forbid what hard marginals need; problems that are too large.

    Notes
    -----
    Hard: network simplex. Relaxed: an interior-point method. Entropic: scaling in the log domain,
    then Newton's method. Peyré and Cuturi (2019); Liero, Mielke and Savare (2018) for relaxed
    marginals; Chizat et al. (2018a) for scaling.

    Examples
    --------
    >>> import numpy as np, jko
    >>> a = jko.Histogram(np.array([[0.0], [1.0]]), [0.5, 0.5])
    >>> b = jko.Histogram(np.array([[0.0], [3.0]]), [0.5, 0.5])
    >>> jko.transport(a, b, p=1).value
    1.0
    """
    problem = _Problem.of(a, b, cost, p, relax, hellinger_of(divergence))
    eps = real(reg, "reg")
    if eps < 0:
        raise InvalidArgument(f"reg = {eps:.6g} is negative; pass 0 for no entropy, or more")
    one_of(reference, ("counting", "product"), "reference")
    if eps > 0:
        return problem.entropic(eps, reference == "product")
    return problem.hard() if problem.is_hard else problem.relaxed()


@dataclass(frozen=True, eq=False)
class _Problem:
    """The problem between the charged atoms of two measures."""

    a: Discrete
    b: Discrete
    rows: Index
    columns: Index
    wa: Array
    wb: Array
    cost: Array
    weights: tuple[float, float]
    hellinger: tuple[bool, bool]

    @classmethod
    def of(
        cls,
        a: Measure,
        b: Measure,
        cost: Cost | str | WassersteinFisherRao | None,
        p: float,
        relax: Relax,
        hellinger: tuple[bool, bool],
    ) -> _Problem:
        check_pair(a, b)
        remedy = "pass a discrete measure, or jko.Wasserstein() distances"
        a, b = instance(a, Discrete, "a", remedy), instance(b, Discrete, "b", remedy)
        weights = weights_of(relax)
        rows, columns = np.flatnonzero(a.weights), np.flatnonzero(b.weights)
        wa, wb = a.weights[rows], b.weights[columns]
        if all(np.isinf(w) for w in weights):
            check_masses(a, b, "transport without relax")
            wb = wb * (wa.sum() / wb.sum())
        if rows.size * columns.size > MAX_PAIRS:
            raise Unsupported(_too_large(rows.size, columns.size, MAX_PAIRS, _along(cost)))
        costs = _costs(a, b, rows, columns, cost, p)
        out = cls(a, b, rows, columns, wa, wb, costs, weights, hellinger)
        out._check_reach()
        return out

    @property
    def is_hard(self) -> bool:
        return all(np.isinf(w) for w in self.weights)

    def _check_reach(self) -> None:
        """Hard marginals need ways: every atom one on a hard side, all of them on two."""
        finite = np.isfinite(self.cost)
        stuck = self.is_hard and not finite.all()
        for weight, axis in zip(self.weights, (1, 0), strict=True):
            stuck = stuck or (np.isinf(weight) and not finite.any(axis=axis).all())
        if stuck:
            raise Unsupported(
                "the cost forbids ways that the marginals may need; pass relax=1.0 (or another"
                " weight) on both sides"
            )

    def hard(self) -> Transport:
        found = exact_plan(self.wa, self.wb, self.cost)
        plan = (found.share, found.left, found.right)
        return self._result(found.value, plan, found.gap, found.u, found.v)

    def relaxed(self) -> Transport:
        if self.cost.size > MOST_RELAXED:
            raise Unsupported(_too_large(self.rows.size, self.columns.size, MOST_RELAXED))
        found = unbalanced_plan(
            self.wa, self.wb, self.cost, weights=self.weights, hellinger=self.hellinger
        )
        gap = found.upper - found.lower
        return self._result(found.upper, _entries(found.plan), gap, found.f, found.h)

    def entropic(self, eps: float, product: bool) -> Transport:
        if self.cost.size > MOST_ENTROPIC:
            raise Unsupported(_too_large(self.rows.size, self.columns.size, MOST_ENTROPIC))
        mass = float(np.sqrt(self.wa.sum() * self.wb.sum()))
        log_reference: Array | float = 0.0
        if product:
            log_reference = np.log(self.wa)[:, None] + np.log(self.wb) - np.log(mass)
        finite = np.isfinite(self.cost)
        i, j = finite.any(axis=1), finite.any(axis=0)
        core = np.ix_(i, j)
        ends = zip((self.wa[~i], self.wb[~j]), self.weights, self.hellinger, strict=True)
        lost = sum(Marginal(*end).lost for end in ends)
        constant = lost + (eps * mass if product else 0.0)
        plan, f, h = np.zeros(self.cost.shape), np.full(i.size, np.inf), np.full(j.size, np.inf)
        upper = lower = 0.0
        if i.any():
            inner = log_reference[core] if isinstance(log_reference, np.ndarray) else 0.0
            found = entropic_plan(
                self.wa[i], self.wb[j], self.cost[core], eps, self.weights, inner,
                hellinger=self.hellinger,
            )  # fmt: skip
            plan[core], f[i], h[j] = found.plan, found.f, found.h
            upper, lower = found.upper, found.lower
        return self._result(upper + constant, _entries(plan), upper - lower, f, h)

    def _result(
        self, value: float, plan: tuple[Array, Index, Index], gap: float, f: Array, h: Array
    ) -> Transport:
        from scipy.sparse import csr_array

        share, left, right = plan
        places = (self.rows[left], self.columns[right])
        matrix = csr_array((share, places), shape=(self.a.n, self.b.n))
        first, second = np.full(self.a.n, np.inf), np.full(self.b.n, np.inf)
        first[self.rows], second[self.columns] = f, h
        paid = float(share @ self.cost[left, right])
        return Transport(float(value), matrix, float(gap), (first, second), paid)


def _entries(plan: Array) -> tuple[Array, Index, Index]:
    """The entries of a dense plan that are not zero."""
    left, right = np.nonzero(plan)
    return plan[left, right], left, right


def _costs(
    a: Discrete,
    b: Discrete,
    rows: Index,
    columns: Index,
    cost: Cost | str | WassersteinFisherRao | None,
    p: float,
) -> Array:
    """Costs between the charged atoms, +inf where a Wasserstein-Fisher-Rao cost has its cut."""
    if isinstance(cost, (str, WassersteinFisherRao)):
        if isinstance(cost, str):
            one_of(cost, ("wfr",), "cost")
            cost = WassersteinFisherRao(alpha=1.0, beta=4.0)
        why = not_straight(a, b)
        if why is not None:
            raise Unsupported(why)
        return cost.cost(a.points[rows], b.points[columns])
    power = Wasserstein(p=p).p  # checked there
    ground = ground_of(power, cost)
    around = periods(a, b) is not None and cost is None
    why = None if ground.listed or around else not_straight(a, b)
    if why is not None:
        raise Unsupported(why)
    return ground.between(a, b, rows, columns)


def _along(cost: object) -> str:
    """What to do with many nodes of a graph; empty for other costs."""
    if not hasattr(cost, "nnz"):
        return ""
    return "jko.Wasserstein(p=1, cost=graph) has distances and plans along the edges"


def _too_large(n: int, m: int, limit: int, instead: str = "") -> str:
    fewer = "compare coarser grids, or fewer particles: jko.thinning.resample(measure, 1000)"
    return (
        f"the transport problem between {n} and {m} atoms is too large (more than {limit} pairs);"
        f" {instead or fewer}"
    )
