"""What the recorded figures of a trajectory promise, as identities to check."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from jko.identity import Identity, bound, max_of

if TYPE_CHECKING:
    from jko.flows.records import SubstepRecord
    from jko.flows.trajectory import Trajectory

#: Rise of a step above its start that counts as rounding, relative to the size of the objective.
DISSIPATION = 1e-12


def checks(sol: Trajectory) -> Iterator[Identity]:
    """Certificates, dissipation, mass, times."""
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
    error = max_of(np.abs(np.diff(times) - lengths)) / (abs(float(times[-1])) or 1.0)
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
