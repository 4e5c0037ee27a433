"""What step doubling is asked for: an error per unit of time, and how it is measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.errors import Unsupported
from jko.flows.splitting import SplitResult
from jko.geometries.wasserstein import Wasserstein
from jko.measures.atoms import Particles
from jko.measures.base import Discrete, Measure
from jko.measures.gaussian import Gaussian
from jko.validation import one_of, positive

ERRORS = ("state", "energy")


@dataclass(frozen=True)
class AdaptiveStep:
    r"""Step lengths by step doubling: pass it as `tau` to `jko.flow`.

    Every step is taken once whole and once in two halves. With p the order of the scheme, their
    distance over 2^p - 1 estimates the error of the halves, which are kept when it is at most
    tol * tau, and otherwise taken again with a shorter tau. So `tol` is an error per unit time:
    over a flow of length T the errors add up to about tol * T, or less where the flow contracts.

    Parameters
    ----------
    tol : float
    tau0 : float, optional
        First attempt; t1/100 when None.
    error : {"state", "energy"}
        "state": on a fixed support the L1 distance of the weights over the mass; for particles the
        root mean square distance, plus that of the weights; between Gaussians W2 over the root of
        the mass. "energy": the difference of the energies, for any measure.
    longest : float, optional
        No step is longer.

    Notes
    -----
    The next length is tau * .9 e^{-.7/p} e'^{.4/p}, e and e' the errors of this step and the last
    one over what was allowed, within [.2, 2] times tau and never longer right after a rejection.
    The two halves, both certified, are the step that is recorded: energies fall as in any flow.
    The state of the control is in a checkpoint, and t1 is hit exactly. An error that does not
    fall with tau (solver tolerances above tol * tau) ends the flow with `StepFailed`.
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

    def distance(self, a: SplitResult, b: SplitResult) -> float:
        """How far apart two results are."""
        return abs(a.energy - b.energy) if self.error == "energy" else apart(a.measure, b.measure)


def apart(a: Measure, b: Measure) -> float:
    """The distance called "state" in `AdaptiveStep`."""
    if isinstance(a, Gaussian) and isinstance(b, Gaussian):
        return Wasserstein().distance(a, b) / float(np.sqrt(a.mass))
    if isinstance(a, Discrete) and isinstance(b, Discrete) and a.n == b.n:
        weights = float(np.abs(a.weights - b.weights).sum()) / a.mass
        if isinstance(a, Particles):
            moved = float(a.weights @ ((a.points - b.points) ** 2).sum(axis=1))
            return weights + float(np.sqrt(moved / a.mass))
        if a.same_support(b):
            return weights
    raise Unsupported(
        f"step doubling cannot compare a {type(a).__name__} and a {type(b).__name__} whose atoms"
        " differ; use jko.AdaptiveStep(error='energy')"
    )
