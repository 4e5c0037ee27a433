"""The Sinkhorn divergence to a target, as an energy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.energies.base import Energy
from jko.errors import InvalidMeasure, Unsupported
from jko.measures.base import Discrete, Measure
from jko.measures.grid import not_straight
from jko.measures.masses import balanced, same_mass
from jko.numerics.exact_transport import square_costs
from jko.numerics.sinkhorn import entropic_plan
from jko.validation import Array, instance, positive

#: Above this many atoms on either side the dense problem is refused.
MOST_ATOMS = 3000


class SinkhornDivergence(Energy):
    r"""F(mu) = OT(mu, target) - OT(mu, mu)/2 - OT(target, target)/2, an entropic W2^2.

    OT(mu, nu) = min over couplings of <|x - y|^2, P> + reg KL(P | mu nu'/mass), so that half of F
    tends to `jko.WassersteinEnergy` as reg vanishes, and F to mass times the squared distance of
    the means as it grows. F is smooth, >= 0, and 0 at the
    target alone.

    Parameters
    ----------
    target : Histogram, Particles or GridDensity
        Of the mass of the measures it is compared with.
    reg : float > 0
        In the unit of |x - y|^2.

    Notes
    -----
    With potentials f of OT(mu, target) and g of OT(mu, mu), continued to all points by the
    soft c-transform, the first variation is f - g and the Wasserstein gradient its gradient,
    2 (T_g(x) - T_f(x)), T the entropic maps. Dense problems, up to 3000 atoms. Feydy et al. (2019);
    Genevay, Peyre and Cuturi (2018).

    Examples
    --------
    >>> import numpy as np, jko
    >>> target = jko.Particles(np.array([[2.0], [5.0]]))
    >>> F = jko.SinkhornDivergence(target, reg=0.5)
    >>> abs(F.value(target)) < 1e-12
    True
    """

    def __init__(self, target: Measure, reg: float) -> None:
        self.target = instance(
            target, Discrete, "target", "pass a discrete measure, such as jko.Particles"
        )
        self.reg = positive(reg, "reg", "for no entropy use jko.WassersteinEnergy(target)")
        self._last: tuple[Measure, _Solved] | None = None
        self._own: float | None = None

    def value(self, mu: Measure) -> float:
        found = self._at(mu)
        if self._own is None:
            _, own = _between(self.target, self.target, self.reg)
            self._own = own / self.target.mass
        return found.cross - 0.5 * found.self - 0.5 * self._own * found.mass

    def first_variation(self, mu: Discrete) -> Array:
        found = self._at(mu)
        return found.to_target.potential(mu.points) - found.to_itself.potential(mu.points)

    def log_slope(self, mu: Discrete) -> Array:
        return np.full(mu.n, self.reg)

    def wasserstein_gradient(self, mu: Discrete) -> Array:
        found = self._at(mu)
        return 2 * (found.to_itself.map(mu.points) - found.to_target.map(mu.points))

    @property
    def needs_fixed_mass(self) -> bool:
        return True

    def _at(self, mu: Measure) -> _Solved:
        """Both entropic problems at a measure; the last one is kept."""
        if self._last is None or self._last[0] is not mu:
            self._last = mu, self._solve(mu)
        return self._last[1]

    def _solve(self, mu: Measure) -> _Solved:
        if not isinstance(mu, Discrete):
            raise Unsupported(
                f"SinkhornDivergence has no value on a {type(mu).__name__}; sample it into"
                " jko.Particles, or put it on a jko.GridDensity"
            )
        why = not_straight(mu, self.target)
        if why is not None:
            raise Unsupported(why)
        if not same_mass(mu, self.target):
            raise InvalidMeasure(
                f"the measure has mass {mu.mass:.9g}, the target {self.target.mass:.9g};"
                " the Sinkhorn divergence compares equal masses: normalise them"
            )
        to_target, cross = _between(mu, balanced(self.target, mu), self.reg)
        to_itself, own = _between(mu, mu, self.reg)
        return _Solved(to_target, to_itself, cross, own, mu.mass)

    def __repr__(self) -> str:
        return f"SinkhornDivergence({self.target!r}, reg={self.reg:g})"


@dataclass(frozen=True, eq=False)
class _SinkhornDual:
    """The dual variable on the far side of an entropic problem, which gives potential and map."""

    points: Array
    log_weights: Array
    h: Array
    reg: float

    def potential(self, x: Array) -> Array:
        """f(x) = -reg log sum_j b_j e^{(h_j - |x - y_j|^2)/reg}, b of mass 1 (n,)."""
        return np.asarray(-self.reg * self._shares(x)[1])

    def map(self, x: Array) -> Array:
        """Where the entropic plan sends x on average (n, d)."""
        return np.asarray(self._shares(x)[0] @ self.points)

    def _shares(self, x: Array) -> tuple[Array, Array]:
        work = (self.h - square_costs(x, self.points)) / self.reg + self.log_weights
        top = work.max(axis=1, keepdims=True)
        share = np.exp(work - top)
        total = share.sum(axis=1, keepdims=True)
        return share / total, (top + np.log(total))[:, 0]


@dataclass(frozen=True, eq=False)
class _Solved:
    to_target: _SinkhornDual
    to_itself: _SinkhornDual
    cross: float
    self: float
    mass: float


def _between(a: Discrete, b: Discrete, reg: float) -> tuple[_SinkhornDual, float]:
    """The dual on the charged atoms of `b`, and the entropic cost."""
    rows, columns = a.weights > 0, b.weights > 0
    if max(rows.sum(), columns.sum()) > MOST_ATOMS:
        raise Unsupported(
            f"the Sinkhorn divergence of {int(rows.sum())} and {int(columns.sum())} atoms is too"
            f" large (limit {MOST_ATOMS}); thin the measures, or use jko.MMDEnergy"
        )
    wa, wb = a.weights[rows] / a.mass, b.weights[columns] / b.mass
    y = b.points[columns]
    cost = square_costs(a.points[rows], y)
    log_b = np.log(wb)
    found = entropic_plan(wa, wb, cost, reg, log_reference=np.log(wa)[:, None] + log_b)
    return _SinkhornDual(y, log_b, found.h, reg), a.mass * (found.lower + reg)
