"""The MMD geometry of a kernel, and the kernel approximation of Fisher-Rao made from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from jko.errors import Unsupported
from jko.forms.form import WeightForm, mmd_form
from jko.geometries.base import (
    Geometry,
    check_masses,
    check_pair,
    check_time,
    common_weights,
    leaves_cone,
    show,
)
from jko.geometries.hellinger import Hellinger
from jko.kernels import Kernel
from jko.measures.atoms import Particles
from jko.measures.base import Discrete, Measure
from jko.numerics.elementary import gram_root
from jko.validation import Array, instance, one_of, positive

if TYPE_CHECKING:
    from cvxpy import Constraint, Expression


@dataclass(frozen=True, repr=False)
class MMD(Geometry):
    """D^2(mu, nu) = MMD^2(mu, nu) = int int k d(mu-nu) d(mu-nu) (V-statistic).

    Parameters
    ----------
    kernel : Kernel
    mass : {"fixed", "free"}
        "fixed" (default): steps on P. "free": steps on M+, for positive-definite kernels only.

    References
    ----------
    Gretton et al. (2012); Gladin et al. (2024); Zhu and Mielke (2024).
    """

    kernel: Kernel
    mass: str = "fixed"

    def __post_init__(self) -> None:
        super().__post_init__()
        instance(
            self.kernel,
            Kernel,
            "kernel",
            "pass a kernel such as jko.kernels.Gaussian(bandwidth=1.0)",
        )
        one_of(self.mass, ("fixed", "free"), "mass")
        if self.kernel.definiteness == "indefinite":
            raise Unsupported(
                f"kernel {self.kernel!r} is not positive definite, so MMD is no distance;"
                " use a kernel such as jko.kernels.Gaussian(bandwidth=1.0)"
            )
        if self.mass == "free" and self.kernel.definiteness != "positive":
            raise Unsupported(
                f"kernel {self.kernel!r} is only conditionally positive definite, so MMD is no"
                " distance between measures of different mass; use mass='fixed' or another kernel"
            )

    @property
    def conserves_mass(self) -> bool:
        return self.mass == "fixed"

    def _sqdistance(self, a: Measure, b: Measure) -> float:
        if isinstance(a, Discrete) and a.same_support(b):
            assert isinstance(b, Discrete)
            delta = a.weights - b.weights
            return max(float(delta @ self.kernel.operator(a).matvec(delta)), 0.0)
        return max(float(self.kernel.mmd2(a, b)), 0.0)

    def potential(self, a: Discrete, b: Discrete) -> Array:
        """K(a - b)."""
        check_pair(a, b)
        if self.conserves_mass:
            check_masses(a, b, self)
        embed = self.kernel.embed
        return (embed(a, a.points) - embed(b, a.points)) / self.rate

    def witness(self, a: Measure, b: Measure) -> Callable[[ArrayLike], Array]:
        """The function of unit norm in the kernel's space that tells `a` and `b` apart best.

        Parameters
        ----------
        a, b : measures

        Returns
        -------
        callable (m, d) -> (m,)
            f = K(a - b)/MMD(a, b), with int f d(a - b) = MMD(a, b) at rate 1; 0 between equal
            measures (Gretton et al. (2012)).
        """
        check_pair(a, b)
        if self.conserves_mass:
            check_masses(a, b, self)
        length = float(np.sqrt(max(self._sqdistance(a, b), 0.0)))

        def function(x: ArrayLike) -> Array:
            if length == 0:
                return np.zeros(len(np.asarray(x)))
            return (self.kernel.embed(a, x) - self.kernel.embed(b, x)) / length

        return function

    def geodesic(self, a: Measure, b: Measure, t: float) -> Measure:
        """The mixture (1-t) a + t b (formula M8); particles keep both sets of atoms."""
        t = check_time(t)
        check_pair(a, b)
        if self.conserves_mass:
            check_masses(a, b, self)
        if not isinstance(a, Discrete) or not isinstance(b, Discrete):
            raise Unsupported("MMD geodesics are mixtures of discrete measures; sample them first")
        if a.same_support(b):
            return a.with_weights((1 - t) * a.weights + t * b.weights)
        points = np.concatenate([a.points, b.points])
        return Particles(points, np.concatenate([(1 - t) * a.weights, t * b.weights]))

    def extrapolate(self, a: Measure, b: Measure) -> Measure:
        """2 b - a, while that is a positive measure."""
        if not isinstance(a, Discrete) or not a.same_support(b):
            return super().extrapolate(a, b)
        assert isinstance(b, Discrete)
        weights = 2 * b.weights - a.weights
        if (weights < 0).any():
            raise leaves_cone("MMD")
        return a.with_weights(weights)

    def penalty_form(self, previous: Discrete) -> WeightForm:
        """MMD^2(., previous)/2."""
        return mmd_form(self.kernel, previous, previous)

    def conic(self, w: Expression, previous: Discrete) -> tuple[Expression, list[Constraint]]:
        """|R (w - m')|^2 with R'R = K (the positive version on fixed mass)."""
        import cvxpy as cp

        root = gram_root(self.kernel.positive_gram(previous.points))
        constraints = [cp.sum(w) == previous.mass] if self.conserves_mass else []
        return cp.sum_squares(root @ w - root @ previous.weights), constraints

    def __repr__(self) -> str:
        suffix = "" if self.mass == "fixed" else ", mass='free'"
        return show(self, f"MMD({self.kernel!r}{suffix})")


@dataclass(frozen=True, repr=False)
class KernelFisherRao(Geometry):
    r"""The Fisher-Rao geometry with its force replaced by a kernel ridge regression (formula Y3).

    The flow is mu_t = -mu g, g = K_mu (K_mu + ridge)^{-1} f the regression of the force f under
    mu. For KL(pi|.), whose K_mu f = K (mu - pi) needs samples of pi and no density of mu, it is the
    flow of 1/2 MMD^2(., pi) in the metric

        D^2 = MMD^2 + ridge He^2,

    which is what a step minimises and `sqdistance` measures. As the ridge vanishes this is the
    Fisher-Rao flow of KL(pi|.) (formula M3); ridge times as long, it tends to the Fisher-Rao flow
    of 1/2 MMD^2 as the ridge grows.

    Parameters
    ----------
    kernel : Kernel, positive definite
    ridge : float, > 0
        In the unit of the kernel times mass.
    mass : {"fixed", "free"}
        "fixed" (default): a multiplier keeps the mass, which the regression does not.

    References
    ----------
    Zhu and Mielke (2024).
    """

    kernel: Kernel
    ridge: float
    mass: str = "fixed"

    def __post_init__(self) -> None:
        super().__post_init__()
        instance(self.kernel, Kernel, "kernel", "pass a kernel such as jko.kernels.Gaussian(1.0)")
        if self.kernel.definiteness != "positive":
            raise Unsupported(
                f"kernel {self.kernel!r} is not positive definite: its regression is none; use a"
                " kernel such as jko.kernels.Gaussian(bandwidth=1.0)"
            )
        object.__setattr__(self, "ridge", positive(self.ridge, "ridge"))
        one_of(self.mass, ("fixed", "free"), "mass")

    @property
    def conserves_mass(self) -> bool:
        return self.mass == "fixed"

    def _sqdistance(self, a: Measure, b: Measure) -> float:
        wa, wb = common_weights(a, b)
        apart = 4 * float(((np.sqrt(wa) - np.sqrt(wb)) ** 2).sum())
        return MMD(self.kernel, self.mass).sqdistance(a, b) + self.ridge * apart

    def potential(self, a: Discrete, b: Discrete) -> Array:
        """K(a - b) + 2 ridge (1 - sqrt(b/a)), on one support."""
        sources = Hellinger(self.mass).potential(a, b)
        return (MMD(self.kernel, self.mass).potential(a, b) + self.ridge * sources) / self.rate

    def __repr__(self) -> str:
        suffix = "" if self.mass == "fixed" else ", mass='free'"
        return show(self, f"KernelFisherRao({self.kernel!r}, ridge={self.ridge:g}{suffix})")
