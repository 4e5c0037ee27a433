r"""Training against the worst case: min over theta of sup over the ball of E loss(theta, .).

The outer function is convex where the loss is convex in theta, and by Danskin its gradient is that
of E loss under the worst-case measure. The certificate is the saddle-point gap: no theta does
better against the whole ball than the best one does against a single measure of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from jko.dro.ambiguity import Ambiguity, Set, ambiguity, check_size
from jko.dro.checks import check_loss
from jko.dro.finite import in_kind, solve_finite
from jko.dro.frames import Adversary as Adversary
from jko.dro.frames import Attack as Attack
from jko.dro.frames import Framed
from jko.dro.result import WorstCase
from jko.dro.scenarios import Scenario, scenario_bound, smooth_minimum
from jko.errors import InvalidArgument, StepFailed
from jko.geometries.mmd import MMD
from jko.later import draw
from jko.measures.base import Discrete
from jko.measures.grid import Grid
from jko.threads import limited
from jko.validation import Array, finite_array, positive, positive_int, real

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from jko.dro.features import MovedSamples

#: Relative accuracy of the worst cases inside the training; their gaps vanish quadratically, so
#: that values and gradients are far better. MMD steps cost the most, and get the larger one.
INNER_TOL = 1e-10
INNER_TOL_MMD = 1e-8


@dataclass(frozen=True, repr=False)
class RobustFit:
    """The result of `jko.dro.minimise`.

    Attributes
    ----------
    theta : (p,) array
    value : float
        The worst-case expected loss at theta, penalty included.
    gap : float
        value - gap is a lower bound of the minimum over theta (for losses convex in theta): what
        the best theta would lose against one measure of the ball, found by a smooth minimisation.
    residual : float
        Largest component of the gradient of that minimisation where it stopped.
    worst : WorstCase
        The worst case at theta; of fits with moving features where the samples went.
    success : bool
    message : str
    iterations : int
        Worst cases computed.
    seconds, tol : float
    """

    theta: Array
    value: float
    gap: float
    residual: float
    worst: WorstCase | MovedSamples
    success: bool
    message: str
    iterations: int
    seconds: float
    tol: float

    def plot(self, ax: Axes | None = None) -> list[Artist]:
        """Draw the worst case at theta over the given measure; see `jko.plot.worst_case`."""
        drawn: list[Artist] = draw("robust_fit", self.worst, ax)
        return drawn

    def __repr__(self) -> str:
        state = "certified" if self.success else "inaccurate"
        return f"RobustFit({state}: value={self.value:.6g}, gap={self.gap:.1e})"


def minimise(
    loss: Callable[[Array, Array], ArrayLike],
    start: ArrayLike,
    measure: Discrete,
    geometry: Set,
    *,
    gradient: Callable[[Array, Array], ArrayLike],
    radius: float | None = None,
    tau: float | None = None,
    support: str = "sample",
    points: ArrayLike | Grid | Discrete | None = None,
    penalty: float = 0.0,
    tol: float = 1e-6,
    max_iter: int = 500,
    throw: bool = True,
) -> RobustFit:
    r"""min over theta of the worst case of loss(theta, .), plus penalty |theta|^2 / 2.

    Parameters
    ----------
    loss : callable (theta (p,), points (n, d)) -> (n,)
        Convex in theta for the certificate to be one.
    start : (p,) array
    measure : Histogram, Particles or GridDensity
    geometry : Divergence, Hellinger, Wasserstein or MMD, or a set of `jko.dro`
    gradient : callable (theta, points) -> (n, p)
        Of the loss in theta; compared with differences of it near the start.
    radius, tau, support, points
        As in `jko.dro.worst_case`; free particles are for `jko.dro.RobustRegressor` and
        `jko.dro.RobustClassifier`, which know their losses.
    penalty : float >= 0
    tol : float
        On the saddle-point gap, relative to the size of the losses at the start or at the end.
    max_iter : int
        Worst cases at most in each of the two phases: quasi-Newton on the envelope, then, where it
        has kinks, scenarios.
    throw : bool
        Raise `jko.StepFailed` (carrying the result) when the gap misses the tolerance.

    Returns
    -------
    RobustFit

    Notes
    -----
    Formula R1. The envelope is differentiable where the worst case is unique. Where it is not, its
    minimum is found as that of the largest of finitely many scenarios E_{mu_k} loss(theta, .), each
    the worst case at an earlier theta.

    References
    ----------
    Sinha et al. (2018); Mohajerin Esfahani and Kuhn (2018); Zhu et al. (2021).
    """
    theta = np.atleast_1d(finite_array(start, "start", InvalidArgument))
    size, step = check_size(radius, tau, geometry)
    first = ambiguity(lambda x: loss(theta, x), measure, geometry, support, points)
    check_loss(loss, gradient, theta, first.nominal)
    adversary = FiniteAdversary(first, loss, gradient, size, step, measure)
    ridge = np.full(theta.size, _nonnegative(penalty, "penalty"))
    fit = train(adversary, theta, ridge, positive(tol, "tol"), positive_int(max_iter, "max_iter"))
    if isinstance(fit.worst, WorstCase):
        fit = replace(fit, worst=replace(fit.worst, given=measure))
    if throw and not fit.success:
        raise StepFailed(fit.message, fit)
    return fit


def _nonnegative(value: object, name: str) -> float:
    number = real(value, name)
    if number < 0:
        raise InvalidArgument(f"{name} = {number:.6g} is negative; pass 0 for none, or more")
    return number


@dataclass(eq=False)
class FiniteAdversary:
    """Worst cases on a fixed support, warm from one theta to the next."""

    stated: Ambiguity
    loss: Callable[[Array, Array], ArrayLike]
    slope: Callable[[Array, Array], ArrayLike]
    radius: float | None
    tau: float | None
    measure: Discrete
    guess: float | None = field(default=None, init=False)

    def __call__(self, theta: Array) -> Attack:
        x = self.stated.nominal.points
        values = np.asarray(self.loss(theta, x), dtype=float)
        if values.shape != (len(x),) or not np.isfinite(values).all():
            raise FloatingPointError("the loss is not finite at a trial point")
        tol = INNER_TOL_MMD if isinstance(self.stated.geometry, MMD) else INNER_TOL
        found = solve_finite(
            self.stated.with_loss(values), self.radius, self.tau, tol=tol, guess=self.guess
        )
        if 0 < found.multiplier < np.inf:
            self.guess = found.multiplier
        paid = found.expectation - found.value
        scenario = Scenario(self.loss, self.slope, x, found.measure.weights, paid)
        assert found.gap is not None
        report = in_kind(self.measure, found)
        return Attack(found.value, scenario.gradient(theta), scenario, found.gap, report)


def train(
    adversary: Adversary,
    start: Array,
    ridge: Array,
    tol: float,
    max_iter: int,
    frame: Array | None = None,
) -> RobustFit:
    """Quasi-Newton on the envelope, scenarios where that leaves a gap.

    `ridge` (p,) are the penalties of the components of theta, ridge theta^2 / 2. With `frame`
    (p, p) it is theta' that is searched, theta = frame @ theta': of another unit and origin. What
    has a penalty is scaled alone there.
    """
    with limited():
        if frame is None:
            return _trained(adversary, start, ridge, tol, max_iter)
        begin = np.asarray(np.linalg.solve(frame, start), dtype=float)
        inner = Framed(adversary, frame)
        fit = _trained(inner, begin, ridge * np.diag(frame) ** 2, tol, max_iter)
        return replace(fit, theta=frame @ fit.theta)


def _trained(
    adversary: Adversary, start: Array, ridge: Array, tol: float, max_iter: int
) -> RobustFit:
    started = time.perf_counter()
    envelope = _Envelope(adversary, ridge)
    unit = envelope.size(start)
    smooth_minimum(envelope, start, max_iter, unit)
    theta, attack = envelope.best
    value = envelope.lowest
    unit = max(abs(value), min(unit, attack.scenario.size(theta))) or unit
    lower, residual, _ = scenario_bound([attack.scenario], theta, ridge, unit)
    scenarios = [attack.scenario]
    while value - lower > tol * unit and len(scenarios) < min(max_iter, 60):
        bound, miss, trial = scenario_bound(scenarios, theta, ridge, unit)
        if bound > lower:
            lower, residual = bound, miss
        fresh = envelope.attack(trial)
        scenarios.append(fresh.scenario)
        if envelope.lowest < value:
            theta, attack = envelope.best
            value = envelope.lowest
        if len(scenarios) > 8 and _repeats(scenarios):
            break
    gap = value - lower + attack.gap
    good = bool(abs(gap) <= tol * unit)
    text = (
        "The fit is certified: its saddle-point gap is within the tolerance."
        if good
        else "The saddle-point gap misses the tolerance; raise max_iter or tol, or add a penalty."
    )
    return RobustFit(
        theta=theta,
        value=value,
        gap=gap,
        residual=residual,
        worst=attack.report,
        success=good,
        message=f"{text} (gap {gap:.3g} against {tol * unit:.3g})",
        iterations=envelope.count,
        seconds=time.perf_counter() - started,
        tol=tol,
    )


def _repeats(scenarios: list[Scenario]) -> bool:
    """The last worst case is one already known: nothing more to learn."""
    last = scenarios[-1]
    return any(
        s.points is last.points and np.abs(s.weights - last.weights).max() < 1e-14
        for s in scenarios[:-1]
    )


class _Envelope:
    """theta -> value and gradient of the worst case plus the penalty; keeps the best."""

    def __init__(self, adversary: Adversary, ridge: Array) -> None:
        self.adversary, self.ridge = adversary, ridge
        self.count, self.lowest = 0, np.inf
        self.best: tuple[Array, Attack]

    def attack(self, theta: Array) -> Attack:
        self.count += 1
        found = self.adversary(theta)
        value = found.value + 0.5 * float(self.ridge @ theta**2)
        if value < self.lowest:
            self.lowest, self.best = value, (theta.copy(), found)
        return found._replace(value=value)

    def size(self, theta: Array) -> float:
        """The size of the losses at a theta, 1 where they vanish."""
        self(theta)
        return self.best[1].scenario.size(theta) or 1.0

    def __call__(self, theta: Array) -> tuple[float, Array]:
        try:
            found = self.attack(theta)
        except FloatingPointError:
            if self.count == 1:
                raise InvalidArgument(
                    "loss is not finite at the start; pass another start or check the loss"
                ) from None
            return np.inf, np.zeros_like(theta)
        return found.value, found.gradient + self.ridge * theta
