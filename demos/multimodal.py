"""A posterior with several modes: where the chains of Langevin stick, the tempered path does not.

The velocities of 82 galaxies, taken for a sample of two clumps of unknown centres: which clump is
which is not identified, so that the posterior of the two centres has two modes, mirror images of
equal weight. Every method starts near the same one.
"""

import warnings

import numpy as np
from _options import Options, script

import jko
from jko import plot

#: Velocities of 82 galaxies of the Corona Borealis region in 1000 km/s (Roeder 1990).
GALAXIES = np.array([
    9.172, 9.350, 9.483, 9.558, 9.775, 10.227, 10.406, 16.084, 16.170, 18.419, 18.552, 18.600,
    18.927, 19.052, 19.070, 19.330, 19.343, 19.349, 19.440, 19.473, 19.529, 19.541, 19.547, 19.663,
    19.846, 19.856, 19.863, 19.914, 19.918, 19.973, 19.989, 20.166, 20.175, 20.179, 20.196, 20.215,
    20.221, 20.415, 20.629, 20.795, 20.821, 20.846, 20.875, 20.986, 21.137, 21.492, 21.701, 21.814,
    21.921, 21.960, 22.185, 22.209, 22.242, 22.249, 22.314, 22.374, 22.495, 22.746, 22.747, 22.888,
    22.914, 23.206, 23.241, 23.263, 23.484, 23.538, 23.542, 23.666, 23.706, 23.711, 24.129, 24.285,
    24.289, 24.366, 24.717, 24.990, 25.633, 26.960, 26.995, 32.065, 32.789, 34.279,
])  # fmt: skip
WIDTH, CENTRE, SPREAD = 1.5, 21.0, 8.0  # of a clump; prior of its centre


def galaxies() -> jko.LogDensity:
    """Two clumps N(c_k, 1.5^2) in equal parts, centres c_k ~ N(21, 8^2)."""

    def both(c):
        off = (GALAXIES - c.T[:, :, None]) / WIDTH  # (2, n, 82)
        first, second = -0.5 * off**2
        # log(e^a + e^b) = max(a, b) + log(1 + e^-|a - b|)
        small = np.exp(-np.abs(second - first))
        total = np.maximum(first, second) + np.log1p(small)
        share = np.where(second > first, small, 1) / (1 + small)
        pull = np.stack([(share * off[0]).sum(axis=1), ((1 - share) * off[1]).sum(axis=1)], axis=1)
        away = (c - CENTRE) / SPREAD
        value = total.sum(axis=1) - 0.5 * (away**2).sum(axis=1)
        return value, pull / WIDTH - away / SPREAD

    return jko.LogDensity(value_and_grad=both, dim=2)


def exact(target: jko.LogDensity) -> jko.GridDensity:
    """The posterior on a fine grid: the judge."""
    grid = jko.Grid(lower=[7, 7], upper=[26, 26], shape=[300, 300])
    found = target.log_density_at(grid.points)
    weights = np.exp(found - found.max())
    return jko.GridDensity(grid, weights / weights.sum())


def main(argv: list[str] | None = None) -> int:
    """Run the demo."""
    parser = Options("multimodal", "Two clumps of galaxies: a posterior with two separate modes.")
    parser.whole("--particles", 1000, least=100, text="weighted particles")
    parser.whole("--seed", 0, least=0, text="of the random numbers")
    chosen = parser.parse_args(argv)

    target = galaxies()
    truth = exact(target)
    start = jko.Gaussian(np.array([20.0, 23.0]), 0.25 * np.eye(2))
    upper = truth.weights[truth.points[:, 1] > truth.points[:, 0]].sum()
    print(f"Exact, by a grid: mass {upper:.3f} where the second centre is the larger one\n")
    print("method      mass there   converged   kernel Stein   seconds")
    found = {}
    for method in ("langevin", "wfr", "tempered"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", jko.JkoWarning)  # printed below
            out = jko.sample(
                target, n=chosen.particles, method=method, start=start, rng=chosen.seed
            )
        found[method] = out
        x, w = out.measure.points, out.measure.weights
        there = w[x[:, 1] > x[:, 0]].sum()
        verdict = "yes" if out.converged else "no"
        d = out.diagnostics
        print(f"{method:<10} {there:11.3f} {verdict:>11} {d['ksd']:14.3f} {d['seconds']:9.1f}")
    print()
    for method, out in found.items():
        for warning in out.warnings:
            print(f"{method}: {warning}")

    fig, ax = plot.figure([list(found)], (12.0, 4.3))
    for method, out in found.items():
        plot.density(ax[method], truth)
        level = truth.density.max() * np.exp(-2.0)
        ax[method].contour(*truth.grid.axes, truth.density.T, [level], colors="white", zorder=4)
        x, w = out.measure.points, out.measure.weights
        ax[method].scatter(
            x[:, 0], x[:, 1], s=3e3 * w / w.sum(), color=plot.COLORS[4], alpha=0.5, lw=0
        )
        ax[method].set(xlim=(7, 26), ylim=(7, 26))
        verdict = "converged" if out.converged else "NOT converged"
        plot.finish(ax[method], xlabel="first centre (1000 km/s)", title=f"{method}: {verdict}")
        ax[method].grid(visible=False)
    ax["langevin"].set_ylabel("second centre")
    print(f"Figure: {plot.save(fig, plot.folder(chosen.out) / 'multimodal.png')}")
    return 0


if __name__ == "__main__":
    script(main)
