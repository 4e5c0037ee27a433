"""Internal energies of a density: entropy, porous medium, and the box constraint of crowds."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import ArrayLike

from jko.energies.base import FormEnergy
from jko.energies.gaussian_form import GaussianForm
from jko.energies.spacings import spacing_gradient, spacing_value
from jko.errors import InvalidArgument, InvalidMeasure, Unsupported
from jko.forms.form import WeightForm
from jko.forms.separable import Separable
from jko.measures.atoms import Particles
from jko.measures.base import Discrete, Measure
from jko.numerics.elementary import xlogy
from jko.validation import Array, finite_array, positive


class Internal(FormEnergy):
    """An energy int U(rho) of the density with respect to a base measure.

    Particles on the line have the density that `jko.energies.spacings` puts between neighbours:
    there the energy has a value and moves them, but it is no function of the weights alone.
    """

    def __init__(self, reference: ArrayLike | None = None) -> None:
        self._reference: Array | None = None
        if reference is not None:
            ref = finite_array(reference, "reference", InvalidMeasure)
            if ref.ndim != 1 or ref.size == 0:
                raise InvalidMeasure(
                    f"reference has shape {ref.shape}, expected (n,), one entry per atom"
                )
            if not (ref > 0).all():
                raise InvalidMeasure(
                    f"reference has minimum {ref.min():.6g}; every entry must be positive"
                )
            self._reference = ref

    @abstractmethod
    def energy_density(self, density: Array) -> Array:
        """U(rho)."""

    @abstractmethod
    def pressure(self, density: Array) -> Array:
        """P(rho) = rho U'(rho) - U(rho)."""

    @abstractmethod
    def stiffness(self, density: Array) -> Array:
        """rho P'(rho)."""

    def value(self, mu: Measure) -> float:
        if self._has_spacings(mu):
            return spacing_value(mu, self.energy_density)  # type: ignore[arg-type]
        return super().value(mu)

    def wasserstein_gradient(self, mu: Discrete) -> Array:
        if self._has_spacings(mu):
            return spacing_gradient(mu, self.pressure)  # type: ignore[arg-type]
        return super().wasserstein_gradient(mu)

    def _has_spacings(self, mu: Measure) -> bool:
        return isinstance(mu, Particles) and mu.dim == 1 and self._reference is None

    @property
    def listed(self) -> bool:
        return self._reference is not None

    def base(self, mu: Discrete) -> Array:
        """Base measure (n,) that the density of `mu` refers to."""
        if self._reference is None:
            if isinstance(mu, Particles):
                name = type(self).__name__
                raise Unsupported(
                    f"{name} of particles is not defined off the line: they have no density; use a"
                    f" jko.GridDensity or jko.Histogram, or {name}(..., reference=array) to weigh"
                    " the atoms against an array (n,) of weights"
                )
            return mu.reference
        if self._reference.shape != (mu.n,):
            raise InvalidMeasure(f"reference has shape {self._reference.shape}, expected ({mu.n},)")
        return self._reference

    def _shown(self, *arguments: str) -> str:
        extra = () if self._reference is None else ("reference",)
        return f"{type(self).__name__}({', '.join((*arguments, *extra))})"


class Entropy(Internal):
    """int rho log rho dx on grids and Gaussians; sum w log(w / reference) on histograms.

    Parameters
    ----------
    reference : (n,) array of positive numbers, optional
        The base measure; cell volumes on grids and counting measure on histograms by default.

    References
    ----------
    Jordan et al. (1998); McCann (1997).
    """

    def gaussian_form(self) -> GaussianForm:
        if self._reference is not None:
            raise Unsupported("Entropy(reference=...) weighs atoms; a Gaussian has none")
        return GaussianForm(entropy=1.0)

    def restrict(self, mu: Discrete) -> WeightForm:
        # w log(w/ref) = psi_1(w) + w (1 - log ref)
        return WeightForm(Separable(1.0 - np.log(self.base(mu)), {1.0: np.ones(mu.n)}))

    def _displacement_convexity(self) -> float | None:
        return 0.0 if self._reference is None else None

    def energy_density(self, density: Array) -> Array:
        return xlogy(density, density)

    def pressure(self, density: Array) -> Array:
        return density

    def stiffness(self, density: Array) -> Array:
        return density

    def __repr__(self) -> str:
        return self._shown()


class PorousMedium(Internal):
    """1/(m-1) int rho^m dx; its Wasserstein flow is rho_t = Lap(rho^m).

    Parameters
    ----------
    m : float, > 0 and not 1
        m > 1: slow diffusion with sharp fronts; m < 1: fast diffusion.
    reference : (n,) array of positive numbers, optional

    References
    ----------
    Otto (2001); Vázquez (2007).
    """

    def __init__(self, m: float, reference: ArrayLike | None = None) -> None:
        super().__init__(reference)
        self.m = positive(m, "m")
        if self.m == 1:
            raise InvalidArgument("m = 1 is linear diffusion; use jko.Entropy()")

    def restrict(self, mu: Discrete) -> WeightForm:
        # ref (w/ref)^m / (m-1) = m ref^{1-m} psi_m(w)
        coefficient = self.m * self.base(mu) ** (1 - self.m)
        return WeightForm(Separable(np.zeros(mu.n), {self.m: coefficient}))

    def _displacement_convexity(self) -> float | None:
        # McCann's condition is m >= 1 - 1/d; the dimension is not known here.
        return 0.0 if self.m > 1 and self._reference is None else None

    def energy_density(self, density: Array) -> Array:
        return density**self.m / (self.m - 1)

    def pressure(self, density: Array) -> Array:
        return density**self.m

    def stiffness(self, density: Array) -> Array:
        return self.m * density**self.m

    def __repr__(self) -> str:
        return self._shown(f"m={self.m:g}")


class BoxConstraint(Internal):
    """0 where the density is at most `bound`, +inf otherwise: hard congestion (formula W7).

    Parameters
    ----------
    bound : float, > 0
        Largest admissible density (per volume on grids, per atom on histograms).
    reference : (n,) array of positive numbers, optional

    References
    ----------
    Maury et al. (2010).
    """

    def __init__(self, bound: float, reference: ArrayLike | None = None) -> None:
        super().__init__(reference)
        self.bound = positive(bound, "bound")

    def restrict(self, mu: Discrete) -> WeightForm:
        return WeightForm(Separable(np.zeros(mu.n), {}, self.bound * self.base(mu)))

    def _displacement_convexity(self) -> float | None:
        return 0.0 if self._reference is None else None

    def energy_density(self, density: Array) -> Array:
        return np.where(density <= self.bound * (1 + 1e-9), 0.0, np.inf)

    def pressure(self, density: Array) -> Array:
        return np.zeros_like(density)  # the multiplier of the ceiling, which no formula knows

    def stiffness(self, density: Array) -> Array:
        return np.zeros_like(density)

    def __repr__(self) -> str:
        return self._shown(f"{self.bound:g}")
