"""The No-U-Turn sampler in NumPy: what `beside_nuts` holds `jko.sample` against.

Multinomial trajectories (Betancourt 2017) doubled until they turn (Hoffman and Gelman 2014); step
by dual averaging to an acceptance of .8; a dense metric from windows of the warm-up that double.
A chain is a generator that yields a position and is sent its log density and gradient, so that
the chains run side by side and their positions are evaluated in one batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

#: Doublings at most; an error of the energy beyond this is a divergence.
DEEPEST, DIVERGENT = 10, 1000.0
#: Warm-up: iterations before the first window and after the last one, and the first window.
FIRST, LAST, WINDOW = 75, 50, 25
WANTED = 0.8


@dataclass(slots=True)
class Point:
    """Position and velocity (d,), log density, and its gradient in whitened coordinates."""

    x: np.ndarray
    v: np.ndarray
    log_p: float
    slope: np.ndarray

    @property
    def energy(self):
        return 0.5 * self.v @ self.v - self.log_p


@dataclass(slots=True)
class Tree:
    """A piece of a trajectory: its ends, a draw from it, the log of its weight, its velocities."""

    left: Point
    right: Point
    draw: Point
    log_weight: float
    velocity: np.ndarray
    going: bool = True
    accepted: float = 0.0
    count: int = 0
    diverging: bool = False

    @property
    def turned(self):
        """Whether one end moves back towards the other."""
        return self.velocity @ self.left.v <= 0 or self.velocity @ self.right.v <= 0


@dataclass
class Nuts:
    """One chain; `gradients` counts the positions it asked for."""

    rng: np.random.Generator
    root: np.ndarray = field(default_factory=lambda: np.eye(1))
    h: float = 0.1
    gradients: int = 0

    def at(self, x, v):
        self.gradients += 1
        log_p, slope = yield x
        return Point(x, v, log_p, slope @ self.root)

    def leaf(self, p, root, h, start):
        """The tree of one step of length h from p; `root` is h times the root of the metric."""
        half = 0.5 * h
        v = p.v + half * p.slope
        self.gradients += 1
        x = p.x + root @ v
        log_p, slope = yield x
        slope = slope @ self.root
        v = v + half * slope
        error = float(start - 0.5 * (v @ v) + log_p)
        finite = math.isfinite(error)
        fine = finite and error > -DIVERGENT
        new = Point(x, v, log_p, slope)
        weight = error if finite else -math.inf
        accepted = 1.0 if weight >= 0 else math.exp(weight)
        return Tree(new, new, new, weight, v, fine, accepted, 1, not fine)

    def grown(self, p, sign, depth, start):
        """A tree of 2^depth steps from p to one side; it stops where it turns or diverges."""
        h = sign * self.h
        root = h * self.root
        waiting = []  # first halves, the larger ones first, each with its depth
        for _ in range(2**depth):
            tree, level = (yield from self.leaf(p, root, h, start)), 0
            while tree.going and waiting and waiting[-1][1] == level:
                tree, level = self.joined(waiting.pop()[0], tree, sign), level + 1
            if not tree.going:
                break
            p = tree.right if sign > 0 else tree.left
            waiting.append((tree, level))
        else:
            return waiting[0][0]
        while waiting:
            tree = self.joined(waiting.pop()[0], tree, sign)
        return tree

    def joined(self, old, new, sign, biased=False):
        """Two neighbouring trees as one; `biased` prefers the draw of the newer half."""
        low, high = old.log_weight, new.log_weight
        if low > high:
            low, high = high, low
        weight = high + math.log1p(math.exp(low - high)) if low > -math.inf else high
        chance = new.log_weight - (old.log_weight if biased else weight)
        take = new.going and -self.rng.standard_exponential() < chance
        left, right = (old.left, new.right) if sign > 0 else (new.left, old.right)
        tree = Tree(
            left, right, new.draw if take else old.draw, weight, old.velocity + new.velocity
        )
        tree.accepted, tree.count = old.accepted + new.accepted, old.count + new.count
        tree.diverging = old.diverging or new.diverging
        tree.going = new.going and not tree.turned
        return tree

    def step(self, x):
        """One iteration from x: the next position, mean acceptance, and whether it diverged."""
        start = yield from self.at(x, self.rng.standard_normal(len(x)))
        tree = Tree(start, start, start, 0.0, start.v)
        for depth in range(DEEPEST):
            sign = 1 if self.rng.random() < 0.5 else -1
            end = tree.right if sign > 0 else tree.left
            new = yield from self.grown(end, sign, depth, start.energy)
            tree = self.joined(tree, new, sign, biased=True)
            if not tree.going:
                break
        return tree.draw.x, tree.accepted / max(1, tree.count), tree.diverging

    def warm_up(self, x, count):
        """Learn step and metric; returns the last position."""
        self.root = np.eye(len(x))
        ends, end = [], FIRST
        size = WINDOW
        while end < count - LAST:
            end = end + size if end + 3 * size <= count - LAST else count - LAST
            ends.append(end)
            size *= 2
        averaging, seen = Averaging(self.h), []
        for i in range(count):
            x, accepted, _ = yield from self.step(x)
            self.h = averaging.learn(accepted)
            if FIRST <= i < count - LAST:
                seen.append(x)
            if i + 1 in ends:
                n = len(seen)
                cov = np.cov(np.array(seen).T).reshape(len(x), len(x))
                cov = n / (n + 5) * cov + 1e-3 * 5 / (n + 5) * np.eye(len(x))
                self.root, seen = np.linalg.cholesky(cov), []
                averaging = Averaging(self.h)
        self.h = averaging.mean
        return x

    def run(self, x, warm_up, count):
        """Draws (count, d) and the number that diverged."""
        x = yield from self.warm_up(x, warm_up)
        out, diverged = np.empty((count, len(x))), 0
        for i in range(count):
            x, _, bad = yield from self.step(x)
            out[i] = x
            diverged += bad
        return out, diverged


class Averaging:
    """Dual averaging of the log step (Hoffman and Gelman 2014, section 3.2)."""

    def __init__(self, h):
        self.centre, self.error, self.log_mean, self.t = np.log(10 * h), 0.0, 0.0, 0

    def learn(self, accepted):
        self.t += 1
        rate = 1 / (self.t + 10)
        self.error = (1 - rate) * self.error + rate * (WANTED - accepted)
        log_h = self.centre - np.sqrt(self.t) / 0.05 * self.error
        weight = self.t**-0.75
        self.log_mean = weight * log_h + (1 - weight) * self.log_mean
        return float(np.exp(log_h))

    @property
    def mean(self):
        return float(np.exp(self.log_mean))


def nuts(target, rng, chains=4, warm_up=1000, count=1000):
    """Draws (chains, count, d), gradients in all, and divergent iterations.

    The target is a `jko.LogDensity`.
    """
    samplers = [Nuts(r) for r in rng.spawn(chains)]
    runs = [s.run(s.rng.uniform(-2, 2, target.dim), warm_up, count) for s in samplers]
    asked, done = {i: next(run) for i, run in enumerate(runs)}, {}
    while asked:
        x = np.array(list(asked.values()))
        with np.errstate(all="ignore"):
            values, slopes = target.value_and_grad(x)
        for i, *answer in zip(list(asked), values.tolist(), slopes, strict=True):
            try:
                asked[i] = runs[i].send(answer)
            except StopIteration as end:
                done[i] = end.value
                del asked[i]
    draws = np.stack([done[i][0] for i in range(chains)])
    return draws, sum(s.gradients for s in samplers), sum(bad for _, bad in done.values())
