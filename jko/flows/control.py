"""What step doubling is asked for: the error of a flow, and how it is measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.errors import Unsupported
from jko.flows.plan import Plan
from jko.flows.splitting import SplitResult
from jko.geometries.wasserstein import Wasserstein
from jko.measures.atoms import Particles
from jko.measures.base import Discrete, Measure
from jko.measures.gaussian import Gaussian
from jko.numerics.elementary import EPS
from jko.prox.problem import ProxProblem
from jko.validation import one_of, positive

ERRORS = ("state", "energy")


@dataclass(frozen=True)
class AdaptiveStep:
    r"""Step lengths by step doubling: pass it as `tau` to `jko.flow`.

    Every step is taken once whole and once in two halves. With p the order of the scheme, their
    distance over 2^p - 1 estimates the error of the halves, which are kept when it is at most tol
    times the step's share of the flow, and otherwise taken again with a shorter tau. So `tol` is
    the error of the whole flow: the errors of its steps add up to about tol, or less where it
    contracts. It is relative, and the same in every unit of time, length, mass and energy.

    Parameters
    ----------
    tol : float
    tau0 : float, optional
        First attempt; t1/100 when None, or 1/100 where steps are counted.
    error : {"state", "energy"}
        "state": on a fixed support the L1 distance of the weights over the mass; for particles that
        of the weights plus the root mean square distance over their spread; between Gaussians W2
        over the root of the mass and the spread. The spread is sqrt(tr cov), and where the flow
        would go farther at the pace of the step, that way is added to it (in squares).
        "energy": the difference of the energies over the size of the energy's terms, which the
        tolerance of a step is relative to as well, or over what the flow would gain at the pace of
        the step, where that is more (in squares); for any measure.
    longest : float, optional
        No step is longer.

    Notes
    -----
    The share of a step is tau over the time to t1, or one over the number of steps. The next length
    is tau * .9 e^{-.7/p} e'^{.4/p}, e and e' the errors of this step and the last one over what was
    allowed, within [.2, 2] times tau and never longer right after a rejection. The two halves, both
    certified, are the step that is recorded: energies fall as in any flow. The state of the control
    is in a checkpoint, and t1 is hit exactly. An error that does not fall with tau (solver
    tolerances above tol times the share) ends the flow with `StepFailed`.
    """

    tol: float = 1e-2
    tau0: float | None = None
    error: str = "state"
    longest: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "tol", positive(self.tol, "tol"))
        for name in ("tau0", "longest"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, positive(getattr(self, name), name))
        one_of(self.error, ERRORS, "error")

    def distance(self, a: SplitResult, b: SplitResult, start: Start, share: float) -> float:
        """How far apart two results are, relatively, after a step that is a share of a flow."""
        if self.error == "state":
            return apart(a.measure, b.measure, start.measure, share)
        apart_by, size = abs(a.energy - b.energy), start.energy_size(b.energy, share)
        return 0.0 if apart_by <= 64 * EPS * (abs(a.energy) + size) else _relative(apart_by, size)


@dataclass(frozen=True)
class Start:
    """What a step begins with: a measure, and the energies and geometries of the flow."""

    measure: Measure
    plan: Plan
    tau: float
    now: float

    def energy_size(self, after: float, share: float) -> float:
        """The size of the energy's terms and of what a whole flow at this pace would change."""
        plan = self.plan.at(self.now)
        parts = zip(plan.energies, plan.geometries, strict=True)
        unit = max(ProxProblem(F, D, self.measure, self.tau).unit for F, D in parts)
        changed = plan.energy_of(self.measure) - after
        return float(np.hypot(unit, changed / share)) if np.isfinite(changed) else unit


def apart(a: Measure, b: Measure, before: Measure, share: float = 1.0) -> float:
    """The distance called "state" in `AdaptiveStep`."""
    if isinstance(a, Gaussian) and isinstance(b, Gaussian) and isinstance(before, Gaussian):
        apart_by, moved = (Wasserstein().distance(g, b) / b.mass**0.5 for g in (a, before))
        return _over(apart_by, b, moved, share)
    if isinstance(a, Discrete) and isinstance(b, Discrete) and a.n == b.n:
        weights = float(np.abs(a.weights - b.weights).sum()) / a.mass
        if isinstance(a, Particles) and isinstance(b, Particles):
            return weights + _over(_moved(a, b), b, _moved(before, b), share)
        if a.same_support(b):
            return weights
    raise Unsupported(
        f"step doubling cannot compare a {type(a).__name__} and a {type(b).__name__} whose atoms"
        " differ; use jko.AdaptiveStep(error='energy')"
    )


def _moved(a: Measure, b: Particles) -> float:
    """Root mean square distance of particles listed in the same order."""
    if not isinstance(a, Particles) or a.n != b.n:
        return 0.0
    squares = ((a.points - b.points) ** 2).sum(axis=1)
    return float(np.sqrt(b.weights @ squares / b.mass))


def _over(distance: float, measure: Measure, moved: float, share: float) -> float:
    """A distance over the spread of a measure and the way of the whole flow at this pace."""
    way = float(np.hypot(np.sqrt(np.trace(measure.cov)), moved / share))
    return 0.0 if distance == 0 else _relative(distance, way)


def _relative(distance: float, size: float) -> float:
    """A distance over a size, inf where one of them is unknown or there is no size."""
    known = np.isfinite(distance) and 0 < size < np.inf
    return distance / size if known else float("inf")
