"""Explicit Wasserstein steps of particles: gradient descent with the true velocity -grad f."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from jko.energies.base import Energy
from jko.energies.checked import check_moving
from jko.errors import InvalidArgument, InvalidMeasure
from jko.geometries.wasserstein import Wasserstein
from jko.measures.atoms import Particles
from jko.measures.base import Measure
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Certificate, Claim, Controls, Stated, of_kind
from jko.solvers.base import ProxSolver
from jko.solvers.particles.stated import HALVINGS, Search, Trial, answer, lost
from jko.validation import Array, Mask, positive, real, switch

#: A step length may grow to this many times the first one.
MOST_GROWTH = 1e8
#: Shortest lengths at whose distance a kink is looked for.
BESIDE = 8.0


@dataclass(frozen=True)
class Euler(ProxSolver):
    r"""Move particles by x_i <- x_i - s grad f(x_i), the explicit Wasserstein step.

    The velocity is -grad f, without a factor of the weight: a light particle moves as fast as a
    heavy one (the conventions). It is no proximal step and is never chosen by
    "auto".

    Parameters
    ----------
    armijo : bool, default True
        True: `tau` (times the rate of the geometry) is the first step length s only. It halves
        until F(mu_+) <= F(mu) - c s int |grad f|^2 dmu, and the next step begins with `grow` times
        the length that served. False: s is that length always, whatever F does.
    accelerate : bool, default False
        Nesterov's momentum with a restart: the step starts from x_k + j/(j+3) (x_k - x_{k-1}),
        j the number of steps since the last restart. Where F would rise above F(mu) the momentum
        is dropped and a plain Armijo step taken instead, so that F never rises.
    noise : float, default 0
        Noise injection for the MMD flow (needs `armijo=False`): the velocity is -grad f at
        x_i + b_j xi_i with xi_i standard normal, f the field of the particles where they are.
        It lets particles leave the flat regions of f; F need not fall.
    noise_decay : float, default 0.5
        b_j = noise / j^noise_decay in the j-th step.
    sufficient, grow : float, defaults 0.5 and 1.1
        The constant c of the sufficient decrease, in (0, 1), and the growth of the step length.

    Notes
    -----
    With `armijo=True` the certificate is the decrease: no gap, and the residual is the missing part
    of what was promised, 0 for a step that kept it; `info` has "step" (the length s), "promised",
    "decrease", "slope" (root of int |grad f|^2 dmu) and "evaluations". Times of a flow then count
    steps of `tau`, not the lengths taken. An accelerated step promises its decrease below the
    point it starts from, extrapolated or not, and never ends above F(mu).

    With `armijo=False` the step solves the linearised problem exactly,

        min over x of  F(mu) + sum w_i <grad f(x'_i), x_i - x'_i> + sum w_i |x_i - x'_i|^2 / (2 s),

    whose gap is sum w_i |x_i - x'_i + s grad f(x'_i)|^2 / (2 s), nil up to rounding. That says
    nothing about F: `info["decrease"]` does.

    References
    ----------
    Arbel et al. (2019), maximum mean discrepancy gradient flow (noise injection).
    """

    armijo: bool = True
    accelerate: bool = False
    noise: float = 0.0
    noise_decay: float = 0.5
    sufficient: float = 0.5
    grow: float = 1.1

    claim: ClassVar[Claim] = Claim.DECREASES
    guarantee: ClassVar[str] = "an explicit step: sufficient decrease of the energy, no gap"
    default_tol: ClassVar[float] = 1e-9

    def __post_init__(self) -> None:
        for name in ("armijo", "accelerate"):
            switch(getattr(self, name), name)
        if not 0 < positive(self.sufficient, "sufficient") < 1:
            raise InvalidArgument(f"sufficient = {self.sufficient:g} must lie in (0, 1)")
        if positive(self.grow, "grow") < 1:
            raise InvalidArgument(f"grow = {self.grow:g} must be at least 1")
        for name in ("noise", "noise_decay"):
            if real(getattr(self, name), name) < 0:
                raise InvalidArgument(f"{name} = {getattr(self, name):g} must not be negative")
        if self.armijo and self.noise > 0:
            raise InvalidArgument(
                f"noise = {self.noise:g} lets the energy rise, which armijo=True forbids;"
                " pass armijo=False with it"
            )
        if self.accelerate and not self.armijo:
            raise InvalidArgument("accelerate=True needs armijo=True, which chooses step lengths")

    def against(self, scheme: str) -> str | None:
        if self.armijo:
            return "Euler(armijo=True) chooses its step lengths by the energy, not by tau"
        if scheme == "midpoint":
            return "an explicit step twice as long as half of one is the whole step, no midpoint"
        return "Euler(noise=...) is random" if self.noise > 0 else None

    def accepts(self, problem: ProxProblem) -> str | None:
        if not isinstance(problem.geometry, Wasserstein):
            return f"it steps in jko.Wasserstein(), not in {problem.geometry!r}"
        if not isinstance(problem.previous, Particles):
            return f"it moves jko.Particles, not a {type(problem.previous).__name__}"
        return None

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        if not self.armijo:
            return self._fixed_length(problem, controls)
        previous = problem.previous
        assert isinstance(previous, Particles)
        check_moving(problem.energy, previous)
        state = _State.of(controls.warm, previous, problem.step)
        before = problem.energy.value(previous)
        limit = controls.max_iter or HALVINGS
        base = state.ahead(previous) if self.accelerate else previous
        search, slope = self._search(problem, base, before if base is previous else None)
        found = search.run(state.length, limit)
        restarted = base is not previous and (found.stalled or not found.trial.value <= before)
        if restarted:
            search, slope = self._search(problem, previous, before)
            found = search.run(state.length, limit)
        if found.stalled and not found.at_rest:
            held = self._at_kinks(problem.energy, previous, found.shortest)
            if held.any():  # the others go on
                search, slope = self._search(problem, previous, before, held)
                found = search.run(state.length, limit)
        reached = found.trial.measure
        cost = _square(previous.weights, reached.points - previous.points)
        taken = answer(problem, search, found)
        return replace(
            taken,
            sqdistance=cost / problem.geometry.rate,
            warm=self._next(state, found.trial, previous, restarted, problem.step),
            info={**taken.info, "slope": slope, "restarted": restarted, "before": before},
        )

    def _search(
        self, problem: ProxProblem, base: Particles, before: float | None, held: Mask | None = None
    ) -> tuple[Search, float]:
        """The line search from `base`, and the slope there; particles `held` (n,) stay."""
        energy = problem.energy
        slope = energy.wasserstein_gradient(base)
        if held is not None:
            slope = np.where(held[:, None], 0.0, slope)
        square = _square(base.weights, slope)

        def propose(length: float) -> tuple[Particles, float]:
            with np.errstate(over="ignore"):
                points = base.points - length * slope
            if not np.isfinite(points).all():
                return base, np.inf  # no such step can be taken: the search halves it
            return base.with_points(points), self.sufficient * length * square

        value = energy.value(base) if before is None else before
        return Search(energy, base, value, propose), float(np.sqrt(square))

    @staticmethod
    def _at_kinks(energy: Energy, mu: Particles, length: float) -> Mask:
        """Particles (n,) that the shortest of steps carries to where it is uphill (n,).

        There the energy has a kink, of which the particle sits in the bottom. A wrong gradient is
        the same before and behind.
        """
        here = energy.wasserstein_gradient(mu)
        there = energy.wasserstein_gradient(mu.with_points(mu.points - BESIDE * length * here))
        return np.asarray(np.einsum("ij,ij->i", here, there) < 0)

    def _next(
        self, state: _State, found: Trial, previous: Particles, restarted: bool, first: float
    ) -> dict[str, object]:
        """What the next step starts from: plain numbers and arrays, for checkpoints."""
        length = found.length or state.length
        warm: dict[str, object] = {"length": min(self.grow * length, MOST_GROWTH * first)}
        if self.accelerate:
            warm["count"] = 1 if restarted else state.count + 1
            warm["move"] = found.measure.points - previous.points
        return warm

    def _fixed_length(self, problem: ProxProblem, controls: Controls) -> Answer:
        previous, energy, length = problem.previous, problem.energy, problem.step
        assert isinstance(previous, Particles)
        check_moving(energy, previous)
        count = _count(controls.warm) + 1
        slope = self._field(problem, previous, count, controls.rng)
        before = energy.value(previous)
        try:
            with np.errstate(over="ignore"):
                nu = previous.with_points(previous.points - length * slope)
            after = energy.value(nu)
        except InvalidMeasure as trouble:
            raise lost(trouble) from None
        stated = Linearised(previous, before, slope, length)
        cost = _square(previous.weights, nu.points - previous.points)
        return Answer(
            nu,
            stated,
            iterations=1,
            sqdistance=cost / problem.geometry.rate,
            energy=after,
            baseline=before,
            warm={"count": count},
            info={"step": length, "decrease": before - after, "slope": stated.slope},
        )

    def _field(
        self, problem: ProxProblem, mu: Particles, count: int, rng: np.random.Generator
    ) -> Array:
        """grad f at the particles, or at noisy copies of them in the field of the particles."""
        if self.noise == 0:
            return problem.energy.wasserstein_gradient(mu)
        size = self.noise * count**-self.noise_decay
        noisy = mu.points + size * rng.standard_normal(mu.points.shape)
        # Copies of weight zero feel the field and exert none.
        both = Particles(
            np.concatenate([mu.points, noisy]), np.concatenate([mu.weights, np.zeros(mu.n)])
        )
        return problem.energy.wasserstein_gradient(both)[mu.n :]


@dataclass(frozen=True, eq=False)
class Linearised(Stated):
    """F(mu') + <grad f, x - x'>_w + |x - x'|_w^2 / (2 s): what an Euler step minimises exactly."""

    claim: ClassVar[Claim] = Claim.FOLLOWS

    previous: Particles
    before: float
    gradient: Array
    length: float

    @property
    def slope(self) -> float:
        """Root of int |grad f|^2 dmu'."""
        return float(np.sqrt(_square(self.previous.weights, self.gradient)))

    def objective(self, nu: Measure) -> float:
        """The linearised objective."""
        moved = of_kind(nu, Particles).points - self.previous.points
        inner = ((self.gradient + moved / (2 * self.length)) * moved).sum(axis=1)
        return self.before + float(self.previous.weights @ inner)

    def certificate(self, answer: Answer) -> Certificate:
        """The gap of the quadratic problem, exact."""
        moved = of_kind(answer.measure, Particles).points - self.previous.points
        off = moved + self.length * self.gradient
        gap = _square(self.previous.weights, off) / (2 * self.length)
        return Certificate(gap, float(np.sqrt(2 * self.length * gap)))


@dataclass(frozen=True, eq=False)
class _State:
    """Step length and momentum of the last step, or a fresh start."""

    length: float
    count: int = 0
    move: Array | None = None

    @classmethod
    def of(cls, warm: object, previous: Particles, first: float) -> _State:
        """Read `warm`; anything unusable is ignored."""
        fresh = cls(first)
        if not isinstance(warm, dict) or not isinstance(warm.get("length"), float):
            return fresh
        length, move = warm["length"], warm.get("move")
        if not (np.isfinite(length) and length > 0):
            return fresh
        if not isinstance(move, np.ndarray) or move.shape != previous.points.shape:
            return replace(fresh, length=length)
        if not np.isfinite(move).all():
            return replace(fresh, length=length)
        return cls(length, _count(warm), move)

    def ahead(self, previous: Particles) -> Particles:
        """Where the momentum carries the particles."""
        if self.move is None or self.count == 0:
            return previous
        return previous.with_points(previous.points + self.count / (self.count + 3) * self.move)


def _count(warm: object) -> int:
    value = warm.get("count") if isinstance(warm, dict) else None
    return value if isinstance(value, int) and value >= 0 else 0


def _square(weights: Array, v: Array) -> float:
    """int |v|^2 dmu of a field (n, d); einsum, since NumPy's sums are slow along short rows."""
    return float(weights @ np.einsum("ij,ij->i", v, v))
