"""A crowd leaves by a door: all take the shortest way, and no place holds more than it can.

The Wasserstein flow of F = int V rho + (rho <= 1), V the length of the way to the door; the walls
are a mask of the grid. Where it is full, pressure holds people back or pushes them on. Without the
ceiling nobody hinders anybody, and everyone is through after the time V: an exact count.
"""

import numpy as np
from _options import Options, script

import jko
from jko import plot

HALF, THICK = 0.12, 0.08  # half the width of the door, thickness of the wall at x = 0
LOWER, UPPER, END = [-1.6, -0.8], [1.4, 0.8], 3.5


def way(x: np.ndarray) -> np.ndarray:
    """Distance to the middle half of the door, falling on at unit speed behind it."""
    to_door = np.hypot(x[:, 0], np.maximum(np.abs(x[:, 1]) - HALF / 2, 0))
    return np.where(x[:, 0] < 0, to_door, -x[:, 0])


def rooms(rows: int) -> jko.Grid:
    """Two rooms and a door between them."""
    shape = [round(rows * (UPPER[0] - LOWER[0]) / (UPPER[1] - LOWER[1])), rows]
    x, y = jko.Grid(LOWER, UPPER, shape).points.T
    wall = (x > 0) & (x < THICK) & (np.abs(y) > HALF)
    return jko.Grid(LOWER, UPPER, shape, mask=~wall.reshape(shape))


def main(argv: list[str] | None = None) -> int:
    """Run the demo."""
    parser = Options("crowd", "A crowd leaves through a door.")
    parser.whole("--rows", 50, least=20, text="of cells across the rooms")
    parser.whole("--steps", 70, least=6, text=f"until t = {END:g}")
    chosen = parser.parse_args(argv)

    grid, tau = rooms(chosen.rows), END / chosen.steps
    x, y = grid.points.T
    inside = (x > -1.5) & (x < -0.5) & (np.abs(y) < 0.7)
    start = jko.GridDensity.from_density(0.7 * inside, grid)
    walk, geometry = jko.Potential(way), jko.Wasserstein()
    crowd = jko.flow(start, walk + jko.BoxConstraint(1.0), geometry, tau=tau, steps=chosen.steps)
    alone = jko.flow(start, walk, geometry, tau=tau, steps=chosen.steps,
                     solver=jko.solvers.FiniteVolume())  # fmt: skip
    through, free = (
        np.array([m.weights[x > 0].sum() for m in sol.measures]) for sol in (crowd, alone)
    )
    exact = np.array([start.weights[way(grid.points) < t].sum() for t in crowd.times])

    print("               through the door    unhindered,")
    print("    t   the crowd   unhindered   exactly   densest   full cells      gap")
    for k in sorted({1, *range(chosen.steps, 0, -max(1, chosen.steps // 10))}):
        rho, gap = crowd.measures[k], crowd.steps[k - 1].substeps[0].gap
        print(
            f"{crowd.times[k]:5.3g} {through[k]:11.4f} {free[k]:12.4f} {exact[k]:9.4f}"
            f" {rho.density.max():9.6f} {(rho.density > 0.999).sum():12d} {gap:8.1e}"
        )
    rate = np.diff(through).max() / tau
    mean = [END - (c[1:] + c[:-1]).sum() / 2 * tau / start.mass for c in (through, free)]
    print(
        f"\nMean time to the door: {mean[0]:.3f} in the crowd, {mean[1]:.3f} unhindered, exactly"
        f" {start.expect(way) / start.mass:.3f}.\nThe door lets pass {rate:.3f} per unit of time at"
        f" most; walking at full density would be {2 * HALF:g}.\nMass lost:"
        f" {abs(crowd.final.mass - start.mass):.1e}.\n{crowd}"
    )

    names = [["a", "b", "count"], ["c", "d", "count"]]
    fig, ax = plot.figure(names, (12.5, 4.4), width_ratios=[1, 1, 1.1])
    for name, part in zip("abcd", (0, 0.25, 0.5, 1), strict=True):
        k = round(part * chosen.steps)
        plot.density(ax[name], crowd.measures[k], label=f"t = {crowd.times[k]:.3g}", vmax=1.0)
        ax[name].set(xticks=[], yticks=[])
    ax["count"].plot(crowd.times, through, color=plot.COLORS[0], label="the crowd")
    ax["count"].plot(crowd.times, free, color=plot.COLORS[1], label="unhindered, by a run")
    ax["count"].plot(crowd.times, exact, "--", color=plot.INK, lw=1.2, label="unhindered, exact")
    plot.finish(ax["count"], xlabel="time t", ylabel="mass behind the wall", legend="lower right")
    print(f"Figure: {plot.save(fig, plot.folder(chosen.out) / 'crowd.png')}")
    return 0


if __name__ == "__main__":
    script(main)
