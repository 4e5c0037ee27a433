"""A crowd leaves by a door: all take the shortest way, and no place holds more than it can.

The Wasserstein flow of F = int V rho + (rho <= 1), V the length of the way to the door; walls are a
mask of the grid, and pressure holds people back or pushes them on. Two flows are known exactly:
without the ceiling everyone is through after the time V; and of those who have come as near as r
to a shut door, only as many are there as find room (formula W7).
"""

import numpy as np
from _options import Options, animate, script

import jko
from jko import plot, reference

HALF, THICK = 0.12, 0.08  # half the width of the door, thickness of the wall at x = 0
LOWER, UPPER, END = [-1.6, -0.8], [1.6, 0.8], 3.5
SPARSE, RADIUS, SHUT = 0.3, 0.75, 0.5  # density and size of the half disc, and its last time


def way(x: np.ndarray) -> np.ndarray:
    """Distance to the middle half of the door, falling on at unit speed behind it."""
    to_door = np.hypot(x[:, 0], np.maximum(np.abs(x[:, 1]) - HALF / 2, 0))
    return np.where(x[:, 0] < 0, to_door, -x[:, 0])


def rooms(rows: int, half: float) -> jko.Grid:
    """Two rooms and a door between them, 2 `half` wide."""
    x, y = jko.Grid(LOWER, UPPER, [2 * rows, rows]).points.T
    wall = (x > 0) & (x < THICK) & (np.abs(y) >= half)
    return jko.Grid(LOWER, UPPER, [2 * rows, rows], mask=~wall.reshape(2 * rows, rows))


def shut(rows: int, tau: float) -> tuple[np.ndarray, ...]:
    """Times at the shut door, radii, and the shares (times, radii) within, by a run and exact."""
    grid, r = rooms(rows, 0.0), np.linspace(0, RADIUS, 300)
    x, away = grid.points[:, 0], np.linalg.norm(grid.points, axis=1)
    start = jko.GridDensity.from_density(SPARSE * ((x < 0) & (away < RADIUS)), grid)
    energy = jko.Potential(away) + jko.BoxConstraint(1.0)
    sol = jko.flow(start, energy, jko.Wasserstein(), tau=tau, t1=SHUT)
    shares = [m.weights @ (away[:, None] < r) / m.mass for m in sol.measures]
    exact = reference.jam_shares(r, sol.times[:, None], SPARSE, RADIUS)
    return sol.times, r, np.array(shares), exact


def main(argv: list[str] | None = None) -> int:
    """Run the demo."""
    parser = Options("crowd", "A crowd leaves through a door.", moves=True)
    parser.whole("--rows", 50, least=20, text="of cells across the rooms")
    parser.whole("--steps", 70, least=6, text=f"until t = {END:g}")
    chosen = parser.parse_args(argv)

    grid, steps, tau = rooms(chosen.rows, HALF), chosen.steps, END / chosen.steps
    x, y = grid.points.T
    inside = (x > -1.5) & (x < -0.5) & (np.abs(y) < 0.7)
    start = jko.GridDensity.from_density(0.7 * inside, grid)
    walk, geometry = jko.Potential(way), jko.Wasserstein()
    crowd = jko.flow(start, walk + jko.BoxConstraint(1.0), geometry, tau=tau, steps=steps)
    alone = jko.flow(start, walk, geometry, tau=tau, steps=steps)
    behind = [np.array([m.weights[x > 0].sum() for m in s.measures]) for s in (crowd, alone)]
    behind.append(np.array([start.weights[way(grid.points) < t].sum() for t in crowd.times]))
    times, r, shares, jams = shut(chosen.rows, tau)
    off = RADIUS * np.abs(shares - jams).mean(axis=1)

    print("    t   through the door   unhindered   exactly   densest   full cells      gap")
    for k in sorted({1, *range(steps, 0, -max(1, steps // 10))}):
        rho, gap = crowd.measures[k], crowd.steps[k - 1].substeps[0].gap
        print(
            f"{crowd.times[k]:5.3g} {behind[0][k]:18.4f} {behind[1][k]:12.4f} {behind[2][k]:9.4f}"
            f" {rho.density.max():9.6f} {(rho.density > 0.999).sum():12d} {gap:8.1e}"
        )
    mean = [END - (c[1:] + c[:-1]).sum() / 2 * tau / start.mass for c in behind[:2]]
    print(
        f"\nMean time to the door: {mean[0]:.3f} in the crowd, {mean[1]:.3f} unhindered, exactly"
        f" {start.expect(way) / start.mass:.3f}.\nAt the shut door people are off their places by"
        f" {off.max():.4f} at most, {off[-1]:.4f} at t = {SHUT:g}\n(mean distances; a cell is"
        f" {grid.spacing[0]:.4f}). Mass lost: {abs(crowd.final.mass - start.mass):.1e}.\n{crowd}"
    )

    fig, ax = plot.figure(["ab1", "cd2"], (10.0, 4.2), width_ratios=[1, 1, 1.2])
    for name, k in zip("abcd", (0, steps // 4, steps // 2, steps), strict=True):
        image = plot.density(ax[name], crowd.measures[k], label=f"t = {crowd.times[k]:.3g}", vmax=1)
        ax[name].set(xticks=[], yticks=[])
    fig.colorbar(image, ax=[ax[name] for name in "abcd"], label="density", shrink=0.6)
    exact = {"color": plot.INK, "ls": "--", "lw": 1.2, "label": "exact"}
    ax["1"].plot(crowd.times, behind[0], color=plot.COLORS[0], label="the crowd")
    ax["1"].plot(crowd.times, behind[1], color=plot.COLORS[1], label="unhindered")
    ax["1"].plot(crowd.times, behind[2], **exact | {"label": "unhindered, exact"})
    plot.finish(ax["1"], xlabel="time t", ylabel="mass behind the wall", legend="lower right")
    for k, color in zip((0, len(times) // 2, -1), plot.COLORS, strict=False):
        ax["2"].plot(r, shares[k], color=color, label=f"t = {times[k]:.3g}")
        ax["2"].plot(r, jams[k], **exact | ({} if k == -1 else {"label": None}))
    plot.finish(ax["2"], xlabel="r, from the shut door", ylabel="share within r", legend="best")
    print(f"Figure: {plot.save(fig, plot.folder(chosen.out) / 'crowd.png')}")
    animate(chosen, "crowd", crowd, size=(5.4, 2.6), vmax=1.0)
    return 0


if __name__ == "__main__":
    script(main)
