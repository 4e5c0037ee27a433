"""What a barycentre returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jko.geometries.base import Geometry
from jko.measures.base import Measure
from jko.validation import Array


@dataclass(frozen=True, eq=False, repr=False)
class Barycentre:
    """What `jko.barycentre` found.

    Attributes
    ----------
    measure : Measure
    value : float
        sum_k lambda_k D^p(measure, mu_k), p = 2 but in W_p; None on grids, where the
        divergences are those of Sinkhorn.
    gap : float or None
        Upper bound of `value` minus the minimum, where there is one.
    residual : float
        Relative change of the last iteration (grids: L1 distance over the mass); 0 in closed form.
    iterations : int
    """

    measure: Measure
    value: float | None
    gap: float | None
    residual: float
    iterations: int

    def __repr__(self) -> str:
        evidence = f"residual={self.residual:.1e}" if self.gap is None else f"gap={self.gap:.1e}"
        value = "" if self.value is None else f"value={self.value:.6g}, "
        return f"Barycentre({value}{evidence}, {self.iterations} iterations)"


def spread(
    family: Sequence[Measure], lam: Array, mu: Measure, geometry: Geometry, p: float = 2.0
) -> float:
    """sum_k lambda_k D^p(mu, mu_k)."""
    squares = [max(geometry.sqdistance(mu, nu), 0.0) for nu in family]
    return float(sum(c * s ** (p / 2) for c, s in zip(lam, squares, strict=True)))
