"""A user's gradient, compared with its function once, at the first points it meets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from jko.errors import InvalidArgument
from jko.numerics.gradients import check_gradient
from jko.validation import Array

#: Points at which a gradient is compared.
POINTS = 3
#: Distance of the places looked at instead of a point where it fails (a kink), as a share of the
#: size of the coordinates; small against it, large against the steps of the differences.
ASIDE = (0.011, -0.017, 0.0059)


class CheckedGradient:
    """A gradient (n, d) -> (n, d) that is compared with its function before it is first believed.

    Three of the points of the first call are looked at. A point where function and gradient
    disagree may lie on a kink: only where they disagree beside it as well is the gradient wrong.

    Parameters
    ----------
    function : callable (n, d) -> (n,)
    gradient : callable (n, d) -> (n, d)
    name, remedy : str
        What the message calls the gradient, and what to do.

    Raises
    ------
    InvalidArgument
        At the first call, where the two disagree.
    """

    def __init__(
        self,
        function: Callable[[Array], ArrayLike],
        gradient: Callable[[Array], ArrayLike],
        name: str,
        remedy: str,
    ) -> None:
        self.function, self.gradient = function, gradient
        self.name, self.remedy = name, remedy
        self.checked = False

    def __call__(self, x: Array) -> Array:
        out = np.asarray(self.gradient(x))
        if not self.checked and out.shape == x.shape:
            self.check(x[np.isfinite(out).all(axis=1) & (x != 0).any(axis=1)])
        return out

    def check(self, x: Array) -> None:
        """Compare at up to three of the points (n, d); the verdict is remembered."""
        if not len(x):
            return
        chosen = x[np.unique(np.linspace(0, len(x) - 1, POINTS).astype(int))]
        try:
            self._compare(chosen)
        except InvalidArgument as first:
            size = size_of(x)
            for point in chosen:
                self._check_beside(point, size, first)
        self.checked = True

    def _check_beside(self, point: Array, size: Array, first: InvalidArgument) -> None:
        """Raise `first` where the gradient is wrong at a point and at all places beside it."""
        for share in (0.0, *ASIDE):
            try:
                self._compare((point + share * size)[None])
            except InvalidArgument:
                continue
            return
        raise first

    def _compare(self, x: Array) -> None:
        check_gradient(self.function, self.gradient, x, name=self.name, remedy=self.remedy)


def size_of(x: Array) -> Array:
    """How large a coordinate is along each axis (d,); along one of zeros, as along the others."""
    size = np.abs(x).max(axis=0) + np.ptp(x, axis=0)
    return np.asarray(np.where(size > 0, size, float(size.max()) or 1.0))
