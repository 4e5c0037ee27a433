"""A trajectory: the measures of a flow and the certificate of every step."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from jko import archive
from jko.errors import InvalidArgument
from jko.identity import Identity, Report
from jko.measures.base import Measure
from jko.prox.result import Status, StepResult
from jko.splitting import SplitResult
from jko.validation import Array


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
    info: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, result: StepResult) -> SubstepRecord:
        """The record of a step result; `info` keeps its plain numbers and strings."""
        plain = {k: v for k, v in result.info.items() if isinstance(v, (bool, int, float, str))}
        names = [f for f in cls.__dataclass_fields__ if f not in ("info", "status")]
        figures = {name: getattr(result, name) for name in names}
        return cls(**figures, status=result.status.name, info=plain)


@dataclass(frozen=True)
class StepRecord:
    """The figures of one step of a flow."""

    index: int
    time: float
    tau: float
    energy: float
    mass: float
    substeps: tuple[SubstepRecord, ...]

    @classmethod
    def of(cls, index: int, time: float, tau: float, result: SplitResult) -> StepRecord:
        """The record of a split result."""
        substeps = tuple(SubstepRecord.of(r) for r in result.substeps)
        return cls(index, time, tau, result.energy, result.measure.mass, substeps)

    @property
    def success(self) -> bool:
        """Whether every sub-step is certified."""
        return all(s.status == Status.CERTIFIED.name for s in self.substeps)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for files."""
        return asdict(self)

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> StepRecord:
        """The inverse of `as_dict`."""
        substeps = tuple(SubstepRecord(**s) for s in tree["substeps"])
        return cls(**{**tree, "substeps": substeps})


@dataclass(frozen=True, eq=False, repr=False)
class Trajectory:
    """The result of `jko.flow`.

    Attributes
    ----------
    times : (m,) array
        Times of the saved measures, the start included.
    measures : tuple of Measure
        The saved measures.
    energies : (m,) array
        F at the saved measures.
    steps : tuple of StepRecord
        Energy, certificates and timings of every step taken, saved or not.
    records : dict
        What callbacks recorded: name -> (times, values).
    status : str
        "finished", or why the flow ended early.
    description : dict
        Energy, geometry, tau and scheme as text.
    """

    times: Array
    measures: tuple[Measure, ...]
    energies: Array
    steps: tuple[StepRecord, ...]
    records: Mapping[str, tuple[tuple[float, ...], tuple[Any, ...]]]
    status: str
    description: Mapping[str, Any]

    @property
    def success(self) -> bool:
        """Whether the flow came to its end with every step certified."""
        return self.status == "finished" and all(s.success for s in self.steps)

    @property
    def final(self) -> Measure:
        """The last measure."""
        return self.measures[-1]

    def at(self, t: float) -> Measure:
        """The piecewise-constant interpolant: the first saved measure at or after time t.

        mu_tau(t) = mu_k for t in ((k-1) tau, k tau], the De Giorgi interpolant of the scheme.
        """
        first, last = float(self.times[0]), float(self.times[-1])
        slack = 1e-12 * max(1.0, abs(last))
        if not first - slack <= t <= last + slack:
            raise InvalidArgument(f"t = {t:g} lies outside the trajectory's span [0, {last:g}]")
        index = bisect_left(list(self.times), t - slack)
        return self.measures[min(index, len(self.measures) - 1)]

    def verify(self) -> Report:
        """Check what the recorded figures promise: certificates, dissipation, mass."""
        return Report(tuple(_checks(self)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to one .npz file, atomically; nothing is pickled."""
        archive.write(path, "trajectory", self.as_tree())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Trajectory:
        """Read a file written by `save`, or the trajectory inside a checkpoint."""
        kind, tree = archive.read(path, ("trajectory", "checkpoint"))
        return cls.from_tree(tree if kind == "trajectory" else tree["trajectory"])

    def as_tree(self) -> dict[str, Any]:
        """Plain values, arrays and measures, for files."""
        return {
            "times": self.times,
            "measures": self.measures,
            "energies": self.energies,
            "steps": [s.as_dict() for s in self.steps],
            "records": dict(self.records),
            "status": self.status,
            "description": dict(self.description),
        }

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> Trajectory:
        """The inverse of `as_tree`."""
        steps = tuple(StepRecord.from_dict(s) for s in tree["steps"])
        return cls(**{**tree, "steps": steps})

    def __repr__(self) -> str:
        missed = sum(not s.success for s in self.steps)
        verdict = "all certified" if not missed else f"{missed} NOT certified"
        end = "" if self.status == "finished" else f", {self.status}"
        return (
            f"Trajectory({len(self.steps)} steps to t={self.times[-1]:.4g},"
            f" energy {self.energies[0]:.4g} -> {self.energies[-1]:.4g}, {verdict},"
            f" {len(self.measures)} measures saved{end})"
        )


def _checks(sol: Trajectory) -> list[Identity]:
    substeps = [s for step in sol.steps for s in step.substeps]
    missed = sum(s.status != Status.CERTIFIED.name for s in substeps)
    out = [
        Identity(
            "certified",
            "every sub-step meets its tolerance by its own certificate",
            float(missed),
            0.0,
            float(missed),
            0.0,
        )
    ]
    # objective <= minimum + gap <= objective of staying put + gap
    known = [s for s in substeps if s.baseline is not None and s.gap is not None]
    if known and sol.description.get("scheme") == "implicit":
        excess = [
            (s.objective - s.baseline - abs(s.gap)) / max(1.0, abs(s.objective))
            for s in known
            if s.baseline is not None and s.gap is not None
        ]
        out.append(
            Identity(
                "dissipation",
                "F(mu_+) + D^2/(2 tau) <= F(mu) in every sub-step, up to its gap",
                max(excess),
                0.0,
                max(0.0, *excess),
                1e-12,
            )
        )
    if sol.description.get("conserves_mass") and sol.steps:
        mass = sol.measures[0].mass
        drift = max(abs(s.mass - mass) for s in sol.steps) / mass
        out.append(
            Identity(
                "mass", "the geometry conserves mass", drift, 0.0, drift, 1e-12 * len(sol.steps)
            )
        )
    energies = np.array([sol.energies[0], *(s.energy for s in sol.steps)])
    finite = bool(np.isfinite(energies[1:]).all())
    out.append(
        Identity("finite", "every energy is finite", float(not finite), 0.0, float(not finite), 0.0)
    )
    return out
