"""`jko.planning`: optimal planning and variational mean-field games on grids."""

from __future__ import annotations

from jko.energies.base import Energy
from jko.errors import InvalidArgument, InvalidType, Unsupported
from jko.geometries.base import Geometry, check_masses, check_pair
from jko.measures.base import Measure
from jko.measures.grid import GridDensity
from jko.paths.gridded import check_ceiling, local_form, metric_of, open_cells, path_of
from jko.paths.path import Path
from jko.solvers.dynamic.stated import stated_problem
from jko.threads import limited
from jko.validation import instance, positive, positive_int, shown


def planning(
    start: GridDensity,
    end: GridDensity | Energy,
    geometry: Geometry,
    running: Energy | None = None,
    slices: int = 32,
    *,
    duration: float = 1.0,
    tol: float = 1e-3,
    max_iter: int = 3000,
) -> Path:
    r"""Minimise int_0^T (1/p) |v_t|^p + F(mu_t) dt + E(mu_T) over paths from `start`.

    Its optimality conditions are the mean-field game d_t phi + alpha |grad phi|^2/2 = F'(mu),
    d_t mu + div(alpha mu grad phi) = 0 of Lasry and Lions (2007), with sources where the geometry
    has them.

    Parameters
    ----------
    start : GridDensity
        Obstacles and periodic axes of its grid are respected.
    end : GridDensity on the same grid, or Energy
        The measure to arrive at, or the terminal energy E of a free end.
    geometry : Wasserstein or WassersteinFisherRao
    running : Energy, optional
        F, acting cell by cell: congestion (`PorousMedium`, `BoxConstraint`, `Entropy`), potentials,
        sums of them; at the times of the nodes, by the trapezoidal rule.
    slices : int
    duration : float, > 0
        T.

    Other Parameters
    ----------------
    tol : float
        On the gap relative to the objective; a miss warns.
    max_iter : int

    Returns
    -------
    Path
        `value` is the objective, `dual` its lower bound, `action` int int |v|^p dmu dt alone.

    Raises
    ------
    InvalidMeasure
        Unequal masses, or regions that obstacles cut off from each other.
    Unsupported
        An energy that couples cells.
    """
    instance(start, GridDensity, "start", "pass a density on a jko.Grid")
    instance(geometry, Geometry, "geometry", "pass a geometry such as jko.Wasserstein()")
    if running is not None:
        instance(running, Energy, "running", "pass an energy such as jko.PorousMedium(2)")
    horizon, count = positive(duration, "duration"), positive_int(slices, "slices")
    accuracy, most = positive(tol, "tol"), positive_int(max_iter, "max_iter")
    metric = metric_of(geometry)
    goal = end if isinstance(end, GridDensity) else None
    if goal is not None:
        check_pair(start, goal)
        if geometry.conserves_mass:
            check_masses(start, goal, geometry)
        if not start.same_support(goal):
            raise InvalidArgument("start and end live on different grids; put both on one jko.Grid")
    elif not isinstance(end, Energy):
        kind = type(end).__name__ if isinstance(end, Measure) else shown(end)
        raise InvalidType(f"end got {kind}; pass a GridDensity or a terminal jko.Energy")
    cost = None if running is None else local_form(running, start, "running")
    last = local_form(end, start, "end") if isinstance(end, Energy) else None
    if last is not None and any(p < 1 for p in last.powers) and metric.beta > 0:
        raise Unsupported(
            f"end = {end!r} grows slower than linearly, which free mass does not bound; use"
            " an energy such as jko.KL, or jko.Wasserstein()"
        )
    ends = () if goal is None else (goal.weights,)
    opened = open_cells(start, metric, ends)
    for name, w in zip(("start", "end"), (start.weights, *ends), strict=False):
        check_ceiling(cost, w, name, running)
    with limited():
        problem = stated_problem(
            start.grid, opened, metric, start.weights, None if goal is None else goal.weights,
            slices=count, duration=horizon, running=cost, terminal=last,
        )  # fmt: skip
        return path_of(problem, geometry, accuracy, most, planned=True)
