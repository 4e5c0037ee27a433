"""Wasserstein-Fisher-Rao steps: the objective of a plan by its definition."""

from __future__ import annotations

import numpy as np

import jko
from _fuzz.certified import Trial, draw_energy, near, shaken, support, weights
from _fuzz.entropic import lse
from _fuzz.terms import LONG, psi
from jko.prox.stated import Answer, Controls
from jko.solvers.unbalanced.stated import UnbalancedStep
from jko.status import Breakdown


class Case:
    """A drawn step of `jko.solvers.UnbalancedScaling`, or the one without regularisation.

    The reference plan (log e and t) is data of the stated problem; everything else is computed
    here from the definition.
    """

    def __init__(self, rng):
        space, length = support(rng, most=6)
        m = weights(rng, space.size)
        mass = float(m.sum())
        self.energy = draw_energy(rng, space, mass)
        self.name = self.energy.name
        alpha, beta = 10.0 ** rng.uniform(-1, 1, 2) * [length**2, 1.0]
        geometry = jko.WassersteinFisherRao(float(alpha), float(beta))
        tau, self.eps = 10.0 ** rng.uniform(-3, 3), float(10.0 ** rng.uniform(-2, 0))
        self.problem = jko.ProxProblem(self.energy.engine, geometry, space.measure(m), float(tau))
        self.energy.bounds = self.problem.form.separable.ceiling
        self.stated = s = UnbalancedStep(self.problem, self.eps)
        self.charged = np.flatnonzero(m)
        self.m, self.mass = m[self.charged].astype(LONG), mass
        delta = np.sqrt(space.squares()[:, self.charged] * LONG(beta) / (4 * LONG(alpha)))
        with np.errstate(all="ignore"):
            cost = -2 * np.log(np.cos(np.minimum(delta, LONG(np.pi) / 2)))
        near_ = np.isfinite(geometry.cost(space.points, space.points[self.charged]))
        self.cost = np.where(near_, cost, np.inf)
        self.log_k = -self.cost / LONG(self.eps)
        self.lam = 2 / (LONG(beta) * LONG(tau))
        self.weight = self.lam / (1 + LONG(self.eps) / 2)
        self.log_e, self.log_t = s.log_e.astype(LONG), s.log_t.astype(LONG)
        self.exact = rng.random() < 0.5
        self.label = "WFR exact" if self.exact else "WFR regularised"
        self.best, self.floor, self.start = self._solve_exact() if self.exact else self._solve()

    def refused(self):
        return not self.problem.form.convex or self.stated.cone.unbounded

    def penalty(self, w, log_a, log_b):
        """Terms of the transport part at the plan diag(a) K diag(b)."""
        eps = LONG(self.eps)
        log_g = log_a[:, None] + self.log_k + log_b
        g, near_ = np.exp(log_g), np.isfinite(log_g)
        g1, g2 = g.sum(axis=1), g.sum(axis=0)
        with np.errstate(all="ignore"):
            root = np.where(w > 0, np.log(w) / 2, 0)
            reference = self.log_e + self.log_t[:, None] + root[:, None]
            entropy = np.where(near_, g * (log_g - reference), 0) - g
        paid = np.where(near_, np.where(near_, self.cost, 0) * g, 0)
        terms = [psi(1, g1, w).ravel() if (w > 0).all() else _kl(g1, w), psi(1, g2, self.m).ravel(),
                 paid.ravel(), eps * entropy.ravel(), eps / 2 * w, eps / 2 * self.m]  # fmt: skip
        return self.weight * np.concatenate(terms)

    def value(self, w, log_a, log_b):
        terms = np.concatenate([self.energy.terms(w), self.penalty(w, log_a, log_b)])
        return terms.sum(), float(np.abs(terms).sum()) + self.energy.raw(w)

    def settled(self, w, psi_):
        """The best plan of fixed weights, by alternating minimisation: log a, log b."""
        eps = LONG(self.eps)
        with np.errstate(all="ignore"):
            log_w = np.log(w)
            own = self.log_t + log_w / 2
            f, h = np.zeros(w.size, dtype=LONG), psi_.astype(LONG)
            for _ in range(6000):
                # g1 = w e^{-f}, g = e^{own + (f + h - c)/eps} e: one potential after the other.
                smooth = own + lse(self.log_k + self.log_e + h / eps, 1)
                f = (log_w - smooth) * eps / (1 + eps)
                back = self.log_e + lse((self.log_k + (own + f / eps)[:, None]).T, 1)
                new = (np.log(self.m) - back) * eps / (1 + eps)
                off, h = np.nanmax(np.abs(new - h), initial=0), new
                if off < 1e-17:
                    break
        return own + np.where(np.isfinite(f), f, 0) / eps, self.log_e + h / eps, h

    def _solve(self):
        if self.refused():
            return (np.inf, 0.0), -np.inf, None
        try:
            found = jko.step(self.problem.previous, self.problem.energy, self.problem.geometry,
                             self.problem.tau, solver=jko.solvers.UnbalancedScaling(reg=self.eps),
                             throw=False, tol=1e-13)  # fmt: skip
            w = found.measure.weights.astype(LONG)
        except jko.JkoError:
            w = self.problem.discrete.weights.astype(LONG)
        log_a, log_b, h = self.settled(w, np.zeros(self.m.size))
        value = self.value(w, log_a, log_b)
        floor = -np.inf
        if (w > 0).all():
            g1 = np.exp(log_a + lse(self.log_k + log_b, 1))
            slope = self.lam * (1 - g1 / w)
            moved = self.penalty(w, log_a, log_b).sum()
            floor = self.energy.floor(slope, w) + moved - slope @ w
        return value, floor, (w, h)

    # -- without regularisation --------------------------------------------------------------------

    def exact_value(self, w, plan):
        """F + lam [KL(g1 | w) + KL(g2 | m') + <c, g>] of any plan."""
        g = plan.astype(LONG)
        paid = np.where(g > 0, np.where(g > 0, self.cost, 0) * g, 0)
        moved = [_kl(g.sum(axis=1), w), psi(1, g.sum(axis=0), self.m).ravel(), paid.ravel()]
        terms = np.concatenate([self.energy.terms(w), self.lam * np.concatenate(moved)])
        return terms.sum(), float(np.abs(terms).sum()) + self.energy.raw(w)

    def exact_floor(self, w, h):
        """The dual value of a potential of m', quadratic parts by their tangents at w."""
        f = np.where(np.isfinite(self.cost), self.cost - h, np.inf).min(axis=1)
        moved = -self.lam * (self.m @ np.expm1(-h))
        return self.energy.floor(-self.lam * np.expm1(-f), w) + moved

    def _solve_exact(self):
        if self.refused():
            return (np.inf, 0.0), -np.inf, None
        solver, start = jko.solvers.UnbalancedProgram(), self.problem.discrete
        plan, h = np.zeros(self.cost.shape), np.zeros(self.m.size)
        stated = self.stated.cone
        try:
            found = solver.solve(self.problem, Controls(1e-13))
            start, plan, h = found.measure, found.dual["plan"], found.dual["psi"]
        except (jko.JkoError, Breakdown):
            pass
        w = start.weights
        value = self.exact_value(w.astype(LONG), plan)
        # Against a floor at the limit of the conjugate, where rounding makes it -inf.
        lowered = stated._feasible(self.problem.form.linearised(w)[0], h, w)
        floor = max(self.exact_floor(w.astype(LONG), v.astype(LONG)) for v in (h, lowered))
        return value, floor, (w, plan, h)

    def exact_trials(self, rng, count):
        w, plan, h = self.start
        for _ in range(count):
            v = near(rng, w, float(w.sum()), self.energy.ceiling, fixed=False)
            if v is None:
                continue
            g = plan * np.exp(10.0 ** rng.uniform(-16, 0.5) * rng.normal(size=plan.shape))
            if rng.random() < 0.5:
                g = g * np.where(w > 0, v / np.where(w > 0, w, 1), 0)[:, None]
            g[v == 0] = 0.0
            dual = {"plan": g, "psi": shaken(rng, h, 1.0)}
            answer = Answer(self.problem.discrete.with_weights(v), self.problem, 0, dual=dual)
            yield Trial(self.stated.cone.certificate(answer).gap,
                        *self.exact_value(v.astype(LONG), g))  # fmt: skip

    # -- trials ------------------------------------------------------------------------------------

    def trials(self, rng, count):
        if self.exact:
            yield from self.exact_trials(rng, count)
            return
        w, h = (np.asarray(v, dtype=float) for v in self.start)
        for _ in range(count):
            v = near(rng, w, float(w.sum()), self.energy.ceiling, fixed=False)
            if v is None:
                continue
            if rng.random() < 0.3:
                v = np.minimum(v * 10.0 ** rng.uniform(-3, 3), self.energy.ceiling)
            psi_ = shaken(rng, h, 1.0 if rng.random() < 0.5 else self.eps)
            gap = self.stated.gap(v, psi_).gap
            with np.errstate(all="ignore"):
                plan = self.stated.plan(np.log(v), psi_, self.stated.smooth(psi_))
                log_a = (
                    np.log(v) / 2
                    + self.log_t
                    + np.where(np.isfinite(plan.phi), plan.phi, 0) / LONG(self.eps)
                )
            log_b = self.log_e + psi_ / LONG(self.eps)
            yield Trial(gap, *self.value(v.astype(LONG), log_a, log_b))


def _kl(g, w):
    with np.errstate(all="ignore"):
        full = psi(1, g, w)
    return np.where(w > 0, full, np.where(g > 0, np.inf, 0)).ravel()
