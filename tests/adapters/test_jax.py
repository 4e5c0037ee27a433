"""`jko.LogDensity.from_jax` and `from_blackjax` against densities by hand."""

import numpy as np
import pytest

import jko

jax = pytest.importorskip("jax", reason="the extra jax is not installed")
jnp = jax.numpy

MEAN, SD = np.array([1.0, -2.0, 0.5]), np.array([1.0, 3.0, 0.2])
X = np.random.default_rng(0).normal(size=(50, 3))
WANTED = -0.5 * (((X - MEAN) / SD) ** 2).sum(axis=1)
SLOPE = -(X - MEAN) / SD**2


@pytest.fixture(autouse=True)
def double():
    """Double precision for a test; the default, single, is met by tests of their own."""
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def of_point(x):
    return -0.5 * (((x - MEAN) / SD) ** 2).sum()


def of_points(x):
    assert x.ndim == 2
    return -0.5 * (((x - MEAN) / SD) ** 2).sum(axis=1)


def of_either(x):
    return -0.5 * (((x - MEAN) / SD) ** 2).sum(axis=-1)


def of_coordinates(x):
    """Of one point only, though a batch of points gives numbers as well."""
    return -0.5 * sum(((x[j] - MEAN[j]) / SD[j]) ** 2 for j in range(3))


@pytest.mark.parametrize("f", [of_point, of_points, of_either, of_coordinates])
def test_point_and_batch(f):
    pi = jko.LogDensity.from_jax(f, 3)
    values, slope = pi.value_and_grad(X)
    np.testing.assert_allclose(values, WANTED, rtol=1e-13)
    np.testing.assert_allclose(slope, SLOPE, rtol=1e-13)
    np.testing.assert_allclose(pi.log_density(X[:7]), WANTED[:7], rtol=1e-13)
    assert pi.dtype == np.float64
    assert pi.check_gradient(X[:3]) < 1e-6


@pytest.mark.parametrize("d", [1, 5, 7])
def test_dimensions_like_the_size_of_a_trial(d):
    pi = jko.LogDensity.from_jax(lambda x: x[0] ** 2 - x.sum(), d)
    x = np.random.default_rng(1).normal(size=(9, d))
    np.testing.assert_allclose(pi.log_density(x), x[:, 0] ** 2 - x.sum(axis=1), rtol=1e-12)


def test_new_batch_sizes_do_not_compile_anew():
    """Traces are counted: sizes 900 to 1024 share one program."""
    traced = []

    def f(x):
        traced.append(1)
        return of_point(x)

    pi = jko.LogDensity.from_jax(f, 3)
    pi.score(np.zeros((1000, 3)))
    before = len(traced)
    for n in (1001, 1024, 990, 950, 900):
        assert pi.score(np.ones((n, 3))).shape == (n, 3)
    assert len(traced) == before


def test_outside_the_support():
    """-inf and NaN mean that the density vanishes; a broken gradient inside is counted."""

    def f(x):  # log x: -inf at 0, NaN below; sqrt has no slope at 0
        return jnp.log(x[0]) - x[0] + jnp.sqrt(jnp.abs(x[1]))

    pi = jko.LogDensity.from_jax(f, 2)
    x = np.array([[1.0, 1.0], [0.0, 1.0], [-1.0, 1.0], [1.0, 0.0]])
    values, slope = pi.log_density_and_score(x)
    np.testing.assert_allclose(values, [0.0, -np.inf, -np.inf, -1.0])
    np.testing.assert_allclose(slope, [[0.0, 0.5], [0, 0], [0, 0], [0, 0]], atol=1e-12)
    assert (pi.faults.nan, pi.faults.gradients) == (1, 1)


def test_single_precision_is_said_with_its_remedy():
    jax.config.update("jax_enable_x64", False)
    with pytest.warns(jko.JkoWarning, match=r'jax.config.update\("jax_enable_x64", True\)'):
        pi = jko.LogDensity.from_jax(lambda x: -0.5 * ((x - 3.0) ** 2).sum(), 3)
    assert pi.dtype == np.float32
    np.testing.assert_allclose(pi.log_density_at(X), -0.5 * ((X - 3) ** 2).sum(axis=1), rtol=1e-4)
    assert pi.check_gradient(X[:3]) <= 1e-2


@pytest.mark.parametrize(
    ("f", "sentence"),
    [
        (lambda x: x, r"f returns shape \(3,\) for one point, \(7, 3\) for points; f must take"),
        (lambda x: undefined, "f raised NameError"),  # noqa: F821
        (lambda x: float(x[0]), "f raised ConcretizationTypeError"),
        (lambda x: jnp.argmax(x), "f returns int"),
    ],
)
def test_what_is_no_log_density(f, sentence):
    with pytest.raises(jko.InvalidArgument, match=sentence):
        jko.LogDensity.from_jax(f, 3)


def test_no_points_and_a_sample():
    pi = jko.LogDensity.from_jax(of_point, 3)
    assert pi.log_density_at(np.empty((0, 3))).shape == (0,)
    assert [v.shape for v in pi.value_and_grad(np.empty((0, 3)))] == [(0,), (0, 3)]
    assert jko.sample(jko.LogDensity.from_jax(lambda x: -0.5 * x @ x, 2), n=50, rng=0).converged


@pytest.mark.parametrize(
    ("position", "sentence"),
    [
        (None, "position = None has no entry"),
        ({}, r"position = \{\} has no entry"),
        ({"a": "b"}, "position raised .*; pass numbers and arrays of them"),
    ],
)
def test_what_is_no_position(position, sentence):
    with pytest.raises(jko.InvalidArgument, match=sentence):
        jko.LogDensity.from_blackjax(lambda p: 0.0, position)


def test_blackjax_positions():
    """A tree of arrays: names, shapes back, the same values."""

    def logdensity(position):
        return -0.5 * (position["loc"] ** 2).sum() - jnp.exp(position["log_scale"])

    start = {"loc": jnp.zeros((2, 2)), "log_scale": 0.0}
    pi = jko.LogDensity.from_blackjax(logdensity, start)
    assert pi.dim == 5
    assert pi.names == ("loc[0,0]", "loc[0,1]", "loc[1,0]", "loc[1,1]", "log_scale")
    x = np.random.default_rng(2).normal(size=(4, 5))
    wanted = -0.5 * (x[:, :4] ** 2).sum(axis=1) - np.exp(x[:, 4])
    np.testing.assert_allclose(pi.log_density(x), wanted, rtol=1e-12)
    back = pi.constrain(x)
    np.testing.assert_allclose(back["loc"], x[:, :4].reshape(4, 2, 2))
    np.testing.assert_allclose(back["log_scale"], x[:, 4])
    assert jko.LogDensity.from_blackjax(of_point, 3).dim == 3


def test_a_fit_through_jax():
    fit = jko.vi.fit(jko.LogDensity.from_jax(of_point, 3), rng=0)
    np.testing.assert_allclose(fit.measure.mean, MEAN, atol=1e-6)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.measure.cov)), SD, rtol=1e-6)
