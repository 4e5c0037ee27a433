r"""Upper bounds: densities of the splitting made admissible, and the best fluxes between them.

For p = 2 the fluxes of a slice solve (-div theta grad + beta r) p = (rho^{k+1} - rho^k)/tau with
the mobility theta of harmonic means; for other powers the fluxes of the splitting are corrected by
such a flux, which only has to make up for the clipped densities.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from jko.forms.separable import Separable
from jko.numerics.elementary import EPS
from jko.prox.duality.mass import filled
from jko.solvers.dynamic.problem import DynamicProblem
from jko.solvers.dynamic.projection import factored, graph_laplacian
from jko.validation import Array

if TYPE_CHECKING:
    from scipy.sparse import csr_array

#: Share of a uniform density mixed in, so that no mobility vanishes.
MIXED = 1e-7
#: Share of what a path moves that may appear in cells cut off, by rounding.
UNSEEN = 1e-6


@dataclass(frozen=True, eq=False)
class Feasible:
    """A feasible path: densities, fluxes, sources, and its cost.

    Attributes
    ----------
    rho : array (slices + 1, *shape)
    flux : list of arrays (slices, *shape), one per axis
    source : array (slices, *shape) or None
    action : float
        tau sum |Y|^p/(p r^{p-1}).
    value : float
        The objective.
    """

    rho: Array
    flux: list[Array] = field(repr=False)
    source: Array | None = field(repr=False)
    action: float = np.inf
    value: float = np.inf


def admissible(problem: DynamicProblem, inner: Array, mixed: float = MIXED) -> Array:
    """Unknown densities clipped to what the energies allow, with the right masses."""
    opened, out = problem.cells.opened, np.empty_like(inner)
    even = np.where(opened, 1 / opened.sum(), 0.0)
    for k, u in enumerate(inner):
        free_end = problem.end is None and k == problem.slices - 1
        h = problem.last if free_end else problem.running
        top = np.inf if h is None else h.ceiling.reshape(u.shape)
        v = np.clip(np.where(opened, u, 0.0), 0.0, top)
        mass = problem.mass if problem.balanced else max(float(v.sum()), 1e-300)
        v = np.minimum((1 - mixed) * v + mixed * mass * np.where(top > 0, even, 0.0), top)
        out[k] = filled(v, top, mass) if problem.balanced else v
    return out


def feasible(
    problem: DynamicProblem, inner: Array, flux: list[Array] | None = None, mixed: float = MIXED
) -> Feasible:
    """The best path through admissible densities; `flux` of the splitting for p other than 2."""
    inner = admissible(problem, inner, mixed)
    rho = problem.full(inner)
    r, change = 0.5 * (rho[1:] + rho[:-1]), np.diff(rho, axis=0) / problem.tau
    base, missing = None, change
    if problem.metric.p != 2 and flux is not None:
        base = flux
        missing = change + problem.cells.divergence(flux)
    moved, source = best_fluxes(problem, r, missing, np.abs(change).reshape(len(r), -1).sum(1))
    if base is not None:
        moved = [m + b for m, b in zip(moved, base, strict=True)]
    action = action_of(problem, r, moved, source)
    return Feasible(rho, moved, source, action, action + problem.potential_cost(inner))


def best_fluxes(
    problem: DynamicProblem, r: Array, change: Array, size: Array | None = None
) -> tuple[list[Array], Array | None]:
    """Fluxes and sources with source - div flux = change of least quadratic cost, per slice.

    `size` (slices,) is what a slice moves in all, where `change` is what is left of it: changes of
    rounding's size need not add up to 0.
    """
    import scipy.sparse as sp

    cells, metric = problem.cells, problem.metric
    i, j, inverse = cells.pairs
    opened = np.flatnonzero(cells.opened.ravel())
    local = np.full(cells.grid.size, -1)
    local[opened] = np.arange(opened.size)
    a, b = local[i], local[j]
    flat = np.zeros((len(r), sum(int(f.sum()) for f in cells.passable)))
    source = np.zeros_like(r) if metric.beta else None
    for k in range(len(r)):
        density, wanted = r[k].ravel()[opened], change[k].ravel()[opened]
        theta = harmonic(density[a], density[b]) * metric.alpha
        matrix = graph_laplacian(a, b, theta * inverse**2, opened.size)
        diagonal = np.zeros(opened.size) if problem.balanced else metric.beta * density
        moved = float(np.abs(wanted).sum()) if size is None else float(size[k])
        diagonal, possible = grounded(matrix, diagonal, wanted, moved)
        p = factored(matrix + sp.diags_array(diagonal))(wanted)
        flat[k] = theta * (p[b] - p[a]) * inverse if possible else np.inf
        if source is not None:
            source[k].ravel()[opened] = metric.beta * density * p
    return _on_faces(problem, flat), source


def grounded(matrix: csr_array, diagonal: Array, wanted: Array, size: float) -> tuple[Array, bool]:
    """A diagonal that makes the system definite, and whether the system has a solution at all.

    Cells that no mass connects, and that have no source of their own, are determined up to a
    constant each, and only if they want no mass from outside, but for a share of `size`.
    """
    from scipy.sparse.csgraph import connected_components

    joined = matrix.copy()
    joined.eliminate_zeros()  # stored zeros would count as ways
    count, label = connected_components(joined, directed=False)
    alone = np.bincount(label, diagonal, count) == 0
    own = matrix.diagonal()
    # Blocks that next to no mass ties to the others are singular but for a rounding error of each
    # row: a mass of 1e-60 beside 1.
    out, scale = diagonal + 2 * EPS * own, float(own.max(initial=0.0)) or 1.0
    _, first = np.unique(label, return_index=True)
    out[first[alone]] = scale
    missing = np.abs(np.bincount(label, wanted, count))[alone]
    return out, bool((missing <= UNSEEN * size).all())


def harmonic(a: Array, b: Array) -> Array:
    """2 a b/(a + b), 0 where one of them is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = 2 * a * b / (a + b)
    return np.where((a > 0) & (b > 0), mean, 0.0)


def _on_faces(problem: DynamicProblem, flat: Array) -> list[Array]:
    """Values on the passable faces as one field per axis."""
    out, begin = [], 0
    for faces in problem.cells.passable:
        field_ = np.zeros((len(flat), *faces.shape))
        end = begin + int(faces.sum())
        field_[:, faces] = flat[:, begin:end]
        out.append(field_)
        begin = end
    return out


def action_of(problem: DynamicProblem, r: Array, flux: list[Array], source: Array | None) -> float:
    """tau sum |Y|^p/(p r^{p-1}); +inf where an empty cell moves."""
    metric, square = problem.metric, np.zeros_like(r)
    for part in problem.cells.doubled(flux, 1 / metric.face):
        square += part**2
    if source is not None:
        square += source**2 / metric.beta
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        cost = square ** (metric.p / 2) / (metric.p * r ** (metric.p - 1))
    return problem.tau * float(np.where(square == 0, 0.0, cost).sum())


def ceilings_hold(h: Separable | None, u: Array) -> bool:
    """Whether a given density respects the upper bounds of an energy."""
    return h is None or bool((u.ravel() <= h.ceiling * (1 + 1e-9)).all())
