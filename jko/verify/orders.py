"""Measured orders: the slope of log error against log tau, and the schemes it is held against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jko import reference
from jko.energies import KL
from jko.energies.base import Energy
from jko.errors import InvalidArgument
from jko.flows.driver import flow
from jko.flows.plan import Scheme
from jko.flows.splitting import split_step
from jko.geometries import Hellinger, SphericalHellinger, Wasserstein
from jko.geometries.base import GeometrySum
from jko.identity import Identity
from jko.measures import Gaussian, Grid, GridDensity, Particles
from jko.measures.base import Discrete
from jko.solvers.rules import Solver
from jko.validation import Array, finite_array
from jko.verify import problems

#: How far a measured order may be from the declared one.
SLACK = 0.15
#: Step lengths from whose errors an order is read.
TAUS = (0.1, 0.05, 0.025)


def measured_order(errors: ArrayLike, taus: ArrayLike) -> float:
    """Least-squares slope of log(error) against log(tau).

    Parameters
    ----------
    errors, taus : (m,) arrays of positive numbers, m >= 2

    Returns
    -------
    float
        p such that the errors behave like tau^p.
    """
    e, t = (finite_array(v, n, InvalidArgument) for v, n in ((errors, "errors"), (taus, "taus")))
    if e.shape != t.shape or e.ndim != 1 or e.size < 2:
        raise InvalidArgument(
            f"errors {e.shape} and taus {t.shape} must be two rows of equal length, at least 2"
        )
    if not ((e > 0).all() and (t > 0).all()):
        raise InvalidArgument(
            "errors and taus must be positive; an error of 0 means there is no order to measure"
        )
    return float(np.polyfit(np.log(t), np.log(e), 1)[0])


def order(
    name: str,
    declared: float,
    error: Callable[[float], float],
    taus: Sequence[float] = TAUS,
    slack: float = SLACK,
) -> Identity:
    """The declared order of a scheme against the measured one.

    Parameters
    ----------
    name : str
        Name of the scheme.
    declared : float
    error : callable tau -> float
        Error at a fixed final time when steps of length tau are taken.
    """
    found = measured_order([error(tau) for tau in taus], taus)
    statement = f"{name} has order {declared:g} (measured {found:.2f})"
    return Identity("order", statement, found, declared, abs(found - declared), slack)


def gaussian_error(tau: float, scheme: str = "implicit", run: Callable[..., Any] = flow) -> float:
    """Error at time 1 of the Wasserstein flow of KL(.|N) on Gaussians, each axis an OU flow.

    Covariances are diagonal, where mean and standard deviation of every axis are known exactly.
    """
    variances = np.array([0.5, 2.0])
    target = Gaussian(np.zeros(2), np.diag(variances))
    start = Gaussian(np.array([1.0, -2.0]), np.diag([1.5, 0.3]))
    end = run(start, KL(target), Wasserstein(), tau=tau, t1=1.0, scheme=scheme, save="last").final
    exact = [
        reference.ou_flow(m, s, 1.0, stiffness=1 / v)
        for m, s, v in zip(start.mean, np.sqrt(np.diag(start.cov)), variances, strict=True)
    ]
    means, stds = np.array(exact).T
    found = np.sqrt(np.diag(end.cov))
    return float(np.linalg.norm(end.mean - means) + np.linalg.norm(found - stds))


def reaction_transport_flow(points: Array, weights: Array, time: float) -> tuple[Array, Array]:
    """Exact flow of int |x|^2/2 dmu in Wasserstein() + Hellinger() on particles.

    x' = -x and w' = -w |x|^2/2, hence x_t = x_0 e^{-t} and
    w_t = w_0 exp(-|x_0|^2 (1 - e^{-2t})/4).
    """
    square = (points**2).sum(axis=1)
    return points * np.exp(-time), weights * np.exp(-square * (1 - np.exp(-2 * time)) / 4)


def splitting_error(
    tau: float, splitting: str, scheme: str = "implicit", run: Callable[..., Any] = flow
) -> float:
    """Error at time 1 of the split flow of `reaction_transport_flow` on particles of the line."""
    start = Particles(np.array([[-1.5], [-0.4], [0.3], [1.1]]), [0.1, 0.4, 0.3, 0.5])
    end = run(
        start,
        problems.well(),
        Wasserstein() + Hellinger(),
        tau=tau,
        t1=1.0,
        splitting=splitting,
        scheme=scheme,
        save="last",
        tol=1e-9,
    ).final
    x, w = reaction_transport_flow(start.points, start.weights, 1.0)
    return float(np.linalg.norm(end.points - x) + np.linalg.norm(end.weights - w))


def wfr_error(tau: float, solver: Solver = "auto", run: Callable[..., Any] = flow) -> float:
    """Error at time 1/2 of the split Wasserstein-Fisher-Rao flow of KL on a grid of the line.

    The exact flow of Gaussian data is formula G2; mean and standard deviation are compared.
    """
    grid = Grid([-5.0], [5.0], [100])

    def bump(centre: float, variance: float) -> GridDensity:
        def density(x: Array) -> Array:
            return np.exp(-((x[:, 0] - centre) ** 2) / (2 * variance))

        return GridDensity.from_function(density, grid, mass=1.0)

    geometry = Wasserstein() + SphericalHellinger()
    start, energy = bump(1.0, 0.36), KL(bump(0.0, 1.0))
    end = run(start, energy, geometry, tau=tau, t1=0.5, save="last", solver=solver).final
    mean, cov = reference.wfr_gaussian_flow([1.0], [[0.36]], [0.0], [[1.0]], 0.5)
    return float(abs(end.mean[0] - mean[0]) + abs(np.sqrt(end.cov[0, 0]) - np.sqrt(cov[0, 0])))


def equilibrium(
    target: Discrete,
    energy: Energy | tuple[Energy, ...],
    geometry: GeometrySum,
    *,
    splitting: str = "lie",
    solver: Solver = "auto",
    tau: float = 0.1,
    floor: float = 1e-3,
    take: Callable[..., Any] = split_step,
) -> Identity:
    """Whether a split step keeps argmin F, as its scheme declares.

    Parameters
    ----------
    target : Discrete
        The minimiser of the energy (of their sum, for a tuple).
    energy : Energy, or a tuple with one per geometry
        One energy keeps it; a tuple does not: the step must then leave it by more than `floor`.
    """
    moved = take(target, energy, geometry, tau, splitting=splitting, solver=solver).measure
    change = float(np.abs(moved.weights - target.weights).sum()) / target.mass
    keeps = Scheme(splitting).preserves_equilibrium(not isinstance(energy, tuple))
    if keeps:
        statement = f"{splitting.capitalize()} splitting of one energy keeps its minimiser"
        return Identity("equilibrium", statement, change, 0.0, change, 1e-7)
    statement = f"{splitting.capitalize()} splitting of two energies loses the minimiser"
    lack = floor - change if change <= floor else 0.0 if change > floor else np.nan
    return Identity("equilibrium", statement, change, floor, lack, 0.0)


def scheme_order(
    splitting: str = "lie", scheme: str = "implicit", parts: int = 2, run: Callable[..., Any] = flow
) -> Identity:
    """Declared and measured order of a splitting on particles, or (parts=1) on Gaussians."""
    declared = Scheme(splitting, scheme).order(parts)
    if parts == 1:
        label = f"one geometry, {scheme} steps, on Gaussians,"
        return order(label, declared, lambda tau: gaussian_error(tau, scheme, run))
    label = f"{splitting.capitalize()} splitting with {scheme} sub-steps, on particles,"
    return order(label, declared, lambda tau: splitting_error(tau, splitting, scheme, run))
