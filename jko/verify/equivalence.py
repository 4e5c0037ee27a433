r"""The theorem of the MMD step, executed: it is the inclusive-KL step (formula M1).

    argmin 1/2 MMD^2(., pi) + MMD^2(., m')/(2 eta) = (eta pi + m')/(1+eta)
                                                   = argmin KL(pi|.) + KL(m'|.)/eta

on P and on M+, where mu may charge supp(pi) and supp(m'). Weights are never compared: kernel
matrices are singular to rounding. Distances are |R(w - v)| with R'R = K.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from jko.energies import MMDEnergy
from jko.errors import InvalidArgument
from jko.geometries import MMD
from jko.identity import Identity, max_of
from jko.kernels import Kernel
from jko.measures import Histogram
from jko.measures.base import Discrete
from jko.measures.target import restrict
from jko.numerics.elementary import gram_root
from jko.prox.duality.certify import certify
from jko.prox.problem import ProxProblem
from jko.solvers.base import ProxSolver
from jko.solvers.programs.conic import Conic
from jko.solvers.step import step
from jko.solvers.weights.simplex_qp import SimplexQP
from jko.validation import Array, instance, one_of, positive
from jko.verify.programs import inclusive_kl_program

SUPPORTS = ("common", "union", "restricted")
#: Solves min_w -sum c log w + total sum w over w >= 0 [sum w = mass], c >= 0.
KLSolver = Callable[[Array, float, float | None], Array]
#: Conic runs Clarabel with explicit tolerances of 1e-12.
SIMPLEX = SimplexQP()
CONIC = Conic("CLARABEL")


@dataclass(frozen=True, eq=False)
class Sides:
    """Both problems of the theorem on one support.

    Attributes
    ----------
    target, previous : Histogram
        On the same atoms.
    kernel : Kernel
    eta : float
    mass : {"fixed", "free"}
    """

    target: Histogram
    previous: Histogram
    kernel: Kernel
    eta: float
    mass: str

    @property
    def fixed(self) -> float | None:
        """The mass to keep, or None."""
        return self.previous.mass if self.mass == "fixed" else None

    @property
    def problem(self) -> ProxProblem:
        """The MMD side as a proximal step."""
        geometry = MMD(self.kernel, mass=self.mass)
        return ProxProblem(MMDEnergy(self.target, self.kernel), geometry, self.previous, self.eta)

    @cached_property
    def root(self) -> Array:
        """R with R'R = K (on fixed mass, the positive version of K)."""
        return gram_root(self.kernel.positive_gram(self.previous.points))

    @property
    def pull(self) -> Array:
        """pi + m'/eta (n,): the coefficients of the KL side."""
        return self.target.weights + self.previous.weights / self.eta

    @property
    def total(self) -> float:
        """1 + 1/eta."""
        return 1 + 1 / self.eta

    def mixture(self) -> Array:
        """(eta pi + m')/(1+eta)."""
        return self.pull / self.total

    def by_mmd(self, solver: ProxSolver, tol: float = 1e-9) -> Array:
        """Weights of the MMD side."""
        p = self.problem
        found = step(p.previous, p.energy, p.geometry, p.tau, solver=solver, tol=tol, throw=False)
        assert isinstance(found.measure, Discrete)
        return found.measure.weights

    def by_kl(self, solver: KLSolver) -> Array:
        """Weights of the KL side."""
        return solver(self.pull, self.total, self.fixed)

    def distance(self, a: Array, b: Array) -> float:
        """MMD between two weight vectors, through a factor of K."""
        return float(np.linalg.norm(self.root @ (a - b)))

    def kl_gap(self, w: Array) -> float:
        """Lagrange dual gap of weights for the KL side.

        With lam = total - sum(c)/mass the gap is sum c (t - 1 - log t), t = (total - lam) w/c, plus
        (total - lam) w on atoms with c = 0.
        """
        c, charged = self.pull, self.pull > 0
        slope = self.total if self.fixed is None else float(c.sum()) / self.fixed
        if not (w[charged] > 0).all():
            return np.inf
        t = slope * w[charged] / c[charged]
        gap = float(c[charged] @ (t - 1 - np.log(t))) + slope * float(w[~charged].sum())
        return gap + abs(self.total - slope) * abs(float(w.sum()) - (self.fixed or w.sum()))

    def mmd_gap(self, w: Array) -> float:
        """Gap of weights for the MMD side, from the certificate of the step."""
        gap = certify(self.problem, self.previous.with_weights(w)).gap
        return np.inf if gap is None else gap


def sides(
    target: Discrete, previous: Discrete, kernel: Kernel, eta: float, mass: str, support: str
) -> Sides:
    """Check the arguments and put both measures on the support."""
    for name, value in (("target", target), ("previous", previous)):
        instance(value, Discrete, name, "pass a Histogram, Particles or GridDensity")
    one_of(mass, ("fixed", "free"), "mass")
    if mass == "fixed" and abs(target.mass - previous.mass) > 1e-12 * previous.mass:
        raise InvalidArgument(
            f"target has mass {target.mass:.9g}, previous {previous.mass:.9g}: with mass='fixed'"
            " the theorem needs equal masses; normalise them, or pass mass='free'"
        )
    if support == "union":
        points = np.unique(np.concatenate([previous.points, target.points]) + 0.0, axis=0)
    else:
        points = previous.points
    pi = _read(target, points)
    if support == "common" and pi.sum() < target.mass * (1 - 1e-12):
        raise InvalidArgument(
            "the target has atoms outside the support of the previous measure; pass"
            " support='union', or support='restricted' to watch the theorem fail"
        )
    back = _read(previous, points)
    return Sides(Histogram(points, pi), Histogram(points, back), kernel, positive(eta, "eta"), mass)


def _read(measure: Discrete, points: Array) -> Array:
    """Weights of a measure on given atoms."""
    return restrict(measure, Histogram(points, np.ones(len(points)))).weights


def mmd_kl_equivalence(
    target: Discrete,
    previous: Discrete,
    *,
    kernel: Kernel,
    eta: float = 0.5,
    mass: str = "fixed",
    support: str = "common",
    mmd_solver: ProxSolver = CONIC,
    kl_solver: KLSolver = inclusive_kl_program,
    tol: float = 1e-5,
) -> Identity:
    r"""Solve the MMD step and the inclusive-KL step independently and compare (formula M1).

    The MMD side is solved as a conic quadratic program and by `SimplexQP`, the KL side as an
    exponential-cone program; (eta pi + m')/(1+eta) is the closed form of both.

    Parameters
    ----------
    target, previous : discrete measures
        pi and m'.
    kernel : Kernel
    eta : float
        Step length.
    mass : {"fixed", "free"}
        On P (equal masses) or on M+ (any masses).
    support : {"common", "union", "restricted"}
        Where mu may put mass. "common": on the atoms of `previous`, which hold those of `target`;
        "union": on the atoms of both; "restricted": on those of `previous` although `target` has
        others. There the KL side is +inf everywhere and the MMD side is a quadratic program whose
        solution is not the mixture: the identity says that they must be apart.
    mmd_solver : ProxSolver
        For the MMD side; by default a conic program with tolerances 1e-12.
    kl_solver : callable
        For the KL side: (c, total, mass or None) -> argmin_w -sum c log w + total sum w.
    tol : float
        Largest MMD between solutions; a distance d is an objective gap of (1 + 1/eta) d^2/2.

    Returns
    -------
    Identity
        `residual` is the largest MMD between the solution of the KL side and the other three.
    """
    one_of(support, SUPPORTS, "support")
    if support == "restricted":
        return _restricted(target, previous, kernel, eta, mass, tol)
    both = sides(target, previous, kernel, eta, mass, support)
    found = both.by_kl(kl_solver)
    others = [
        both.by_mmd(mmd_solver),
        both.by_mmd(SIMPLEX, 1e-13),
        both.mixture(),
    ]
    worst = max_of(both.distance(found, w) for w in others)
    space = "P" if mass == "fixed" else "M+"
    statement = f"MMD step = inclusive-KL step = mixture, {support} support, on {space} (M1)"
    return Identity("mmd-kl", statement, worst, 0.0, worst, tol)


def _restricted(
    target: Discrete, previous: Discrete, kernel: Kernel, eta: float, mass: str, tol: float
) -> Identity:
    """The theorem must fail: the best measure on too few atoms stays away from the mixture."""
    both = sides(target, previous, kernel, eta, mass, "union")
    atoms = Histogram(previous.points, np.ones(previous.n))
    inside = _read(atoms, both.previous.points) > 0
    lost = float(both.target.weights[~inside].sum())  # where KL(pi|.) is infinite
    small = Histogram(both.previous.points[inside], both.previous.weights[inside])
    # MMDEnergy sees the whole target, the measure only its own atoms.
    geometry = MMD(kernel, mass=mass)
    answer = step(small, MMDEnergy(target, kernel), geometry, eta, solver=SimplexQP(), throw=False)
    assert isinstance(answer.measure, Discrete)
    w = np.zeros(both.previous.n)
    w[inside] = answer.measure.weights
    apart = both.distance(w, both.mixture()) if lost > 0 else 0.0
    floor = 100 * tol
    statement = (
        f"restricted support, pi has mass {lost:.2g} off it, KL = inf:"
        " the MMD step is far from the mixture (M1 must fail)"
    )
    return Identity("mmd-kl-restricted", statement, apart, floor, max(0.0, floor - apart), 0.0)


def mixture_by_qp(
    target: Discrete,
    previous: Discrete,
    *,
    kernel: Kernel,
    eta: float = 0.5,
    mass: str = "fixed",
    support: str = "common",
    solver: ProxSolver = SIMPLEX,
    tol: float = 1e-8,
) -> Identity:
    """The closed form against a QP solver that does not know it (formula M1).

    1e-8 is the rounding level: a distance d is an objective gap of (1 + 1/eta) d^2/2. It needs a
    smooth kernel and every atom charged by `target` or `previous`; where weight and gradient both
    vanish, an interior-point method stops at distances of about 1e-7.
    """
    both = sides(target, previous, kernel, eta, mass, support)
    found = both.by_mmd(solver, 1e-13)
    distance = both.distance(found, both.mixture())
    statement = "SimplexQP finds (eta pi + m')/(1+eta) (M1)"
    return Identity("mmd-kl-mixture", statement, distance, 0.0, distance, tol)


def cross_optimality(
    target: Discrete,
    previous: Discrete,
    *,
    kernel: Kernel,
    eta: float = 0.5,
    mass: str = "fixed",
    support: str = "common",
    mmd_solver: ProxSolver = CONIC,
    kl_solver: KLSolver = inclusive_kl_program,
    tol: float = 1e-5,
) -> Identity:
    """Each problem's own optimality gap at the other problem's solution (formula M1).

    The gap of the KL side looks at single weights, so the kernel must have a Gram matrix that
    identifies them (Laplace, Matern 1/2 at separated points), and every atom must be charged.
    """
    both = sides(target, previous, kernel, eta, mass, support)
    here = both.mmd_gap(both.by_kl(kl_solver))
    there = both.kl_gap(both.by_mmd(mmd_solver))
    statement = "each side's solution is optimal for the other side, by its own gap (M1)"
    return Identity("mmd-kl-gaps", statement, here, there, max_of([abs(here), abs(there)]), tol)
