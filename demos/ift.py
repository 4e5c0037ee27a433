"""Interaction-force transport: a far-away cloud flows onto real data in two ways at once.

The flow of F = 1/2 MMD^2(., data) in the geometry alpha W2 + beta MMD, by the JKO splitting: a
Wasserstein step moves the particles, an MMD step moves their weights. Three runs share the start
and the transport step:

  (a) IFT, support fixed    the MMD step may use the particles only; a quadratic program
  (b) transport only        no MMD step: the Wasserstein flow of the MMD
  (c) IFT, support united   the MMD step may also use the data's atoms, then recombines to n atoms;
                            MMD_k <= MMD_{k-1}/(1+eta) + what the recombination costs
"""

import argparse
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from _data import Data, own, wine
from _options import Options, script

import jko
import jko.verify
from jko import plot

FEATURES = ("flavanoids", "color_intensity")  # the pair in which the three cultivars show best
ETA = 0.1  # the MMD step of a time step: beta = 1, tau = eta

# ------------------------------------------------------------------------------------- the flows


@dataclass(frozen=True)
class Problem:
    """The start, the energy and the geometry that the three runs share."""

    start: jko.Particles
    target: jko.Particles
    kernel: jko.kernels.Kernel
    reach: float
    fine: float

    @classmethod
    def of(cls, points: np.ndarray, n: int, rng: np.random.Generator) -> "Problem":
        """A Gaussian cloud five standard deviations away in each column, and a kernel for it.

        A far-away cloud needs a kernel that reaches: at the data's own scale the force on it is
        nil. So one Gaussian has the median distance over the pooled points. Alone it is blind to
        the data's details, so another has half the median distance within the data.
        """
        start = jko.Particles(5.0 + 0.5 * rng.standard_normal((n, 2)))
        reach = jko.kernels.median_bandwidth(np.concatenate([start.points, points]))
        fine = 0.5 * jko.kernels.median_bandwidth(points)
        kernel = 0.5 * jko.kernels.Gaussian(reach) + 0.5 * jko.kernels.Gaussian(fine)
        return cls(start, jko.Particles(points), kernel, reach, fine)

    @property
    def alpha(self) -> float:
        """alpha tau = reach^2: a lone far-off particle then moves a fraction of `reach` a step."""
        return self.reach**2 / ETA

    def run(self, steps: int) -> tuple[jko.Trajectory, jko.Trajectory, jko.Trajectory]:
        """The three flows, all from the same start with the same transport step."""
        energy = jko.MMDEnergy(self.target, self.kernel)
        transport = self.alpha * jko.Wasserstein()
        both = transport + 1.0 * jko.MMD(self.kernel)
        options = {"tau": ETA, "steps": steps}
        fixed = ("auto", jko.solvers.SimplexQP(support="fixed"))
        union = ("auto", jko.solvers.SimplexQP(support="union", budget=self.start.n))
        return (
            jko.flow(self.start, energy, both, solver=fixed, **options),
            jko.flow(self.start, energy, transport, **options),
            jko.flow(self.start, energy, both, solver=union, **options),
        )


def mmd(sol: jko.Trajectory) -> np.ndarray:
    """MMD to the data (V-statistic) after every step, the start first."""
    return np.sqrt(2 * sol.energies)


def bound(sol: jko.Trajectory) -> np.ndarray:
    """B_k = B_{k-1}/(1+eta) + recombination error of step k, B_0 = MMD_0 (formulas M2, M5)."""
    out = [mmd(sol)[0]]
    for step in sol.steps:
        out.append(out[-1] / (1 + ETA) + step.substeps[1].info["recombination_mmd"])
    return np.array(out)


# ------------------------------------------------------------------------------------- the report


def table(a: jko.Trajectory, b: jko.Trajectory, c: jko.Trajectory) -> str:
    """A row per recorded step: MMD, effective sample size and certificates of the three runs."""
    last = len(a.steps)
    shown = [k for k in range(last + 1) if k in (0, 1, 2, 5, last) or k % 10 == 0]
    limit = bound(c)
    lines = [
        "      (a) IFT, support fixed       (b) transport only      (c) IFT, support united",
        "step       MMD  ESS  res.   gap        MMD  ESS  res.        MMD     bound  copied"
        "  ESS  res.   gap",
    ]
    for k in shown:
        cells = [f"{k:4d} "]
        for run, sol in (("a", a), ("b", b), ("c", c)):
            cells.append(f"{mmd(sol)[k]:9.2e}")
            if run == "c":
                cells.append(f" {limit[k]:9.2e} {copied(c, k):6.0%} ")
            cells.append(f" {sol.measures[k].ess:4.0f} {certificates(sol, k)}  ")
        lines.append("".join(cells).rstrip())
    return "\n".join(lines)


def summary(sols: tuple[jko.Trajectory, ...], seconds: float) -> str:
    """What the columns mean, and how the runs ended."""
    a, b, c = sols
    entered = 1 - (1 + ETA) ** -len(c.steps)
    under = "yes" if (mmd(c) <= bound(c)).all() else "NO"
    ends = ", ".join(
        f"({x}) {mmd(sol)[-1]:.2e} ({sol.final.ess:.0f})"
        for x, sol in zip("abc", sols, strict=True)
    )
    return f"""
MMD    V-statistic, to the data         ESS  effective sample size, of {a.final.n} particles
res.   stationarity residual of the transport step, tolerance {b.steps[0].substeps[0].tol:.0e}
gap    of the MMD step: objective minus optimum at most, tolerance {a.steps[0].substeps[1].tol:.0e}
bound  B_k = B_(k-1)/(1+eta) + recombination error of step k, B_0 = MMD_0
copied mass now exactly on data atoms; {entered:.2%} entered as copies of them, most moved on since

MMD at the end (ESS): {ends}.
(c) under its bound at every step: {under}. Three flows in {seconds:.1f} s.
"""


def copied(sol: jko.Trajectory, k: int) -> float:
    """Mass fraction that sits exactly on atoms of the data after step k."""
    return sol.steps[k - 1].substeps[1].info["copied_mass"] if k else 0.0


def certificates(sol: jko.Trajectory, k: int) -> str:
    """Residual of the transport step and, where there is one, gap of the MMD step."""
    if k == 0:
        return " ".join(["    -"] * (len(sol.steps[0].substeps) if sol.steps else 1))
    figures = [s.gap if s.gap is not None else s.residual for s in sol.steps[k - 1].substeps]
    return " ".join(f"{abs(f):5.0e}" for f in figures)


def equivalence(problem: Problem, rng: np.random.Generator) -> jko.verify.Identity:
    """The MMD step and the inclusive-KL step are one (formula M1): both solved, and compared."""
    few = problem.target.points[rng.permutation(problem.target.n)[:100]]
    start = problem.start.points[:50]
    return jko.verify.mmd_kl_equivalence(
        jko.Particles(few), jko.Particles(start), kernel=problem.kernel, eta=ETA, support="union"
    )


def draw_particles(ax: Any, data: Data, problem: Problem, end: jko.Particles, color: str) -> None:
    """One run's particles over the data, in a window around data and start."""
    if data.classes is None:
        plot.points(ax, data.points, label="data")
    else:
        for kind, marker in enumerate("os^"):
            members = data.points[data.classes == kind]
            plot.points(ax, members, marker=marker, label=f"cultivar {kind + 1}")
    plot.particles(ax, problem.start, color=plot.FAINT, label="start")
    plot.particles(ax, end, color=color)
    seen = np.concatenate([data.points, problem.start.points])
    low, high = seen.min() - 0.6, seen.max() + 0.6
    ax.set(xlim=(low, high), ylim=(low, high))
    charged = end.points[end.weights > 0]
    outside = int(((charged < low) | (charged > high)).any(axis=1).sum())
    if outside:
        mass = end.weights[((end.points < low) | (end.points > high)).any(axis=1)].sum()
        text = f"{outside} more outside,\n{100 * mass:.2g} % of the mass"
        ax.text(0.97, 0.05, text, ha="right", transform=ax.transAxes, color=plot.MUTED, fontsize=9)


def draw(data: Data, problem: Problem, sols: tuple[jko.Trajectory, ...], out: str) -> str:
    """Where the three runs end, and how they got there."""
    labels = ("(a) IFT, support fixed", "(b) transport only", "(c) IFT, support united")
    fig, ax = plot.figure(
        [["a", "b", "c"], ["decay", "decay", "ess"]], (10.0, 6.9), height_ratios=[1, 0.85]
    )
    names = [f"{n.replace('_', ' ')} (standard deviations)" for n in data.names]
    for key, sol, label, color in zip("abc", sols, labels, plot.COLORS, strict=False):
        draw_particles(ax[key], data, problem, sol.final, color)
        ylabel, legend = (names[1], "upper left") if key == "a" else ("", None)
        plot.finish(ax[key], xlabel=names[0], ylabel=ylabel, title=label, legend=legend)
    plot.decay(
        ax["decay"], *sols, labels=labels, of=lambda energy: np.sqrt(2 * energy), against="step"
    )
    ax["decay"].plot(bound(sols[2]), "--", color=plot.INK, lw=1.2, label="bound for (c)")
    plot.finish(ax["decay"], xlabel="step", ylabel="MMD to the data", legend="lower left")
    for sol, color in zip(sols, plot.COLORS, strict=False):
        ax["ess"].plot([m.ess for m in sol.measures], color=color)
    ax["ess"].set_ylim(0)
    ylabel = f"effective sample size (of {problem.start.n})"
    plot.finish(ax["ess"], xlabel="step", ylabel=ylabel)
    return str(plot.save(fig, plot.folder(out) / "ift.png"))


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """The options of the demo."""
    parser = Options("ift", "Interaction-force transport from a far-away cloud onto real data.")
    parser.add_argument(
        "--features", nargs=2, metavar=("A", "B"), help="two wine measurements, by name or index"
    )
    parser.add_argument("--data", metavar="FILE", help="your own points: a CSV file")
    parser.add_argument(
        "--columns", nargs=2, metavar=("A", "B"), help="two columns of FILE, by name or index"
    )
    parser.whole("--particles", 100, least=2)
    parser.whole("--steps", 100)
    parser.whole("--seed", 0, least=0)
    chosen = parser.parse_args(argv)
    if chosen.data is None and chosen.columns is not None:
        raise jko.InvalidArgument("--columns goes with --data; --features chooses wine columns")
    if chosen.data is not None and chosen.features is not None:
        raise jko.InvalidArgument("--features goes with the wine data; --columns with --data")
    return chosen


def main(argv: list[str] | None = None) -> int:
    """Run the demo."""
    chosen = arguments(argv)
    rng = np.random.default_rng(chosen.seed)
    if chosen.data is None:
        data = wine(chosen.features or list(FEATURES))
    else:
        data = own(chosen.data, chosen.columns, rng)
    problem = Problem.of(data.points, chosen.particles, rng)
    print(
        f"Data: {data.title}, {data.names[0]} and {data.names[1]}, standardised.\n"
        f"Start: {problem.start.n} particles, 5 standard deviations away in each.\n"
        f"Kernel: half a Gaussian of bandwidth {problem.reach:.2f} (reaches the cloud), half one of"
        f" {problem.fine:.2f} (sees the data's details).\n"
        f"Each step: Wasserstein with alpha tau = {problem.alpha * ETA:.2f}, then MMD with"
        f" eta = {ETA:g} in (a) and (c).\n"
    )
    started = time.perf_counter()
    sols = problem.run(chosen.steps)
    print(table(*sols))
    print(summary(sols, time.perf_counter() - started))
    print(f"The MMD step and the inclusive-KL step agree:\n{equivalence(problem, rng)}\n")
    print(f"Figure: {draw(data, problem, sols, chosen.out)}")
    return 0


if __name__ == "__main__":
    script(main)
