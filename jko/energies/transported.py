"""Energies made of transport to a target: convex in the weights, with tangents and curvature."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from jko.energies.base import Energy, FormEnergy
from jko.energies.nonlocal_part import FeatureKernel
from jko.forms.form import Quadratic, WeightForm
from jko.forms.separable import Separable
from jko.measures.base import Discrete, Measure
from jko.numerics.elementary import EPS
from jko.validation import Array


class TransportedEnergy(Energy):
    """An energy that is convex in the weights at fixed mass, and says how.

    `softened` gives a smooth energy near it, from whose minimum one walks to its own; `tangent` an
    affine function below it.
    """

    target: Measure

    @property
    @abstractmethod
    def regularisation(self) -> float:
        """The entropy it is smoothed with, 0 where it has kinks; in the unit of |x - y|^2."""

    @abstractmethod
    def softened(self, reg: float) -> SmoothTransport:
        """An energy like it at regularisation `reg`, not below its own."""

    @abstractmethod
    def tangent(self, mu: Discrete, near: Array, lift: float = 0.0) -> tuple[Array, float]:
        """Slope (n,) and excess e >= 0: F(nu) >= F(mu) - e + <slope, nu - mu> for any nu.

        `near` (m,) is a potential on the charged atoms of the target: where the plan splits it is
        one of many. `lift` is the root of the weight that empty atoms are seen as having. Any
        values give a bound.
        """


class SmoothTransport(TransportedEnergy):
    """One with a second variation."""

    target: Discrete

    @abstractmethod
    def target_potential(self, mu: Discrete) -> Array:
        """The potential (m,) on the charged atoms of the target, which belongs to mu."""

    @abstractmethod
    def second_variation(self, mu: Discrete) -> Array:
        """The Hessian (n, n) in the weights, on changes that keep the mass."""


class TangentModel(FormEnergy):
    """The energy <f, w> + (w - w0)' L'L (w - w0) / 2, L with rows on the atoms; none: affine."""

    def __init__(self, slope: Array, centre: Array, rows: Array | None = None) -> None:
        self.slope, self.centre, self.rows = slope, centre, rows

    def restrict(self, mu: Discrete) -> WeightForm:
        if self.rows is None or not self.rows.size:
            return WeightForm(Separable(self.slope, {}))
        kernel = FeatureKernel(mu.points, self.rows)
        linear = self.slope - kernel.product(self.centre)
        return WeightForm(Separable(linear, {}), (Quadratic(kernel, kernel.factored(mu.points)),))

    def __repr__(self) -> str:
        return "TangentModel()"


def cross_curvature(shares: Array, w: Array, t: Array, reg: float) -> Array:
    r"""Hessian (n, n) in w of the entropic cost of (w, t), the reference their product.

    With A_ij = P_ij / w_i (rows sum to 1, defined at empty atoms too) the potentials follow the
    weights as df = reg A S^+ A' dw, S = diag(t) - A' diag(w) A.
    """
    size = np.sqrt(t)
    scaled = shares / size
    inner = np.outer(size, size) - (scaled.T * w) @ scaled  # constants change both potentials
    inner[np.diag_indices(t.size)] += 1 + 16 * EPS
    return np.asarray(reg * scaled @ np.linalg.solve(inner, scaled.T))


def self_curvature(density: Array, w: Array, reg: float) -> Array:
    """Hessian (n, n) in w of minus half the entropic cost of (w, w): reg (I + E W)^{-1} E.

    E_ij = P_ij / (w_i w_j), the density of the plan, W = diag(w).
    """
    return np.asarray(reg * np.linalg.solve(np.eye(w.size) + density * w, density))


def root_rows(hessian: Array) -> Array:
    """Rows L with L'L the matrix, a positive semidefinite one up to rounding."""
    values, vectors = np.linalg.eigh(0.5 * (hessian + hessian.T))
    kept = values > 64 * EPS * float(np.abs(values).max(initial=0.0))
    return np.asarray(np.sqrt(values[kept])[:, None] * vectors[:, kept].T)
