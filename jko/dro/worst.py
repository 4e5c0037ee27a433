"""`worst_case`: the supremum of an expected loss over the measures near a given one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from numpy.typing import ArrayLike

from jko.dro.ambiguity import SUPPORTS, Set, ambiguity, check_size
from jko.dro.finite import DEFAULT_ITER, DEFAULT_TOL, in_kind, solve_finite
from jko.dro.particles import Climb, solve_particles
from jko.dro.result import WorstCase
from jko.errors import InvalidArgument, StepFailed
from jko.measures.base import Discrete
from jko.measures.grid import Grid
from jko.validation import Array, Seed, one_of, positive, positive_int, rng_of, switch

LossFunction = Callable[[Array], ArrayLike]


def worst_case(
    loss: LossFunction | ArrayLike,
    measure: Discrete,
    geometry: Set,
    *,
    radius: float | None = None,
    tau: float | None = None,
    support: str = "sample",
    points: ArrayLike | Grid | Discrete | None = None,
    gradient: Callable[[Array], ArrayLike] | None = None,
    curvature: float | None = None,
    starts: int = 8,
    tol: float | None = None,
    max_iter: int | None = None,
    rng: Seed = None,
    throw: bool = True,
) -> WorstCase:
    r"""The largest expected loss over the measures near `measure`.

    With `radius`: sup {E_mu loss : D(mu, measure) <= radius}, D_p <= radius for `Divergence(p)`.
    With `tau`: sup_mu E_mu loss - D^2(mu, measure)/(2 tau), D_p/tau for `Divergence(p)`,
    W_p^p/(p tau^{p-1}) for `Wasserstein(p)`: minus one proximal step of Potential(-loss) (formula
    R1). `CVaR` takes neither. Sets are of measures of the mass of `measure`.

    Parameters
    ----------
    loss : callable (n, d) -> (n,), or (n,) array of values on the support
        For support="particles" a function, `jko.dro.Linear` or `jko.dro.Quadratic`.
    measure : Histogram, Particles or GridDensity
    geometry : Divergence, Hellinger, Wasserstein or MMD, or a set of `jko.dro`
        Hellinger and MMD are taken with fixed mass; Wasserstein(p) of any order p >= 1 and any
        cost. Sets: `jko.dro.TotalVariation`, `jko.dro.Sinkhorn`, `jko.dro.CVaR`.

    Other Parameters
    ----------------
    radius : float >= 0
        In the units of D for metrics, of the divergence for `Divergence(p)`.
    tau : float > 0
        Exactly one of radius and tau; none for `jko.dro.CVaR`.
    support : {"sample", "union", "grid", "particles"}
        Where the worst case may put mass: on the atoms of `measure`; on those and on `points`
        (certification points); on `points` alone; anywhere, each atom moved as a whole
        (Wasserstein).
    points : (m, d) array, jko.Grid or discrete measure
        For "union" and "grid".
    gradient : callable (n, d) -> (n, d), optional
        Of the loss, for "particles"; central differences without it.
    curvature : float, optional
        Largest eigenvalue of the Hessian of the loss anywhere: with it free particles get a gap.
    starts : int
        Starts of the ascent of each free particle.
    tol : float, optional
        On the gap relative to max(|value|, range of the loss); 1e-9, for free particles 1e-6 on the
        residual relative to |grad loss|.
    max_iter : int, optional
        Penalised problems of a ball at most.
    rng : seed or numpy Generator, optional
        For the starts of free particles.
    throw : bool
        Raise `jko.StepFailed` (carrying the result) when the evidence misses the tolerance.

    Returns
    -------
    WorstCase
        .value, .measure, .multiplier, .gap and more.

    Raises
    ------
    InvalidArgument, Unsupported
        With one sentence that names the argument and the remedy.
    StepFailed

    Notes
    -----
    The ball is a root in the multiplier gamma: its dual is convex in gamma, and mixtures of
    penalised worst cases from both sides are feasible; see `jko.dro.ball`. At radius 0 the answer
    is `measure` itself.

    References
    ----------
    Mohajerin Esfahani and Kuhn (2018); Blanchet and Murthy (2019); Ben-Tal et al. (2013);
    Staib and Jegelka (2019).

    Examples
    --------
    >>> import jko
    >>> mu = jko.Histogram([[0.0], [1.0]], [0.5, 0.5])
    >>> round(jko.dro.worst_case([0.0, 1.0], mu, jko.Divergence(p=2), radius=0.02).value, 6)
    0.6
    """
    size, step = check_size(radius, tau, geometry)
    one_of(support, SUPPORTS, "support")
    generator = rng_of(rng)
    switch(throw, "throw")
    limit = DEFAULT_ITER if max_iter is None else positive_int(max_iter, "max_iter")
    if support == "particles":
        if points is not None:
            raise InvalidArgument("points are not used by support='particles'; leave them out")
        found = solve_particles(
            loss, measure, geometry, size, step,
            Climb(gradient, curvature, positive_int(starts, "starts"), generator),
            tol=1e-6 if tol is None else positive(tol, "tol"), max_iter=limit,
        )  # fmt: skip
    else:
        stated = ambiguity(loss, measure, geometry, support, points)
        accuracy = DEFAULT_TOL if tol is None else positive(tol, "tol")
        found = in_kind(measure, solve_finite(stated, size, step, tol=accuracy, max_iter=limit))
    found = replace(found, given=measure)
    if throw and not found.success:
        raise StepFailed(found.message, found)
    return found
