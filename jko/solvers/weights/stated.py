r"""MMD steps of energies that are quadratic in the weights, around the previous measure.

With z the previous weights, u = w - z and Q the Hessian of F,

    P(w) = F(w) + |w - z|_K^2 / (2 step) = P(z) + f(z)'u + 1/2 u'(Q + K/step) u,

exactly: no figure of the size 1/step is subtracted from another, so that steps of any length are
certified. The products may be those of a factor L L' of the kernel; `excess` then bounds what the
remainder E = K - L L' adds to the gap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from jko.energies.mmd import MMDEnergy
from jko.errors import Unsupported
from jko.forms.form import Quadratic, WeightForm
from jko.forms.separable import Separable
from jko.geometries.mmd import MMD
from jko.kernels.operators import KernelOperator
from jko.measures.base import Discrete, Measure
from jko.numerics.elementary import EPS
from jko.prox.duality.weights import (
    ROUNDING,
    median_multiplier,
    product_noise,
    weight_certificate,
)
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Certificate, Neighbour, on_atoms
from jko.solvers.weights.systems import SMALL
from jko.validation import Array, Mask


@dataclass(frozen=True, eq=False)
class QuadraticStep(Neighbour):
    """The stated problem of `SimplexQP`: an MMD step of a quadratic energy on a fixed support.

    Attributes
    ----------
    problem : ProxProblem
        Of MMD geometry, its energy convex and quadratic in the weights.
    form : WeightForm
        The energy on the support.
    metric : KernelOperator
        Products with the kernel of the geometry (its positive version).
    excess : callable (n,) -> float, optional
        Given weights, what the gap for the true kernel may exceed the gap of these products by.
    """

    problem: ProxProblem
    form: WeightForm
    metric: KernelOperator
    excess: Callable[[Array], float] | None = None

    @classmethod
    def of(cls, problem: ProxProblem) -> QuadraticStep:
        """The step with exact products."""
        assert isinstance(problem.geometry, MMD)
        metric = problem.geometry.kernel.positive_about(problem.discrete.points).operator(
            problem.discrete
        )
        return cls(problem, problem.form, metric)

    @property
    def mass(self) -> float | None:
        """The mass of every competitor, None when it is free."""
        previous = self.problem.discrete
        return previous.mass if self.problem.geometry.conserves_mass else None

    @cached_property
    def open(self) -> Mask:
        """Atoms that the energy lets carry weight."""
        return np.asarray(self.form.separable.ceiling > 0)

    @cached_property
    def centre(self) -> Array:
        """The previous weights, without those on closed atoms."""
        return np.where(self.open, self.problem.discrete.weights, 0.0)

    @cached_property
    def slope(self) -> Array:
        """First variation of the energy at the centre (n,), zero on closed atoms."""
        return np.where(self.open, self.form.gradient(self.centre), 0.0)

    @cached_property
    def start(self) -> float:
        """The energy at the centre."""
        return self.form.value(self.centre)

    @property
    def baseline(self) -> float:
        """The objective of staying put."""
        stays = np.array_equal(self.centre, self.problem.discrete.weights)
        return self.start if stays else np.inf

    @cached_property
    def penalty_slope(self) -> Array:
        """First variation of the penalty at the centre: zero unless atoms are closed."""
        away = self.centre - self.problem.discrete.weights
        if not away.any():
            return np.zeros(len(away))
        return np.where(self.open, self.metric.matvec(away) / self.problem.step, 0.0)

    @cached_property
    def curvature(self) -> WeightForm:
        """The quadratic part of the whole objective."""
        kernel = self.problem.metric_kernel.positive_about(self.problem.discrete.points)
        penalty = Quadratic(kernel, self.metric, 1 / self.problem.step)
        none = Separable(np.zeros(len(self.centre)))
        return WeightForm(none, self.form.quadratics) + WeightForm(none, (penalty,))

    @cached_property
    def total(self) -> WeightForm:
        """The whole objective as a form, for the dual on the cone."""
        before = self.problem.discrete.weights
        pull = self.metric.matvec(before)
        linear = Separable(-pull, {}, None, 0.5 * float(before @ pull))
        both = self.form.separable + linear.scaled(1 / self.problem.step)
        return WeightForm(both, self.curvature.quadratics)

    @cached_property
    def floor(self) -> float:
        """A lower bound of P - P(centre) over all signed measures, -inf when unknown.

        For F = sum c/2 MMD^2(., pi_c) of the geometry's kernel and C = sum c, the least value of P
        is at least F(z) / (1 + C step), with equality for one target (formula M2).
        """
        kernel = self.problem.metric_kernel
        terms = self.problem.energy.terms
        same = all(isinstance(t, MMDEnergy) and t.kernel == kernel for _, t in terms)
        if not same or not self.open.all():
            return -np.inf
        reach = self.problem.step * sum(c for c, _ in terms)
        return -self.start * reach / (1 + reach)

    def energy(self, nu: Discrete) -> float:
        """F(nu) on this support."""
        u = self._moved(nu)
        quadratic = self.form.quadratic_gradient(u)
        return self.start + float(self.slope @ u) + 0.5 * float(u @ quadratic)

    def sqdistance(self, nu: Discrete) -> float:
        """The geometry's D^2(nu, previous) on this support."""
        u = nu.weights - self.problem.discrete.weights
        return max(float(u @ self.metric.matvec(u)), 0.0) / self.problem.geometry.rate

    def objective(self, nu: Measure) -> float:
        """F(nu) + D^2(nu, previous) / (2 tau)."""
        nu = on_atoms(nu)
        return self.energy(nu) + self.sqdistance(nu) / (2 * self.problem.tau)

    def certificate(self, answer: Answer) -> Certificate:
        """Gap and residual of an answer, `excess` included."""
        nu = on_atoms(answer.judged)
        w, u = nu.weights, self._moved(nu)
        more = 0.0 if self.excess is None else self.excess(w)
        if self.mass is None:
            gap, residual = self._free(w, u)
        else:
            gap, residual = self._fixed(w, u, self.mass)
        return Certificate(None if gap is None else gap + more, residual)

    def _fixed(self, w: Array, u: Array, mass: float) -> tuple[float | None, float]:
        """Frank-Wolfe gap on the simplex, with the unconstrained minimum where it is known."""
        if w[~self.open].any():
            return None, np.inf
        pull = self.curvature.quadratic_gradient(u)
        gradient = self.slope + self.penalty_slope + pull
        noise = self._noise(pull)
        # Rounding of the gradient acts on w and on the competitor, which sits on one atom.
        low = float((gradient - noise)[self.open].min())
        gap = float(w[self.open] @ (gradient + noise - low)[self.open])
        if self.floor > -np.inf:
            height = float(u @ (0.5 * (gradient + self.slope)))
            above = height - self.floor + float(noise @ np.abs(u)) + EPS * abs(self.start)
            gap = blended_gap(gap, above)
        lam, stray = median_multiplier(self.form.separable, gradient, w), float(w.sum()) - mass
        gap += stray * low + ROUNDING * mass * abs(low)
        if gap <= self.blur(w):
            steep = self._steep(w, gradient - lam, noise)
            gap = min(gap, steep + abs(stray * lam) + ROUNDING * mass * abs(lam))
        return gap, float(w @ np.abs(gradient - lam)) / mass

    def _free(self, w: Array, u: Array) -> tuple[float | None, float]:
        """The gap on the cone, in differences to the centre: P(v) >= -s'Qs/2 - w'Qs - w'g + P(w).

        That holds of every v >= 0 where the gradient g + Qs at w + s is not negative; s is a
        multiple of 1, as small as rounding allows.
        """
        if w[~self.open].any():
            return None, np.inf
        pull = self.curvature.quadratic_gradient(u)
        gradient = self.slope + self.penalty_slope + pull
        noise, flat = self._noise(pull), self.open.astype(float)
        lift = self.curvature.quadratic_gradient(flat)
        short = (noise - gradient)[self.open]
        t = 0.0
        if short.max(initial=0.0) > 0:
            if not lift[self.open].min() > 0:
                return weight_certificate(self.total, w, None).gap, np.inf
            t = float((short / lift[self.open]).max()) * (1 + 4 * ROUNDING)
        gap = float(w @ (gradient + noise + t * lift)) + 0.5 * t * t * float(flat @ lift)
        if gap <= self.blur(w):
            gap = min(gap, self._steep(w, gradient, noise))
        residual = float(w @ np.abs(gradient)) / self.problem.discrete.mass
        return max(gap, 0.0), residual

    def blur(self, w: Array) -> float:
        """A hundred times what rounding of the weights leaves of a gap w'g, g the gradient."""
        largest = float(self.metric.diagonal().max(initial=0.0))
        return 100 * EPS * float(w.sum()) ** 2 * largest / self.problem.step

    @cached_property
    def steepness(self) -> float:
        """A lower bound of the least eigenvalue of K/step on open atoms, 0 where none is known."""
        if self.excess is not None or len(self.centre) > SMALL:
            return 0.0
        values = np.linalg.eigvalsh(self.metric.dense()[np.ix_(self.open, self.open)])
        rounding = 4 * len(values) * EPS * float(np.abs(values).max())
        return max(float(values[0]) - rounding, 0.0) / self.problem.step

    def _steep(self, w: Array, slope: Array, noise: Array) -> float:
        """A bound from the curvature: r'd + d'Kd/(2 step) >= -|r|^2 / (2 steepness) for every d.

        In short steps rounding keeps the other bounds above eps/step, while w is as near to the
        answer as doubles come; a competitor cannot take from an empty atom, so that its r <= 0.
        """
        if not self.steepness > 0:
            return np.inf
        r = np.where(w > 0, np.abs(slope), np.maximum(-slope, 0.0))[self.open] + noise[self.open]
        return float(r @ r) / (2 * self.steepness)

    @cached_property
    def _terms(self) -> Array:
        """The sizes of what the first variation at the centre is a sum of (n,)."""
        pull = np.abs(self.form.quadratic_gradient(self.centre))
        return np.abs(self.form.separable.linear) + pull + np.abs(self.penalty_slope)

    def _noise(self, pull: Array) -> Array:
        """What rounding may leave of the entries of the gradient (n,)."""
        return ROUNDING * (self._terms + np.abs(pull)) + product_noise(self.curvature, pull)

    def _moved(self, nu: Discrete) -> Array:
        if not nu.same_support(self.problem.discrete):
            raise Unsupported("the step is stated on the support of the previous measure")
        return nu.weights - self.centre


def blended_gap(gap: float, above: float) -> float:
    """The best bound from a Frank-Wolfe gap and the height above the unconstrained minimum.

    With u = (1-q) w + q v, v the minimiser without the constraints, the dual at u gives
    q^2 above + (1-q) gap for every q in [0, 1]. In short steps `above` is of the order of the
    step, while rounding keeps `gap` above eps / step.
    """
    above = max(above, 0.0)
    if gap < 2 * above:
        return gap - gap * gap / (4 * above)
    return min(gap, above)
