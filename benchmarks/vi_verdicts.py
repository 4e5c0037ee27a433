"""Can the verdict of `jko.vi.fit` be believed? Fits of targets whose right answer is known.

Inclusive fits against exact means and standard deviations (closed forms and one-dimensional
integrals): right means every mean within .1 standard deviations and every standard deviation
within 10 %. Exclusive fits against the best Gaussian from SciPy's optimiser on products of one-
dimensional densities, turned by a matrix: right means (2 KL)^{1/2} <= .1 from it.

    python benchmarks/vi_verdicts.py              # two seeds, a table
    python benchmarks/vi_verdicts.py --seeds 5
    python benchmarks/vi_verdicts.py --write      # and put it into docs/variational_inference.md

A wrong fit that calls itself converged is a false "converged" (bar: none); a right one that does
not is a false alarm (bar: 10 % of right fits).
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats
from scipy.optimize import minimize

import jko
from jko.geometries.gaussian import gaussian_kl

#: What `python -m benchmarks` passes.
QUICK = ("--seeds", "1", "--only", "d = 2")
PAGE = Path(__file__).parents[1] / "docs" / "variational_inference.md"
BEGIN, END = "<!-- verdicts: begin -->", "<!-- verdicts: end -->"


@dataclass(frozen=True, eq=False)
class Known:
    """A log density with the means and standard deviations of its coordinates."""

    name: str
    log_density: Callable
    mean: np.ndarray
    sd: np.ndarray
    start: jko.Gaussian | None = None

    @property
    def dim(self) -> int:
        return len(self.mean)

    def fit(self, seed: int) -> tuple[bool, bool, str]:
        """Whether the fit is right, whether it says so, and what it says."""
        try:
            fit = jko.vi.fit(
                self.log_density,
                self.dim,
                objective="inclusive",
                start=self.start,
                rng=seed,
                throw=False,
            )
        except jko.JkoError as error:
            return False, False, type(error).__name__
        sd = np.sqrt(np.diag(fit.measure.cov))
        far = np.abs(fit.measure.mean - self.mean) / self.sd
        off = np.abs(sd / self.sd - 1)
        return bool(far.max() <= 0.1 and off.max() <= 0.1), fit.success, "; ".join(fit.failures)


def product(name: str, law, dim: int, **more) -> Known:
    """Independent coordinates of one law of SciPy."""
    mean, sd = np.full(dim, float(law.mean())), np.full(dim, float(law.std()))

    def log_density(x):
        with np.errstate(all="ignore"):
            return law.logpdf(x).sum(axis=1)

    return Known(name, log_density, mean, sd, **more)


def gaussian(dim: int, condition: float) -> Known:
    q = np.linalg.qr(np.random.default_rng(dim).normal(size=(dim, dim)))[0]
    values = np.geomspace(1, 1 / condition, dim)
    cov = (q * values) @ q.T
    return Known(
        f"Gaussian, d = {dim}, condition {condition:.0e}",
        lambda x: -0.5 * ((x @ q) ** 2 / values).sum(axis=1),
        np.zeros(dim),
        np.sqrt(np.diag(cov)),
    )


def mixture(name: str, means, sds, weights, **more) -> Known:
    means = np.array(means, float)
    covs = [s**2 * np.eye(means.shape[1]) for s in sds]
    g = jko.GaussianMixture(means, np.array(covs), np.array(weights))
    return Known(name, g.log_density_at, g.mean, np.sqrt(np.diag(g.cov)), **more)


def funnel(dim: int, scale: float) -> Known:
    """x_0 of standard deviation `scale`, the others exp(x_0 / 2)."""

    def log_density(x):
        v = x[:, :1]
        rest = -0.5 * (x[:, 1:] ** 2 * np.exp(-v) + v).sum(axis=1)
        return -0.5 * (v[:, 0] / scale) ** 2 + rest

    sd = np.full(dim, np.exp(scale**2 / 4))
    sd[0] = scale
    return Known(f"funnel, d = {dim}, scale {scale:g}", log_density, np.zeros(dim), sd)


def banana(dim: int, bend: float) -> Known:
    """x_0 ~ N(0, 1), x_1 ~ N(bend (x_0^2 - 1), 1), the others standard normal."""

    def log_density(x):
        b = x[:, 1] - bend * (x[:, 0] ** 2 - 1)
        return -0.5 * (x[:, 0] ** 2 + b**2 + (x[:, 2:] ** 2).sum(axis=1))

    sd = np.ones(dim)
    sd[1] = np.sqrt(1 + 2 * bend**2)
    return Known(f"banana, d = {dim}, bend {bend:g}", log_density, np.zeros(dim), sd)


def ring(radius: float, width: float) -> Known:
    r = np.linspace(0, radius + 12 * width, 200_001)
    w = r * np.exp(-0.5 * ((r - radius) / width) ** 2)
    second = float((w * r**2).sum() / w.sum()) / 2
    return Known(
        "ring",
        lambda x: -0.5 * ((np.linalg.norm(x, axis=1) - radius) / width) ** 2,
        np.zeros(2),
        np.full(2, np.sqrt(second)),
        jko.Gaussian([0.5, 0.0], radius**2 * np.eye(2)),
    )


def triangle() -> Known:
    """Uniform on x, y > 0, x + y < 1."""
    inside = lambda x: (x > 0).all(axis=1) & (x.sum(axis=1) < 1)
    return Known(
        "uniform on a triangle",
        lambda x: np.where(inside(x), 0.0, -np.inf),
        np.full(2, 1 / 3),
        np.full(2, np.sqrt(1 / 18)),
    )


def inclusive() -> Iterator[Known]:
    yield gaussian(2, 1e0)
    yield gaussian(10, 1e4)
    yield gaussian(50, 1e2)
    yield product("Student, 8 degrees, d = 3", stats.t(8), 3)
    yield product("Student, 3 degrees, d = 2", stats.t(3), 2)
    yield product("Laplace, d = 4", stats.laplace(), 4)
    yield product("logistic, d = 5", stats.logistic(), 5)
    yield product("Gumbel, d = 5", stats.gumbel_r(), 5)
    yield product("skew normal, d = 3", stats.skewnorm(5), 3)
    yield product("uniform, d = 3", stats.uniform(), 3)
    yield product("uniform, d = 8", stats.uniform(-0.5, 1.0), 8)
    yield product("exponential, d = 3", stats.expon(), 3)
    yield product("gamma 3, d = 4", stats.gamma(3), 4)
    yield product("beta 2 3, d = 3", stats.beta(2, 3), 3)
    yield product("half normal, d = 2", stats.halfnorm(), 2)
    yield product("truncated normal, d = 2", stats.truncnorm(0.5, 3), 2)
    yield triangle()
    yield banana(2, 0.5)
    yield banana(6, 2.0)
    yield funnel(3, 1.0)
    yield funnel(2, 3.0)
    yield funnel(10, 3.0)
    yield mixture("two modes, d = 2", [[-4, 0], [4, 1]], [1, 0.7], [0.3, 0.7])
    yield mixture("two modes, d = 5", [[-4] * 5, [2] * 5], [1, 1], [0.2, 0.8])
    yield mixture("three modes, d = 3", [[0] * 3, [8, 0, 0], [0, 9, 3]], [1, 1, 2], [0.5, 0.2, 0.3])
    yield mixture("two scales of modes, d = 2", [[-3, 0], [3, 0]], [0.2, 2], [0.5, 0.5])
    yield mixture("two scales of modes, d = 5", [[-3] * 5, [3] * 5], [0.2, 2], [0.5, 0.5])
    yield mixture("a wide component of 0.1 %", [[0, 0], [0, 0]], [1, 100], [0.999, 0.001])
    yield ring(3.0, 0.5)


@dataclass(frozen=True, eq=False)
class Turned:
    """A product of one-dimensional log densities, and a matrix that turns it."""

    name: str
    parts: list[Callable]
    seed: int = 0

    def matrix(self) -> np.ndarray:
        d = len(self.parts)
        return np.eye(d) + 0.5 * np.random.default_rng(self.seed).normal(size=(d, d))

    def best(self) -> list[jko.Gaussian]:
        """The best Gaussian, part by part: the exclusive problem of a product splits."""
        pairs = [_best_on_a_line(part) for part in self.parts]
        a = self.matrix()
        mean, sd = (np.array(v) for v in zip(*pairs, strict=True))
        return [jko.Gaussian(a @ mean, (a * sd**2) @ a.T)]

    def fit(self, seed: int) -> tuple[bool, bool, str]:
        """Whether the fit is right, whether it says so, and what it says."""
        inverse = np.linalg.inv(self.matrix())

        def log_density(x):
            y = x @ inverse.T
            return sum(part(y[:, j]) for j, part in enumerate(self.parts))

        try:
            fit = jko.vi.fit(log_density, len(self.parts), rng=seed, throw=False)
        except jko.JkoError as error:
            return False, False, type(error).__name__
        right = min(gaussian_kl(fit.measure, g) for g in self.best()) <= 0.005
        return right, fit.success, "; ".join(fit.failures) or fit.status


def _best_on_a_line(part: Callable) -> tuple[float, float]:
    """Mean and standard deviation that minimise KL(q|p), on 4001 quantiles of the normal law."""
    z = np.linspace(-9, 9, 4001)
    w = np.exp(-0.5 * z**2)
    w /= w.sum()
    loss = lambda v: -float(w @ part(v[0] + np.exp(v[1]) * z)) - v[1]
    starts = [(m, s) for m in (-2.0, 0.0, 2.0) for s in (-1.0, 0.5)]
    options = {"xatol": 1e-8, "fatol": 1e-12, "maxiter": 4000}
    found = [minimize(loss, s, method="Nelder-Mead", options=options) for s in starts]
    best = min(found, key=lambda r: r.fun).x
    return float(best[0]), float(np.exp(best[1]))


def exclusive() -> Iterator[Turned]:
    laws = {
        "Gaussian": stats.norm(1.0, 2.0).logpdf,
        "logistic": stats.logistic().logpdf,
        "Student": stats.t(5).logpdf,
        "Cauchy": stats.cauchy().logpdf,
        "Gumbel": stats.gumbel_r().logpdf,
        "Laplace": stats.laplace().logpdf,
        "log gamma": stats.loggamma(0.5).logpdf,
        "quartic": lambda y: -(y**4) / 4 + y**2 / 4,
        "skew normal": lambda y: -0.5 * y**2 + stats.norm.logcdf(3 * y),
    }
    for i, (name, law) in enumerate(laws.items()):
        yield Turned(f"{name}, d = 2", [law] * 2, i)
        if name in ("logistic", "Gumbel", "Laplace", "Student", "log gamma"):
            yield Turned(f"{name}, d = 8", [law] * 8, i)
    mixed = [laws[n] for n in ("Gaussian", "Student", "Gumbel", "quartic", "skew normal")]
    yield Turned("five laws, d = 5", mixed, 3)


def row(kind: str, case, seeds: int) -> tuple[str, np.ndarray]:
    """A line of the table, and counts: right and said, right and not, wrong and said, wrong."""
    counts, said, began = np.zeros(4, int), "", time.perf_counter()
    for seed in range(seeds):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            right, success, words = case.fit(seed)
        counts[(0 if success else 1) if right else (2 if success else 3)] += 1
        said = said or ("" if success else words)
    seconds = (time.perf_counter() - began) / seeds
    print(f"{kind:10s} {case.name:36s} {counts} {seconds:6.2f} s  {said}", flush=True)
    cells = " | ".join(str(c) if c else "" for c in counts)
    return f"| {kind} | {case.name} | {cells} |", counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only", default="", help="part of the name of a target")
    parser.add_argument("--write", action="store_true", help="put the table into the docs")
    args = parser.parse_args()
    lines, total = [], np.zeros(4, int)
    for kind, cases in (("inclusive", inclusive()), ("exclusive", exclusive())):
        for case in cases:
            if args.only in f"{kind} {case.name}":
                line, counts = row(kind, case, args.seeds)
                lines.append(line)
                total += counts
    share = total[1] / max(total[0] + total[1], 1)
    summary = (
        f'{len(lines)} targets, {args.seeds} seeds: {total[2]} false "converged", false alarms'
        f" on {share:.0%} of {total[0] + total[1]} right fits."
    )
    print(summary)
    if args.write:
        names = "objective | target | right, converged | right, not | wrong, converged | wrong, not"
        head = f"| {names} |"
        table = "\n".join([summary, "", head, "|---|---|---|---|---|---|", *lines])
        before, rest = PAGE.read_text().split(BEGIN)
        after = rest.split(END)[1]
        PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")


if __name__ == "__main__":
    main()
