"""One convex form of the weights with its mass: what WeightNewton solves in every geometry."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, reduce
from operator import add

import numpy as np

from jko.energies.conjugate import brackets, charged_by, response
from jko.forms.form import WeightForm
from jko.forms.separable import Separable
from jko.kernels.operators import STORED_LIMIT, DenseOperator
from jko.measures.base import Discrete
from jko.numerics.roots import last_true
from jko.prox.duality.mass import filled, rescale
from jko.prox.duality.weights import fixed_gap
from jko.prox.stated import Controls
from jko.solvers.hellinger.atoms import scatter
from jko.solvers.weights.barrier import Barrier, BarrierStatus
from jko.solvers.weights.systems import SMALL, DenseSystem, DiagonalSystem, FactorSystem, System
from jko.status import Breakdown, Status
from jko.validation import Array, Index

#: Atoms whose weight cannot be more than this share of the mass stay empty: at 1e-301 a weight of
#: rounding would cost 1e269.
LEAST = 1e-40
#: Multiples of a first guess are looked for up to e^WIDE and down to e^-WIDE: 1e200, as far as
#: doubles go with their squares over their unit.
WIDE = 460.0


@dataclass(eq=False)
class WeightProgram:
    """min form(w) over w >= 0 with total `mass` (None: free), on the atoms that may carry weight.

    Attributes
    ----------
    form : WeightForm
        Convex.
    previous : Discrete
    mass : float or None
    system : System or None
        Of an earlier program with the same quadratic part.
    unit : float
        The size of the objective's terms, which the tolerance is relative to.
    """

    form: WeightForm
    previous: Discrete
    mass: float | None
    system: System | None = None
    unit: float = 1.0

    def __post_init__(self) -> None:
        self.typical = self.previous.mass if self.mass is None else self.mass
        self.open(np.flatnonzero(self.form.separable.ceiling > 0))
        sparing = self.sparing()
        worth = sparing > LEAST * self.typical
        if worth.any() and not worth.all():
            self.open(self.index[worth])
            sparing = sparing[worth]
        self.most = sparing
        # Ceilings that just hold the mass leave no interior: they are the answer.
        capacity = float(self.h.ceiling.sum())
        self.full = self.mass is not None and capacity <= self.mass * (1 + 1e-12)

    def open(self, index: Index) -> None:
        """Let these atoms alone carry weight."""
        self.index = index
        self.all_open = index.size == self.form.separable.n
        self.h: Separable = (
            self.form.separable if self.all_open else self.form.separable.take(index)
        )

    def product(self, w: Array) -> Array:
        """Qw on the open atoms, exactly."""
        if self.all_open:
            return self.form.quadratic_gradient(w)
        return self.form.quadratic_gradient(self.scatter(w))[self.index]

    def scatter(self, w: Array) -> Array:
        """Weights on all atoms."""
        return scatter(w, None if self.all_open else self.index, self.previous.n)

    def value(self, w: Array, qw: Array) -> float:
        """The form at open weights."""
        return self.h.value(w) + 0.5 * float(w @ qw)

    @cached_property
    def diagonal(self) -> Array:
        """The diagonal of Q on the open atoms."""
        parts = [q.scale * q.operator.diagonal() for q in self.form.quadratics]
        return np.asarray(reduce(np.add, parts, np.zeros(self.form.separable.n)))[self.index]

    def falls_forever(self) -> bool:
        """Whether some atom alone makes the form unbounded on M+: Q_ii = 0 means Q e_i = 0."""
        wanting = ~charged_by(self.h, 1.0) & np.isinf(self.h.ceiling)
        return bool((wanting & (self.diagonal == 0) & (self.h.linear < 0)).any())

    def build(self, tol: float, start: Array) -> System:
        """The Newton systems: dense for few atoms, otherwise a factor as fine as they need."""

        def dense() -> Array:
            parts = [q.scale * q.operator.dense() for q in self.form.quadratics]
            total: Array = reduce(np.add, parts)
            return total if self.all_open else total[np.ix_(self.index, self.index)]

        fixed, n = self.mass is not None, self.h.n
        if not self.form.quadratics:
            return DiagonalSystem(fixed)
        if n <= SMALL:
            return DenseSystem(dense(), fixed)
        kernel = reduce(add, [q.scale * q.kernel for q in self.form.quadratics])
        finest = max(1e-3 * tol / self.typical**2, 1e-15 * float(self.diagonal.max()))
        cheap = all(
            n <= STORED_LIMIT or not isinstance(q.operator, DenseOperator)
            for q in self.form.quadratics
        )
        accuracy = max(finest, 1e-7 * float(self.diagonal.max()))
        if cheap:
            # Without curvature an atom has D = mu/w^2 in the end.
            curvature = self.h.hessian(start) + tol / n / start**2
            accuracy = max(finest, 1e-3 / float((1 / curvature).sum()))
        points = self.previous.points[self.index]
        product = self.product if cheap else None
        return FactorSystem(kernel, points, accuracy, finest, product, dense, fixed)

    def solve(self, controls: Controls) -> tuple[Array, float, Barrier, BarrierStatus]:
        """Weights on all atoms, multiplier, the run and why it ended."""
        if self.mass is None and self.falls_forever():
            raise _unbounded()
        start = self.start(controls.warm)
        aim, unit = 0.1 * controls.tol, self.unit_at(start)
        if self.system is None:
            self.system = self.build(aim * unit, start)
        run = Barrier(
            self.h,
            self.system,
            self.product,
            self.gap,
            lambda w, qw: aim * unit,
            self.mass,
            start,
        )
        if self.full:
            return (
                self.scatter(self.h.ceiling * (self.typical / self.h.ceiling.sum())),
                run.lam,
                run,
                BarrierStatus.OPTIMAL,
            )
        status = run.run(controls.max_iter or 200)
        if status is BarrierStatus.UNBOUNDED:
            if not self.rising(run.w, self.product(run.w), WIDE):
                raise _unbounded()
            status = BarrierStatus.STALLED
        assert run.best.found is not None
        gap, (w, lam) = run.best.figure, run.best.found
        if not np.isfinite(gap):
            w, lam = run.w, run.lam
        w, lam = self.polish(w, lam, gap)
        if not w.sum() > 0:
            raise Breakdown(Status.EMPTY, "the objective is least where no atom has mass")
        return self.filled(self.scatter(w), lam), lam, run, status

    def filled(self, w: Array, lam: float) -> Array:
        """Weights (n,), atoms that were left out at their responses: some must not be empty."""
        out = self.form.separable.ceiling > 0
        out[self.index] = False
        rest = np.flatnonzero(out)
        if rest.size:
            pull = self.form.quadratic_gradient(w)[rest]
            most = LEAST * self.typical
            found = response(self.form.separable.take(rest), lam - pull, np.full(rest.size, most))
            w[rest] = np.where(np.isnan(found), 0.0, np.minimum(found, most))
        return w

    def unit_at(self, start: Array) -> float:
        """The unit, no larger than the size of the terms at weights that the answer may have."""
        start = np.minimum(start, self.most)
        sizes = self.h.sizes(start, self.mass is not None)
        here = sizes.size + 0.5 * float(start @ np.abs(self.product(start)))
        return min(self.unit, here) if here > 0 else self.unit

    def gap(self, w: Array, qw: Array, lam: float) -> tuple[float, float]:
        """The dual gap at w, and the multiplier that shows it."""
        if self.mass is not None:
            return fixed_gap(self.h, qw, w, self.mass, lam)
        return _cone_gap(self.h, qw, w), 0.0

    def start(self, warm: object) -> Array:
        """Interior weights between a guess and the uniform ones, below their ceilings."""
        guess = self.previous.weights
        kept = warm.get("weights") if isinstance(warm, dict) else None
        if isinstance(kept, np.ndarray) and kept.shape == guess.shape:
            guess = kept.astype(float)
        guess = guess[self.index]
        total = float(guess.sum())
        uniform = np.full(self.h.n, self.typical / self.h.n)
        if total > 0 and np.isfinite(guess).all() and (guess >= 0).all():
            w = 0.9 * guess * (self.typical / total) + 0.1 * uniform
        else:
            w = uniform
        if self.mass is None:
            # Weights shrink fast where they must, but grow by a small factor per iteration.
            w = max(self.best_multiple(w), 1.0) * w
        return _below(w, self.h.ceiling, self.mass)

    def sparing(self) -> Array:
        """Upper bounds (n,) of the answer, infinite where an atom costs nothing of its own.

        With |Qw| <= q and a multiplier so high that responses to it less q hold the mass, no atom
        of the answer exceeds its response to the multiplier plus q. Atoms that cost 1e300 per unit
        of mass would otherwise set the scale of everything else.
        """
        if not charged_by(self.h).any():
            return np.full(self.h.n, np.inf)
        with np.errstate(all="ignore"):
            spread = np.full(self.h.n, self.typical / self.h.n)
            q = self.h.n * float(np.abs(self.product(spread)).max())
            lam = 0.0 if self.mass is None else self.generous() + q
            most = response(self.h, np.full(self.h.n, lam + q), spread)
        return np.where(np.isnan(most), np.inf, most)

    def generous(self) -> float:
        """A multiplier at which the separable part alone holds the mass."""
        full = np.minimum(self.h.ceiling, self.typical)
        slopes = self.h.gradient(full)
        order = np.argsort(slopes)
        enough = int(np.searchsorted(np.cumsum(full[order]), self.typical * (1 - 1e-12)))
        return float(slopes[order[min(enough, self.h.n - 1)]])

    def best_multiple(self, w: Array) -> float:
        """The multiple of w that minimises the form, to a factor 2: the scale of the answer."""
        qw = self.product(w)
        if not self.rising(w, qw, WIDE):
            raise _unbounded()
        below = last_true(lambda log_t: not self.rising(w, qw, log_t), -WIDE, WIDE, 11)
        return float(np.exp(below))

    def rising(self, w: Array, qw: Array, log_t: float) -> bool:
        """Whether the form, which is convex, rises along the ray through w at exp(log_t) w."""
        with np.errstate(all="ignore"):
            t, pull = float(np.exp(log_t)), float(w @ qw)
            if pull <= w.size * np.finfo(float).eps * float(w @ np.sqrt(self.diagonal)) ** 2:
                pull = 0.0  # rounding, of either sign
            return float(np.nansum(w * self.h.gradient(t * w))) + t * pull > 0

    def polish(self, w: Array, lam: float, gap: float) -> tuple[Array, float]:
        """Give atoms that do not matter to Qw their own exact minimiser; exact zeros appear."""
        qw = self.product(w)
        before, _ = self.gap(w, qw, lam)
        v = response(self.h, lam - qw, w)
        settled = np.isfinite(v) & (np.abs(v - w) <= 1e-9 * self.typical / self.h.n)
        better = np.where(settled, v, w)
        if self.mass is not None:
            better = rescale(better, self.h.ceiling, self.mass)
            w = rescale(w, self.h.ceiling, self.mass)
        after, after_lam = self.gap(better, self.product(better), lam)
        if after <= max(before, 1e-14):
            return better, after_lam
        return w, lam


def _unbounded() -> Breakdown:
    return Breakdown(
        Status.UNBOUNDED,
        "the mass grows without bound: the energy falls faster than moving costs;"
        " reduce tau, or fix the mass",
    )


def _cone_gap(h: Separable, qw: Array, w: Array) -> float:
    """Gap on M+ at u = w, without the lifts of the certificate."""
    y = -qw
    return float(brackets(h, w, y, response(h, y, w)).sum())


def _below(w: Array, ceiling: Array, mass: float | None) -> Array:
    """The weights pushed into the interior of their bounds, with the right mass."""
    bounded = np.isfinite(ceiling)
    if not bounded.any():
        return w
    if mass is None:
        return np.minimum(w, 0.5 * ceiling)
    spare = 1 - mass / float(ceiling.sum()) if bounded.all() else 1.0
    top = (1 - 0.5 * min(spare, 0.5)) * ceiling
    return filled(w, top, mass)
