"""The Sinkhorn divergence to a target, as an energy."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from jko.energies.transported import SmoothTransport, cross_curvature, self_curvature
from jko.errors import InvalidMeasure, Unsupported
from jko.measures.base import Discrete, Measure
from jko.measures.grid import not_straight
from jko.measures.masses import balanced, same_mass
from jko.numerics.exact_transport import square_costs
from jko.numerics.self_transport import self_scaling
from jko.numerics.sinkhorn import entropic_plan
from jko.validation import Array, instance, positive

#: Above this many atoms on either side the dense problem is refused.
MOST_ATOMS = 3000
#: Logarithm at which the density of a plan ends, where an empty atom is far from all others.
STEEPEST = 60.0


class SinkhornDivergence(SmoothTransport):
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
        return found.cross - 0.5 * found.self - 0.5 * self._own_cost() * found.mass

    def _own_cost(self) -> float:
        """OT(target, target), of mass 1."""
        if self._own is None:
            _, own = _between(self.target, self.target, self.reg, symmetric=True)
            self._own = own / self.target.mass
        return self._own

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

    @property
    def regularisation(self) -> float:
        return self.reg

    def softened(self, reg: float) -> SinkhornDivergence:
        return self if reg <= self.reg else SinkhornDivergence(self.target, reg)

    def second_variation(self, mu: Discrete) -> Array:
        found, w = self._at(mu), mu.weights / mu.mass
        target = found.to_target
        cross = cross_curvature(
            target.shares(mu.points)[0], w, np.exp(target.log_weights), self.reg
        )
        inside = self_curvature(_density(found.to_itself, mu), w, self.reg)
        return (cross + inside) / mu.mass

    def target_potential(self, mu: Discrete) -> Array:
        return self._at(mu).to_target.h

    def tangent(self, mu: Discrete, near: Array, lift: float = 0.0) -> tuple[Array, float]:
        r"""A bound that holds for any h (m,) and any z >= 0 (n,), for measures of mass 1:

            F(nu) >= <f + reg log(E z), nu> + <h, target> + (reg/2) (1 - z'E z) - OT(target)/2,

        f the soft c-transform of h, E = e^{-|x - y|^2/reg} among the atoms: -OT(nu, nu)/2 is the
        minimum over z of reg <nu, log(nu/z)> + (reg/2) (z'E z - 1), jointly convex (Feydy et al.
        2019). With z = mu e^{g/reg} it is the tangent at mu. At atoms that are all but empty its
        slope turns with the rounding of their weights: E z is raised to `lift`.
        """
        found, w = self._at(mu), mu.weights / mu.mass
        dual = replace(found.to_target, h=near)
        f, log_e = dual.potential(mu.points), -square_costs(mu.points, mu.points) / self.reg
        with np.errstate(over="ignore", under="ignore", divide="ignore"):
            z = np.exp(np.log(w) + found.to_itself.potential(mu.points) / self.reg)
            near_e = np.exp(log_e)
            z = z + np.maximum(lift - near_e @ z, 0.0)
            ez = near_e @ z
            slope = f + self.reg * np.log(ez)
        low = float(near @ np.exp(dual.log_weights)) + float(w @ slope)
        low += 0.5 * self.reg * (1 - float(z @ ez)) - 0.5 * self._own_cost()
        return slope, self.value(mu) - mu.mass * low

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
        to_itself, own = _between(mu, mu, self.reg, symmetric=True)
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
        return np.asarray(-self.reg * self.shares(x)[1])

    def map(self, x: Array) -> Array:
        """Where the entropic plan sends x on average (n, d)."""
        return np.asarray(self.shares(x)[0] @ self.points)

    def shares(self, x: Array) -> tuple[Array, Array]:
        """Shares (n, m) of the plan's rows at points, and the logarithms (n,) of their sums."""
        work = (self.h - square_costs(x, self.points)) / self.reg + self.log_weights
        top = work.max(axis=1, keepdims=True)
        share = np.exp(work - top)
        total = share.sum(axis=1, keepdims=True)
        return share / total, (top + np.log(total))[:, 0]


def _density(dual: _SinkhornDual, mu: Discrete) -> Array:
    """Density (n, n) of the plan of mu with itself, at empty atoms too."""
    g = dual.potential(mu.points)
    work = (g[:, None] + g - square_costs(mu.points, mu.points)) / dual.reg
    with np.errstate(under="ignore"):
        return np.asarray(np.exp(np.minimum(work, STEEPEST)))


@dataclass(frozen=True, eq=False)
class _Solved:
    to_target: _SinkhornDual
    to_itself: _SinkhornDual
    cross: float
    self: float
    mass: float


def _between(
    a: Discrete, b: Discrete, reg: float, symmetric: bool = False
) -> tuple[_SinkhornDual, float]:
    """The dual on the charged atoms of `b`, and the entropic cost; of a with itself the same on
    both sides: atoms between which next to nothing goes may shift mass of the two apart."""
    rows, columns = a.weights > 0, b.weights > 0
    if max(rows.sum(), columns.sum()) > MOST_ATOMS:
        raise Unsupported(
            f"the Sinkhorn divergence of {int(rows.sum())} and {int(columns.sum())} atoms is too"
            f" large (limit {MOST_ATOMS}); use jko.MMDEnergy, or fewer particles:"
            f" jko.thinning.resample(measure, {MOST_ATOMS})"
        )
    wa, wb = a.weights[rows] / a.mass, b.weights[columns] / b.mass
    y = b.points[columns]
    cost = square_costs(a.points[rows], y)
    log_b = np.log(wb)
    if symmetric:
        with np.errstate(under="ignore"):
            near = np.exp(-cost / reg)
        z = self_scaling(wb, near)
        g = reg * (np.log(z) - log_b)
        value = 2 * float(g @ wb) + reg * (1 - float(z @ (near @ z)))
        return _SinkhornDual(y, log_b, g, reg), a.mass * value
    found = entropic_plan(wa, wb, cost, reg, log_reference=np.log(wa)[:, None] + log_b)
    return _SinkhornDual(y, log_b, found.h, reg), a.mass * (found.lower + reg)


class EntropicTransport(SmoothTransport):
    """Half the entropic cost to a target, which tends to W2^2/2 from above as reg vanishes."""

    def __init__(self, target: Discrete, reg: float) -> None:
        self.target, self.reg = target, reg
        self._last: tuple[Measure, _SinkhornDual, float] | None = None

    def _at(self, mu: Measure) -> tuple[Measure, _SinkhornDual, float]:
        if self._last is None or self._last[0] is not mu:
            assert isinstance(mu, Discrete)
            self._last = mu, *_between(mu, balanced(self.target, mu), self.reg)
        return self._last

    def value(self, mu: Measure) -> float:
        return 0.5 * self._at(mu)[2]

    def first_variation(self, mu: Discrete) -> Array:
        return 0.5 * self._at(mu)[1].potential(mu.points)

    def second_variation(self, mu: Discrete) -> Array:
        dual = self._at(mu)[1]
        shares, t = dual.shares(mu.points)[0], np.exp(dual.log_weights)
        return 0.5 * cross_curvature(shares, mu.weights / mu.mass, t, self.reg) / mu.mass

    @property
    def regularisation(self) -> float:
        return self.reg

    def softened(self, reg: float) -> EntropicTransport:
        return EntropicTransport(self.target, max(reg, self.reg))

    def target_potential(self, mu: Discrete) -> Array:
        return 0.5 * self._at(mu)[1].h

    def tangent(self, mu: Discrete, near: Array, lift: float = 0.0) -> tuple[Array, float]:
        """By duality: any h gives the bound <f, nu> + <h, target>, f its soft c-transform."""
        dual = replace(self._at(mu)[1], h=2 * near)
        slope = 0.5 * dual.potential(mu.points)
        low = float(slope @ mu.weights) + mu.mass * float(near @ np.exp(dual.log_weights))
        return slope, self.value(mu) - low

    @property
    def needs_fixed_mass(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"EntropicTransport({self.target!r}, reg={self.reg:g})"
