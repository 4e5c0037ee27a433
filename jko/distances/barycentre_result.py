"""What a barycentre returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jko.measures.base import Measure

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, eq=False, repr=False)
class Barycentre:
    """What `jko.barycentre` found.

    Attributes
    ----------
    measure : Measure
    value : float
        sum_k lambda_k D^2(measure, mu_k); of the Sinkhorn divergences on grids, None there.
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
