"""The Laplace approximation, by Newton's method in a moving frame."""

from __future__ import annotations

import numpy as np

from jko.energies.gaussian_moments import Field
from jko.errors import InvalidArgument, InvalidMeasure, StepFailed, Unsupported
from jko.measures.gaussian import Gaussian
from jko.measures.target import LogDensity
from jko.validation import Array, instance, positive_int

#: First steps have at most this many units of the frame; ten times more after each full one.
RADIUS = 10.0
#: Beyond this distance from the start, in units of its standard deviations, there is no mode.
FAR = 1e9


def laplace(target: LogDensity, start: Gaussian | None = None, max_iter: int = 200) -> Gaussian:
    r"""N(x*, (-Hess log p(x*))^{-1}) at a mode x* of exp(log p).

    Newton's method in the frame x = m + L u, in which the last Hessian is the identity: invariant
    under affine maps from the second iteration on, with Hessians from differences of gradients
    (or of values), negative eigenvalues turned over and a line search.

    Parameters
    ----------
    target : LogDensity
    start : Gaussian, optional
        First point and length scales; N(0, I) by default.
    max_iter : int

    Returns
    -------
    Gaussian
        Of mass 1.

    Raises
    ------
    StepFailed
        There is no mode, or its Hessian is not negative definite.

    References
    ----------
    Tierney and Kadane (1986).
    """
    instance(target, LogDensity, "target", "pass a jko.LogDensity")
    if start is None:
        start = Gaussian(np.zeros(target.dim), np.eye(target.dim))
    instance(start, Gaussian, "start", "pass a jko.Gaussian")
    if start.dim != target.dim:
        raise InvalidArgument(
            f"start has dimension {start.dim}, the target {target.dim}; pass a start of its space"
        )
    score = None if target.gradient is None else (lambda x: -target.score(x))
    field = Field(lambda x: -target.log_density_at(x), score, dim=target.dim)
    mean, frame = np.array(start.mean), np.asarray(np.linalg.cholesky(start.cov), dtype=float)
    home, scale = start.mean, float(np.sqrt(np.trace(start.cov)))
    radius = RADIUS
    for _ in range(positive_int(max_iter, "max_iter")):
        slope, hessian = _derivatives(field, mean, frame)
        values, basis = np.linalg.eigh(hessian)
        size = np.maximum(np.abs(values), 1e-11 * max(1.0, float(np.abs(values).max())))
        frame = frame @ (basis / np.sqrt(size))
        slope = (basis.T @ slope) / np.sqrt(size)
        if float(np.linalg.norm(slope)) < 1e-8 and values[0] > 0:
            return _gaussian(field, mean, frame)
        moved, theta = _search(field, mean, frame, slope, radius)
        radius = 10 * radius if theta == 1 else max(radius / 4, RADIUS)
        if moved is None:  # no descent left at this precision
            if values[0] > 0 and float(np.linalg.norm(slope)) < 1e-3:
                return _gaussian(field, mean, frame)
            break
        mean = moved
        if not np.linalg.norm(mean - home) < FAR * scale:
            break
    raise StepFailed(
        f"no mode was found from {np.round(home, 3).tolist()}: the log density keeps rising, or is"
        " flat, or has no negative definite Hessian at its maximum; pass another start"
    )


def _derivatives(field: Field, mean: Array, frame: Array) -> tuple[Array, Array]:
    """Gradient and Hessian of V in the frame."""
    dim = len(mean)
    h = 1e-4 if field.gradient is not None else 1e-2
    shifts = h * frame.T
    points = np.concatenate([mean[None], mean + shifts, mean - shifts])
    out = field.whitened_gradient(points, frame)
    hessian = (out[1 : dim + 1] - out[dim + 1 :]) / (2 * h)
    return out[0], (hessian + hessian.T) / 2


def _search(
    field: Field, mean: Array, frame: Array, slope: Array, radius: float
) -> tuple[Array | None, float]:
    """The first of the Newton steps 1, 1/2, 1/4... that makes V smaller, and which."""
    length = float(np.linalg.norm(slope))
    direction = -(slope if length <= radius else slope * (radius / length))
    now = float(field.values(mean[None])[0])
    rate = float(-slope @ direction)
    theta = 1.0
    while theta > 1e-8:
        moved = mean + theta * (frame @ direction)
        if float(field.values(moved[None])[0]) < now - 1e-4 * theta * rate:
            return np.asarray(moved), theta
        theta /= 2
    return None, 0.0


def _gaussian(field: Field, mean: Array, frame: Array) -> Gaussian:
    _, hessian = _derivatives(field, mean, frame)
    root = np.linalg.cholesky(hessian)
    half = np.linalg.solve(root, frame.T)
    return Gaussian(mean, half.T @ half)


def laplace_or_none(
    target: LogDensity, start: Gaussian | None, max_iter: int = 200
) -> Gaussian | None:
    """The Laplace approximation, None where there is none: no mode, or one at an edge."""
    try:
        with np.errstate(all="ignore"):
            return laplace(target, start, max_iter)
    except (StepFailed, Unsupported, InvalidMeasure, np.linalg.LinAlgError):
        return None
