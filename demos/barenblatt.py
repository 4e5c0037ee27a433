"""Barenblatt's solution: a heap of gas spreads with a sharp front, against the exact profile.

rho_t = g Lap(rho^m) is the Wasserstein flow of F = g/(m-1) int rho^m. Its self-similar solution is
mapped to itself, at another scale, by the exact proximal step too (formula W5). So the error of the
run, by implicit finite volumes, can be held against the one that exact steps of this length make.
"""

import numpy as np
from _options import Options, animate, script

import jko
from jko import plot
from jko.reference import Barenblatt

END = 2.0


def radius(rho: jko.GridDensity) -> float:
    """Radius of the disc that is as large as the cells with a density above 1 per mille."""
    area = rho.grid.cell_volume * (rho.density > 1e-3 * rho.density.max()).sum()
    return float(np.sqrt(area / np.pi))


def main(argv: list[str] | None = None) -> int:
    """Run the demo."""
    parser = Options("barenblatt", "A heap of gas spreads with a sharp front.", moves=True)
    parser.whole("--cells", 96, least=20, text="along each axis of [-1/2, 1/2]^2")
    parser.whole("--steps", 80, least=2, text=f"until t = {END:g}")
    parser.whole("--m", 2, least=2, text="exponent")
    chosen = parser.parse_args(argv)

    grid = jko.Grid([-0.5, -0.5], [0.5, 0.5], [chosen.cells] * 2)
    exact = Barenblatt(dim=2, m=float(chosen.m))
    energy, tau = exact.g * jko.PorousMedium(chosen.m), END / chosen.steps
    start = exact.on(grid, exact.start)
    # "auto" mixes in entropic steps: closer to the exact ones, but over forty times slower.
    solver = jko.solvers.FiniteVolume()
    sol = jko.flow(start, energy, jko.Wasserstein(), tau=tau, steps=chosen.steps, solver=solver)

    print("               |rho - PDE|_1           front of the PDE")
    print("    t     of the run  of exact steps    and of the run         gap")
    stepped, errors = exact.start, []
    for k, t in enumerate(sol.times[1:], 1):
        rho, stepped, flowed = sol.measures[k], exact.jko(stepped, tau), exact.flow(exact.start, t)
        pde = exact.on(grid, flowed)
        off = [np.abs(a.weights - pde.weights).sum() for a in (rho, exact.on(grid, stepped))]
        errors.append(off)
        if k in (1, chosen.steps) or 10 * k % chosen.steps < 10:
            fronts = f"{exact.radius(flowed):12.4f} {radius(rho):10.4f}"
            gap = sol.steps[k - 1].substeps[0].gap
            print(f"{t:5.3g} {off[0]:14.2e} {off[1]:13.2e} {fronts} {gap:13.1e}")
    run, steps = np.mean(errors, axis=0)
    print(
        f"\nMean over the steps: {run:.2e} of the run, {steps:.2e} of exact steps, at mass"
        f" {start.mass:g}.\nMass lost: {abs(sol.final.mass - start.mass):.1e}. Least density:"
        f" {sol.final.density.min():.1e}.\n{sol}"
    )

    fig, ax = plot.figure([["start", "end", "cut"]], (10.0, 3.0), width_ratios=[1, 1, 1.2])
    for name, rho, when in (("start", start, "t = 0"), ("end", sol.final, f"t = {END:g}")):
        image = plot.density(ax[name], rho, label=f"density at {when}")
        fig.colorbar(image, ax=ax[name], shrink=0.75)
        ax[name].set(xticks=[-0.5, 0, 0.5], yticks=[-0.5, 0, 0.5], xlabel="x", ylabel="y")
    x, middle = grid.axes[0], chosen.cells // 2
    for part, color in zip((0.1, 0.4, 1), plot.COLORS, strict=False):
        k = max(1, round(part * chosen.steps))
        profile = exact.on(grid, exact.flow(exact.start, sol.times[k])).density[:, middle]
        ax["cut"].plot(x, profile, color=plot.INK, lw=1, label="the PDE" if part == 0.1 else None)
        points = sol.measures[k].density[:, middle]
        shown, label = np.where(points > 0.01, points, np.nan), f"t = {sol.times[k]:g}"
        ax["cut"].plot(x, shown, "o", color=color, ms=3, label=label)
    plot.finish(ax["cut"], xlabel="x", title="density along the middle", legend="upper right")
    print(f"Figure: {plot.save(fig, plot.folder(chosen.out) / 'barenblatt.png')}")
    animate(chosen, "barenblatt", sol, size=(4.6, 4.0), vmax=start.density.max() / 2)
    return 0


if __name__ == "__main__":
    script(main)
