"""The heat flow of a photograph: grey values as a density, blurred as the flow of the entropy.

rho_t = Lap rho without flux through the frame is the Wasserstein flow of int rho log rho: no
light is lost, none is negative, and the entropy falls in every step. The cosine series of the image
gives the exact averages over the pixels at any time, hence an error for every step.
"""

import numpy as np
from _options import Options, script
from scipy.fft import dctn, idctn

import jko
from jko import plot

END = 4e-4  # the height of the photograph is 1


def photograph(shrink: int) -> jko.GridDensity:
    """The temple that scikit-learn ships, in grey, as a density of height 1."""
    from sklearn.datasets import load_sample_image

    grey = load_sample_image("china.jpg") @ [0.299, 0.587, 0.114] / 255
    rows, columns = (length // shrink for length in grey.shape)
    grey = grey[: rows * shrink, : columns * shrink]
    grey = grey.reshape(rows, shrink, columns, shrink).mean(axis=(1, 3))
    grid = jko.Grid([0, 0], [columns / rows, 1], [columns, rows])
    return jko.GridDensity.from_density(grey[::-1].T, grid)


def heated(rho: jko.GridDensity, time: float) -> np.ndarray:
    """Masses of the pixels at a time, starting from an image that is constant on each of them."""
    modes = dctn(rho.weights.reshape(rho.grid.shape), norm="ortho")
    for axis, (n, h) in enumerate(zip(rho.grid.shape, rho.grid.spacing, strict=True)):
        # A wave and its aliases on the pixels: a pixel is a sum of all, and averages damp them.
        k = np.arange(n)[:, None] + 2 * n * np.arange(-50, 51)
        kept = (np.sinc(k / (2 * n)) ** 2 * np.exp(-time * (np.pi * k / (n * h)) ** 2)).sum(axis=1)
        modes = np.moveaxis(np.moveaxis(modes, axis, -1) * kept, -1, axis)
    return idctn(modes, norm="ortho").ravel()


def main(argv: list[str] | None = None) -> int:
    """Run the demo."""
    parser = Options("heat_image", "The heat flow of a photograph.")
    parser.whole("--shrink", 2, text="average over squares of so many pixels")
    parser.whole("--steps", 10, least=2, text=f"until t = {END:g}")
    chosen = parser.parse_args(argv)

    rho = photograph(chosen.shrink)
    energy, tau = jko.Entropy(), END / chosen.steps
    sol = jko.flow(rho, energy, jko.Wasserstein(), tau=tau, steps=chosen.steps)

    print(f"{rho.grid.shape[0]} x {rho.grid.shape[1]} pixels by {sol.steps[0].substeps[0].solver}")
    print(
        "      t   |rho - exact|_1   |exact - start|_1   entropy   least grey   light lost      gap"
    )
    for k in sorted({1, *range(chosen.steps, 0, -max(1, chosen.steps // 10))}):
        mu, exact = sol.measures[k], heated(rho, sol.times[k])
        off, way = np.abs(mu.weights - exact).sum(), np.abs(rho.weights - exact).sum()
        gap = sol.steps[k - 1].substeps[0].gap
        print(
            f"{sol.times[k]:7.1e} {off:17.2e} {way:19.2e} {sol.energies[k]:9.5f}"
            f" {mu.density.min():12.5f} {abs(mu.mass - rho.mass):12.1e} {gap:8.1e}"
        )
    print(f"\n{sol}")

    fig, ax = plot.figure([["before", "after", "error"]], (10.0, 2.4))
    top, exact = rho.density.max(), heated(rho, END).reshape(rho.grid.shape)
    for name, mu, label in (("before", rho, "t = 0"), ("after", sol.final, f"t = {END:g}")):
        plot.density(ax[name], mu, label=label, vmax=top).set_cmap("gray")
    off = np.abs(sol.final.density - exact / rho.grid.cell_volume)
    label = f"error at t = {END:g}, of grey in [0, 1]"
    image = plot.density(ax["error"], jko.GridDensity.from_density(off, rho.grid), label=label)
    image.set_cmap("gray_r")
    fig.colorbar(image, ax=ax["error"], shrink=0.9)
    for one in ax.values():
        one.set_axis_off()
    print(f"Figure: {plot.save(fig, plot.folder(chosen.out) / 'heat_image.png')}")
    return 0


if __name__ == "__main__":
    script(main)
