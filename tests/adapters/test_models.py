"""NumPyro, PyMC and Stan: one hierarchical model, the same density by hand in all three."""

import numpy as np
import pytest
from scipy import stats

import jko

Y = np.array([28.0, 8, -3, 7])
SIGMA = np.array([15.0, 10, 16, 11])
STAN = """
data { int<lower=0> J; array[J] real y; array[J] real<lower=0> sigma; }
parameters { real mu; real<lower=0> tau; vector[J] theta; }
transformed parameters { real tau2 = square(tau); }
model {
  mu ~ normal(0, 5);
  tau ~ exponential(0.2);
  theta ~ normal(mu, tau);
  y ~ normal(theta, sigma);
}
"""
DATA = {"J": 4, "y": Y.tolist(), "sigma": SIGMA.tolist()}


def by_hand(mu, log_tau, theta):
    """Log density of (mu, log tau, theta), the Jacobian of the logarithm included."""
    tau = np.exp(log_tau)
    return (
        stats.norm.logpdf(mu, 0, 5)
        + stats.expon.logpdf(tau, scale=5)
        + log_tau
        + stats.norm.logpdf(theta, mu[:, None], tau[:, None]).sum(axis=1)
        + stats.norm.logpdf(Y, theta, SIGMA).sum(axis=1)
    )


def agrees(pi, log_tau, scale_name="tau"):
    """The density up to a constant, its gradient, and the parameters back."""
    x = np.random.default_rng(0).normal(size=(20, 6))
    at = {name: j for j, name in enumerate(pi.names)}
    mu, place = x[:, at["mu"]], x[:, at[log_tau]]
    theta = x[:, [j for name, j in at.items() if name.startswith("theta[")]]
    off = pi.log_density_at(x) - by_hand(mu, place, theta)
    np.testing.assert_allclose(off, off[0], atol=1e-9)
    assert pi.check_gradient(x[:3]) < 1e-4
    back = pi.constrain(x)
    np.testing.assert_allclose(back[scale_name], np.exp(place), rtol=1e-12)
    np.testing.assert_allclose(back["theta"], theta, rtol=1e-12)
    np.testing.assert_allclose(back["tau2"], np.exp(2 * place), rtol=1e-12)
    assert set(back) == {"mu", "tau", "theta", "tau2"}
    return pi


@pytest.fixture
def double():
    jax = pytest.importorskip("jax", reason="the extra jax is not installed")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def test_numpyro(double):
    numpyro = pytest.importorskip("numpyro", reason="the extra numpyro is not installed")
    dist = numpyro.distributions

    def model(sigma, y=None):
        mu = numpyro.sample("mu", dist.Normal(0, 5))
        tau = numpyro.sample("tau", dist.Exponential(0.2))
        numpyro.deterministic("tau2", tau**2)
        with numpyro.plate("schools", 4):
            theta = numpyro.sample("theta", dist.Normal(mu, tau))
            numpyro.sample("y", dist.Normal(theta, sigma), obs=y)

    agrees(jko.LogDensity.from_numpyro(model, SIGMA, y=Y), "tau")

    def mixed(y):
        z = numpyro.sample("z", dist.Bernoulli(0.5))
        numpyro.sample("y", dist.Normal(z, 1.0), obs=y)

    with pytest.raises(jko.Unsupported, match=r"the site 'z' is discrete .* sum it out"):
        jko.LogDensity.from_numpyro(mixed, 0.3)

    def partly(y):
        m = numpyro.sample("m", dist.Normal(0, 1))
        with numpyro.plate("rows", 4, subsample_size=2):
            numpyro.sample("y", dist.Normal(m, 1.0), obs=numpyro.subsample(y, 0))

    with pytest.raises(jko.Unsupported, match="the plate 'rows' takes a random part"):
        jko.LogDensity.from_numpyro(partly, Y)
    with pytest.raises(jko.InvalidArgument, match="the model raised TypeError"):
        jko.LogDensity.from_numpyro(model)
    with pytest.raises(jko.InvalidType, match="model got float"):
        jko.LogDensity.from_numpyro(1.0)

    def branching():
        if numpyro.sample("m", dist.Normal(0, 1)) > 0:
            numpyro.sample("b", dist.Normal(0, 1))

    with pytest.raises(jko.InvalidArgument, match=r"the NumPyro model raised .* instead of if"):
        jko.LogDensity.from_numpyro(branching)


def test_flat_priors_of_numpyro(double):
    """They have a density and no draws."""
    numpyro = pytest.importorskip("numpyro", reason="the extra numpyro is not installed")
    dist, real = numpyro.distributions, numpyro.distributions.constraints

    def model(y):
        m = numpyro.sample("m", dist.ImproperUniform(real.real, (), ()))
        s = numpyro.sample("s", dist.ImproperUniform(real.positive, (), ()))
        numpyro.sample("y", dist.Normal(m, s), obs=y)

    pi = jko.LogDensity.from_numpyro(model, Y)
    x = np.random.default_rng(0).normal(size=(5, 2))
    m, log_s = x[:, [pi.names.index("m")]], x[:, [pi.names.index("s")]]
    wanted = stats.norm.logpdf(Y, m, np.exp(log_s)).sum(axis=1) + log_s[:, 0]
    np.testing.assert_allclose(pi.log_density_at(x), wanted, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "pytensor"])
def test_pymc(backend, monkeypatch):
    pm = pytest.importorskip("pymc", reason="the extra pymc is not installed")
    if backend == "jax":
        jax = pytest.importorskip("jax", reason="the extra jax is not installed")
        before = jax.config.jax_enable_x64
        jax.config.update("jax_enable_x64", True)
    else:
        import pytensor

        monkeypatch.setattr("jko.adapters.pymc.find_spec", lambda name: None)
        monkeypatch.setattr(pytensor.config, "mode", "FAST_COMPILE")
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5)
        tau = pm.Exponential("tau", 0.2)
        pm.Deterministic("tau2", tau**2)
        theta = pm.Normal("theta", mu, tau, shape=4)
        pm.Normal("y", theta, SIGMA, observed=Y)
    try:
        agrees(jko.LogDensity.from_pymc(model), "tau_log__")
    finally:
        if backend == "jax":
            jax.config.update("jax_enable_x64", before)
    with pm.Model() as mixed:
        z = pm.Bernoulli("z", 0.5)
        pm.Normal("y", z, 1.0, observed=0.3)
    with pytest.raises(jko.Unsupported, match="the variable 'z' is discrete"):
        jko.LogDensity.from_pymc(mixed)
    with pm.Model() as fixed:
        pm.Normal("y", 0.0, 1.0, observed=0.3)
    with pytest.raises(jko.InvalidArgument, match="no free variable: there is nothing to infer"):
        jko.LogDensity.from_pymc(fixed)
    with pytest.raises(jko.InvalidType, match=r"pass a pymc\.Model"):
        jko.LogDensity.from_pymc(3)


def test_stan(tmp_path):
    stanli = pytest.importorskip("stanli", reason="the extra stan is not installed")
    pytest.importorskip("bridgestan", reason="the extra stan is not installed")
    file = tmp_path / "schools.stan"
    file.write_text(STAN)
    agrees(jko.LogDensity.from_stan(STAN, DATA), "tau")
    pi = agrees(jko.LogDensity.from_stan(file, DATA), "tau")
    x = np.zeros((3, 6))
    x[1, 1] = -1e4  # tau = 0: a domain error
    np.testing.assert_array_equal(np.isfinite(pi.log_density_at(x)), [True, False, True])
    assert pi.faults.errors == 1
    model = jko.LogDensity.from_stan(stanli.Model(stan_code=STAN, data=DATA))
    off = model.log_density_at(x)[[0, 2]] - pi.log_density_at(x)[[0, 2]]
    np.testing.assert_allclose(off, off[0], atol=1e-12)
    for program, data in ((STAN, {}), ("parameters { int x; }\nmodel { x ~ poisson(3); }", {})):
        with pytest.raises(jko.InvalidArgument, match="the Stan program raised RuntimeError"):
            jko.LogDensity.from_stan(program, data)
    with pytest.raises(jko.InvalidArgument, match=r"'gone\.stan' does not exist"):
        jko.LogDensity.from_stan("gone.stan")
