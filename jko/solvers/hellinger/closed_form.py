r"""Closed-form Hellinger steps: one power p in {0, 1/2, 1, 2} and a linear part (formulas H2a-e).

Every formula returns s = sqrt(w) from A = 1 + (step/2)(a - lam), C = (step/2) c and s' = sqrt(m'):
the root of A + (step/2)(c psi_p)'(s^2) = s'/s. Divergences are the case lam = 0, e.g. for
KL(.|pi) a = -log pi, c = 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from jko.geometries.base import Geometry
from jko.geometries.hellinger import Hellinger
from jko.measures.base import Discrete, Measure
from jko.numerics.elementary import log_or_minus_inf
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Controls
from jko.solvers.base import Elsewhere, ProxSolver, infeasible
from jko.solvers.hellinger.atoms import (
    Atoms,
    Response,
    atoms_of,
    free_weights,
    scatter,
)
from jko.solvers.hellinger.multiplier import fixed_weights, multiplier_at
from jko.validation import Array, Index


def linear_root(a: Array, root: Array) -> Array:
    """s of A = s'/s: s = s'/A (formula H2e); +inf where A <= 0."""
    return np.where(a > 0, root / a, np.inf)


def entropic_root(a: Array, c: Array, root: Array) -> Array:
    """s of A + C log s^2 = s'/s, p = 1 (formula H2a).

    With v = W(x), x = log(s'/2C) + A/2C (W the Wright omega function, v + log v = x) the root is
    s = s'/(2 C v), or log s = v - A/2C: each is used where it does not cancel. m' = 0: the atom
    is reborn at w = exp(-A/C).
    """
    from scipy.special import wrightomega  # costs 0.1 s to import

    ratio = a / (2 * c)
    log_root = log_or_minus_inf(root)
    x = log_root - np.log(2 * c) + ratio
    v = np.asarray(wrightomega(np.where(np.isfinite(x), x, 0.0)))
    v = np.where(np.isfinite(x), v, np.where(x > 0, np.inf, 0.0))
    return np.where(x > 0, root / (2 * c * v), np.exp(v - ratio))


def inclusive_root(a: Array, c: Array, root: Array) -> Array:
    """s of A - C/s^2 = s'/s, p = 0 (formula H2b): the positive root of A s^2 - s' s - C = 0."""
    # The product A C may be below the least number.
    both = 2 * np.sqrt(np.maximum(a, 0.0)) * np.sqrt(c)
    return np.where(a > 0, (root + np.hypot(root, both)) / (2 * a), np.inf)


def half_root(a: Array, c: Array, root: Array) -> Array:
    """s of A - 2C/s = s'/s, p = 1/2 (formula H2d): s = (s' + 2C)/A."""
    return np.where(a > 0, (root + 2 * c) / a, np.inf)


def cubic_root(a: Array, c: Array, root: Array) -> Array:
    """s of A + C s^2 = s'/s, p = 2 (formula H2c): the positive root of s^3 + P s = Q.

    P = A/C, Q = s'/C >= 0. With r = 2 sqrt(|P|/3) and q = 4 Q/r^3, from the triple-angle
    formulas: r sinh(asinh(q)/3) for P > 0, r cosh(acosh(q)/3) for P < 0 and q > 1, r cos(acos(q)/3)
    for P < 0 and q <= 1; none of them cancels. m' = 0 gives sqrt(max(-P, 0)). P and Q themselves
    may leave the range of floats, so r and q are formed without them.
    """
    r = 2 * np.sqrt(np.abs(a) / 3) / np.sqrt(c)
    q = np.where(root > 0, 0.5 * root * np.sqrt(c) * (3 / np.abs(a)) ** 1.5, 0.0)
    third = np.where(
        a > 0,
        np.sinh(np.arcsinh(q) / 3),
        np.where(
            q > 1,
            np.cosh(np.arccosh(np.maximum(q, 1.0)) / 3),
            np.cos(np.arccos(np.minimum(q, 1.0)) / 3),
        ),
    )
    # P is negligible against Q^{2/3} when q is this large.
    return np.where(q < 1e100, r * third, np.cbrt(root) / np.cbrt(c))


ROOTS: dict[float, Callable[[Array, Array, Array], Array]] = {
    0.0: inclusive_root,
    0.5: half_root,
    1.0: entropic_root,
    2.0: cubic_root,
}


def closed_response(atoms: Atoms) -> Response | None:
    """w(A) by the formula of the only power present; None when there is no formula."""
    if not atoms.powers:
        return lambda a: linear_root(a, atoms.root) ** 2
    (p, c), *others = atoms.powers.items()
    if others or p not in ROOTS:
        return None
    formula = ROOTS[p]
    if (c > 0).all():
        return lambda a: formula(a, c, atoms.root) ** 2
    charged = c > 0
    safe = np.where(charged, c, 1.0)

    def respond(a: Array) -> Array:
        s = np.where(charged, formula(a, safe, atoms.root), linear_root(a, atoms.root))
        return s**2

    return respond


def refuse_nonseparable(problem: ProxProblem, name: str) -> str | None:
    """Why a solver of separable steps on a fixed support cannot take a problem."""
    if not isinstance(problem.previous, Discrete):
        return f"{name} varies the weights of a GridDensity, Histogram or Particles"
    if problem.form.quadratics:
        return (
            f"{name} needs a separable energy, and {problem.energy!r} couples its atoms;"
            " use jko.solvers.Conic() on a small support"
        )
    return infeasible(problem)


@dataclass(frozen=True)
class ClosedForm(ProxSolver):
    r"""Hellinger steps by a formula per atom, on M+ or with fixed mass.

    Takes energies with any linear part, upper bounds, and at most one power p in {0, 1/2, 1, 2}:
    potentials, KL, inclusive KL, half chi^2, half squared Hellinger, entropy and their sums with
    potentials. On fixed mass the multiplier is a scalar root, its hard case included.

    Notes
    -----
    Formulas H2a-e. Atoms with m' = 0 may be reborn; where the minimiser is not unique (several
    empty atoms tie in the hard case) the missing mass is shared equally.

    References
    ----------
    The formulas are derived here; the flows are those of Mielke and Zhu (2025).
    """

    geometries: ClassVar[tuple[type[Geometry], ...]] = (Hellinger,)
    kinds: ClassVar[tuple[type[Measure], ...]] = (Discrete,)
    guarantee: ClassVar[str] = "exact: a formula per atom, a scalar root for the mass"
    default_tol: ClassVar[float] = 1e-9

    def accepts(self, problem: ProxProblem) -> str | None:
        if not isinstance(problem.geometry, Hellinger):
            return "ClosedForm takes Hellinger steps"
        why = refuse_nonseparable(problem, "ClosedForm")
        if why is not None:
            return why
        powers = [p for p, c in problem.form.separable.powers.items() if (c > 0).any()]
        if len(powers) > 1 or any(p not in ROOTS for p in powers):
            found = ", ".join(f"{p:g}" for p in powers)
            return Elsewhere(
                f"ClosedForm has formulas for one power p in {{0, 1/2, 1, 2}}, not for {found}"
            )
        return None

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        atoms, index = atoms_of(problem)
        respond = closed_response(atoms)
        assert respond is not None
        return hellinger_answer(problem, atoms, index, respond, controls)


def hellinger_answer(
    problem: ProxProblem, atoms: Atoms, index: Index | None, respond: Response, controls: Controls
) -> Answer:
    """The step on M+ or on fixed mass, whichever the geometry says."""
    previous = problem.discrete
    if not problem.geometry.conserves_mass:
        w = free_weights(atoms, respond, problem)
        return Answer(previous.with_weights(scatter(w, index, previous.n)), problem, 1)
    guess = controls.warm if isinstance(controls.warm, float) else None
    balance = fixed_weights(atoms, respond, previous.mass, guess)
    lam = multiplier_at(atoms, balance.x)
    return Answer(
        previous.with_weights(scatter(balance.weights, index, previous.n)),
        problem,
        balance.iterations,
        dual=lam,
        warm=lam,
        info={"multiplier": lam},
    )
