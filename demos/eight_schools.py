"""Eight schools: a hierarchical posterior sampled through the spherical-Hellinger path.

Eight coaching programmes, each with an estimated effect and its standard error; the effects
theta_j ~ N(mu, tau^2) share what they know. One integral over log tau is all that is left by hand,
so every mean and standard deviation has an exact value to be judged by.
"""

import numpy as np
from _options import Options, script
from _posteriors import (
    EFFECTS,
    ERRORS,
    SCHOOLS,
    eight_schools,
    eight_schools_exact,
    schools_observables,
)

import jko
from jko import plot


def main(argv: list[str] | None = None) -> int:
    """Run the demo."""
    parser = Options("eight_schools", "A hierarchical posterior against its exact moments.")
    parser.whole("--particles", 1000, least=50, text="weighted particles")
    parser.whole("--seed", 0, least=0, text="of the random numbers")
    chosen = parser.parse_args(argv)

    out = jko.sample(
        eight_schools(), n=chosen.particles, observables=schools_observables, rng=chosen.seed
    )
    print(
        f"{out}\n{out.diagnostics['seconds']:.1f} s, {out.diagnostics['evaluations']} evaluations"
    )
    x, w = out.measure.points, out.measure.weights
    values = np.column_stack([x[:, :2], schools_observables(x)])
    exact = eight_schools_exact()
    mean = w @ values
    std = np.sqrt(w @ (values - mean) ** 2)
    print("\nname        mean    exact     sd    exact   error of mean / sd   of sd")
    errors = []
    for j, (name, (m, s)) in enumerate(exact.items()):
        errors.append((abs(mean[j] - m) / s, abs(std[j] / s - 1)))
        print(
            f"{name:<8} {mean[j]:8.3f} {m:8.3f} {std[j]:7.3f} {s:7.3f}"
            f" {errors[-1][0]:15.3f} {errors[-1][1]:14.1%}"
        )
    worst = np.max(errors, axis=0)
    print(f"\nWorst: mean off by {worst[0]:.3f} sd, sd off by {worst[1]:.1%}")

    fig, ax = plot.figure([["funnel", "schools"]], (10.5, 4.2))
    size = 1.2e4 * w / w.sum() * len(w) / 1000
    ax["funnel"].scatter(x[:, 1], values[:, 3], s=size, color=plot.COLORS[0], alpha=0.35, lw=0)
    title = f"{len(w)} weighted particles (ESS {out.measure.ess:.0f})"
    plot.finish(ax["funnel"], xlabel="log tau", ylabel="effect of school A", title=title)
    rows = np.arange(8)
    ax["schools"].errorbar(
        EFFECTS, rows + 0.18, xerr=ERRORS, fmt="o", color=plot.MUTED, ms=4, label="estimate alone"
    )
    m, s = np.array([exact[f"theta {name}"] for name in SCHOOLS]).T
    ax["schools"].errorbar(
        m, rows, xerr=s, fmt="_", color=plot.INK, ms=12, lw=3.5, alpha=0.35, label="exact"
    )
    ax["schools"].errorbar(
        mean[3:], rows - 0.18, xerr=std[3:], fmt="o", color=plot.COLORS[1], ms=4, label="particles"
    )
    ax["schools"].set_yticks(rows, SCHOOLS)
    ax["schools"].set_ylim(7.6, -2.2)
    title = "Effect and one sd: the schools pull each other in"
    plot.finish(ax["schools"], xlabel="effect", ylabel="school", title=title, legend="upper right")
    print(f"Figure: {plot.save(fig, plot.folder(chosen.out) / 'eight_schools.png')}")
    return 0


if __name__ == "__main__":
    script(main)
