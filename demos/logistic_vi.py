"""Bayesian logistic regression: variational Gaussian, Laplace, and a long reference chain.

N = 50 observations of d = 10 covariates. The natural-gradient flow of KL(q | posterior) from the
Laplace approximation, against an ensemble of Metropolis-adjusted Langevin chains that is exact in
the limit: which Gaussian has the means and standard deviations of the posterior?
"""

import numpy as np
from _options import Options, script

import jko
from jko import plot


def posterior(dim: int, count: int, seed: int) -> jko.LogDensity:
    """Simulated data, a standard normal prior."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, dim))
    truth = 2 * rng.normal(size=dim) / np.sqrt(dim)
    signed = x * np.where(rng.random(count) < 1 / (1 + np.exp(-x @ truth)), 1.0, -1.0)[:, None]
    return jko.LogDensity(
        lambda t: -np.logaddexp(0, -(t @ signed.T)).sum(axis=1) - 0.5 * (t**2).sum(axis=1),
        lambda t: (1 / (1 + np.exp(t @ signed.T))) @ signed - t,
        dim,
        log_concave=True,
    )


def chains(target: jko.LogDensity, start: jko.Gaussian, steps: int, seed: int) -> np.ndarray:
    """Draws (steps/2, 100, d) of preconditioned MALA after as many steps of warm-up."""
    rng, root = np.random.default_rng(seed), np.linalg.cholesky(start.cov)
    white = np.linalg.inv(root)
    x, h, kept = start.sample(100, rng), 1.2 / target.dim ** (1 / 3), []
    value, pull = target.log_density(x), target.gradient(x) @ root
    for k in range(steps):
        y = x + (h / 2 * pull + np.sqrt(h) * rng.standard_normal(x.shape)) @ root.T
        new, new_pull = target.log_density(y), target.gradient(y) @ root
        there, back = (y - x) @ white.T - h / 2 * pull, (x - y) @ white.T - h / 2 * new_pull
        odds = new - value + ((there**2).sum(axis=1) - (back**2).sum(axis=1)) / (2 * h)
        take = np.log(rng.random(len(x))) < odds
        x = np.where(take[:, None], y, x)
        value, pull = np.where(take, new, value), np.where(take[:, None], new_pull, pull)
        if k >= steps // 2:
            kept.append(x)
    return np.array(kept)


def main(argv: list[str] | None = None) -> int:
    """Run the demo."""
    parser = Options("logistic_vi", "A variational Gaussian against Laplace and a long chain.")
    parser.whole("--dim", 10, text="covariates")
    parser.whole("--count", 50, text="observations")
    parser.whole("--chain", 4000, least=10, text="steps of the chains")
    chosen = parser.parse_args(argv)

    target = posterior(chosen.dim, chosen.count, seed=0)
    fit = jko.vi.fit(target, rng=0)
    draws = chains(target, fit.laplace, chosen.chain, seed=1)
    mean, sd = draws.mean(axis=(0, 1)), draws.std(axis=(0, 1))
    noise = (draws.mean(axis=0).std(axis=0) / np.sqrt(draws.shape[1]) / sd).max()

    print("fit              elbo      mean off, in sd    sd, relative to the chain's")
    for name, g, elbo in (
        ("Laplace", fit.laplace, fit.laplace_elbo),
        ("variational", fit.measure, fit.elbo),
    ):
        ratio = np.sqrt(np.diag(g.cov)) / sd
        off = np.abs(g.mean - mean) / sd
        print(f"{name:12s} {elbo:9.4f} {off.max():18.4f} {ratio.min():17.4f} .. {ratio.max():.4f}")
    print(f"\nChain: standard error of its means {noise:.4f} sd. {fit}")

    fig, ax = plot.figure([["elbo", "means", "sds"]], (12.0, 3.8))
    best = fit.trace[-1].elbo
    gap = np.maximum(best - fit.elbos[:-1], 1e-12)
    ax["elbo"].plot(range(len(gap)), gap, "o-", color=plot.COLORS[0])
    plot.finish(ax["elbo"], xlabel="step", ylabel="ELBO short of its last value", log=True)
    for axis, values, reference in (
        ("means", [fit.laplace.mean, fit.measure.mean], mean),
        ("sds", [np.sqrt(np.diag(g.cov)) for g in (fit.laplace, fit.measure)], sd),
    ):
        ax[axis].axline((reference.min(),) * 2, slope=1, color=plot.FAINT)
        for v, name, color in zip(values, ("Laplace", "variational"), plot.COLORS, strict=False):
            ax[axis].plot(reference, v, "o", color=color, label=name)
        label = "posterior means" if axis == "means" else "posterior standard deviations"
        plot.finish(ax[axis], xlabel=f"{label}, chain", ylabel="fit", legend="upper left")
    print(f"Figure: {plot.save(fig, plot.folder(chosen.out) / 'logistic_vi.png')}")
    return 0


if __name__ == "__main__":
    script(main)
