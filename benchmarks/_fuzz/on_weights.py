"""Steps of the weights: certificates that look at the measure alone."""

from __future__ import annotations

import numpy as np

import jko
from _fuzz import penalties
from _fuzz.certified import Energy, Trial, draw_energy, near, support, weights
from _fuzz.terms import HOME, LONG, Term
from jko.prox.duality.certify import certify
from jko.prox.stated import Answer
from jko.solvers.weights.stated import QuadraticStep

OF_WEIGHTS = {"SphericalHellinger"} | {
    f"{name} {mass}" for name in ("Hellinger", "Divergence", "MMD") for mass in ("free", "fixed")
}


class Case:
    """A drawn step in a Hellinger, spherical, MMD or divergence geometry."""

    #: Rounding of the extended precision: these certificates count their own.
    fine = 16 * float(np.finfo(LONG).eps)

    def __init__(self, rng):
        space, _ = support(rng, kinds=("histogram", "histogram", "grid"), most=8)
        m = weights(rng, space.size)
        self.mass, self.m = float(m.sum()), m
        drawn = draw_energy(rng, space, self.mass)
        factor = 10.0 ** (rng.uniform(-9, 9) * (rng.random() < 0.4))
        self.energy = Energy([(c * factor, part) for c, part in drawn.parts], space)
        penalty = penalties.draw(rng, space, m)
        while penalty.label not in OF_WEIGHTS:
            penalty = penalties.draw(rng, space, m)
        self.name, self.label, self.penalty = self.energy.name, penalty.label, penalty
        tau, mu = 10.0 ** rng.uniform(-6, 6), space.measure(m)
        geometry = penalty.make(HOME)
        self.problem = jko.ProxProblem(self.energy.engine, geometry, mu, tau)
        self.energy.bounds = self.problem.form.separable.ceiling
        self.fixed, self.tau = penalty.fixed, LONG(tau)
        moved = Term("D", penalty.value, penalty.slope, None, penalty.gram, m.astype(LONG))
        bounds = np.minimum(self.energy.bounds, penalty.ceiling)
        self.whole = Energy([*self.energy.parts, (1 / self.tau, moved)], space, bounds)
        if self.refused():
            return
        self.start = self._solve()
        self.best, self.floor = self.value(self.exact(self.start)), self._floor()

    def refused(self):
        return not self.problem.form.convex

    def value(self, w):
        terms, raw = self.whole.terms(w), LONG(0)
        for c, part in self.whole.parts:  # squared differences are made of terms that cancel
            if part.gram is not None:
                apart = np.abs(w.astype(LONG) - part.centre)
                raw += LONG(c) * (apart @ part.gram @ apart)
        return terms.sum(), float(np.abs(terms).sum() + raw)

    def exact(self, w):
        """The weights with the right mass to the last digit of the extended precision."""
        w = w.astype(LONG)
        return w * (self.m.astype(LONG).sum() / w.sum()) if self.fixed else w

    def _solve(self):
        try:
            found = jko.step(self.problem.previous, self.problem.energy, self.problem.geometry,
                             self.problem.tau, throw=False)  # fmt: skip
            return found.measure.weights
        except jko.JkoError:
            return self.m

    def _floor(self):
        at, whole, constant = self.start.astype(LONG), self.whole, LONG(0)
        if self.penalty.label == "SphericalHellinger":
            # arccos^2 is convex and falls with the affinity, which is concave: its tangent.
            before = self.m.astype(LONG)
            root, total = np.sqrt(before), before.sum()
            affinity = (np.sqrt(at / at.sum()) * np.sqrt(before / total)).sum()
            half = np.arccos(np.minimum(affinity, 1))
            steep = 4 / np.sinc(half / LONG(np.pi)) if half < 3 else LONG(np.inf)

            def slope(w):
                with np.errstate(all="ignore"):
                    return np.where(before > 0, -steep / 2 * root / np.sqrt(w), LONG(0))

            flat = Term("D", lambda w: -steep * root * np.sqrt(w), slope, None)
            whole = Energy([*self.energy.parts, (1 / self.tau, flat)], whole.space, whole.bounds)
            moved = total * (2 * half) ** 2 / 2
            constant = (moved + steep * (root * np.sqrt(at)).sum()) / self.tau
        return whole.floor(np.zeros(at.size), at, self.mass if self.fixed else None) + constant

    def trials(self, rng, count):
        ceiling = self.whole.ceiling
        for _ in range(count):
            w = near(rng, self.start, self.mass, ceiling, self.fixed)
            if w is None or not np.isfinite((value := self.value(w))[0]):
                continue
            rival = self.value(self.exact(w))[0]
            for gap in self.gaps(w):
                yield Trial(gap, *value, rival=rival)

    def gaps(self, w):
        """The gaps of all certificates that take the weights."""
        nu = self.problem.discrete.with_weights(w)
        yield certify(self.problem, nu).gap
        separable = self.problem.form.separable
        plain = not any((c > 0).any() for c in separable.powers.values())
        if self.label.startswith("MMD") and plain and np.isinf(separable.ceiling).all():
            stated = QuadraticStep.of(self.problem)
            yield stated.certificate(Answer(nu, stated, 0)).gap
