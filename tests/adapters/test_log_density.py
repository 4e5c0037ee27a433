"""`jko.LogDensity`: values and gradients at once, names, types, constrained values."""

import pickle

import numpy as np
import pytest

import jko

X = np.random.default_rng(0).normal(size=(5, 3))


class Counter:
    """A Gaussian that counts its evaluations."""

    def __init__(self):
        self.fused = self.plain = 0

    def both(self, x):
        self.fused += 1
        return -0.5 * (x**2).sum(axis=1), -x

    def values(self, x):
        self.plain += 1
        return -0.5 * (x**2).sum(axis=1)


def test_one_evaluation_for_the_same_points():
    """Whatever is asked first, and at the points of a chain and of its proposals."""
    count = Counter()
    pi = jko.LogDensity(value_and_grad=count.both, dim=3)
    for x in (X, X + 1, X):
        np.testing.assert_allclose(pi.log_density_at(x), -0.5 * (x**2).sum(axis=1))
        np.testing.assert_allclose(pi.score(x), -x)
        values, slope = pi.value_and_grad(x)
        np.testing.assert_allclose(slope, pi.gradient(x))
        np.testing.assert_allclose(values, pi.log_density(x))
        pi.log_density_and_score(x.copy())
    assert count.fused == 2


def test_points_changed_in_place_are_other_points():
    pi = jko.LogDensity(value_and_grad=Counter().both, dim=3)
    x = X.copy()
    pi.log_density(x)[:] = 7.0
    pi.gradient(x)[:] = 7.0
    np.testing.assert_allclose(pi.score(x), -X)  # what a caller writes into is a copy
    x += 1
    np.testing.assert_allclose(pi.score(x), -(X + 1))


def test_values_alone_do_not_pay_for_gradients():
    count = Counter()
    pi = jko.LogDensity(count.values, value_and_grad=count.both, dim=3)
    pi.log_density_at(X)
    assert (count.plain, count.fused) == (1, 0)
    pi.score(X)
    pi.log_density_at(X)
    assert (count.plain, count.fused) == (1, 1)


def test_gradients_are_taken_ahead_of_a_caller_who_wants_both():
    """Langevin moves ask for values, then gradients: one extra evaluation at the start, no more."""
    count = Counter()
    pi = jko.LogDensity(count.values, value_and_grad=count.both, dim=3)
    for i in range(10):
        pi.log_density(X + i)
        pi.gradient(X + i)
    assert (count.plain, count.fused) == (1, 10)
    for i in range(20, 30):  # then values alone
        pi.log_density(X + i)
    assert (count.plain, count.fused) == (10, 11)


def test_two_functions_are_one_pair():
    pi = jko.LogDensity(lambda x: -0.5 * (x**2).sum(axis=1), lambda x: -x, 3)
    values, slope = pi.value_and_grad(X)
    np.testing.assert_allclose(values, -0.5 * (X**2).sum(axis=1))
    np.testing.assert_allclose(slope, -X)
    bare = jko.LogDensity(lambda x: x[:, 0], dim=3)
    assert bare.gradient is None
    with pytest.raises(jko.Unsupported, match=r"pass gradient=\.\.\. or value_and_grad"):
        bare.value_and_grad(X)


def test_names_and_constrained_values():
    pi = jko.LogDensity(lambda x: -x.sum(axis=1), dim=3, names=["a", "b", "c"])
    assert pi.names == ("a", "b", "c")
    np.testing.assert_array_equal(pi.constrain(X)["b"], X[:, 1])
    scale = lambda x: {"scale": np.exp(x[:, 0]), "both": x[:, 1:]}
    pi = jko.LogDensity(lambda x: -x.sum(axis=1), dim=3, constrain=scale)
    assert pi.names == ("x[0]", "x[1]", "x[2]")
    assert pi.constrain(X)["both"].shape == (5, 2)


def test_the_type_that_a_function_returns():
    single = jko.LogDensity(lambda x: -(x.astype(np.float32) ** 2).sum(axis=1), dim=3)
    assert single.dtype == np.float32
    assert jko.LogDensity(lambda x: -(x**2).sum(axis=1), dim=3).dtype == np.float64
    with pytest.warns(jko.JkoWarning, match="single precision"):
        assert single.log_density_at(X).dtype == np.float64
    assert jko.LogDensity(lambda x: np.zeros(len(x), int), dim=3).dtype == np.float64


def test_gradients_are_checked_in_their_precision():
    single = np.float32
    value = lambda x: -0.5 * ((x.astype(single) - 2) ** 2).sum(axis=1)
    right = jko.LogDensity(value, lambda x: -(x.astype(single) - 2), 3)
    assert right.check_gradient(X) <= 1e-2
    with pytest.raises(jko.InvalidArgument, match="disagrees"):
        jko.LogDensity(value, lambda x: x.astype(single) - 2, 3).check_gradient(X)
    with pytest.raises(jko.Unsupported):
        jko.LogDensity(value, dim=3).check_gradient(X)


def test_a_fused_density_can_be_pickled():
    pi = pickle.loads(pickle.dumps(jko.LogDensity(value_and_grad=Counter().both, dim=3)))
    np.testing.assert_allclose(pi.score(X), -X)


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda: jko.LogDensity(), jko.InvalidType, "log_density is missing"),
        (lambda: jko.LogDensity(3.0), jko.InvalidType, "log_density got float"),
        (lambda: jko.LogDensity(len, value_and_grad=1), jko.InvalidType, "value_and_grad got int"),
        (lambda: jko.LogDensity(len, constrain="x"), jko.InvalidType, "constrain got str"),
        (lambda: jko.LogDensity(len, names="ab", dim=2), jko.InvalidType, "pass a list of 2"),
        (lambda: jko.LogDensity(len, names=["a"], dim=2), jko.InvalidMeasure, "2 different names"),
        (lambda: jko.LogDensity(len, names=["a", "a"], dim=2), jko.InvalidMeasure, "different"),
        (
            lambda: jko.LogDensity(value_and_grad=lambda x: x, dim=3).score(X),
            jko.InvalidMeasure,
            "value_and_grad returned ndarray; return a pair",
        ),
    ],
)
def test_one_sentence(make, error, sentence):
    with pytest.raises(error, match=sentence):
        make()


#: What is asked of a density, by someone whose function works in single precision.
USES = {
    "sample": lambda f, g: jko.sample(f, dim=2, n=100, gradient=g, rng=0),
    "vi.fit": lambda f, g: jko.vi.fit(f, dim=2, gradient=g, rng=0),
    "KL": lambda f, g: jko.step(
        jko.Gaussian([1.0, 0.0], np.eye(2)), jko.KL(jko.LogDensity(f, g, dim=2)),
        jko.Wasserstein(), 0.5,
    ),
}  # fmt: skip


@pytest.mark.parametrize("offset", [0.0, -1e5])
@pytest.mark.parametrize("use", USES)
def test_single_precision_is_said_once_with_the_remedy_and_gets_its_own_tolerance(use, offset):
    single = np.float32

    def value(x):
        return single(offset) - (x.astype(single) ** 2).sum(axis=1) / single(2)

    with pytest.warns(jko.JkoWarning) as heard:
        USES[use](value, lambda x: -x.astype(single) * single(1.0002))
    said = [str(w.message) for w in heard if "jax_enable_x64" in str(w.message)]
    assert len(said) == 1
    assert len(said[0]) < 300


def test_wrong_gradients_are_found_in_single_precision_too():
    def value(x):
        return -(x.astype(np.float32) ** 2).sum(axis=1) / np.float32(2)

    with pytest.warns(jko.JkoWarning), pytest.raises(jko.InvalidArgument, match="disagrees"):
        jko.sample(value, dim=2, n=100, gradient=lambda x: -1.5 * x.astype(np.float32), rng=0)
