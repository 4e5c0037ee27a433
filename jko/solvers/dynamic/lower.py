r"""Lower bounds: any potential phi becomes feasible by constants in space (formulas Y1 and Y2).

With H = |b|^q/q + beta phi^2/2 in every cell, where the two sides of a face share
b_before + b_behind = sqrt(2) alpha^{1/q} grad phi, and
y^k = phi^k - phi^{k-1} + (tau/2)(H^{k-1} + H^k), the value of the problem is at least
<phi^{N-1} - (tau/2) H^{N-1}, rho^N> - <phi^0 + (tau/2) H^0, rho^0> minus the conjugates of
tau R at y^k for every inner time; at a free end the first bracket gives way to minus the conjugate
of E + (tau/2) R at (tau/2) H^{N-1} - phi^{N-1}.

Where mass is conserved a constant may be taken off every y^k for its mass; with sources H changes
with the constant, and the largest feasible one is a root of a quadratic in every cell.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jko.energies.conjugate import brackets
from jko.forms.separable import Separable
from jko.prox.duality.mass import MassSearch
from jko.solvers.dynamic.problem import DynamicProblem
from jko.validation import Array

#: Steps of the search for the multiplier of a slice; every multiplier gives a bound.
MULTIPLIER_STEPS = 40
#: Relative slack against rounding where a conjugate ends.
ROUNDING = 1e-14


def shares(problem: DynamicProblem, duals: Array) -> list[Array]:
    """The share of b_before in every face, from the multipliers of Y; half where they vanish."""
    out = []
    for axis in range(problem.cells.dim):
        one = duals[2 * axis + 1]
        total = one + problem.cells.behind(duals[2 * axis], axis)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = one / total
        out.append(np.clip(np.where(np.isfinite(share), share, 0.5), 0.0, 1.0))
    return out


def transport_part(problem: DynamicProblem, phi: Array, share: Sequence[Array]) -> Array:
    """|b|^q/q in every cell."""
    cells, metric = problem.cells, problem.metric
    square = np.zeros_like(phi)
    for axis, g in enumerate(cells.gradient(phi)):
        b = metric.face * g
        square += (share[axis] * b) ** 2
        square += cells.before(((1 - share[axis]) * b) ** 2, axis)
    return square / 2 if metric.q == 2 else square ** (metric.q / 2) / metric.q


def lower_bound(problem: DynamicProblem, phi: Array, share: Sequence[Array]) -> float:
    """The bound of potentials (slices, *shape); -inf where none can be made."""
    moving = transport_part(problem, phi, share)
    phi = phi.reshape(len(phi), -1)[:, problem.cells.opened.ravel()]
    moving = moving.reshape(len(phi), -1)[:, problem.cells.opened.ravel()]
    if problem.balanced:
        return _balanced(problem, phi, moving)
    return _unbalanced(problem, phi, moving)


def _opened(problem: DynamicProblem, h: Separable | None) -> Separable | None:
    if h is None or problem.cells.plain:
        return h
    return h.take(np.flatnonzero(problem.cells.opened.ravel()))


def _balanced(problem: DynamicProblem, phi: Array, moving: Array) -> float:
    half, mass = problem.tau / 2, problem.mass
    opened = problem.cells.opened
    total = problem.fixed_cost - float((phi[0] + half * moving[0]) @ problem.start[opened])
    running = _opened(problem, problem.running)
    for k in range(1, problem.slices):
        y = phi[k] - phi[k - 1] + half * (moving[k - 1] + moving[k])
        total -= conjugate(running, y, problem.tau, mass)
    final = phi[-1] - half * moving[-1]
    if problem.end is not None:
        return total + float(final @ problem.end[opened])
    return total - conjugate(_opened(problem, problem.last), -final, 1.0, mass)


def conjugate(h: Separable | None, y: Array, scale: float, mass: float) -> float:
    """sup of <y, u> - scale h(u) over u >= 0 of a mass, from above; h = 0 when None."""
    if h is None:
        return float(y.max()) * mass
    excess = y / scale - h.linear
    if not h.powers:
        if h.upper is None:
            return scale * (float(excess.max()) * mass - h.constant)
        order = np.argsort(-excess)
        at = int(np.searchsorted(np.cumsum(h.ceiling[order]), mass * (1 - 1e-12)))
        level = float(excess[order[min(at, len(order) - 1)]])
        over = np.maximum(excess - level, 0.0)
        dual = float(np.where(over > 0, over * h.ceiling, 0.0).sum()) + level * mass
        return scale * (dual - h.constant)
    return scale * (_multiplied(h, y / scale, mass) - h.constant)


def _multiplied(h: Separable, z: Array, mass: float) -> float:
    """min over the multiplier of sum h*(z - level) + level mass."""
    floor, best = _floor(h, z), np.inf
    level = floor if floor > -np.inf else float((z - h.gradient(_even(h, mass))).max())
    search = MassSearch(level, floor, reach=max(1.0, abs(level)))
    for _ in range(MULTIPLIER_STEPS):
        level = search.x
        response = h.best_response(z - level)
        total = float(response.sum())
        if np.isfinite(total):
            value = float(_per_atom(h, z - level, response).sum()) + level * mass
            best = min(best, value)
        if abs(total - mass) <= 1e-12 * mass:
            break
        if not search.advance(total > mass, _newton(h, response, mass)):
            break
    return best


def _even(h: Separable, mass: float) -> Array:
    """The mass shared by all cells, inside the bounds."""
    most = np.maximum(0.5 * h.ceiling, 1e-300)
    return np.asarray(np.minimum(np.full(h.n, mass / h.n), most))


def _floor(h: Separable, z: Array) -> float:
    """The least multiplier at which every response is finite."""
    linear = h.ceiling == np.inf
    for p, c in h.powers.items():
        linear &= (c == 0) | (p < 1)
    if not linear.any():
        return -np.inf
    top = float((z - h.linear)[linear].max())
    return top + ROUNDING * (abs(top) + float(np.abs(z).max()))


def _newton(h: Separable, response: Array, mass: float) -> float:
    """The change of the multiplier at which the responses add up to the mass, to first order.

    Their mass is exponential in it where the energy has an entropy; NaN where it says nothing.
    """
    total = float(response.sum())
    if not np.isfinite(total):
        return float("nan")
    moving = (response > 0) & (response < h.ceiling)
    with np.errstate(divide="ignore"):
        slope = float((1 / h.hessian(response))[moving].sum())
    if not 0 < slope < np.inf:
        return float("nan")
    if 1.0 in h.powers and total > 0:
        return total / slope * float(np.log(total / mass))
    return (total - mass) / slope


def _unbalanced(problem: DynamicProblem, phi: Array, moving: Array) -> float:
    """Backward in time: phi^{k-1} is raised or lowered to where its slice becomes feasible."""
    half, beta, opened = problem.tau / 2, problem.metric.beta, problem.cells.opened
    running, last = _opened(problem, problem.running), _opened(problem, problem.last)
    total, now = problem.fixed_cost, phi[-1]
    if problem.end is None:
        now = _raised(now, half * moving[-1] - _limit(last, 1.0, len(now)), half * beta / 2)
        final = now - half * (moving[-1] + 0.5 * beta * now**2)
        total -= _free_conjugate(last, -final)
    else:
        final = now - half * (moving[-1] + 0.5 * beta * now**2)
        total += float(final @ problem.end[opened])
    energy = moving[-1] + 0.5 * beta * now**2
    for k in range(problem.slices - 1, 0, -1):
        bound = now + half * (energy + moving[k - 1])
        limit = _limit(running, problem.tau, len(now))
        before = _raised(phi[k - 1], bound - limit, half * beta / 2)
        earlier = moving[k - 1] + 0.5 * beta * before**2
        y = now - before + half * (energy + earlier)
        total -= problem.tau * _free_conjugate(running, y / problem.tau)
        now, energy = before, earlier
    return total - float((now + half * energy) @ problem.start[opened])


def _raised(phi: Array, bound: Array, c: float) -> Array:
    """phi plus the least constant with phi - c phi^2 >= bound, none where nothing is asked."""
    asked = bound > -np.inf
    if not asked.any():
        return phi
    b = bound[asked]
    least = 2 * b / (1 + np.sqrt(np.maximum(1 - 4 * c * b, 0.0)))
    shift = float((least - phi[asked]).max())
    shift += ROUNDING * (abs(shift) + float(np.abs(phi).max()))
    return phi + (shift if asked.all() else max(shift, 0.0))


def _limit(h: Separable | None, scale: float, n: int) -> Array:
    """The largest y per cell with a finite conjugate of scale h; 0 without an energy."""
    if h is None:
        return np.zeros(n)
    bounded = np.isfinite(h.ceiling)
    for p, c in h.powers.items():
        bounded |= (c > 0) & (p >= 1)
    return np.where(bounded, np.inf, scale * h.linear)


def _free_conjugate(h: Separable | None, y: Array) -> float:
    """sum of h*(y); rounding beyond the edge of its domain counts as the edge."""
    linear = np.zeros_like(y) if h is None else h.linear
    slack = 10 * ROUNDING * (np.abs(y) + np.abs(linear) + float(np.abs(y).max()))
    if h is None or (not h.powers and h.upper is None):
        constant = 0.0 if h is None else h.constant
        return -constant if bool((y <= linear + slack).all()) else np.inf
    edge = np.isfinite(_limit(h, 1.0, len(y))) & (y <= linear + slack)
    z = np.where(edge, np.minimum(y, linear), y)
    return float(_per_atom(h, z, h.best_response(z)).sum()) - h.constant


def _per_atom(h: Separable, z: Array, response: Array) -> Array:
    """h*(z) from above (n,), whatever the response found: formula B1."""
    unbounded = ~np.isfinite(response)
    w = np.minimum(np.where(unbounded, 0.0, response), h.ceiling)
    value = np.where(w == 0, 0.0, z * w) - h.per_atom(w) + brackets(h, w, z, w)
    return np.where(unbounded, np.inf, value)
