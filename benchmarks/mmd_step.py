"""One MMD step on a fixed support: the public `jko.step` against public QP solvers.

Particles x ~ N(0, I) in the plane, target n points of .8 N(0, I) + (.7, -.3), Gaussian kernel,
eta = 1:  min over the simplex of  1/2 w'Kw (1 + 1/eta) - w'(K_xy b + K w'/eta).

    python benchmarks/mmd_step.py 1000 5000                       # with the peers
    python benchmarks/mmd_step.py 10000 20000 50000 100000 --bandwidth 1 --tol 1e-8 --no-peers

From measures (or points, for the peers) to the certified result. Seconds are those of the
processor, one BLAS thread each, so that a busy machine does not change ratios; the clock's follow
in brackets. Gaps are relative to max(1, |objective|) and those of the true kernel up to
--exact-limit atoms; above, they are the bound of the step, the error of its factor included. With
several n the last line fits seconds ~ n^slope.

The tolerance of jko is relative to the size of the objective's terms, .15 here, that of the peers
to max(1, |objective|): at equal `--tol` the step reaches a gap about seven times smaller.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import resource
import statistics
import time
from collections.abc import Callable

import numpy as np
from scipy.optimize import nnls

import jko
from jko.solvers.weights.interior_point import simplex_gap

#: What `python -m benchmarks` passes: sizes fit for a minute.
QUICK = ["500", "1000", "--repeats", "2"]

ETA = 1.0
SCALE = 1 + 1 / ETA


def cloud(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return rng.standard_normal((n, 2)), 0.8 * rng.standard_normal((n, 2)) + [0.7, -0.3]


def kernel_product(x, y, v, h, rows=64):
    """K(x, y) v, in row blocks that stay in cache."""
    out, a, b = np.empty(len(x)), x / h, y / h
    left = np.column_stack([a, -0.5 * (a * a).sum(1), -np.ones(len(a))])
    right = np.vstack([b.T, np.ones(len(b)), 0.5 * (b * b).sum(1)])
    for i in range(0, len(x), rows):
        block = left[i : i + rows] @ right
        out[i : i + rows] = np.exp(block, out=block) @ v
    return out


def gram(x, y, h):
    return np.exp(-((x[:, None] - y[None]) ** 2).sum(-1) / (2 * h * h))


def pivoted(x, h, tol):
    """Rows (r, n) of the pivoted Cholesky factor and its error max diag(K - L L')."""
    # rows beyond the rank are never touched, so they take no memory
    rows, rest, rank = np.empty((min(len(x), 2000), len(x))), np.ones(len(x)), 0
    while rest.max() > tol and rank < len(rows):
        i = int(rest.argmax())
        column = np.exp(-((x - x[i]) ** 2).sum(1) / (2 * h * h))
        column -= rows[:rank, i] @ rows[:rank]
        rows[rank] = column / np.sqrt(rest[i])
        rest -= rows[rank] ** 2
        rest[i], rank = 0.0, rank + 1
    return rows[:rank], float(rest.max())


def ours(x, y, h, tol):
    """Weights, certified gap, note."""
    kernel = jko.kernels.Gaussian(h)
    energy, geometry = jko.MMDEnergy(jko.Particles(y), kernel), jko.MMD(kernel)
    found = jko.step(jko.Particles(x), energy, geometry, ETA, tol=tol, throw=False)
    note = f"rank {found.info['rank']}, {found.iterations} iterations, {found.status.name}"
    if "lowrank_error" in found.info:
        note += f", {found.info['lowrank_error']:.1e} of the gap for the factor"
    return found.measure.weights, found.gap / max(1.0, abs(found.objective)), note


def dense_terms(x, y, h):
    w = np.full(len(x), 1 / len(x))
    k = gram(x, x, h)
    return k, gram(x, y, h) @ np.full(len(y), 1 / len(y)) + k @ w / ETA


def by_piqp(x, y, h, tol):
    import piqp

    k, c = dense_terms(x, y, h)
    n = len(c)
    solver = piqp.DenseSolver()
    solver.settings.eps_abs = solver.settings.eps_rel = 0.1 * tol
    solver.settings.verbose = False
    hessian = SCALE * k + 1e-13 * np.eye(n)
    solver.setup(hessian, -c, np.ones((1, n)), np.ones(1), None, None, None, np.zeros(n), None)
    status = solver.solve()
    return solver.result.x, None, f"{solver.result.info.iter} iterations, {status.name}"


def by_clarabel(x, y, h, tol, factor=False):
    import cvxpy as cp

    k, c = dense_terms(x, y, h)
    v = cp.Variable(len(c))
    if factor:
        rows, _ = pivoted(x, h, 1e-10)
        quadratic = cp.sum_squares(rows @ v)
    else:
        values, vectors = np.linalg.eigh(k)
        k = (vectors * np.maximum(values, 0)) @ vectors.T
        quadratic = cp.quad_form(v, cp.psd_wrap((k + k.T) / 2))
    problem = cp.Problem(cp.Minimize(SCALE / 2 * quadratic - c @ v), [v >= 0, cp.sum(v) == 1])
    t = 0.1 * tol
    problem.solve(solver="CLARABEL", tol_gap_abs=t, tol_gap_rel=t, tol_feas=t)
    return v.value, None, problem.status


def by_nnls(x, y, h, tol):
    """min |sqrt(a) L'w - q/sqrt(a)|^2 with Lq = c and a heavy row for the mass."""
    w = np.full(len(x), 1 / len(x))
    rows, _ = pivoted(x, h, 0.1 * tol)
    c = kernel_product(x, y, w, h) + kernel_product(x, x, w, h) / ETA
    q = np.linalg.lstsq(rows.T, c, rcond=None)[0]
    heavy = 1e3
    a = np.vstack([np.sqrt(SCALE) * rows, np.full((1, len(x)), heavy)])
    v, _ = nnls(a, np.append(q / np.sqrt(SCALE), heavy), maxiter=30 * len(x))
    return v, None, f"rank {len(rows)}"


PEERS: dict[str, tuple[Callable, int]] = {
    "scipy nnls": (by_nnls, 5000),
    "piqp": (by_piqp, 5000),
    "cvxpy+clarabel": (by_clarabel, 5000),
    "cvxpy+clarabel, factor": (lambda *a: by_clarabel(*a, factor=True), 2000),
}


def timed(method, repeats, *args):
    """Medians of processor and clock seconds, and the last answer."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time(), time.perf_counter()
        weights, gap, note = method(*args)
        seconds.append((time.process_time() - start[0], time.perf_counter() - start[1]))
    processor, clock = (statistics.median(s) for s in zip(*seconds, strict=True))
    weights = np.maximum(weights, 0)
    return processor, clock, weights / weights.sum(), gap, note


def true_gap(x, y, h, weights):
    """Frank-Wolfe gap by kernel products that no solver made."""
    u = np.full(len(x), 1 / len(x))
    c = kernel_product(x, y, u, h) + kernel_product(x, x, u, h) / ETA
    kw = kernel_product(x, x, weights, h)
    return simplex_gap(weights, SCALE * kw - c) / max(
        1, abs(SCALE / 2 * weights @ kw - c @ weights)
    )


def report(name, problem, exact, answer, base):
    """One line; `base` is our time, for the ratio."""
    processor, clock, weights, gap, note = answer
    kind = "bound"
    if exact:
        gap, kind = true_gap(*problem[:3], weights), "true"
    ratio = "" if base is None else f"  x{processor / base:.1f}"
    figures = f"{processor:9.3f} s ({clock:.3f})  {kind} gap {gap:.1e}"
    print(f"{len(problem[0]):7d}  {name:24s} {figures}  {note}{ratio}", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("n", type=int, nargs="*", default=[1000])
    parser.add_argument("--bandwidth", type=float, default=0.5)
    parser.add_argument("--tol", type=float, default=1e-9)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--exact-limit", type=int, default=20000)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS))
    return parser.parse_args()


def main() -> None:
    args = arguments()
    times = []
    ours(*cloud(100, np.random.default_rng(1)), 1.0, 1e-6)  # imports are not the step's
    for n in args.n:
        problem = *cloud(n, np.random.default_rng(0)), args.bandwidth, args.tol
        mine = timed(ours, args.repeats, *problem)
        times.append(mine[0])
        report("jko.step", problem, n <= args.exact_limit, mine, None)
        for name in [] if args.no_peers else args.peers:
            method, most = PEERS[name]
            if n <= most:
                peer = timed(method, 3 if n <= 1000 else 1, *problem)
                report(name, problem, n <= args.exact_limit, peer, mine[0])
    if len(args.n) > 2:
        slope = np.polyfit(np.log(args.n), np.log(times), 1)[0]
        print(f"seconds ~ n^{slope:.2f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"peak memory {peak:.2f} GB")


if __name__ == "__main__":
    main()
