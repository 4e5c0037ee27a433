r"""The kept history of an ensemble: what all chains saw at all kept times, in a few sums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from jko.markov.mala import Cloud, Density
from jko.markov.scale import Scale, Tuner
from jko.sampling.ensemble import sweep
from jko.sampling.modes import Modes, find_modes
from jko.validation import Array, Index

#: Moves before anything is kept; scale, step and modes learn from them and are then frozen.
WARM_UP = 60
#: Every so many moves the chains may change to another mode, where there are several.
JUMP_EVERY = 4
#: Groups of chains, by where they start, that R-hat compares.
GROUPS = 8
#: Clouds kept in full by each round of moves, for pictures and for ArviZ.
DRAWS = 10
#: Means shall be known to this many standard deviations, and these to this much of themselves;
#: until then there are up to ROUNDS rounds of kept moves.
PRECISION, ROUNDS = 0.01, 3


@dataclass
class History:
    """Sums over the kept moves of n chains; `features` (n, k) is what is summed.

    Attributes
    ----------
    start : (n, k) array
        The features when the history began.
    blocks : list of (n, k) arrays
        Sums over consecutive blocks of moves.
    counts : list of int
        Moves in each block.
    squares : (n, k) array
        Sum of the squared distances from `start`'s mean, which keeps digits.
    draws : list of (n, d) arrays
    """

    start: Array
    squares: Array
    blocks: list[Array] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    draws: list[Array] = field(default_factory=list)

    @classmethod
    def begin(cls, features: Array) -> History:
        """An empty history of chains that now have these features (n, k)."""
        return cls(features.copy(), np.zeros_like(features))

    def new_block(self) -> None:
        """What follows goes into a block of its own."""
        self.blocks.append(np.zeros_like(self.start))
        self.counts.append(0)

    def keep(self, features: Array) -> None:
        """Add the features (n, k) of one move to the current block."""
        self.blocks[-1] += features
        self.squares += (features - self.origin) ** 2
        self.counts[-1] += 1

    @cached_property
    def origin(self) -> Array:
        """Mean of the features at the start (k,)."""
        return np.asarray(self.start.mean(axis=0))

    @property
    def total(self) -> int:
        """Number of moves kept."""
        return sum(self.counts)

    @property
    def own_means(self) -> Array:
        """Mean of each chain (n, k)."""
        return np.asarray(np.sum(self.blocks, axis=0) / self.total)

    @property
    def mean(self) -> Array:
        """Mean of the features over chains and moves (k,)."""
        return np.asarray(self.own_means.mean(axis=0))

    @property
    def variance(self) -> Array:
        """Their variance (k,)."""
        second = self.squares.mean(axis=0) / self.total
        return np.maximum(np.asarray(second - (self.mean - self.origin) ** 2), 0.0)

    @property
    def mcse(self) -> Array:
        """Standard error of the mean (k,), from the scatter of the chains' own means."""
        own = self.own_means
        return np.asarray(own.std(axis=0) / np.sqrt(len(own)))

    @property
    def mcse_std(self) -> Array:
        """Relative standard error of the standard deviation (k,), likewise."""
        own = self.squares / self.total
        scatter = own.std(axis=0) / np.sqrt(len(own))
        return np.asarray(scatter / (2 * np.maximum(self.variance, 1e-300)))

    @property
    def precise(self) -> bool:
        """Whether means are known to `PRECISION` standard deviations, and these to as much."""
        spread = np.sqrt(np.maximum(self.variance, 1e-300))
        return bool((self.mcse <= PRECISION * spread).all() and (self.mcse_std <= PRECISION).all())

    def rhat(self) -> Array:
        r"""Split R-hat of groups of chains (k,): sqrt(1 + B/W).

        The chains are grouped by where they started, feature by feature, and their history is cut
        in blocks. B is the variance of the means of the GROUPS in the blocks, W the variance
        inside. Chains that forgot their start and do not drift have B near 0; those that stay in
        one mode have not.
        """
        n, count = self.start.shape[0], min(GROUPS, max(2, self.start.shape[0] // 4))
        if len(self.blocks) < 2 or min(self.counts) == 0 or n < 2 * count:
            return np.full(self.start.shape[1], np.nan)
        order = np.argsort(self.start, axis=0, kind="stable")
        means = []
        for block, moves in zip(self.blocks, self.counts, strict=True):
            ordered: Array = np.take_along_axis(block / moves, order, axis=0)
            means += [g.mean(axis=0) for g in np.array_split(ordered, count)]
        between = np.var(np.stack(means), axis=0)
        within = np.maximum(self.variance - between, 1e-300)
        return np.sqrt(1 + between / within)


@dataclass
class Chains:
    """An ensemble at the target: warm-up, then the kept history; it can be stopped anywhere."""

    target: Density
    cloud: Cloud
    features: Callable[[Array], Array]
    rng: np.random.Generator
    jumps: bool = True
    modes: Modes | None = None
    scale: Scale | None = None
    tuner: Tuner | None = None
    history: History | None = None
    acceptances: list[float] = field(default_factory=list)
    jump_acceptances: list[float] = field(default_factory=list)

    def warm_up(self) -> None:
        """Let step, scale and modes learn; afterwards they are frozen."""
        self.tuner = Tuner.fresh(self.target.dim)
        for i in range(WARM_UP):
            if i % 20 == 0:
                self._learn()
            self._move(i)
        self._learn()
        self.tuner.frozen = True
        self.acceptances.clear()
        self.jump_acceptances.clear()

    def _learn(self) -> None:
        self.modes = find_modes(self.cloud, self.rng)
        several = self.modes.count > 1
        self.scale = self.modes.within if several else Scale.of_points(self.cloud.x)

    def _move(self, i: int) -> None:
        assert self.scale is not None
        assert self.tuner is not None
        assert self.modes is not None
        move = sweep(self.target, self.cloud, self.scale, self.tuner, self.rng)
        self.cloud = move.after
        self.acceptances.append(move.acceptance)
        if self.jumps and self.modes.count > 1 and i % JUMP_EVERY == 0:
            self.cloud, accepted = self.modes.jump(self.target, self.cloud, self.rng)
            self.jump_acceptances.append(accepted)

    def keep(self, moves: int) -> None:
        """Run the frozen chains and keep their history, longer where it is not precise yet."""
        self.history = History.begin(self.features(self.cloud.x))
        for _ in range(ROUNDS):
            self._block(moves - moves // 2)
            self._block(moves // 2)
            if self.history.precise:
                return

    def _block(self, moves: int) -> None:
        assert self.history is not None
        if moves == 0:
            return
        self.history.new_block()
        pause = max(1, 2 * moves // DRAWS)
        for i in range(moves):
            self._move(i)
            self.history.keep(self.features(self.cloud.x))
            if i % pause == pause - 1:
                self.history.draws.append(self.cloud.x)

    def run(self, moves: int) -> None:
        """Warm up and keep."""
        self.warm_up()
        self.keep(moves)


def choose(n: int, available: int, rng: np.random.Generator) -> Index:
    """n of the chains, all where that is what there are."""
    if n == available:
        return np.arange(n)
    return np.sort(rng.choice(available, n, replace=False))
