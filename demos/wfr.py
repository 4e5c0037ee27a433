"""Wasserstein-Fisher-Rao between measures of different mass: transport and growth, split.

The flow of KL(. | pi) in Wasserstein + Hellinger: a transport step, then a growth step, each with
the whole energy. With mass z and shape nu, h = log(z/z_pi) obeys h' = -(h + KL(nu | nu_pi)),
an equation for the mass alone once the shapes are known; it is integrated beside the flow.
"""

import itertools

import numpy as np
from _options import Options, script

import jko
from jko import plot


def bump(grid: jko.Grid, mean: float, sd: float, mass: float) -> jko.GridDensity:
    """A Gaussian of given mass, sampled on a grid."""
    return jko.GridDensity.from_function(
        lambda x: np.exp(-((x[:, 0] - mean) ** 2) / (2 * sd**2)), grid, mass=mass
    )


def main(argv: list[str] | None = None) -> int:
    """Run the demo."""
    parser = Options("wfr", "A small measure on the left becomes one three times as heavy.")
    parser.whole("--cells", 200, least=20, text="of the grid on [-6, 6]")
    parser.whole("--steps", 200, least=2, text="until t = 4")
    chosen = parser.parse_args(argv)

    grid = jko.Grid(lower=-6, upper=6, shape=chosen.cells)
    start, target = bump(grid, -1.0, 0.7, mass=1.0), bump(grid, 1.0, 1.0, mass=3.0)
    energy, tau = jko.KL(target), 4.0 / chosen.steps
    geometry = jko.Wasserstein() + jko.Hellinger()
    sol = jko.flow(start, energy, geometry, tau=tau, steps=chosen.steps)

    h = np.array([np.log(m.mass / target.mass) for m in sol.measures])
    shape = jko.KL(target.with_weights(target.weights / target.mass))
    pull = np.array([shape.value(m.with_weights(m.weights / m.mass)) for m in sol.measures])
    ode = [h[0]]
    decay = np.exp(-tau)  # exact for h' = -(h + pull) when the pull is linear within a step
    for before, after in itertools.pairwise(pull):
        kept = (1 - decay) / tau
        ode.append(decay * ode[-1] - (kept - decay) * before - (1 - kept) * after)

    print("    t      mass         h   h by its ODE   KL(mu | pi)   gaps: transport, growth")
    for k in sorted({0, *range(0, chosen.steps + 1, max(1, chosen.steps // 10)), chosen.steps}):
        gaps = [f"{s.gap:9.1e}" for s in sol.steps[k - 1].substeps] if k else []
        print(
            f"{sol.times[k]:5.2f} {sol.measures[k].mass:9.5f} {h[k]:9.5f} {ode[k]:14.5f}"
            f" {sol.energies[k]:13.6f}   {' '.join(gaps)}"
        )
    print(f"\nLargest |h - ODE|: {np.abs(h - ode).max():.2e} at tau = {tau:g}.\n{sol}")

    fig, ax = plot.figure([["density", "mass"]], (10.0, 4.0), width_ratios=[1.4, 1])
    plot.density(ax["density"], target, color=plot.MUTED, fill=True, label="target, mass 3")
    for part, color in zip((0, 0.1, 0.3, 1), (plot.FAINT, *plot.COLORS), strict=False):
        k = round(part * chosen.steps)
        label = f"t = {sol.times[k]:.3g}, mass {sol.measures[k].mass:.2f}"
        plot.density(ax["density"], sol.measures[k], color=color, label=label)
    plot.finish(ax["density"], xlabel="x", ylabel="mass density", legend="upper right")
    ax["mass"].plot(sol.times, h, color=plot.COLORS[0], label="the flow")
    ax["mass"].plot(sol.times, ode, "--", color=plot.INK, lw=1.2, label="the mass equation")
    plot.finish(
        ax["mass"], xlabel="time t", ylabel="h = log(mass / target mass)", legend="lower right"
    )
    print(f"Figure: {plot.save(fig, plot.folder(chosen.out) / 'wfr.png')}")
    return 0


if __name__ == "__main__":
    script(main)
