r"""Steps of energies made of transport to a target by one interior point over all their plans.

In weights of mass 1 the step of a Sinkhorn divergence is jointly convex in the plan Q and in the
scaling z of the measure with itself (Feydy et al. 2019): with E = e^{-C/reg} among the atoms

    <C, Q> + reg sum Q log(Q / (z t')) + reg (z'E z - 1) / 2,   z (E z) = w at its minimum.

z is kept at its minimum, so that -reg log z is part of the slope in w. Where reg is large beside
the costs no share of Q comes near zero: there the divergence is a smooth function of w alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from jko.energies.sinkhorn import STEEPEST, SinkhornDivergence
from jko.energies.transported import TransportedEnergy, cross_curvature, self_curvature
from jko.energies.wasserstein import WassersteinEnergy
from jko.errors import Unsupported
from jko.forms.form import WeightForm
from jko.geometries.hellinger import Hellinger, SphericalHellinger
from jko.geometries.wasserstein import Wasserstein
from jko.measures.masses import balanced
from jko.numerics.best import Halving
from jko.numerics.exact_transport import square_costs
from jko.numerics.joint_plans import JointInterior, PlanBlock, SmoothPart
from jko.numerics.self_transport import self_scaling
from jko.numerics.semi_dual import Potentials, potentials
from jko.prox.problem import ProxProblem
from jko.solvers.hellinger.spherical import half_angle_root
from jko.validation import Array, Index, Mask


@dataclass(eq=False)
class FormPart:
    """A function in normal form, of weights of mass `mass`, over that mass."""

    form: WeightForm
    opened: Index
    mass: float

    def __post_init__(self) -> None:
        self.separable = self.form.separable.take(self.opened)
        rows = np.ix_(self.opened, self.opened)
        self.gram = np.zeros((self.opened.size, self.opened.size))
        for q in self.form.quadratics:
            self.gram += q.scale * q.operator.dense()[rows]

    def gradient(self, w: Array) -> Array:
        return self.separable.gradient(self.mass * w) + self.gram @ (self.mass * w)

    def hessian(self, w: Array) -> Array:
        return self.mass * (np.diag(self.separable.hessian(self.mass * w)) + self.gram)


@dataclass(eq=False)
class SelfPart:
    """What a Sinkhorn divergence adds to the entropic cost: -reg log z in the slope."""

    near: Array
    reg: float
    scaling: Array | None = None

    def gradient(self, w: Array) -> Array:
        self.scaling = self_scaling(w, self.near, self.scaling)
        return -self.reg * np.log(self.scaling)

    def hessian(self, w: Array) -> Array:
        """-reg (W + z E z)^{-1}, through a matrix of eigenvalues between 1 and 2."""
        assert self.scaling is not None
        size = np.sqrt(w)
        part = self.scaling / size
        inner = part[:, None] * self.near * part
        inner[np.diag_indices(w.size)] += 1.0
        return np.asarray(-self.reg * np.linalg.inv(inner) / size[:, None] / size)


@dataclass(eq=False)
class SinkhornPart:
    """A Sinkhorn divergence as a smooth function of the weights."""

    factor: float
    cost: Array
    near: Array
    t: Array
    reg: float
    scaling: Array | None = None
    found: Potentials | None = None

    def gradient(self, w: Array) -> Array:
        start = None if self.found is None else self.found.h
        self.found = potentials(w, self.t, self.cost, self.reg, start)
        self.scaling = self_scaling(w, self.near, self.scaling)
        return self.factor * (self.found.f - self.reg * np.log(self.scaling / w))

    def hessian(self, w: Array) -> Array:
        assert self.found is not None
        assert self.scaling is not None
        cross = cross_curvature(self.found.shares, w, self.t, self.reg)
        density = np.exp(np.minimum(np.log(self.scaling / w), STEEPEST / 2))
        inside = self_curvature(density[:, None] * self.near * density, w, self.reg)
        return self.factor * (cross + inside)


@dataclass(eq=False)
class JointStep:
    """The interior point of a step, and what its iterate says of the step.

    Parameters
    ----------
    problem : ProxProblem
    rest : WeightForm or None
        The energy's terms in normal form.
    moved : list
        Its terms made of transport.
    smooth : bool
        Whether divergences are functions of the weights, not plans.
    """

    problem: ProxProblem
    rest: WeightForm | None
    moved: list[tuple[float, TransportedEnergy]]
    smooth: bool

    def __post_init__(self) -> None:
        mu = self.problem.discrete
        self.opened = np.flatnonzero(_open(self.problem, self.rest))
        self.plans: list[PlanBlock] = []
        self.parts: list[SmoothPart] = []
        if self.rest is not None:
            self.parts.append(FormPart(self.rest, self.opened, mu.mass))
        self._penalty()
        self.kept: list[tuple[Index, int]] = []
        self.sources = [self._transport(c, term) for c, term in self.moved]
        n = self.opened.size
        if not self.plans:
            self.plans.append(PlanBlock(np.zeros((n, 1)), np.ones(1)))
        self.interior = JointInterior(self.plans, self.parts, np.full(n, 1 / n))

    def _penalty(self) -> None:
        """D^2 / (2 tau), as a plan or in normal form."""
        problem, geometry, mu = self.problem, self.problem.geometry, self.problem.discrete
        if isinstance(geometry, Wasserstein):
            charged = np.flatnonzero(mu.weights > 0)
            cost = geometry.step_cost(mu, problem.tau, charged, self.opened)
            self.plans.append(PlanBlock(cost.T, mu.weights[charged] / mu.mass))
        else:
            form = problem.penalty.scaled(1 / problem.step)
            self.parts.append(FormPart(form, self.opened, mu.mass))

    def _transport(
        self, c: float, term: TransportedEnergy
    ) -> tuple[float, PlanBlock | SinkhornPart]:
        """Where the potential of a term will be, and by what it is to be divided."""
        mu = self.problem.discrete
        target = balanced(term.softened(1.0).target, mu)
        charged = target.weights[target.weights > 0] / mu.mass
        some = np.flatnonzero(charged > 1e-25)  # others take no part
        t, x = charged[some], mu.points[self.opened]
        y = target.points[target.weights > 0][some]
        self.kept.append((some, charged.size))
        cost, reg = square_costs(x, y), term.regularisation
        if isinstance(term, WassersteinEnergy):
            plan = PlanBlock(0.5 * c * cost, t)
            self.plans.append(plan)
            return c, plan
        near = np.exp(-square_costs(x, x) / reg)
        if self.smooth:
            part = SinkhornPart(c, cost, near, t, reg)
            self.parts.append(part)
            return 1.0, part
        plan = PlanBlock(c * (cost - reg * np.log(t)), t, c * reg)
        self.plans.append(plan)
        self.parts.append(SelfPart(near, c * reg))
        return c, plan

    @property
    def left(self) -> float:
        """An estimate of the excess of the objective."""
        return self.interior.left * self.problem.discrete.mass

    @property
    def weights(self) -> Array:
        """The weights (n,) of the iterate, of the exact mass."""
        mu, w = self.problem.discrete, np.zeros(self.problem.discrete.n)
        w[self.opened] = self.interior.w
        return w * (mu.mass / float(w.sum()))

    @property
    def potentials(self) -> list[Array]:
        """Potentials (m,) on the targets of the terms made of transport."""
        out = []
        for (c, source), (some, m) in zip(self.sources, self.kept, strict=True):
            if isinstance(source, PlanBlock):
                h = source.h / c
            else:
                assert source.found is not None
                h = source.found.h
            near = np.full(m, h.min())
            near[some] = h
            out.append(near)
        return out


def _open(problem: ProxProblem, rest: WeightForm | None) -> Mask:
    mu = problem.discrete
    out = np.ones(mu.n, dtype=bool) if mu.free is None else np.array(mu.free)
    if not isinstance(problem.geometry, Wasserstein):
        out &= problem.penalty.separable.ceiling > 0
    return out if rest is None else np.asarray(out & (rest.separable.ceiling > 0))


def joins(
    problem: ProxProblem, rest: WeightForm | None, moved: list[tuple[float, TransportedEnergy]]
) -> bool:
    """Whether the interior point takes the step: no bounds of the weights, finite costs."""
    geometry, mu = problem.geometry, problem.discrete
    known = all(isinstance(t, (WassersteinEnergy, SinkhornDivergence)) for _, t in moved)
    if not known or mu.n < 2:
        return False
    try:
        opened = _open(problem, rest)
    except Unsupported:
        return False
    if rest is not None and (not rest.convex or np.isfinite(rest.separable.ceiling[opened]).any()):
        return False
    if isinstance(geometry, Wasserstein):
        charged = np.flatnonzero(mu.weights > 0)
        cost = geometry.step_cost(mu, problem.tau, charged, np.flatnonzero(opened))
        return bool(np.isfinite(cost).all())
    bounds = problem.penalty.separable.ceiling
    return bool(opened.any() and np.isinf(bounds[opened]).all()) and problem.penalty.convex


class Turned(NamedTuple):
    """Weights (n,), potentials on the targets, and the steps that led there."""

    weights: Array
    potentials: list[Array]
    steps: int


def turned(
    problem: ProxProblem,
    rest: WeightForm | None,
    moved: list[tuple[float, TransportedEnergy]],
    aim: float,
    tol: float,
) -> Turned | None:
    """The step in the arccos metric by Hellinger steps of other lengths (formula H3).

    None where the interior point does not take one of them, or misses `aim`.
    """
    previous, found, missed = problem.discrete.weights, None, False

    def half(h: float) -> float:
        nonlocal found, missed
        tau = problem.step * float(np.sinc(h / np.pi))
        plain = replace(problem, geometry=Hellinger(mass="fixed"), tau=tau)
        if not joins(plain, rest, moved):
            missed = True
            return h
        step, count, halving = JointStep(plain, rest, moved, False), 0, Halving()
        while step.left > aim and halving.seen(step.left) <= 20 and step.interior.advance():
            count += 1
        missed = missed or step.left > aim
        spent = count if found is None else found.steps + count
        found = Turned(step.weights, step.potentials, spent)
        return SphericalHellinger.angle(step.weights, previous) / 2

    half_angle_root(half, limit=20, tol=np.sqrt(tol) / 100)
    return None if missed else found
