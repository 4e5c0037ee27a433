"""The bounded kernels of r = |x - y| only; h, the bandwidth, is a length throughout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jko.errors import InvalidArgument
from jko.validation import Array, positive

from .base import Kernel
from .convolution import gaussian_convolution, gaussian_convolution_gradient
from .pairwise import PRODUCT_PAIRS, Augmented, GramBlock
from .radial import RadialKernel

_BANDWIDTH = "pass a length > 0, for example jko.kernels.median_bandwidth(x)"


class _Radial(RadialKernel):
    """A bounded radial kernel with k(x, x) = 1."""

    @property
    def maximum(self) -> float | None:
        """k(x, x) = 1."""
        return 1.0


def set_parameter(kernel: Kernel, name: str, value: object) -> None:
    """Store a validated parameter in a frozen dataclass."""
    object.__setattr__(kernel, name, value)


def _rated(name: str, rate: float) -> tuple[str | None, float]:
    """A compiled formula and its rate; none where a tiny or huge bandwidth is out of range."""
    return (name, rate) if 1e-150 < rate < 1e150 else (None, 0.0)


def inverse_power(r: Array, power: float) -> Array:
    """r^(-power) with 0 at r = 0: the subgradient convention at coincident points."""
    out = np.zeros_like(r)
    np.power(r, -power, out=out, where=r > 0)
    return out


@dataclass(frozen=True)
class Gaussian(_Radial):
    """k(x, y) = exp(-|x-y|^2 / (2 h^2)), h a length.

    Published codes differ by factors of 2 here; `from_gamma` takes the other usual convention.
    It alone integrates Gaussian measures in closed form (formula M7) and factors over grid axes.

    Parameters
    ----------
    bandwidth : float, default 1.0
        h > 0, a length.
    """

    bandwidth: float = 1.0

    separable = True

    def __post_init__(self) -> None:
        set_parameter(self, "bandwidth", positive(self.bandwidth, "bandwidth", _BANDWIDTH))

    @classmethod
    def from_gamma(cls, gamma: float) -> Gaussian:
        """The kernel exp(-gamma |x-y|^2), that is h = (2 gamma)^(-1/2)."""
        return cls(float(1.0 / np.sqrt(2.0 * positive(gamma, "gamma"))))

    def gaussian_terms(self) -> list[tuple[float, float]] | None:
        """The kernel itself, once."""
        return [(1.0, self.bandwidth)]

    def profile(self, sq: Array) -> Array:
        # Dividing twice: 1/(2 h^2) overflows for bandwidths that the quotient does not.
        out = sq / self.bandwidth
        out /= -2.0 * self.bandwidth
        return np.exp(out, out=out)

    def slope(self, sq: Array) -> Array:
        return self.profile(sq) / -(self.bandwidth**2)

    @property
    def _formula(self) -> tuple[str | None, float]:
        return _rated("gaussian", 0.5 / self.bandwidth / self.bandwidth)

    def _gram_blocks(self, x: Array, y: Array) -> GramBlock:
        if len(x) * len(y) < PRODUCT_PAIRS:
            return super()._gram_blocks(x, y)
        pair = Augmented(x, y, self.bandwidth)
        if not pair.accurate:
            return super()._gram_blocks(x, y)

        def block(i: slice, j: slice) -> Array:
            out = pair.block(i, j)
            return np.exp(out, out=out)

        return block

    def _slope_blocks(self, x: Array, y: Array) -> GramBlock:
        gram, scale = self._gram_blocks(x, y), -1.0 / self.bandwidth / self.bandwidth

        def block(i: slice, j: slice) -> Array:
            out = gram(i, j)
            out *= scale
            return out

        return block

    def axis_grams(self, axes: Sequence[Array]) -> list[Array]:
        """One Gram matrix (n_k, n_k) per axis; their Kronecker product is the grid's."""
        columns = [np.asarray(axis, dtype=np.float64).reshape(-1, 1) for axis in axes]
        return [self._gram(c, c) for c in columns]

    def _gaussian_embed(self, mean: Array, cov: Array, x: Array) -> Array:
        return gaussian_convolution(self.bandwidth, cov, x - mean)

    def _gaussian_embed_gradient(self, mean: Array, cov: Array, x: Array) -> Array:
        return gaussian_convolution_gradient(self.bandwidth, cov, x - mean)


@dataclass(frozen=True)
class InverseMultiquadric(_Radial):
    """k(x, y) = (1 + |x-y|^2 / h^2)^(-exponent): heavy tails, attraction from far away.

    Parameters
    ----------
    bandwidth : float, default 1.0
        h > 0, a length.
    exponent : float, default 0.5
        The positive power beta; 0.5 is the classical inverse multiquadric.
    """

    bandwidth: float = 1.0
    exponent: float = 0.5

    def __post_init__(self) -> None:
        set_parameter(self, "bandwidth", positive(self.bandwidth, "bandwidth", _BANDWIDTH))
        remedy = "pass the power beta > 0 of (1 + r^2/h^2)^(-beta)"
        set_parameter(self, "exponent", positive(self.exponent, "exponent", remedy))

    def profile(self, sq: Array) -> Array:
        return np.exp(-self.exponent * np.log1p(sq / self.bandwidth**2))

    @property
    def _formula(self) -> tuple[str | None, float]:
        rated = _rated("multiquadric", 1.0 / self.bandwidth / self.bandwidth)
        return rated if self.exponent == 0.5 else (None, 0.0)

    def slope(self, sq: Array) -> Array:
        h2 = self.bandwidth**2
        return (-2.0 * self.exponent / h2) * np.exp(-(self.exponent + 1.0) * np.log1p(sq / h2))


def _exponential_slope(r: Array, bandwidth: float) -> Array:
    """Slope of exp(-r/h)."""
    return -np.exp(-r / bandwidth) * inverse_power(r, 1.0) / bandwidth


@dataclass(frozen=True)
class Matern(_Radial):
    """Matern kernels with a = sqrt(2 nu) |x-y| / h.

    nu = 1/2: exp(-a); nu = 3/2: (1 + a) exp(-a); nu = 5/2: (1 + a + a^2/3) exp(-a).

    Parameters
    ----------
    bandwidth : float, default 1.0
        h > 0, a length.
    nu : {0.5, 1.5, 2.5}, default 1.5
        Smoothness.
    """

    bandwidth: float = 1.0
    nu: float = 1.5

    def __post_init__(self) -> None:
        set_parameter(self, "bandwidth", positive(self.bandwidth, "bandwidth", _BANDWIDTH))
        nu = positive(self.nu, "nu", "pass 0.5, 1.5 or 2.5")
        if nu not in (0.5, 1.5, 2.5):
            raise InvalidArgument(f"nu = {nu:g} has no closed form here; pass 0.5, 1.5 or 2.5")
        set_parameter(self, "nu", nu)

    @property
    def singular(self) -> bool:  # type: ignore[override]
        """Only the kernel with nu = 1/2 has a kink."""
        return self.nu == 0.5

    @property
    def _formula(self) -> tuple[str | None, float]:
        names = {0.5: "laplace", 1.5: "matern3", 2.5: "matern5"}
        return _rated(names[self.nu], float(np.sqrt(2.0 * self.nu)) / self.bandwidth)

    def profile(self, sq: Array) -> Array:
        a = np.sqrt(2.0 * self.nu * sq) / self.bandwidth
        if self.nu == 0.5:
            return np.exp(-a)
        poly = 1.0 + a if self.nu == 1.5 else 1.0 + a + a * a / 3.0
        return poly * np.exp(-a)

    def slope(self, sq: Array) -> Array:
        h2 = self.bandwidth**2
        if self.nu == 0.5:
            return _exponential_slope(np.sqrt(sq), self.bandwidth)
        a = np.sqrt(2.0 * self.nu * sq) / self.bandwidth
        if self.nu == 1.5:
            return (-3.0 / h2) * np.exp(-a)
        return (-5.0 / (3.0 * h2)) * (1.0 + a) * np.exp(-a)


@dataclass(frozen=True)
class Laplace(_Radial):
    """k(x, y) = exp(-|x-y| / h), the Euclidean norm in any dimension.

    Parameters
    ----------
    bandwidth : float, default 1.0
        h > 0, a length.
    """

    bandwidth: float = 1.0

    singular = True

    def __post_init__(self) -> None:
        set_parameter(self, "bandwidth", positive(self.bandwidth, "bandwidth", _BANDWIDTH))

    @property
    def _formula(self) -> tuple[str | None, float]:
        return _rated("laplace", 1.0 / self.bandwidth)

    def profile(self, sq: Array) -> Array:
        return np.exp(-np.sqrt(sq) / self.bandwidth)

    def slope(self, sq: Array) -> Array:
        return _exponential_slope(np.sqrt(sq), self.bandwidth)
