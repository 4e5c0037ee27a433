"""`jko.match`: move weighted particles onto a target in MMD, with the recommended settings."""

from __future__ import annotations

from typing import Any

from jko.energies.mmd import MMDEnergy
from jko.errors import InvalidArgument, Unsupported
from jko.flows.driver import flow
from jko.flows.trajectory import Trajectory
from jko.geometries import SphericalHellinger, Wasserstein
from jko.geometries.base import Geometry, GeometrySum
from jko.kernels import Kernel
from jko.kernels.fast_sums import FastSums, TooManyModes
from jko.measures.atoms import Particles
from jko.measures.base import Measure
from jko.measures.masses import balanced, same_mass
from jko.solvers import Euler, Multiplicative, ProjectedWeights, ProxSolver
from jko.validation import instance, one_of, positive

#: Atoms of particles and target together above which Gaussian sums are computed fast.
FAST_ABOVE = 4000
#: What moves the weights, by name.
WEIGHTS = ("projected", "multiplicative", "fixed")


def match(
    particles: Particles,
    target: Measure,
    kernel: Kernel,
    *,
    steps: int = 1000,
    accelerate: bool = False,
    weights: str = "projected",
    first_step: float | None = None,
    sums: FastSums | str | None = "auto",
    **options: Any,
) -> Trajectory:
    r"""Move weighted particles onto a target: explicit descent of F = 1/2 MMD^2(., target).

    Every step moves the particles by `jko.solvers.Euler` (true velocity -grad f, step length by
    Armijo's rule), then the weights by an explicit step of the safe length: 1/(n kappa) in the
    Euclidean metric, 1/(m kappa) for factors, kappa an upper bound of k(x, x) and m the mass. F
    never rises. No target atom becomes a particle. Where nothing can be gained any more the
    particles rest, and the steps say so.

    Parameters
    ----------
    particles : Particles
        The start, of the target's mass.
    target : measure
        Particles of any number (weighted or not), or a Gaussian or mixture under a Gaussian kernel
        (noise-free, formula M7).
    kernel : Kernel
        Smooth and bounded: Gaussian, InverseMultiquadric, Matern(nu=1.5 or 2.5), their sums.

    Other Parameters
    ----------------
    steps : int, default 1000
    accelerate : bool, default False
        Nesterov's momentum with restarts for the particles: some hundred times less MMD^2 after
        1000 steps of the same cost.
    weights : {"projected", "multiplicative", "fixed"}
        "projected": Euclidean projected gradient, of no geometry, the fastest in MMD.
        "multiplicative": w ~ w exp(-s f); the run is the Wasserstein-Fisher-Rao (W2 + spherical
        Hellinger) flow of F, explicitly. "fixed": weights stay, the plain MMD flow.
    first_step : float, optional
        First step length of the particles; it adapts. Default h^2/(m kappa) for a kernel with a
        bandwidth h (the smallest in a sum), else the squared median distance over m kappa.
    sums : FastSums, None or "auto"
        How kernel sums are computed. "auto": `FastSums(tol=1e-8)` for Gaussian kernels in 1 to 3
        dimensions above some thousand atoms, exact otherwise (also where a few points are so far
        off that the fast sums refuse).
    **options
        Passed on to `jko.flow`: save, callbacks, progress, checkpoint, every, tol, rng, throw.

    Returns
    -------
    Trajectory
        Its times count steps; `steps[k].ess` is the effective sample size,
        `steps[k].substeps[0].info["step"]` the step length of the particles.

    Raises
    ------
    InvalidArgument
        Particles and target differ in mass or dimension.
    Unsupported
        An unbounded kernel, or one without the integrals of a Gaussian target.

    References
    ----------
    Gladin et al. (2024); Arbel et al. (2019); Mroueh and Rigotti (2020).
    """
    instance(particles, Particles, "particles", "pass jko.Particles(points)")
    instance(kernel, Kernel, "kernel", "pass a kernel such as jko.kernels.Gaussian(bandwidth=1.0)")
    instance(target, Measure, "target", "pass a measure to move onto")
    one_of(weights, WEIGHTS, "weights")
    if isinstance(sums, str) and sums != "auto":
        raise InvalidArgument(
            f"sums = {sums!r} is unknown; pass 'auto', None or jko.kernels.FastSums(tol=...)"
        )
    _check_fit(particles, target)
    target = balanced(target, particles)
    kappa = kernel.maximum
    if kappa is None:
        raise Unsupported(
            f"{kernel!r} is not bounded, so no step length is safe; use a kernel such as"
            " jko.kernels.Gaussian or InverseMultiquadric"
        )
    chosen = _sums(particles, target, kernel) if isinstance(sums, str) else sums
    energy = MMDEnergy(target, kernel, sums=chosen)
    pace = 1 / (kappa * particles.mass)
    first = pace * _first_step(particles, kernel) if first_step is None else first_step
    transport = positive(first, "first_step") * Wasserstein()
    solvers: tuple[ProxSolver, ...] = (Euler(accelerate=accelerate),)
    geometry: Geometry | GeometrySum = transport
    if weights != "fixed":
        # A Euclidean step of weights is in the unit of the weights: its length knows no mass.
        safe = 1 / kappa if weights == "projected" else pace
        geometry = transport + safe * SphericalHellinger()
        solvers += (ProjectedWeights() if weights == "projected" else Multiplicative(),)
    return flow(particles, energy, geometry, tau=1.0, steps=steps, solver=solvers, **options)


def _check_fit(particles: Particles, target: Measure) -> None:
    """Refuse measures that no motion of the particles can bring together."""
    if target.dim != particles.dim:
        raise InvalidArgument(
            f"target has dimension {target.dim}, the particles {particles.dim};"
            " pass points of the same space"
        )
    if not same_mass(target, particles):
        raise InvalidArgument(
            f"target has mass {target.mass:.9g}, the particles {particles.mass:.9g}, which no step"
            " changes; give both the same mass, for instance by weights that sum to 1"
        )


def _sums(particles: Particles, target: Measure, kernel: Kernel) -> FastSums | None:
    """Fast sums where they pay and apply."""
    fast = FastSums()
    few = particles.n + getattr(target, "n", 0) <= FAST_ABOVE
    if few or fast.refusal(kernel, particles.dim) is not None:
        return None
    try:
        MMDEnergy(target, kernel, sums=fast).value(particles)
    except TooManyModes:
        return None
    return fast


def _first_step(particles: Particles, kernel: Kernel) -> float:
    from jko.kernels import median_bandwidth

    widths = [b for b in map(_bandwidth, _terms(kernel)) if b is not None]
    if widths:
        return min(widths) ** 2
    return median_bandwidth(particles.points) ** 2 if particles.n > 1 else 1.0


def _terms(kernel: Kernel) -> list[Kernel]:
    """The plain kernels inside a sum, a multiple or a product."""
    inner = getattr(kernel, "parts", None)
    return [kernel] if not inner else [t for part in inner for t in _terms(part)]


def _bandwidth(kernel: Kernel) -> float | None:
    width = getattr(kernel, "bandwidth", None)
    return float(width) if isinstance(width, (int, float)) else None
