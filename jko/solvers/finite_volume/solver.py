r"""Implicit finite-volume steps on grids: for steps that move mass by less than a cell."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from jko.geometries.base import Geometry
from jko.geometries.wasserstein import Wasserstein
from jko.measures.base import Measure
from jko.measures.grid import GridDensity
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Claim, Controls
from jko.solvers.base import ProxSolver, not_on_cells
from jko.solvers.finite_volume.scheme import CellScheme, model_error
from jko.solvers.grids.resolution import blocks
from jko.status import Breakdown, Status
from jko.validation import Array, deprecated, positive, positive_int

if TYPE_CHECKING:
    from jko.solvers.finite_volume.start import CellSolution

#: By what the estimate of the grid's part is increased: without it the excess over steps of
#: quantiles in the continuum reached 1.10 times the whole bias, in 250 random steps.
GRID_SAFETY = 4 / 3


@dataclass(frozen=True)
class FiniteVolume(ProxSolver):
    r"""One implicit Euler step of rho_t = div(rho grad f), without flux through the walls.

    The stated problem is the step in the Wasserstein metric linearised at the answer's mobility
    (`jko.solvers.finite_volume.stated.LinearisedStep`), whose optimality condition is the
    finite-volume scheme of `jko.solvers.finite_volume.scheme`. Mass is kept to rounding, no density
    is negative, and the energy never rises. It takes internal energies, potentials
    (+inf makes walls), bounds on the density and kernels.

    Parameters
    ----------
    limit : None
        Deprecated, without effect: `auto` says itself where short steps are best
        (`jko.solvers.RULES`).
    max_iter : int, default 60
        Newton iterations when `jko.step` is given none.

    Notes
    -----
    It is not the Wasserstein step but O(tau) apart from it; both are first-order schemes for the
    flow. `info["model_error"]` is q = tau max |D^2 f| over charged cells: one step differs from the
    Wasserstein step by about C q^2 of the mass, C below .07 at the fronts of the Barenblatt
    benchmark (formula W5), for m = 2, 4 and 6. `bias` estimates the difference in objective
    by q |w - w'|^2_{-1,M} / (2 tau), and adds what the grid costs (`info["bias_grid"]`): densities
    that are constant on cells, and velocities that change across them. Up to q = .05 such steps are
    closer to the exact Wasserstein step than the debiased entropic ones, and cheaper by fifty
    (`benchmarks/finite_volume.py`); on smooth densities of an entropy the debiased entropic step is
    the closer one at every tau, which is why `auto` leaves those to others.

    Under a bound on the density (`jko.BoxConstraint`) full cells have a pressure besides, and the
    two together are the unknown of a semismooth Newton method. Without an internal energy the
    mobility is upwind: a crowd moves at its speed, while its edges smear over sqrt(h |x|), x the
    way gone and h the cell.

    Fluxes grow with the giver's mass and fall with the taker's (`jko.solvers.finite_volume.flux`),
    which makes
    Newton's method reliable at any step: it moves in masses or pressures, whichever bends less,
    and starts long steps from their solution on blocks of cells. Kernels may still defeat it; then
    the upwind mobility is used, `info["mobility"]` says so. Its systems are solved by conjugate
    gradients (BiCGSTAB with a drift) with multigrid, by a sparse factor on the line and on small
    grids, first roughly and then better (`info["linear_iterations"]` is their sum).

    References
    ----------
    Carrillo et al. (2015); Cancès et al. (2020).
    """

    limit: float | None = None
    max_iter: int = 60

    geometries: ClassVar[tuple[type[Geometry], ...]] = (Wasserstein,)
    kinds: ClassVar[tuple[type[Measure], ...]] = (GridDensity,)
    claim: ClassVar[Claim] = Claim.REGULARISED
    guarantee: ClassVar[str] = (
        "minimum of the step linearised at its own mobility, with a gap; bias is an estimate"
    )
    default_tol: ClassVar[float] = 1e-9

    def __post_init__(self) -> None:
        if self.limit is not None:
            positive(self.limit, "limit")
        deprecated(self.limit is not None, "limit", "auto says itself where short steps are best")
        positive_int(self.max_iter, "max_iter")

    def accepts(self, problem: ProxProblem) -> str | None:
        why = not_on_cells(problem)
        if why is not None:
            return why
        previous = problem.previous
        assert isinstance(previous, GridDensity)
        scheme = CellScheme(problem.form, previous.grid)
        if any(p < 1 and not (p > 0 and scheme.uniform(p)) for p in scheme.powers):
            return "takes powers p >= 1 of the density, or fast diffusion with one coefficient"
        return None

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        from jko.solvers.finite_volume.start import solution
        from jko.solvers.finite_volume.stated import LinearisedStep

        previous = problem.previous
        assert isinstance(previous, GridDensity)
        scheme = CellScheme(problem.form, previous.grid)
        limit = self.max_iter if controls.max_iter is None else controls.max_iter
        found = solution(scheme, previous.weights, problem.step, limit)
        if not found.solved and not scheme.barrier and controls.max_iter is None:
            scheme = replace(scheme, upwind=True)
            found = solution(scheme, previous.weights, problem.step, limit)
        stated = LinearisedStep(problem, scheme, found.masses, found.pressure)
        nu = _measured(previous, stated.answer, found)
        moved = problem.step**2 * stated.dissipation()
        energy = problem.value(nu)
        q = model_error(scheme, nu.weights, problem.step)
        on_grid = GRID_SAFETY * (blocks(problem, nu.weights) + stated.sheared())
        return Answer(
            nu,
            stated,
            found.iterations,
            objective=energy + moved / (2 * problem.step),
            sqdistance=moved / problem.geometry.rate,
            energy=energy,
            bias=q * moved / (2 * problem.step) + on_grid,
            baseline=problem.value(previous),
            exhausted=not found.solved,
            info={
                "model_error": q,
                "bias_grid": on_grid,
                "linear_iterations": found.linear,
                "mobility": "centred" if scheme.powers and not scheme.upwind else "upwind",
            },
        )


def _measured(previous: GridDensity, masses: Array, found: CellSolution) -> GridDensity:
    """The measure of the masses found, where they are one."""
    off = abs(float(masses.sum()) - previous.mass)
    if not (found.solved or off <= 1e-9 * previous.mass) or not masses.min() >= 0:
        raise Breakdown(
            Status.MAX_ITERATIONS,
            f"Newton's method did not converge in {found.iterations} iterations; a shorter tau"
            " is easier",
        )
    return previous.with_weights(masses)
