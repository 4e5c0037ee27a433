"""A user's gradient, compared with differences of the user's function, in any unit and precision.

The one checker of the package: log densities, potentials and interaction kernels all come here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jko.errors import InvalidArgument
from jko.validation import Array, Index, Mask

#: Relative disagreement beyond which a gradient is wrong. Right ones in double precision stay
#: below 1e-6, faults such as a lost factor or sign are above 1e-2.
TOLERANCE = 1e-4
#: The same for functions that return single precision, whose right gradients were off by 2e-4.
SINGLE = 3e-3
#: Step of the first difference, relative to the size of the coordinate.
FIRST = 1e-5
#: Steps tried where the first difference disagrees: tenfold apart, since the right one depends on
#: the scale of the function, which is not known, and on the precision it works in inside.
LADDER = 10.0 ** np.arange(1.0, -13.0, -1.0)
#: Coordinates compared at each point; beyond, some are drawn at random.
MOST = 64
#: Units of rounding in a value, on top of what the ladder sees.
ROUNDING = 8.0

Values = Callable[[Array], ArrayLike]


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Points and coordinates to compare: x (m, d), and m coordinates and gradient entries."""

    x: Array
    j: Index
    given: Array
    size: Array
    scale: Array

    def __getitem__(self, chosen: Mask) -> _Pairs:
        parts = (self.x, self.j, self.given, self.size, self.scale)
        return _Pairs(*(part[chosen] for part in parts))  # type: ignore[arg-type]


def check_gradient(
    f: Values,
    gradient: Values,
    points: Array,
    *,
    name: str = "gradient",
    remedy: str = "correct it",
    rng: np.random.Generator | None = None,
    tolerance: float = TOLERANCE,
) -> float:
    r"""Compare a gradient with central differences of its function, coordinate by coordinate.

    Where (f(x + h e_j) - f(x - h e_j)) / (2h) with h = 1e-5 of the size of x_j agrees, nothing
    more is evaluated: 2 d values a point. Elsewhere h runs from 10 to 1e-12 of that size, and the
    difference that agrees best with those of its two neighbours decides; their spread is its error
    (truncation on one side, rounding on the other, whatever precision the function works in).
    Where no difference is reliable, nothing is claimed.

    Parameters
    ----------
    f : callable (n, d) -> (n,)
        May return -inf or NaN where it is not defined; such differences are no evidence.
    gradient : callable (n, d) -> (n, d)
    points : (m, d) array
        A few points where f is finite and differentiable. Their spread says how large a coordinate
        is where it is near 0.
    name, remedy : str
        What the message calls the gradient, and how it ends.
    rng : numpy Generator, optional
        Draws the coordinates compared beyond 64.
    tolerance : float
        Relative disagreement beyond which a gradient in double precision is wrong.

    Returns
    -------
    float
        The largest relative disagreement found, beyond the error of the differences.

    Raises
    ------
    InvalidArgument
        The gradient disagrees by more than 1e-4 (3e-3 where f returns single precision), or its
        shape is wrong; the message names the coordinate, the point and both values.
    """
    x = np.array(points, dtype=float, ndmin=2)
    given = np.asarray(gradient(x))
    if given.shape != x.shape:
        raise InvalidArgument(
            f"{name} returned shape {given.shape} for points of shape {x.shape};"
            " return one row per point"
        )
    pairs = _pairs(x, np.asarray(given, dtype=float), rng or np.random.default_rng(0))
    off, single = _quick(f, pairs)
    limit = max(tolerance, SINGLE) if single or is_single(given) else tolerance
    worst = float(np.max(off, where=off <= limit, initial=0.0))
    again = ~(off <= limit)
    if not again.any():
        return worst
    rest = pairs[again]
    found, error = _best(f, rest)
    with np.errstate(invalid="ignore"):
        excess = np.maximum(np.abs(found - rest.given) - 4 * error, 0.0)
    excess = np.where(np.isfinite(error), excess, 0.0)
    size = np.maximum(rest.scale, np.where(np.isfinite(error), np.abs(found), 0.0))
    off = np.divide(excess, size, out=np.zeros_like(excess), where=size > 0)
    i = int(np.argmax(off))
    if off[i] > limit:
        said = _sentence(name, rest, i, float(found[i]), single or is_single(given))
        raise InvalidArgument(f"{said}; {remedy}")
    return max(worst, float(off[i]))


def is_single(values: NDArray[np.floating]) -> bool:
    """Whether an array is of floating numbers of less than double precision."""
    return values.dtype.kind == "f" and values.dtype.itemsize < 8


def _sentence(name: str, pairs: _Pairs, i: int, found: float, single: bool) -> str:
    precise = (
        " (compared in the single precision that the function returns; double precision tells more)"
        if single
        else ""
    )
    return (
        f"{name} disagrees with finite differences in coordinate {pairs.j[i]} at"
        f" {pairs.x[i].tolist()}: it says {pairs.given[i]:.6g}, differences say"
        f" {found:.6g}{precise}"
    )


def _pairs(x: Array, given: Array, rng: np.random.Generator) -> _Pairs:
    m, d = x.shape
    chosen = np.arange(d)
    if d > MOST:
        chosen = np.sort(rng.choice(d, MOST, replace=False))
    spread = x.max(axis=0) - x.min(axis=0)
    size = np.maximum(np.abs(x), spread)
    size[size == 0] = 1.0
    scale = np.broadcast_to(np.abs(given).max(axis=0), x.shape)
    rows, j = np.repeat(np.arange(m), len(chosen)), np.tile(chosen, m)
    return _Pairs(x[rows], j, given[rows, j], size[rows, j], scale[rows, j])


def _difference(f: Values, pairs: _Pairs, h: Array) -> tuple[Array, Array, bool]:
    """Differences (m,), the rounding of the values in them (m,), and whether f is single."""
    count = np.arange(len(pairs.x))
    ends, places = [], []
    for sign in (1.0, -1.0):
        moved = pairs.x.copy()
        moved[count, pairs.j] += sign * h
        places.append(moved[count, pairs.j])
        with np.errstate(all="ignore"):  # far out functions overflow: no evidence
            ends.append(_values(f, moved))
    single = is_single(ends[0])
    unit = float(np.finfo(ends[0].dtype if single else np.float64).eps)
    right, left = (np.asarray(end, dtype=float) for end in ends)
    # The distance between the points as they are, not 2 h: x + h is rounded.
    width = places[0] - places[1]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        slope = (right - left) / width
        rounding = ROUNDING * unit * (np.abs(right) + np.abs(left)) / width
        # A function in single precision sees its argument in single precision as well.
        rounding += (unit if single else 0.0) * np.abs(pairs.x[count, pairs.j] * slope) / h
    return slope, rounding, single


def _values(f: Values, x: Array) -> NDArray[np.floating]:
    """f at points (m, d), one number for each."""
    out = np.asarray(f(x))
    if out.shape != x.shape[:1] or out.dtype.kind not in "fiub":
        raise InvalidArgument(
            f"the function gave an array of shape {out.shape} and dtype {out.dtype} for"
            f" {len(x)} points; give one real number per point"
        )
    return out


def _quick(f: Values, pairs: _Pairs) -> tuple[Array, bool]:
    """Relative disagreement with one difference (NaN: no evidence), and whether f is single."""
    slope, rounding, single = _difference(f, pairs, FIRST * pairs.size)
    with np.errstate(invalid="ignore", divide="ignore"):
        excess = np.maximum(np.abs(slope - pairs.given) - rounding, 0.0)
        scale = np.maximum(pairs.scale, np.abs(slope))
        off = excess / scale
    # What is lost in rounding is no agreement: the ladder looks at it again.
    return np.where(np.isfinite(slope) & (rounding <= TOLERANCE * scale), off, np.nan), single


def _best(f: Values, pairs: _Pairs) -> tuple[Array, Array]:
    """The most reliable difference of the ladder (m,) and its error, infinite where none is."""
    slopes, noises = [], []
    for step in LADDER:
        slope, noise, _ = _difference(f, pairs, step * pairs.size)
        slopes.append(slope)
        noises.append(noise)
    d, rounding = np.array(slopes), np.array(noises)
    # Steps that a function in low precision does not see give exact zeros: no evidence of a zero.
    unseen = (d == 0) & ~(d == 0).all(axis=0)
    with np.errstate(invalid="ignore"):
        gaps = np.abs(np.diff(d, axis=0))
        # Of D(h), D(h/10), D(h/100) the middle one: its truncation is 1/100 of that of the first.
        error = np.maximum(gaps[:-1] / 30, _noise(gaps[1:])) + rounding[1:-1]
    unseen = unseen[:-2] | unseen[1:-1] | unseen[2:]
    error = np.where(np.isfinite(error) & ~unseen, error, np.inf)
    best = np.argmin(error, axis=0)
    column = np.arange(len(best))
    return d[1:-1][best, column], error[best, column]


def _noise(gaps: Array) -> Array:
    """Rounding (k, m) in a difference, from how much all with shorter steps disagree.

    It grows like 1/h: a gap at h / 10^i stands for 10^-i of it at h. One gap alone may be small
    by chance.
    """
    out = gaps.copy()
    for k in range(len(gaps) - 2, -1, -1):
        out[k] = np.fmax(gaps[k], out[k + 1] / 10)
    return out
