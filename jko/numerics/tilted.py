r"""Products of Gaussian kernels with steep arguments, flattened by a quadratic.

Potentials of transport over many widths sqrt(eps) are steep, and nearly quadratic. With
e^{v(x)} = e^{u(x) - (k x^2 - 2 s x)/eps} along an axis the squares are completed,

    k x^2 - 2 s x + (x - y)^2 = (1 + k) (x - z)^2 + y^2 - (1 + k) z^2,   z = (y + s)/(1 + k):

a dense product of u with another Gaussian matrix, and a quadratic in y. It is exact; what remains,
u, needs a range that exponentials hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.numerics.log_lines import LineKernel
from jko.numerics.products import (
    LIFT,
    SAFE,
    exp_scaled,
    falling,
    log_scaled,
    product,
    without_faint,
)
from jko.validation import Array, Mask

#: Entries this far below the highest stand for log 0.
NOTHING = 1e7
#: Arguments may grow by at most this share of the kernel's own curvature.
CONVEX = 0.9


@dataclass(frozen=True, eq=False)
class Tilted:
    """Kernels along the axes with the quadratics taken out, for arguments near one another.

    Attributes
    ----------
    matrices : tuple of (n_k, n_k) arrays
        exp(-unit (1 + k) (x - z(y))^2), x first.
    before, after : arrays of the grid's shape
        The quadratics of the argument and of the result.
    """

    matrices: tuple[Array, ...]
    before: Array
    after: Array

    @classmethod
    def of(cls, v: Array, lines: list[LineKernel]) -> Tilted | None:
        """Fitted to the argument v, of the grid's shape; None where nothing is to be taken out."""
        top = float(v.max())
        charged = v > top - NOTHING
        matrices = []
        before, after = np.zeros(v.shape), np.zeros(v.shape)
        for axis, line in enumerate(lines):
            k, slope, middle = _quadratic(v, charged, axis, line.unit)
            x = np.arange(line.n, dtype=float) - middle
            z = (x + slope) / (1 + k)
            matrices.append(falling(line.unit * (1 + k) * (x[:, None] - z) ** 2))
            shape = [1] * v.ndim
            shape[axis] = line.n
            before = before - (line.unit * x * (k * x - 2 * slope)).reshape(shape)
            rest = (k * x**2 - 2 * slope * x - slope**2) / (1 + k)
            after = after - (line.unit * rest).reshape(shape)
        if not before.any():
            return None
        return cls(tuple(matrices), before, after)

    def product(self, v: Array) -> Array | None:
        """log(K e^v) of the grid's shape; None where what is left of v is too steep."""
        flat = v - self.before
        top = float(flat.max())
        out = exp_scaled(flat, top)
        for k, matrix in enumerate(self.matrices):
            rest = out.shape[1:]
            out = product(out.reshape(len(matrix), -1).T, matrix).reshape(*rest, len(matrix))
            if k + 1 < len(self.matrices):
                without_faint(out)
        if not out.min() > SAFE * LIFT:
            return None
        return np.asarray(log_scaled(out, top) + self.after)


def _quadratic(v: Array, charged: Mask, axis: int, unit: float) -> tuple[float, float, float]:
    """k, s and the middle of -unit (k x^2 - 2 s x), the parabola nearest to the means across an
    axis; x is counted from the middle. No vertex: that of a straight line is infinitely far."""
    others = tuple(a for a in range(v.ndim) if a != axis)
    count = charged.sum(axis=others)
    x = np.flatnonzero(count)
    if x.size < 3:
        return 0.0, 0.0, 0.0
    means = np.where(charged, v, 0.0).sum(axis=others)[x] / count[x]
    middle = float(x.mean())
    curvature, slope, _ = np.polyfit(x - middle, means, 2)
    return max(-float(curvature) / unit, -CONVEX), float(slope) / (2 * unit), middle
