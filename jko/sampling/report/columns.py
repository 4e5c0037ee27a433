"""Parameters of a sample, whatever it came from, each with its moments and their errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from jko.adapters.base import entry_names
from jko.errors import InvalidArgument, InvalidType
from jko.measures.atoms import Particles
from jko.sampling.report.result import SampleResult
from jko.validation import Array

#: From so many independent chains on, errors are read from the scatter of the chains' means.
MANY = 50
#: Draws of one chain that a half of it must have for its autocorrelation to mean something.
SHORT = 4


@dataclass(frozen=True)
class Column:
    """One parameter.

    Attributes
    ----------
    mean, std : float
    mean_error : float
        Standard error of the mean.
    std_error : float
        Standard error of the standard deviation, relative to it.
    ess : float
        Effective number of draws behind the mean.
    """

    mean: float
    std: float
    mean_error: float
    std_error: float
    ess: float


class Grouped(Protocol):
    """Inference data of ArviZ: a group of variables (chain, draw, ...)."""

    @property
    def posterior(self) -> Any:
        """The draws of the posterior."""


def of_chains(x: Array) -> Column:
    """Moments of draws (chains, draws) of equal weight."""
    mean, variance = float(x.mean()), float(x.var())
    square = (x - mean) ** 2
    error, error_square = error_of_mean(x), error_of_mean(square)
    return _column(mean, variance, error, error_square)


def of_weighted(x: Array, weights: Array) -> Column:
    """Moments of independent points (n,) with weights (n,)."""
    w = weights / weights.sum()
    mean = float(w @ x)
    square = (x - mean) ** 2
    variance = float(w @ square)
    error = float(np.sqrt(w**2 @ square))
    return _column(mean, variance, error, float(np.sqrt(w**2 @ (square - variance) ** 2)))


def _column(mean: float, variance: float, error: float, error_square: float) -> Column:
    ess = variance / error**2 if error > 0 else np.inf
    relative = error_square / (2 * variance) if variance > 0 else 0.0
    return Column(mean, float(np.sqrt(variance)), error, relative, ess)


def error_of_mean(x: Array) -> float:
    r"""Standard error of the mean of draws (chains, draws).

    From the scatter between chains where there are `MANY`; else from the autocorrelations of
    halved chains, summed as long as pairs of them are positive and fall (Geyer 1992), against the
    variance within and between the chains (Vehtari et al. 2021).
    """
    chains, count = x.shape
    if chains >= MANY or count < 2 * SHORT:
        return float(x.mean(axis=1).std(ddof=1) / np.sqrt(chains)) if chains > 1 else np.nan
    half = count // 2
    x = np.concatenate([x[:, :half], x[:, count - half :]])
    covariances = _autocovariances(x).mean(axis=0)
    within = covariances[0] * half / (half - 1)
    whole = within * (half - 1) / half + float(x.mean(axis=1).var(ddof=1))
    if not whole > 0:
        return 0.0
    rho = 1 - (within - covariances) / whole
    rho[0] = 1.0
    pairs = rho[: 2 * (half // 2)].reshape(-1, 2).sum(axis=1)
    positive = int(np.argmax(pairs <= 0)) if (pairs <= 0).any() else len(pairs)
    time = 2 * float(np.minimum.accumulate(pairs[:positive]).sum()) - 1
    least = 1 / np.log10(max(10.0, x.size))  # draws that repel each other gain no more than this
    return float(np.sqrt(whole * max(time, least) / x.size))


def _autocovariances(x: Array) -> Array:
    """Autocovariances (chains, draws) of every chain."""
    count = x.shape[1]
    centred = x - x.mean(axis=1, keepdims=True)
    size = 1 << (2 * count - 1).bit_length()
    spectrum = np.abs(np.fft.rfft(centred, size, axis=1)) ** 2
    return np.asarray(np.fft.irfft(spectrum, size, axis=1)[:, :count] / count)


def columns_of(
    source: object, argument: str, names: Sequence[str] | None = None
) -> dict[str, Column]:
    """The parameters of a sample by name: theta[0], tau...

    Parameters
    ----------
    source : SampleResult, Particles, ArviZ inference data, or mapping of arrays
        (chain, draw, ...) arrays by name in a mapping.
    argument : str
        What messages call it.
    names : sequence of d str, optional
        Names of the coordinates of a sample or of particles.
    """
    if isinstance(source, SampleResult):
        return _of_sample(source, argument, names)
    if isinstance(source, Particles):
        labels = _labels(source.dim, names)
        pairs = zip(labels, source.points.T, strict=True)
        return {label: of_weighted(x, source.weights) for label, x in pairs}
    group = _group(source, argument)
    found = {}
    for name, array in _entries(group, argument):
        found[name] = of_chains(_finite(array, name, argument))
    return found


def _of_sample(out: SampleResult, argument: str, names: Sequence[str] | None) -> dict[str, Column]:
    if out.draws is None:
        if names is not None or out.constrain is None:
            labels = out.labels(names)
            values = dict(zip(labels, out.measure.points.T, strict=True))
        else:
            values = out.constrained()
        w = out.measure.weights
        return {n: of_weighted(x, w) for n, x in scalars(values, 1)}
    if names is not None or out.constrain is None:
        labels = out.labels(names)
        values = {label: out.draws[:, :, j] for j, label in enumerate(labels)}
    else:
        values = out.constrained(draws=True)
    return {n: of_chains(_finite(x, n, argument)) for n, x in scalars(values, 2)}


def _labels(dim: int, names: Sequence[str] | None) -> list[str]:
    if names is None:
        return [f"x{j}" for j in range(dim)]
    if len(names) != dim:
        raise InvalidArgument(f"names has {len(names)} entries; give {dim} different ones")
    return list(names)


def scalars(values: Mapping[str, Array], lead: int) -> Iterator[tuple[str, Array]]:
    """The entries of arrays with so many leading axes, each by its own name."""
    for name, array in values.items():
        shape = array.shape[lead:]
        flat = array.reshape(*array.shape[:lead], -1)
        for k, label in enumerate(entry_names(name, shape)):
            yield label, flat[..., k]


def _group(source: object, argument: str) -> Mapping[str, object]:
    posterior = getattr(source, "posterior", None)
    variables = getattr(posterior, "data_vars", None)
    if isinstance(variables, Mapping):
        return variables
    if isinstance(source, Mapping):
        return source
    raise InvalidType(
        f"{argument} got {type(source).__name__}; pass a sample of jko.sample, ArviZ inference data"
        " with a posterior, Particles, or a dict of arrays (chain, draw, ...)"
    )


def _entries(group: Mapping[str, object], argument: str) -> Iterator[tuple[str, Array]]:
    for name, variable in group.items():
        if hasattr(variable, "transpose") and hasattr(variable, "dims"):
            variable = variable.transpose("chain", "draw", ...)
        array = np.asarray(variable)
        if array.ndim < 2 or array.size == 0 or array.dtype.kind not in "fiub":
            raise InvalidArgument(
                f"{argument} has {name!r} of shape {array.shape} and type {array.dtype}; give"
                " numbers with the axes (chain, draw, ...)"
            )
        yield from scalars({str(name): array.astype(float)}, 2)


def _finite(x: Array, name: str, argument: str) -> Array:
    if not np.isfinite(x).all():
        count = int((~np.isfinite(x)).sum())
        raise InvalidArgument(
            f"{argument} has {count} draws of {name} that are not finite; leave it out"
        )
    return x
