"""Reaction of the weights of a mixture, its components fixed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from jko.expectations import ExpectationRule, Nodes
from jko.geometries.divergence import Divergence, phi_divergence
from jko.geometries.hellinger import Hellinger, SphericalHellinger
from jko.measures.base import Measure
from jko.measures.gaussian import Gaussian, GaussianMixture, parts_of
from jko.numerics.elementary import EPS, log_or_minus_inf, log_quotient
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Certificate, Controls, Scale, Stated, of_kind
from jko.solvers.base import ProxSolver, keeps_mass
from jko.solvers.gaussian.mixtures import mixture_refusal
from jko.solvers.gaussian.stated import ROUNDINGS, relative
from jko.validation import Array

#: How many times its difference to a coarser rule the error of a rule may be: in 200 random
#: mixtures on the line it was at most 2.3 times, as both oscillate with the number of nodes.
RULE_SAFETY = 4.0
#: What `info["kind"]` says of a reaction step in a Hellinger geometry.
EXPONENTIAL = "implicit exponential step of the Fisher-Rao flow of the weights, of first order"


def _logs_at(parts: list[Gaussian], nodes: Nodes) -> Array:
    """log N_j (k, nodes, k) at the nodes of every component."""
    points = [g.mean + nodes.z @ np.linalg.cholesky(g.cov).T for g in parts]
    logs = np.array([[g.log_density_at(x) for g in parts] for x in points])
    return logs.transpose(0, 2, 1)


def _coarser(rule: ExpectationRule) -> Iterator[ExpectationRule]:
    """Up to three rules with ever fewer nodes."""
    found = rule.coarser()
    for _ in range(3):
        if found is None:
            return
        yield found
        found = found.coarser()


def _log_means(logs: Array, w: Array) -> Array:
    """log mu (k, nodes) at the nodes of every component."""
    return np.asarray(np.logaddexp.reduce(logs + log_or_minus_inf(w), axis=2))


def _difference(fine: tuple[Array, Nodes], coarser: list[tuple[Array, Nodes]], w: Array) -> Array:
    """What E_k log mu (k,) owes to the rule, from those with fewer nodes.

    Errors oscillate with the number of nodes, so that one difference may vanish by chance: the
    largest counts, with the sign of the first.
    """
    one, *others = (_log_means(logs, w) @ nodes.weights for logs, nodes in (fine, *coarser))
    off = np.array([one - other for other in others])
    return np.asarray(RULE_SAFETY * np.copysign(np.abs(off).max(axis=0), off[0]))


def _blocks(logs: Array, nodes: Nodes, w: Array) -> Array:
    """Three standard errors of E_k log mu (k,), from independent blocks of nodes."""
    means = nodes.block_means(_log_means(logs, w).T)
    return np.asarray(3 * means.std(axis=0, ddof=1) / np.sqrt(nodes.blocks))


@dataclass(frozen=True, eq=False)
class _Reaction(Stated):
    """F(w) + KL(w|w')/step in the weights of fixed components; convex."""

    potential: Array
    logs: Array
    nodes: Array
    entropy: float
    before: Array
    step: float
    constant: float
    rough: Callable[[Array], Array]

    @classmethod
    def of(cls, problem: ProxProblem, mu: GaussianMixture) -> _Reaction:
        form, parts = problem.energy.gaussian_form(), parts_of(mu)
        along = form.along(mu)
        fixed = [form.moments(g).value for g in parts]
        rule = along.fields[-1].rule_in(mu.dim) if form.entropy else None
        if rule is None:
            logs, weights = np.zeros((len(parts), 1, len(parts))), np.ones(1)
            rough = lambda w: np.zeros(w.size)
        else:
            nodes = rule.nodes(mu.dim)
            logs, weights = _logs_at(parts, nodes), nodes.weights
            fewer = [r.nodes(mu.dim) for r in _coarser(rule)]
            pairs = [(_logs_at(parts, few), few) for few in fewer]
            rough = partial(_difference, (logs, nodes), pairs)
            if not pairs:
                rough = partial(_blocks, logs, nodes)
        constant = form.linear * mu.mass + form.constant
        before, step = mu.components[0], problem.step
        return cls(np.array(fixed), logs, weights, form.entropy, before, step, constant, rough)

    def variation(self, w: Array) -> Array:
        """f_k = E_k (V + c log mu), (k,)."""
        return self.potential + self.entropy * (_log_means(self.logs, w) @ self.nodes)

    def value(self, w: Array) -> float:
        """F(w) + KL(w|w')/step."""
        moved = phi_divergence(1.0, w, self.before) / self.step
        return float(w @ self.variation(w)) + self.constant + moved

    def objective(self, nu: Measure) -> float:
        """The same, of a mixture with these components."""
        assert isinstance(nu, GaussianMixture)
        return self.value(nu.components[0])

    def magnitude(self, w: Array) -> float:
        """The size of the terms that a change of the weights can change."""
        f, log_ratio = self._centred(w)
        alive = w > 0
        spread = float(w[alive] @ np.abs(f)) + float(w[alive] @ np.abs(log_ratio)) / self.step
        return self.entropy * float(w.sum()) + spread

    def _centred(self, w: Array) -> tuple[Array, Array]:
        """f and log(w/w') on the charged components, less their means."""
        alive = w > 0
        share = w[alive] / w.sum()
        f, log_ratio = self.variation(w)[alive], log_quotient(w[alive], self.before[alive])
        return f - float(share @ f), log_ratio - float(share @ log_ratio)

    def excess(self, w: Array) -> tuple[float, float]:
        """Gap and residual: with v the gradient, F convex, gap <= max over KL balls of -<v, .>.

        The residual is |v| relative to |f - mean f| + |log(w/w') - mean|/step, 0 where that is
        rounding.
        """
        share = w[w > 0] / w.sum()
        f, log_ratio = self._centred(w)
        v = f + log_ratio / self.step
        noise = 4 * EPS * float(share @ (np.abs(f) + np.abs(log_ratio) / self.step))
        gap = float(w.sum()) * (self._fall(share, v) + noise)
        norms = [float(np.sqrt(share @ u**2)) for u in (v, f, log_ratio / self.step)]
        size = float(np.abs(self.variation(w)).max()) + self.entropy + 1 / self.step
        return gap, relative(norms[0], norms[1] + norms[2], ROUNDINGS * EPS * size)

    def _fall(self, share: Array, v: Array) -> float:
        """log sum share exp(-step v) / step, with the digits that a short step needs."""
        with np.errstate(over="ignore"):
            found = float(np.log1p(share @ np.expm1(-self.step * v)))
        return max(found, 0.0) / self.step

    def bias(self, w: Array) -> float:
        """What the rule of the entropy's integral may hide: the gap if f is off by its estimate."""
        alive = w > 0
        share, off = w[alive] / w.sum(), self.entropy * self.rough(w)[alive]
        off = off - float(share @ off)
        f, log_ratio = self._centred(w)
        v = f + log_ratio / self.step
        return float(w.sum()) * max(self._fall(share, v + s * off) for s in (-1.0, 1.0))

    def certificate(self, answer: Answer) -> Certificate:
        """The gap of the convex problem in the weights."""
        return Certificate(*self.excess(of_kind(answer.measure, GaussianMixture).components[0]))

    def size(self, answer: Answer) -> Scale:
        """The size of the terms that a change of the weights can change."""
        size = self.magnitude(of_kind(answer.measure, GaussianMixture).components[0])
        return Scale(size, size + abs(self.objective(answer.measure)))


@dataclass(frozen=True)
class MixtureWeights(ProxSolver):
    r"""Reaction of the weights of a mixture, components fixed.

    Solves w = w' exp(-tau (f - mean f)), f_k = E_k (V + c log mu) at the answer: the minimiser of
    F + KL(w|w')/tau, a proximal step in `Divergence(p=1)`, and in `SphericalHellinger()` an
    implicit exponential step of the Fisher-Rao flow, as its result says. By iterations that are
    monotone because c int mu log mu is c-smooth relative to the entropy of the weights.

    References
    ----------
    Mielke and Zhu (2025) for the reaction; Lambert et al. (2022) for mixtures.
    """

    kinds: ClassVar[tuple[type[Measure], ...]] = (GaussianMixture,)
    guarantee: ClassVar[str] = "gap: the problem is convex in the weights of the components"
    default_tol: ClassVar[float] = 1e-9

    def accepts(self, problem: ProxProblem) -> str | None:
        geometry = problem.geometry
        entropic = isinstance(geometry, Divergence) and geometry.p == 1
        if not (entropic or isinstance(geometry, (Hellinger, SphericalHellinger))):
            return f"it reacts in jko.SphericalHellinger() or Divergence(p=1), not in {geometry!r}"
        remedy = "mass='fixed' or jko.SphericalHellinger()"
        return mixture_refusal(problem) or keeps_mass(problem, remedy)

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        previous = problem.previous
        assert isinstance(previous, GaussianMixture)
        stated = _Reaction.of(problem, previous)
        w, before, c = stated.before, stated.before, stated.entropy
        limit, count = controls.max_iter or 5000, 0
        total, inverse = c + 1 / stated.step, 1 / stated.step
        while stated.excess(w)[0] > 0.3 * controls.tol * stated.magnitude(w) and count < limit:
            count += 1
            mix = inverse * log_or_minus_inf(before)
            if c > 0:  # else 0 times the -inf of a component that is gone
                mix = mix + c * log_or_minus_inf(w)
            logs = (mix - stated.variation(w)) / total
            w = np.exp(logs - np.logaddexp.reduce(logs)) * before.sum()
        nu = GaussianMixture(previous.means, previous.covs, w)
        return Answer(
            nu,
            stated,
            count,
            sqdistance=_square(problem, w, before),
            bias=stated.bias(w) if stated.entropy else None,
            baseline=stated.value(before),
            exhausted=count == limit,
            info={} if isinstance(problem.geometry, Divergence) else {"kind": EXPONENTIAL},
        )


def _square(problem: ProxProblem, w: Array, before: Array) -> float:
    """D^2 between the weights, divided by the rate."""
    geometry = problem.geometry
    if isinstance(geometry, SphericalHellinger):
        square = float(before.sum()) * geometry.angle(w, before) ** 2
    elif isinstance(geometry, Hellinger):
        square = float(4 * ((np.sqrt(w) - np.sqrt(before)) ** 2).sum())
    else:
        square = 2 * phi_divergence(1.0, w, before)
    return square / geometry.rate
