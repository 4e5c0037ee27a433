"""The shortest way of a crowd: round a wall, without and with congestion, and with growth.

The geodesic of Wasserstein space between two densities solves the equations of Benamou and Brenier;
a wall is a mask of the grid, congestion a running cost (a mean-field game), and in the
Wasserstein-Fisher-Rao geometry mass may also grow and die on its way. Every path comes with a
duality gap (formula Y1).
"""

import numpy as np
from _options import Options, script

import jko
from jko import plot


def main(argv: list[str] | None = None) -> int:
    """Run the demo."""
    parser = Options("geodesic", "Shortest ways between two densities, round a wall.")
    parser.whole("--cells", 32, least=16, text="along each side")
    parser.whole("--slices", 16, least=4, text="of time")
    chosen = parser.parse_args(argv)

    n = chosen.cells
    x, y = jko.Grid([0, 0], [1, 1], [n, n]).points.T
    wall = (np.abs(x - 0.5) < 0.06) & (y < 0.62)
    grid = jko.Grid([0, 0], [1, 1], [n, n], mask=~wall.reshape(n, n))

    def bump(a: float, b: float, width: float) -> jko.GridDensity:
        def shape(z: np.ndarray) -> np.ndarray:
            return np.exp(-((z - [a, b]) ** 2).sum(1) / (2 * width**2))

        return jko.GridDensity.from_function(shape, grid, mass=1.0)

    start, end = bump(0.22, 0.35, 0.07), bump(0.78, 0.35, 0.07)
    W, settings = jko.Wasserstein(), {"slices": chosen.slices, "tol": 2e-3}
    crowded = 0.05 * jko.PorousMedium(2)
    growing = jko.WassersteinFisherRao(1.0, 5.0)
    paths = {
        "shortest": jko.geodesic(start, end, W, **settings),
        "congestion": jko.planning(start, end, W, running=crowded, **settings),
        "growth": jko.geodesic(start, end, growing, **settings),
    }

    print("      path     action      value  lower bound      gap     bias   densest   least mass")
    for name, path in paths.items():
        densest = max(m.density.max() for m in path.measures)
        least = min(m.mass for m in path.measures)
        print(
            f"{name:>10} {path.action:10.5f} {path.value:10.5f} {path.dual:12.5f}"
            f" {path.gap:8.1e} {path.bias:8.1e} {densest:9.2f} {least:12.5f}"
        )
    straight = 0.56**2
    print(f"\nWithout the wall the squared distance would be {straight:.4f}.")

    shots = (0.0, 0.25, 0.5, 0.75, 1.0)
    rows = [[f"{name}{k}" for k in range(len(shots))] for name in paths]
    fig, ax = plot.figure(rows, (10.0, 6.3), sharex=True, sharey=True)
    for name, path in paths.items():
        for k, t in enumerate(shots):
            here, mu = ax[f"{name}{k}"], path.at(t)
            plot.density(here, mu, vmax=20.0)
            here.set(xticks=[], yticks=[])
            here.set_title(f"{name}, t = {t:g}" if k == 0 else f"t = {t:g}")
            if t == 1.0:
                continue
            v = path.velocity(min(t + 1e-9, 1.0)) * mu.weights[:, None]
            v = v.reshape(n, n, 2)[1::3, 1::3].reshape(-1, 2)
            z = grid.points.reshape(n, n, 2)[1::3, 1::3].reshape(-1, 2)
            seen = np.hypot(*v.T) > 0.05 * np.hypot(*v.T).max()
            here.quiver(*z[seen].T, *v[seen].T, color="white", width=0.009, headwidth=4)
    print(f"Figure: {plot.save(fig, plot.folder(chosen.out) / 'geodesic.png')}")
    return 0


if __name__ == "__main__":
    script(main)
