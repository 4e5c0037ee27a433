"""The figures of steps and sub-steps, without their measures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property

import numpy as np

from jko.errors import InvalidArgument
from jko.flows.splitting import SplitResult
from jko.prox.result import StepResult, resolution
from jko.prox.stated import Certificate
from jko.status import Status

#: What callbacks kept, by name: times and values.
Records = Mapping[str, tuple[tuple[float, ...], tuple[object, ...]]]


@dataclass(frozen=True)
class SubstepRecord:
    """The figures of one sub-step, without its measure."""

    solver: str
    energy: float
    sqdistance: float
    objective: float
    baseline: float | None
    gap: float | None
    bias: float | None
    residual: float | None
    status: str
    iterations: int
    seconds: float
    tol: float
    info: Mapping[str, object] = field(default_factory=dict)
    claim: str | None = None
    allowed: float | None = None

    @property
    def certified(self) -> bool:
        """Whether the status says so and the figures agree; `claim` says what that means."""
        certificate = Certificate(self.gap, self.residual)
        # Files of version 0.1 hold no `allowed`: their tolerance was relative to this.
        old = self.tol * max(1.0, abs(self.objective))
        met = certificate.meets(self.tol, old if self.allowed is None else self.allowed)
        finite = bool(np.isfinite(self.objective))
        return met and finite and self.status == Status.CERTIFIED.name

    @property
    def resolution(self) -> float | None:
        """The gap over the decrease of the objective; see `StepResult.resolution`."""
        return resolution(self.gap, self.objective, self.baseline)

    @classmethod
    def of(cls, result: StepResult) -> SubstepRecord:
        """The record of a step result; `info` keeps its plain numbers and strings, no timings."""
        plain = {
            k: v
            for k, v in result.info.items()
            if isinstance(v, (bool, int, float, str)) and not k.endswith("seconds")
        }
        names = [f for f in cls.__dataclass_fields__ if f not in ("info", "status", "claim")]
        figures = {name: getattr(result, name) for name in names}
        return cls(**figures, status=result.status.name, info=plain, claim=result.claim.name)


@dataclass(frozen=True)
class StepRecord:
    """The figures of one step of a flow; `ess` is the effective sample size of its measure."""

    index: int
    time: float
    tau: float
    energy: float
    mass: float
    substeps: tuple[SubstepRecord, ...]
    ess: float | None = None

    @classmethod
    def of(cls, index: int, time: float, tau: float, result: SplitResult) -> StepRecord:
        """The record of a split result."""
        substeps = tuple(SubstepRecord.of(r) for r in result.substeps)
        ess = getattr(result.measure, "ess", None)
        return cls(index, time, tau, result.energy, result.measure.mass, substeps, ess)

    @property
    def success(self) -> bool:
        """Whether every sub-step is certified."""
        return all(s.certified for s in self.substeps)

    @cached_property
    def as_json(self) -> str:
        """The record as text, for files; a checkpoint asks for it again after every step."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> StepRecord:
        """The inverse of `as_json`."""
        tree = json.loads(text)
        substeps = tuple(SubstepRecord(**s) for s in tree["substeps"])
        record = cls(**{**tree, "substeps": substeps})
        figures = [record.time, record.tau, record.energy, record.mass]
        if not all(isinstance(v, (int, float)) for v in (record.index, *figures)):
            raise InvalidArgument("a figure of a step is no number")
        return record
