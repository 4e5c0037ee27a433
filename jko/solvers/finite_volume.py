r"""Implicit finite-volume steps on grids: for steps that move mass by less than a cell."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from jko.geometries.wasserstein import Wasserstein
from jko.measures.grid import Grid, GridDensity
from jko.prox.problem import ProxProblem
from jko.prox.result import Breakdown, Status
from jko.solvers.base import Answer, Controls, ProxSolver
from jko.solvers.fv_scheme import Flux, Scheme
from jko.solvers.fv_stated import LinearisedStep
from jko.solvers.multigrid import solve
from jko.validation import Array, positive, positive_int

#: Newton stops when sum |R| is this share of the mass, or below the second when it stops falling.
FINE, ROUGH = 1e-13, 1e-9
#: A Newton step leaves at least this share of a cell's mass; under an entropy, of the fullest cell.
KEEP, FLOOR = 1e-3, 1e-150
#: Cells that a step may move mass by, where a limit is set.
HALF = 0.5
#: Limit on the sweeps that mend tails.
SWEEPS = 20
#: Cells below this share of the largest density do not count in the model error.
CHARGED = 1e-4


@dataclass(frozen=True)
class FiniteVolume(ProxSolver):
    r"""One implicit Euler step of rho_t = div(rho grad f), without flux through the walls.

    The stated problem is the step in the Wasserstein metric linearised at the answer's mobility
    (`jko.solvers.fv_stated.LinearisedStep`), whose optimality condition is the finite-volume scheme
    of `jko.solvers.fv_scheme`. Mass is kept to rounding, no density is negative, and the energy
    never rises. It takes internal energies, potentials (+inf makes walls) and kernels.

    Parameters
    ----------
    limit : float, optional
        Take only steps that are safe without being asked for: an internal energy whose densities
        may vanish (powers p > 1, sharp fronts), model error q at the previous measure at most this,
        mass moving by at most half a cell. None: take every step. `auto` has
        FiniteVolume(limit=0.02) before the entropic solver.
    max_iter : int, default 60
        Newton iterations when `jko.step` is given none.

    Notes
    -----
    It is not the Wasserstein step but O(tau) apart from it; both are first-order schemes for the
    flow. `info["model_error"]` is q = tau max |D^2 f| over charged cells: one step differs from the
    Wasserstein step by about C q^2 of the mass, where prototypes found C up to 3.5 for the porous
    medium with m = 2 and 12 to 35 for m = 4, 6. `bias` = q |w - w'|^2_{-1,M} / (2 tau) estimates
    the difference in objective. At the fronts of the Barenblatt benchmark (MATH W5) steps with
    q <= .02 are within 1.5e-4 of the exact Wasserstein step in L1, and closer than entropic ones;
    on smooth densities of an entropy the debiased entropic step is the closer one at every tau,
    which is why a limit refuses those.

    Energies whose fluxes are not monotone (divergences of power p > 1 to rough targets) may defeat
    Newton's method at long steps; then the upwind mobility is used, `info["mobility"]` says so.

    Newton's systems are solved by a sparse factor on the line and on small grids, by BiCGSTAB with
    aggregation multigrid on larger ones.
    """

    limit: float | None = None
    max_iter: int = 60

    guarantee: ClassVar[str] = (
        "minimum of the step linearised at its own mobility, with a gap; bias is an estimate"
    )
    default_tol: ClassVar[float] = 1e-9

    def __post_init__(self) -> None:
        if self.limit is not None:
            object.__setattr__(self, "limit", positive(self.limit, "limit"))
        positive_int(self.max_iter, "max_iter")

    def accepts(self, problem: ProxProblem) -> str | None:
        if not isinstance(problem.geometry, Wasserstein):
            return f"it steps in jko.Wasserstein(), not in {problem.geometry!r}"
        previous = problem.previous
        if not isinstance(previous, GridDensity):
            return f"needs the cells of a GridDensity, not a {type(previous).__name__}"
        h = problem.form.separable
        if (np.isfinite(h.ceiling) & (h.ceiling > 0)).any():
            return "takes no bound on the density; use jko.solvers.Entropic"
        scheme = Scheme(problem.form, previous.grid)
        if (previous.weights[~scheme.opened] > 0).any():
            return "the measure charges cells that the energy closes"
        if any(p < 1 and not (p > 0 and scheme.uniform(p)) for p in scheme.powers):
            return "takes powers p >= 1 of the density, or fast diffusion with one coefficient"
        return None if self.limit is None else self._length_reason(scheme, previous, problem.step)

    def _length_reason(self, scheme: Scheme, previous: GridDensity, step: float) -> str | None:
        if not scheme.powers:
            return "without an internal energy it smears; ask for it with FiniteVolume()"
        if scheme.barrier:
            return (
                "under an entropy densities are smooth, and the entropic step is the closer one;"
                " ask for it with FiniteVolume()"
            )
        assert self.limit is not None
        q, cells = model_error(scheme, previous, step), displacement(scheme, previous, step)
        if q <= self.limit and cells <= HALF:
            return None
        if q <= self.limit:
            return (
                f"the step moves mass by {cells:.2g} cells, which smears: take a shorter tau, or"
                " ask for it with FiniteVolume()"
            )
        return (
            f"its model error q = {q:.2g} is above {self.limit:g}: take a shorter tau, or ask"
            " for it with FiniteVolume()"
        )

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        previous = problem.previous
        assert isinstance(previous, GridDensity)
        scheme = Scheme(problem.form, previous.grid)
        limit = self.max_iter if controls.max_iter is None else controls.max_iter
        newton = _Newton(scheme, previous, problem.step)
        w, count, solved = newton.run(limit)
        if not solved and not scheme.barrier and controls.max_iter is None:
            scheme = replace(scheme, upwind=True)
            newton = _Newton(scheme, previous, problem.step)
            w, count, solved = newton.run(limit)
        stated = LinearisedStep(problem, scheme, w)
        nu = previous.with_weights(np.maximum(stated.carried, 0.0))
        moved = problem.step**2 * stated.dissipation()
        energy = problem.value(nu)
        q = model_error(scheme, nu, problem.step)
        return Answer(
            nu,
            stated,
            count,
            objective=energy + moved / (2 * problem.step),
            sqdistance=moved / problem.geometry.rate,
            energy=energy,
            bias=q * moved / (2 * problem.step),
            baseline=problem.value(previous),
            exhausted=not solved,
            info={
                "model_error": q,
                "linear_iterations": newton.linear,
                "mobility": "upwind" if scheme.upwind else "centred",
            },
        )


class _Newton:
    """Newton's method in the cell masses."""

    def __init__(self, scheme: Scheme, previous: GridDensity, step: float) -> None:
        self.scheme, self.previous, self.step = scheme, previous.weights, step
        self.shape: tuple[int, ...] = previous.grid.shape
        self.mass = previous.mass
        # Where f(0) = -inf the dual point must be positive.
        self.floor = FLOOR * float(self.previous.max()) if scheme.barrier else 0.0
        self.linear = 0

    def run(self, limit: int) -> tuple[Array, int, bool]:
        """Masses (n,), iterations, and whether the residual is as small as it gets."""
        w = np.where(self.scheme.opened, np.maximum(self.previous, self.floor), 0.0)
        r, flux = self._residual(w)
        size = self._size(r)
        count, done = 0, False
        while count < limit and not done:
            w, r, flux = self._damped(w, r, self._change(w, r, flux))
            count, before, size = count + 1, size, self._size(r)
            done = size <= ROUGH and (size <= FINE or size > 0.5 * before)
        return self._relaxed(w, r, flux), count, done

    def _residual(self, w: Array) -> tuple[Array, Flux]:
        return self.scheme.residual(w, self.previous, self.step)

    def _size(self, r: Array) -> float:
        return float(np.abs(r).sum()) / self.mass

    def _change(self, w: Array, r: Array, flux: Flux) -> Array:
        """-J^{-1} R."""
        jacobian = self.scheme.jacobian(flux, self.step, w.size)
        extra = self.scheme.long_range(flux, self.step)
        change, count = solve(jacobian, -r, self.shape, extra=extra)
        self.linear += count
        if not np.isfinite(change).all():
            raise Breakdown(Status.BROKEN, "the linear solver returned numbers that are not finite")
        return change

    def _damped(self, w: Array, r: Array, change: Array) -> tuple[Array, Array, Flux]:
        """A step that keeps masses positive and does not blow the residual up."""
        size, t = self._size(r), 1.0
        least = np.where(self.scheme.opened, np.maximum(KEEP * w, self.floor), 0.0)
        for _ in range(12):
            new = np.maximum(w + t * change, least)
            found, flux = self._residual(new)
            if self._size(found) <= 2 * size:
                break
            t /= 2
        return new, found, flux

    def _relaxed(self, w: Array, r: Array, flux: Flux) -> Array:
        """Jacobi sweeps in cells that would give more than they have.

        Absolute rounding errors of the linear solver can do that far out in tails.
        """
        for _ in range(SWEEPS):
            poor = r > w
            if not poor.any():
                break
            slope = 1 + self.step * self.scheme.faces.outgoing(flux, w.size)
            w = np.where(poor, np.maximum(w - r / slope, np.maximum(KEEP * w, self.floor)), w)
            r, flux = self._residual(w)
        return w


def model_error(scheme: Scheme, mu: GridDensity, step: float) -> float:
    """q = step max |D^2 f| over cells whose neighbours are charged, by central differences."""
    grid: Grid = mu.grid
    f = scheme.first_variation(mu.weights)
    charged = mu.weights > CHARGED * mu.weights.max()
    field = np.where(charged, f, np.nan).reshape(grid.shape)
    worst = 0.0
    for axis, h in enumerate(grid.spacing):
        if grid.shape[axis] > 2:
            worst = max(worst, _largest(np.diff(field, 2, axis=axis)) / h**2)
        for other in range(axis):
            if min(grid.shape[axis], grid.shape[other]) > 1:
                mixed = np.diff(np.diff(field, axis=axis), axis=other)
                worst = max(worst, _largest(mixed) / (h * float(grid.spacing[other])))
    return step * worst


def displacement(scheme: Scheme, mu: GridDensity, step: float) -> float:
    """step max |grad f|/h over faces between charged cells: how many cells mass moves by."""
    i, j, scale = scheme.faces
    f = scheme.first_variation(mu.weights)
    level = CHARGED * mu.weights.max()
    charged = (mu.weights[i] > level) & (mu.weights[j] > level)
    return step * _largest((scale * (f[i] - f[j]))[charged])


def _largest(values: Any) -> float:
    known = np.abs(values[np.isfinite(values)])
    return float(known.max(initial=0.0))
