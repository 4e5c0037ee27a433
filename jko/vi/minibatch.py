"""Fits of posteriors of many observations by gradients of a few of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from jko.energies.divergence import KL
from jko.energies.gaussian_form import fisher_norm
from jko.errors import InvalidType, StepFailed
from jko.expectations import Cubature
from jko.geometries.gaussian import natural_update
from jko.measures.fused import checked_gradients
from jko.measures.gaussian import Gaussian, GaussianMixture
from jko.measures.log_density import LogDensity
from jko.status import Breakdown
from jko.validation import Array, Index, positive_int
from jko.vi.descent import residual_of
from jko.vi.result import Descended, TraceRow

#: Rounds, at most, and rounds before the error of the average is looked at.
MOST_ROUNDS = 400
FEWEST_ROUNDS = 10
#: Step of the difference that stands for the Hessian of a batch, in standard deviations.
LINEAR = 1e-3


@dataclass(frozen=True, eq=False)
class Minibatch:
    """The gradient of a log density from some of its observations.

    Parameters
    ----------
    gradient : callable (n, d), (b,) -> (n, d)
        At points (n, d), with the likelihood of the observations of these indices alone, scaled up
        by observations / b; the prior in full. An unbiased estimate of the gradient.
    observations : int
    size : int
        Observations in a batch.

    References
    ----------
    Hoffman et al. (2013).
    """

    gradient: Callable[[Array, Index], Array]
    observations: int
    size: int = 1000

    def __post_init__(self) -> None:
        if not callable(self.gradient):
            raise InvalidType(
                f"gradient got {type(self.gradient).__name__}; pass a function of points (n, d) and"
                " indices (b,) of observations"
            )
        positive_int(self.observations, "observations")
        positive_int(self.size, "size")

    def draw(self, rng: np.random.Generator) -> Index:
        """The indices of a batch, drawn without replacement."""
        size = min(self.size, self.observations)
        return np.asarray(rng.choice(self.observations, size, replace=False))


@dataclass(frozen=True, eq=False)
class Controlled:
    """The gradient of a batch, its linear part at the Laplace approximation that of all data.

    G_B(x) - [G_B(m) + (G_B(m + e (x - m)) - G_B(m)) / e] - S^{-1} (x - m), N(m, S) the Laplace
    approximation: unbiased up to e, and what is left of the noise of B is of third order.
    """

    batch: Minibatch
    rows: Index
    mode: Gaussian
    precision: Array

    def __call__(self, x: Array) -> Array:
        """Gradients (n, d) at points (n, d)."""
        shift = x - self.mode.mean
        near = np.concatenate([x, self.mode.mean + LINEAR * shift, self.mode.mean[None]])
        found = checked_gradients(self.batch.gradient(near, self.rows), near)
        here, moved, centre = found[: len(x)], found[len(x) : -1], found[-1]
        return np.asarray(here - centre - (moved - centre) / LINEAR - shift @ self.precision)


def descend(
    target: LogDensity,
    mode: Gaussian | GaussianMixture | None,
    batch: Minibatch,
    accuracy: float,
    rng: np.random.Generator,
) -> Descended:
    """Natural-gradient steps of gain 1/k, each on nodes and observations drawn anew.

    As in `jko.vi.descent.polish`, natural parameters are averaged; the spread of the rounds says
    how good their average is. All observations are used for the Laplace approximation at the start
    and for the verdict at the end.
    """
    if not isinstance(mode, Gaussian):
        raise StepFailed(
            "minibatch= needs a mode to start from, and none was found; pass start=, or fit without"
            " minibatch="
        )
    precision = np.asarray(np.linalg.inv(mode.cov), dtype=float)
    eye = np.eye(mode.dim)
    mu, error = mode, float("inf")
    drawn: list[float] = []
    trace: list[TraceRow] = []
    for k in range(1, MOST_ROUNDS + 1):
        rule = Cubature(1, int(rng.integers(2**31)))
        slope = Controlled(batch, batch.draw(rng), mode, precision)
        noisy = LogDensity(_unused, slope, target.dim).trusted()
        moments = KL(noisy, rule).gaussian_form().moments(mu, value=False)
        try:
            mu = natural_update(mu, moments.slope / k, eye + (moments.curvature - eye) / k)
        except Breakdown as trouble:
            said = str(trouble).rsplit(";", 1)[0]  # its remedy is one of steps of a length tau
            raise StepFailed(f"minibatch: {said}; take larger batches") from None
        # At the optimum each round's natural gradient is noise, of nodes and of observations.
        drawn.append(fisher_norm(moments.slope, moments.curvature - eye))
        error = float(np.sqrt(np.mean(np.square(drawn[k // 2 :])) / k))
        trace.append(TraceRow(float(np.log(k)), float("nan"), float("nan"), error))
        if k >= FEWEST_ROUNDS and error <= accuracy:
            break
    residual, spread = residual_of(mu, KL(target, Cubature(1, int(rng.integers(2**31)))))
    return {
        "measure": mu,
        "residual": residual,
        "moment_error": error,
        "tol": 3 * float(np.hypot(accuracy, spread)),
        "trace": tuple(trace),
        "status": f"averaged over {len(trace)} batches of {len(slope.rows)} observations",
        "rule": Cubature(1, int(rng.integers(2**31))),
    }


def _unused(x: Array) -> Array:
    """Only gradients are taken of a batch."""
    return np.zeros(len(x))
