"""`jko.LogDensity.from_torch` against densities by hand."""

import numpy as np
import pytest

import jko

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

MEAN, SD = np.array([1.0, -2.0, 0.5]), np.array([1.0, 3.0, 0.2])
X = np.random.default_rng(0).normal(size=(50, 3))
WANTED = -0.5 * (((X - MEAN) / SD) ** 2).sum(axis=1)
SLOPE = -(X - MEAN) / SD**2
M, S = torch.as_tensor(MEAN), torch.as_tensor(SD)


def of_points(x):
    assert x.ndim == 2
    return -0.5 * (((x - M) / S) ** 2).sum(dim=1)


def of_point(x):
    return -0.5 * sum(((x[j] - M[j]) / S[j]) ** 2 for j in range(3))


def of_either(x):
    return -0.5 * (((x - M) / S) ** 2).sum(dim=-1)


@pytest.mark.parametrize("f", [of_points, of_point, of_either])
def test_point_and_batch(f):
    pi = jko.LogDensity.from_torch(f, 3)
    values, slope = pi.value_and_grad(X)
    np.testing.assert_allclose(values, WANTED, rtol=1e-12)
    np.testing.assert_allclose(slope, SLOPE, rtol=1e-12)
    np.testing.assert_allclose(pi.log_density(X[:7]), WANTED[:7], rtol=1e-12)
    assert pi.dtype == np.float64
    assert pi.check_gradient(X[:3]) < 1e-6


def test_points_of_a_measure_are_taken_without_a_word():
    """They are read-only, of which PyTorch warns; warnings are errors here."""
    mu = jko.Particles(X)
    assert not mu.points.flags.writeable
    torch.set_warn_always(True)
    try:
        values = jko.LogDensity.from_torch(of_points, 3).log_density(mu.points)
    finally:
        torch.set_warn_always(False)
    np.testing.assert_allclose(values, WANTED, rtol=1e-12)


def test_single_precision_is_said_with_its_remedy():
    """A module as PyTorch makes it takes single precision alone."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    with pytest.warns(jko.JkoWarning, match=r"module\.double\(\)"):
        pi = jko.LogDensity.from_torch(lambda x: net(x)[:, 0] - (x**2).sum(dim=1), 3)
    assert pi.dtype == np.float32
    assert pi.check_gradient(X[:3]) <= 1e-2
    net.double()
    assert jko.LogDensity.from_torch(lambda x: net(x)[:, 0], 3).dtype == np.float64
    assert all(p.grad is None for p in net.parameters())


def test_no_points_and_a_sample():
    pi = jko.LogDensity.from_torch(lambda x: -0.5 * (x**2).sum(-1), 2)
    assert pi.log_density_at(np.empty((0, 2))).shape == (0,)
    assert [v.shape for v in pi.value_and_grad(np.empty((0, 2)))] == [(0,), (0, 2)]
    assert jko.sample(pi, n=50, rng=0).converged


def test_distributions_that_refuse_points_get_a_remedy():
    one = torch.tensor(1.0, dtype=torch.float64)
    exponential = lambda x: torch.distributions.Exponential(one).log_prob(x)[..., 0]
    with pytest.raises(jko.InvalidArgument, match="in a coordinate of the whole line"):
        jko.LogDensity.from_torch(exponential, 1)


def test_rows_that_depend_on_each_other_are_taken_apart():
    """Scaled over the batch, or over the coordinates of one point: the latter is meant."""
    pi = jko.LogDensity.from_torch(lambda x: (x / x.abs().sum(dim=0)).sum(dim=-1), 3)
    np.testing.assert_allclose(pi.log_density(X), (X / np.abs(X).sum(1)[:, None]).sum(axis=1))


def test_outside_the_support():
    pi = jko.LogDensity.from_torch(lambda x: torch.log(x[:, 0]) - x[:, 0], 1)
    values, slope = pi.log_density_and_score(np.array([[1.0], [0.0], [-1.0]]))
    np.testing.assert_allclose(values, [-1.0, -np.inf, -np.inf])
    np.testing.assert_allclose(slope, 0.0)
    assert pi.faults.nan == 1


@pytest.mark.parametrize(
    ("f", "sentence"),
    [
        (lambda x: undefined, "f raised NameError"),  # noqa: F821
        (lambda x: x @ torch.zeros(4, 1), "f raised"),
        (lambda x: x.sum(dim=1).detach(), "do not depend on the points through PyTorch"),
        (lambda x: x.argmax(dim=1), r"f returns torch\.int64"),
    ],
)
def test_what_is_no_log_density(f, sentence):
    with pytest.raises(jko.InvalidArgument, match=sentence):
        jko.LogDensity.from_torch(f, 3).score(X)
