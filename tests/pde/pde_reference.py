"""Solutions of the flows of the talk that share nothing with jko's own schemes.

Methods of lines, handed to SciPy's stiff or explicit integrators with tight tolerances. On a line:

- `diffused`: energies with a density (KL, inclusive KL), by differences on a fine mesh of nodes;
- `carried`: 1/2 MMD^2 of a Gaussian kernel, along characteristics, so that nothing is smeared.

In the plane, `waves`: the same energy, by Fourier series.

All write out the first variation, its derivatives and the reaction by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.integrate import solve_ivp
from scipy.interpolate import CubicSpline
from scipy.sparse import diags_array

Density = Callable[[np.ndarray], np.ndarray]
NODES, WEIGHTS = np.polynomial.legendre.leggauss(6)


def cell_masses(density: Density, edges: np.ndarray) -> np.ndarray:
    """Integrals of a density between neighbouring edges, by Gauss's rule."""
    half = np.diff(edges) / 2
    middle = (edges[1:] + edges[:-1]) / 2
    return half * (density(middle[:, None] + half[:, None] * NODES) @ WEIGHTS)


def square_masses(density: Density, edges: np.ndarray) -> np.ndarray:
    """Integrals (n - 1, n - 1) over the squares between edges, the same on both axes."""
    half, n = np.diff(edges) / 2, edges.size - 1
    nodes = ((edges[1:] + edges[:-1])[:, None] / 2 + half[:, None] * NODES).ravel()
    mesh = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), axis=-1).reshape(-1, 2)
    weights = np.multiply.outer(half, WEIGHTS).ravel()
    values = density(mesh).reshape(nodes.size, -1) * np.multiply.outer(weights, weights)
    return values.reshape(n, NODES.size, n, NODES.size).sum(axis=(1, 3))


@dataclass(frozen=True)
class Line:
    """Start, target and box of a flow mu_t = alpha (mu f')' - beta (reaction) on the line."""

    start: Density
    target: Density
    half_width: float

    def diffused(
        self, energy: str, reaction: str, alpha: float, beta: float, time: float, n: int = 600
    ) -> Density:
        """f = log(mu/pi) ("KL") or 1 - pi/mu ("inclusive KL"), without flux at the walls.

        Reactions: "none"; "hellinger", mu f; "mmd", K^{-1}(f - lambda) for the kernel e^{-|x-y|},
        whose inverse is (f - f'')/2 inside, with f -+ f' halved at the walls, and lambda makes
        the total vanish: K^{-1} is a differential operator, so the flow is a PDE.
        """
        y = np.linspace(-self.half_width, self.half_width, n + 1)
        h = y[1] - y[0]
        size = np.full(n + 1, h)  # of the control volumes: half at the walls
        size[[0, -1]] = h / 2
        pi = self.target(y)
        pi_face = self.target((y[1:] + y[:-1]) / 2)
        inverse = (np.diag(size) + _stiffness(n) / h) / 2
        inverse[[0, -1], [0, -1]] += 0.5

        def slope(_: float, mu: np.ndarray) -> np.ndarray:
            if energy == "KL":
                f = np.log(mu / pi)
                # mu f' = pi (mu/pi)': no mean of mu at the faces is needed.
                flux = pi_face * np.diff(mu / pi) / h
            else:
                f = 1 - pi / mu
                flux = pi_face * np.diff(np.log(mu)) / h - np.diff(pi) / h  # -mu (pi/mu)'
            change = alpha * np.diff(flux, prepend=0.0, append=0.0)
            if reaction == "hellinger":
                change -= beta * size * mu * f
            elif reaction == "mmd":
                total = inverse.sum(axis=0)
                change -= beta * inverse @ (f - total @ f / total.sum())
            return change / size

        band = diags_array([np.ones(n), np.ones(n + 1), np.ones(n)], offsets=[-1, 0, 1])
        found = solve_ivp(
            slope, (0.0, time), self.start(y), method="BDF", rtol=1e-8, atol=1e-11,
            jac_sparsity=None if reaction == "mmd" else band,
        )  # fmt: skip
        assert found.success
        return CubicSpline(y, found.y[:, -1])

    def carried(
        self, h: float, reaction: str, alpha: float, beta: float, time: float, n: int = 300
    ) -> Density:
        """f = K(mu - pi), K the Gaussian kernel of bandwidth h, while mass stays off the walls.

        Points move by x' = -alpha f', their masses by the reaction and the lengths they stand for
        by l' = -alpha f'' l; the density is mass/length. The sums over the moving points are the
        trapezoidal rule in another variable, exact beyond all orders for bells.
        Reactions: "none"; "hellinger", mu f; "mmd", K^{-1} f = mu - pi.
        """
        y = np.linspace(-self.half_width, self.half_width, n + 1)
        step = y[1] - y[0]
        charge = self.target(y) * step

        def slope(_: float, state: np.ndarray) -> np.ndarray:
            x, mass, length = state.reshape(3, -1)
            f, df, ddf = (
                a @ mass - b @ charge
                for a, b in zip(_gauss(x[:, None] - x, h), _gauss(x[:, None] - y, h), strict=True)
            )
            lost = {
                "none": 0 * f,
                "hellinger": mass * f,
                "mmd": mass - self.target(x) * length,
            }[reaction]
            return np.concatenate([-alpha * df, -beta * lost, -alpha * ddf * length])

        state = np.concatenate([y, self.start(y) * step, np.full(n + 1, step)])
        found = solve_ivp(slope, (0.0, time), state, rtol=1e-8, atol=1e-11)
        assert found.success
        x, mass, length = found.y[:, -1].reshape(3, -1)
        return CubicSpline(x, mass / length)


@dataclass(frozen=True)
class Plane:
    """Start, target and box of a flow mu_t = alpha div(mu grad f) - beta (mu - pi) in the plane."""

    start: Density
    target: Density
    half_width: float

    def waves(self, h: float, alpha: float, beta: float, time: float, n: int = 64) -> Waves:
        """f = K(mu - pi), K the Gaussian kernel of bandwidth h, while mass stays off the walls.

        Densities are sums of n^2 waves, periodic in the box: K multiplies each by 2 pi h^2
        exp(-h^2 k^2/2), gradients by i k, and products are taken on the n^2 nodes.
        """
        y = (np.arange(n) - n / 2) * (2 * self.half_width / n)
        mesh = np.stack(np.meshgrid(y, y, indexing="ij"), axis=-1).reshape(-1, 2)
        k = np.fft.fftfreq(n, 1 / n) * (np.pi / self.half_width)
        k[n // 2] = 0.0  # the derivative of the highest wave vanishes on the nodes
        kx, ky = k[:, None], k[None]
        kernel = 2 * np.pi * h**2 * np.exp(-(h**2) * (kx**2 + ky**2) / 2)
        pi = self.target(mesh).reshape(n, n)

        def slope(_: float, state: np.ndarray) -> np.ndarray:
            mu = state.reshape(n, n)
            f = kernel * np.fft.fft2(mu - pi)
            flux = [np.fft.fft2(mu * np.fft.ifft2(1j * q * f).real) for q in (kx, ky)]
            spread = np.fft.ifft2(1j * kx * flux[0] + 1j * ky * flux[1]).real
            return (alpha * spread - beta * (mu - pi)).ravel()

        found = solve_ivp(slope, (0.0, time), self.start(mesh), rtol=1e-7, atol=1e-10)
        assert found.success
        return Waves(np.fft.fft2(found.y[:, -1].reshape(n, n)) / n**2, k, y[0])


@dataclass(frozen=True)
class Waves:
    """sum_ab c_ab exp(i k_a (x - origin) + i k_b (y - origin))."""

    coefficients: np.ndarray
    k: np.ndarray
    origin: float

    def cell_masses(self, edges: np.ndarray) -> np.ndarray:
        """Integrals (n - 1, n - 1) over the squares between edges, the same on both axes."""
        constant = self.k == 0
        phase = np.exp(1j * self.k * (edges[:, None] - self.origin))
        rise = np.diff(phase, axis=0) / np.where(constant, 1.0, 1j * self.k)
        rise[:, constant] = np.diff(edges)[:, None]
        return (rise @ self.coefficients @ rise.T).real


def _stiffness(n: int) -> np.ndarray:
    """The second difference without flux at the ends (n + 1, n + 1)."""
    ends = np.r_[1.0, np.full(n - 1, 2.0), 1.0]
    return np.diag(ends) - np.diag(np.ones(n), 1) - np.diag(np.ones(n), -1)


def _gauss(z: np.ndarray, h: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The Gaussian kernel at displacements z, and its first two derivatives."""
    k = np.exp(-(z**2) / (2 * h**2))
    return k, -z / h**2 * k, (z**2 / h**4 - 1 / h**2) * k
