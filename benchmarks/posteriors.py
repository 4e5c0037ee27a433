"""Posteriors at full size: errors of every seed, time, and what the checks say.

    OPENBLAS_NUM_THREADS=1 python benchmarks/posteriors.py
    OPENBLAS_NUM_THREADS=1 python benchmarks/posteriors.py --seeds 10 --only modes

Errors are the worst over the coordinates: of the mean in posterior standard deviations, of the
standard deviation relative. `cpu` is processor time, `wall` what the clock says. `path` is the
share of the right mode at the end of the tempered path alone, before chains and their jumps.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np

import jko
from jko.sampling.moves.ensemble import settle
from jko.sampling.moves.path import default_spread
from jko.sampling.search.explore import tempered_path
from jko.sampling.target.counted import Counted
from jko.sampling.task import SampleProgress, Task, start_points

#: What `python -m benchmarks` passes: sizes fit for a minute.
QUICK = ["--seeds", "1", "--only", "modes"]

ROOT = Path(__file__).parents[1]
sys.path += [str(ROOT / "demos"), str(ROOT / "tests")]

from _posteriors import (  # noqa: E402
    breast_cancer,
    eight_schools,
    eight_schools_exact,
    schools_observables,
)
from generators.targets import two_modes  # noqa: E402


def timed(target, **options):
    clock, cpu = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        out = jko.sample(target, **options)
    return out, time.process_time() - cpu, time.perf_counter() - clock


def errors(x, w, mean, std):
    m = w @ x
    s = np.sqrt(w @ (x - m) ** 2)
    return np.abs((m - mean) / std).max(), np.abs(s / std - 1).max()


def line(label, figures, out, cpu, wall):
    d = out.diagnostics
    print(
        f"{label} {figures[0]:8.3f} {figures[1]:7.1%} {out.measure.ess:6.0f}"
        f" {np.nanmax(d['rhat']):6.3f} {d['moves']:6d} {out.converged!s:>9} {cpu:6.1f} {wall:6.1f}"
    )


HEAD = "seed    mean     sd    ess   rhat  moves converged    cpu   wall"


def schools(seeds):
    exact = eight_schools_exact()
    mean, std = np.array(list(exact.values())).T
    print("\nEight schools: mu, log tau, tau, theta_1..8 against exact quadrature")
    print(HEAD)
    for seed in range(seeds):
        options = {"observables": schools_observables, "rng": seed}
        out, cpu, wall = timed(eight_schools(), **options)
        x = out.measure.points
        x = np.column_stack([x[:, :2], schools_observables(x)])
        line(f"{seed:4d}", errors(x, out.measure.weights, mean, std), out, cpu, wall)


def logistic(seeds):
    path = ROOT / "tests" / "data" / "breast_cancer_reference.json"
    known = json.loads(path.read_text(encoding="utf-8"))
    mean, std = np.array(known["mean"]), np.array(known["std"])
    print("\nLogistic regression, breast cancer, d = 31, against long Hamiltonian chains")
    print(HEAD)
    target = breast_cancer().target
    for seed in range(seeds):
        out, cpu, wall = timed(target, rng=seed)
        figures = errors(out.measure.points, out.measure.weights, mean, std)
        line(f"{seed:4d}", figures, out, cpu, wall)


def right(x, w=None):
    return float(np.average(x[:, 0] > 4, weights=w))


def path_alone(target, seed):
    """The share of the right mode where the tempered path ends."""
    rng = np.random.default_rng(seed)
    counted = Counted(target)
    points = start_points(None, counted, 1000, rng)
    task = Task(counted, 1000, 1000, points, None, 1, default_spread(target.dim), rng)
    cloud, _, _ = settle(counted, task.cloud(points), rng)
    path = tempered_path(task, cloud.x, 1000, SampleProgress(), np.inf)
    return np.nan if path is None else right(path.points)


def modes(seeds):
    print("\nTwo modes 8 sd apart, weights .3 / .7: share of the right one")
    print("   d    mean   worst run   path: mean   worst run   cpu, wall (largest)  converged")
    for d in (2, 10, 30):
        target, shares, paths, times, ends = two_modes(d), [], [], [], []
        for seed in range(seeds):
            out, cpu, wall = timed(target, rng=seed)
            shares.append(right(out.measure.points, out.measure.weights))
            paths.append(path_alone(target, seed))
            times.append((cpu, wall))
            ends.append(out.converged)
        off = [np.abs(np.array(s) - 0.7).max() for s in (shares, paths)]
        cpu, wall = np.max(times, axis=0)
        print(
            f"{d:4d} {np.mean(shares):7.3f} {off[0]:11.3f} {np.mean(paths):12.3f} {off[1]:11.3f}"
            f" {cpu:10.1f} {wall:6.1f} {sum(ends):12d} of {seeds}"
        )


def one_mode(seeds):
    print("\nStarted in the left mode (sd .2): share of the right one, runs called converged")
    print("   d   method     shares (least, largest)   converged")
    for d in (2, 10, 30):
        start = jko.Gaussian(np.zeros(d), 0.04 * np.eye(d))
        for method in ("tempered", "langevin"):
            shares, ends = [], 0
            for seed in range(seeds):
                out, _, _ = timed(two_modes(d), method=method, start=start, rng=seed)
                shares.append(right(out.measure.points, out.measure.weights))
                ends += out.converged
            print(
                f"{d:4d}   {method:<9} {min(shares):12.3f} {max(shares):9.3f} {ends:12d} of {seeds}"
            )


PARTS = {"schools": schools, "logistic": logistic, "modes": modes, "one_mode": one_mode}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS))
    args = parser.parse_args()
    for name in args.only:
        PARTS[name](args.seeds)


if __name__ == "__main__":
    main()
