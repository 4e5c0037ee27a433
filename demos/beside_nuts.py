"""Three real posteriors beside NUTS: eight schools, diabetes, breast cancer.

A sampler is trusted beside the one in use. Each posterior is sampled by `jko.sample` and by the
No-U-Turn sampler with a dense metric, and `jko.compare` puts them side by side: differences of
means in standard deviations, each with its Monte Carlo error, and how many effective draws 1000
gradients bring, warm-up and search included.
"""

import numpy as np
from _nuts import nuts
from _options import Options, script
from _posteriors import breast_cancer, diabetes, eight_schools

import jko
from jko import plot


def least_effective(out: jko.sampling.SampleResult) -> float:
    """Effective draws behind the mean that is known least, from all moves of the chains."""
    d = out.diagnostics
    return float(((d["history_std"][: out.measure.dim] / d["mcse"]) ** 2).min())


def main(argv: list[str] | None = None) -> int:
    """Run the demo."""
    parser = Options("beside_nuts", "Three real posteriors, by jko.sample and by NUTS.")
    parser.whole("--particles", 1000, least=50, text="weighted particles")
    parser.whole(
        "--draws", 1000, least=200, text="draws of each of four NUTS chains, after as many"
    )
    parser.whole("--seed", 0, least=0, text="of the random numbers")
    chosen = parser.parse_args(argv)

    targets = {
        "eight schools": eight_schools(),
        "diabetes": diabetes(),
        "breast cancer": breast_cancer().target,
    }
    print(f"{'posterior':<15} {'d':>3} {'verdict':>8}   effective draws per 1000 gradients")
    fig, ax = plot.figure([list(targets)], (11.0, 5.2))
    for name, target in targets.items():
        out = jko.sample(target, n=chosen.particles, rng=chosen.seed)
        draws, gradients, _ = nuts(
            target, np.random.default_rng(chosen.seed), 4, chosen.draws, chosen.draws
        )
        other = {label: draws[:, :, j] for j, label in enumerate(out.labels())}
        found = jko.compare(out, other)
        ours = 1e3 * least_effective(out) / out.diagnostics["evaluations"]
        theirs = 1e3 * min(row.second.ess for row in found) / gradients
        print(
            f"{name:<15} {target.dim:3d} {found.verdict:>8}   jko {ours:.0f}, NUTS {theirs:.1f};"
            f" {'' if out.converged else 'not '}converged"
        )
        print(f"    {found.summary()}")
        draw(ax[name], found, name)
    ax["eight schools"].set_ylabel("coordinate")
    fig.suptitle("Means by jko.sample less those by NUTS, with two standard errors")
    print(f"Figure: {plot.save(fig, plot.folder(chosen.out) / 'beside_nuts.png')}")
    return 0


def draw(ax, found: jko.sampling.Comparison, name: str) -> None:
    """Differences of the means with their errors, and the band of no interest."""
    rows = np.arange(len(found))
    off = np.array([row.difference for row in found])
    error = np.array([row.difference_error for row in found])
    ax.axvspan(-found.mean, found.mean, color=plot.MUTED, alpha=0.15, lw=0)
    ax.errorbar(off, rows, xerr=2 * error, fmt="o", color=plot.COLORS[0], ms=3.5, lw=1)
    ax.axvline(0, color=plot.MUTED, lw=0.8)
    ax.set_xlabel("difference, in standard deviations")
    ax.set_title(f"{name}, d = {len(found)}: {found.verdict}")
    ax.set_ylim(len(found), -1)


if __name__ == "__main__":
    script(main)
