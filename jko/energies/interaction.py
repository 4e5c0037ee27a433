"""Interaction energies 1/2 double integral of W(x - y): attraction, repulsion, kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from jko.energies.base import FormEnergy
from jko.errors import InvalidArgument, InvalidMeasure, InvalidType, Unsupported
from jko.forms.form import Quadratic, WeightForm
from jko.forms.separable import Separable
from jko.kernels import Definiteness, Kernel
from jko.kernels.radial import RadialKernel
from jko.measures.base import Discrete
from jko.measures.grid import Grid, GridDensity
from jko.numerics.checked_gradient import CheckedGradient
from jko.validation import Array, real

Function = Callable[[Array], ArrayLike]


class Interaction(FormEnergy):
    """1/2 int int W(x - y) dmu dmu, W even.

    Parameters
    ----------
    W : callable (k, d) -> (k,) of the displacement, or a jko kernel
        `Interaction.quadratic()`, `.power(a)` and `.logarithmic()` make the common ones.
    gradient : callable (k, d) -> (k, d), optional
        Gradient of a callable W; needed by steps that move particles. It is compared with
        differences of W once, as that of `Potential` is.

    Notes
    -----
    The value W(0) is an atom's action on itself. Where W is singular, particles and histograms
    leave it out, and on a grid it is the average of W over a cell.

    References
    ----------
    McCann (1997); Carrillo et al. (2003).
    """

    def __init__(self, W: Function | Kernel, gradient: Function | None = None) -> None:
        if isinstance(W, Kernel):
            if gradient is not None:
                raise InvalidArgument("gradient is not used: a kernel brings its own; leave it out")
            self.kernel: Kernel = W
        elif callable(W):
            if gradient is not None:
                remedy = "correct Interaction(W, gradient=...), or pass the W it is the gradient of"
                gradient = CheckedGradient(W, gradient, "gradient of W", remedy)
            self.kernel = PairFunction(W, gradient)
        else:
            raise InvalidType(
                f"W got {type(W).__name__}; pass a function of displacements (k, d) -> (k,)"
                " or a kernel"
            )

    @classmethod
    def quadratic(cls) -> Interaction:
        """Attraction W(z) = |z|^2/2: a quadratic potential about the centroid (formula W7)."""
        return cls.power(2.0)

    @classmethod
    def power(cls, a: float, *, repulsive: bool = False) -> Interaction:
        """W(z) = |z|^a / a, or its negative: attraction for any a != 0 unless `repulsive`."""
        return cls(PowerLaw(real(a, "a"), -1.0 if repulsive else 1.0))

    @classmethod
    def logarithmic(cls, *, attractive: bool = False) -> Interaction:
        """W(z) = -ln|z| (repulsion, Coulomb in the plane), or its negative."""
        return cls(Logarithm(-1.0 if attractive else 1.0))

    def restrict(self, mu: Discrete) -> WeightForm:
        kernel = self.kernel
        if isinstance(kernel, _PairPotential) and kernel.singular_value:
            at_zero = _cell_average(kernel, mu.grid) if isinstance(mu, GridDensity) else 0.0
            kernel = replace(kernel, at_zero=at_zero)
        quadratic = Quadratic(kernel, kernel.operator(mu))
        return WeightForm(Separable(np.zeros(mu.n)), (quadratic,))

    def _displacement_convexity(self) -> float | None:
        kernel = self.kernel
        convex = isinstance(kernel, PowerLaw) and kernel.a >= 1 and kernel.sign > 0
        return 0.0 if convex else None

    def wasserstein_gradient(self, mu: Discrete) -> Array:
        return self.kernel.embed_gradient(mu, mu.points)

    def __repr__(self) -> str:
        return f"Interaction({self.kernel!r})"


@dataclass(frozen=True)
class _PairPotential(RadialKernel):
    """A radial W that need not be positive definite."""

    at_zero: float = field(default=0.0, kw_only=True, repr=False)

    @property
    def definiteness(self) -> Definiteness:
        return Definiteness.INDEFINITE

    @property
    def singular_value(self) -> bool:
        """Whether W(0) is infinite."""
        return False

    def at(self, z: Array) -> Array:
        """W at displacements (k, d)."""
        return self.profile((z**2).sum(axis=1))


@dataclass(frozen=True)
class PowerLaw(_PairPotential):
    """W(z) = sign |z|^a / a."""

    a: float = 2.0
    sign: float = 1.0

    def __post_init__(self) -> None:
        if self.a == 0:
            raise InvalidArgument("a = 0 is the logarithm; use Interaction.logarithmic()")

    @property
    def singular(self) -> bool:  # type: ignore[override]
        return self.a < 2

    @property
    def singular_value(self) -> bool:
        return self.a < 0

    def profile(self, sq: Array) -> Array:
        with np.errstate(divide="ignore"):
            out = sq ** (self.a / 2) * (self.sign / self.a)
        return np.where(sq > 0, out, self.at_zero if self.singular_value else 0.0)

    def slope(self, sq: Array) -> Array:
        with np.errstate(divide="ignore"):
            out = self.sign * sq ** (self.a / 2 - 1)
        return np.where(sq > 0, out, 0.0 if self.a < 2 else out)


@dataclass(frozen=True)
class Logarithm(_PairPotential):
    """W(z) = -sign ln|z|."""

    sign: float = 1.0

    @property
    def singular(self) -> bool:  # type: ignore[override]
        return True

    @property
    def singular_value(self) -> bool:
        return True

    def profile(self, sq: Array) -> Array:
        with np.errstate(divide="ignore"):
            out = -0.5 * self.sign * np.log(sq)
        return np.where(sq > 0, out, self.at_zero)

    def slope(self, sq: Array) -> Array:
        with np.errstate(divide="ignore"):
            return np.where(sq > 0, -self.sign / sq, 0.0)


@dataclass(frozen=True, repr=False)
class PairFunction(Kernel):
    """A user's W of the displacement, as a kernel."""

    function: Function
    slope: Function | None = None

    stationary = True

    @property
    def definiteness(self) -> Definiteness:
        return Definiteness.INDEFINITE

    def _values(self, z: Array) -> Array:
        values = np.asarray(self.function(z), dtype=float)
        if values.shape != (len(z),) or not np.isfinite(values).all():
            raise InvalidMeasure(
                f"W returned shape {values.shape}, or values that are not finite, for {len(z)}"
                " displacements; return one finite number per displacement"
            )
        return values

    def _gram(self, x: Array, y: Array) -> Array:
        z = (x[:, None, :] - y[None, :, :]).reshape(-1, x.shape[1])
        return self._values(z).reshape(len(np.asarray(x)), len(y))

    def _gradient(self, x: Array, y: Array) -> Array:
        if self.slope is None:
            raise Unsupported(
                "Interaction has no gradient to move particles with;"
                " pass Interaction(W, gradient=...)"
            )
        z = (x[:, None, :] - y[None, :, :]).reshape(-1, x.shape[1])
        values = np.asarray(self.slope(z), dtype=float)
        if values.shape != z.shape:
            raise InvalidMeasure(f"gradient of W has shape {values.shape}, expected {z.shape}")
        return values.reshape(len(np.asarray(x)), len(y), -1)

    def __repr__(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)

    def diagonal(self, x: ArrayLike) -> Array:
        zero = np.zeros((1, np.shape(x)[1]))
        return np.full(len(np.asarray(x)), self._values(zero)[0])


def _cell_average(kernel: _PairPotential, grid: Grid, order: int = 40) -> float:
    """Average of W over one cell about its centre.

    Gauss-Legendre on an orthant after z = u^3, which clusters the nodes at the singularity.
    """
    nodes, weights = np.polynomial.legendre.leggauss(order)
    u, weights = (nodes + 1) / 2, weights / 2
    z, jacobian = u**3, weights * 3 * u**2
    mesh = np.meshgrid(*[h / 2 * z for h in grid.spacing], indexing="ij")
    weight = np.ones([1] * grid.dim)
    for axis in range(grid.dim):
        shape = [1] * grid.dim
        shape[axis] = order
        weight = weight * jacobian.reshape(shape)
    values = kernel.at(np.stack([m.ravel() for m in mesh], axis=1))
    return float(values @ weight.ravel())
