"""Certificates of arbitrary points against the true excess: none may be below it.

    OPENBLAS_NUM_THREADS=1 python benchmarks/fuzz_certificates.py --problems 2500 --seed 0

Random small problems on fixed supports: every energy of the weights and sums of two, every geometry
of the weights, tau from 1e-6 to 1e6, masses and scales from 1e-9 to 1e9, empty atoms, target
weights down to 1e-14, ceilings. Of each problem the certificates of random feasible points are
compared with the excess over the best measure known: the objective by plain formulas in extended
precision, the measures from the engine's solvers (whose word is not taken: their objective is
evaluated anew), from SciPy and Clarabel on a share of the problems, and from the points themselves.
An excess over any measure is a lower bound of the true one. The exit code is 1 when a certificate
is below it.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import defaultdict
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

import jko
from jko.prox.duality.certify import certify
from jko.solvers.weights.stated import QuadraticStep

QUICK = ["--problems", "100", "--points", "20"]
LONG = np.longdouble
#: Rounding of the extended precision in which objectives are compared, relative to their terms.
FINE = 16 * float(np.finfo(LONG).eps)


@dataclass
class Term:
    """One energy: the engine's object and its plain formula, w (n,) -> terms to be summed."""

    name: str
    energy: object
    formula: object
    kernel: object = None
    ceiling: float = np.inf


@dataclass
class Case:
    """A random problem with its objective by plain formulas."""

    problem: jko.ProxProblem
    name: str
    geometry: str
    terms: object
    ceiling: float

    def gaps(self, w):
        """The gaps of all certificates that take the weights."""
        nu = self.problem.discrete.with_weights(w)
        yield certify(self.problem, nu).gap
        separable = self.problem.form.separable
        plain = not any((c > 0).any() for c in separable.powers.values())
        if self.geometry.startswith("MMD") and plain and np.isinf(separable.ceiling).all():
            answer = SimpleNamespace(measure=nu, certified=None)
            yield QuadraticStep.of(self.problem).certificate(answer).gap

    def objective(self, w):
        """The objective in extended precision, and the size of its terms."""
        parts = np.concatenate([np.atleast_1d(p).ravel() for p in self.terms(w.astype(LONG))])
        return parts.sum(), float(np.abs(parts).sum())


def psi(p, w, m):
    """The terms of D_p(w | m) atom by atom (3, n), with those of the mass."""
    w, m = w.astype(LONG), np.asarray(m, dtype=LONG)
    zero, full = 0 * w, m > 0
    with np.errstate(all="ignore"):
        if p == 1:
            terms = np.where(w > 0, w * (np.log(w) - np.log(m)), 0), -w, m
            return np.where(full, terms, np.where(w > 0, np.inf, zero))
        if p == 0:
            terms = m * np.log(m), np.where(w > 0, -m * np.log(w), np.inf), w - m
            return np.where(full, terms, [w, zero, zero])
        q = LONG(p)
        terms = m ** (1 - q) * w**q / (q * (q - 1)), -w / (q - 1), m / q
        empty = w / (1 - q) if p < 1 else np.where(w > 0, np.inf, zero)
        return np.where(full, terms, [empty, zero, zero])


def gaussian(points, bandwidth):
    """exp(-|x - y|^2 / (2 h^2)) in extended precision."""
    x = points.astype(LONG)
    return np.exp(-((x[:, None] - x) ** 2).sum(axis=2) / (2 * LONG(bandwidth) ** 2))


def draw_term(rng, points, mu, mass):
    """A random energy on the support of mu, of masses of order `mass`."""
    n = len(points)
    target = rng.exponential(size=n) * 10.0 ** (rng.uniform(-14, 0, n) * (rng.random(n) < 0.3))
    target[rng.random(n) < 0.15] = 0.0
    if not target.any():
        target[0] = 1.0
    target *= mass / target.sum() * 10.0 ** (rng.uniform(-1, 1) * (rng.random() < 0.3))
    pi, kind = mu.with_weights(target), rng.integers(8)
    if kind == 0:
        v = rng.normal(size=n) * 10.0 ** rng.uniform(-3, 3)
        return Term("V", jko.Potential(v), lambda w: v.astype(LONG) * w)
    if kind == 1:
        return Term("KL", jko.KL(pi), lambda w: psi(1, w, target))
    if kind == 2:
        return Term("iKL", jko.InclusiveKL(pi), lambda w: psi(0, w, target))
    if kind == 3:
        p = float(rng.choice([0.5, 1.5, 2.0, 3.0, -0.5, 0.9]))
        return Term(f"phi{p:g}", jko.PhiDivergence(pi, p=p), lambda w: psi(p, w, target))
    if kind == 4:
        with np.errstate(all="ignore"):
            entropy = lambda w: np.where(w > 0, w * np.log(w), 0)
        return Term("ent", jko.Entropy(), entropy)
    if kind == 5:
        m = float(rng.choice([1.5, 2.0, 3.0]))
        return Term(f"pm{m:g}", jko.PorousMedium(m), lambda w: w ** LONG(m) / (LONG(m) - 1))
    if kind == 6:
        bound = mass * rng.uniform(1.0, 4.0) / n * (1 + 1e-9)
        return Term("box", jko.BoxConstraint(bound), lambda w: 0 * w, ceiling=bound)
    kernel = jko.kernels.Gaussian(float(rng.choice([0.3, 1.0, 3.0])))
    gram = gaussian(points, kernel.bandwidth)
    away = lambda w: (w - target.astype(LONG)) @ gram * (w - target.astype(LONG)) / 2
    return Term("mmd", jko.MMDEnergy(pi, kernel), away, kernel)


def draw_geometry(rng, points, m):
    """A random geometry, and D^2 / 2 by a plain formula."""
    mass = "free" if rng.random() < 0.5 else "fixed"
    before, kind = m.astype(LONG), rng.integers(4)
    if kind == 0:
        root = lambda w: 2 * (np.sqrt(w) - np.sqrt(before)) ** 2
        return jko.Hellinger(mass=mass), f"He {mass}", root
    if kind == 1:

        def sphere(w):
            a, b = np.sqrt(w / w.sum()), np.sqrt(before / before.sum())
            chord = np.sqrt(((a - b) ** 2).sum())
            value = before.sum() * (4 * np.arcsin(np.minimum(chord / 2, 1))) ** 2 / 2
            cancels = before.sum() * chord  # the differences of roots near 1
            return np.array([value, cancels, -cancels])

        return jko.SphericalHellinger(), "SHe", sphere
    if kind == 2:
        p = float(rng.choice([0.0, 0.5, 1.0, 2.0]))
        return jko.Divergence(p, mass=mass), f"D{p:g} {mass}", lambda w: psi(p, w, m)
    kernel = jko.kernels.Gaussian(float(rng.choice([0.3, 1.0])))
    gram = gaussian(points, kernel.bandwidth)
    move = lambda w: (w - before) @ gram * (w - before) / 2
    return jko.MMD(kernel, mass=mass), f"MMD {mass}", move


def draw(rng):
    """A random case; None where the engine refuses the problem."""
    n = int(rng.integers(1, 9))
    points = rng.normal(size=(n, 1)) * 10.0 ** rng.uniform(-1, 1)
    mass = 10.0 ** (rng.uniform(-9, 9) * (rng.random() < 0.5))
    m = rng.exponential(size=n) * 10.0 ** (rng.uniform(-14, 0, n) * (rng.random(n) < 0.3))
    m[rng.random(n) < 0.2] = 0.0
    if not m.any():
        m[0] = 1.0
    m *= mass / m.sum()
    mu = jko.Histogram(points, m)
    parts = [draw_term(rng, points, mu, mass) for _ in range(int(rng.integers(1, 3)))]
    scales = 10.0 ** (rng.uniform(-9, 9) * (rng.random() < 0.4)) * 10.0 ** rng.uniform(-1, 1, 2)
    geometry, label, penalty = draw_geometry(rng, points, m)
    tau = 10.0 ** rng.uniform(-6, 6)
    energy = float(scales[0]) * parts[0].energy
    for c, part in zip(scales[1:], parts[1:], strict=False):
        energy = energy + float(c) * part.energy

    def terms(w):
        values = [LONG(c) * p.formula(w) for c, p in zip(scales, parts, strict=False)]
        return [*values, penalty(w) / LONG(tau)]

    ceiling = min(part.ceiling for part in parts)
    problem = jko.ProxProblem(energy, geometry, mu, tau)
    if not problem.form.convex:
        return None
    return Case(problem, " + ".join(sorted(p.name for p in parts)), label, terms, ceiling)


def candidates(case, rng, peers):
    """Measures that may be good, none of them believed."""
    previous = case.problem.discrete
    found = [previous.weights]
    for rule in ("auto", *([jko.solvers.Conic()] if peers else [])):
        try:
            step = jko.step(previous, case.problem.energy, case.problem.geometry, case.problem.tau,
                            solver=rule, throw=False)  # fmt: skip
            found.append(step.measure.weights)
        except jko.JkoError:
            pass
    if peers:
        found.append(by_scipy(case, found[-1]))
    for _, term in case.problem.energy.terms:
        target = getattr(term, "target", None)
        if target is not None:
            found.append(target.weights)
    return [feasible(case, w) for w in found]


def by_scipy(case, start):
    """A descent in log weights without the engine."""
    from scipy.optimize import minimize

    size = float(start.sum())
    low = size * 1e-16

    def value(z):
        w = feasible(case, np.exp(np.clip(z, -700, 700)))
        return min(float(case.objective(w)[0]), 1e300)

    z = np.log(np.maximum(start, low))
    found = minimize(value, z, method="Nelder-Mead", options={"maxiter": 60 * len(z)}).x
    return np.exp(np.clip(found, -700, 700))


def feasible(case, w):
    """The weights within the bounds, and of the right mass where it is fixed."""
    geometry, mass = case.problem.geometry, case.problem.previous.mass
    top = case.problem.form.separable.ceiling
    w = np.minimum(np.maximum(w, 0.0), np.minimum(top, 1e300))
    if not geometry.conserves_mass:
        return w
    for _ in range(60):
        open_ = (w < top) & (top > 0)
        rest = mass - w[~open_].sum()
        total = w[open_].sum()
        if not (open_.any() and rest > 0):
            break
        w = w.copy()
        w[open_] = rest / open_.sum() if total <= 0 else w[open_] * (rest / total)
        if (w <= top).all():
            break
        w = np.minimum(w, top)
    return w


def perturbed(case, best, rng, count):
    """Feasible points, from a rounding error away to far away."""
    n, mass = best.size, case.problem.previous.mass
    for k in range(count):
        size = 10.0 ** rng.uniform(-16, 0.5)
        w = best * np.exp(size * rng.normal(size=n))
        if k % 3 == 1:
            i, j = rng.integers(n, size=2)
            w[i] += min(size, 1.0) * mass
            w[j] *= rng.choice([0.0, 1e-6, 0.5])
        elif k % 7 == 2:
            w = mass * rng.dirichlet(np.full(n, 10.0 ** rng.uniform(-2, 1)))
        elif k % 11 == 3:
            w = np.minimum(case.problem.form.separable.ceiling, best * 2)
        w = feasible(case, w)
        kept = w.sum()
        fixed = case.problem.geometry.conserves_mass
        if kept > 0 and np.isfinite(kept) and not (fixed and abs(kept - mass) > 1e-14 * mass):
            yield w


@dataclass
class Tally:
    """Certificates of one geometry."""

    count: int = 0
    unbounded: int = 0
    below: int = 0
    worst: float = np.inf
    ratios: list = field(default_factory=list)


def run(problems, points, seed, peers=0.02):
    """Tallies by geometry, and the cases below: (seed of the problem, name, gap, excess)."""
    tallies, faults = defaultdict(Tally), []
    for k in range(problems):
        rng = np.random.default_rng([seed, k])
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                case = draw(rng)
            except jko.JkoError:
                continue
            if case is None:
                continue
            known = candidates(case, rng, rng.random() < peers)
            known = [w for w in known if np.isfinite(w).all() and w.sum() > 0]
            ranked = sorted(known, key=lambda w: _order(case, w))
            tried = list(perturbed(case, ranked[0], rng, points))
            check(case, [*known, *tried], k, tallies[case.geometry], faults)
    return tallies, faults


def _order(case, w):
    value = case.objective(w)[0]
    return np.inf if np.isnan(value) else value


def check(case, tried, k, tally, faults):
    """Compare the certificates of all points with the excess over the best of them."""
    mass = case.problem.previous.mass
    fixed = case.problem.geometry.conserves_mass
    tried = [w for w in tried if not fixed or abs(w.sum() - mass) <= 1e-14 * mass]
    values = [case.objective(w) for w in tried]
    lowest = min((v for v, _ in values if np.isfinite(v)), default=None)
    if lowest is None:
        return
    for w, (value, size) in zip(tried, values, strict=True):
        if not np.isfinite(value):
            continue
        excess = float(value - lowest)
        for gap in case.gaps(w):
            tally.count += 1
            if gap is None or np.isinf(gap):
                tally.unbounded += 1
                continue
            if gap < excess * (1 - 1e-12) - FINE * size:
                tally.below += 1
                faults.append((k, case.name, case.geometry, gap, excess, gap / max(size, 1e-300)))
            if excess > 1e-9 * size:
                tally.ratios.append(gap / excess)
                tally.worst = min(tally.worst, gap / excess)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=2500)
    parser.add_argument("--points", type=int, default=45)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peers", type=float, default=0.02, help="share of SciPy and Clarabel")
    args = parser.parse_args()
    began = time.process_time()
    tallies, faults = run(args.problems, args.points, args.seed, args.peers)
    head = f"{'geometry':12s} {'certificates':>12s} {'none':>7s} {'below':>6s}"
    print(f"{head}  least  median gap/excess")
    total = below = 0
    for name, tally in sorted(tallies.items()):
        median = np.median(tally.ratios) if tally.ratios else float("nan")
        print(f"{name:12s} {tally.count:12d} {tally.unbounded:7d} {tally.below:6d}"
              f"  {tally.worst:.4f}  {median:.3g}")  # fmt: skip
        total, below = total + tally.count, below + tally.below
    for fault in faults[:20]:
        print(
            "below: problem {} ({} in {}): gap {:.9e}, excess {:.9e}, gap/size {:.1e}".format(
                *fault
            )
        )
    print(f"{total} certificates, {below} below the true excess,"
          f" seed {args.seed}, {time.process_time() - began:.0f} CPU s")  # fmt: skip
    return int(below > 0)


if __name__ == "__main__":
    sys.exit(main())
