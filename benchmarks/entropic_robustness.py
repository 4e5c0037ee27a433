"""Which entropic steps are certified: energies x step lengths x plain and debiased x supports.

Every case is one step with default settings. It ends certified, refused with a reason, or failed;
the table counts them for each energy, with the largest iteration count and time, and lists every
failure. An exception other than a refusal, or a NaN, ends the run.

Run: python benchmarks/entropic_robustness.py [--only NAME ...] [--support line plane atoms]
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

import jko
from jko.solvers import Entropic

#: What `python -m benchmarks` passes: sizes fit for a minute.
QUICK = ["--support", "line", "--tau", "0.1"]

TAUS = (1e-3, 1e-2, 0.05, 0.2, 1.0, 10.0)
Maker = Callable[[jko.Histogram | jko.GridDensity], jko.energies.base.Energy]


@dataclass(frozen=True)
class Case:
    """One step to try."""

    energy: str
    support: str
    tau: float
    debias: bool


def quadratic() -> jko.Potential:
    return jko.Potential(lambda x: 0.5 * (x**2).sum(axis=1))


def double_well() -> jko.Potential:
    return jko.Potential(lambda x: ((x**2).sum(axis=1) - 2.0) ** 2 / 4)


def slope() -> jko.Potential:
    return jko.Potential(lambda x: x[:, 0])


def mmd(kernel: jko.kernels.Kernel) -> Maker:
    return lambda pi: jko.MMDEnergy(pi, kernel)


def box(pi: jko.Histogram | jko.GridDensity) -> jko.BoxConstraint:
    """Density 1 on grids; three times the mean weight between atoms."""
    return jko.BoxConstraint(1.0 if isinstance(pi, jko.GridDensity) else 3 * pi.mass / pi.n)


GAUSS, LAPLACE = jko.kernels.Gaussian(1.0), jko.kernels.Laplace(1.0)

#: Name -> energy of a target. Those below need a target without zeros.
ENERGIES: dict[str, Maker] = {
    "KL": jko.KL,
    "InclusiveKL": jko.InclusiveKL,
    "p=-1": lambda pi: jko.PhiDivergence(pi, p=-1),
    "p=0.5": lambda pi: jko.PhiDivergence(pi, p=0.5),
    "p=2": lambda pi: jko.PhiDivergence(pi, p=2),
    "p=3": lambda pi: jko.PhiDivergence(pi, p=3),
    "Entropy+quadratic": lambda pi: jko.Entropy() + quadratic(),
    "Entropy+double well": lambda pi: jko.Entropy() + double_well(),
    "PorousMedium(2)": lambda pi: jko.PorousMedium(2),
    "PorousMedium(4)": lambda pi: jko.PorousMedium(4),
    "Box+Entropy": lambda pi: box(pi) + jko.Entropy(),
    "Box+Potential": lambda pi: box(pi) + slope(),
    "MMD Gaussian": mmd(GAUSS),
    "MMD Laplace": mmd(LAPLACE),
    "MMD energy": mmd(jko.kernels.Energy()),
    "KL+MMD": lambda pi: jko.KL(pi) + jko.MMDEnergy(pi, GAUSS),
    "InclusiveKL+MMD": lambda pi: jko.InclusiveKL(pi) + jko.MMDEnergy(pi, GAUSS),
    "Potential": lambda pi: quadratic(),
}
SUPPORTS = ("line", "plane", "atoms")


def support(name: str) -> tuple[jko.Histogram | jko.GridDensity, jko.Histogram | jko.GridDensity]:
    """The previous measure and the target."""
    if name == "atoms":
        rng = np.random.default_rng(0)
        x, (m, p) = rng.standard_normal((150, 2)), rng.random((2, 150))
        m[::5], p[3::7] = 0.0, 0.0
        return jko.Histogram(x, m / m.sum()), jko.Histogram(x, p / p.sum())
    grid = jko.Grid(-5.0, 5.0, 400) if name == "line" else jko.Grid([-4, -4], [4, 4], [48, 48])
    mean = np.array([2.0, 1.0])[: grid.dim]
    mu = jko.GridDensity.from_function(
        lambda x: np.exp(-((x - mean) ** 2).sum(axis=1) / 0.5), grid, mass=1.0
    )
    pi = jko.GridDensity.from_function(lambda x: np.exp(-(x**2).sum(axis=1)), grid, mass=1.0)
    return mu, pi


def cases(names: list[str], supports: list[str], taus: list[float]) -> Iterator[Case]:
    for name in names:
        for place in supports:
            for tau in taus:
                for debias in (True, False):
                    yield Case(name, place, tau, debias)


def attempt(case: Case) -> tuple[str, str, int, float]:
    """Outcome, detail, iterations, seconds."""
    mu, pi = support(case.support)
    started = time.perf_counter()
    try:
        energy, solver = ENERGIES[case.energy](pi), Entropic(debias=case.debias)
        result = jko.step(mu, energy, jko.Wasserstein(), case.tau, solver=solver, throw=False)
    except jko.Unsupported as refusal:
        return "refused", str(refusal).split(": ", 1)[-1], 0, 0.0
    seconds = time.perf_counter() - started
    assert np.isfinite(result.measure.weights).all(), case
    if result.success:
        return "certified", f"{result.gap:.1e}", result.iterations, seconds
    gap = "none" if result.gap is None else f"{result.gap:.1e}"
    return "failed", f"{result.status.name} gap {gap}", result.iterations, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=list(ENERGIES))
    parser.add_argument("--support", nargs="*", default=list(SUPPORTS))
    parser.add_argument("--tau", nargs="*", type=float, default=list(TAUS))
    parser.add_argument("--every", action="store_true", help="print every case")
    options = parser.parse_args()
    warnings.simplefilter("ignore", jko.JkoWarning)
    header = f"{'energy':20s} {'step':8s}  certified  refused  failed  iterations  seconds"
    failures, reasons, rows = [], set(), {}
    for case in cases(options.only, options.support, options.tau):
        outcome, detail, iterations, seconds = attempt(case)
        kind = "debiased" if case.debias else "plain"
        label = f"{case.energy:20s} {kind:8s} {case.support:6s} tau {case.tau:<6g}"
        if options.every:
            print(f"{label} {outcome:9s} {iterations:5d} {seconds:6.2f}s {detail}", flush=True)
        if outcome == "failed":
            failures.append(f"{label} {detail}, {iterations} iterations, {seconds:.2f} s")
        if outcome == "refused":
            reasons.add(f"{case.energy}, {kind}: {detail}")
        rows.setdefault((case.energy, kind), []).append((outcome, iterations, seconds))
    print(header)
    for (energy, kind), found in rows.items():
        count = [sum(o == k for o, _, _ in found) for k in ("certified", "refused", "failed")]
        most, slowest = max(i for _, i, _ in found), max(s for _, _, s in found)
        print(
            f"{energy:20s} {kind:8s}  {count[0]:9d}  {count[1]:7d}  {count[2]:6d}"
            f"  {most:10d}  {slowest:7.2f}"
        )
    print(f"\n{len(failures)} failed")
    print("\n".join(failures))
    print("\nrefused:", *sorted(reasons), sep="\n  ")


if __name__ == "__main__":
    main()
