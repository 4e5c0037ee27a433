"""Kernelised Wasserstein steps: velocities smoothed by a kernel; for KL this is SVGD."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from jko.energies.base import Energy
from jko.energies.divergence import KL, score_of
from jko.energies.recorded import recorded
from jko.energies.rounding import mean_size, position_rounding
from jko.errors import InvalidArgument, InvalidMeasure
from jko.geometries.wasserstein import Wasserstein
from jko.kernels import Gaussian, Kernel, median_bandwidth
from jko.measures.atoms import Particles
from jko.measures.base import Measure
from jko.measures.target import DENSITIES
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Certificate, Claim, Controls, Neighbour, of_kind
from jko.solvers.base import ProxSolver
from jko.solvers.particles.stated import lost
from jko.validation import Array, instance

#: Share of the newest squared velocity in the running mean of an adaptive step.
NEWEST = 0.1
#: Share of the largest usual velocity below which a smaller one no longer lengthens the step.
SLOWEST = 1e-6


@dataclass(frozen=True)
class Kernelised(ProxSolver):
    r"""Explicit steps of the kernelised Wasserstein flow, x_i <- x_i - s (K_mu grad f)(x_i).

    **This is a step of another geometry**, in which velocities live in the Hilbert space of
    `kernel`: (K_mu g)(x) = int k(x, y) g(y) dmu(y). It takes the place of a step in
    `jko.Wasserstein()` when asked for by name. For `jko.KL(target)` with a density as the target it
    is Stein variational gradient descent: integration by parts leaves no density of mu in

        int k(x, .) grad log(mu/pi) dmu  =  - int k(x, .) grad log pi + grad_y k(x, .) dmu.

    A baseline: its particles spread less than the target, the more so in many dimensions, and do
    not see the weights of far-apart modes.

    Parameters
    ----------
    kernel : Kernel, optional
        A function of x - y, for KL. None: in every step the Gaussian one of the particles' median
        distance M, 2 h^2 = M^2 / log(n + 1).
    adaptive : bool, default False
        Divide each coordinate of each velocity by the root of the running mean of its square, so
        that a step is about s long in every coordinate: no geometry any more, but what makes SVGD
        practical.

    Notes
    -----
    s = `tau` times the rate of the geometry, fixed. The step solves its linearised problem exactly;
    the residual is sqrt(sum w |x - x' + s K_mu grad f(x')|^2), relative to sqrt(sum w |x - x'|^2) +
    s sqrt(sum w |K_mu grad f(x')|^2), the velocity computed anew. It says nothing about F, which
    need not fall when s is large. KL of atoms to a density is infinite: the energy on record is
    then the cross-entropy -int log pi dmu.

    References
    ----------
    Liu and Wang (2016), Stein variational gradient descent.
    """

    kernel: Kernel | None = None
    adaptive: bool = False

    claim: ClassVar[Claim] = Claim.FOLLOWS
    guarantee: ClassVar[str] = (
        "an explicit step of the kernelised Wasserstein geometry; nothing about the energy, no gap"
    )
    default_tol: ClassVar[float] = 1e-9

    def __post_init__(self) -> None:
        remedy = "pass a kernel such as jko.kernels.Gaussian(bandwidth=1.0)"
        if self.kernel is not None:
            instance(self.kernel, Kernel, "kernel", remedy)
        instance(self.adaptive, bool, "adaptive", "pass True or False")

    def against(self, scheme: str) -> str | None:
        if self.adaptive:
            return "Kernelised(adaptive=True) steps by what it has seen, not by tau alone"
        if scheme == "midpoint":
            return "an explicit step twice as long as half of one is the whole step, no midpoint"
        return None

    def accepts(self, problem: ProxProblem) -> str | None:
        if not isinstance(problem.geometry, Wasserstein):
            return f"it takes the place of steps in jko.Wasserstein(), not in {problem.geometry!r}"
        if not isinstance(problem.previous, Particles):
            return f"it moves jko.Particles, not a {type(problem.previous).__name__}"
        fits = self.kernel is None or self.kernel.stationary
        if not fits and any(map(_stein, problem.energy.terms)):
            return f"for KL it needs a kernel that is a function of x - y, not {self.kernel!r}"
        return None

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        previous = problem.previous
        assert isinstance(previous, Particles)
        kernel = median_kernel(previous) if self.kernel is None else self.kernel
        stated = KernelisedStep(problem, kernel, self.adaptive, _square(controls.warm, previous))
        velocity = stated.velocity()
        try:
            with np.errstate(over="ignore"):
                points = previous.points + problem.step * stated.direction(velocity)
            nu = previous.with_points(points)
            energy = recorded(problem.energy, nu)
        except InvalidMeasure as trouble:
            raise lost(trouble) from None
        cost = float(previous.weights @ ((nu.points - previous.points) ** 2).sum(axis=1))
        return Answer(
            nu,
            stated,
            iterations=1,
            objective=energy,
            energy=energy,
            sqdistance=cost / problem.geometry.rate,
            warm={"square": stated.mean_square(velocity)} if self.adaptive else None,
            info={"step": problem.step, "speed": float(np.sqrt(cost)) / problem.step},
        )


def median_kernel(mu: Particles) -> Gaussian:
    """The Gaussian kernel with 2 h^2 = M^2 / log(n + 1), M the median distance of the particles."""
    try:
        median = median_bandwidth(mu.points, max_points=1000)
    except InvalidArgument:
        return Gaussian(1.0)  # one point, if repeatedly: no distance, and no force either
    return Gaussian(median / float(np.sqrt(2 * np.log(mu.n + 1.0))))


def _stein(pair: tuple[float, Energy]) -> bool:
    """Whether a term of an energy is KL to a density, known through its score."""
    return isinstance(pair[1], KL) and isinstance(pair[1].target, DENSITIES)


def _square(warm: object, mu: Particles) -> Array | None:
    """The running mean of squared velocities of the last step; anything unusable is ignored."""
    square = warm.get("square") if isinstance(warm, dict) else None
    if not isinstance(square, np.ndarray) or square.shape != mu.points.shape:
        return None
    return square if (square >= 0).all() else None


@dataclass(frozen=True, eq=False)
class KernelisedStep(Neighbour):
    """What the step solves: the linearised energy plus half the squared norm of the velocity."""

    claim: ClassVar[Claim] = Claim.FOLLOWS

    problem: ProxProblem
    kernel: Kernel
    adaptive: bool = False
    square: Array | None = None

    def mean_square(self, velocity: Array) -> Array:
        """The running mean (n, d) of squared velocities, with this step's."""
        new = velocity**2
        return new if self.square is None else (1 - NEWEST) * self.square + NEWEST * new

    def direction(self, velocity: Array) -> Array:
        """The velocity (n, d), divided by its usual size where the step is adaptive."""
        if not self.adaptive:
            return velocity
        usual = np.sqrt(self.mean_square(velocity))
        floor = SLOWEST * float(usual.max())
        return velocity / (floor + usual) if floor > 0 else velocity

    def velocity(self) -> Array:
        """-K_mu grad f at the particles (n, d)."""
        mu = self.problem.previous
        assert isinstance(mu, Particles)
        x, w = mu.points, mu.weights
        out = np.zeros_like(x)
        for c, term in self.problem.energy.terms:
            if isinstance(term, KL) and isinstance(term.target, DENSITIES):
                score = score_of(term.target)(x)
                # grad_y k(x, y) = -grad_x k(x, y): the particles push each other apart.
                out += c * (
                    self.kernel.apply(x, x, w[:, None] * score)
                    - self.kernel.gradient_apply(x, x, w)
                )
            else:
                slope = term.wasserstein_gradient(mu)
                out -= c * self.kernel.apply(x, x, w[:, None] * slope)
        return out

    def objective(self, nu: Measure) -> float:
        """The energy on record."""
        return recorded(self.problem.energy, nu)

    def certificate(self, answer: Answer) -> Certificate:
        """No gap; the residual of the step's equation."""
        mu = self.problem.previous
        assert isinstance(mu, Particles)
        moved = of_kind(answer.measure, Particles).points - mu.points
        way = self.problem.step * self.direction(self.velocity())
        size = mean_size(mu.weights, moved - way)
        if size <= position_rounding(mu):
            return Certificate(None, 0.0)
        terms = mean_size(mu.weights, moved) + mean_size(mu.weights, way)
        return Certificate(None, size / terms)
