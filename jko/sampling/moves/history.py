r"""The kept history of an ensemble: what all chains saw at all kept times, in a few sums."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from jko.validation import Array

#: Groups of chains, by where they start, that R-hat compares.
GROUPS = 8
#: Blocks of one round of moves; halves (for R-hat) and thirds (for the drift) are made of them.
BLOCKS = 6
#: Means shall be known to this many standard deviations, and these to this much of themselves.
PRECISION = 0.015


@dataclass
class History:
    """Sums over the kept moves of n chains; `features` (n, k) is what is summed.

    Attributes
    ----------
    start : (n, k) array
        The features when the history began.
    dim : int
        The first so many features are the coordinates.
    blocks, squares : lists of (n, k) arrays
        Sums over consecutive blocks of moves: of the features less `origin`, and of their squares,
        which keeps digits.
    counts : list of int
        Moves in each block.
    stein : (n, d) array
        Sums of (x_j - origin_j) d_j log pi.
    draws, heights : lists of (n, d) and (n,) arrays
        Positions at some of the kept times, and the log density there.
    fourth : (k,) array
        Sum of the fourth powers of the features less `origin`, and `third` of the third.
    """

    start: Array
    dim: int
    blocks: list[Array] = field(default_factory=list)
    squares: list[Array] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    draws: list[Array] = field(default_factory=list)
    heights: list[Array] = field(default_factory=list)
    stein: Array = field(init=False)
    third: Array = field(init=False)
    fourth: Array = field(init=False)

    def __post_init__(self) -> None:
        self.stein = np.zeros((len(self.start), self.dim))
        self.third = np.zeros(self.start.shape[1])
        self.fourth = np.zeros(self.start.shape[1])

    @classmethod
    def begin(cls, features: Array, dim: int | None = None) -> History:
        """An empty history of chains that now have these features (n, k)."""
        return cls(features.copy(), features.shape[1] if dim is None else dim)

    def new_block(self) -> None:
        """What follows goes into a block of its own."""
        self.blocks.append(np.zeros_like(self.start))
        self.squares.append(np.zeros_like(self.start))
        self.counts.append(0)

    def keep(self, features: Array, score: Array | None = None) -> None:
        """Add the features (n, k) of one move to the current block, and its Stein products."""
        off = features - self.origin
        self.blocks[-1] += off
        square = off**2
        self.squares[-1] += square
        self.third += (square * off).mean(axis=0)
        self.fourth += (square**2).mean(axis=0)
        self.counts[-1] += 1
        if score is not None:
            self.stein += off[:, : self.dim] * score

    @cached_property
    def origin(self) -> Array:
        """Mean of the features at the start (k,)."""
        return np.asarray(self.start.mean(axis=0))

    @property
    def total(self) -> int:
        """Number of moves kept."""
        return sum(self.counts)

    def part(self, index: int, parts: int) -> tuple[Array, Array]:
        """Means of features and squares (n, k) less origin over one of some parts of the blocks."""
        ends = np.linspace(0, len(self.blocks), parts + 1).round().astype(int)
        chosen = slice(ends[index], ends[index + 1])
        moves = max(1, sum(self.counts[chosen]))
        zero = np.zeros_like(self.start)
        return (
            np.asarray(sum(self.blocks[chosen], zero) / moves),
            np.asarray(sum(self.squares[chosen], zero) / moves),
        )

    @property
    def own_means(self) -> Array:
        """Mean of each chain (n, k)."""
        return np.asarray(self.origin + self.part(0, 1)[0])

    @property
    def mean(self) -> Array:
        """Mean of the features over chains and moves (k,)."""
        return np.asarray(self.origin + self.part(0, 1)[0].mean(axis=0))

    @property
    def variance(self) -> Array:
        """Their variance (k,)."""
        first, second = self.part(0, 1)
        return np.asarray(
            np.maximum(np.asarray(second.mean(axis=0) - first.mean(axis=0) ** 2), 0.0)
        )

    @property
    def mcse(self) -> Array:
        """Standard error of the mean (k,), from the scatter of the chains' own means."""
        own = self.own_means
        return np.asarray(own.std(axis=0) / np.sqrt(len(own)))

    @property
    def own_squares(self) -> Array:
        """Mean over each chain of (f - mean f)^2 (n, k)."""
        first, second = self.part(0, 1)
        shift = first.mean(axis=0)
        return np.asarray(second - 2 * shift * first + shift**2)

    @property
    def mcse_std(self) -> Array:
        """Relative standard error of the standard deviation (k,), likewise."""
        own = self.own_squares
        scatter = own.std(axis=0) / np.sqrt(len(own))
        return np.asarray(scatter / (2 * np.maximum(self.variance, 1e-300)))

    @property
    def chain_ess(self) -> Array:
        """Effective size of one chain (k,) for the mean of each feature: variance over scatter."""
        scatter = np.maximum(self.own_means.var(axis=0), 1e-300)
        return np.asarray(np.where(self.variance > 0, self.variance / scatter, np.inf))

    @property
    def variance_of_squares(self) -> Array:
        """Variance (k,) of (f - mean f)^2 over chains and moves."""
        first, second = self.part(0, 1)
        m, v = first.mean(axis=0), second.mean(axis=0)
        third, fourth = self.third / self.total, self.fourth / self.total
        central = fourth - 4 * m * third + 6 * m**2 * v - 3 * m**4
        return np.asarray(np.maximum(np.asarray(central - self.variance**2), 0.0))

    @property
    def sizes(self) -> Array:
        """Effective size of one chain (k,) for each feature, the least of mean and square."""
        spread = np.maximum(self.own_squares.var(axis=0), 1e-300)
        second = np.where(self.variance > 0, self.variance_of_squares / spread, np.inf)
        return np.where(self.moving, np.minimum(self.chain_ess, second), np.inf)

    @property
    def slowest(self) -> float:
        """Least of `sizes`, without the last feature, the log density."""
        return float(self.sizes[:-1].min(initial=np.inf))

    @property
    def moving(self) -> Array:
        """Which features (k,) are more than rounding: the others pass every check."""
        size = np.abs(self.mean) + np.sqrt(self.variance)
        return np.asarray(np.sqrt(self.variance) > 1e-12 * (1e-300 + size))

    @property
    def precise(self) -> bool:
        """Whether means are known to `PRECISION` standard deviations, and these to as much."""
        spread = np.sqrt(np.maximum(self.variance, 1e-300))
        return bool((self.mcse <= PRECISION * spread).all() and (self.mcse_std <= PRECISION).all())

    def rhat(self) -> Array:
        r"""Split R-hat of groups of chains (k,): sqrt(1 + B/W).

        The chains are grouped by where they started, feature by feature, and their history is cut
        in halves. B is the variance of the means of the GROUPS in the halves, W the variance
        inside. Chains that forgot their start and do not drift have B near 0; those that stay in
        one mode have not.
        """
        n, count = self.start.shape[0], min(GROUPS, max(2, self.start.shape[0] // 4))
        if len(self.blocks) < 2 or min(self.counts) == 0 or n < 2 * count:
            return np.full(self.start.shape[1], np.nan)
        order = np.argsort(self.start, axis=0, kind="stable")
        means = []
        for half in range(2):
            ordered: Array = np.take_along_axis(self.part(half, 2)[0], order, axis=0)
            means += [g.mean(axis=0) for g in np.array_split(ordered, count)]
        between = np.var(np.stack(means), axis=0)
        within = np.maximum(self.variance - between, 1e-300)
        return np.asarray(np.sqrt(1 + between / within))

    def stein_z(self) -> Array:
        r"""z (d,) of E[(x_j - c_j) d_j log pi] = -1, from the scatter of the chains' own means.

        It holds for any constant c where the density has no edges (formula L1: pi is stationary
        for Langevin); a sample that misses a neck, where gradients are long, violates it though
        its chains agree with each other.
        """
        own = self.stein / max(1, self.total) + 1.0
        return _z(own)

    def drift_z(self) -> Array:
        """z (2 k,) of the last third against the first: of the features, then of their squares."""
        first, last = self.part(0, 3), self.part(2, 3)
        shift = self.part(0, 1)[0].mean(axis=0)
        change = last[0] - first[0]
        squares = last[1] - first[1] - 2 * shift * change
        return np.concatenate([_z(change), _z(squares)])


def _z(own: Array) -> Array:
    """Mean over chains (n, k) in its standard errors; 0 where nothing varies."""
    error = own.std(axis=0) / np.sqrt(len(own))
    mean = own.mean(axis=0)
    small = 1e-9 * np.maximum(1.0, np.abs(own).max(axis=0, initial=0.0))
    return np.asarray(
        np.divide(mean, error, out=np.zeros_like(mean), where=error > small / len(own))
    )
