"""Forward against reverse KL: one Gaussian for a banana and for two modes, and a mixture.

The exclusive KL(q | p) seeks a mode, the inclusive KL(p | q) covers the target (its mean and
covariance, read by importance sampling). A mixture of Gaussian particles, moved and reweighted by
the Bures-Wasserstein-Fisher-Rao flow of the exclusive KL, follows the shape.
"""

import numpy as np
from _options import Options, script

import jko
from jko import plot

VIEW = {"banana": (-4.0, 4.0, -2.5, 6.5), "two modes": (-6.0, 6.0, -4.5, 5.5)}
MODES = jko.GaussianMixture([[-2.5, 0.0], [2.5, 1.0]], [np.eye(2), 0.5 * np.eye(2)], [0.3, 0.7])


def banana(x: np.ndarray) -> np.ndarray:
    """log density of x0 ~ N(0, 1.5), x1 ~ N(x0^2/2, 0.4)."""
    return -(x[:, 0] ** 2) / 3 - (x[:, 1] - x[:, 0] ** 2 / 2) ** 2 / 0.8


TARGETS = {
    "banana": jko.LogDensity(banana, dim=2),
    "two modes": jko.LogDensity(MODES.log_density_at, MODES.score, dim=2),
}


def fits(target: jko.LogDensity, components: int) -> dict[str, jko.vi.Fit]:
    """The three fits, from one seed."""
    wide = jko.Gaussian([0.0, 1.0], 3.0 * np.eye(2))
    mixture = {"family": "mixture", "components": components, "start": wide, "tol": 5e-3}
    return {
        "exclusive": jko.vi.fit(target, rng=1),
        "inclusive": jko.vi.fit(target, objective="inclusive", start=wide, rng=1),
        "mixture": jko.vi.fit(target, rng=1, throw=False, **mixture),
    }


def main(argv: list[str] | None = None) -> int:
    """Run the demo."""
    parser = Options("banana", "Mode seeking against mode covering, on two targets.")
    parser.whole("--components", 6, text="of the mixture")
    chosen = parser.parse_args(argv)

    fig, ax = plot.figure([list(TARGETS)], (11.0, 5.0))
    for name, target in TARGETS.items():
        grid = jko.Grid([-8.0, -8.0], [8.0, 20.0], [320, 560])  # the tails of the banana too
        exact = jko.GridDensity.from_function(lambda x, t=target: np.exp(t.log_density(x)), grid)
        evidence = np.log(exact.mass)
        print(f"{name}: log evidence {evidence:.4f} (grid)")
        print("fit             elbo     +-   sd along the axes       residual   steps")
        sd = np.sqrt(np.diag(exact.cov))
        print(f"target                          {sd[0]:8.4f} {sd[1]:8.4f}")
        plot.density(ax[name], exact, label=name)
        axes = grid.axes
        found = fits(target, chosen.components)
        for (kind, fit), color in zip(found.items(), ("w", "#E69F00", "#56B4E9"), strict=True):
            sd = np.sqrt(np.diag(fit.measure.cov))
            print(
                f"{kind:10s} {fit.elbo:9.4f} {fit.elbo_error:6.0e}     {sd[0]:8.4f} {sd[1]:8.4f}"
                f"       {fit.residual:8.1e} {len(fit.trace):7d}"
            )
            height = np.exp(fit.measure.log_density_at(grid.points)).reshape(grid.shape)
            levels = height.max() * np.exp([-2.0, -0.5])
            style = {"exclusive": "--", "inclusive": ":", "mixture": "-"}[kind]
            ax[name].contour(*axes, height.T, levels=levels, colors=color, linestyles=style)
            ax[name].plot([], [], style, color=color, label=kind)
        ax[name].axis(VIEW[name])
        ax[name].legend(loc="upper right", labelcolor="w", frameon=False)
        ax[name].set(xlabel="$x_1$", ylabel="$x_2$")
        for fit in found.values():
            if fit.importance is not None:
                off = np.abs(fit.measure.cov - exact.cov) / fit.importance.cov_error
                ess, worst = fit.importance.ess, off.max()
        print(
            f"\nInclusive: effective sample size {ess:.0f}; covariance off by at most {worst:.2f}"
        )
        print("standard errors of its own estimate.\n")
    print(f"Figure: {plot.save(fig, plot.folder(chosen.out) / 'banana.png')}")
    return 0


if __name__ == "__main__":
    script(main)
