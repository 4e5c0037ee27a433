"""Bayesian logistic regression on the breast cancer data: 31 coefficients, prior N(0, I).

Weighted particles of the posterior, given two thirds of the tumours, say how uncertain every
coefficient is, and how sure the predictions for the others are: one best set of coefficients
cannot.
"""

import numpy as np
from _options import Options, script
from _posteriors import breast_cancer, logistic

import jko
from jko import plot


def main(argv: list[str] | None = None) -> int:
    """Run the demo."""
    parser = Options("logistic_regression", "A posterior of 31 coefficients on 569 tumours.")
    parser.whole("--particles", 1000, least=50, text="weighted particles")
    parser.whole("--moves", 200, least=20, text="kept moves of every chain")
    parser.whole("--seed", 0, least=0, text="of the random numbers")
    chosen = parser.parse_args(argv)

    model = breast_cancer()
    rng = np.random.default_rng(chosen.seed)
    held = rng.permutation(len(model.signs)) >= 2 * len(model.signs) // 3
    target = logistic(model.table[~held], model.signs[~held])
    out = jko.sample(target, n=chosen.particles, moves=chosen.moves, rng=rng)
    print(out.summary(names=model.names))
    print(f"{out.diagnostics['seconds']:.1f} s, {out.diagnostics['evaluations']} evaluations")

    b, w = out.measure.points, out.measure.weights
    table, benign = model.table[held], model.signs[held] > 0
    chance = 1 / (1 + np.exp(-table @ b.T))  # of being benign, by tumour and particle
    mean = chance @ w
    best = mode(target)
    single = 1 / (1 + np.exp(-table @ best))

    def log_loss(p):
        return -np.log(np.where(benign, p, 1 - p)).mean()

    right = ((mean > 0.5) == benign).mean()
    print(f"\nTumours held out: {len(benign)}, of which called right: {right:.1%}")
    print(
        f"Log loss there: posterior mean {log_loss(mean):.4f},"
        f" best coefficients {log_loss(single):.4f}"
    )
    unsure = int(((mean > 0.1) & (mean < 0.9)).sum())
    print(f"Tumours with a chance between 10 % and 90 %: {unsure} of {len(mean)}")

    fig, ax = plot.figure([["weights", "chance"]], (11.0, 6.2), width_ratios=[1.15, 1])
    order = np.argsort(out.mean)
    rows = np.arange(len(order))
    ax["weights"].errorbar(
        out.mean[order], rows, xerr=2 * out.std[order], fmt="o", color=plot.COLORS[0], ms=3.5, lw=1
    )
    ax["weights"].scatter(best[order], rows, marker="x", color=plot.COLORS[1], s=18, zorder=3,
                          label="maximum a posteriori")  # fmt: skip
    ax["weights"].axvline(0, color=plot.MUTED, lw=0.8)
    ax["weights"].set_yticks(rows, np.array(model.names)[order], fontsize=7)
    title = "Coefficients: mean and two standard deviations"
    plot.finish(ax["weights"], xlabel="coefficient", title=title, legend="lower right")
    spread = np.sqrt(np.maximum((chance - mean[:, None]) ** 2 @ w, 0))
    for label, mask, color in (("benign", benign, 0), ("malignant", ~benign, 1)):
        ax["chance"].scatter(
            single[mask], spread[mask], s=14, color=plot.COLORS[color], alpha=0.6, label=label
        )
    title = "Held out: what one set of coefficients does not say"
    plot.finish(
        ax["chance"],
        xlabel="chance of being benign, by the maximum a posteriori",
        ylabel="its standard deviation under the posterior",
        title=title,
        legend="upper right",
    )
    print(f"Figure: {plot.save(fig, plot.folder(chosen.out) / 'logistic_regression.png')}")
    return 0


def mode(target: jko.LogDensity) -> np.ndarray:
    """The maximum of a log-concave density, by its gradient alone."""
    from scipy.optimize import minimize

    found = minimize(
        lambda b: -target.log_density_at(b[None])[0],
        np.zeros(target.dim),
        jac=lambda b: -target.score(b[None])[0],
        method="BFGS",
    )
    return np.asarray(found.x)


if __name__ == "__main__":
    script(main)
