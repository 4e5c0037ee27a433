"""Gradients of the user's energies are compared with their values once, where they begin."""

from __future__ import annotations

import numpy as np

from jko.energies.base import Energy
from jko.errors import InvalidArgument
from jko.measures.base import Discrete
from jko.numerics.checked_gradient import ASIDE, size_of
from jko.numerics.gradients import check_gradient
from jko.validation import Array

#: Directions in which the gradient of a whole energy is compared.
DIRECTIONS = 3
#: Size of the directions of weights, as a share of the weights, which must stay positive.
SMALL = 0.02
#: Atoms that are looked at one by one once a first variation is known to be wrong.
LOOKED_AT = 64
#: Change of a single weight for a difference, as a share of the weight.
ALONE = 1e-3
#: Change of a single coordinate for a difference, as a share of the size of the points.
BESIDE = 1e-5


def check_moving(energy: Energy, mu: Discrete) -> None:
    """Compare `wasserstein_gradient` with `value` of every energy of the user's, once an object.

    d/dt F(x + t v) = sum_i w_i <grad f(x_i), v_i>, in a few directions v of the size of the points.
    """
    for _, term in energy.terms:
        own = type(term).wasserstein_gradient.__module__.split(".")[0] == "jko"
        if own or getattr(term, "_moving_checked", False):
            continue
        _check_energy(term, mu)
        object.__setattr__(term, "_moving_checked", True)


def _check_value(term: Energy, mu: Discrete) -> None:
    if np.isnan(term.value(mu)):
        raise InvalidArgument(
            f"value of {type(term).__name__} is nan where the step begins; return a number, or"
            " +inf where the energy is infinite"
        )


def _check_energy(term: Energy, mu: Discrete) -> None:
    _check_value(term, mu)
    name = f"wasserstein_gradient of {type(term).__name__}"
    remedy = "return the gradient of the first variation, (1/w_i) dF/dx_i"
    failed: list[InvalidArgument] = []
    for share in (0.0, *ASIDE):
        start, ways = _rays(mu, share)

        def along(t: Array, start: Discrete = start, ways: Array = ways) -> Array:
            moved = [start.points + np.tensordot(row, ways, 1) for row in t]
            return np.array([term.value(start.with_points(points)) for points in moved])

        def slope(t: Array, start: Discrete = start, ways: Array = ways) -> Array:
            force = np.asarray(term.wasserstein_gradient(start), dtype=float)
            inner = np.einsum("i,ij,kij->k", start.weights, force, ways)
            return np.broadcast_to(inner, t.shape)

        try:
            check_gradient(along, slope, np.zeros((1, DIRECTIONS)), name=name, remedy=remedy)
        except InvalidArgument as trouble:
            failed.append(trouble)
        else:
            return
    raise InvalidArgument(_at_a_particle(term, mu, name, remedy) or str(failed[0]))


def _at_a_particle(term: Energy, mu: Discrete, name: str, remedy: str) -> str | None:
    """The sentence for the coordinate, of some particles, where the two disagree most."""
    given, size = np.asarray(term.wasserstein_gradient(mu), dtype=float), size_of(mu.points)
    if given.shape != mu.points.shape:
        return None
    charged, some = np.flatnonzero(mu.weights > 0), LOOKED_AT // mu.dim + 1
    chosen = charged[np.unique(np.linspace(0, charged.size - 1, some).astype(int))]
    found = np.array([[_force_at(term, mu, i, k, size) for k in range(mu.dim)] for i in chosen])
    row, k = np.unravel_index(np.argmax(np.abs(found - given[chosen])), found.shape)
    i = int(chosen[row])
    return (
        f"{name} disagrees with differences of its value in coordinate {k} of particle {i},"
        f" x = ({_shown(mu.points[i])}): it says {given[i, k]:.6g}, differences say"
        f" {found[row, k]:.6g}; {remedy}"
    )


def _force_at(term: Energy, mu: Discrete, i: int, k: int, size: Array) -> float:
    """(1/w_i) dF/dx_ik by a central difference."""
    way = np.zeros(mu.points.shape)
    way[i, k] = BESIDE * size[k]
    ends = [float(term.value(mu.with_points(mu.points + s * way))) for s in (1.0, -1.0)]
    return (ends[0] - ends[1]) / (2 * float(way[i, k] * mu.weights[i]))


def _shown(x: Array) -> str:
    """The coordinates of a point (d,) as text."""
    return ", ".join(f"{c:.4g}" for c in x)


def check_weighted(energy: Energy, mu: Discrete, fixed: bool = True) -> None:
    """Compare `first_variation` with `value` of every energy of the user's, once an object.

    d/dt F(w + t v) = sum_i f_i v_i, in a few directions v of the size of the weights, at a measure
    that charges every atom (a first variation may be infinite at empty ones). Where the mass is
    fixed they keep it: a constant in the first variation then does not count.
    """
    flag = "_weighted_checked" if fixed else "_masses_checked"
    for _, term in energy.terms:
        own = type(term).first_variation.__module__.split(".")[0] == "jko"
        if (own and not term.of_functions) or getattr(term, flag, False):
            continue
        _check_first_variation(term, mu, fixed)
        object.__setattr__(term, flag, True)


def _check_first_variation(term: Energy, mu: Discrete, fixed: bool) -> None:
    _check_value(term, mu)
    full = mu.with_weights(0.5 * mu.weights + 0.5 * mu.mass / mu.n)
    ways = np.clip(np.random.default_rng(0).standard_normal((DIRECTIONS, mu.n)), -2, 2)
    if fixed:
        ways = ways - ways @ full.weights[:, None] / full.mass
    else:
        ways[0] = 1.0
    ways = SMALL * full.weights * ways

    def along(t: Array) -> Array:
        moved = [full.with_weights(full.weights + row @ ways) for row in t]
        return np.array([term.value(nu) for nu in moved])

    def slope(t: Array) -> Array:
        f = np.asarray(term.first_variation(full), dtype=float)
        return np.broadcast_to(ways @ f, t.shape)

    name, remedy = f"first_variation of {type(term).__name__}", "return dF/dw_i at every atom (n,)"
    try:
        check_gradient(along, slope, np.zeros((1, DIRECTIONS)), name=name, remedy=remedy)
    except InvalidArgument as trouble:
        raise InvalidArgument(
            _at_an_atom(term, full, fixed, name, remedy) or str(trouble)
        ) from None


def _at_an_atom(term: Energy, mu: Discrete, fixed: bool, name: str, remedy: str) -> str | None:
    """The sentence for the atom, of some, where slope and difference disagree most."""
    given = np.asarray(term.first_variation(mu), dtype=float)
    if given.shape != (mu.n,):
        return None
    given = given - (float(mu.weights @ given) / mu.mass if fixed else 0.0)
    chosen = np.unique(np.linspace(0, mu.n - 1, LOOKED_AT).astype(int))
    found = np.array([_slope_at(term, mu, i, fixed) for i in chosen])
    off = np.abs(found - given[chosen])
    if not np.isfinite(off).any():
        return None
    k = int(np.nanargmax(off))
    i, mean = int(chosen[k]), " more than on average" if fixed else ""
    atom = "cell" if hasattr(mu, "grid") else "atom"
    return (
        f"{name} disagrees with differences of its value at {atom} {i}, x ="
        f" ({_shown(mu.points[i])}): it says {given[i]:.6g}{mean}, differences say"
        f" {found[k]:.6g}; {remedy}"
    )


def _slope_at(term: Energy, mu: Discrete, i: int, fixed: bool) -> float:
    """dF/dw_i by a central difference; at fixed mass, what the others give is taken away."""
    way = np.zeros(mu.n)
    way[i] = 1.0
    if fixed:
        way -= mu.weights / mu.mass
    h = ALONE * float(mu.weights[i])
    ends = [float(term.value(mu.with_weights(mu.weights + s * h * way))) for s in (1.0, -1.0)]
    return (ends[0] - ends[1]) / (2 * h)


def _rays(mu: Discrete, share: float) -> tuple[Discrete, Array]:
    """The measure a little aside, and directions (k, n, d) of the size of its points."""
    rng = np.random.default_rng(0)
    ways = size_of(mu.points) * rng.standard_normal((DIRECTIONS, *mu.points.shape))
    return mu.with_points(mu.points + share * ways[0]), ways
