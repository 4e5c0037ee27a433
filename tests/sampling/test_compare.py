"""`jko.compare`: errors from known correlations, verdicts on right and wrong objects."""

import warnings

import numpy as np
import pytest

import jko
from jko.sampling import SampleResult
from jko.sampling.report.columns import error_of_mean, of_chains, of_weighted


def made(draws, names=(), constrain=None, converged=True):
    """A sample with these draws (chains, m, d)."""
    last = jko.Particles(draws[:, -1])
    warned = () if converged else ("made up",)
    return SampleResult(last, "tempered", converged, warned, {}, draws, names, constrain)


def autoregressive(rng, chains, count, rho):
    """Stationary chains of mean 0 and variance 1 whose correlation falls by rho."""
    x = np.empty((chains, count))
    x[:, 0] = rng.standard_normal(chains)
    for t in range(1, count):
        x[:, t] = rho * x[:, t - 1] + np.sqrt(1 - rho**2) * rng.standard_normal(chains)
    return x


@pytest.mark.parametrize("rho", [-0.5, 0.0, 0.6, 0.9])
@pytest.mark.parametrize("chains", [4, 100])
def test_errors_of_correlated_draws_are_right(rng, chains, rho):
    """Variance (1 + rho)/(1 - rho) times that of independent draws: the exact rate for AR(1)."""
    count = 1000 if chains == 4 else 100
    found = [error_of_mean(autoregressive(rng, chains, count, rho)) for _ in range(30)]
    lags = np.arange(1, count)
    inflation = 1 + 2 * ((1 - lags / count) * rho**lags).sum()
    exact = np.sqrt(inflation / (chains * count))
    assert np.mean(found) == pytest.approx(exact, rel=0.12)


def test_errors_cover_what_they_claim(rng):
    """Means and standard deviations in their own errors are of size 1."""
    z = []
    for _ in range(200):
        chains = of_chains(rng.standard_normal((100, 20)))
        few = of_chains(autoregressive(rng, 4, 400, 0.5))
        w = rng.random(500)
        weighted = of_weighted(rng.standard_normal(500), w)
        z.append([(c.mean / c.mean_error, (c.std - 1) / c.std_error)
                  for c in (chains, few, weighted)])  # fmt: skip
    size = np.sqrt((np.array(z) ** 2).mean(axis=0))
    np.testing.assert_allclose(size, 1.0, atol=0.2)


def test_a_chain_apart_is_an_error_not_a_success(rng):
    """Three chains agree and one sits elsewhere: the effective size says so."""
    x = rng.standard_normal((4, 500))
    x[3] += 5
    assert of_chains(x).ess < 20


def test_two_samples_of_one_gaussian_agree(rng):
    """No parameter differs, in many repetitions: z = 3 and the tolerance are both passed."""
    words = []
    for _ in range(20):
        a = made(2 + 3 * rng.standard_normal((200, 20, 3)))
        b = {f"x{j}": 2 + 3 * rng.standard_normal((4, 1000)) for j in range(3)}
        words.append(jko.compare(a, b).verdict)
    assert words.count("agree") >= 19
    assert "differ" not in words


def test_many_parameters_do_not_differ_by_chance(rng):
    """Of 200 figures one is beyond three standard errors in four repetitions of ten."""
    words = []
    for _ in range(15):
        a = made(rng.standard_normal((100, 10, 100)))
        b = {f"x{j}": x for j, x in enumerate(rng.standard_normal((100, 200, 5)))}
        words.append(jko.compare(a, b).verdict)
    assert words.count("differ") <= 1


@pytest.mark.parametrize(
    ("change", "part"), [(lambda x: x + 0.3, "difference"), (lambda x: 1.2 * x, "ratio")]
)
def test_what_is_wrong_differs_and_is_named(rng, change, part):
    a = made(rng.standard_normal((200, 20, 3)), names=("mu", "tau", "rho"))
    b = rng.standard_normal((4, 1000, 3))
    b[..., 1] = change(b[..., 1])
    found = jko.compare(a, {"mu": b[..., 0], "tau": b[..., 1], "rho": b[..., 2]})
    assert found.verdict == "differ"
    assert not found.agrees
    assert found.worst is found["tau"]
    assert [r.verdict for r in found] == ["agree", "differ", "agree"]
    row = found["tau"]
    exact = {"difference": -0.3, "ratio": 1 / 1.2}[part]
    error = {"difference": row.difference_error, "ratio": row.ratio_error}[part]
    assert abs(getattr(row, part) - exact) < 4 * error


def test_few_draws_say_nothing(rng):
    """100 draws know a mean to .1 sd: neither agreement nor difference within .1."""
    a = made(rng.standard_normal((200, 20, 1)))
    assert jko.compare(a, {"x0": rng.standard_normal((4, 25))}).verdict == "unclear"
    assert jko.compare(a, {"x0": rng.standard_normal((4, 25))}, mean=0.5, std=0.5).agrees


def test_a_run_of_the_sampler_against_its_exact_target(rng):
    """A correlated Gaussian: from the chains, and against the particles of another run."""
    cov = np.array([[1.0, 0.9], [0.9, 4.0]])
    exact = jko.Gaussian([1.0, -2.0], cov)
    out = jko.sample(exact, n=400, moves=60, rng=0)
    draws = exact.sample(8000, rng).reshape(4, 2000, 2)
    found = jko.compare(out, {"x0": draws[..., 0], "x1": draws[..., 1]})
    assert found.agrees
    assert found["x0"].second.ess == pytest.approx(8000, rel=0.2)
    again = jko.compare(out, jko.sample(exact, n=400, moves=60, rng=1).measure, mean=0.2, std=0.2)
    assert again.agrees


def test_parameters_of_a_model_are_compared_in_its_own_scale(rng):
    """constrain gives scale and a matrix; entries are matched by name, the rest is listed."""

    def constrain(x):
        return {"scale": np.exp(x[:, 0]), "m": x[:, 1:].reshape(-1, 2, 2)}

    x = rng.standard_normal((100, 20, 5))
    out = made(x, names=tuple("abcde"), constrain=constrain)
    y = rng.standard_normal((4, 1000, 5))
    other = {"scale": np.exp(y[..., 0]), "m": y[..., 1:].reshape(4, 1000, 2, 2)}
    found = jko.compare(out, {**other, "lp": y[..., 0]}, mean=0.2, std=0.3)
    assert [r.name for r in found] == ["scale", "m[0,0]", "m[0,1]", "m[1,0]", "m[1,1]"]
    assert found.only_second == ("lp",)
    assert found["m[1,0]"].verdict == "agree"
    np.testing.assert_allclose(out.constrained()["scale"], np.exp(out.measure.points[:, 0]))
    assert out.constrained(draws=True)["m"].shape == (100, 20, 2, 2)
    swapped = {**other, "m": other["m"].swapaxes(2, 3) + np.array([[0, 1], [0, 0]])}
    assert jko.compare(out, swapped)["m[0,1]"].verdict == "differ"


def test_names_and_parameters_come_with_the_density():
    """A sample knows what its density knew, saves the names, and hands both to ArviZ."""
    pi = jko.LogDensity(
        lambda x: -0.5 * (x**2).sum(axis=1),
        lambda x: -x,
        dim=2,
        names=["mu", "log_tau"],
        constrain=lambda x: {"mu": x[:, 0], "tau": np.exp(x[:, 1])},
    )
    out = jko.sample(pi, n=50, moves=20, rng=0)
    assert out.names == ("mu", "log_tau")
    assert "log_tau" in out.summary()
    assert set(out.constrained()) == {"mu", "tau"}
    plain = jko.sample(jko.Gaussian([0.0], [[1.0]]), n=50, moves=20, rng=0)
    assert plain.names == ()
    with pytest.raises(jko.Unsupported, match="no parameters of its own"):
        plain.constrained()


def test_particles_have_the_moments_of_the_parameters():
    """A log-normal scale: its mean and spread are those of the draws; exact ones are near.

    Deterministic copies of a coordinate, constants and a column that overflows change nothing.
    """

    def constrain(x):
        far = np.where(x[:, 0] > -9, np.inf, 0.0)
        copies = {"copy": 2 * x[:, 1], "one": np.ones(len(x)), "far": far}
        return {"mu": x[:, 0], "tau": np.exp(x[:, 1]), **copies}

    pi = jko.LogDensity(
        lambda x: -0.5 * (x**2).sum(axis=1),
        lambda x: -x,
        dim=2,
        names=["mu", "log_tau"],
        constrain=constrain,
    )
    out = jko.sample(pi, n=400, moves=60, rng=0)
    tau, drawn = out.constrained()["tau"], out.constrained(draws=True)["tau"]
    w = out.measure.weights
    assert w @ tau == pytest.approx(drawn.mean(), rel=1e-6)
    assert w @ (tau - drawn.mean()) ** 2 == pytest.approx(drawn.var(), rel=1e-6)
    assert w @ tau == pytest.approx(np.exp(0.5), rel=0.05)
    exact = np.sqrt((np.e - 1) * np.e)
    assert np.sqrt(w @ (tau - w @ tau) ** 2) == pytest.approx(exact, rel=0.15)
    assert out.std == pytest.approx(out.diagnostics["history_std"], rel=1e-6)
    assert out.measure.ess > 200


def test_files_keep_the_names(tmp_path, rng):
    out = made(rng.standard_normal((100, 5, 2)), names=("a", "b"), constrain=lambda x: {})
    out.save(tmp_path / "run.npz")
    read = SampleResult.load(tmp_path / "run.npz")
    assert read.names == ("a", "b")
    assert read.constrain is None


def test_inference_data_of_arviz(rng):
    """Axes in any order, divergences said, and our own file format both ways."""
    arviz = pytest.importorskip("arviz")
    y = rng.standard_normal((4, 800, 3))
    stats = {"diverging": np.arange(3200).reshape(4, 800) < 7}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if int(str(arviz.__version__).split(".")[0]) >= 1:
            data = arviz.from_dict({"posterior": {"theta": y}, "sample_stats": stats})
        else:
            data = arviz.from_dict(posterior={"theta": y}, sample_stats=stats)
            data.posterior = data.posterior.transpose("draw", ..., "chain")
    out = made(rng.standard_normal((200, 20, 3)), converged=False)
    found = jko.compare(out, data, names=["theta[0]", "theta[1]", "theta[2]"], mean=0.15)
    assert found.agrees
    assert "7 divergent transitions" in found.notes[1]
    assert "not converged: made up" in found.notes[0]
    assert jko.compare(out, out.to_arviz()).worst.difference == 0


def test_the_table_says_it_all(rng):
    out = made(rng.standard_normal((100, 20, 2)), names=("a<b", "c"))
    found = jko.compare(out, {"a<b": rng.standard_normal((4, 2000)), "d": np.ones((4, 10))})
    text = repr(found)
    assert "in the first sample only: c" in text
    assert "in the other sample only: d" in text
    assert text.splitlines()[1].startswith("a<b")
    assert "a&lt;b" in found._repr_html_()
    assert found.summary() in text
    frame = pytest.importorskip("pandas") and found.to_frame()
    assert frame.loc["a<b", "difference"] == found["a<b"].difference
    assert len(found) == 1
    with pytest.raises(jko.InvalidArgument, match="no parameter 'e'; there are a<b"):
        found["e"]


def test_constants_are_equal_or_not(rng):
    draws = rng.standard_normal((100, 20, 2))
    draws[..., 1] = 3.0
    out = made(draws, names=("a", "b"))
    same = jko.compare(out, {"b": np.full((4, 100), 3.0)})
    assert same.agrees
    other = jko.compare(out, {"b": np.full((4, 100), 3.1)})
    assert other.verdict == "differ"


BAD = {
    "another type": (3.0, {}, jko.InvalidType, "other got float"),
    "no common name": ({"y": np.ones((4, 50))}, {}, jko.InvalidArgument, "no parameter in common"),
    "no chains": ({"x0": np.ones(50)}, {}, jko.InvalidArgument, r"'x0' of shape \(50,\)"),
    "words": ({"x0": np.array([["a"]])}, {}, jko.InvalidArgument, "give numbers"),
    "not finite": ({"x0": np.full((4, 50), np.nan)}, {}, jko.InvalidArgument, "200 draws of x0"),
    "names": ({"x0": np.ones((4, 50))}, {"names": ["a"]}, jko.InvalidArgument, "names has 1"),
    "tolerance": ({"x0": np.ones((4, 50))}, {"mean": 0.0}, jko.InvalidArgument, "mean"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name, rng):
    other, options, error, words = BAD[name]
    with pytest.raises(error, match=words):
        jko.compare(made(rng.standard_normal((100, 20, 2))), other, **options)


def test_a_sample_from_a_file_is_compared_in_its_coordinates(tmp_path):
    """It has lost its parameters: `tau`, an exponential there, is no coordinate of that name."""
    density = jko.LogDensity(
        lambda x: -0.5 * (x**2).sum(1), lambda x: -x, 2, names=("mu", "tau"),
        constrain=lambda x: {"mu": x[:, 0], "tau": np.exp(x[:, 1])},
    )  # fmt: skip
    out = jko.sample(density, n=50, moves=20, rng=0)
    out.save(tmp_path / "run.npz")
    again = jko.sampling.SampleResult.load(tmp_path / "run.npz")
    for pair in ((out, again), (again, out)):
        same = jko.compare(*pair)
        assert [row.name for row in same.rows] == ["mu", "tau"]
        assert same.worst.difference == 0
        assert same.only_first == same.only_second == ()
