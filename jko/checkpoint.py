"""Checkpoints: a run written to disk so that a killed one goes on bit-identically."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jko import archive
from jko.errors import InvalidArgument
from jko.geometries.base import Geometry, GeometrySum
from jko.run import Clock, Options, Run, Saving, describe
from jko.splitting import Plan, Scheme
from jko.trajectory import Trajectory
from jko.validation import positive_int


@dataclass(frozen=True)
class Checkpoint:
    """Where and how often a run is written; a path of None writes nothing."""

    path: Path | None = None
    every: int = 1
    settings: Any = None

    @classmethod
    def of(cls, path: str | os.PathLike[str] | None, every: int, plan: Plan) -> Checkpoint:
        """From the arguments of `jko.flow`."""
        positive_int(every, "every")
        if path is None:
            return cls()
        target = Path(path)
        if not target.parent.is_dir():
            raise InvalidArgument(f"checkpoint = {target}: the folder {target.parent} is missing")
        return cls(target, every, _storable_settings(plan))

    def after_step(self, run: Run) -> None:
        """Write if this step is due."""
        if run.index % self.every == 0 and not run.done:
            self.write(run)

    def write(self, run: Run) -> None:
        """Write the run now, atomically."""
        if self.path is None:
            return
        tree = {
            "trajectory": run.trajectory().as_tree(),
            "kept": len(run.measures),
            "measure": run.measure,
            "energy": run.energy,
            "index": run.index,
            "warm": run.warm,
            "status": run.status,
            "rng": run.rng.bit_generator.state,
            "clock": asdict(run.clock),
            "saving": asdict(run.saving),
            "options": asdict(run.options),
            "settings": self.settings,
            "every": self.every,
        }
        archive.write(self.path, "checkpoint", tree)


def _storable_settings(plan: Plan) -> dict[str, Any]:
    """Geometries and solvers, None where they are made of objects from outside the library."""
    keep = lambda value: value if archive.storable(value) else None
    return {
        "geometries": keep(plan.geometries),
        "solvers": keep(plan.solvers),
        "scheme": [plan.scheme.splitting, plan.scheme.substep],
    }


def resumed(
    path: str | os.PathLike[str], energy: Any, geometry: Any, solver: Any
) -> Trajectory | tuple[Run, Plan, Checkpoint]:
    """The finished trajectory of a file, or all that `drive` needs to go on."""
    _, tree = archive.read(path, ("checkpoint",))
    trajectory = Trajectory.from_tree(tree["trajectory"])
    if tree["status"] not in ("running", "interrupted"):
        return trajectory
    plan = _rebuilt_plan(tree, trajectory, energy, geometry, solver)
    run = _rebuilt_run(tree, trajectory)
    _compare(run, plan, trajectory)
    return run, plan, Checkpoint(Path(path), tree["every"], tree["settings"])


def _rebuilt_plan(
    tree: dict[str, Any], trajectory: Trajectory, energy: Any, geometry: Any, solver: Any
) -> Plan:
    said = trajectory.description
    if energy is None:
        used = ", ".join(dict.fromkeys(said["energy"]))
        raise InvalidArgument(f"energy is missing; the run used {used}: pass energy=... again")
    settings = tree["settings"]
    if geometry is None:
        stored: tuple[Geometry, ...] | None = settings["geometries"]
        if stored is None:
            used = " + ".join(said["geometry"])
            raise InvalidArgument(
                f"geometry is missing; the run used {used}, which the file cannot hold:"
                " pass geometry=... again"
            )
        geometry = stored[0] if len(stored) == 1 else GeometrySum(stored)
    if solver is None:
        solver = settings["solvers"]
        if solver is None:
            used = ", ".join(said["solver"])
            raise InvalidArgument(f"solver is missing; the run used {used}: pass solver=... again")
    return Plan.of(energy, geometry, solver, Scheme(*settings["scheme"]))


def _rebuilt_run(tree: dict[str, Any], trajectory: Trajectory) -> Run:
    state = tree["rng"]
    generator = getattr(np.random, state["bit_generator"], None)
    if not (isinstance(generator, type) and issubclass(generator, np.random.BitGenerator)):
        raise archive.InvalidFile(f"unknown random generator {state['bit_generator']!r}")
    bits = generator()
    bits.state = state
    kept = tree["kept"]
    saving = tree["saving"]
    return Run(
        clock=Clock(**tree["clock"]),
        saving=Saving(saving["every"], tuple(saving["indices"])),
        options=Options(**tree["options"]),
        rng=np.random.Generator(bits),
        description=trajectory.description,
        measure=tree["measure"],
        energy=tree["energy"],
        index=tree["index"],
        warm=tree["warm"],
        times=list(trajectory.times[:kept]),
        measures=list(trajectory.measures[:kept]),
        energies=list(trajectory.energies[:kept]),
        steps=list(trajectory.steps),
        records={k: (list(t), list(v)) for k, (t, v) in trajectory.records.items()},
    )


def _compare(run: Run, plan: Plan, trajectory: Trajectory) -> None:
    """What was handed in must be what the run used: by description and by probe values."""
    said, now = trajectory.description, describe(plan, run.clock)
    for key in ("energy", "geometry", "solver"):
        if said[key] != now[key]:
            raise InvalidArgument(
                f"{key} = {' + '.join(now[key])} is not what the run used,"
                f" {' + '.join(said[key])}; pass the same one"
            )
    for probe, stored in (
        (run.measures[0], float(trajectory.energies[0])),
        (run.measure, run.energy),
    ):
        value = plan.energy_of(probe)
        same = value == stored or abs(value - stored) <= 1e-9 * max(1.0, abs(stored))
        if not same:
            raise InvalidArgument(
                f"energy gives {value:.12g} where the run had {stored:.12g};"
                " it is not the one the run used"
            )
