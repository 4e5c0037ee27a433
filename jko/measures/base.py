"""What every measure offers, and what the ones made of weighted points share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike

from jko.errors import InvalidMeasure, InvalidType, Unsupported
from jko.html import card, curve
from jko.later import draw
from jko.measures.plain import to_dict
from jko.validation import Array, Mask, ReadOnly, shown

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from jko.kernels import Kernel


class Measure(ReadOnly, ABC):
    """A positive measure on R^d. Measures are immutable; their arrays are read-only."""

    mass: float
    mean: Array
    cov: Array

    @property
    @abstractmethod
    def dim(self) -> int:
        """Dimension d of the space the measure lives on."""

    def to_dict(self) -> dict[str, object]:
        """The measure as plain numbers, lists and strings: its type and what makes it again.

        `json.dumps` takes the result, `jko.measures.from_dict` makes an equal measure of it, to
        the last bit.

        Raises
        ------
        Unsupported
            A measure from outside jko.
        """
        return to_dict(self)

    def plot(self, ax: Axes | None = None, **options: object) -> list[Artist]:
        """Draw the measure; see `jko.plot.measure`."""
        drawn: list[Artist] = draw("measure", self, ax, **options)
        return drawn

    def _html_rows(self) -> list[tuple[str, object]]:
        """The figures a notebook shows."""
        mean = np.array2string(np.asarray(self.mean), precision=4, threshold=6, separator=", ")
        return [("dim", self.dim), ("mass", float(self.mass)), ("mean", mean)]

    def _repr_html_(self) -> str:
        profile = getattr(self, "density", None)  # of a density on a grid
        picture = curve(profile.tolist()) if profile is not None and self.dim == 1 else ""
        return card(type(self).__name__, self._html_rows(), picture)


class Discrete(Measure):
    """A measure made of weighted points: grid densities, histograms, particles.

    Attributes
    ----------
    points : (n, d) array
        The atoms (cell centres on a grid).
    weights : (n,) array
        Masses of the atoms (cell masses on a grid); zeros are allowed.
    """

    points: Array
    weights: Array

    @property
    def n(self) -> int:
        """Number of atoms."""
        return int(self.weights.shape[0])

    @property
    def dim(self) -> int:
        return int(self.points.shape[1])

    @property
    def mass(self) -> float:  # type: ignore[override]
        """Total mass."""
        return float(self.weights.sum())

    @property
    def mean(self) -> Array:  # type: ignore[override]
        """Mean (d,), normalised by the mass."""
        # Relative to an atom: coordinates far from zero, such as dates, keep their last digits.
        origin = self.points[0]
        return np.asarray(origin + self.weights @ (self.points - origin) / self.mass)

    @property
    def cov(self) -> Array:  # type: ignore[override]
        """Covariance (d, d), normalised by the mass (no small-sample correction)."""
        centred = self.points - self.mean
        return (centred.T * self.weights) @ centred / self.mass

    @property
    def reference(self) -> Array:
        """Base measure (n,) that densities refer to: counting, or cell volumes on a grid."""
        return np.ones(self.n)

    @property
    def free(self) -> Mask | None:
        """Atoms (n,) that may carry mass; None when all may."""
        return None

    @property
    def ess(self) -> float:
        """Effective sample size, (sum w)^2 / sum w^2."""
        return self.mass**2 / float(self.weights @ self.weights)

    def _html_rows(self) -> list[tuple[str, object]]:
        return [("atoms", self.n), *super()._html_rows(), ("ess", float(self.ess))]

    def expect(self, f: Callable[[Array], ArrayLike]) -> float | Array:
        """Integral of a vectorised function `f`: (n, d) -> (n, ...); not normalised."""
        if not callable(f):
            raise InvalidType(f"f got {shown(f)}; pass a function (n, d) -> (n, ...)")
        values = np.asarray(f(self.points))
        if values.dtype.kind not in "fiubc":
            raise InvalidMeasure(f"f returned {values.dtype} values; return numbers")
        if values.shape[:1] != (self.n,):
            raise InvalidMeasure(
                f"f returned shape {values.shape} for {self.n} points;"
                " return one value (or row) per point"
            )
        out = np.tensordot(self.weights, values, axes=1)
        return float(out) if out.ndim == 0 else out

    def pair_expect(self, kernel: Kernel) -> float:
        """Double integral of a kernel against the measure."""
        return float(kernel.inner(self, self))

    def same_support(self, other: Measure) -> bool:
        """Whether `other` has exactly these atoms, in this order."""
        return isinstance(other, Discrete) and (
            self.points is other.points or np.array_equal(self.points, other.points)
        )

    @abstractmethod
    def with_weights(self, weights: ArrayLike) -> Self:
        """The same atoms with other weights (n,)."""

    def with_points(self, points: ArrayLike) -> Self:
        """The same weights on other atoms (n, d)."""
        raise Unsupported(
            f"the points of a {type(self).__name__} are fixed; use jko.Particles to move them"
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}(n={self.n}, dim={self.dim}, mass={self.mass:.6g})"


def check_measure(value: object, name: str) -> None:
    """A measure, or a sentence with the one that suits the value."""
    if isinstance(value, Measure):
        return
    remedy = "pass a measure: jko.GridDensity, jko.Histogram, jko.Particles or jko.Gaussian"
    if hasattr(value, "__array__") or isinstance(value, (list, tuple)):
        remedy = (
            "wrap points (n, d) in jko.Particles(points), with weights (n,) in"
            " jko.Histogram(points, weights)"
        )
    raise InvalidType(f"{name} got {shown(value)}; {remedy}")
