"""Hard posteriors with known answers: errors, verdicts and cost beside what is asked.

    OPENBLAS_NUM_THREADS=1 python benchmarks/posterior_problems.py
    OPENBLAS_NUM_THREADS=1 python benchmarks/posterior_problems.py --only mixture evidence
    OPENBLAS_NUM_THREADS=1 python benchmarks/posterior_problems.py --only lotka --database PATH

mixture: two normals with ordered means, 1000 observations, in mu_1, log(mu_2 - mu_1), log scales
and a logit; the reference is importance sampling from Student's t around the top. regression: 26
coefficients, correlation condition 2.4e5, exact. gaussian: d = 100, condition 1e4, exact.
hierarchy: centred eight schools and funnels, exact; right or not converged. evidence: five
conjugate models. lotka: the posterior of that name in a copy of `posteriordb`, against its
reference draws. Errors are the worst over the coordinates; `cpu` is processor time.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from scipy import optimize, special

import jko

#: What `python -m benchmarks` passes: sizes fit for a minute.
QUICK = ["--only", "gaussian", "evidence"]

sys.path += [str(Path(__file__).parents[1] / "tests"), str(Path(__file__).parent)]

from generators.exact_targets import (  # noqa: E402
    funnel,
    normal_mixture_posterior,
    of_gaussian,
    regression,
    rotated,
    schools,
)


def sampled(target, seed, **options):
    cpu, clock = time.process_time(), time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("ignore", jko.JkoWarning)
        out = jko.sample(target, rng=seed, **options)
    return out, time.process_time() - cpu, time.perf_counter() - clock


def density(exact):
    return jko.LogDensity(exact.log_density, exact.gradient, exact.dim)


def report(name, seed, off, off_std, out, cpu, wall):
    verdict = "converged" if out.converged else "not converged: "
    verdict += ", ".join(k for k, e in out.evidence.items() if not e.passes)
    right = off <= 0.1 and off_std <= 0.1
    false = "  FALSE" if out.converged and not right else ""
    print(
        f"{name:<44} seed {seed}: mean {off:7.3f} sd, sd {off_std:6.1%},"
        f" {out.diagnostics['evaluations']:8d} evaluations, {cpu:6.1f} s cpu, {wall:6.1f} s,"
        f" {verdict}{false}",
        flush=True,
    )


def judged(exact, mean, std, seeds):
    for seed in seeds:
        out, cpu, wall = sampled(density(exact), seed)
        off = np.abs(out.mean - mean) / std
        report(exact.name, seed, off.max(), np.abs(out.std / std - 1).max(), out, cpu, wall)


def weighed(exact, start, count=40_000, df=5.0, seed=0):
    """Mean and sd by importance sampling from Student's t with the curvature at the top."""
    rng = np.random.default_rng(seed)
    minus = lambda x: -exact.log_density(x[None])[0]
    slope = lambda x: -exact.gradient(x[None])[0]
    top = optimize.minimize(minus, start, jac=slope, method="BFGS").x
    h = 1e-5
    hessian = np.array(
        [(slope(top + h * e) - slope(top - h * e)) / (2 * h) for e in np.eye(len(top))]
    )
    cov = np.linalg.inv((hessian + hessian.T) / 2)
    root = np.linalg.cholesky(cov)
    z = rng.standard_normal((count, len(top)))
    z *= np.sqrt(df / rng.chisquare(df, count))[:, None]
    x = top + z @ root.T
    values = np.concatenate([exact.log_density(part) for part in np.array_split(x, 40)])
    log_w = values + 0.5 * (df + len(top)) * np.log1p((z**2).sum(1) / df)
    w = np.exp(log_w - log_w.max())
    w /= w.sum()
    mean = w @ x
    std = np.sqrt(w @ (x - mean) ** 2)
    return mean, std, 1 / (w @ w)


def mixture(args):
    print("asked: right on 3 of 3 seeds in 60 s")
    exact = normal_mixture_posterior()
    mean, std, size = weighed(exact, np.array([-1.5, 1.2, 0.0, -0.3, -0.4]))
    print(f"reference: effective size {size:.0f}, mean {mean.round(3)}, sd {std.round(3)}")
    judged(exact, mean, std, args.seeds)


def linear(args):
    print("asked: within .05 sd and 25 s")
    exact = regression(26, 200, 0.9999)
    judged(exact, exact.mean, exact.std, args.seeds)


def gaussian(args):
    print("asked: converged within .5 million evaluations")
    exact = of_gaussian("Gaussian, d = 100, condition 1e4", np.ones(100), rotated(100, 1e4))
    judged(exact, exact.mean, exact.std, args.seeds)


def hierarchy(args):
    print("asked: right or not converged on 10 of 10 seeds")
    for exact in (schools(True), funnel(10, 3.0)):
        judged(exact, exact.mean, exact.std, range(args.many))


def conjugate():
    """Name, log density, gradient, dimension and log evidence of five conjugate models."""
    rng = np.random.default_rng(5)

    # Normal mean, unit noise, N(0, 4) prior, two coordinates.
    y = rng.normal([1.0, -2.0], 1.0, (20, 2))
    total, n = y.sum(axis=0), len(y)
    variance = 1 / (n + 1 / 4)
    exact = -0.5 * (y**2).sum() - n * np.log(2 * np.pi)
    exact += (0.5 * np.log(variance / 4) + 0.5 * variance * total**2).sum()
    normal = (
        lambda x: (
            -0.5 * (y**2).sum()
            - n * np.log(2 * np.pi)
            + (x * total - 0.5 * n * x**2).sum(1)
            - (x**2 / 8 + 0.5 * np.log(8 * np.pi)).sum(1)
        ),
        lambda x: total - n * x - x / 4,
    )
    yield "normal mean", *normal, 2, exact

    # Linear regression, known noise, N(0, 1) prior.
    table = rng.standard_normal((40, 6)) @ np.triu(np.ones((6, 6)))
    z = table @ rng.standard_normal(6) + rng.standard_normal(40)
    precision = table.T @ table + np.eye(6)
    fit = np.linalg.solve(precision, table.T @ z)
    exact = -20 * np.log(2 * np.pi) - 0.5 * (z @ z - fit @ precision @ fit)
    exact -= 0.5 * np.linalg.slogdet(precision)[1]
    line = (
        lambda b: (
            -0.5 * ((z - b @ table.T) ** 2).sum(1) - 0.5 * (b**2).sum(1) - 23 * np.log(2 * np.pi)
        ),
        lambda b: (z - b @ table.T) @ table - b,
    )
    yield "linear regression", *line, 6, exact

    # Beta(2, 3) and 7 successes of 20, logit coordinate.
    exact = special.betaln(9, 16) - special.betaln(2, 3)
    beta = (
        lambda x: (
            -9 * np.logaddexp(0, -x[:, 0]) - 16 * np.logaddexp(0, x[:, 0]) - special.betaln(2, 3)
        ),
        lambda x: 9 - 25 * special.expit(x),
    )
    yield "beta, binomial", *beta, 1, exact

    # Gamma(2, rate 1) and Poisson counts, log coordinate.
    counts = rng.poisson(3.0, 15)
    a, b = 2 + counts.sum(), 1 + len(counts)
    constant = -special.gammaln(counts + 1).sum()
    exact = constant + special.gammaln(a) - a * np.log(b)
    gamma = (
        lambda x: a * x[:, 0] - b * np.exp(x[:, 0]) + constant,
        lambda x: a - b * np.exp(x),
    )
    yield "gamma, Poisson", *gamma, 1, exact

    # Normal mean and variance, normal-inverse-gamma prior, coordinates mu and log sigma.
    u = rng.normal(2.0, 3.0, 30)
    m = len(u)
    # sigma^2 ~ InvGamma(2, 2), mu | sigma ~ N(0, sigma^2 / 0.5)
    k, alpha = 0.5 + m, 2 + m / 2
    rate = 2 + 0.5 * ((u - u.mean()) ** 2).sum() + 0.5 * 0.5 * m * u.mean() ** 2 / k
    exact = special.gammaln(alpha) - special.gammaln(2.0) + 2 * np.log(2.0) - alpha * np.log(rate)
    exact += 0.5 * np.log(0.5 / k) - 0.5 * m * np.log(2 * np.pi)

    def both(x):
        mu, s = x[:, 0], x[:, 1]
        square = ((u - mu[:, None]) ** 2).sum(1) + 0.5 * mu**2 + 4
        value = -0.5 * square * np.exp(-2 * s) - (m + 1) * s - 4 * s
        value += -0.5 * (m + 1) * np.log(2 * np.pi) + 0.5 * np.log(0.5)
        value += 2 * np.log(2.0) - special.gammaln(2.0) + np.log(2.0)
        slope = (u.sum() - (m + 0.5) * mu) * np.exp(-2 * s)
        return value, np.stack([slope, square * np.exp(-2 * s) - (m + 5)], axis=1)

    yield "normal mean and variance", lambda x: both(x)[0], lambda x: both(x)[1], 2, exact


def evidence(args):
    print("asked: log evidence within its stated error, that at most .3")
    for name, value, slope, dim, exact in conjugate():
        for seed in args.seeds:
            out, cpu, _ = sampled(jko.LogDensity(value, slope, dim), seed)
            if out.log_evidence is None:
                print(f"{name:<30} seed {seed}: none")
                continue
            off, error = out.log_evidence - exact, out.log_evidence_error
            print(
                f"{name:<30} seed {seed}: {out.log_evidence:9.3f} exact {exact:9.3f}, off"
                f" {off:+.4f}, stated {error:.4f} ({off / error:+.1f} of it), {cpu:.1f} s cpu",
                flush=True,
            )


def lotka(args):
    print("asked: within .05 sd")
    if args.database is None:
        print("no --database: not run")
        return
    from posterior_database import Database, run

    database = Database(args.database)
    found = [p for p in database.posteriors() if p["name"] == "hudson_lynx_hare-lotka_volterra"]
    for seed in args.seeds:
        print(run(database, found[0], seed), flush=True)


PARTS = {
    "mixture": mixture,
    "regression": linear,
    "gaussian": gaussian,
    "hierarchy": hierarchy,
    "evidence": evidence,
    "lotka": lotka,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--many", type=int, default=10, help="seeds of the hierarchies")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--database", type=Path, help="a copy of posteriordb")
    args = parser.parse_args()
    for name in args.only:
        print(f"\n{name}: ", end="")
        PARTS[name](args)


if __name__ == "__main__":
    main()
