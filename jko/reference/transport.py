"""Other flows in the Wasserstein metric: drift in a box, a jam before a door, attraction."""

from __future__ import annotations

from math import pi

import numpy as np
from numpy.typing import ArrayLike

from jko.validation import Array


def drift_density(x: ArrayLike, time: float, drift: float = 1.0) -> Array:
    r"""Solution of u_t = (u_x - g u)_x on [0, 1] without flux at the ends (formula W6).

    u = e^{-at + gx/2} (pi cos pi x + (g/2) sin pi x) + pi e^{g(x - 1/2)}, a = pi^2 + g^2/4: the
    Wasserstein flow of int rho log rho - g x rho. Its mass is 2 pi sinh(g/2)/g, not 1.
    """
    z = np.asarray(x, dtype=float)
    decay = np.exp(-(pi**2 + drift**2 / 4) * time)
    wave = np.exp(drift * z / 2) * (pi * np.cos(pi * z) + drift / 2 * np.sin(pi * z))
    return np.asarray(decay * wave + pi * np.exp(drift * (z - 0.5)))


def jam_shares(r: ArrayLike, time: ArrayLike, density: float, radius: float, dim: int = 2) -> Array:
    r"""Share of a crowd within r of a shut door to which all walk at unit speed (formula W7).

    The Wasserstein flow of int |x| rho + (rho <= 1) from the density c < 1 on a ball, or a sector
    of one, of radius R about the door. Who is not stopped walks on; before the door a full jam
    grows, and so the share within r is that of the people who came, or that for whom there is room:

        min(c min(r + t, R)^d, r^d) / (c R^d).

    Steps of any length are on this flow, too.

    References
    ----------
    Maury et al. (2010).
    """
    away = np.asarray(r, dtype=float)
    came = density * np.minimum(away + np.asarray(time), radius) ** dim
    return np.asarray(np.minimum(came, away**dim) / (density * radius**dim))


def energy_distance_quantile(s: ArrayLike, time: float) -> Array:
    """Quantile function of the Wasserstein flow of 1/2 MMD^2 (k = -|x-y|) from delta_{-1} to
    delta_0 on the line: Q_t(s) = min(0, -1 + 2 s t) (formula M9).

    References
    ----------
    Bonaschi et al. (2015).
    """
    return np.minimum(0.0, -1 + 2 * np.asarray(s, dtype=float) * time)
