"""The arguments of `jko.vi.fit`, read and checked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jko.errors import InvalidArgument, InvalidType, Unsupported
from jko.measures.gaussian import Gaussian, GaussianMixture
from jko.measures.target import LogDensity
from jko.validation import Array, instance
from jko.vi.minibatch import Minibatch

#: Points at which the gradient is checked.
CHECKED = 3


def stated_target(
    log_density: object, dim: int | None, gradient: Callable[[Array], Array] | None
) -> LogDensity:
    """The target from what was handed in."""
    if isinstance(log_density, (Gaussian, GaussianMixture)):
        return LogDensity(log_density.log_density_at, log_density.score, log_density.dim)
    if isinstance(log_density, LogDensity):
        if dim is not None and dim != log_density.dim:
            raise InvalidArgument(f"dim = {dim}, but the log density has dim {log_density.dim}")
        return log_density
    if not callable(log_density):
        raise InvalidType(
            f"log_density got {type(log_density).__name__}; pass a function (n, d) -> (n,), a"
            " jko.LogDensity, a jko.Gaussian or a jko.GaussianMixture"
        )
    if dim is None:
        raise InvalidArgument("dim is missing; pass the dimension of the points of log_density")
    return LogDensity(log_density, gradient, dim)


def check_start(start: Gaussian | GaussianMixture | None, family: str, dim: int) -> None:
    """Refuse a start of the wrong kind or dimension."""
    if start is None:
        return
    kinds = (Gaussian,) if family == "gaussian" else (Gaussian, GaussianMixture)
    instance(start, kinds, "start", f"start a {family} from a jko.Gaussian")
    if start.dim != dim:
        raise InvalidArgument(
            f"start lives in dimension {start.dim}, the log density in {dim}; pass a start of its"
            " space"
        )


def check_target(target: LogDensity, start: Gaussian | GaussianMixture | None) -> None:
    """Compare the gradient with the log density where the fit begins."""
    first = start or Gaussian(np.zeros(target.dim), np.eye(target.dim))
    rng = np.random.default_rng(0)  # of its own: whether it is asked for changes no fit
    points = first.sample(CHECKED, rng)
    points = points[target.log_density_at(points) > -np.inf]
    if target.gradient is not None and len(points):
        target.score(points)  # its shape and values
        target.check_gradient(points, rng)


def check_minibatch(minibatch: object, objective: str, family: str, geometry: object) -> None:
    """Refuse batches of observations where they are not offered."""
    if minibatch is None:
        return
    instance(minibatch, Minibatch, "minibatch", "pass a jko.vi.Minibatch(gradient, observations)")
    if objective != "exclusive" or family != "gaussian" or geometry is not None:
        raise Unsupported(
            "minibatch= fits a Gaussian by natural gradients with objective='exclusive'; leave out"
            " geometry= and family=, or leave out minibatch="
        )
