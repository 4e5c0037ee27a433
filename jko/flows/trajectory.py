"""A trajectory: the measures of a flow and the certificate of every step."""

from __future__ import annotations

import json
import os
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from jko.errors import InvalidArgument
from jko.flows import archive
from jko.flows.splitting import SplitResult
from jko.identity import Identity, Report, bound, max_of
from jko.measures.base import Measure
from jko.prox.result import StepResult, resolution
from jko.prox.stated import Certificate, Claim
from jko.status import Status
from jko.validation import Array, real

#: Rise of a step above its start that counts as rounding, relative to the size of the objective.
DISSIPATION = 1e-12
#: Status of a flow that a callback ended.
STOPPED = "stopped by a callback"


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
        """Whether the flow came to its end, or to the stop asked for, with every step certified."""
        return self.status in ("finished", STOPPED) and all(s.success for s in self.steps)

    @property
    def final(self) -> Measure:
        """The last measure."""
        return self.measures[-1]

    def at(self, t: float) -> Measure:
        """The piecewise-constant interpolant: the first saved measure at or after time t.

        mu_tau(t) = mu_k for t in ((k-1) tau, k tau], the De Giorgi interpolant of the scheme.
        """
        t = real(t, "t")
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
        inside = {
            "trajectory": cls.from_tree,
            "checkpoint": lambda tree: cls.from_tree(tree["trajectory"]),
        }
        return archive.read(path, inside)

    def as_tree(self) -> dict[str, Any]:
        """Plain values, arrays and measures, for files."""
        return {
            "times": self.times,
            "measures": self.measures,
            "energies": self.energies,
            "steps": [s.as_json for s in self.steps],
            "records": dict(self.records),
            "status": self.status,
            "description": dict(self.description),
        }

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> Trajectory:
        """The inverse of `as_tree`."""
        steps = tuple(StepRecord.from_json(s) for s in tree["steps"])
        sol = cls(**{**tree, "steps": steps})
        _require_kinds(sol)
        return sol

    @property
    def claims(self) -> dict[str, int]:
        """How many sub-steps claim what, by the name of the `jko.Claim`; "" in old files."""
        names = [s.claim or "" for step in self.steps for s in step.substeps]
        return {name: names.count(name) for name in dict.fromkeys(names)}

    def __repr__(self) -> str:
        missed = sum(not s.success for s in self.steps)
        verdict = _verdict(self.claims) if not missed else f"{missed} NOT certified"
        end = "" if self.status == "finished" else f", {self.status}"
        return (
            f"Trajectory({len(self.steps)} steps to t={self.times[-1]:.4g},"
            f" energy {self.energies[0]:.4g} -> {self.energies[-1]:.4g}, {verdict},"
            f" {len(self.measures)} measures saved{end})"
        )


def _require_kinds(sol: Trajectory) -> None:
    """Refuse a file whose entries are not what a trajectory holds, before anything uses them."""
    said, count = sol.description, len(sol.measures)
    words = [v for name in ("energy", "geometry", "solver") for v in said[name]]
    fits = (
        isinstance(sol.measures, tuple)
        and count >= 1
        and all(isinstance(mu, Measure) for mu in sol.measures)
        and all(isinstance(a, np.ndarray) for a in (sol.times, sol.energies))
        and sol.times.shape == sol.energies.shape == (count,)
        and isinstance(sol.status, str)
        and all(isinstance(v, str) for v in words)
        and all(len(times) == len(values) for times, values in sol.records.values())
    )
    if not fits:
        raise InvalidArgument("an entry is not what a trajectory holds there")


def _verdict(claims: Mapping[str, int]) -> str:
    """What the steps are, all of them good: certified, or something no certificate bounds."""
    named = [Claim[name] for name in claims if name]
    good = "all certified" if all(c.certifies for c in named) else "all steps good"
    words = ", ".join(c.noun for c in named)
    return f"{good} ({words})" if words else good


def _checks(sol: Trajectory) -> Iterator[Identity]:
    missed = [s for step in sol.steps for s in step.substeps if not s.certified]
    yield bound("certified", "every sub-step meets its tolerance by its own figures", len(missed))
    yield from _dissipation(sol)
    if sol.description.get("conserves_mass") and sol.steps:
        mass = sol.measures[0].mass
        drift = max_of(abs(s.mass - mass) / mass for s in sol.steps)
        yield bound("mass", "the geometry conserves mass", drift, 1e-9)
    infinite = sum(not np.isfinite(s.energy) for s in sol.steps)
    yield bound("finite", "every energy is finite", infinite)
    yield bound("clock", "the steps add up to the times", _clock_error(sol), 1e-12)
    yield bound("kept", "saved measures and energies agree with the steps", _mismatch(sol), 1e-12)


def _dissipation(sol: Trajectory) -> Iterator[Identity]:
    """objective <= minimum + gap <= objective of staying put + gap, and energies fall.

    Steps with a residual and no gap, stationary points and promised decreases, end no higher than
    they began either, up to the rounding of the objective's terms.
    """
    known = [s for step in sol.steps for s in step.substeps if _held_down(s)]
    excess = [
        (s.objective - (s.baseline or 0.0) - abs(s.gap or 0.0)) / max(_magnitude(s), 1e-300)
        for s in known
    ]
    if excess:
        statement = "F(mu_+) + D^2/(2 tau) <= F(mu) in every sub-step, up to its gap"
        yield bound("dissipation", statement, max_of(excess), DISSIPATION)


def _held_down(s: SubstepRecord) -> bool:
    """Whether a sub-step says where it started and claims not to end above that."""
    if s.baseline is None or not s.baseline < np.inf:
        return False
    if s.gap is not None:
        return True
    return s.residual is not None and s.claim in (None, "STATIONARY", "DECREASES")


def _magnitude(s: SubstepRecord) -> float:
    """The size of an objective, of which an energy distance near 0 is what large terms leave."""
    rounding = s.info.get("rounding", 0.0)
    known = float(rounding) if isinstance(rounding, (int, float)) else 0.0
    return max(abs(s.objective), abs(s.baseline or 0.0), known / DISSIPATION)


def _clock_error(sol: Trajectory) -> float:
    """Relative disagreement of the recorded times and step lengths."""
    times = np.array([sol.times[0], *(s.time for s in sol.steps)])
    lengths = np.array([s.tau for s in sol.steps])
    wrong = any(s.index != i for i, s in enumerate(sol.steps, 1)) or sol.times[-1] != times[-1]
    error = max_of(np.abs(np.diff(times) - lengths)) / max(1.0, float(times[-1]))
    return float(np.inf if wrong else error)


def _mismatch(sol: Trajectory) -> float:
    """Relative disagreement of what was saved with the records of the steps at those times."""
    if not len(sol.times) == len(sol.measures) == len(sol.energies):
        return float(np.inf)
    known = {s.time: s for s in sol.steps}
    errors = []
    for t, mu, energy in zip(sol.times[1:], sol.measures[1:], sol.energies[1:], strict=True):
        step = known.get(float(t))
        if step is None:
            return float(np.inf)
        errors.append(abs(mu.mass - step.mass) / step.mass)
        errors.append(0.0 if energy == step.energy else float(np.inf))
    return max_of(errors)
