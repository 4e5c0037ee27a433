"""Spherical Hellinger steps: a scalar root around the fixed-mass Hellinger step (formula H3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from jko.geometries.base import Geometry
from jko.geometries.hellinger import SphericalHellinger
from jko.measures.base import Discrete, Measure
from jko.numerics.elementary import EPS
from jko.prox.duality.mass import MassSearch
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Controls
from jko.solvers.base import ProxSolver
from jko.solvers.hellinger.atoms import Atoms, atoms_of, scatter
from jko.solvers.hellinger.closed_form import closed_response, refuse_nonseparable
from jko.solvers.hellinger.dual_root import RootResponse
from jko.solvers.hellinger.multiplier import fixed_weights, multiplier_at
from jko.validation import Array


@dataclass(frozen=True)
class SphericalFixedPoint(ProxSolver):
    r"""Steps of separable energies in the arccos metric on measures of one mass.

    With h = SHe/2 the step is the fixed-mass Hellinger step of length tau' = tau sinc(h), h taken
    at the answer: a scalar equation h = T(h).

    Notes
    -----
    Formula H3. T(h), half the angle moved by the Hellinger step of length tau sinc(h), does not
    increase with h: sinc decreases on [0, pi/2], and a proximal step moves less when it is
    shorter. So h - T(h) increases strictly from -T(0) <= 0 to pi/2 - T(pi/2) >= 0 and has exactly
    one root, for every tau. As arccos^2 is convex and decreasing in the affinity sum sqrt(w m'),
    which is concave in w, the step is convex and this stationary point is its minimiser.

    References
    ----------
    Laschos and Mielke (2019) for the geometry.
    """

    geometries: ClassVar[tuple[type[Geometry], ...]] = (SphericalHellinger,)
    kinds: ClassVar[tuple[type[Measure], ...]] = (Discrete,)
    guarantee: ClassVar[str] = "exact: a scalar root around the fixed-mass Hellinger step"
    default_tol: ClassVar[float] = 1e-9

    def accepts(self, problem: ProxProblem) -> str | None:
        if not isinstance(problem.geometry, SphericalHellinger):
            return "SphericalFixedPoint takes spherical Hellinger steps"
        return refuse_nonseparable(problem, "SphericalFixedPoint")

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        atoms, index = atoms_of(problem)
        previous = problem.discrete
        guess = controls.warm if isinstance(controls.warm, float) else None
        inner = _Inner(atoms, previous.weights, previous.mass, guess)
        limit = controls.max_iter or 100
        half, rounds = half_angle_root(
            lambda h: (
                SphericalHellinger.angle(
                    scatter(inner.step(h), index, previous.n), previous.weights
                )
                / 2
            ),
            limit,
        )
        return Answer(
            previous.with_weights(scatter(inner.weights, index, previous.n)),
            problem,
            inner.evaluations,
            exhausted=rounds >= limit,
            dual=inner.multiplier,
            warm=inner.multiplier,
            info={"multiplier": inner.multiplier, "half_angle": half, "rounds": rounds},
        )


class _Inner:
    """Fixed-mass Hellinger steps of length tau sinc(h), each started from the last one."""

    def __init__(
        self, atoms: Atoms, previous: Array, mass: float, multiplier: float | None
    ) -> None:
        self.atoms, self.mass, self.multiplier = atoms, mass, multiplier
        self.weights = previous
        self.start: Array | None = None
        self.evaluations = 0
        self._seen: list[tuple[float, float]] = []  # half angles and multipliers

    def step(self, half: float) -> Array:
        """Weights of the step (open atoms only) for the half angle `half`."""
        shorter = self.atoms.step * float(np.sinc(half / np.pi))
        atoms = Atoms(self.atoms.separable, self.atoms.previous, shorter)
        respond = closed_response(atoms)
        if respond is None:
            respond = roots = RootResponse(atoms, self.start)
        balance = fixed_weights(atoms, respond, self.mass, self._predicted(half))
        if isinstance(respond, RootResponse):
            self.start = roots.z
        self.multiplier = multiplier_at(atoms, balance.x)
        self._seen = [*self._seen[-1:], (half, self.multiplier)]
        self.weights = balance.weights
        self.evaluations += balance.iterations
        return self.weights

    def _predicted(self, half: float) -> float | None:
        """The multiplier on the line through the last two."""
        if len(self._seen) < 2:
            return self.multiplier
        (before, first), (last, second) = self._seen
        apart = last - before
        return second + (half - last) * (second - first) / apart if apart else second


def half_angle_root(
    moved: Callable[[float], float], limit: int, tol: float = 0.0
) -> tuple[float, int]:
    """The root of h = moved(h) on [0, pi/2] for a non-increasing `moved`, and the evaluations used.

    A secant on h - moved(h) inside its bracket, bisected when it stalls; `moved` is evaluated last
    at the returned h. The objective is stationary in the answer: an error e in h costs O(e^2).
    """
    search, h, count = MassSearch(0.0, 0.0, np.pi / 2), 0.0, 0
    before: tuple[float, float] | None = None
    while count < limit:
        h, count = search.x, count + 1
        excess = h - moved(h)
        if abs(excess) <= max(tol, 64 * EPS * max(h, 1e-8)) or search.hi - search.lo <= 4 * EPS:
            break
        # The slope of h - moved(h) is at least 1: the plain fixed point never overshoots twice.
        slope = 1.0 if before is None else (excess - before[1]) / (h - before[0])
        before = (h, excess)
        if not search.advance(excess < 0, -excess / max(slope, 1.0)):
            break
    return h, count
