"""Steps and flows of Gaussians: Ornstein-Uhlenbeck, entropic, Bures, Fisher-Rao."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from jko.numerics.roots import increasing_root
from jko.validation import Array

# -- Wasserstein steps ---------------------------------------------------------------------------


def ou_step(
    mean: float,
    std: float,
    tau: float,
    *,
    diffusion: float = 1.0,
    stiffness: float = 1.0,
    centre: float = 0.0,
) -> tuple[float, float]:
    r"""An exact step of D int rho log rho + (kap/2) int |x - a|^2 rho on N(m, s^2) (formula W3).

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
    r"""Standard deviation after one entropic step of `ou_step`'s energy (formula W4).

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
    r"""An exact step of KL(.|N(m*, S*)) on N(m, S), any covariances (formula G1).

        B = I + tau S*^{-1},   C = B^{-1/2} S B^{-1/2},
        S_+ = B^{-1/2} 1/2 [C + 2 tau I + (C^2 + 4 tau C)^{1/2}] B^{-1/2},
        m_+ = B^{-1} (m + tau S*^{-1} m*).

    The formula as it stands, the readable twin of `jko.solvers.Bures`; for covariances of
    moderate condition number.

    Returns
    -------
    m_+ (d,), S_+ (d, d)

    References
    ----------
    Bhatia et al. (2019); Lambert et al. (2022).
    """
    m, s, target, precision = _gaussian_pair(mean, cov, target_mean, target_cov)
    eye = np.eye(len(m))
    b = eye + tau * precision
    half = np.linalg.inv(_root(b))
    c = half @ s @ half
    inner = 0.5 * (c + 2 * tau * eye + _root(c @ c + 4 * tau * c))
    moved: Array = half @ half @ (m + tau * precision @ target)
    return moved, half @ inner @ half


# -- reaction flows ------------------------------------------------------------------------------


def fisher_rao_gaussian_flow(
    mean: ArrayLike, cov: ArrayLike, target_mean: ArrayLike, target_cov: ArrayLike, time: float
) -> tuple[Array, Array]:
    """Fisher-Rao flow on P of KL(.|N(m*, S*)) from N(m, S) at `time` (formula G2).

    P_t = e^{-t} P_0 + (1 - e^{-t}) P*, and P_t m_t likewise, P the precisions.

    Returns
    -------
    m_t (d,), S_t (d, d)

    References
    ----------
    Khan and Rue (2023); Mielke and Zhu (2025).
    """
    m, s, target, end = _gaussian_pair(mean, cov, target_mean, target_cov)
    start, decay = np.linalg.inv(s), np.exp(-time)
    precision = decay * start + (1 - decay) * end
    shift = decay * start @ m + (1 - decay) * end @ target
    return np.linalg.solve(precision, shift), np.linalg.inv(precision)


def wfr_gaussian_flow(
    mean: ArrayLike, cov: ArrayLike, target_mean: ArrayLike, target_cov: ArrayLike, time: float
) -> tuple[Array, Array]:
    r"""Wasserstein-Fisher-Rao flow (alpha = beta = 1, on P) of KL(.|N(m*, S*)) (formula G2).

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
