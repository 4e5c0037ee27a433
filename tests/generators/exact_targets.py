"""Targets with exact means and standard deviations, for judging the verdicts of samplers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import special

import jko


@dataclass(frozen=True, eq=False)
class Exact:
    """A target with its exact moments; `options` go to `jko.sample`."""

    name: str
    log_density: Callable
    gradient: Callable
    mean: np.ndarray
    std: np.ndarray
    log_evidence: float | None = None
    options: dict | None = None

    @property
    def dim(self) -> int:
        return len(self.mean)


def of_gaussian(name, mean, cov, **options) -> Exact:
    mean, cov = np.asarray(mean, float), np.asarray(cov, float)
    precision = np.linalg.inv(cov)
    precision = (precision + precision.T) / 2

    def log_density(x):
        return -0.5 * np.einsum("ni,ij,nj->n", x - mean, precision, x - mean, optimize=True)

    evidence = 0.5 * len(mean) * np.log(2 * np.pi) + 0.5 * np.linalg.slogdet(cov)[1]
    return Exact(
        name,
        log_density,
        lambda x: -(x - mean) @ precision,
        mean,
        np.sqrt(np.diag(cov)),
        evidence,
        options,
    )


def rotated(dim, condition, seed=0):
    """Covariance with eigenvalues from 1 to `condition` in random directions."""
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    return (q * np.geomspace(1, condition, dim)) @ q.T


def mixture(name, means, sds, weights, **options) -> Exact:
    """Spherical normal components."""
    m, s, w = np.asarray(means, float), np.asarray(sds, float), np.asarray(weights, float)
    w = w / w.sum()
    d = m.shape[1]

    def parts(x):
        square = ((x[:, None] - m) ** 2).sum(-1)
        return np.log(w) - d * np.log(s) - 0.5 * square / s**2

    def log_density(x):
        return special.logsumexp(parts(x), axis=1)

    def gradient(x):
        p = parts(x)
        p = np.exp(p - special.logsumexp(p, axis=1, keepdims=True)) / s**2
        return p @ m - p.sum(1, keepdims=True) * x

    mean = w @ m
    var = w @ (m**2 + s[:, None] ** 2) - mean**2
    return Exact(
        name, log_density, gradient, mean, np.sqrt(var), 0.5 * d * np.log(2 * np.pi), options
    )


def at(dim, *places):
    """Points on the first axis."""
    out = np.zeros((len(places), dim))
    out[:, 0] = places
    return out


def banana(b, sd=3.0, extra=0) -> Exact:
    """x_0 ~ N(0, sd^2), x_1 | x_0 ~ N(b x_0^2, 1), and independent normals."""

    def log_density(x):
        bend = x[:, 1] - b * x[:, 0] ** 2
        return -0.5 * ((x[:, 0] / sd) ** 2 + bend**2 + (x[:, 2:] ** 2).sum(1))

    def gradient(x):
        bend = x[:, 1] - b * x[:, 0] ** 2
        return np.column_stack([-x[:, 0] / sd**2 + 2 * b * x[:, 0] * bend, -bend, -x[:, 2:]])

    mean = np.zeros(2 + extra)
    mean[1] = b * sd**2
    std = np.ones(2 + extra)
    std[0], std[1] = sd, np.sqrt(1 + 2 * b**2 * sd**4)
    evidence = 0.5 * (2 + extra) * np.log(2 * np.pi) + np.log(sd)
    return Exact(f"banana {b:g}, d = {2 + extra}", log_density, gradient, mean, std, evidence)


def funnel(dim, sd=3.0) -> Exact:
    """Neal's: x_0 ~ N(0, sd^2), the others N(0, exp(x_0))."""
    k = dim - 1

    def log_density(x):
        return (
            -0.5 * (x[:, 0] / sd) ** 2
            - 0.5 * (x[:, 1:] ** 2).sum(1) * np.exp(-x[:, 0])
            - 0.5 * k * x[:, 0]
        )

    def gradient(x):
        e = np.exp(-x[:, 0])
        first = -x[:, 0] / sd**2 + 0.5 * (x[:, 1:] ** 2).sum(1) * e - 0.5 * k
        return np.column_stack([first, -x[:, 1:] * e[:, None]])

    std = np.full(dim, np.exp(sd**2 / 4))
    std[0] = sd
    return Exact(f"funnel sd {sd:g}, d = {dim}", log_density, gradient, np.zeros(dim), std)


EFFECTS = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])
ERRORS = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])


def _schools_moments():
    u = np.linspace(-14, 7, 20001)
    tau = np.exp(u)
    v = ERRORS**2 + tau[:, None] ** 2
    precision, shift = 1 / 25 + (1 / v).sum(1), (EFFECTS / v).sum(1)
    m = shift / precision
    log_w = -0.5 * (np.log(v) + EFFECTS**2 / v).sum(1) - 0.5 * np.log(precision)
    log_w += 0.5 * precision * m**2 + u - np.log1p((tau / 5) ** 2)
    w = np.exp(log_w - log_w.max())
    w /= w.sum()
    share = tau[:, None] ** 2 / v
    theta = share * EFFECTS + (1 - share) * m[:, None]
    inside = share * ERRORS**2 + (1 - share) ** 2 / precision[:, None]
    eta = theta / tau[:, None] - m[:, None] / tau[:, None]
    eta2 = (
        ((EFFECTS - m[:, None]) * tau[:, None] / v) ** 2
        + ERRORS**2 / v
        + (tau[:, None] / v) ** 2 / precision[:, None]
    )

    def moments(first, second):
        mean = w @ first
        return mean, np.sqrt(w @ second - mean**2)

    return {
        "mu": moments(m, m**2 + 1 / precision),
        "u": moments(u, u**2),
        "theta": moments(theta, theta**2 + inside),
        "eta": moments(eta, eta2),
    }


def schools(centred) -> Exact:
    """Eight schools: mu, log tau, and effects or standardised effects."""
    known = _schools_moments()
    third = "theta" if centred else "eta"
    mean = np.concatenate([[known["mu"][0], known["u"][0]], known[third][0]])
    std = np.concatenate([[known["mu"][1], known["u"][1]], known[third][1]])

    def log_density(x):
        mu, u, z = x[:, 0], x[:, 1], x[:, 2:]
        tau = np.exp(u)
        prior = -0.5 * (mu / 5) ** 2 + u - np.log1p((tau / 5) ** 2)
        if centred:
            a = (z - mu[:, None]) / tau[:, None]
            rest = (EFFECTS - z) / ERRORS
            return prior - 8 * u - 0.5 * (a**2).sum(1) - 0.5 * (rest**2).sum(1)
        rest = (EFFECTS - mu[:, None] - tau[:, None] * z) / ERRORS
        return prior - 0.5 * (z**2).sum(1) - 0.5 * (rest**2).sum(1)

    def gradient(x):
        mu, u, z = x[:, 0], x[:, 1], x[:, 2:]
        tau = np.exp(u)
        q = tau**2 / 25
        out = np.empty_like(x)
        if centred:
            off = z - mu[:, None]
            out[:, 0] = -mu / 25 + off.sum(1) / tau**2
            out[:, 1] = 1 - 2 * q / (1 + q) - 8 + (off**2).sum(1) / tau**2
            out[:, 2:] = -off / tau[:, None] ** 2 + (EFFECTS - z) / ERRORS**2
            return out
        force = (EFFECTS - mu[:, None] - tau[:, None] * z) / ERRORS**2
        out[:, 0] = -mu / 25 + force.sum(1)
        out[:, 1] = 1 - 2 * q / (1 + q) + tau * (force * z).sum(1)
        out[:, 2:] = -z + tau[:, None] * force
        return out

    return Exact(
        "eight schools, " + ("centred" if centred else "non-centred"),
        log_density, gradient, mean, std,
    )  # fmt: skip


def regression(dim, rows, rho, seed=0) -> Exact:
    """Linear regression on strongly correlated columns, known noise, N(0, 10^2) prior."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((rows, 1))
    table = np.sqrt(rho) * common + np.sqrt(1 - rho) * rng.standard_normal((rows, dim))
    y = table @ rng.standard_normal(dim) + rng.standard_normal(rows)
    precision = table.T @ table + 0.01 * np.eye(dim)
    cov = np.linalg.inv(precision)
    mean = cov @ (table.T @ y)
    std = np.sqrt(np.diag(cov))
    correlation = cov / np.outer(std, std)
    name = f"regression, d = {dim}, correlation condition {np.linalg.cond(correlation):.1e}"

    def log_density(b):
        return -0.5 * ((y - b @ table.T) ** 2).sum(1) - 0.005 * (b**2).sum(1)

    def gradient(b):
        return (y - b @ table.T) @ table - 0.01 * b

    gap = 0.5 * (y @ y) - 0.5 * mean @ precision @ mean
    evidence = -gap + 0.5 * dim * np.log(2 * np.pi) + 0.5 * np.linalg.slogdet(cov)[1]
    return Exact(name, log_density, gradient, mean, std, evidence)


def student(dim, df, scale=1.0) -> Exact:
    """Multivariate t with df > 2."""

    def log_density(x):
        return -0.5 * (df + dim) * np.log1p((x**2).sum(1) / (df * scale**2))

    def gradient(x):
        return -(df + dim) * x / (df * scale**2 + (x**2).sum(1, keepdims=True))

    std = np.full(dim, scale * np.sqrt(df / (df - 2)))
    return Exact(f"Student t {df:g}, d = {dim}", log_density, gradient, np.zeros(dim), std)


def product(name, log_f, slope, mean, std, dim, **options) -> Exact:
    """Independent equal coordinates."""
    return Exact(
        name, lambda x: log_f(x).sum(1), slope, np.full(dim, mean), np.full(dim, std), None,
        options,
    )  # fmt: skip


def logistic(x):
    return -np.abs(x) - 2 * np.log1p(np.exp(-np.abs(x)))


def half(log_f):
    return lambda x: np.where(x > 0, log_f(x), -np.inf)


def scale_of_normals(rows, sd0=1.0) -> Exact:
    """log sigma alone given `rows` normal observations with sum of squares `rows`, flat prior."""
    k = rows / 2
    mean = 0.5 * (np.log(k) - special.digamma(k))
    std = 0.5 * np.sqrt(special.polygamma(1, k))

    def log_density(x):
        return (-rows * x - 0.5 * rows * np.exp(-2 * x)).sum(1)

    def gradient(x):
        return -rows + rows * np.exp(-2 * x)

    return Exact(
        f"log scale of {rows} normals", log_density, gradient, np.array([mean]), np.array([std])
    )


def normal_mixture_posterior(seed=0) -> Exact:
    """Two normals with ordered means, 1000 observations; moments by a long run, see `reference`.

    Coordinates: mu_1, log(mu_2 - mu_1), log sigma_1, log sigma_2, logit theta.
    """
    rng = np.random.default_rng(seed)
    first = rng.random(1000) < 0.4
    y = np.where(first, rng.normal(-1.5, 1.0, 1000), rng.normal(2.0, 0.7, 1000))

    def pieces(x):
        mu1, gap, s1, s2 = x[:, 0], np.exp(x[:, 1]), np.exp(x[:, 2]), np.exp(x[:, 3])
        mu2 = mu1 + gap
        z1 = (y - mu1[:, None]) / s1[:, None]
        z2 = (y - mu2[:, None]) / s2[:, None]
        a = -np.logaddexp(0, -x[:, 4])[:, None] - x[:, 2:3] - 0.5 * z1**2
        b = -np.logaddexp(0, x[:, 4])[:, None] - x[:, 3:4] - 0.5 * z2**2
        return mu1, mu2, gap, s1, s2, z1, z2, a, b

    def log_density(x):
        mu1, mu2, _gap, s1, s2, _, _, a, b = pieces(x)
        prior = -0.5 * (mu1**2 + mu2**2) / 4 + x[:, 1] - 0.5 * (s1**2 + s2**2) / 4 + x[:, 2]
        prior += x[:, 3] - 5 * np.logaddexp(0, -x[:, 4]) - 5 * np.logaddexp(0, x[:, 4])
        return np.logaddexp(a, b).sum(1) + prior

    def gradient(x):
        mu1, mu2, gap, s1, s2, z1, z2, a, b = pieces(x)
        p = special.expit(a - b)
        d1 = (p * z1).sum(1) / s1
        d2 = ((1 - p) * z2).sum(1) / s2
        theta = special.expit(x[:, 4])
        out = np.empty_like(x)
        out[:, 0] = d1 + d2 - (mu1 + mu2) / 4
        out[:, 1] = gap * (d2 - mu2 / 4) + 1
        out[:, 2] = (p * (z1**2 - 1)).sum(1) + 1 - s1**2 / 4
        out[:, 3] = ((1 - p) * (z2**2 - 1)).sum(1) + 1 - s2**2 / 4
        out[:, 4] = p.sum(1) - 1000 * theta + 5 * (1 - 2 * theta)
        return out

    zero = np.zeros(5)
    return Exact("normal mixture, 1000 observations", log_density, gradient, zero, zero)


def gaussians() -> Iterator[Exact]:
    for d, condition in [(1, 1), (2, 1e4), (5, 1e2), (10, 1e6), (20, 1e3), (50, 1e4), (100, 1e4)]:
        yield of_gaussian(
            f"Gaussian, d = {d}, condition {condition:g}", np.ones(d), rotated(d, condition)
        )
    yield of_gaussian("Gaussian of sd 1e-6", [3e-6, 0], 1e-12 * rotated(2, 10))
    yield of_gaussian("Gaussian far away", np.full(4, 1e4), rotated(4, 100))
    yield of_gaussian("Gaussian of sd 1e5", np.zeros(3), 1e10 * rotated(3, 100))
    yield regression(26, 200, 0.9998)
    yield regression(10, 50, 0.99)


def curved() -> Iterator[Exact]:
    for b in (0.03, 0.1, 0.3, 1.0):
        yield banana(b)
    yield banana(0.1, extra=8)
    yield banana(0.3, extra=3)
    for d, sd in [(2, 1.0), (5, 1.0), (10, 1.0), (3, 2.0), (10, 3.0)]:
        yield funnel(d, sd)
    yield schools(True)
    yield schools(False)
    for rows in (1, 5, 100):
        yield scale_of_normals(rows)


def mixtures() -> Iterator[Exact]:
    for d in (1, 2, 5, 10):
        yield mixture(f"two modes, sd 1 and .2, d = {d}", at(d, 0, 8), [1, 0.2], [0.5, 0.5])
    for d in (2, 10, 30):
        yield mixture(f"two equal modes, .3 and .7, d = {d}", at(d, 0, 8), [1, 1], [0.3, 0.7])
    yield mixture("two near modes, d = 3", at(3, 0, 3), [1, 1], [0.5, 0.5])
    yield mixture("two modes 40 apart, d = 4", at(4, -20, 20), [1, 2], [0.4, 0.6])
    rng = np.random.default_rng(3)
    sds = np.array([0.1, 0.2, 0.4, 0.8, 1.2, 2.0])
    for d in (2, 3, 5):
        yield mixture(f"six modes of sd .1 to 2, d = {d}", rng.uniform(-15, 15, (6, d)), sds,
                      np.ones(6))  # fmt: skip
    for d in (1, 2, 5):
        yield mixture(f".1 % of sd 100, d = {d}", np.zeros((2, d)), [1, 100], [0.999, 0.001])
    yield mixture("10 % of sd 5, d = 3", np.zeros((2, 3)), [1, 5], [0.9, 0.1])
    yield mixture("half of sd .1 inside sd 1, d = 3", np.zeros((2, 3)), [0.1, 1], [0.5, 0.5])
    yield mixture("1 % at distance 10, d = 2", at(2, 0, 10), [1, 1], [0.99, 0.01])
    oblique = np.stack([np.zeros(5), 8 * np.ones(5) / np.sqrt(5)])
    yield mixture("oblique modes, sd 1 and .3, d = 5", oblique, [1, 0.3], [0.5, 0.5])


def tails_and_edges() -> Iterator[Exact]:
    for d, df in [(1, 3), (1, 5), (1, 10), (2, 4), (5, 5), (5, 10), (10, 30)]:
        yield student(d, df)
    yield product("logistic, d = 4", logistic, lambda x: -np.tanh(x / 2), 0.0,
                  np.pi / np.sqrt(3), 4)  # fmt: skip
    yield product("Laplace, d = 3", lambda x: -np.abs(x), lambda x: -np.sign(x), 0.0, 2**0.5, 3,
                  check=False)  # fmt: skip
    yield product("exponential, d = 2", half(lambda x: -x), lambda x: -np.ones_like(x), 1, 1, 2)
    yield product("half normal, d = 3", half(lambda x: -(x**2) / 2), lambda x: -x,
                  np.sqrt(2 / np.pi), np.sqrt(1 - 2 / np.pi), 3)  # fmt: skip
    inside = lambda x: np.where(np.abs(x) < 1, 0.0, -np.inf)
    yield product("uniform, d = 2", inside, np.zeros_like, 0.0, 3**-0.5, 2)
    yield product("quartic, d = 3", lambda x: -(x**4) / 4, lambda x: -(x**3), 0.0,
                  np.sqrt(2 * special.gamma(0.75) / special.gamma(0.25)), 3)  # fmt: skip
    for k in (0.5, 2.0, 20.0):  # log of a gamma variable
        yield product(
            f"log gamma {k:g}, d = 2", lambda x, k=k: k * x - np.exp(x),
            lambda x, k=k: k - np.exp(x), special.digamma(k), np.sqrt(special.polygamma(1, k)), 2,
        )  # fmt: skip


def everything() -> list[Exact]:
    """All targets with exact moments."""
    return [*gaussians(), *curved(), *mixtures(), *tails_and_edges()]


def target_of(exact: Exact) -> jko.LogDensity:
    """The target as `jko.sample` takes it."""
    return jko.LogDensity(exact.log_density, exact.gradient, exact.dim)
