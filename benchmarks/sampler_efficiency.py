"""Minimum effective size per 1000 gradients on ten regressions: `jko.sample` beside NUTS.

    OPENBLAS_NUM_THREADS=1 python benchmarks/sampler_efficiency.py
    OPENBLAS_NUM_THREADS=1 python benchmarks/sampler_efficiency.py --only iris --seed 1

One density in JAX for both. NUTS is NumPyro's, four chains of 1000 + 1000 iterations, with its
default (diagonal) and its dense metric. All costs are included: of `jko` every value or gradient
of search, warm-up and chains, of NUTS the leapfrog steps of warm-up and sampling. The effective
size is the smallest over the coordinates and their squares about the mean. The last columns are
the ratios of `jko` to NUTS; `--keep` holds the rows, so that a run in pieces goes on.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
from _kept import Kept, arguments, write_table

import jko

#: What `python -m benchmarks` passes: sizes fit for a minute.
QUICK = ["--only", "iris"]


def standard(x):
    return (x - x.mean(axis=0)) / x.std(axis=0)


def with_one(x):
    return np.column_stack([np.ones(len(x)), x])


def normal_rows(rng, rows, dim, rho):
    """Columns that share a part: their correlation is rho."""
    common = rng.standard_normal((rows, 1))
    return np.sqrt(rho) * common + np.sqrt(1 - rho) * rng.standard_normal((rows, dim))


def linear(table, y, prior, df=None):
    """Coefficients and a log scale; errors normal, or Student's t with df degrees of freedom."""
    import jax.numpy as jnp

    rows, dim = table.shape

    def log_density(x):
        b, s = x[:dim], x[dim]
        z2 = ((y - table @ b) * jnp.exp(-s)) ** 2
        fit = z2.sum() if df is None else (df + 1) * jnp.log1p(z2 / df).sum()
        return -0.5 * fit - rows * s - 0.5 * ((b / prior) ** 2).sum() - 0.5 * (s / 5) ** 2

    return log_density, dim + 1


def logistic(table, signs, prior):
    import jax.numpy as jnp

    def log_density(b):
        return -jnp.logaddexp(0.0, -signs * (table @ b)).sum() - 0.5 * ((b / prior) ** 2).sum()

    return log_density, table.shape[1]


def poisson(table, counts, prior):
    import jax.numpy as jnp

    def log_density(b):
        eta = table @ b
        return (counts * eta - jnp.exp(eta)).sum() - 0.5 * ((b / prior) ** 2).sum()

    return log_density, table.shape[1]


def regressions():
    """Name and a function that makes density and dimension."""
    from sklearn import datasets

    rng = np.random.default_rng(0)
    raw, y = datasets.load_diabetes(return_X_y=True, scaled=False)
    prior = np.r_[500.0, np.full(10, 50.0)]
    yield "diabetes, raw units", lambda: linear(with_one(raw), y, prior)
    scaled = with_one(standard(raw))
    yield "diabetes, standardised", lambda: linear(scaled, y, 200.0)
    yield "diabetes, Student t errors", lambda: linear(scaled, y, 200.0, df=4)
    table = normal_rows(rng, 200, 25, 0.9999)
    response = table @ rng.standard_normal(25) + rng.standard_normal(200)
    yield "25 correlated columns", lambda: linear(table, response, 10.0)
    t = rng.uniform(0, 2, 60)
    powers = t[:, None] ** np.arange(6)
    curve = np.sin(2 * t) + 0.2 * rng.standard_normal(60)
    yield "polynomial of degree 5", lambda: linear(powers, curve, 10.0)
    cancer, label = datasets.load_breast_cancer(return_X_y=True)
    sign = 2.0 * label - 1
    yield "breast cancer, logistic", lambda: logistic(with_one(standard(cancer)), sign, 1.0)
    flowers, kind = datasets.load_iris(return_X_y=True)
    two = kind > 0
    iris = with_one(flowers[two])
    yield "iris, logistic, raw units", lambda: logistic(iris, 2.0 * (kind[two] == 2) - 1, 10.0)
    wine, vineyard = datasets.load_wine(return_X_y=True)
    bottle = with_one(standard(wine[vineyard < 2]))
    yield "wine, logistic", lambda: logistic(bottle, 2.0 * vineyard[vineyard < 2] - 1, 2.5)
    chained = normal_rows(rng, 300, 20, 0.9)
    chance = 1 / (1 + np.exp(-chained @ rng.standard_normal(20)))
    answers = 2.0 * (rng.random(300) < chance) - 1
    yield "20 correlated columns, logistic", lambda: logistic(chained, answers, 2.5)
    eight = with_one(normal_rows(rng, 150, 8, 0.95))
    rate = np.exp(np.clip(eight @ np.r_[1.0, rng.normal(0, 0.5, 8)], -5, 5))
    counts = rng.poisson(rate)
    yield "8 correlated columns, Poisson", lambda: poisson(eight, counts, 2.5)


def ours(log_density, dim, seed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jko.JkoWarning)
        out = jko.sample(jko.LogDensity.from_jax(log_density, dim), rng=seed)
    ess = out.evidence["chain_ess"].value * len(out.draws)
    flat = out.draws.reshape(-1, dim)
    return ess, out.diagnostics["evaluations"], flat, out.converged


def nuts(log_density, dim, seed, dense):
    import jax
    from numpyro.diagnostics import effective_sample_size
    from numpyro.infer import MCMC, NUTS

    kernel = NUTS(potential_fn=lambda x: -log_density(x), dense_mass=dense)
    mcmc = MCMC(kernel, num_warmup=1000, num_samples=1000, num_chains=4,
                chain_method="sequential", progress_bar=False)  # fmt: skip
    first = jax.random.uniform(jax.random.PRNGKey(seed + 100), (4, dim), minval=-2, maxval=2)
    fields, count = ("num_steps",), 0
    mcmc.warmup(
        jax.random.PRNGKey(seed), init_params=first, extra_fields=fields, collect_warmup=True
    )
    count += int(mcmc.get_extra_fields()["num_steps"].sum())
    mcmc.run(jax.random.PRNGKey(seed + 1), extra_fields=fields)
    count += int(mcmc.get_extra_fields()["num_steps"].sum())
    x = np.asarray(mcmc.get_samples(group_by_chain=True))
    square = (x - x.mean(axis=(0, 1))) ** 2
    ess = min(effective_sample_size(x).min(), effective_sample_size(square).min())
    return float(ess), count, x.reshape(-1, dim)


def row(name, make, seed):
    log_density, dim = make()
    clock = time.process_time()
    ess, cost, flat, converged = ours(log_density, dim, seed)
    found = {"name": name, "dim": dim, "seed": seed, "converged": converged}
    found |= {"jko": 1000 * ess / cost, "jko_ess": ess, "jko_gradients": cost}
    found["jko_cpu"] = time.process_time() - clock
    for key, dense in (("default", False), ("dense", True)):
        clock = time.process_time()
        ess, cost, x = nuts(log_density, dim, seed, dense)
        found |= {key: 1000 * ess / cost, f"{key}_ess": ess, f"{key}_gradients": cost}
        found[f"{key}_cpu"] = time.process_time() - clock
    off = np.abs(flat.mean(axis=0) - x.mean(axis=0)) / x.std(axis=0)
    found["apart"] = float(off.max())  # from dense NUTS, in sd
    return found


HEAD = (
    f"{'':<32} {'d':>3} {'jko':>7} {'default':>8} {'dense':>7} {'/default':>9} {'/dense':>7}"
    f" {'apart':>6}  verdict"
)


def said(r):
    return (
        f"{r['name']:<32} {r['dim']:3d} {r['jko']:7.1f} {r['default']:8.2f} {r['dense']:7.1f}"
        f" {r['jko'] / r['default']:9.1f} {r['jko'] / r['dense']:7.2f} {r['apart']:6.3f}"
        f"  {'converged' if r['converged'] else 'not converged'}"
    )


def table(rows):
    """The table of the page, and the counts that are asked for."""
    out = [
        "| regression | d | jko | NUTS, default | NUTS, dense | to default | to dense | apart |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    out += [
        f"| {r['name']} | {r['dim']} | {r['jko']:.0f} | {r['default']:.2g} | {r['dense']:.2g} |"
        f" {r['jko'] / r['default']:.0f} | {r['jko'] / r['dense']:.1f} | {r['apart']:.3f} sd |"
        for r in rows
    ]
    return counts(rows) + "\n\n" + "\n".join(out)


def counts(rows):
    dense = np.array([r["jko"] / r["dense"] for r in rows])
    default = np.array([r["jko"] / r["default"] for r in rows])
    return (
        f"{len(rows)} regressions: at least .8 of dense NUTS on {(dense >= 0.8).sum()}, better on"
        f" {(dense > 1).sum()}; at least 4 times default NUTS on {(default >= 4).sum()}."
    )


def main() -> None:
    import jax

    jax.config.update("jax_enable_x64", True)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    arguments(parser)
    args = parser.parse_args()
    kept = Kept(args.keep)
    print(HEAD, flush=True)
    for name, make in regressions():
        if not any(part in name for part in args.only):
            continue
        known = kept.find(name=name, seed=args.seed)
        found = known or row(name, make, args.seed)
        print(said(found), flush=True)
        if not known:
            kept.add(found)
    print(counts(kept.lines))
    if args.page is not None:
        write_table(args.page, "efficiency", table(kept.lines))


if __name__ == "__main__":
    main()
