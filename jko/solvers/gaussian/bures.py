"""The exact JKO step between Gaussians (formula G1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from jko.energies.divergence import gaussian_kl_sum
from jko.geometries.base import Geometry
from jko.geometries.bures import symmetric_sqrt
from jko.geometries.wasserstein import Wasserstein
from jko.measures.base import Measure
from jko.measures.gaussian import Gaussian
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Controls
from jko.solvers.base import Elsewhere, ProxSolver
from jko.validation import Array


@dataclass(frozen=True)
class Bures(ProxSolver):
    r"""Closed-form Wasserstein step of c KL(.|N(m*, S*)) from a Gaussian.

    With t = c tau, B = I + t S*^{-1} and C = B^{-1/2} S B^{-1/2} (formula G1),

        S_+ = B^{-1/2} 1/2 [C + 2 t I + (C^2 + 4 t C)^{1/2}] B^{-1/2},
        m_+ = B^{-1} (m + t S*^{-1} m*).

    It is the true JKO step: the minimiser over all measures is Gaussian. Sums of such energies
    are one such energy (precisions average). The gap is that of `ProxProblem.certificate`.

    Notes
    -----
    C enters through the singular values of S^{1/2} B^{-1/2}, and B^{-1/2} through the eigenvalues
    of S*, so nothing is inverted and S_+ is positive definite by construction.

    References
    ----------
    Bhatia et al. (2019); Lambert et al. (2022).
    """

    geometries: ClassVar[tuple[type[Geometry], ...]] = (Wasserstein,)
    kinds: ClassVar[tuple[type[Measure], ...]] = (Gaussian,)
    guarantee: ClassVar[str] = "exact; gap from strong convexity along generalised geodesics"
    default_tol: ClassVar[float] = 1e-9

    def accepts(self, problem: ProxProblem) -> str | None:
        if not isinstance(problem.geometry, Wasserstein):
            return f"it steps in jko.Wasserstein(), not in {problem.geometry!r}"
        if not isinstance(problem.previous, Gaussian):
            return f"it moves a jko.Gaussian, not a {type(problem.previous).__name__}"
        if gaussian_kl_sum(problem.energy) is None:
            return Elsewhere(
                "the energy must be jko.KL to a jko.Gaussian, or a weighted sum of such terms"
            )
        return None

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        stated = gaussian_kl_sum(problem.energy)
        previous = problem.previous
        assert stated is not None  # accepts() has looked
        assert isinstance(previous, Gaussian)
        scale, target = stated
        mean, cov = gaussian_step(previous, target, scale * problem.step)
        return Answer(Gaussian(mean, cov, previous.mass), problem, iterations=1)


def gaussian_step(previous: Gaussian, target: Gaussian, step: float) -> tuple[Array, Array]:
    """Mean (d,) and covariance (d, d) of the JKO step of KL(.|target) of length `step`."""
    values, basis = np.linalg.eigh(target.cov)
    shrink = values / (values + step)  # eigenvalues of B^{-1}
    half = (basis * np.sqrt(shrink)) @ basis.T
    _, s, vt = np.linalg.svd(symmetric_sqrt(previous.cov) @ half)
    c = s**2
    grown = 0.5 * (c + 2 * step + np.sqrt(c * (c + 4 * step)))
    root = (vt * np.sqrt(grown)[:, None]) @ half
    mean = target.mean + basis @ (shrink * (basis.T @ (previous.mean - target.mean)))
    return mean, root.T @ root
