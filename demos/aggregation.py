"""Aggregation: long-range attraction and short-range repulsion make a disc, or a ring.

The Wasserstein flow of F = 1/2 int int W(x - y). With W = |x|^2/2 - ln|x| any cloud becomes a
uniform disc of radius 1 (formula W7), and whatever its shape on the way, its second moment M obeys
M' = 1 - 1/n - 2 M. With W = |x|^3/3 - |x|^2/2 repulsion is too weak nearby to fill a disc, and
it becomes a ring of radius 3 pi/16.
"""

import numpy as np
from _options import Options, animate, script

import jko
from jko import plot

RING = 3 * np.pi / 16


def radii(mu: jko.Particles) -> np.ndarray:
    """Distances from the centroid, sorted."""
    return np.sort(np.linalg.norm(mu.points - mu.mean, axis=1))


def main(argv: list[str] | None = None) -> int:
    """Run the demo."""
    parser = Options("aggregation", "A cloud of particles becomes a disc, or a ring.", moves=True)
    parser.whole("--particles", 400, least=20)
    parser.whole("--steps", 80, least=8, text="until t = 4 for the disc, t = 40 for the ring")
    parser.whole("--seed", 1, least=0, text="of the cloud")
    chosen = parser.parse_args(argv)

    n, rng = chosen.particles, np.random.default_rng(chosen.seed)
    cloud = rng.uniform(-1, 1, (n, 2)) * [1.6, 0.4] + np.where(rng.random((n, 1)) < 0.5, 0.7, -0.7)
    start = jko.Particles(cloud - cloud.mean(axis=0))
    disc = jko.Interaction.quadratic() + jko.Interaction.logarithmic()
    ring = jko.Interaction.power(3.0) + jko.Interaction.power(2.0, repulsive=True)
    geometry, steps = jko.Wasserstein(), chosen.steps
    filled = jko.flow(start, disc, geometry, tau=4 / steps, steps=steps)
    hollow = jko.flow(start, ring, geometry, tau=40 / steps, steps=steps, save=[])

    moments = np.array([(mu.points**2).sum(axis=1).mean() for mu in filled.measures])
    rest = (1 - 1 / n) / 2
    exact = rest + (moments[0] - rest) * np.exp(-2 * filled.times)
    print("    t   second moment      exact     radius        energy   residual")
    for k in [0, *(round(steps * part / 8) for part in range(1, 9))]:
        residual = f"{filled.steps[k - 1].substeps[0].residual:10.1e}" if k else ""
        print(
            f"{filled.times[k]:5.2f} {moments[k]:15.5f} {exact[k]:10.5f}"
            f" {radii(filled.measures[k])[-1]:10.4f} {filled.energies[k]:13.6f} {residual}"
        )
    inner, outer = radii(hollow.final)[[0, -1]]
    inside = np.abs(radii(filled.final) ** 2 - (np.arange(n) + 0.5) / n).max()
    print(
        f"\nLargest error of the second moment: {np.abs(moments - exact).max():.1e} at tau ="
        f" {4 / steps:g}.\nShare of the mass within r against r^2 at the end: off by {inside:.3f}"
        f" at most.\nRing: radii from {inner:.5f} to {outer:.5f},"
        f" exact {RING:.5f}.\nDisc: {filled}\nRing: {hollow}"
    )

    fig, ax = plot.figure([["start", "disc", "ring", "moment"]], (10.5, 2.8))
    turn = np.linspace(0, 2 * np.pi, 200)
    for name, mu, radius, title in (
        ("start", start, 0.0, "start"), ("disc", filled.final, 1.0, "disc, t = 4"),
        ("ring", hollow.final, RING, "ring, t = 40"),
    ):  # fmt: skip
        if radius:
            circle = radius * np.cos(turn), radius * np.sin(turn)
            ax[name].plot(*circle, color=plot.INK, lw=1, zorder=1, label="exact radius")
        plot.particles(ax[name], mu, area=8 * n)
        side = 1.5 if radius else 2.6
        ax[name].set(xlim=(-side, side), ylim=(-side, side))
        legend = "upper right" if radius else None
        plot.finish(ax[name], xlabel="x", ylabel="y", title=title, legend=legend)
    ax["moment"].plot(filled.times, moments, color=plot.COLORS[0], label="to the disc")
    ax["moment"].plot(filled.times, exact, "--", color=plot.INK, lw=1.2, label="exact")
    plot.finish(ax["moment"], xlabel="time t", title="second moment", legend="upper right")
    print(f"Figure: {plot.save(fig, plot.folder(chosen.out) / 'aggregation.png')}")
    animate(chosen, "aggregation", filled, size=(4.5, 3.0), area=8 * n)
    return 0


if __name__ == "__main__":
    script(main)
