"""A trajectory: the measures of a flow and the certificate of every step."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from jko.energies.base import Energy
from jko.errors import InvalidArgument, InvalidType
from jko.flows import archive, tables
from jko.flows.checks import checks
from jko.flows.container import Tree
from jko.flows.plan import Plan
from jko.flows.records import Records, StepRecord
from jko.html import card, curve
from jko.identity import Report
from jko.later import draw
from jko.measures.base import Measure
from jko.prox.stated import Claim
from jko.validation import Array, real, shown

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

#: Status of a flow that a callback ended.
STOPPED = "stopped by a callback"


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
    plan : jko.flows.splitting.Plan or None
        The energies, geometries and solvers themselves; no file holds functions, so a trajectory
        that was loaded has none.

    Notes
    -----
    A trajectory is a sequence of its saved measures: `len(sol)`, `sol[i]`, `for mu in sol`.
    """

    times: Array
    measures: tuple[Measure, ...]
    energies: Array
    steps: tuple[StepRecord, ...]
    records: Records
    status: str
    description: Tree
    plan: Plan | None = field(default=None, compare=False)

    def __len__(self) -> int:
        return len(self.measures)

    @overload
    def __getitem__(self, i: int) -> Measure: ...
    @overload
    def __getitem__(self, i: slice) -> tuple[Measure, ...]: ...
    def __getitem__(self, i: int | slice) -> Measure | tuple[Measure, ...]:
        if not isinstance(i, (int, np.integer, slice)):
            raise InvalidType(
                f"index got {shown(i)}; pass the number of a kept measure or a slice, and times to"
                " sol.at(t)"
            )
        if not isinstance(i, slice) and not -len(self) <= i < len(self):
            raise IndexError(
                f"index = {i}: the trajectory keeps {len(self)} measures, 0 to {len(self) - 1};"
                " pass one of these, or a time to sol.at(t)"
            )
        return self.measures[i]

    def __iter__(self) -> Iterator[Measure]:
        return iter(self.measures)

    def __getstate__(self) -> Tree:
        """As in a file, functions of the user's do not travel to other processes."""
        return {**self.__dict__, "plan": None}

    @property
    def success(self) -> bool:
        """Whether the flow came to its end, or to the stop asked for, with every step certified."""
        return self.status in ("finished", STOPPED) and all(s.success for s in self.steps)

    @property
    def taken(self) -> int:
        """The number of the last step taken."""
        return self.steps[-1].index if self.steps else 0

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
        slack = 1e-12 * abs(last)
        if not first - slack <= t <= last + slack:
            raise InvalidArgument(f"t = {t:g} lies outside the trajectory's span [0, {last:g}]")
        index = bisect_left(list(self.times), t - slack)
        return self.measures[min(index, len(self.measures) - 1)]

    def verify(self) -> Report:
        """Check what the recorded figures promise: certificates, dissipation, mass."""
        return Report(tuple(checks(self)))

    def to_frame(
        self, energy: Energy | Sequence[Energy] | None = None, *, substeps: bool = False
    ) -> pd.DataFrame:
        """The figures of every step as a pandas frame, indexed by the number of the step.

        Parameters
        ----------
        energy : Energy or sequence of Energy, optional
            Whose terms get a column each, `energy[KL]` and so on (weighted, so that they add up to
            `energy`); they are evaluated at the saved measures and NaN elsewhere. By default that
            of the run; a trajectory from a file has none.
        substeps : bool
            A row per sub-step, with its geometry, instead of one per step.

        Returns
        -------
        pandas.DataFrame
            Columns time, tau, energy, its terms, distance, gap, bias, residual, mass, ess,
            certified, solver, claim, iterations, seconds. Row 0 is the start. A step of several
            sub-steps adds up their squared distances, gaps, known biases, iterations and seconds,
            and shows the largest residual. A gap that does not exist is NaN.
        """
        if energy is None:
            energy = () if self.plan is None else self.plan.energies
        energies = (energy,) if isinstance(energy, Energy) else tuple(energy)
        return tables.to_frame(self, energies, substeps)

    def to_xarray(self) -> xr.Dataset:
        """The saved measures as an xarray dataset along `time`, with the figures along `step`.

        Densities have a variable `density` over the axes of the grid (x, y, z); atoms `points` and
        `weights`; Gaussians `mean` and `cov`. The attributes hold the description.

        Raises
        ------
        Unsupported
            The measures do not fit into one array, such as clouds whose number of particles varies.
        """
        return tables.to_xarray(self)

    def plot(self, ax: Axes | None = None, **options: object) -> list[Artist]:
        """Draw the flow; see `jko.plot.trajectory`."""
        drawn: list[Artist] = draw("trajectory", self, ax, **options)
        return drawn

    def animate(self, path: str | os.PathLike[str] | None = None, **options: object) -> Any:
        """The flow as an animation; see `jko.plot.animation`."""
        return draw("animation", self, path, **options)

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

    def as_tree(self) -> Tree:
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
    def from_tree(cls, tree: Tree) -> Trajectory:
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

    def _repr_html_(self) -> str:
        missed = sum(not s.success for s in self.steps)
        rows = [
            ("energy", f"{self.energies[0]:.6g} to {self.energies[-1]:.6g}"),
            ("steps", f"{len(self.steps)} to t = {self.times[-1]:.6g}"),
            ("verdict", f"{missed} NOT certified" if missed else _verdict(self.claims)),
            ("saved", f"{len(self)} of {type(self.final).__name__}"),
            ("functional", " + ".join(dict.fromkeys(self.description["energy"]))),
            ("geometry", " + ".join(self.description["geometry"])),
            ("status", self.status),
        ]
        path = [float(self.energies[0]), *(s.energy for s in self.steps)]
        return card("Trajectory", rows, curve(path))

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
