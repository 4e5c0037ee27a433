"""What a step costs: products with kernels by grid, seconds by stage."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(eq=False)
class Work:
    """Counts that grow while a step is solved, bounded and judged.

    Attributes
    ----------
    products : dict
        Products with kernels by support: "512x512" on grids, "300 atoms" elsewhere.
    sizes : dict
        Cells or atoms of the supports.
    stages : dict
        Products by stage, those of coarser grids as they are.
    seconds : dict
        Wall-clock seconds by stage.
    """

    products: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    stages: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    _now: str = "judge"

    def count(self, support: str, size: int) -> None:
        """One product on a support of so many atoms."""
        self.sizes[support] = size
        self.products[support] = self.products.get(support, 0) + 1
        self.stages[self._now] = self.stages.get(self._now, 0) + 1

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """What follows belongs to a stage; outside of any, to the judge."""
        before, self._now = self._now, name
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - started
            self.seconds[name] = self.seconds.get(name, 0.0) + spent
            if before != "judge":
                self.seconds[before] = self.seconds.get(before, 0.0) - spent
            self._now = before

    def equivalent(self, n: int) -> float:
        """Products so far, those on other supports by their share of n atoms."""
        shares = (k * self.sizes[name] / n for name, k in self.products.items())
        return round(sum(shares), 1)

    def figures(self) -> dict[str, object]:
        """For `info`: the counts themselves, so that what the judge adds is seen, too."""
        return {
            "products": self.products,
            "products_by_stage": self.stages,
            "seconds_by_stage": self.seconds,
        }
