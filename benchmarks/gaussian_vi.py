"""Gaussian variational inference: the bound reached, the seconds, and how stiff a target may be.

Bayesian logistic regression, N observations of d covariates, prior N(0, I): `jko.vi.fit` sees the
log density and its gradient as black boxes; the reference is SciPy's L-BFGS in mean and Cholesky
factor on the exact bound (one-dimensional Gauss-Hermite per observation), started from the same
Laplace approximation. Both bounds are evaluated exactly.

    python benchmarks/gaussian_vi.py              # d = 10 (N = 50) and d = 100 (N = 500)
    python benchmarks/gaussian_vi.py --seeds 5

The second table: Gaussian targets of growing condition number from N(0, I), the error (2 KL)^{1/2}
in the Fisher metric of the fit, and of 40 exact Fisher-Rao flow steps of length 1.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from generators.logistic import Logistic

import jko
from jko.geometries.gaussian import gaussian_kl

#: What `python -m benchmarks` passes: sizes fit for a minute.
QUICK = ["--seeds", "1"]


def logistic(dim: int, count: int, seed: int) -> None:
    problem = Logistic.draw(dim, count, seed)
    fit = jko.vi.fit(problem.target, rng=seed)
    began = time.perf_counter()
    best, gradient = problem.optimum(fit.laplace, max_iter=20_000)
    seconds = time.perf_counter() - began
    ours, laplace = problem.elbo_of(fit.measure), problem.elbo_of(fit.laplace)
    print(
        f"{dim:5d} {count:5d} {seed:5d} {best:13.5f} {gradient:8.0e} {best - laplace:10.4f}"
        f" {best - ours:10.1e} {fit.moment_error:8.3f} {fit.seconds:8.2f} {seconds:8.2f}"
    )


def distance(a: jko.Gaussian, b: jko.Gaussian) -> float:
    return float(np.sqrt(2 * max(gaussian_kl(a, b), 0.0)))


def stiff(dim: int, condition: float) -> None:
    rng = np.random.default_rng(dim)
    q = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    values, mean = np.geomspace(1, 1 / condition, dim), rng.normal(size=dim)
    target, start = jko.Gaussian(mean, (q * values) @ q.T), jko.Gaussian(np.zeros(dim), np.eye(dim))
    black_box = jko.LogDensity(
        lambda x: -0.5 * (((x - mean) @ q) ** 2 / values).sum(axis=1),
        lambda x: -((x - mean) @ q / values) @ q.T,
        dim,
    )
    fit = jko.vi.fit(black_box, start=start, tol=1e-7, throw=False)
    sol = jko.flow(start, jko.KL(target), jko.SphericalHellinger(), tau=1.0, steps=40)
    least = min(float(np.linalg.eigvalsh(m.cov)[0]) for m in sol.measures)
    print(
        f"{dim:5d} {condition:9.0e} {distance(fit.measure, target):10.1e} {len(fit.trace):6d}"
        f" {fit.seconds:8.2f} {distance(sol.final, target):12.1e} {least:12.1e}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    chosen = parser.parse_args()
    print("    d     N  seed  best bound  gradient    Laplace        fit    error        seconds")
    print("                      (L-BFGS)            short by   short by  claimed     fit   L-BFGS")
    for dim, count in ((10, 50), (100, 500)):
        for seed in range(chosen.seeds):
            logistic(dim, count, seed)
    print("\n    d condition  fit error  steps  seconds   flow error  least eigenvalue on the way")
    for condition in (1e3, 1e6, 1e9):
        for dim in (5, 20, 50):
            stiff(dim, condition)


if __name__ == "__main__":
    main()
