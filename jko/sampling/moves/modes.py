r"""Separate modes of an ensemble, and moves that carry chains from one to another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.markov.mala import Cloud, Density
from jko.markov.scale import Preconditioner
from jko.validation import Array, Index, Mask

#: Distance of two means over the sum of the spreads along the line between them. A Gaussian cut in
#: two by 2-means has 1.3; two modes 8 sd apart have 4.
SEPARATION = 2.2
#: A mode holds at least this share of the ensemble, and at least LEAST chains.
SHARE = 0.003
LEAST = 4
#: No more modes than this are told apart.
MOST = 16


@dataclass(frozen=True, eq=False)
class Modes:
    """Gaussian pictures of the modes: shares (k,), means (k, d), roots of covariances (k, d, d)."""

    shares: Array
    means: Array
    roots: Array

    @property
    def count(self) -> int:
        """Number of modes."""
        return len(self.shares)

    def white(self, x: Array, k: int) -> Array:
        """R_k^{-1} (x - m_k) for points (n, d)."""
        return np.asarray(np.linalg.solve(self.roots[k], (x - self.means[k]).T).T)

    def labels(self, x: Array) -> Index:
        """The mode each point belongs to: largest share times Gaussian density."""
        scores = np.empty((len(x), self.count))
        for k in range(self.count):
            logdet = np.log(np.diag(self.roots[k])).sum()
            distance = (self.white(x, k) ** 2).sum(axis=1)
            scores[:, k] = np.log(self.shares[k]) - logdet - 0.5 * distance
        return np.asarray(np.argmax(scores, axis=1))

    def some(self, chosen: Index) -> Modes:
        """Some of the modes alone."""
        shares = self.shares[chosen]
        return Modes(shares / shares.sum(), self.means[chosen], self.roots[chosen])

    @property
    def within(self) -> Preconditioner:
        """Root of the covariance inside the modes, averaged over them."""
        cov = sum(p * r @ r.T for p, r in zip(self.shares, self.roots, strict=True))
        return Preconditioner(np.linalg.cholesky(np.asarray(cov)))

    def jump(self, target: Density, cloud: Cloud, rng: np.random.Generator) -> tuple[Cloud, float]:
        r"""Carry every chain to another mode: y = m_l + R_l R_k^{-1} (x - m_k), and test it.

        k is the mode of x, and l is drawn by the odds p of the others: their shares, mixed half and
        half with even ones, so that a mode whose share is still far too low is asked often enough.
        The map from k to l is the inverse of that from l to k, so that with probability min(1, r),

            r = pi(y) |R_l| p_k (1 - p_k) / (pi(x) |R_k| p_l (1 - p_l)),

        and never when y does not belong to mode l, the move keeps pi whatever the pictures are.
        Returns the cloud and the mean acceptance probability.
        """
        here = self.labels(cloud.x)
        shares = 0.5 * self.shares + 0.5 / self.count
        odds = np.tile(shares, (len(here), 1))
        odds[np.arange(len(here)), here] = 0.0
        ticks = rng.random(len(here)) * odds.sum(axis=1)
        there = np.minimum((np.cumsum(odds, axis=1) <= ticks[:, None]).sum(axis=1), self.count - 1)
        x = np.empty_like(cloud.x)
        for k in range(self.count):
            from_k: Mask = here == k
            white = self.white(cloud.x[from_k], k)
            arrive = there[from_k]
            x[from_k] = self.means[arrive] + np.einsum("nij,nj->ni", self.roots[arrive], white)
        proposed = Cloud.at(target, x)
        logdet = np.log(np.diagonal(self.roots, axis1=1, axis2=2)).sum(axis=1)
        weight = logdet - np.log(shares * (1 - shares))
        log_r = proposed.log_p - cloud.log_p + weight[there] - weight[here]
        log_r = np.where(self.labels(x) == there, np.minimum(log_r, 0.0), -np.inf)
        accepted = -rng.standard_exponential(len(here)) < log_r
        return cloud.where(accepted, proposed), float(np.exp(log_r).mean())


def find_modes(cloud: Cloud, rng: np.random.Generator, known: Modes | None = None) -> Modes:
    """The modes of an ensemble: by cuts, or by what is known of them, whichever tells more apart.

    What is known are pictures of several modes; they are drawn anew from the points that belong to
    each, and those that have too few are dropped.
    """
    cut = _by_cuts(cloud, rng)
    if known is None or known.count < 2:
        return cut
    for _ in range(2):
        labels = known.labels(cloud.x)
        parts = [np.flatnonzero(labels == k) for k in range(known.count)]
        parts = [p for p in parts if len(p) >= max(LEAST, int(SHARE * len(cloud.x)))]
        known = _pictures(cloud.x, parts)
    return known if known.count >= cut.count else cut


def _pictures(x: Array, parts: list[Index]) -> Modes:
    """Share, mean and root of the covariance of parts of points (n, d)."""
    whole = sum(map(len, parts))
    shares = np.array([len(p) / whole for p in parts])
    means = np.stack([x[p].mean(axis=0) for p in parts])
    return Modes(shares, means, np.stack([Preconditioner.of_points(x[p]).root for p in parts]))


def _by_cuts(cloud: Cloud, rng: np.random.Generator) -> Modes:
    """Cut an ensemble in two, again and again, where the halves are far apart for their spread.

    Distances are taken after whitening by the mean outer product of the scores, which measures the
    scale inside modes; the covariance of the ensemble would hide their distance.
    """
    white = cloud.x @ _inside_root(cloud.score)
    parts: list[Index] = []
    waiting = [np.arange(len(white))]
    while waiting:
        part = waiting.pop()
        halves = _halves(white[part], rng) if len(parts) + len(waiting) < MOST - 1 else None
        least = max(LEAST, int(SHARE * len(white)))
        if halves is None or min(halves.sum(), (~halves).sum()) < least:
            parts.append(part)
        else:
            waiting += [part[halves], part[~halves]]
    return _pictures(cloud.x, parts)


def _inside_root(score: Array) -> Array:
    """A root F of E[score score'], long scores shortened so that no few of them decide."""
    size = np.linalg.norm(score, axis=1)
    usual = float(np.quantile(size, 0.9))
    short = score * np.minimum(1.0, usual / np.maximum(size, 1e-300))[:, None]
    information = short.T @ short / len(score)
    diagonal = np.maximum(np.diag(information), 1e-300)
    information[np.diag_indices(len(diagonal))] = (1 + 1e-6) * diagonal
    size = np.sqrt(diagonal)
    return np.asarray(size[:, None] * np.linalg.cholesky(information / np.outer(size, size)))


def _halves(white: Array, rng: np.random.Generator) -> Mask | None:
    """The best cut in two by 2-means from a few starts; None when no cut separates."""
    if len(white) < 2 * LEAST:
        return None
    best: tuple[float, Mask | None] = (SEPARATION, None)
    centred = white - white.mean(axis=0)
    directions = list(np.linalg.svd(centred, full_matrices=False)[2][:3])
    directions += [white[i] - white[j] for i, j in rng.integers(len(white), size=(3, 2))]
    for direction in directions:
        mask = _two_means(white, centred @ direction > 0)
        if mask is None:
            continue
        line = white[mask].mean(axis=0) - white[~mask].mean(axis=0)
        along = white @ line / np.linalg.norm(line)
        distance = abs(along[mask].mean() - along[~mask].mean())
        separation = distance / max(along[mask].std() + along[~mask].std(), 1e-300)
        if separation > best[0]:
            best = (float(separation), mask)
    return best[1]


def _two_means(white: Array, mask: Mask) -> Mask | None:
    """Lloyd's iteration from a cut; None when one side empties."""
    for _ in range(20):
        if mask.all() or not mask.any():
            return None
        a, b = white[mask].mean(axis=0), white[~mask].mean(axis=0)
        moved: Mask = white @ (a - b) > 0.5 * float((a + b) @ (a - b))
        if (moved == mask).all():
            break
        mask = moved
    return None if mask.all() or not mask.any() else mask
