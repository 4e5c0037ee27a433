"""What a sampling method is given, and what it fills in as it goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import ArrayLike

from jko.adapters.base import default_names
from jko.errors import InvalidArgument, InvalidMeasure, InvalidType
from jko.markov.mala import Cloud, Density
from jko.markov.resampling import systematic
from jko.measures.atoms import Particles
from jko.measures.fused import Columns
from jko.measures.gaussian import Gaussian, GaussianMixture
from jko.measures.target import LogDensity
from jko.sampling.moves.chains import Chains
from jko.sampling.search.opening import Opening, climbed
from jko.sampling.target.counted import Counted
from jko.sampling.target.differences import Differences
from jko.sampling.target.gradients import check_gradient
from jko.sampling.verdict.evidence import Evidence
from jko.validation import Array, finite_array, instance, one_of, positive_int

#: Best points at which a gradient is compared when it disagrees at one of the first three.
POINTS = 12
#: Relative disagreement there that is no fault: a lost factor of 1.01 is .0099 off.
INEXACT = 5e-3
#: An ensemble has at least this many chains, however few particles are asked for.
SMALLEST = 400


@dataclass(frozen=True, eq=False)
class Task:
    """The arguments of `jko.sample`, checked."""

    target: Counted
    n: int
    size: int
    start: Array
    observables: Callable[[Array], Array] | None
    moves: int
    spread: float
    rng: np.random.Generator
    opening: Opening | None = None

    def features(self, x: Array) -> Array:
        """Coordinates and observables (n, d + k) of points (n, d)."""
        if self.observables is None:
            return x
        extra = np.asarray(self.observables(x), dtype=float)
        if extra.ndim not in (1, 2) or len(extra) != len(x):
            raise InvalidArgument(
                f"observables returned shape {extra.shape} for {len(x)} points;"
                " return one value or one row per point"
            )
        if not np.isfinite(extra).all():
            raise InvalidArgument("observables returned a value that is not finite")
        return np.column_stack([x, extra])

    def cloud(self, x: Array) -> Cloud:
        """The target at points (n, d)."""
        return Cloud.at(self.target, x)


@dataclass
class SampleProgress:
    """What a method has reached; it is read even when the method is interrupted.

    Attributes
    ----------
    points : (m, d) array or None
    weights : (m,) array or None
        None: equal.
    chains : Chains or None
    failures, notes : lists of str
        Sentences for the user; any failure means that the result has not converged.
    figures : dict
    evidence : dict
        What the checks found, by name; what does not pass is a failure.
    """

    points: Array | None = None
    weights: Array | None = None
    chains: Chains | None = None
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    figures: dict[str, object] = field(default_factory=dict)
    evidence: dict[str, Evidence] = field(default_factory=dict)


def stated_density(
    log_density: object, dim: int | None, gradient: Callable[[Array], Array] | None
) -> Density:
    """The target from the arguments of `jko.sample`."""
    if isinstance(log_density, (LogDensity, Gaussian, GaussianMixture)):
        if gradient is not None:
            raise InvalidArgument("gradient is part of the LogDensity; pass it there")
        if dim is not None and positive_int(dim, "dim") != log_density.dim:
            raise InvalidArgument(f"dim = {dim}, but the density has dimension {log_density.dim}")
        target: Density = log_density
    elif not callable(log_density):
        raise InvalidType(
            f"log_density got {type(log_density).__name__}; pass a jko.LogDensity or a vectorised"
            " function (n, d) -> (n,), best with gradient="
        )
    elif dim is None:
        raise InvalidArgument("dim is missing: the number of coordinates of log_density")
    else:
        target = LogDensity(log_density, gradient, positive_int(dim, "dim"))
    if isinstance(target, LogDensity) and target.gradient is None:
        return Differences(target)
    return target


def brought_with(
    target: Counted,
) -> tuple[tuple[str, ...], Callable[[Array], dict[str, Array]] | None]:
    """Names of the coordinates and parameters of a model, where the density has its own."""
    inner = target.inner.inner if isinstance(target.inner, Differences) else target.inner
    if not isinstance(inner, LogDensity):
        return (), None
    plain = inner.names == default_names(inner.dim)
    if plain and isinstance(inner.constrain, Columns):
        return (), None
    return () if plain else inner.names, inner.constrain


def by_differences(target: Counted, x: Array) -> str | None:
    """Set the scale of differences to that of the first points (m, d); what to say about them."""
    if not isinstance(target.inner, Differences):
        return None
    target.inner.scale = x.std(axis=0)
    return (
        f"log_density has no gradient: central differences of {2 * target.dim} values each take its"
        " place; gradient=, by hand or from automatic differentiation, is faster and exact"
    )


def chosen_for(start: object) -> bool:
    """Whether the user leaves the start to the library."""
    if isinstance(start, str):
        one_of(start, ("auto",), "start")
    return start is None or isinstance(start, str)


def to_climb_from(start: object) -> bool:
    """Whether a start says where to begin and nothing of the scale: no start, or one point."""
    if chosen_for(start):
        return True
    if isinstance(start, (Gaussian, GaussianMixture)):
        return False
    x = start.points if isinstance(start, Particles) else _rows(cast("ArrayLike", start))
    return bool(np.ptp(x, axis=0).max() == 0)


def start_points(start: object, target: Density, size: int, rng: np.random.Generator) -> Array:
    """The first ensemble (size, d), inside the support of the target."""
    d = target.dim
    if chosen_for(start):
        x = rng.standard_normal((size, d))
    elif isinstance(start, (Gaussian, GaussianMixture)):
        x = start.sample(size, rng)
    else:
        mu = start if isinstance(start, Particles) else Particles(_rows(cast("ArrayLike", start)))
        x = mu.points[systematic(mu.weights, size, rng)]
    if x.shape[1] != d:
        raise InvalidArgument(
            f"start has dimension {x.shape[1]}, the density {d}; pass a start of its space"
        )
    log_p = target.log_density_at(x)
    inside = np.flatnonzero(log_p > -np.inf)
    if len(inside) == 0:
        i = int(rng.integers(len(x)))
        raise InvalidMeasure(
            f"log_density is -inf at every one of {len(x)} starting points, such as"
            f" {x[i].tolist()}; pass start= inside its support"
        )
    if len(inside) < size:
        x = x[inside[systematic(np.ones(len(inside)), size, rng)]]
    return _spread_out(x, rng)


def _rows(start: ArrayLike) -> Array:
    x = finite_array(start, "start", InvalidMeasure)
    return x[None] if x.ndim == 1 else x


def _spread_out(x: Array, rng: np.random.Generator) -> Array:
    """A cloud that is one point repeated, or flat, gets a little width: chains learn from it."""
    size = x.std(axis=0)
    flat = size <= 1e-8 * (1 + np.abs(x).max(axis=0))
    if not flat.any():
        return x
    width = np.where(flat, 1e-2 * (1 + np.abs(x).max(axis=0)), 0.0)
    out = np.asarray(x + width * rng.standard_normal(x.shape))
    out[0] = x[0]  # a climb may begin where the user said
    return out


def check_target(target: Counted, x: Array, check: bool, rng: np.random.Generator) -> str | None:
    """Evaluate once where the run starts, so that a wrong shape or value is said at once.

    Returns what there is to say of a gradient that is inexact at some points.
    """
    instance(check, bool, "check", "pass True or False")
    cloud = _first_look(target, x)
    said = None
    if check and not isinstance(target.inner, Differences):
        inside = np.flatnonzero(cloud.log_p > -np.inf)
        try:
            check_gradient(target, x[inside[:3]], rng)
        except InvalidArgument as error:
            target.strict = False
            best = np.argsort(-cloud.log_p, kind="stable")[: min(POINTS, len(inside))]
            said = _inexact(target, x[best], cloud.log_p[best], error, rng)
    target.strict = False
    return said


def _first_look(target: Counted, x: Array) -> Cloud:
    """The target where the run starts (m, d); an error where it is no number.

    The gradient alone may overflow at fewer than half of the points, which begin with none there:
    densities much narrower than the points do at those furthest out.
    """
    try:
        return Cloud.at(target, x)
    except InvalidMeasure:
        target.strict = False
        cloud = Cloud.at(target, x)
        if target.lost_values or 2 * target.lost_gradients > len(x):
            raise
        target.strict, target.lost_gradients = True, 0
        return cloud


def _inexact(
    target: Density, x: Array, log_p: Array, error: InvalidArgument, rng: np.random.Generator
) -> str:
    """What to say of a gradient that is right at more than half of the best points (m, d).

    Or where the climbs from them end. A fault is one nearly everywhere: the sensitivities of a
    differential equation that is solved to five digits are off by 2 % at some points far from its
    mass, and by anything where the solver gives up. Chains stay exact all the same.
    """
    where = "best starting points"
    agree = _agree(target, x, rng)
    if 2 * agree <= len(x):
        try:
            fits = climbed(target, x, log_p)[1]
        except (InvalidArgument, InvalidMeasure):
            fits = []
        if not fits:
            raise error
        x = max(fits, key=lambda fit: fit.log_mass).draw(POINTS, rng)
        where, agree = "points near the top", _agree(target, x, rng)
    if 2 * agree <= len(x):
        raise error
    return (
        f"{error}; at {agree} of the {len(x)} {where} it agrees, so that it counts as inexact"
        " there: the chains stay exact, but are less efficient"
    )


def _agree(target: Density, x: Array, rng: np.random.Generator) -> int:
    """At how many points (m, d) the gradient agrees with differences."""
    count = 0
    for point in x:
        try:
            check_gradient(target, point[None], rng, INEXACT)
        except (InvalidArgument, InvalidMeasure):
            continue
        count += 1
    return count
