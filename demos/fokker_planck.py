"""Fokker-Planck in a double well: the Wasserstein flow of entropy plus potential, on a grid.

rho_t = div(rho grad V) + D Lap rho is the Wasserstein flow of F = D int rho log rho + int V rho.
Each step is debiased entropic scaling, which keeps the equilibrium; the density forgets that it
started in one well and approaches the Gibbs density exp(-V/D)/Z, whose energy is -D log Z.
"""

import numpy as np
from _options import Options, animate, script

import jko
from jko import plot

D = 0.4  # diffusion: the barrier between the wells is 1


def well(x: np.ndarray) -> np.ndarray:
    """V(x) = (x^2 - 1)^2 + x/5: the left well is the deeper one."""
    return (x[:, 0] ** 2 - 1) ** 2 + 0.2 * x[:, 0]


def main(argv: list[str] | None = None) -> int:
    """Run the demo."""
    parser = Options(
        "fokker_planck", "A density in a double well relaxes to the Gibbs density.", moves=True
    )
    parser.whole("--cells", 200, least=20, text="of the grid on [-2.4, 2.4]")
    parser.whole("--steps", 80, text="of length 0.2")
    chosen = parser.parse_args(argv)

    grid = jko.Grid(lower=-2.4, upper=2.4, shape=chosen.cells)
    start = jko.GridDensity.from_function(lambda x: np.exp(-12 * (x[:, 0] - 1) ** 2), grid, mass=1)
    gibbs = jko.GridDensity.from_function(lambda x: np.exp(-well(x) / D), grid, mass=1)
    energy = D * jko.Entropy() + jko.Potential(well)
    solver = jko.solvers.Entropic(debias=True)
    sol = jko.flow(start, energy, jko.Wasserstein(), tau=0.2, steps=chosen.steps, solver=solver)

    floor = energy.value(gibbs)
    print(f"F of the Gibbs density: {floor:.8f}\n")
    print("    t     F - F(Gibbs)   |rho - Gibbs|_1   mass in the left well       gap     bias")
    left = grid.points[:, 0] < 0
    for k in sorted({0, 1, 2, 5, 10, 20, 40, 60, chosen.steps} & set(range(chosen.steps + 1))):
        rho = sol.measures[k]
        off = np.abs(rho.weights - gibbs.weights).sum()
        evidence = ""
        if k > 0:
            step = sol.steps[k - 1].substeps[0]
            evidence = f"{step.gap:10.1e} {step.bias:8.1e}"
        print(
            f"{sol.times[k]:5.1f} {sol.energies[k] - floor:16.8f} {off:17.6f}"
            f" {rho.weights[left].sum():23.6f} {evidence}"
        )
    still = jko.step(gibbs, energy, jko.Wasserstein(), 0.2, solver=solver).measure
    moved = np.abs(still.weights - gibbs.weights).sum()
    there = gibbs.weights[left].sum()
    print(
        f"\nLeft well at equilibrium: {there:.6f}. A step from the Gibbs density"
        f" moves {moved:.1e} of it.\n{sol}"
    )

    fig, ax = plot.figure([["density", "energy"]], (10.0, 3.6), width_ratios=[1.4, 1])
    plot.density(ax["density"], gibbs, color=plot.MUTED, fill=True, label="Gibbs density")
    for k, color in zip((0, 1, 10, chosen.steps), (plot.FAINT, *plot.COLORS), strict=False):
        if k <= chosen.steps:
            label = f"t = {sol.times[k]:g}"
            plot.density(ax["density"], sol.measures[k], color=color, label=label)
    plot.finish(ax["density"], xlabel="x", ylabel="density", legend="upper left")
    plot.decay(ax["energy"], sol, of=lambda f: f - floor, ylabel="F - F(Gibbs density)")
    print(f"Figure: {plot.save(fig, plot.folder(chosen.out) / 'fokker_planck.png')}")
    animate(chosen, "fokker_planck", sol, size=(5.0, 3.2))
    return 0


if __name__ == "__main__":
    script(main)
