"""Growth and decay: Hellinger flows of densities, two Diracs under transport and growth."""

from __future__ import annotations

from math import pi

import numpy as np
from numpy.typing import ArrayLike

from jko.validation import Array


def hellinger_flow(
    weights: ArrayLike, target: ArrayLike, time: float, p: float = 1.0, mass: str = "free"
) -> Array:
    r"""Hellinger flow of D_p(.|target) at `time` (formula H5).

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
        return np.asarray(moved * (start.sum() / moved.sum()) if mass == "fixed" else moved)
    if mass == "fixed":
        raise ValueError(f"the flow on fixed mass has a closed form for p = 1 only, got p = {p}")
    ratio = (start / end) ** (1 - p)
    out: Array = end * (1 + (ratio - 1) * decay) ** (1 / (1 - p))
    return out


def wfr_diracs(
    first: float, second: float, distance: float, alpha: float = 1.0, beta: float = 1.0
) -> float:
    r"""WFR^2 between two Diracs of masses m0, m1 (formula U1), action |v|^2/alpha + xi^2/beta.

    (4/beta) (m0 + m1 - 2 sqrt(m0 m1) cos(min(sqrt(beta/(4 alpha)) d, pi/2))).

    References
    ----------
    Liero et al. (2018); Chizat et al. (2018b).
    """
    angle = min(np.sqrt(beta / (4 * alpha)) * distance, pi / 2)
    return float(4 / beta * (first + second - 2 * np.sqrt(first * second) * np.cos(angle)))
