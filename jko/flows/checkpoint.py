"""Checkpoints: a run written to disk so that a killed one goes on bit-identically."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from jko.energies.base import Energy
from jko.energies.recorded import recorded
from jko.errors import InvalidArgument, Unsupported
from jko.flows import archive, clock
from jko.flows.container import InvalidFile, Stamp, Tree, as_path, sweep, target_of
from jko.flows.plan import Functional, Plan, Scheme
from jko.flows.state import Options, Run, Saving, describe
from jko.flows.trajectory import Trajectory
from jko.geometries.base import Geometry, GeometrySum
from jko.measures.atoms import Particles
from jko.measures.base import Measure
from jko.solvers.base import ProxSolver
from jko.solvers.rules import Solver
from jko.validation import positive_int


class _LastWrite:
    """The stamp of the file as this run left it: None before the first write."""

    def __init__(self, stamp: Stamp | None = None) -> None:
        self.stamp = stamp


@dataclass(frozen=True)
class Checkpoint:
    """Where and how often a run is written; a path of None writes nothing.

    Every write replaces the whole file, whose size grows with the measures kept. A run that finds
    another run's file in the place of its own does not touch it: it says so and ends.
    """

    path: Path | None = None
    every: int = 1
    settings: Tree = field(default_factory=dict)
    probes: tuple[tuple[float, ...], ...] = ()
    last: _LastWrite = field(default_factory=_LastWrite, compare=False)

    @classmethod
    def of(
        cls, path: str | os.PathLike[str] | None, every: int, plan: Plan, run: Run
    ) -> Checkpoint:
        """From the arguments of `jko.flow`; a file that is none of ours is never replaced."""
        positive_int(every, "every")
        if path is None:
            return cls()
        target = target_of(path)
        sweep(target)
        if target.exists():
            _refuse_foreign(target)
        return cls(target, every, _storable_settings(plan), _probes(plan, run))

    def after_step(self, run: Run) -> None:
        """Write if this step is due; the last one always is."""
        if run.index % self.every == 0 or run.done:
            self.write(run)

    def write(self, run: Run) -> None:
        """Write the run now, atomically."""
        if self.path is None:
            return
        self._refuse_rival(self.path)
        tree = {
            "trajectory": run.trajectory().as_tree(),
            "kept": len(run.measures),
            "measure": run.measure,
            "energy": run.energy,
            "index": run.index,
            "warm": run.warm,
            "rng": run.rng_state,
            "clock": clock.as_tree(run.clock),
            "saving": asdict(run.saving),
            "options": asdict(run.options),
            "settings": self.settings,
            "probes": self.probes,
            "every": self.every,
        }
        self.last.stamp = archive.write(self.path, "checkpoint", tree)

    def _refuse_rival(self, path: Path) -> None:
        """Leave the file of another run alone; one that was deleted is written again."""
        mine, found = self.last.stamp, Stamp.of(path)
        if mine is not None and found is not None and found != mine:
            raise InvalidFile(
                f"checkpoint = {path} was replaced by another run and is left to it; give every run"
                " a file of its own (the steps so far are in .trajectory of this error)"
            )


def _refuse_foreign(target: Path) -> None:
    ours = {"checkpoint": lambda _: None, "trajectory": lambda _: None}
    try:
        archive.read(target, ours)
    except InvalidFile as error:
        raise InvalidFile(f"checkpoint = {error}; move it away first") from None


def _storable_settings(plan: Plan) -> Tree:
    """Geometries and solvers, None where they are made of objects from outside the library."""

    def keep(value: object) -> object:
        return value if archive.storable(value) else None

    return {
        "geometries": keep(plan.geometries),
        "solvers": keep(plan.solvers),
        "scheme": (plan.scheme.splitting, plan.scheme.substep),
    }


def _probes(plan: Plan, run: Run) -> tuple[tuple[float, ...], ...]:
    """Figures that tell energies with the same name apart, taken at the start of the run."""
    return tuple(_probe(f, run.measures[0]) for f in plan.at(run.times[0]).energies)


def _probe(energy: Energy, mu: Measure) -> tuple[float, ...]:
    value = float(recorded(energy, mu))
    if not isinstance(mu, Particles):
        return (value,)
    try:
        slope = energy.wasserstein_gradient(mu)
    except Unsupported:
        return (value,)
    return (
        value,
        float(np.linalg.norm(slope)),
        float(slope @ np.arange(1.0, mu.dim + 1) @ mu.weights),
    )


@dataclass(frozen=True)
class _Saved:
    """What a checkpoint holds."""

    run: Run
    trajectory: Trajectory
    keeper: Checkpoint

    @classmethod
    def of(cls, path: Path, tree: Tree) -> _Saved:
        _require_kinds(tree)
        trajectory = Trajectory.from_tree(tree["trajectory"])
        kept, generator = tree["kept"], _generator(tree["rng"])
        run = Run(
            clock=clock.from_tree(tree["clock"]),
            saving=Saving(**tree["saving"]),
            options=Options(**tree["options"]),
            description=trajectory.description,
            rng=generator,
            rng_state=generator.bit_generator.state,
            measure=tree["measure"],
            energy=tree["energy"],
            index=tree["index"],
            warm=tree["warm"],
            status=trajectory.status,
            times=tuple(trajectory.times[:kept].tolist()),
            measures=trajectory.measures[:kept],
            energies=tuple(trajectory.energies[:kept].tolist()),
            steps=trajectory.steps,
            records=trajectory.records,
        )
        keeper = Checkpoint(path, tree["every"], tree["settings"], tree["probes"])
        return cls(run, trajectory, keeper)


def _require_kinds(tree: Tree) -> None:
    """Refuse a file whose entries are not what a checkpoint holds, before anything uses them."""
    probes, settings = tree["probes"], tree["settings"]
    scheme = settings["scheme"]
    known = {
        "probes": all(isinstance(v, float) for probe in probes for v in probe),
        "energy": isinstance(tree["energy"], float),
        "measure": isinstance(tree["measure"], Measure),
        "warm": isinstance(tree["warm"], (tuple, type(None))),
        "geometries": _all(settings["geometries"], Geometry),
        "solvers": _all(settings["solvers"], (ProxSolver, str)),
        "scheme": len(scheme) == 2 and _all(scheme, str),
    }
    for name in ("index", "kept", "every"):
        known[name] = type(tree[name]) is int and tree[name] >= (0 if name == "index" else 1)
    for name, fits in known.items():
        if not fits:
            raise InvalidFile(f"{name} is not what a checkpoint holds there")


def _all(values: object, kinds: type | tuple[type, ...]) -> bool:
    """Whether a tuple, where there is one, holds nothing but these kinds."""
    return values is None or (
        isinstance(values, tuple) and all(isinstance(v, kinds) for v in values)
    )


def _generator(state: Tree) -> np.random.Generator:
    kind = getattr(np.random, state["bit_generator"])
    if kind is np.random.BitGenerator or not issubclass(kind, np.random.BitGenerator):
        raise InvalidFile(f"unknown random generator {state['bit_generator']!r}")
    bits = kind()
    bits.state = state
    return np.random.Generator(bits)


def resumed(
    path: str | os.PathLike[str],
    energy: Functional | None,
    geometry: Geometry | GeometrySum | None,
    solver: Solver | tuple[Solver, ...] | None,
    steps: int | None = None,
) -> Trajectory | tuple[Run, Plan, Checkpoint]:
    """The finished trajectory of a file, or all that `drive` needs to go on."""
    place = as_path(path)
    stamp = Stamp.of(place)
    saved: _Saved = archive.read(place, {"checkpoint": lambda tree: _Saved.of(place, tree)})
    handed = (energy, geometry, solver, steps)
    if saved.run.done and all(value is None for value in handed):
        return saved.trajectory  # a finished run needs nothing, but what is handed in is checked
    said, settings = saved.trajectory.description, saved.keeper.settings
    if geometry is None:
        parts = _again("geometry", settings["geometries"], said)
        geometry = parts[0] if len(parts) == 1 else GeometrySum(parts)
    if energy is None:
        energy = _again("energy", None, said)
    plan = Plan.of(energy, geometry, "auto", Scheme(*settings["scheme"]))
    _compare("geometry", plan, saved, settings["geometries"], plan.geometries)
    _compare("energy", plan, saved)
    if solver is None:
        solver = _again("solver", settings["solvers"], said)
    plan = Plan.of(energy, geometry, solver, plan.scheme)
    _compare("solver", plan, saved, settings["solvers"], plan.solvers)
    _compare_values(plan, saved)
    if saved.run.done and steps is None:
        return replace(saved.trajectory, plan=plan)
    sweep(place)
    saved.keeper.last.stamp = stamp
    return saved.run if steps is None else saved.run.extended(steps), plan, saved.keeper


def _again(name: str, stored: object, said: Tree) -> Any:
    """What the file holds, or a sentence that asks for it."""
    if stored is None:
        used = " + ".join(dict.fromkeys(said[name]))
        raise InvalidArgument(
            f"{name} is missing; the run used {used}, which the file cannot hold:"
            f" pass {name}=... again"
        )
    return stored


def _compare(
    name: str, plan: Plan, saved: _Saved, stored: object = None, handed: object = None
) -> None:
    """What was handed in must be what the run used: by description, and exactly where stored."""
    said, now = saved.trajectory.description[name], describe(plan, saved.run.clock)[name]
    if said != now or not (stored is None or archive.same(stored, handed)):
        raise InvalidArgument(
            f"{name} = {' + '.join(now)} is not what the run used, {' + '.join(said)};"
            " pass the same one"
        )


def _compare_values(plan: Plan, saved: _Saved) -> None:
    """Energies must give the figures of the run at its start and at its current measure."""
    run, names = saved.run, saved.trajectory.description["energy"]
    probes = _probes(plan, run)
    for name, old, new in zip(names, saved.keeper.probes, probes, strict=True):
        if not _agree(old, new):
            raise InvalidArgument(
                f"energy {name} gives {new} (value, and slopes where it has any) at the start,"
                f" where the run had {old}; it is not the one the run used"
            )
    value = plan.at(run.clock.time(run.index)).energy_of(run.measure)
    stored = run.energy
    # The stored value comes from the step's solver, which may round otherwise.
    if not _agree((value,), (stored,), 1e-9):
        raise InvalidArgument(
            f"energy gives {value:.12g} at step {run.index}, where the run had {stored:.12g};"
            " it is not the one the run used"
        )


def _agree(old: tuple[float, ...], new: tuple[float, ...], slack: float = 1e-14) -> bool:
    """Equality up to the rounding of another machine; infinities and NaN agree with themselves."""
    return len(old) == len(new) and bool(
        np.allclose(new, old, rtol=1e-9, atol=slack, equal_nan=True)
    )
