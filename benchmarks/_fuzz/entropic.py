"""Entropic steps: their three objectives by matrix scaling in extended precision."""

from __future__ import annotations

from functools import cached_property

import numpy as np

import jko
from _fuzz.certified import Trial, draw_energy, near, shaken, support, weights
from _fuzz.terms import LONG
from jko.prox.stated import Answer
from jko.solvers.entropic.stated import EntropicStep

KINDS = {False: "entropic plain", "half": "entropic half", True: "entropic debiased"}


def lse(a, axis):
    """log sum exp of finite or -inf entries."""
    top = np.max(a, axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    with np.errstate(all="ignore"):
        return np.squeeze(np.log(np.exp(a - top).sum(axis=axis, keepdims=True)) + top, axis)


def dot(w, values):
    return w[w > 0] @ values[w > 0]


class Case:
    """A drawn entropic step."""

    def __init__(self, rng):
        space, length = support(rng)
        m = weights(rng, space.size)
        self.m, self.mass = m.astype(LONG), float(m.sum())
        self.energy = draw_energy(rng, space, self.mass)
        self.debias = list(KINDS)[rng.integers(3)]
        self.name, self.label = self.energy.name, KINDS[self.debias]
        self.eps = float(length**2 * 10.0 ** rng.uniform(-2, 1))
        tau = float(length**2 * 10.0 ** rng.uniform(-3, 3))
        self.problem = jko.ProxProblem(self.energy.engine, jko.Wasserstein(), space.measure(m), tau)
        self.energy.bounds = self.problem.form.separable.ceiling
        self.factor = LONG(self.eps) / (2 * LONG(tau))
        self.log_k = -space.squares() / LONG(self.eps)
        self.log_one = lse(self.log_k, 1)
        with np.errstate(all="ignore"):
            self.log_m = np.log(self.m)
        self.stated = EntropicStep(self.problem, self.eps, self.debias)
        self.best, self.floor, self.start = self._solve()

    def refused(self):
        return not self.problem.form.convex

    # -- the objective ---------------------------------------------------------------------------

    def marginal(self, log_b):
        """log a and log w of the plan of a potential."""
        log_a = self.log_m - lse(self.log_k + log_b, 1)
        return log_a, log_b + lse(self.log_k.T + log_a, 1)

    def self_potential(self, log_w):
        """log d with d K d = w."""
        kept = np.isfinite(log_w)
        k, log_w = self.log_k[np.ix_(kept, kept)], log_w[kept]
        x = (log_w - lse(k, 1)) / 2
        for _ in range(4000):
            new = (x + log_w - lse(k + x, 1)) / 2
            off, x = np.abs(new - x).max(), new
            if off < 1e-18:
                break
        out = np.full(kept.size, LONG(-np.inf))
        out[kept] = x
        return out

    @cached_property
    def own(self):
        """OT(m, m), a constant."""
        d = self.self_potential(self.log_m)
        return 2 * dot(self.m, d)

    def value(self, log_b):
        """(objective, size) at the marginal of a potential, in units of F."""
        log_b = log_b - np.max(log_b)  # a constant changes nothing but rounding
        log_a, log_w = self.marginal(log_b)
        w = np.exp(log_w)
        terms = [*self.energy.terms(w), self.factor * dot(self.m, log_a),
                 self.factor * dot(w, log_b)]  # fmt: skip
        if self.debias == "half":
            terms.append(-self.factor / 2 * dot(w, log_w - self.log_one))
        elif self.debias:
            d = self.self_potential(log_w)
            terms += [-self.factor * dot(w, d), -self.factor * self.own / 2]
        terms = np.array(terms)
        return terms.sum(), float(np.abs(terms).sum()) + float(
            self.factor
        ) * self.mass + self.energy.raw(w)

    # -- the minimum -----------------------------------------------------------------------------

    def _solve(self):
        solver = jko.solvers.Entropic(reg=self.eps, debias=self.debias)
        try:
            found = jko.step(self.problem.previous, self.problem.energy, self.problem.geometry,
                             self.problem.tau, solver=solver, throw=False, tol=1e-13)  # fmt: skip
            w = found.measure.weights.astype(LONG)
        except jko.JkoError:
            w = self.m
        with np.errstate(all="ignore"):
            log_b = self.potential(np.log(w))
        value = self.value(log_b)
        return value, self._floor(log_b), log_b

    def potential(self, log_w):
        """log b with the marginal w, by Sinkhorn sweeps."""
        log_b = np.where(np.isfinite(log_w), LONG(0), LONG(-np.inf))
        with np.errstate(all="ignore"):
            for _ in range(2000):
                log_a = self.log_m - lse(self.log_k + log_b, 1)
                new = log_w - lse(self.log_k.T + log_a, 1)
                off = np.nanmax(np.abs(new - log_b), initial=0)
                log_b = new
                if off < 1e-17:
                    break
        return log_b

    def _floor(self, log_b):
        log_a, log_w = self.marginal(np.maximum(log_b, -300))
        w, slope = np.exp(log_w), np.maximum(log_b, -300)
        value = self.factor * (dot(self.m, log_a) + dot(w, slope))
        if self.debias and not (w > 0).all():
            return -np.inf
        if self.debias == "half":
            value -= self.factor / 2 * dot(w, log_w - self.log_one)
            slope = slope - (log_w - self.log_one) / 2
        elif self.debias:
            d = self.self_potential(log_w)
            value -= self.factor * (dot(w, d) + self.own / 2)
            slope = slope - d
        at_w = self.energy.floor(self.factor * slope, w, self.mass)
        return at_w + value - self.factor * slope @ w

    # -- trials ----------------------------------------------------------------------------------

    def trials(self, rng, count):
        ceiling = self.energy.ceiling
        for _ in range(count):
            log_b = np.asarray(self.start, dtype=float)
            base = np.where(np.isfinite(log_b), log_b, -50.0)
            log_b = shaken(rng, base, 1.0)
            if rng.random() < 0.3 and (self.m == 0).any() and (self.m > 0).any():
                log_b = np.where((self.m == 0) & (rng.random(log_b.size) < 0.5), -np.inf, log_b)
            plan = self.stated.plan(log_b)
            nu = self.stated.measure(plan)
            if (nu.weights > ceiling).any():
                continue
            dual = {"log_b": log_b}
            if self.debias is True:
                exact = self.self_potential(self.marginal(log_b.astype(LONG))[1]).astype(float)
                exact = np.where(np.isfinite(exact), exact, -300.0)
                dual["log_d"] = shaken(rng, exact, 1.0)
            if rng.random() < 0.3:
                tangent = near(rng, nu.weights, self.mass, ceiling)
                if tangent is not None:
                    dual["tangent"] = tangent
            answer = Answer(nu, self.stated, 0, dual=dual)
            gap = self.stated.certificate(answer).gap
            yield Trial(gap, *self.value(log_b.astype(LONG)))
