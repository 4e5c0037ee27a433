r"""Gaussian kernel sums in O(n): a Fourier series on a periodic box (1 to 3 dimensions).

On a box that is a few bandwidths longer than the points in each direction,

    k(x - y)  =  sum over |m_k| <= M_k of  k_m exp(2 pi i m.(x - y)/L)  +  error,

with k_m > 0 the Fourier transform of the Gaussian. Sums over n points then cost two non-uniform
Fourier transforms, and 1/2 MMD^2 = 1/2 sum_m k_m |mu_m - pi_m|^2 only one, without cancellation.
The truncated series is a positive-definite kernel itself, so values, first variations and
gradients are those of one and the same energy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, reduce
from importlib.util import find_spec

import numpy as np
from numpy.typing import ArrayLike

from jko.errors import InvalidArgument, InvalidMeasure, Unsupported
from jko.kernels.hooks import Weighted
from jko.validation import Array, one_of, positive, positive_int

from .base import Kernel
from .embedding import SignedParts, parts
from .nonuniform import Complex, Finufft, Spread, Transform
from .pairwise import check_coefficients, check_pair

#: Boxes begin and end at multiples of this fraction of the target's width, so that the spectrum of
#: the target serves for many positions of the particles.
QUANTUM = 0.125


class TooManyModes(Unsupported):
    """Points are spread too far, in bandwidths, for the Fourier modes allowed."""


@dataclass(frozen=True)
class FastSums:
    r"""How Gaussian-kernel sums are computed in O(n), and to what error.

    Parameters
    ----------
    tol : float, default 1e-8
        |computed - exact| <= tol k(0) sum_j |v_j| for sum_j v_j k(x_i - y_j), and that over the
        (smallest) bandwidth for its gradient. 1/2 MMD^2 is off by at most
        tol k(0) (mass + target mass)^2 / 2, and usually much less.
    max_modes : int, default 2**22
        Most Fourier modes, 16 bytes each and some arrays of them: about the volume of the box in
        units of the bandwidth, times (2/pi log(1/tol))^d. A few far-off points can exceed it.
    backend : {"auto", "finufft", "grid"}
        "finufft" needs the extra `fast`; "grid" nothing; "auto" takes finufft where it is there.
    threads : int, default 1
        For finufft. One thread gives the same bits every time, as resumed flows need.

    Notes
    -----
    For Gaussian kernels, their multiples and sums, in 1 to 3 dimensions. The box is longer than the
    points by h r and the modes reach the frequency r/h, r^2 = 2 log(50 d/tol): images of the
    periodic kernel and cut-off modes each contribute at most tol/50 or so, the transforms tol/10.

    References
    ----------
    Barnett et al. (2019).
    """

    tol: float = 1e-8
    max_modes: int = 2**22
    backend: str = "auto"
    threads: int = 1

    def __post_init__(self) -> None:
        if not 1e-13 <= positive(self.tol, "tol") <= 0.1:
            raise InvalidArgument(f"tol = {self.tol:g} must lie between 1e-13 and 0.1")
        positive_int(self.max_modes, "max_modes")
        positive_int(self.threads, "threads")
        one_of(self.backend, ("auto", "finufft", "grid"), "backend")
        if self.backend == "finufft" and find_spec("finufft") is None:
            raise InvalidArgument(
                "backend = 'finufft' is not installed; run pip install 'jko[fast]', or pass 'grid'"
            )

    def refusal(self, kernel: Kernel, dim: int) -> str | None:
        """Why sums of this kernel in this dimension are not fast, None when they are."""
        if kernel.gaussian_terms() is None:
            return f"fast sums are for Gaussian kernels and their sums, not for {kernel!r}"
        if dim > 3:
            return f"fast sums work in 1 to 3 dimensions, not {dim}; exact sums are blocked"
        return None

    def apply(self, kernel: Kernel, x: ArrayLike, y: ArrayLike, v: ArrayLike) -> Array:
        """Sum_j v_j k(x_i, y_j), shape (n,): `Kernel.apply` to within `tol`."""
        a, b = check_pair(x, y)
        box, modes = self._modes(kernel, a, b, check_coefficients(v, len(b)))
        return np.asarray(self.transform.backward(box.angles(a), [modes])[0])

    def gradient_apply(self, kernel: Kernel, x: ArrayLike, y: ArrayLike, v: ArrayLike) -> Array:
        """Sum_j v_j grad_1 k(x_i, y_j), shape (n, d): `Kernel.gradient_apply` to within `tol`."""
        a, b = check_pair(x, y)
        box, modes = self._modes(kernel, a, b, check_coefficients(v, len(b)))
        return self.transform.backward(box.angles(a), box.slopes(modes)).T

    def _modes(self, kernel: Kernel, x: Array, y: Array, v: Array) -> tuple[Box, Complex]:
        (low, high), (below, above) = _extent(x), _extent(y)
        box = self.box(kernel, np.minimum(low, below), np.maximum(high, above))
        return box, box.kernel * self.transform.forward(box.angles(y), v, box.most)

    @cached_property
    def transform(self) -> Transform:
        """The transform that does the work."""
        eps = self.tol / 10
        if self.backend == "grid" or find_spec("finufft") is None:
            return Spread(eps)
        return Finufft(eps, self.threads)

    def reach(self, dim: int) -> float:
        """The r of the notes: beyond r bandwidths, or r over a bandwidth, the kernel is nil."""
        return float(np.sqrt(2 * np.log(50 * dim / self.tol)))

    def box(self, kernel: Kernel, low: Array, high: Array) -> Box:
        """The periodic box for points between two corners."""
        why = self.refusal(kernel, len(low))
        if why is not None:
            raise Unsupported(why)
        terms = kernel.gaussian_terms()
        assert terms is not None
        reach = self.reach(len(low))
        length = high - low + reach * max(h for _, h in terms)
        most = np.ceil(reach * length / (2 * np.pi * min(h for _, h in terms)))
        count = float(np.prod(2 * most + 1))
        if not count <= self.max_modes:
            raise TooManyModes(
                f"fast sums need {count:.2g} Fourier modes for points spread over"
                f" {np.round(high - low, 3).tolist()} at bandwidth {min(h for _, h in terms):.3g},"
                f" more than max_modes = {self.max_modes}; remove far-off points, raise max_modes"
                " or the bandwidth, or use exact sums (sums=None)"
            )
        return Box(tuple(low.tolist()), tuple(length.tolist()), tuple(map(int, most)), tuple(terms))


@dataclass(frozen=True)
class Box:
    """A periodic box, its Fourier modes and those of the kernel."""

    low: tuple[float, ...]
    length: tuple[float, ...]
    most: tuple[int, ...]
    terms: tuple[tuple[float, float], ...]

    def angles(self, x: Array) -> Array:
        """Points of the box as angles in [-pi, pi]."""
        return np.asarray((x - np.array(self.low)) * (2 * np.pi / np.array(self.length)) - np.pi)

    @cached_property
    def waves(self) -> list[Array]:
        """Wave numbers along each axis."""
        pairs = zip(self.most, self.length, strict=True)
        return [np.arange(-m, m + 1) * (2 * np.pi / s) for m, s in pairs]  # type: ignore[misc]

    @cached_property
    def kernel(self) -> Array:
        """The Fourier coefficients k_m of the kernel, all positive."""
        total = np.zeros(tuple(2 * m + 1 for m in self.most))
        for c, h in self.terms:
            factors: list[Array] = []
            for k, length in zip(self.waves, self.length, strict=True):
                scale = h * float(np.sqrt(2 * np.pi)) / length
                factors.append(np.asarray(scale * np.exp(-0.5 * (h * k) ** 2), dtype=float))
            total += c * reduce(np.multiply.outer, factors)
        return total

    def slopes(self, modes: Complex) -> list[Complex]:
        """The modes of the partial derivatives."""
        d = len(self.most)
        shapes = [[-1 if i == k else 1 for i in range(d)] for k in range(d)]
        return [1j * self.waves[k].reshape(shapes[k]) * modes for k in range(d)]

    def gaussian(self, mean: Array, cov: Array) -> Complex:
        """The modes of N(mean, cov), in the convention of `Transform.forward`."""
        grids = np.meshgrid(*self.waves, indexing="ij", sparse=True)
        # Angles start at -pi in the corner of the box: the centre is where all phases are 0.
        centre = np.array(self.low) + 0.5 * np.array(self.length)
        phase = reduce(np.add, [g * (m - c) for g, m, c in zip(grids, mean, centre, strict=True)])
        square = reduce(
            np.add,
            [cov[i, j] * a * b for i, a in enumerate(grids) for j, b in enumerate(grids)],
        )
        return np.asarray(np.exp(-1j * phase - 0.5 * square))


class SpectralMMD:
    """1/2 MMD^2(., target), its first variation and its gradient, from Fourier modes.

    The box depends on the measure and the target alone, so results do not depend on what was
    asked before; spectra of the last measures and boxes are kept.
    """

    def __init__(self, target: object, kernel: Kernel, sums: FastSums) -> None:
        self.kernel, self.sums = kernel, sums
        self.target = parts(target, "target")
        why = sums.refusal(kernel, self.target.points.shape[1])
        if why is not None:
            raise Unsupported(why)
        self._low, self._high = _corners(self.target, sums)
        width = min(h for _, h in kernel.gaussian_terms() or [])
        self._quantum = QUANTUM * np.maximum(self._high - self._low, width)
        self._kept: list[tuple[tuple[Array, Array], Box, Complex]] = []
        self._targets: list[tuple[Box, Complex]] = []

    def value(self, mu: Weighted) -> float:
        """1/2 sum_m k_m |mu_m - pi_m|^2."""
        box, modes = self._difference(mu)
        return 0.5 * float(np.vdot(modes, box.kernel * modes).real)

    def first_variation(self, mu: Weighted) -> Array:
        """K(mu - pi) at the atoms (n,)."""
        box, modes = self._difference(mu)
        angles = box.angles(mu.points)
        return np.asarray(self.sums.transform.backward(angles, [box.kernel * modes])[0])

    def gradient(self, mu: Weighted) -> Array:
        """Gradient of the first variation at the atoms (n, d)."""
        box, modes = self._difference(mu)
        slopes = box.slopes(box.kernel * modes)
        return self.sums.transform.backward(box.angles(mu.points), slopes).T

    def _difference(self, mu: Weighted) -> tuple[Box, Complex]:
        """The box, and the modes of mu - target."""
        for known, box, modes in self._kept:
            if known[0] is mu.points and known[1] is mu.weights:
                return box, modes
        if mu.points.shape[1] != len(self._low):
            raise InvalidMeasure(
                f"the measure has dimension {mu.points.shape[1]}, the target {len(self._low)}"
            )
        q = self._quantum
        low, high = _extent(mu.points)
        with np.errstate(over="ignore", invalid="ignore"):  # too far off in any case
            low = np.floor(np.minimum(self._low, low) / q) * q
            high = np.ceil(np.maximum(self._high, high) / q) * q
            wanted = self.sums.box(self.kernel, low, high)
        box, target = self._boxed(wanted)
        modes = self.sums.transform.forward(box.angles(mu.points), mu.weights, box.most)
        modes -= target
        if not (mu.points.flags.writeable or mu.weights.flags.writeable):
            self._kept = [((mu.points, mu.weights), box, modes), *self._kept[:1]]
        return box, modes

    def _boxed(self, box: Box) -> tuple[Box, Complex]:
        """The box as it was when it was last used, and the modes of the target in it."""
        for known, modes in self._targets:
            if known == box:
                return known, modes
        t = self.target
        modes = np.zeros(tuple(2 * m + 1 for m in box.most), dtype=np.complex128)
        if len(t.weights):
            modes += self.sums.transform.forward(box.angles(t.points), t.weights, box.most)
        for c, m, s in zip(t.coefficients, t.means, t.covs, strict=True):
            modes += c * box.gaussian(m, s)
        self._targets = [(box, modes), *self._targets[:1]]
        return box, modes


def _extent(x: Array) -> tuple[Array, Array]:
    """Least and largest coordinates; axis by axis, since NumPy is slow along short rows."""
    columns = [x[:, k] for k in range(x.shape[1])]
    return np.array([c.min() for c in columns]), np.array([c.max() for c in columns])


def _corners(target: SignedParts, sums: FastSums) -> tuple[Array, Array]:
    """A box around the atoms, and around the Gaussians as far as they weigh anything."""
    rows = [target.points]
    reach = sums.reach(target.points.shape[1])
    for m, s in zip(target.means, target.covs, strict=True):
        tail = reach * np.sqrt(np.diag(s))
        rows.append(np.stack([m - tail, m + tail]))
    return _extent(np.concatenate(rows))
