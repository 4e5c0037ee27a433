r"""Barycentres: argmin over mu of sum_k lambda_k D^p(mu, mu_k), p = 2 but in W_p."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from jko.distances.barycentre_program import program_barycentre
from jko.distances.barycentre_result import Barycentre, spread
from jko.distances.scaling import ScalingOutcome, debiased_barycentre
from jko.errors import InvalidArgument, InvalidMeasure, Unsupported
from jko.geometries.base import Geometry, check_masses, check_pair
from jko.geometries.bures import symmetric_sqrt
from jko.geometries.hellinger import Hellinger
from jko.geometries.mmd import MMD
from jko.geometries.unbalanced import MAX_PAIRS, WassersteinFisherRao
from jko.geometries.wasserstein import Wasserstein
from jko.measures.atoms import Histogram
from jko.measures.base import Discrete, Measure
from jko.measures.gaussian import Gaussian
from jko.measures.grid import GridDensity, not_straight
from jko.validation import Array, finite_array, instance, positive, positive_int
from jko.warned import caution

#: Where the fixed point on covariances ends, relative to the covariance.
GAUSSIAN_TOL = 1e-14
#: Default tolerances, of the last sweep on grids and of the gap with sources. From the second on
#: scaling pays a thousand sweeps for each half of the gap (144 atoms).
RESIDUAL = 1e-6
GAP = 1e-4
#: What to do about a missed tolerance.
REMEDY = "pass a larger max_iter or tol"


def barycentre(
    measures: Sequence[Measure],
    weights: ArrayLike | None = None,
    geometry: Geometry | None = None,
    *,
    reg: float | None = None,
    tol: float | None = None,
    max_iter: int = 1000,
) -> Barycentre:
    r"""The measure of least weighted squared distance to several: a mean in a geometry.

    In `Wasserstein(p=p)` it is the mean of W_p^p that is least, the medians of p = 1 included.

    Parameters
    ----------
    measures : sequence of measures of one kind
        Wasserstein: Gaussians (fixed point of the covariance), histograms (an exact linear program
        on the union of their atoms, any cost), densities on one grid (scaling with the Sinkhorn
        divergence). Wasserstein-Fisher-Rao: discrete measures, on the union of their atoms, by
        scaling with a falling entropy and a gap. Hellinger and MMD: discrete measures on one
        support, in closed form.
    weights : (k,) array, optional
        Non-negative; they are normalised. Equal by default.
    geometry : Wasserstein (default), WassersteinFisherRao, Hellinger or MMD
    reg : float > 0, optional
        Entropy of the scaling on grids, in the unit of |x - y|^2; two squared cells by default.
        Divergences instead of entropic costs keep the barycentre from being blurred.
    tol : float, optional
        On grids on the residual, 1e-6 by default; with sources on the gap, relative to the mass,
        1e-4 by default. A miss warns.
    max_iter : int
        Sweeps on covariances and grids, and at every entropy with sources.

    Returns
    -------
    Barycentre
        With `.measure`.

    Raises
    ------
    InvalidArgument
        No measures, or weights of another number.
    Unsupported
        Kinds and geometries that are not listed; programs that are too large.

    Notes
    -----
    Agueh and Carlier (2011); Alvarez-Esteban et al. (2016) for Gaussians; Janati, Cuturi and
    Gramfort (2020) for the debiased scaling.

    Examples
    --------
    >>> import jko
    >>> a, b = jko.Gaussian([0.0], [[1.0]]), jko.Gaussian([4.0], [[9.0]])
    >>> round(float(jko.barycentre([a, b]).measure.cov[0, 0]), 9)
    4.0
    """
    geometry = Wasserstein() if geometry is None else geometry
    instance(geometry, Geometry, "geometry", "pass a geometry such as jko.Wasserstein()")
    family, lam = _checked(measures, weights, geometry)
    limit = positive_int(max_iter, "max_iter")
    accuracy = None if tol is None else positive(tol, "tol")
    first = family[0]
    family, lam = [mu for mu, c in zip(family, lam, strict=True) if c > 0], lam[lam > 0]
    if isinstance(geometry, Hellinger):
        return _hellinger(family, lam, geometry)
    if isinstance(geometry, MMD):
        return _mixture(family, lam, geometry)
    if isinstance(geometry, Wasserstein):
        if all(isinstance(mu, Gaussian) for mu in family) and geometry.is_quadratic:
            return _gaussian(
                [mu for mu in family if isinstance(mu, Gaussian)], lam, geometry, limit
            )
        if isinstance(first, GridDensity) and geometry.is_quadratic:
            return _on_grid(family, lam, reg, accuracy or RESIDUAL, limit)
        if all(isinstance(mu, Histogram) for mu in family):
            return program_barycentre(
                [mu for mu in family if isinstance(mu, Histogram)], lam, geometry
            )
    if isinstance(geometry, WassersteinFisherRao):
        return _with_sources(family, lam, geometry, accuracy or GAP, limit)
    kinds = ", ".join(sorted({type(mu).__name__ for mu in family}))
    raise Unsupported(
        f"no barycentre of {kinds} in {geometry!r}; use Gaussians, histograms or densities on one"
        " grid in jko.Wasserstein(), or jko.Hellinger() or jko.MMD(kernel) on one support"
    )


def _checked(
    measures: object, weights: ArrayLike | None, geometry: Geometry
) -> tuple[list[Measure], Array]:
    if not isinstance(measures, (list, tuple)) or not measures:
        raise InvalidArgument("measures is empty or no list; pass at least one measure")
    for mu in measures[1:]:
        check_pair(measures[0], mu)
    check_pair(measures[0], measures[0])
    if geometry.conserves_mass:
        for mu in measures[1:]:
            check_masses(measures[0], mu, geometry)
    lam = (
        np.ones(len(measures))
        if weights is None
        else finite_array(weights, "weights", InvalidArgument)
    )
    if lam.shape != (len(measures),) or (lam < 0).any() or not lam.sum() > 0:
        raise InvalidArgument(
            f"weights must be {len(measures)} numbers >= 0, not all 0, one per measure"
        )
    return list(measures), lam / lam.sum()


def _one_support(family: list[Measure]) -> list[Discrete]:
    first = family[0]
    out = [mu for mu in family if isinstance(mu, Discrete) and mu.same_support(first)]
    if len(out) < len(family):
        raise InvalidMeasure(
            "the measures live on different atoms; put them on one support (or one jko.Grid)"
        )
    return out


def _closed(family: list[Discrete], lam: Array, w: Array, geometry: Geometry) -> Barycentre:
    mu = family[0].with_weights(w)
    return Barycentre(mu, spread(family, lam, mu, geometry), 0.0, 0.0, 0)


def _with_sources(
    family: list[Measure], lam: Array, geometry: WassersteinFisherRao, tol: float, limit: int
) -> Barycentre:
    """On the union of the atoms: plans and potentials of the static form (formula U2)."""
    from jko.distances.reaction import reaction_barycentre  # it needs scipy.special

    found = [mu for mu in family if isinstance(mu, Discrete)]
    why = not_straight(*found)
    if len(found) < len(family) or why is not None:
        raise Unsupported(why or "barycentres with sources are of discrete measures; sample them")
    first = found[0]
    if all(first.same_support(mu) for mu in found):
        points = first.points
        masses = [mu.weights for mu in found]
    else:
        stacked = np.concatenate([mu.points for mu in found])
        points, place = np.unique(stacked, axis=0, return_inverse=True)
        ends = np.split(place.ravel(), np.cumsum([mu.n for mu in found])[:-1])
        masses = [
            np.asarray(np.bincount(at, mu.weights, len(points)), dtype=np.float64)
            for at, mu in zip(ends, found, strict=True)
        ]
    if len(points) ** 2 > MAX_PAIRS:
        raise Unsupported(
            f"{len(points)} atoms in all make more than {MAX_PAIRS} pairs; use fewer atoms"
        )
    out = reaction_barycentre(masses, geometry.cost(points, points), lam, tol, limit)
    unit = 4 / (geometry.beta * geometry.rate)
    same = len(points) == first.n and first.points is points
    mu = first.with_weights(out.weights) if same else Histogram(points, out.weights)
    gap = unit * (out.upper - out.lower)
    size = tol * unit * float(sum(c * m.sum() for c, m in zip(lam, masses, strict=True)))
    if not gap <= size:
        caution(f"the barycentre has a gap of {gap:.2g}, {size:.2g} wanted; {REMEDY}")
    return Barycentre(mu, unit * out.upper, gap, gap / (unit * out.upper or 1.0), out.iterations)


def _hellinger(family: list[Measure], lam: Array, geometry: Hellinger) -> Barycentre:
    """The square of the mean square root; at fixed mass, normalised."""
    on_one = _one_support(family)
    root = sum(c * np.sqrt(mu.weights) for c, mu in zip(lam, on_one, strict=True))
    w = np.asarray(root) ** 2
    if geometry.conserves_mass:
        w = w * (on_one[0].mass / w.sum())
    return _closed(on_one, lam, w, geometry)


def _mixture(family: list[Measure], lam: Array, geometry: MMD) -> Barycentre:
    """The mixture: the mean of the embeddings."""
    on_one = _one_support(family)
    w = np.asarray(sum(c * mu.weights for c, mu in zip(lam, on_one, strict=True)))
    return _closed(on_one, lam, w, geometry)


def _gaussian(family: list[Gaussian], lam: Array, geometry: Wasserstein, limit: int) -> Barycentre:
    """S <- S^{-1/2} (sum lambda_k (S^{1/2} S_k S^{1/2})^{1/2})^2 S^{-1/2}, means averaged."""
    mean = np.asarray(sum(c * g.mean for c, g in zip(lam, family, strict=True)))
    cov = np.asarray(sum(c * g.cov for c, g in zip(lam, family, strict=True)))
    change, count = np.inf, 0
    while change > GAUSSIAN_TOL and count < limit:
        count += 1
        root = symmetric_sqrt(cov)
        middle = sum(
            c * symmetric_sqrt(root @ g.cov @ root) for c, g in zip(lam, family, strict=True)
        )
        half = np.linalg.solve(root, middle)
        new = half @ half.T
        change = float(np.abs(new - cov).max() / np.abs(new).max())
        cov = (new + new.T) / 2
    mu = Gaussian(mean, cov, family[0].mass)
    return Barycentre(mu, spread(family, lam, mu, geometry), None, change, count)


def _on_grid(
    family: list[Measure], lam: Array, reg: float | None, tol: float, limit: int
) -> Barycentre:
    on_one = _one_support(family)
    first = on_one[0]
    assert isinstance(first, GridDensity)
    if first.grid.mask is not None:
        raise Unsupported("the grid has obstacles, which the kernel of the scaling goes through")
    cells = first.grid.spacing[np.asarray(first.grid.shape) > 1]
    eps = 2 * float(cells.max(initial=0.0)) ** 2 if reg is None else positive(reg, "reg")
    found: ScalingOutcome = debiased_barycentre(
        first.grid, [mu.weights / mu.weights.sum() for mu in on_one], lam, eps, tol, limit
    )
    if not found.residual <= tol:
        caution(
            f"the barycentre still changes by {found.residual:.2g} a sweep, tol = {tol:g}; {REMEDY}"
        )
    return Barycentre(
        first.with_weights(found.weights * first.mass), None, None, found.residual, found.iterations
    )
