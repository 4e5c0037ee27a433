r"""Kernels of entropic steps: their products, the couplings made of them, and what they cost."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from jko.solvers.entropic.ways import Ways
from jko.validation import Array


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


class EntropicPlan:
    """A coupling P = diag(a) K diag(b) whose first marginal is m' exactly: a = m' / (K b).

    Parameters
    ----------
    log_a : callable () -> (n,) array
        Sweeps need log a only where they end.
    log_b, log_s : (n,) arrays
        log_s is log K'a, so that log b + log s is the log of the second marginal.

    Attributes
    ----------
    log_w : (n,) array
        log of the second marginal; its total is the mass of m' whatever b.
    """

    def __init__(self, log_a: Callable[[], Array], log_b: Array, log_s: Array) -> None:
        self._log_a, self.log_b, self.log_s = log_a, log_b, log_s
        self.log_w = log_b + log_s

    @cached_property
    def log_a(self) -> Array:
        """log a (n,)."""
        return self._log_a()

    @cached_property
    def w(self) -> Array:
        """The second marginal (n,)."""
        return np.asarray(np.exp(self.log_w))


class Gibbs(ABC):
    """The symmetric matrix exp(-|x_i - x_j|^2 / eps) over a fixed support of n atoms.

    Attributes
    ----------
    eps : float
    name, size : str, int
        Of the support, in counts.
    count : int
        Number of kernel applications so far: the cost of everything built on it.
    work : Work
        Where they are counted, too.
    """

    def __init__(self, eps: float, name: str, size: int, work: Work | None) -> None:
        self.eps, self.name, self.size = eps, name, size
        self.count, self.work = 0, work or Work()
        self._last: dict[str, tuple[Array, Callable[[], Array]]] = {}

    def log_apply(self, v: Array, slot: str = "") -> Array:
        """log(K e^v) for v (n,), entries -inf allowed; `slot` names the role of v (a cache).

        A v with a slot is kept, and is not to change afterwards.
        """
        self._counted()
        found = self._log_apply(v, slot)
        if slot:
            self._last[slot] = v, lambda: found
        return found

    def plan(self, m: Array, log_m: Array, log_b: Array) -> EntropicPlan:
        """The coupling of a second potential with the first marginal m; two products."""
        found = log_m - self.log_apply(log_b, "b")
        return EntropicPlan(lambda: found, log_b, self.log_apply(found, "a"))

    def remembered(self, v: Array, slot: str) -> Array:
        """The same; the last product of the slot where that was of the same v."""
        if slot in self._last:
            known, found = self._last[slot]
            if known is v or np.array_equal(known, v):
                return found()
        return self.log_apply(v, slot)

    def _counted(self) -> None:
        self.count += 1
        self.work.count(self.name, self.size)

    @abstractmethod
    def _log_apply(self, v: Array, slot: str) -> Array:
        """log(K e^v)."""

    @abstractmethod
    def log_one(self) -> Array:
        """log K1 (n,)."""

    @abstractmethod
    def apply(self, v: Array) -> Array:
        """K v for v (n,) of any sign."""

    def ways(self, unit: float) -> Ways:
        """The costs over `unit`, off grids."""
        raise NotImplementedError

    @abstractmethod
    def cost(self, log_a: Array, log_b: Array) -> float:
        """<C, P> of the plan P = diag(a) K diag(b), C the squared distances."""
