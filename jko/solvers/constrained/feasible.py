"""Whether any weights satisfy moment constraints, and the multipliers that show it when none do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jko.energies.moment import Moment
from jko.errors import Unsupported
from jko.geometries.divergence import Divergence
from jko.measures.base import Discrete
from jko.prox.problem import ProxProblem
from jko.validation import Array

#: Share of a moment's size that a program may be off by.
ROUNDING = 1e-9


def infeasibility(problem: ProxProblem, moments: Sequence[Moment]) -> str | None:
    """Why no weights on the support of the step satisfy the constraints; None where some do.

    Farkas' lemma: the constraints contradict each other exactly where some combination sum y_j f_j
    is larger, integrated over any weights the step allows, than the bounds permit. One constraint
    is looked at alone; several by a linear program, whose multipliers y are the certificate.

    Parameters
    ----------
    problem : ProxProblem
        The step without the constraints, on a fixed support.
    """
    mu = problem.discrete
    ceiling = _ceiling(problem, mu)
    mass = mu.mass if problem.geometry.conserves_mass else None
    for m in moments:
        said = _one_alone(m, mu, ceiling, mass)
        if said is not None:
            return said
    return _together(moments, mu, ceiling, mass) if len(moments) > 1 else None


def _ceiling(problem: ProxProblem, mu: Discrete) -> Array:
    """The most that each atom may carry."""
    try:
        form = problem.total_form if isinstance(problem.geometry, Divergence) else problem.form
    except Unsupported:
        return np.full(mu.n, np.inf)
    return form.separable.ceiling


def _least(values: Array, ceiling: Array, mass: float | None) -> float:
    """The least of int f over 0 <= w <= ceiling [of the mass]: the cheapest atoms are filled."""
    if mass is None:
        falling = values < 0
        return float(
            -np.inf if (falling & np.isinf(ceiling)).any() else values[falling] @ ceiling[falling]
        )
    order = np.argsort(values, kind="stable")
    top = np.minimum(ceiling[order], mass)
    before = np.concatenate([[0.0], np.cumsum(top)[:-1]])
    given = np.clip(mass - before, 0.0, top)
    return float(given @ values[order])


def _one_alone(m: Moment, mu: Discrete, ceiling: Array, mass: float | None) -> str | None:
    open_ = ceiling > 0
    values, room = m.values(mu)[open_], ceiling[open_]
    low, high = _least(values, room, mass), -_least(-values, room, mass)
    slack = ROUNDING * max(m.size(mu), *(abs(b) for b in (low, high) if np.isfinite(b)), 0.0)
    if m.lower <= high + slack and m.upper >= low - slack:
        return None
    whose = "every measure" if mass is None else f"every measure of mass {mass:.6g}"
    return (
        f"constraints cannot be met: {whose} on these {int(open_.sum())} atoms has a moment between"
        f" {low:.6g} and {high:.6g}, and {m!r} asks for another; change its bounds, or the support"
    )


def _together(
    moments: Sequence[Moment], mu: Discrete, ceiling: Array, mass: float | None
) -> str | None:
    """The least violation that weights can have, by a linear program in weights and violation."""
    from scipy.optimize import linprog

    rows, bounds, owners = _rows(moments, mu)
    n, unit = mu.n, np.abs(rows).max(axis=1)
    unit[unit == 0] = 1.0
    matrix = np.hstack([rows / unit[:, None], -np.ones((len(rows), 1))])
    equal = None if mass is None else np.append(np.ones(n), 0.0)[None]
    box = [*((0.0, None if np.isinf(c) else c) for c in ceiling), (0.0, None)]
    found = linprog(
        np.append(np.zeros(n), 1.0), matrix, bounds / unit, equal,
        None if mass is None else [mass], bounds=box, method="highs",
    )  # fmt: skip
    size = 1.0 if mass is None else mass
    if found.status != 0 or found.fun <= ROUNDING * size:
        return None
    y = -np.asarray(found.ineqlin.marginals) / unit
    combined = np.zeros(len(moments))
    for row, owner in enumerate(owners):
        combined[owner] += y[row] if row % 2 == 0 else -y[row]
    return _contradiction(moments, combined, mu, ceiling, mass)


def _rows(moments: Sequence[Moment], mu: Discrete) -> tuple[Array, Array, list[int]]:
    """Rows f and -f with bounds upper and -lower, and whose they are; infinite bounds are far."""
    far = 1e300
    rows = [s * m.values(mu) for m in moments for s in (1.0, -1.0)]
    ends = [min(e, far) for m in moments for e in (m.upper, -m.lower)]
    return np.array(rows), np.array(ends), [j for j in range(len(moments)) for _ in range(2)]


def _contradiction(
    moments: Sequence[Moment], y: Array, mu: Discrete, ceiling: Array, mass: float | None
) -> str | None:
    """The certificate as a sentence, checked by itself: y.f is everywhere more than A permits."""
    y = y / np.abs(y).max()
    y[np.abs(y) < ROUNDING] = 0.0
    combined = np.sum([c * m.values(mu) for c, m in zip(y, moments, strict=True)], axis=0)
    open_ = ceiling > 0
    least = _least(combined[open_], ceiling[open_], mass)
    allowed = sum(c * (m.upper if c > 0 else m.lower) for c, m in zip(y, moments, strict=True) if c)
    if not least > allowed:
        return None
    shown = " + ".join(f"{c:.4g} * {m!r}" for c, m in zip(y, moments, strict=True) if c)
    whose = "every measure" if mass is None else f"every measure of mass {mass:.6g}"
    return (
        f"constraints contradict each other: the moments combined as {shown} come to at least"
        f" {least:.6g} for {whose} on these atoms, and their bounds allow at most {allowed:.6g};"
        " drop or relax one of them"
    )
