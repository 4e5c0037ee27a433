"""Trajectories as tables: a pandas frame of the figures, an xarray dataset of the measures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from math import nan, sqrt
from typing import TYPE_CHECKING

import numpy as np

from jko.energies.base import Energy
from jko.energies.recorded import recorded
from jko.errors import Unsupported
from jko.later import package
from jko.measures import Gaussian, GaussianMixture, GridDensity, Particles
from jko.measures.base import Discrete, Measure

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from jko.flows.records import StepRecord
    from jko.flows.trajectory import Trajectory

#: A line of a table.
Row = dict[str, float | int | str | bool | None]
#: Names of the coordinates in at most three dimensions.
AXES = ("x", "y", "z")


def to_frame(sol: Trajectory, energies: Sequence[Energy], substeps: bool) -> pd.DataFrame:
    """The frame of `Trajectory.to_frame`."""
    pandas = package("pandas", "frames", "a table of a flow")
    start = sol.measures[0]
    first: Row = {
        "step": 0,
        "time": float(sol.times[0]),
        "energy": float(sol.energies[0]),
    }
    first |= {"mass": start.mass, "ess": getattr(start, "ess", None)}
    rows = [first]
    for step in sol.steps:
        rows += list(_parts(sol, step)) if substeps else [_whole(step)]
    split = _terms(sol, energies)
    for row in rows:
        row |= split.get(float(row["time"] or 0.0), {})
    index = ["step", "substep"] if substeps else ["step"]
    if substeps:
        first["substep"] = 0
    frame = pandas.DataFrame(rows).set_index(index)
    order = ["time", "tau", "energy", *_names(split), *FIGURES, "mass", "ess"]
    order += ["certified", "solver", "claim", "iterations", "seconds"]
    return frame.reindex(columns=(["geometry"] if substeps else []) + order)


FIGURES = ("distance", "gap", "bias", "residual")


def _whole(step: StepRecord) -> Row:
    """A step in one row: its sub-steps taken together."""
    parts = step.substeps
    return {
        "step": step.index,
        "time": step.time,
        "tau": step.tau,
        "energy": step.energy,
        "distance": sqrt(sum(s.sqdistance for s in parts)),
        "gap": sum(_number(s.gap) for s in parts),
        "bias": _sum_of_known(s.bias for s in parts),
        "residual": max((_number(s.residual) for s in parts), key=_nan_last),
        "mass": step.mass,
        "ess": step.ess,
        "certified": step.success,
        "solver": _joined(s.solver for s in parts),
        "claim": _joined(s.claim for s in parts),
        "iterations": sum(s.iterations for s in parts),
        "seconds": sum(s.seconds for s in parts),
    }


def _joined(words: Iterable[str | None]) -> str:
    return " + ".join(dict.fromkeys(w for w in words if w))


def _parts(sol: Trajectory, step: StepRecord) -> Iterator[Row]:
    """A row per sub-step; mass and effective sample size are those after the whole step."""
    names = list(sol.description["geometry"])
    if sol.description["splitting"] == "strang":
        names += names[-2::-1]  # there and back
    for k, s in enumerate(step.substeps):
        row = _whole(replace(step, substeps=(s,)))
        own = {"substep": k + 1, "geometry": names[k % len(names)], "energy": s.energy}
        yield row | own


def _number(value: float | None) -> float:
    return nan if value is None else value


def _nan_last(value: float) -> float:
    return -np.inf if value != value else value


def _sum_of_known(values: Iterator[float | None]) -> float:
    known = [v for v in values if v is not None]
    return sum(known) if known else nan


def _terms(sol: Trajectory, energies: Sequence[Energy]) -> dict[float, dict[str, float]]:
    """Time -> the terms of the energy, at the saved measures; empty where there is one term."""
    distinct = list({id(f): f for f in energies}.values())
    out: dict[float, dict[str, float]] = {}
    for t, mu in zip(sol.times.tolist(), sol.measures, strict=True):
        terms = [pair for f in distinct for pair in f.at(t).terms]
        if len(terms) < 2:
            return {}
        values: dict[str, float] = {}
        for c, term in terms:
            name = kind = type(term).__name__
            count = 1
            while f"energy[{name}]" in values:
                count += 1
                name = f"{kind} {count}"
            values[f"energy[{name}]"] = c * recorded(term, mu)
        out[t] = values
    return out


def _names(split: dict[float, dict[str, float]]) -> list[str]:
    return list(next(iter(split.values()), {}))


# -- measures ------------------------------------------------------------------------------------


def to_xarray(sol: Trajectory) -> xr.Dataset:
    """The dataset of `Trajectory.to_xarray`."""
    xarray = package("xarray", "frames", "a dataset of a flow")
    kinds = {type(mu) for mu in sol.measures}
    if len(kinds) > 1:
        names = ", ".join(sorted(k.__name__ for k in kinds))
        raise Unsupported(f"the measures are of several kinds, {names}: no array holds them all")
    found, coords = _arrays(sol.measures)

    def along(name: str) -> list[float]:
        return [_number(getattr(s, name)) for s in sol.steps]

    figures = {name: ("step", along(name)) for name in ("tau", "mass")}
    coords |= {"time": sol.times, "step": [s.index for s in sol.steps]}
    coords["step_time"] = ("step", along("time"))
    variables = {**found, "energy": ("time", sol.energies), **figures}
    variables["step_energy"] = ("step", along("energy"))
    said = {k: v if isinstance(v, str) else str(v) for k, v in sol.description.items()}
    return xarray.Dataset(variables, coords, {**said, "status": sol.status})


Named = dict[str, object]


def _arrays(measures: Sequence[Measure]) -> tuple[Named, Named]:
    """The variables and coordinates that hold the measures."""
    first = measures[0]
    if isinstance(first, GridDensity):
        return _densities([mu for mu in measures if isinstance(mu, GridDensity)])
    if isinstance(first, Discrete):
        return _atoms([mu for mu in measures if isinstance(mu, Discrete)])
    if isinstance(first, Gaussian):
        return {
            "mean": (("time", "dim"), _stacked(measures, "mean")),
            "cov": (("time", "dim", "dim_"), _stacked(measures, "cov")),
        }, {}
    if isinstance(first, GaussianMixture):
        return {
            "means": (("time", "component", "dim"), _stacked(measures, "means")),
            "covs": (("time", "component", "dim", "dim_"), _stacked(measures, "covs")),
            "weights": (("time", "component"), _stacked(measures, "weights")),
        }, {}
    raise Unsupported(f"measures of type {type(first).__name__} have no arrays to take away")


def _densities(measures: Sequence[GridDensity]) -> tuple[Named, Named]:
    grid = measures[0].grid
    if any(mu.grid != grid for mu in measures):
        raise Unsupported("the densities live on several grids: no array holds them all")
    names = AXES[: grid.dim] if grid.dim <= len(AXES) else [f"x{i}" for i in range(grid.dim)]
    values = np.stack([mu.density for mu in measures])
    return {"density": (("time", *names), values)}, dict(zip(names, grid.axes, strict=True))


def _atoms(measures: Sequence[Discrete]) -> tuple[Named, Named]:
    weights = {"weights": (("time", "atom"), _stacked(measures, "weights"))}
    first = measures[0]
    if not isinstance(first, Particles) and all(first.same_support(mu) for mu in measures):
        return {**weights, "points": (("atom", "dim"), first.points)}, {}
    return {**weights, "points": (("time", "atom", "dim"), _stacked(measures, "points"))}, {}


def _stacked(measures: Sequence[Measure], name: str) -> np.ndarray:
    arrays = [np.asarray(getattr(mu, name)) for mu in measures]
    shapes = sorted({a.shape for a in arrays})
    if len(shapes) > 1:
        raise Unsupported(
            f"{name} change their shape along the flow, from {shapes[0]} to {shapes[-1]}: no array"
            " holds them all; take sol.measures one by one"
        )
    return np.stack(arrays)
