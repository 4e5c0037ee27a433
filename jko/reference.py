"""Exact solutions that tests, demos and the accuracy pages are judged against.

Plain functions, each with its label in the table of conventions (MATH). None of them calls a
solver, an energy or a geometry of the library.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import gamma, pi

import numpy as np
from numpy.typing import ArrayLike

from jko.numerics import increasing_root
from jko.validation import Array

# -- Wasserstein steps of Gaussians ------------------------------------------------------------


def ou_step(
    mean: float,
    std: float,
    tau: float,
    *,
    diffusion: float = 1.0,
    stiffness: float = 1.0,
    centre: float = 0.0,
) -> tuple[float, float]:
    r"""One exact JKO step of D int rho log rho + (kap/2) int |x - a|^2 rho on N(m, s^2) (MATH W3).

        m_+ = (m + tau kap a)/(1 + tau kap),
        s_+ = [s + sqrt(s^2 + 4 tau D (1 + tau kap))] / (2 (1 + tau kap)).

    Parameters
    ----------
    mean, std : float
        m and s; in several dimensions, along one principal axis.
    tau : float
    diffusion, stiffness, centre : float
        D, kap and a.

    Returns
    -------
    (m_+, s_+)
    """
    shrink = 1 + tau * stiffness
    grown = std + np.sqrt(std**2 + 4 * tau * diffusion * shrink)
    return (mean + tau * stiffness * centre) / shrink, float(grown) / (2 * shrink)


def ou_flow(
    mean: float,
    std: float,
    time: float,
    *,
    diffusion: float = 1.0,
    stiffness: float = 1.0,
    centre: float = 0.0,
) -> tuple[float, float]:
    """Mean and standard deviation of the flow that `ou_step` discretises, at `time`.

    m' = -kap (m - a) and (s^2)' = 2 D - 2 kap s^2.
    """
    decay = np.exp(-stiffness * time)
    variance = std**2 * decay**2 + diffusion / stiffness * (1 - decay**2)
    return float(centre + (mean - centre) * decay), float(np.sqrt(variance))


def entropic_std(
    std: float,
    tau: float,
    reg: float,
    *,
    diffusion: float = 1.0,
    stiffness: float = 1.0,
    debiased: bool = True,
) -> float:
    r"""Standard deviation after one entropic step of `ou_step`'s energy (MATH W4).

    With e = reg/2 and variances a -> b, the plain step solves

        b (1 + tau kap) = (-e + sqrt(e^2 + 4ab))/2 + tau D + e

    and the Sinkhorn-divergence step

        b (1 + tau kap) = b + (sqrt(e^2 + 4ab) - sqrt(e^2 + 4b^2))/2 + tau D.

    Parameters
    ----------
    std, tau : float
    reg : float
        Regularisation of the cost |x - y|^2 (POT's `reg`).
    diffusion, stiffness : float
    debiased : bool
        The Sinkhorn-divergence step, or the plain one.
    """
    e, a = reg / 2, std**2

    def excess(b: float) -> float:
        joint = np.sqrt(e**2 + 4 * a * b)
        if debiased:
            # The difference of the roots, free of cancellation.
            moved = 4 * b * (b - a) / (np.sqrt(e**2 + 4 * b**2) + joint)
            return float(stiffness * b + moved / (2 * tau) - diffusion)
        return float(b * (1 + tau * stiffness) - (joint + e) / 2 - tau * diffusion)

    top = a + 2 * tau * diffusion + reg
    while excess(top) < 0:
        top *= 2
    # Both are negative at 0 and convex there on: one positive root.
    return float(np.sqrt(increasing_root(excess, 0.0, top)))


def gaussian_jko_step(
    mean: ArrayLike, cov: ArrayLike, target_mean: ArrayLike, target_cov: ArrayLike, tau: float
) -> tuple[Array, Array]:
    r"""One exact JKO step of KL(.|N(m*, S*)) on N(m, S), any covariances (MATH G1).

        B = I + tau S*^{-1},   C = B^{-1/2} S B^{-1/2},
        S_+ = B^{-1/2} 1/2 [C + 2 tau I + (C^2 + 4 tau C)^{1/2}] B^{-1/2},
        m_+ = B^{-1} (m + tau S*^{-1} m*).

    The formula as it stands, the readable twin of `jko.solvers.Bures`; for covariances of
    moderate condition number.

    Returns
    -------
    m_+ (d,), S_+ (d, d)
    """
    m, s, target, precision = _gaussian_pair(mean, cov, target_mean, target_cov)
    eye = np.eye(len(m))
    b = eye + tau * precision
    half = np.linalg.inv(_root(b))
    c = half @ s @ half
    inner = 0.5 * (c + 2 * tau * eye + _root(c @ c + 4 * tau * c))
    moved: Array = half @ half @ (m + tau * precision @ target)
    return moved, half @ inner @ half


# -- reaction flows ----------------------------------------------------------------------------


def fisher_rao_gaussian_flow(
    mean: ArrayLike, cov: ArrayLike, target_mean: ArrayLike, target_cov: ArrayLike, time: float
) -> tuple[Array, Array]:
    """Fisher-Rao flow on P of KL(.|N(m*, S*)) from N(m, S) at `time` (MATH G2).

    P_t = e^{-t} P_0 + (1 - e^{-t}) P*, and P_t m_t likewise, P the precisions.

    Returns
    -------
    m_t (d,), S_t (d, d)
    """
    m, s, target, end = _gaussian_pair(mean, cov, target_mean, target_cov)
    start, decay = np.linalg.inv(s), np.exp(-time)
    precision = decay * start + (1 - decay) * end
    shift = decay * start @ m + (1 - decay) * end @ target
    return np.linalg.solve(precision, shift), np.linalg.inv(precision)


def wfr_gaussian_flow(
    mean: ArrayLike, cov: ArrayLike, target_mean: ArrayLike, target_cov: ArrayLike, time: float
) -> tuple[Array, Array]:
    r"""Wasserstein-Fisher-Rao flow (alpha = beta = 1, on P) of KL(.|N(m*, S*)) (MATH G2).

        E = exp(t (S*^{-1} + I/2)),   G = E [(S_0-S*)^{-1} + (2I+S*)^{-1}] E - (S*+2I)^{-1},
        S_t = S* + G^{-1},   m_t = m* + (S_t-S*) exp(t S*^{-1}) (S_0-S*)^{-1} (m_0-m*).

    S_0 - S* must be invertible.

    Returns
    -------
    m_t (d,), S_t (d, d)
    """
    m, s, target, precision = _gaussian_pair(mean, cov, target_mean, target_cov)
    end, eye = np.linalg.inv(precision), np.eye(len(m))
    grow = _symmetric(precision, lambda v: np.exp(time * (v + 0.5)))
    offset = np.linalg.inv(end + 2 * eye)
    start = np.linalg.inv(s - end)
    spread = np.linalg.inv(grow @ (start + offset) @ grow - offset)
    drift = _symmetric(precision, lambda v: np.exp(time * v))
    return target + spread @ drift @ start @ (m - target), end + spread


def hellinger_flow(
    weights: ArrayLike, target: ArrayLike, time: float, p: float = 1.0, mass: str = "free"
) -> Array:
    r"""Hellinger flow of D_p(.|target) at `time` (MATH H5).

    On M+ (`mass="free"`) r = mu/target obeys r_t^{1-p} = 1 + (r_0^{1-p} - 1) e^{-t}, and for p = 1
    mu_t = mu_0^{e^{-t}} target^{1-e^{-t}}. On P (`mass="fixed"`, p = 1 only) the same mixture
    normalised.

    Parameters
    ----------
    weights, target : (n,) arrays
        Target positive.
    """
    start, end = np.asarray(weights, dtype=float), np.asarray(target, dtype=float)
    decay = np.exp(-time)
    if p == 1:
        moved = start**decay * end ** (1 - decay)
        return moved * (start.sum() / moved.sum()) if mass == "fixed" else moved
    if mass == "fixed":
        raise ValueError(f"the flow on fixed mass has a closed form for p = 1 only, got p = {p}")
    ratio = (start / end) ** (1 - p)
    out: Array = end * (1 + (ratio - 1) * decay) ** (1 / (1 - p))
    return out


def wfr_diracs(
    first: float, second: float, distance: float, alpha: float = 1.0, beta: float = 1.0
) -> float:
    r"""WFR^2 between two Diracs of masses m0, m1 (MATH U1), action |v|^2/alpha + xi^2/beta.

    (4/beta) (m0 + m1 - 2 sqrt(m0 m1) cos(min(sqrt(beta/(4 alpha)) d, pi/2))).
    """
    angle = min(np.sqrt(beta / (4 * alpha)) * distance, pi / 2)
    return float(4 / beta * (first + second - 2 * np.sqrt(first * second) * np.cos(angle)))


# -- diffusion on grids --------------------------------------------------------------------------


@dataclass(frozen=True)
class Barenblatt:
    r"""The self-similar solution of rho_t = g Lap(rho^m), exact for the PDE and for JKO (MATH W5).

        rho(x) = lam^{-d} (C - k |x|^2 / lam^2)_+^{1/(m-1)},   k = beta (m-1)/(2m),
        beta = 1/(d (m-1) + 2).

    The PDE moves the scale as lam(t) = (lam_0^{1/beta} + g t)^beta; the JKO step of
    F = g/(m-1) int rho^m is the dilation lam_+ - lam = tau g beta lam_+^{1-1/beta}.

    Parameters
    ----------
    dim, m : int, float
        d, and the exponent m > 1.
    mass, peak : float
        Total mass, and the density at the centre at time 0.
    g : float
        Diffusivity.
    """

    dim: int = 1
    m: float = 2.0
    mass: float = 0.5
    peak: float = 15.0
    g: float = 1e-3

    @property
    def beta(self) -> float:
        """Exponent of the spreading, 1/(d (m-1) + 2)."""
        return 1 / (self.dim * (self.m - 1) + 2)

    @property
    def curvature(self) -> float:
        """The constant k of the profile."""
        return self.beta * (self.m - 1) / (2 * self.m)

    @property
    def height(self) -> float:
        """The constant C of the profile, from the mass."""
        power = 1 / (self.m - 1)
        half = self.dim / 2
        # int (1 - |y|^2)_+^power dy
        unit = pi**half * gamma(power + 1) / gamma(power + 1 + half)
        return float((self.mass * self.curvature**half / unit) ** (1 / (power + half)))

    @property
    def start(self) -> float:
        """The scale at time 0, from the peak."""
        return float((self.height ** (1 / (self.m - 1)) / self.peak) ** (1 / self.dim))

    def flow(self, scale: float, time: float) -> float:
        """The scale that the PDE reaches from `scale` after `time`."""
        return float((scale ** (1 / self.beta) + self.g * time) ** self.beta)

    def jko(self, scale: float, tau: float) -> float:
        """The scale after one exact JKO step."""
        rate, power = tau * self.g * self.beta, 1 - 1 / self.beta
        top = scale + rate * scale**power  # the explicit step is the longest
        return increasing_root(lambda x: x - scale - rate * x**power, scale, top)

    def radius(self, scale: float) -> float:
        """Radius of the support."""
        return scale * float(np.sqrt(self.height / self.curvature))

    def density(self, points: ArrayLike, scale: float) -> Array:
        """The density (n,) at points (n, d)."""
        square = (np.asarray(points, dtype=float) ** 2).sum(axis=-1)
        inner = np.maximum(self.height - self.curvature * square / scale**2, 0.0)
        return np.asarray(inner ** (1 / (self.m - 1)) / scale**self.dim)


def drift_density(x: ArrayLike, time: float, drift: float = 1.0) -> Array:
    r"""Solution of u_t = (u_x - g u)_x on [0, 1] without flux at the ends (MATH W6).

    u = e^{-at + gx/2} (pi cos pi x + (g/2) sin pi x) + pi e^{g(x - 1/2)}, a = pi^2 + g^2/4: the
    Wasserstein flow of int rho log rho - g x rho. Its mass is 2 pi sinh(g/2)/g, not 1.
    """
    z = np.asarray(x, dtype=float)
    decay = np.exp(-(pi**2 + drift**2 / 4) * time)
    wave = np.exp(drift * z / 2) * (pi * np.cos(pi * z) + drift / 2 * np.sin(pi * z))
    return np.asarray(decay * wave + pi * np.exp(drift * (z - 0.5)))


def jam_shares(r: ArrayLike, time: ArrayLike, density: float, radius: float, dim: int = 2) -> Array:
    r"""Share of a crowd within r of a shut door to which all walk at unit speed (MATH W7).

    The Wasserstein flow of int |x| rho + (rho <= 1) from the density c < 1 on a ball, or a sector
    of one, of radius R about the door. Who is not stopped walks on; before the door a full jam
    grows, and so the share within r is that of the people who came, or that for whom there is room:

        min(c min(r + t, R)^d, r^d) / (c R^d).

    Steps of any length are on this flow, too.
    """
    away = np.asarray(r, dtype=float)
    came = density * np.minimum(away + np.asarray(time), radius) ** dim
    return np.asarray(np.minimum(came, away**dim) / (density * radius**dim))


def energy_distance_quantile(s: ArrayLike, time: float) -> Array:
    """Quantile function of the Wasserstein flow of 1/2 MMD^2 (k = -|x-y|) from delta_{-1} to
    delta_0 on the line: Q_t(s) = min(0, -1 + 2 s t) (MATH M9).
    """
    return np.minimum(0.0, -1 + 2 * np.asarray(s, dtype=float) * time)


# -- helpers -------------------------------------------------------------------------------------


def _gaussian_pair(
    mean: ArrayLike, cov: ArrayLike, target_mean: ArrayLike, target_cov: ArrayLike
) -> tuple[Array, Array, Array, Array]:
    """Mean and covariance, the target's mean and its precision, as arrays."""
    m, target = (np.atleast_1d(np.asarray(v, dtype=float)) for v in (mean, target_mean))
    s, end = (np.atleast_2d(np.asarray(v, dtype=float)) for v in (cov, target_cov))
    return m, s, target, np.linalg.inv(end)


def _symmetric(matrix: Array, function: Callable[[Array], Array]) -> Array:
    """A function of a symmetric matrix."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    out: Array = (vectors * function(values)) @ vectors.T
    return out


def _root(matrix: Array) -> Array:
    return _symmetric(matrix, np.sqrt)
