r"""Chains at the target: a warm-up that learns scale, step and kind of move, then the history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from jko.markov.hamiltonian import Frames
from jko.markov.independent import independent_move
from jko.markov.mala import Cloud, Density
from jko.markov.scale import Preconditioner, Tuner
from jko.sampling.moves.ensemble import sweep
from jko.sampling.moves.history import BLOCKS, History
from jko.sampling.moves.modes import Modes, find_modes
from jko.validation import Array, Index

#: Gradients of the warm-up in which scale and step learn, with moves of one leapfrog step.
WARM_UP = 60
#: Learning the scale anew after so many moves.
LEARN_EVERY = 20
#: Leapfrog steps of the longer moves that are tried; moves of each kind to tune and to measure.
LONG = 4
TUNED = 6
MEASURED = 4
#: Longer moves must be better by this factor: the measure is rough.
BETTER = 1.1
#: Every so many moves the chains may change to another mode, where there are several.
JUMP_EVERY = 4
#: Clouds kept in full by each round of moves, for pictures and for ArviZ.
DRAWS = 20
#: Until the history is precise there are up to so many rounds of kept moves.
ROUNDS = 6
#: Chains slower than this, in effective draws of one chain, have begun too near to each other to
#: count from their beginning: their first rounds are warm-up too. Bananas came out 10 % too narrow.
SLOW = 5.0
FIRST_ROUNDS = 2
#: Factors of the step, in turn, of slow chains: where the density bends or narrows they are stuck
#: with the one step that is right on average.
VARIED = (1.0, 0.4, 1.0, 0.15)
#: Share of the whole movement that a chain must do in one move at least to be measured.
LEAST = 1e-6


@dataclass
class Chains:
    """An ensemble at the target: warm-up, then the kept history; it can be stopped anywhere.

    `features` gives (n, k) from points; the log density is kept as one more feature. `searched`
    says that some points come from a search: in heavy tails what it found far out has no way back
    by local moves, and gets others in the warm-up.
    """

    target: Density
    cloud: Cloud
    features: Callable[[Array], Array]
    rng: np.random.Generator
    jumps: bool = True
    searched: bool = False
    modes: Modes | None = None
    frames: Frames | None = None
    pooled: Frames | None = None
    tuner: Tuner | None = None
    steps: int = 1
    varied: bool = False
    history: History | None = None
    acceptances: list[float] = field(default_factory=list)
    jump_acceptances: list[float] = field(default_factory=list)
    efficiency: dict[int, float] = field(default_factory=dict)
    outside: int = 0
    proposed: int = 0

    def warm_up(self) -> None:
        """Let step, scale, modes and kind of move learn; afterwards they are frozen."""
        self.tuner = Tuner.fresh(self.target.dim)
        # Where there are several modes these moves would empty a small one.
        lost = self.searched and (self.modes is None or self.modes.count < 2)
        for i in range(WARM_UP):
            if i % LEARN_EVERY == 0:
                if lost:
                    self.cloud = independent_move(self.target, self.cloud, self.rng)
                self._learn()
            self._move(i)
        self._learn()
        self._choose_length()
        self.tuner.frozen = True
        self.acceptances.clear()
        self.jump_acceptances.clear()
        self.outside = self.proposed = 0

    def _learn(self) -> None:
        self.modes = find_modes(self.cloud, self.rng, self.modes)
        several = self.modes.count > 1
        scale = self.modes.within if several else Preconditioner.of_points(self.cloud.x)
        self.pooled = Frames(scale.root[None])
        self.frames = Frames(self.modes.roots, self.modes.labels) if several else self.pooled

    def _choose_length(self) -> None:
        """Short moves or longer ones: whichever forgets more of the ensemble per gradient."""
        assert self.tuner is not None
        tuners = {1: self.tuner, LONG: Tuner.hamiltonian(self.target.dim, LONG)}
        for steps, tuner in tuners.items():
            self.tuner, self.steps = tuner, steps
            for i in range(TUNED if steps > 1 else 0):
                self._move(i)
            kept, apart = [self._probe()], LONG // steps
            for i in range(MEASURED + apart - 1):
                self._move(i)
                kept.append(self._probe())
            self.efficiency[steps] = forgetting(np.stack(kept), apart) / LONG
        # Moves that take long to forget show it badly in one move: there longer ones go straight
        # on where short ones wander. On a mild banana they give three times the effective size.
        needed = BETTER if self.efficiency[1] > 0.05 else 0.6
        longer = self.efficiency[LONG] > needed * self.efficiency[1]
        self.steps = LONG if longer else 1
        self.tuner = tuners[self.steps]

    def _probe(self) -> Array:
        return np.column_stack([self.features(self.cloud.x), self.cloud.log_p])

    def _move(self, i: int) -> None:
        assert self.frames is not None
        assert self.pooled is not None
        assert self.tuner is not None
        assert self.modes is not None
        # In turn with moves that stay in their mode go moves in one scale, which may leave it.
        frames, tuner = self.frames, self.tuner
        if self.varied:
            tuner = replace(tuner, h=tuner.h * VARIED[i % len(VARIED)])
        if self.pooled is not self.frames and i % JUMP_EVERY == 1:
            frames, tuner = self.pooled, replace(self.tuner, frozen=True)
        move = sweep(self.target, self.cloud, frames, tuner, self.rng, steps=self.steps)
        self.cloud = move.after
        self.acceptances.append(move.acceptance)
        self.outside += int(np.isneginf(move.proposed.log_p).sum())
        self.proposed += len(move.proposed.log_p)
        if self.jumps and self.modes.count > 1 and i % JUMP_EVERY == 0:
            self.cloud, accepted = self.modes.jump(self.target, self.cloud, self.rng)
            self.jump_acceptances.append(accepted)

    def keep(self, moves: int) -> None:
        """Run the frozen chains and keep their history, longer where it is not precise yet.

        `moves` counts gradients: a move of four leapfrog steps counts four.
        """
        self.history = History.begin(self._probe(), self.target.dim)
        count = max(BLOCKS, moves // self.steps) if moves >= BLOCKS else moves
        rounds, k = FIRST_ROUNDS + ROUNDS, 0
        while k < rounds:
            for part in np.array_split(np.arange(count), min(BLOCKS, count)):
                self._block(len(part))
            slow = self.history.slowest < SLOW
            if self.history.precise and not slow:
                return
            k += 1
            if slow and k == FIRST_ROUNDS:
                self.varied = True
                self.history = History.begin(self._probe(), self.target.dim)
            elif k == FIRST_ROUNDS + ROUNDS and self.history.slowest < SLOW:
                # Bananas and edges of a support, of which a chain had 2 to 4 effective draws, came
                # out right and were not believed: twice the rounds where they bring it to `SLOW`.
                more = self.history.slowest * (1 + rounds / ROUNDS) >= SLOW
                rounds += rounds if more else 0

    def _block(self, moves: int) -> None:
        assert self.history is not None
        self.history.new_block()
        pause = max(1, moves * BLOCKS // DRAWS)
        for i in range(moves):
            self._move(i)
            self.history.keep(self._probe(), self.cloud.score)
            if i % pause == pause - 1:
                self.history.draws.append(self.cloud.x)
                self.history.heights.append(self.cloud.log_p)

    def run(self, moves: int) -> None:
        """Warm up and keep."""
        self.warm_up()
        self.keep(moves)


def forgetting(kept: Array, apart: int = 1) -> float:
    r"""How fast an ensemble (moves + 1, n, k) forgets: (1 - r)/(1 + r) of the slowest feature.

    r is the correlation of a feature, or of its square about the mean, with what it was so many
    moves ago. Kinds of moves are compared over as many gradients: what is left after one short move
    says too little of what is left after four, where parts of a feature forget at different speeds.
    """
    centred = kept - kept.mean(axis=(0, 1))
    worst = np.inf
    for f in (centred, centred**2):
        f = f - f.mean(axis=(0, 1))
        whole = np.maximum((f**2).mean(axis=(0, 1)), 1e-300)
        moved = ((f[apart:] - f[:-apart]) ** 2).mean(axis=(0, 1)) / (2 * whole)  # 1 - r
        moved = np.clip(moved, LEAST, 1.0)
        worst = min(worst, float((moved / (2 - moved)).min()))
    return worst


def choose(n: int, available: int, rng: np.random.Generator) -> Index:
    """n of the chains, all where that is what there are."""
    if n == available:
        return np.arange(n)
    return np.sort(rng.choice(available, n, replace=False))
