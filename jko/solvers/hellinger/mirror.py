r"""Divergence steps of separable energies: one response per atom, one multiplier for the mass.

The step minimises a separable form, sum_i h_i(w_i), whose stationarity h_i'(w_i) = lam is the
condition of a Hellinger step (jko.solvers.hellinger.atoms) with s' = 0: the same responses and the
same search for the multiplier serve both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from jko.forms.separable import Separable
from jko.geometries.base import Geometry
from jko.geometries.divergence import Divergence
from jko.measures.base import Discrete, Measure
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Controls
from jko.solvers.base import ProxSolver, infeasible
from jko.solvers.hellinger.atoms import Atoms, Response, scatter
from jko.solvers.hellinger.closed_form import closed_response
from jko.solvers.hellinger.dual_root import RootResponse
from jko.solvers.hellinger.multiplier import fixed_weights, multiplier_at
from jko.status import Breakdown, Status
from jko.validation import Array

#: Atoms that suffice for a first guess of the multiplier.
SAMPLE = 5000
#: Units that are neither smaller than this nor larger than one over it are divided by.
LEAST_UNIT = 1e-250


@dataclass(frozen=True)
class Mirror(ProxSolver):
    r"""Steps min F(w) + D_p(w | m')/tau of separable energies, on fixed mass or M+.

    Any mixture of powers, linear parts and upper bounds. When the objective holds the power p = 1
    alone (KL, entropy or a potential under `Divergence(p=1)`) the step is a softmax, taken in log
    domain; other single powers p in {0, 1/2, 2} have a formula per atom; the rest a root per atom.

    Notes
    -----
    Formula H4. Where the minimiser is not unique (empty atoms that tie, p < 1) the missing mass is
    shared equally.

    References
    ----------
    Beck and Teboulle (2003).
    """

    geometries: ClassVar[tuple[type[Geometry], ...]] = (Divergence,)
    kinds: ClassVar[tuple[type[Measure], ...]] = (Discrete,)
    guarantee: ClassVar[str] = "exact: a response per atom, a scalar root for the mass"
    default_tol: ClassVar[float] = 1e-9

    def accepts(self, problem: ProxProblem) -> str | None:
        if not isinstance(problem.geometry, Divergence):
            return "Mirror takes divergence steps"
        if not isinstance(problem.previous, Discrete):
            return f"a {type(problem.previous).__name__} has no weights on a fixed support"
        if problem.form.quadratics:
            return "Mirror takes separable energies only; WeightNewton takes quadratic terms"
        return infeasible(problem)

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        separable, previous = problem.total_form.separable, problem.discrete
        index = np.flatnonzero(separable.ceiling > 0)
        h = separable if index.size == separable.n else separable.take(index)
        mass = previous.mass if problem.geometry.conserves_mass else None
        answer = softmax(h, mass)
        if answer is not None:
            w, lam, count = *answer, 1
        else:
            w, lam, count = _by_atoms(h, previous.weights[index], mass, controls)
        weights = scatter(w, None if index.size == previous.n else index, previous.n)
        if not weights.sum() > 0:
            raise Breakdown(Status.EMPTY, "the objective is least where no atom has mass")
        info = {} if mass is None else {"multiplier": lam}
        return Answer(previous.with_weights(weights), problem, count, dual=lam, warm=lam, info=info)


def softmax(h: Separable, mass: float | None) -> tuple[Array, float] | None:
    """w = exp((lam - a)/c), where c psi_1, one c for all atoms, is the only power (formula H4)."""
    powers = {p: c for p, c in h.powers.items() if (c > 0).any()}
    if set(powers) != {1.0} or np.isfinite(h.ceiling).any():
        return None
    c = float(powers[1.0][0])
    if not (c > 0 and (powers[1.0] == c).all()):
        return None
    log_w = -h.linear / c
    shift = 0.0 if mass is None else float(np.log(mass) - np.logaddexp.reduce(log_w))
    w = np.exp(log_w + shift)
    if mass is not None:
        w *= mass / w.sum()
    elif not np.isfinite(w).all():
        raise Breakdown(Status.BROKEN, "the weights of the step overflow; fix the mass")
    return w, c * shift


def _by_atoms(
    h: Separable, previous: Array, mass: float | None, controls: Controls
) -> tuple[Array, float, int]:
    """Weights, multiplier and evaluations, through the machinery of the Hellinger steps."""
    unit = _unit(h, previous)
    found = _in_unit(h, previous, mass, controls, unit)
    # Where the step leaves atoms of huge curvature the unit of the answer is another.
    there = _unit(h, found[0])
    if mass is not None and there < 1e-6 * unit:
        w, lam, count = _in_unit(h, previous, mass, replace(controls, warm=None), there)
        return w, lam, count + found[2]
    return found


def _in_unit(
    h: Separable, previous: Array, mass: float | None, controls: Controls, unit: float
) -> tuple[Array, float, int]:
    """The same, in units of the curvature in log w: beside the 1 of A those of 1e-16 were lost."""
    h = h.scaled(1 / unit)
    # Half the step is 1 and s' = 0, so that A = 1 + (a - 1) - lam = a - lam.
    atoms = Atoms(h.shifted(1.0), np.zeros(h.n), 2.0)
    respond = _response(atoms, previous)
    if mass is None:
        return _free(atoms, respond, h, unit), 0.0, 1
    guess = controls.warm / unit if isinstance(controls.warm, float) else None
    if guess is None:
        guess = _sampled_guess(h, previous, mass)
    balance = fixed_weights(atoms, respond, mass, guess)
    return balance.weights, unit * multiplier_at(atoms, balance.x), balance.iterations


def _unit(h: Separable, previous: Array) -> float:
    """Mean of w h''(w) over the previous measure: what multipliers are measured in."""
    charged = np.flatnonzero(previous > 0)
    w = previous[charged]
    with np.errstate(over="ignore", invalid="ignore"):
        pace = w * h.take(charged).hessian(w)
        unit = float(w @ pace) / float(w.sum()) if charged.size else 1.0
    return unit if LEAST_UNIT < unit < 1 / LEAST_UNIT else 1.0


def _response(atoms: Atoms, previous: Array) -> Response:
    closed = closed_response(atoms)
    if closed is not None:
        return closed
    start = 0.5 * np.log(np.where(previous > 0, previous, 1.0))
    return RootResponse(atoms, start)


def _sampled_guess(h: Separable, previous: Array, mass: float) -> float:
    """The multiplier of every so many-th atom with its share of the mass: cheap, and close."""
    stride = h.n // SAMPLE
    if stride < 4 or np.isfinite(h.ceiling).any():
        return _guess(h, previous)
    some = np.arange(0, h.n, stride)
    part = Atoms(h.take(some).shifted(1.0), np.zeros(some.size), 2.0)
    respond = _response(part, previous[some])
    guess = _guess(h, previous)
    balance = fixed_weights(part, respond, mass * some.size / h.n, guess)
    return multiplier_at(part, balance.x)


def _guess(h: Separable, previous: Array) -> float:
    """The average of h' over the previous measure: the multiplier to first order."""
    charged = previous > 0
    if not charged.any():
        return 0.0
    weight = previous[charged]
    return float(weight @ h.take(np.flatnonzero(charged)).gradient(weight)) / float(weight.sum())


def _free(atoms: Atoms, respond: Response, h: Separable, unit: float) -> Array:
    """Every atom on its own; `Breakdown` where one falls without bound."""
    unbounded = atoms.barrier & ((h.linear < 0) | ((h.linear == 0) & ~atoms.idle))
    if unbounded.any():
        worst = int(np.argmin(np.where(unbounded, h.linear, np.inf)))
        falls = unit * h.linear[worst]
        raise Breakdown(
            Status.UNBOUNDED,
            f"at one atom the objective falls like {falls:.6g} per unit of mass, more"
            " than the divergence costs; take a smaller tau, or fix the mass",
        )
    w = atoms.weights(respond, h.linear)
    if not np.isfinite(w).all():
        raise Breakdown(Status.BROKEN, "the weights of the step overflow; fix the mass")
    return w
