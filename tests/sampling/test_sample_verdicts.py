"""Verdicts of `jko.sample` on targets with exact moments; the full table is a benchmark."""

import warnings

import numpy as np
import pytest
from generators.exact_targets import at, everything, funnel, mixture, of_gaussian, rotated, schools
from generators.targets import gaussian

import jko
from jko.sampling.moves.history import History


def sample(exact, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("ignore", jko.JkoWarning)
        return jko.sample(exact.log_density, exact.dim, gradient=exact.gradient, **options)


def right(out, exact, mean=0.1, std=0.1):
    off = np.abs(out.mean - exact.mean) / exact.std
    return bool(off.max() <= mean and np.abs(out.std / exact.std - 1).max() <= std)


@pytest.mark.parametrize(
    "name",
    [
        "eight schools, centred",
        "two modes, sd 1 and .2, d = 2",
        "two modes, sd 1 and .2, d = 10",
        "six modes of sd .1 to 2, d = 2",
        ".1 % of sd 100, d = 1",
        "Student t 3, d = 1",
        "exponential, d = 2",
    ],
)
def test_right_or_not_converged(name):
    exact = next(e for e in everything() if e.name == name)
    out = sample(exact, n=400, rng=0)
    assert right(out, exact) or not out.converged
    assert out.converged == all(e.passes for e in out.evidence.values())
    for e in out.evidence.values():
        assert e.passes or e.advice


def test_every_kind_of_evidence_can_fail():
    """Keys, thresholds, and a target for which each of these is the one to see it."""
    spiked = sample(schools(True), n=400, rng=0)
    assert not spiked.evidence["energy"].passes
    assert "non-centred" in spiked.evidence["energy"].advice
    hidden = sample(mixture("", np.zeros((2, 1)), [1, 100], [0.999, 0.001]), n=400, rng=0)
    assert not hidden.evidence["far_variance"].passes
    neck = sample(funnel(10), n=400, moves=60, rng=0)
    assert not neck.evidence["chain_ess"].passes
    good = sample(of_gaussian("", np.zeros(3), np.eye(3)), n=400, rng=0)
    assert good.converged
    assert set(good.evidence) >= {"stein", "mixing", "drift", "chain_ess", "matching", "search"}
    assert good.diagnostics["stein"].threshold == 3.6


def test_the_stein_identity_sees_what_means_do_not(rng):
    """Draws of a normal without its left tail: chains that agree, and a z far above 4."""
    x = rng.standard_normal((60, 400, 1))
    whole, cut = History.begin(x[0]), History.begin(x[0])
    for history, draws in ((whole, x), (cut, np.where(x < -1.5, rng.random(x.shape), x))):
        history.new_block()
        for d in draws:
            history.keep(d, -d)
    assert abs(whole.stein_z()[0]) < 4
    assert abs(cut.stein_z()[0]) > 4


def test_scales_without_shrinkage():
    """100 dimensions of condition 1e4 within half a million evaluations."""
    exact = of_gaussian("", np.ones(100), rotated(100, 1e4))
    out = sample(exact, rng=0)
    assert out.converged
    assert right(out, exact, 0.05, 0.05)
    assert out.diagnostics["evaluations"] <= 500_000
    assert abs(out.log_evidence - exact.log_evidence) < out.log_evidence_error < 0.3


def test_failures_far_out_are_contained():
    """Overflow, NaN and exceptions far from the mass: no warning, no wrong figure."""

    def log_density(x):
        if np.abs(x).max() > 30:
            raise OverflowError
        return np.where(np.abs(x[:, 0]) > 20, np.nan, -0.5 * (x**2).sum(1))

    out = sample(mixture("", at(2, 0, 0), [1, 1], [0.5, 0.5]), n=400, rng=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wild = jko.sample(log_density, 2, 400, gradient=lambda x: -x, rng=0)
    assert out.converged
    assert wild.converged
    np.testing.assert_allclose(wild.std, 1, rtol=0.05)


def test_files_hold_everything(tmp_path):
    out = jko.sample(gaussian(2), n=50, moves=20, rng=0)
    out.save(tmp_path / "run.npz")
    again = jko.sampling.SampleResult.load(tmp_path / "run.npz")
    assert repr(again) == repr(out)
    assert again.evidence == out.evidence
    assert again.warnings == out.warnings
    np.testing.assert_array_equal(again.draws, out.draws)
    np.testing.assert_array_equal(again.diagnostics["mcse"], out.diagnostics["mcse"])
    jko.flow(out.measure, jko.KL(gaussian(2)), jko.Wasserstein(), tau=0.1, steps=1,
             solver=jko.solvers.Langevin(), rng=0).save(tmp_path / "flow.npz")  # fmt: skip
    with pytest.raises(jko.InvalidArgument, match="expected a sample"):
        jko.sampling.SampleResult.load(tmp_path / "flow.npz")


def test_quantiles_are_right_within_their_errors():
    """Against the exact ones of a normal; levels as a number and as an array."""
    out = jko.sample(gaussian(3), rng=0)
    values, errors = out.quantile([0.025, 0.5, 0.975])
    assert values.shape == errors.shape == (3, 3)
    exact = np.array([-1.95996, 0.0, 1.95996])[:, None]
    assert (np.abs(values - exact) < 5 * errors).all()
    assert (errors < 0.05).all()
    one, _ = out.quantile(0.5)
    np.testing.assert_array_equal(one, values[1])
    for wrong in (1.5, "a", None, [[0.5]], np.nan):
        with pytest.raises(jko.InvalidArgument, match="levels between"):
            out.quantile(wrong)


def test_progress_is_told():
    heard = []
    jko.sample(gaussian(2), n=50, moves=40, progress=lambda *a: heard.append(a), rng=0)
    assert {stage for stage, _ in heard} >= {"searching for modes", "running chains"}
    assert [count for _, count in heard] == sorted(count for _, count in heard)
    with pytest.raises(jko.InvalidType, match="progress"):
        jko.sample(gaussian(2), progress="yes", rng=0)


def test_figures_return_artists():
    figure = pytest.importorskip("matplotlib.figure")
    out = jko.sample(gaussian(2), n=50, moves=20, rng=0)
    assert len(out.plot()) == 3
    assert len(out.plot("trace", chosen=[1])) == 12
    given = figure.Figure()
    (bars,) = out.plot("ess", figure=given, names=["a", "b"])
    assert len(given.axes) == 1
    assert len(bars) == 2
    grid = figure.Figure().subplots(2, 2)
    assert out.plot(axes=grid)[0][0].axes is grid[0, 0]
    for wrong in ({"axes": grid[0]}, {"chosen": [5]}, {"kind": "violin"}):
        with pytest.raises(jko.InvalidArgument):
            out.plot(**wrong)
