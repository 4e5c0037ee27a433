"""Follow the flow of the exclusive KL until its gradient is small in the Fisher metric."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from jko.energies.divergence import KL
from jko.energies.gaussian_form import fisher_norm
from jko.errors import InvalidMeasure, StepFailed
from jko.expectations import Cubature, ExpectationRule
from jko.flows.splitting import SplitResult, split_step
from jko.geometries.base import Geometry, GeometrySum
from jko.geometries.gaussian import natural_update
from jko.geometries.hellinger import SphericalHellinger
from jko.measures.gaussian import Gaussian, GaussianMixture, parts_of
from jko.measures.target import LogDensity
from jko.status import Breakdown, Status
from jko.vi.result import Descended, TraceRow

#: Step lengths beyond this change nothing any more.
LONGEST = 64.0
#: An explicit natural-gradient step that leaves more than this of the residual overshoots: the
#: curvature is seen from one side, then from the other (Gumbel laws in 8 dimensions). Steps are
#: then kept shorter, down to half the way: 65 steps at full length became 25.
SLOW = 0.6
HALFWAY = 0.7
#: Draws of nodes that a fit averages over, at most.
MOST_ROUNDS = 60
#: Steps without progress after which a descent ends; slow ones progress within ten.
STALL = 25
#: A residual at a stall that is no more than this many default tolerances is noise of gradients by
#: differences, and costs half its square: 5e-7 of the bound.
NOISE = 10.0
#: Less than this, times the square of a gradient's error, is no progress of the energy: such an
#: error costs half its square by itself.
NEGLIGIBLE = 0.1
#: A covariance, or a distance, this many times the first one is running away.
RUNAWAY = 1e10


@dataclass(frozen=True)
class Descent:
    """Settings of the loop; `strict`: the tolerance was asked for, noise of nodes or not."""

    geometry: Geometry | GeometrySum
    tau: float
    tol: float
    max_iter: int
    rng: np.random.Generator
    strict: bool = False


def residual_of(mu: Gaussian | GaussianMixture, energy: KL) -> tuple[float, float]:
    """Length of the gradient of the energy in the Fisher metric, and its standard error.

    For a mixture: of the components as Gaussian particles, with the spread of their first
    variations, weighted by their masses.
    """
    form = energy.gaussian_form()
    if isinstance(mu, Gaussian):
        return fisher_norm(*form.stationarity(mu)), form.moments(mu).error
    along, share = form.along(mu), mu.components[0] / mu.mass
    found = [along.moments(g) for g in parts_of(mu)]
    f = np.array([m.value for m in found])
    square = float(share @ (f - float(share @ f)) ** 2)
    square += float(share @ np.array([fisher_norm(m.slope, m.curvature) ** 2 for m in found]))
    error = float(np.sqrt(share @ np.array([m.error**2 for m in found])))
    return float(np.sqrt(square)), error


def elbo_of(mu: Gaussian | GaussianMixture, energy: KL) -> tuple[float, float]:
    """E log p - E log q and the error of the rule, for q of mass 1."""
    form = energy.gaussian_form()
    elbo = -(energy.value(mu) + mu.mass)
    if isinstance(mu, Gaussian):
        return elbo, form.rule_error(mu)
    along, share = form.along(mu), mu.components[0] / mu.mass
    errors = np.array([along.rule_error(g) for g in parts_of(mu)])
    return elbo, float(np.sqrt((share * errors) @ (share * errors)))


def converge(
    start: Gaussian | GaussianMixture,
    target: LogDensity,
    rules: Rules,
    settings: Descent,
) -> Descended:
    """Descend on few nodes to their noise, then on as many as the accuracy needs to the end."""
    trace: list[TraceRow] = []
    mu, rule = start, rules.first
    if rules.most > 0:
        state = _descend(mu, KL(target, rule), settings, trace, rough=True)
        mu, settings = state["measure"], replace(settings, tau=state["tau"])
        rule = rules.enough(state["moment_error"], target.dim)
    state = _descend(mu, KL(target, rule), settings, trace, rough=False)
    return {**state, "trace": tuple(trace), "rule": rule}


@dataclass(frozen=True)
class Rules:
    """A first rule, and how many nodes of its kind a later one may have (0: only the first)."""

    first: ExpectationRule
    most: int = 0
    accuracy: float = 0.03

    def enough(self, error: float, dim: int) -> ExpectationRule:
        """The nodes that bring the standard error down to the accuracy, the first if they do.

        Blocks are few in the first rule and their spread a rough figure: twice the nodes are taken.
        """
        assert isinstance(self.first, Cubature)
        few = 8 * (2 * dim + 1)
        need = 2 * few * (error / self.accuracy) ** 2
        if not need > few:
            return self.first
        return replace(self.first, points=int(min(need, max(self.most, few))))


def _descend(
    mu: Gaussian | GaussianMixture,
    energy: KL,
    settings: Descent,
    trace: list[TraceRow],
    rough: bool,
) -> Descended:
    tau, tol, scale = settings.tau, settings.tol, _extent(mu)
    clock = trace[-1].time if trace else 0.0
    value = _finite_value(mu, energy)
    residual, error = residual_of(mu, energy)
    trace.append(TraceRow(clock, *_elbo_row(value, mu, energy), residual))
    status = "the step limit was reached"
    natural = isinstance(settings.geometry, SphericalHellinger)
    stall, longest = Stall(residual, value), LONGEST
    for _ in range(settings.max_iter):
        if residual <= (max(tol, error) if rough else tol):
            status = "converged"
            break
        if stall.seen(residual, value, max(tol, error)):
            status = f"stalled at residual {residual:.2g} for {STALL} steps"
            noise = max(error, NOISE * tol)
            if residual <= noise and not settings.strict:
                status, tol = "converged to the noise of its gradients", noise
            break
        result = split_step(mu, energy, settings.geometry, tau, rng=settings.rng, throw=False)
        if not (result.success and _improves(result, energy, value, residual)):
            if tau < 1e-5 * settings.tau:
                _check_runaway(mu, scale, unbounded=_unbounded(result))
                status = f"no step lowers the energy; the last said: {result.message}"
                break
            tau /= 4
            continue
        value, clock = result.energy, clock + tau
        assert isinstance(result.measure, (Gaussian, GaussianMixture))
        mu = result.measure
        _check_runaway(mu, scale)
        before = residual
        residual, error = residual_of(mu, energy)
        trace.append(TraceRow(clock, *_elbo_row(value, mu, energy), residual))
        if natural and residual > SLOW * before:
            longest = max(longest / 8, HALFWAY)
        tau = min(2 * tau, longest)
    found = Descended(measure=mu, residual=residual, moment_error=error, status=status, tol=tol)
    found["tau"] = tau
    return found


def _finite_value(mu: Gaussian | GaussianMixture, energy: KL) -> float:
    """The energy at the start, or a sentence where it is infinite."""
    with np.errstate(invalid="ignore"):
        value = energy.value(mu)
    if not np.isfinite(value):
        raise InvalidMeasure(
            "the log density is -inf where a Gaussian has mass, so that every exclusive fit is"
            " infinitely bad; transform bounded variables to the whole line, or use"
            " objective='inclusive'"
        )
    return value


@dataclass
class Stall:
    """Whether neither the residual nor the energy has moved for `STALL` steps.

    Sums over nodes of a density with kinks have no point of zero gradient, and gradients by
    differences have noise of their own.
    """

    residual: float
    value: float
    count: int = 0

    def seen(self, residual: float, value: float, unit: float) -> bool:
        """Count a step; energies are compared with the square of `unit`, a gradient's length."""
        if residual < 0.9 * self.residual or value < self.value - NEGLIGIBLE * unit**2:
            self.residual, self.value = min(residual, self.residual), min(value, self.value)
            self.count = 0
        self.count += 1
        return self.count > STALL


def polish(
    found: Descended,
    target: LogDensity,
    rule: Cubature,
    accuracy: float,
    rng: np.random.Generator,
) -> Descended:
    """Average the converged Gaussian over fresh nodes until its standard error is `accuracy`.

    Round k is a natural-gradient step of gain 1/k, a Fisher-Rao step of length log(k/(k-1)), on
    nodes drawn anew: natural parameters are averaged, and the error falls like k^{-1/2}. Only
    gradients are evaluated.
    """
    mu, error = found["measure"], found["moment_error"]
    assert isinstance(mu, Gaussian)
    rounds = min(MOST_ROUNDS, int(np.ceil((error / accuracy) ** 2)))
    if rounds <= 1:
        return found
    for k in range(1, rounds + 1):
        fresh = replace(rule, seed=int(rng.integers(2**31)))
        moments = KL(target, fresh).gaussian_form().moments(mu, value=False)
        eye = np.eye(mu.dim)
        try:
            mu = natural_update(mu, moments.slope / k, eye + (moments.curvature - eye) / k)
        except Breakdown as trouble:
            status = f"{found['status']}, but not on other nodes: {trouble}"
            return {**found, "residual": float("inf"), "status": status}
    status = f"{found['status']}, then averaged over {rounds} draws of nodes"
    return {**found, "measure": mu, "moment_error": error / np.sqrt(rounds), "status": status}


def _elbo_row(value: float, mu: Gaussian | GaussianMixture, energy: KL) -> tuple[float, float]:
    form = energy.gaussian_form()
    error = form.moments(mu).value_error if isinstance(mu, Gaussian) else 0.0
    return -(value + mu.mass), error


def _extent(mu: Gaussian | GaussianMixture) -> float:
    return float(np.trace(mu.cov) + mu.mean @ mu.mean) + 1.0


def _improves(result: SplitResult, energy: KL, value: float, residual: float) -> bool:
    """Whether the energy falls; within its rounding, whether the gradient does."""
    rise, size = result.energy - value, 1 + abs(value)
    if not rise <= 1e-7 * size:
        return False
    assert isinstance(result.measure, (Gaussian, GaussianMixture))
    return rise <= 1e-11 * size or residual_of(result.measure, energy)[0] < residual


def _unbounded(result: SplitResult) -> bool:
    return result.status is Status.UNBOUNDED


def _check_runaway(mu: Gaussian | GaussianMixture, scale: float, unbounded: bool = False) -> None:
    """Raise when the second moment grows without bound, or no step has a minimiser."""
    extent = _extent(mu)
    if unbounded or not extent < RUNAWAY * scale:
        raise StepFailed(
            f"the fit runs away: its second moment has grown to {extent:.3g} from {scale:.3g};"
            " the target seems improper (no second moment): the log density must fall in every"
            " direction"
        )
