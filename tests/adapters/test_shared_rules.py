"""What all adapters share, without any framework: batches, NaN, errors, names, Stan models."""

import importlib

import numpy as np
import pytest

import jko
from jko.adapters import base
from jko.adapters.stan import from_program


def test_batches_come_in_few_sizes():
    """Every row once and in order, at most a quarter wasted beyond 256, and few sizes in all."""
    batches = base.Padded()
    for n in [1, 5, 16, 17, 300, 999, 1000, 1001, 4096, 4097, 10_000]:
        x = np.arange(2.0 * n).reshape(n, 2)
        parts = list(batches(x))
        np.testing.assert_array_equal(np.concatenate([p[:k] for p, k in parts]), x)
        for part, count in parts:
            assert len(part) <= max(base.LEAST_ROWS, 2 * count if count < 256 else 1.5 * count)
            assert len(part) <= base.MOST_ROWS
            assert (part[count:] == part[count - 1]).all()
    fresh = base.Padded()
    for n in np.random.default_rng(0).integers(1, 5000, 2000):
        list(fresh(np.zeros((n, 1))))
    assert len(fresh.sizes) <= 24
    assert base.Padded().size_of(1000) == 1024


def test_nan_counts_as_minus_infinity_and_is_counted():
    faults = base.Faults()
    assert not faults
    values = np.array([0.0, np.nan, -np.inf, 1.0], dtype=np.float32)
    slope = np.array([[1.0], [np.nan], [np.nan], [np.inf]], dtype=np.float32)
    values, slope = base.tidy(values, slope, faults)
    np.testing.assert_array_equal(values, [0.0, -np.inf, -np.inf, 1.0])
    np.testing.assert_array_equal(slope[:, 0], [1.0, 0.0, 0.0, 0.0])
    assert values.dtype == slope.dtype == np.float32
    assert (faults.nan, faults.errors, faults.gradients) == (1, 0, 1)
    assert faults


def test_names_of_entries():
    assert list(base.entry_names("tau", ())) == ["tau"]
    assert list(base.entry_names("theta", (2,))) == ["theta[0]", "theta[1]"]
    assert list(base.entry_names("L", (2, 1))) == ["L[0,0]", "L[1,0]"]


@pytest.mark.parametrize("name", ["jax", "torch", "numpyro", "pymc", "stan", "blackjax"])
def test_a_missing_framework_names_its_extra(name, monkeypatch):
    def missing(module):
        raise ImportError(f"no module named {module}")

    monkeypatch.setattr(base, "import_module", missing)
    make = getattr(jko.LogDensity, f"from_{name}")
    argument = "model {}" if name == "stan" else lambda x: x
    more = () if name in ("numpyro", "pymc", "stan") else (2,)
    extra = "jax" if name == "blackjax" else name
    with pytest.raises(jko.Unsupported, match=rf"pip install 'jko\[{extra}\]'"):
        make(argument, *more)


def test_adapters_import_nothing_by_themselves():
    for name in ("jax", "torch", "numpyro", "pymc", "stan"):
        module = importlib.import_module(f"jko.adapters.{name}")
        assert not hasattr(module, "jnp")
        assert module.framework is base.framework


class FakeStan:
    """What BridgeStan offers of a half-normal scale and a pair: x = log scale, two more."""

    def param_unc_num(self):
        return 3

    def param_unc_names(self):
        return ["scale", "pair.1", "pair.2"]

    def param_names(self, include_tp=False):
        return ["scale", "pair.1", "pair.2", "outer.1.1", "outer.2.1"]

    def param_constrain(self, x, include_tp=False):
        return np.array([np.exp(x[0]), x[1], x[2], 2 * x[1], 2 * x[2]])

    def log_density_gradient(self, x):
        if x[0] > 100:
            raise RuntimeError("normal_lpdf: Scale parameter is inf, but must be positive finite!")
        if x[0] < -100:
            raise RuntimeError("vector[uni] indexing: accessing element out of range. index 4")
        return -0.5 * float(x @ x), -x


def test_stan_models_point_by_point():
    pi = jko.LogDensity.from_stan(FakeStan())
    x = np.random.default_rng(0).normal(size=(6, 3))
    x[2, 0] = 200.0
    inside = np.arange(6) != 2
    values, slope = pi.value_and_grad(x)
    assert values[2] == -np.inf
    np.testing.assert_array_equal(slope[2], 0.0)
    np.testing.assert_allclose(values[inside], -0.5 * (x[inside] ** 2).sum(axis=1))
    np.testing.assert_allclose(slope[inside], -x[inside])
    assert pi.faults.errors == 1
    assert pi.names == ("scale", "pair[1]", "pair[2]")
    found = pi.constrain(x)
    assert {name: v.shape for name, v in found.items()} == {
        "scale": (6,),
        "pair": (6, 2),
        "outer": (6, 2, 1),
    }
    np.testing.assert_allclose(found["outer"][:, 1, 0], 2 * x[:, 2])


def test_a_wrong_stan_program_is_not_a_point_outside_the_support():
    pi = jko.LogDensity.from_stan(FakeStan())
    with pytest.raises(jko.InvalidArgument, match="the Stan program raised RuntimeError: vector"):
        pi.score(np.array([[-200.0, 0.0, 0.0]]))


def test_arguments_of_stan():
    with pytest.raises(jko.InvalidType, match="program got int; pass the text or file"):
        from_program(3)
    with pytest.raises(jko.InvalidArgument, match="data is part of the model"):
        from_program(FakeStan(), {"n": 3})
    nothing = FakeStan()
    nothing.param_unc_num = lambda: 0
    with pytest.raises(jko.InvalidArgument, match="no parameter: there is nothing to infer"):
        from_program(nothing)
    pytest.importorskip("stanli", reason="the extra stan is not installed")
    with pytest.raises(jko.InvalidArgument, match=r"data = 'not\.json' does not exist"):
        from_program("parameters { real x; }\nmodel { }", "not.json")
