"""What kernels made of kernels share: blocks of their parts, combined."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from jko.validation import Array

from .base import Kernel
from .hooks import Definiteness
from .pairwise import PRODUCT_DIMENSION, TILE, sqdistances
from .radial import RadialKernel


class Compound(RadialKernel):
    """A kernel built from `parts`; it is radial, and shares distances, when all of them are."""

    @property
    def parts(self) -> tuple[Kernel, ...]:
        raise NotImplementedError

    @property
    def radial(self) -> bool:  # type: ignore[override]
        """Whether all parts depend on |x - y| only."""
        return all(isinstance(p, RadialKernel) and p.radial for p in self.parts)

    @property
    def stationary(self) -> bool:  # type: ignore[override]
        """Whether all parts depend on x - y only."""
        return all(p.stationary for p in self.parts)

    @property
    def singular(self) -> bool:  # type: ignore[override]
        """Whether the slope of some part blows up at coincident points."""
        return any(getattr(p, "singular", False) for p in self.parts)

    @property
    def definiteness(self) -> Definiteness:
        """The weakest of the parts."""
        found = {p.definiteness for p in self.parts}
        for weak in (Definiteness.INDEFINITE, Definiteness.CONDITIONAL):
            if weak in found:
                return weak
        return Definiteness.POSITIVE

    def _combine(self, values: Sequence[Array]) -> Array:
        raise NotImplementedError

    def _combine_derivative(self, values: Sequence[Array], slopes: Sequence[Array]) -> Array:
        raise NotImplementedError

    @property
    def _radial_parts(self) -> list[RadialKernel]:
        return [p for p in self.parts if isinstance(p, RadialKernel)]

    def profile(self, sq: Array) -> Array:
        return self._combine([p.profile(sq) for p in self._radial_parts])

    def slope(self, sq: Array) -> Array:
        slopes = [p._slope(sq) for p in self._radial_parts]
        values = [p.profile(sq) for p in self._radial_parts]
        return self._combine_derivative(values, slopes)

    def _gram(self, x: Array, y: Array) -> Array:
        if self.radial:
            return self.profile(sqdistances(x, y))
        return self._combine([p._gram(x, y) for p in self.parts])

    def _gradient(self, x: Array, y: Array) -> Array:
        if self.radial:
            return super()._gradient(x, y)
        values = [p._gram(x, y)[:, :, None] for p in self.parts]
        return self._combine_derivative(values, [p._gradient(x, y) for p in self.parts])

    def _gradient_sums(self, x: Array, y: Array, v: Array) -> Array:
        sums = RadialKernel._gradient_sums if self.radial else Kernel._gradient_sums
        return sums(self, x, y, v)

    def diagonal(self, x: ArrayLike) -> Array:
        """The values k(x_i, x_i), shape (n,)."""
        return self._combine([p.diagonal(x) for p in self.parts])

    @property
    def maximum(self) -> float | None:
        """The bound that follows from those of the parts, None when one is missing."""
        bounds = [p.maximum for p in self.parts]
        known = [np.asarray(b) for b in bounds if b is not None]
        return float(self._combine(known)) if len(known) == len(bounds) else None


class LinearCompound(Compound):
    """A compound that is linear in its parts: sums go part by part, each in its fastest way."""

    def _together(self, x: Array) -> bool:
        # From here on the squared distances, which radial parts share, are most of the work.
        return self.radial and len(self.parts) > 1 and x.shape[1] >= PRODUCT_DIMENSION

    def _sums(self, x: Array, y: Array, v: Array) -> Array:
        if self._together(x):
            return super()._sums(x, y, v)
        return self._combine([p._sums(x, y, v) for p in self.parts])

    def _gradient_sums(self, x: Array, y: Array, v: Array) -> Array:
        # Between few points the loops around the blocks cost as much as what is in them.
        few = self.radial and not self.singular and len(x) * len(y) < TILE**2
        if self._together(x) or (few and len(self.parts) > 1):
            return super()._gradient_sums(x, y, v)
        return self._combine([p._gradient_sums(x, y, v) for p in self.parts])

    def slope(self, sq: Array) -> Array:
        return self._combine([p._slope(sq) for p in self._radial_parts])

    def _combine_derivative(self, values: Sequence[Array], slopes: Sequence[Array]) -> Array:
        return self._combine(slopes)
