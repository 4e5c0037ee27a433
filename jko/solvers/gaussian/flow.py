"""Exact flows of KL to a Gaussian on Gaussians: Wasserstein, Fisher-Rao and both (formula G2)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np

from jko.energies.divergence import gaussian_kl_sum
from jko.geometries.hellinger import Hellinger, SphericalHellinger
from jko.geometries.unbalanced import WassersteinFisherRao
from jko.geometries.wasserstein import Wasserstein
from jko.measures.base import Measure
from jko.measures.gaussian import Gaussian
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Claim, Controls
from jko.solvers.base import Elsewhere, ProxSolver
from jko.solvers.gaussian.stated import Followed
from jko.validation import Array, frozen

#: What `info["kind"]` of a result says.
FLOW = "exact flow of length tau, not a proximal step"


@cache
def _panels() -> tuple[Array, Array]:
    """Gauss points of [0, 1] and their weights, in panels that halve towards 0.

    Stiff directions relax at once.
    """
    x, w = np.polynomial.legendre.leggauss(12)
    cuts = np.concatenate([[0.0], 0.5 ** np.arange(36.0, -1.0, -1.0)])
    middle, half = (cuts[1:] + cuts[:-1]) / 2, np.diff(cuts) / 2
    points, weights = middle[:, None] + half[:, None] * x, np.outer(half, w)
    return frozen(points.ravel()), frozen(weights.ravel())


@dataclass(frozen=True)
class ExactFlow(ProxSolver):
    r"""The gradient flow itself, followed for the time tau: no proximal step, and it says so.

    For c KL(.|N(m*, S*)) on a Gaussian, in `Wasserstein()` (Ornstein-Uhlenbeck), `Hellinger()` or
    `SphericalHellinger()` (Fisher-Rao) and `WassersteinFisherRao(alpha, beta)`. With P = S*^{-1},

        S' = alpha (2 I - P S - S P) + beta (S - S P S),   m' = -(alpha I + beta S) P (m - m*),

    a Riccati equation whose solution is a sum of two positive matrices, in the eigenbasis of S*

        S_t = D^{-1} (S_0^{-1} + D^{-1} C)^{-1} D^{-1} + D^{-1} B,
        m_t = m* + e^{-beta t/2} D^{-1} (I + S_0 D^{-1} C)^{-1} (m_0 - m*),

    with diagonal B, C, D (formula G2). On M+ the mass z obeys h' = -beta (h + KL(shape)),
    h = log(z/z*). Sub-steps are exact, so that Strang splitting is of second order.

    The certificate compares with two flows of half the length: KL between the two answers. In the
    unsplit geometry `sqdistance` is the upper bound tau (F(previous) - F) of the true one.

    References
    ----------
    Lambert et al. (2022); Amari (1998); Liero et al. (2018) for the geometry of both.
    """

    kinds: ClassVar[tuple[type[Measure], ...]] = (Gaussian,)
    claim: ClassVar[Claim] = Claim.FOLLOWS
    guarantee: ClassVar[str] = "exact flow, not a proximal step; compared with two half flows"
    default_tol: ClassVar[float] = 1e-9

    def accepts(self, problem: ProxProblem) -> str | None:
        kinds = (Wasserstein, Hellinger, SphericalHellinger, WassersteinFisherRao)
        if not isinstance(problem.geometry, kinds):
            return f"it knows the flows in Wasserstein and Hellinger, not in {problem.geometry!r}"
        if not isinstance(problem.previous, Gaussian):
            return f"it moves a jko.Gaussian, not a {type(problem.previous).__name__}"
        stated = gaussian_kl_sum(problem.energy)
        if stated is None:
            return Elsewhere(
                "the energy must be jko.KL to a jko.Gaussian, or a weighted sum of such terms"
            )
        if stated[1].dim != problem.previous.dim:
            return f"the target has dimension {stated[1].dim}, not {problem.previous.dim}"
        if len(problem.energy.terms) > 1 and not problem.geometry.conserves_mass:
            return "a sum of several KL terms is one such term at fixed mass only; fix the mass"
        return None

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        stated, previous = gaussian_kl_sum(problem.energy), problem.previous
        assert stated is not None
        assert isinstance(previous, Gaussian)
        flow = _Flow.of(problem, *stated)
        measure = flow.run(previous, 1.0)
        twin = flow.run(flow.run(previous, 0.5), 0.5)
        value, start = problem.energy.value(measure), problem.energy.value(previous)
        unsplit = isinstance(problem.geometry, WassersteinFisherRao)
        return Answer(
            measure,
            Followed(twin, value, stated[0]),
            iterations=1,
            sqdistance=_distance_bound(problem, measure, start - value) if unsplit else None,
            baseline=start,
            info={"kind": FLOW},
        )


def _distance_bound(problem: ProxProblem, after: Gaussian, decrease: float) -> float:
    """WFR^2 at most: the action of the flow, tau (F_0 - F), or vanishing and being born anew."""
    geometry = problem.geometry
    assert isinstance(geometry, WassersteinFisherRao)
    reborn = 4 / geometry.beta * (problem.previous.mass + after.mass) / geometry.rate
    return min(problem.tau * decrease, reborn)


@dataclass(frozen=True, eq=False)
class _Flow:
    """Rates of transport and reaction times the length of the step, and the target."""

    alpha: float
    beta: float
    target: Gaussian
    basis: Array
    precisions: Array
    free: bool

    @classmethod
    def of(cls, problem: ProxProblem, scale: float, target: Gaussian) -> _Flow:
        geometry = problem.geometry
        length = scale * problem.step
        if isinstance(geometry, WassersteinFisherRao):
            pair = (geometry.alpha, geometry.beta)
        else:
            pair = (1.0, 0.0) if isinstance(geometry, Wasserstein) else (0.0, 1.0)
        values, basis = np.linalg.eigh(target.cov)
        free = not geometry.conserves_mass
        return cls(length * pair[0], length * pair[1], target, basis, 1 / values, free)

    def run(self, start: Gaussian, part: float) -> Gaussian:
        """The Gaussian after the fraction `part` of the length."""
        mean, cov = self._shape(start, part)
        shape = Gaussian(mean, cov)
        return Gaussian(mean, cov, self._mass(start, shape, part) if self.free else start.mass)

    def _shape(self, start: Gaussian, part: float) -> tuple[Array, Array]:
        offsets, covs = self._shapes(start, np.array([part]))
        cov = self.basis @ covs[0] @ self.basis.T
        return self.target.mean + self.basis @ offsets[0], (cov + cov.T) / 2

    def _shapes(self, start: Gaussian, parts: Array) -> tuple[Array, Array]:
        """Means less m* (k, d) and covariances (k, d, d) in the eigenbasis, at k fractions."""
        p, s = self.precisions, parts[:, None]
        alpha, beta = s * self.alpha, s * self.beta
        if self.alpha == 0:  # e^{-600} of the start is no longer there
            beta = np.minimum(beta, 600.0)
        rate = alpha * p + beta / 2
        grown = -np.expm1(-2 * rate) / (2 * rate)  # e^{-rate} sinh(rate)/rate
        # B, C, D of exp [[beta/2 - alpha p, 2 alpha], [beta p, alpha p - beta/2]], times e^{-rate}
        b, c = 2 * alpha * grown, beta * p * grown
        d = 0.5 * (1 + np.exp(-2 * rate)) + (alpha * p - beta / 2) * grown
        if self.alpha == 0:
            d = np.exp(-beta) * np.ones_like(p)  # the difference above would cancel to nothing
        root = self.basis.T @ np.linalg.cholesky(start.cov)
        inner = np.eye(start.dim) + np.einsum("ia,ki,ib->kab", root, c / d, root)
        inner = np.linalg.cholesky(inner)
        turned = np.linalg.solve(inner, np.broadcast_to(root.T, inner.shape))
        half = (np.exp(-rate) / d)[:, :, None] * turned.transpose(0, 2, 1)
        white = np.linalg.solve(root, self.basis.T @ (start.mean - self.target.mean))
        pulled = np.linalg.solve(inner, np.broadcast_to(white, rate.shape)[:, :, None])
        offsets = np.exp(-beta / 2) * (half @ pulled)[:, :, 0]
        covs = half @ half.transpose(0, 2, 1)
        covs[:, range(start.dim), range(start.dim)] += b / d
        return offsets, covs

    def _mass(self, start: Gaussian, shape: Gaussian, part: float) -> float:
        """e^{-beta} h_0 - beta int e^{-beta (1-s)} KL(shape_s) ds, h = log(z/z*)."""
        beta, goal = part * self.beta, self.target.mass
        h = np.exp(-beta) * np.log(start.mass / goal)
        if self.alpha == 0:
            return float(goal * np.exp(h + self._mixture(start, shape, beta)))
        s, weights = _panels()
        offsets, covs = self._shapes(start, part * s)
        scaled = covs * np.sqrt(self.precisions[:, None] * self.precisions)
        trace = np.trace(scaled, axis1=1, axis2=2) - start.dim
        kl = 0.5 * (trace - np.linalg.slogdet(scaled)[1] + offsets**2 @ self.precisions)
        total = float((weights * np.exp(-beta * (1 - s))) @ kl)
        return float(goal * np.exp(h - beta * total))

    def _mixture(self, start: Gaussian, shape: Gaussian, beta: float) -> float:
        """log of int nu_0^q nu*^{1-q}, q = e^{-beta}, read off at the mean of the answer."""
        q, x = np.exp(-beta), shape.mean[None]
        ends = [Gaussian(g.mean, g.cov).log_density_at(x)[0] for g in (start, self.target)]
        return float(q * ends[0] + (1 - q) * ends[1] - shape.log_density_at(x)[0])
