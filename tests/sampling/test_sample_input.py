"""`jko.sample` given bad input: a clear error, or a defined result."""

import sys
import types

import numpy as np
import pytest
from generators.exact_targets import funnel
from generators.targets import gaussian

import jko
from jko.sampling import check_gradient


def square(x):
    return -0.5 * (x**2).sum(axis=1)


def nan_beyond(x):
    return np.where(x[:, 0] > 1.5, np.nan, square(x))


def never(x):
    return np.full(len(x), -np.inf)


def wrong_slope(x):
    out = -x
    out[:, 1] *= 1.01
    return out


def zeros(x):
    return np.zeros_like(x)


#: name -> (arguments, keywords, error, fragments of the message)
TABLE = {
    "NaN": ((nan_beyond, 2), {"gradient": lambda x: -x}, jko.InvalidMeasure, "nan at point"),
    "-inf everywhere": (
        (never, 2), {"gradient": lambda x: -x}, jko.InvalidMeasure, "-inf at every one .* start="
    ),
    "+inf": ((lambda x: -never(x), 2), {"gradient": zeros}, jko.InvalidMeasure, "inf at point"),
    "shape of the values": ((lambda x: x, 2), {"gradient": zeros}, jko.InvalidMeasure, "shape"),
    "shape of the gradient": (
        (square, 2), {"gradient": lambda x: -x[:, :1]}, jko.InvalidMeasure, r"gradient.*shape"
    ),
    "gradient not finite": (
        (square, 2), {"gradient": lambda x: x * np.nan}, jko.InvalidMeasure, "not finite"
    ),
    "gradient is wrong": (
        (square, 2), {"gradient": wrong_slope}, jko.InvalidArgument, "coordinate 1 at"
    ),
    "sign of the gradient": (
        (square, 2), {"gradient": lambda x: x}, jko.InvalidArgument, "finite differences"
    ),
    "no dimension": ((square,), {"gradient": zeros}, jko.InvalidArgument, "dim is missing"),
    "two dimensions": ((gaussian(2), 3), {}, jko.InvalidArgument, "dim = 3"),
    "two gradients": ((gaussian(2),), {"gradient": zeros}, jko.InvalidArgument, "part of"),
    "not a function": ((3.0, 2), {}, jko.InvalidType, "log_density got float"),
    "method": ((gaussian(2),), {"method": "nuts"}, jko.InvalidArgument, "'nuts' is unknown"),
    "n": ((gaussian(2), 2, 0), {}, jko.InvalidArgument, "n = 0"),
    "rng": ((gaussian(2),), {"rng": "seed"}, jko.InvalidType, "rng"),
    "check": ((gaussian(2),), {"check": "yes"}, jko.InvalidType, "check"),
    "start elsewhere": (
        (gaussian(2),), {"start": np.zeros((5, 3))}, jko.InvalidArgument, "dimension 3"
    ),
    "start not finite": (
        (gaussian(2),), {"start": [[np.nan, 0.0]]}, jko.InvalidMeasure, "non-finite"
    ),
    "flat": ((zeros_of := (lambda x: np.zeros(len(x))), 2), {"gradient": zeros},
             jko.InvalidMeasure, "improper"),
    "one flat coordinate": (
        (lambda x: -0.5 * x[:, 0] ** 2, 2), {"gradient": lambda x: x * [-1.0, 0.0]},
        jko.InvalidMeasure, "improper.*coordinate 1",
    ),
    "a slope without end": (
        (lambda x: x[:, 0], 1), {"gradient": lambda x: np.ones_like(x)},
        jko.InvalidMeasure, "improper",
    ),
    "growing": (
        (lambda x: 0.5 * (x**2).sum(axis=1), 2), {"gradient": lambda x: x},
        jko.InvalidMeasure, "improper",
    ),
    "wfr in four dimensions": (
        (gaussian(4),), {"method": "wfr"}, jko.Unsupported, "at most 3 dimensions"
    ),
    "observables": (
        (gaussian(2),), {"observables": lambda x: x[:3]}, jko.InvalidArgument, "observables"
    ),
    "observables not finite": (
        (gaussian(2),), {"observables": lambda x: x[:, 0] / 0.0}, jko.InvalidArgument, "finite"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_bad_input(case):
    arguments, keywords, error, message = TABLE[case]
    with pytest.raises(error, match=message) as caught:
        jko.sample(*arguments, **{"rng": 0, **keywords})
    assert "\n" not in str(caught.value)


def test_check_gradient_names_the_coordinate(rng):
    target = jko.LogDensity(square, wrong_slope, 3)
    with pytest.raises(jko.InvalidArgument, match="coordinate 1 at"):
        check_gradient(target, rng.standard_normal((2, 3)), rng)
    assert check_gradient(gaussian(100), rng.standard_normal((2, 100)), rng) < 1e-6
    assert check_gradient(gaussian(2, 1e-3), 1e-3 * rng.standard_normal((2, 2)), rng) < 1e-4


def test_a_gradient_that_is_inexact_far_out_is_a_warning():
    """Off by 2 % beyond three standard deviations, as the sensitivities of an inexact solver are.

    It is exact at the best points, and the chains stay exact with it; off by 1 % everywhere it is
    an error (the table above).
    """

    def inexact(x):
        return np.where(np.linalg.norm(x, axis=1, keepdims=True) > 3, -1.02 * x, -x)

    target = jko.LogDensity(square, inexact, 2)
    with pytest.warns(jko.JkoWarning, match="counts as inexact there"):
        out = jko.sample(target, n=400, start=jko.Gaussian([0, 0], 16 * np.eye(2)), rng=0)
    assert out.converged
    assert any("inexact" in w for w in out.warnings)
    np.testing.assert_allclose(out.std, 1.0, rtol=0.05)


def test_a_gradient_may_be_inexact_wherever_the_run_starts():
    """Off by 5 % at every starting point, exact where the climb from them ends."""

    def inexact(x):
        far = np.linalg.norm(x, axis=1, keepdims=True) > 0.5
        return np.where(far, -105.0, -100.0) * x

    target = jko.LogDensity(lambda x: 100 * square(x), inexact, 6)
    with pytest.warns(jko.JkoWarning, match="points near the top it agrees"):
        out = jko.sample(target, n=400, rng=0)
    assert out.converged
    np.testing.assert_allclose(out.std, 0.1, rtol=0.05)
    with pytest.raises(jko.InvalidArgument, match="disagrees"):
        jko.sample(jko.LogDensity(target.log_density, lambda x: 1.05 * inexact(x), 6), rng=0)


def test_one_particle():
    with pytest.warns(jko.JkoWarning, match="1 particles cannot carry the means"):
        out = jko.sample(gaussian(3), n=1, moves=20, rng=0)
    assert not out.converged
    assert out.measure.n == 1
    assert out.measure.weights[0] == 1
    assert out.diagnostics["matched"] == "nothing"
    assert np.isfinite(out.diagnostics["ksd"])


STARTS = {
    "one point": np.array([0.3, 0.2]),
    "duplicated points": np.full((50, 2), 0.5),
    "a zero weight": jko.Particles([[0.0, 0.0], [1e6, 0.0]], [1.0, 0.0]),
    "on a line": np.column_stack([np.linspace(-1, 1, 30), np.zeros(30)]),
    "far away": np.full((10, 2), 1e3),
}


@pytest.mark.parametrize("name", STARTS)
def test_poor_starts_are_overcome(name):
    out = jko.sample(gaussian(2), start=STARTS[name], moves=30, rng=0)
    np.testing.assert_allclose(out.mean, 0.0, atol=0.1)
    np.testing.assert_allclose(out.std, 1.0, rtol=0.1)


def test_one_point_in_other_units_is_climbed_from():
    """A thousandth wide at 1e6: a cloud around the point would be 1e7 standard deviations wide."""
    where, width = 1e6, 1e-3
    log_density = lambda x: -0.5 * (((x - where) / width) ** 2).sum(axis=1)
    gradient = lambda x: -(x - where) / width**2
    start = np.full((1, 2), where)
    out = jko.sample(log_density, 2, n=400, gradient=gradient, start=start, rng=0)
    assert out.converged
    np.testing.assert_allclose(out.mean, where, rtol=0, atol=0.1 * width)
    np.testing.assert_allclose(out.std, width, rtol=0.1)


def test_gradients_may_overflow_at_some_of_the_first_points():
    """A funnel in units of a thousandth: exp(700) at the outermost of standard normal points."""
    f = funnel(4, 1.0)
    scaled = jko.LogDensity(
        lambda x: f.log_density(1e3 * x), lambda x: 1e3 * f.gradient(1e3 * x), 4
    )
    x = np.random.default_rng(0).standard_normal((1000, 4))
    with np.errstate(all="ignore"):
        inside = scaled.log_density_at(x) > -np.inf
        bad = ~np.isfinite(scaled.gradient(x[inside])).all(axis=1)
    assert 0 < bad.mean() < 0.5
    out = jko.sample(scaled, n=400, rng=0)
    np.testing.assert_allclose(out.std, 1e-3 * f.std, rtol=0.1)
    nowhere = jko.LogDensity(lambda x: -0.5 * (x**2).sum(axis=1), lambda x: np.nan * x, 4)
    with pytest.raises(jko.InvalidMeasure, match=r"gradient is not finite at point .* it must be"):
        jko.sample(nowhere, n=400, rng=0)


def test_a_support_with_an_edge():
    """Exponential coordinates: half of the first points lie outside, and are left out."""
    half = jko.LogDensity(
        lambda x: np.where((x > 0).all(axis=1), -x.sum(axis=1), -np.inf),
        lambda x: -np.ones_like(x),
        2,
    )
    out = jko.sample(half, moves=60, rng=0)
    assert out.measure.points.min() > 0
    np.testing.assert_allclose(out.mean, 1.0, atol=0.06)


def test_a_function_is_never_asked_about_no_points():
    """Functions that take the largest of their values, or compiled ones, break on no points."""
    asked = []

    def log_density(x):
        asked.append(len(x))
        return -0.5 * (x**2).sum(axis=1)

    def gradient(x):
        asked.append(len(x))
        return -x

    assert jko.sample(log_density, 2, n=50, gradient=gradient, rng=0).converged
    assert min(asked) >= 1


def test_results_repeat_and_seeds_differ():
    a, b, c = (jko.sample(gaussian(2), n=50, moves=10, rng=s).measure.points for s in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


def test_ctrl_c_hands_back_what_there_is():
    calls = {"left": 260}

    def log_density(x):
        calls["left"] -= 1
        if calls["left"] == 0:
            raise KeyboardInterrupt
        return square(x)

    target = jko.LogDensity(log_density, lambda x: -x, 2)
    with pytest.warns(UserWarning, match="interrupted"):
        out = jko.sample(target, rng=0)
    assert not out.converged
    assert out.measure.n == 1000
    assert np.abs(out.mean).max() < 0.2


def test_arviz_is_asked_for(monkeypatch):
    """Without it a sentence, with it a variable per coordinate (both versions of from_dict)."""
    out = jko.sample(gaussian(2), n=50, moves=20, rng=0)
    monkeypatch.setitem(sys.modules, "arviz", None)
    with pytest.raises(jko.Unsupported, match="pip install arviz"):
        out.to_arviz()

    class Old(dict):
        add_groups = dict.update

    stub = types.SimpleNamespace(__version__="0.17.0", from_dict=lambda **groups: Old(groups))
    monkeypatch.setitem(sys.modules, "arviz", stub)
    table = out.to_frame(names=["a", "b"])
    np.testing.assert_array_equal(table[["a", "b"]], out.measure.points)
    assert table["weight"].sum() == pytest.approx(1.0, rel=1e-12)
    data = out.to_arviz(names=["a", "b"])
    assert data["posterior"]["b"].shape == out.draws.shape[:2]
    np.testing.assert_array_equal(data["posterior"]["a"], out.draws[:, :, 0])
    stub.__version__, stub.from_dict = "1.0.0", lambda tree: tree
    data = out.to_arviz()
    assert set(data["posterior"]) == {"x0", "x1"}
    assert set(data["particles"]) == {"x0", "x1", "particle_weight"}
    with pytest.raises(jko.InvalidArgument, match="names has 1"):
        out.to_arviz(names=["a"])


def test_arviz_itself():
    """The real package reads the draws: names, shapes, and its own figures agree with ours."""
    arviz = pytest.importorskip("arviz")
    out = jko.sample(gaussian(2), n=50, moves=20, rng=0)
    data = out.to_arviz(names=["a", "b"])
    assert data.posterior["b"].dims == ("chain", "draw")
    np.testing.assert_array_equal(data.posterior["b"].values, out.draws[:, :, 1])
    table = arviz.summary(data, round_to="none")
    assert list(table.index) == ["a", "b"]
    np.testing.assert_allclose(table["mean"], out.draws.mean(axis=(0, 1)))
    assert (table["r_hat"] < 1.1).all()


def test_arviz_has_the_weights_too():
    """Weighted means of its particles are those of the sample; its own, of chains, are near."""
    arviz = pytest.importorskip("arviz")

    def bent(x):
        return -0.5 * (x[:, 0] / 3) ** 2 - 0.5 * (x[:, 1] - 0.1 * x[:, 0] ** 2) ** 2

    def slope(x):
        bend = x[:, 1] - 0.1 * x[:, 0] ** 2
        return np.stack([-x[:, 0] / 9 + 0.2 * x[:, 0] * bend, -bend], axis=1)

    density = jko.LogDensity(bent, slope, 2, constrain=lambda x: {"a": x, "b": np.exp(x[:, 0] / 9)})
    out = jko.sample(density, n=400, rng=0)
    assert np.ptp(out.measure.weights) > 0.1 / 400
    data = out.to_arviz()
    cloud = data["particles"]
    w = cloud["particle_weight"].values
    assert cloud["a"].dims[0] == cloud["b"].dims[0] == "particle"
    np.testing.assert_allclose(w @ cloud["a"].values, out.mean)
    table = arviz.summary(data, round_to="none")
    assert list(table.index) == ["a[0]", "a[1]", "b"]
    ours = np.r_[out.mean, w @ out.constrained()["b"]]
    assert (np.abs(table["mean"] - ours) < 5 * table["mcse_mean"]).all()
    np.testing.assert_allclose(table["sd"][:2], out.std, rtol=0.03)


def test_summary_says_all():
    out = jko.sample(gaussian(2), n=200, moves=20, rng=0)
    text = out.summary(names=["slope", "level"])
    assert "slope" in text
    assert "rhat" in text
    assert "converged" in text
