"""Tumour growth: cells push each other outwards and divide where the pressure leaves them room.

rho_t = div(rho grad p) + b rho (1 - p) with the pressure p = m/(m-1) rho^(m-1) is the
Wasserstein-Fisher-Rao flow of F = 1/(m-1) int rho^m - int rho: transport and growth in turn, each a
proximal step of the same F. A round tumour obeys an equation in the radius alone, which SciPy
integrates beside the flow.
"""

import numpy as np
from _options import Options, animate, script
from scipy.integrate import solve_ivp

import jko
from jko import plot

M, RATE, END, SIDE = 3, 20.0, 0.25, 1.6


def seed(r: np.ndarray) -> np.ndarray:
    """The density at the start, by the distance from the centre."""
    return 0.9 * np.clip((0.4 - r) / 0.1, 0, 1)


def radial(times: np.ndarray, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Radii (n,) and densities (times, n) of a round tumour, by the method of lines."""
    edges, h = np.linspace(0, SIDE, n + 1), SIDE / n
    r = (edges[1:] + edges[:-1]) / 2

    def change(_: float, rho: np.ndarray) -> np.ndarray:
        power = np.maximum(rho, 0) ** M  # rho grad p = grad rho^m
        inflow = np.pad(edges[1:-1] * np.diff(power) / h, 1)
        pressure = M / (M - 1) * np.maximum(rho, 0) ** (M - 1)
        return np.diff(inflow) / (r * h) + RATE * rho * (1 - pressure)

    near = {"lband": 1, "uband": 1}  # the Jacobian has three diagonals
    found = solve_ivp(change, (0, times[-1]), seed(r), "LSODA", times, rtol=1e-6, atol=1e-9, **near)
    return r, found.y.T


def main(argv: list[str] | None = None) -> int:
    """Run the demo."""
    parser = Options("tumour", "A tumour grows at its rim.", moves=True)
    parser.whole("--cells", 96, least=20, text="along each axis of [-1.6, 1.6]^2")
    parser.whole("--steps", 100, least=5, text=f"until t = {END:g}")
    chosen = parser.parse_args(argv)

    grid = jko.Grid([-SIDE] * 2, [SIDE] * 2, [chosen.cells] * 2)
    away = np.linalg.norm(grid.points, axis=1)
    start = jko.GridDensity.from_density(seed(away), grid)
    energy = jko.PorousMedium(M) + jko.Potential(-np.ones(grid.size))
    geometry = jko.Wasserstein() + RATE * jko.Hellinger()
    solvers = (jko.solvers.FiniteVolume(), "auto")
    sol = jko.flow(start, energy, geometry, tau=END / chosen.steps, steps=chosen.steps,
                   solver=solvers)  # fmt: skip

    r, exact = radial(sol.times)
    print("    t      mass   by the PDE   |rho - PDE|_1/mass   energy   gaps: transport, growth")
    for k in sorted({1, *range(chosen.steps, -1, -max(1, chosen.steps // 5))}):
        rho, there = sol.measures[k], np.interp(away, r, exact[k]) * grid.cell_volume
        off = np.abs(rho.weights - there).sum() / there.sum()
        gaps = [f"{s.gap:8.1e}" for s in sol.steps[k - 1].substeps] if k else []
        print(
            f"{sol.times[k]:5.3g} {rho.mass:9.5f} {there.sum():12.5f} {off:20.2e}"
            f" {sol.energies[k]:8.5f}   {' '.join(gaps)}"
        )
    print(f"\n{sol}")

    fig, ax = plot.figure([["rho", "births", "cut"]], (10.5, 3.0), width_ratios=[1, 1, 1.2])
    pressure = M / (M - 1) * sol.final.density ** (M - 1)
    births = jko.GridDensity(grid, sol.final.weights * RATE * np.maximum(1 - pressure.ravel(), 0))
    for name, mu, label in (
        ("rho", sol.final, "density"),
        ("births", births, "births, b rho (1 - p)"),
    ):
        image = plot.density(ax[name], mu, label=f"{label}, t = {END:g}")
        fig.colorbar(image, ax=ax[name], shrink=0.75)
        ax[name].set(xlabel="x", ylabel="y")
    middle, x = chosen.cells // 2, grid.axes[0]
    for part, color in zip((0.0, 0.3, 0.6, 1), (plot.FAINT, *plot.COLORS), strict=False):
        k = round(part * chosen.steps)
        label = "the PDE" if k == 0 else None
        ax["cut"].plot(r, exact[k], color=plot.INK, lw=1, label=label)
        points = sol.measures[k].density[middle:, middle]
        shown = np.where(points > 1e-6, points, np.nan)
        label = f"t = {sol.times[k]:.3g}"
        ax["cut"].plot(x[middle:], shown, "o", color=color, ms=3, label=label)
    ax["cut"].set(xlim=(0, SIDE), xticks=[0, 0.5, 1, 1.5])
    plot.finish(ax["cut"], xlabel="distance from the centre", title="density", legend="upper right")
    print(f"Figure: {plot.save(fig, plot.folder(chosen.out) / 'tumour.png')}")
    animate(chosen, "tumour", sol, size=(4.6, 4.0))
    return 0


if __name__ == "__main__":
    script(main)
