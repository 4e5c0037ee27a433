"""What a small step costs beside its arithmetic: validation, the choice of a solver, the judge.

One step of `--atoms` atoms or cells (or of a Gaussian) in every kind of step of `jko list` that
`auto` solves exactly, the dearest first: by a formula or a scalar equation, or by a root or a
quantile per atom. Beside it the choice of the first solver, and the question which solvers there
are at all. Then flows of `--steps` steps on ten times as many atoms. Seconds of the processor,
medians of `--repeats` runs, one BLAS thread.

Run: python -m benchmarks.small_steps [--atoms 100] [--repeats 30] [--steps 1000] [--all]
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Iterator

import numpy as np

import jko
from jko import survey
from jko.energies.base import Energy
from jko.geometries.base import Geometry
from jko.measures.base import Measure
from jko.prox.problem import ProxProblem
from jko.solvers.auto import select

#: What `python -m benchmarks` passes: sizes fit for a minute.
QUICK = ["--repeats", "10", "--steps", "200"]

TAU = 0.1
#: Rows of the table that are printed unless all are asked for.
ROWS = 20
#: Solvers by formulas and scalar equations; a root or a quantile per atom comes next.
EXACT = (
    "ClosedForm",
    "SphericalFixedPoint",
    "DualRoot",
    "Mirror",
    "Mixture",
    "Bures",
    "GaussianMirror",
    "ExactFlow",
    "Quantile",
)
Cell = tuple[str, Measure, Energy, Geometry]


def cells(n: int, rng: np.random.Generator) -> Iterator[Cell]:
    """Name, measure, energy and geometry of every kind of step."""
    points = np.linspace(-1.0, 1.0, n)[:, None]
    grid = jko.Grid([-2.0], [2.0], [n])
    measures: dict[str, Measure] = {
        "grid": jko.GridDensity.from_function(lambda x: np.exp(-((x[:, 0] - 0.3) ** 2)), grid),
        "histogram": jko.Histogram(points, rng.dirichlet(np.ones(n))),
        "particles": jko.Particles(points),
        "Gaussian": jko.Gaussian(np.zeros(1), np.eye(1)),
    }
    for kind, mu in measures.items():
        for metric, geometry in survey.GEOMETRIES.items():
            for name, energy in survey.ENERGIES.items():
                yield f"{name} in {metric}, {kind}", mu, energy(mu), geometry


def scattered(n: int, rng: np.random.Generator) -> list[Cell]:
    """Steps of scattered atoms that flows are timed with."""
    points = rng.normal(size=(n, 2))
    mu, target = (jko.Histogram(points, rng.dirichlet(np.ones(n))) for _ in range(2))
    energies = {"KL": jko.KL(target), "inclusive KL": jko.InclusiveKL(target)}
    geometries = {"Hellinger": jko.Hellinger(), "spherical Hellinger": jko.SphericalHellinger()}
    return [
        (f"{e} in {g}", mu, energy, geometry)
        for e, energy in energies.items()
        for g, geometry in geometries.items()
    ]


def milliseconds(action: Callable[[], object], repeats: int) -> float:
    """Median processor time of an action, the first run left out."""
    action()
    found = []
    for _ in range(repeats):
        begin = time.process_time()
        action()
        found.append(time.process_time() - begin)
    return 1e3 * statistics.median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--all", action="store_true", help="print every kind of step")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    warnings.simplefilter("ignore", jko.JkoWarning)
    rng, rows = np.random.default_rng(args.seed), []
    for name, mu, energy, geometry in cells(args.atoms, rng):
        try:
            solver = select(ProxProblem(energy, geometry, mu, TAU)).name
        except jko.JkoError:
            continue
        if solver not in EXACT:
            continue
        step = milliseconds(
            lambda: jko.step(mu, energy, geometry, TAU, throw=False),  # noqa: B023
            args.repeats,
        )
        first = milliseconds(
            lambda: select(ProxProblem(energy, geometry, mu, TAU)),  # noqa: B023
            args.repeats,
        )
        choice = milliseconds(lambda: jko.solvers_for(mu, energy, geometry), args.repeats)  # noqa: B023
        rows.append((step, first, choice, name, solver))
    rows.sort(reverse=True)
    head = f"one step, {args.atoms} atoms, {len(rows)} kinds"
    print(f"{head:56s} {'step':>9s} {'choice':>9s} {'which':>9s}  solver")
    for step, first, choice, name, solver in rows[: None if args.all else ROWS]:
        print(f"{name:56s} {step:6.2f} ms {first:6.2f} ms {choice:6.2f} ms  {solver}")
    over = sum(row[0] > 2 for row in rows)
    print(
        f"steps above 2 ms: {over}; dearest choice {max(r[1] for r in rows):.2f} ms,"
        f" dearest question {max(r[2] for r in rows):.2f} ms"
    )
    print(f"\n{args.steps} steps of {10 * args.atoms} atoms")
    for name, mu, energy, geometry in scattered(10 * args.atoms, rng):
        begin = time.process_time()
        sol = jko.flow(mu, energy, geometry, tau=TAU, steps=args.steps)
        print(f"{name:40s} {time.process_time() - begin:6.2f} s   {sol.status}")


if __name__ == "__main__":
    main()
