"""The sampling demos run, and what they print is right."""

import importlib
import re
from pathlib import Path

import numpy as np
import pytest

import jko
from jko.sampling.report.columns import of_chains

DEMOS = Path(__file__).parents[2] / "demos"


def test_eight_schools(demo):
    """Every mean within .05 sd and every sd within 5 % of the exact figures."""
    printed = demo("eight_schools")
    assert "converged: 1000 particles" in printed
    lines = printed[printed.index("name ") :].splitlines()[1:12]
    errors = np.array([[float(f.rstrip("%")) for f in line.split()[-2:]] for line in lines])
    assert errors[:, 0].max() < 0.05
    assert errors[:, 1].max() < 5


def test_logistic_regression(demo):
    pytest.importorskip("sklearn")
    printed = demo("logistic_regression", "--particles", "400", "--moves", "40")
    assert "worst fractal dimension" in printed
    right = float(re.search(r"called right: ([\d.]+)%", printed).group(1))
    assert right > 93
    losses = re.search(r"posterior mean ([\d.]+), best coefficients ([\d.]+)", printed)
    assert float(losses.group(1)) < 0.15
    assert float(losses.group(2)) < 0.15


def test_multimodal(demo):
    """The methods that stay in one mode say so; tempering finds both."""
    printed = demo("multimodal", "--particles", "400")
    table = [line.split() for line in printed.splitlines()]
    found = {f[0]: (float(f[1]), f[2]) for f in table if f and f[0] in ("langevin", "tempered")}
    assert found["langevin"] == (1.0, "no")
    assert found["tempered"][1] == "yes"
    assert abs(found["tempered"][0] - 0.5) < 0.04
    assert "misses a mode" in printed


def test_beside_nuts(demo):
    """Two samplers that share no code agree on three posteriors; jko's costs less on each."""
    pytest.importorskip("sklearn")
    printed = demo("beside_nuts", "--particles", "400", "--draws", "200")
    lines = [line for line in printed.splitlines() if "per" not in line and "NUTS" in line]
    assert len(lines) == 3
    for line in lines:
        found = re.search(r"(\w+)   jko ([\d.]+), NUTS ([\d.]+); converged", line)
        assert found.group(1) in ("agree", "unclear")  # 800 draws are few; none may differ
        assert float(found.group(2)) > float(found.group(3))


def test_nuts_of_the_demo_is_right(monkeypatch):
    """On a narrow Gaussian: means and spreads within their own errors, and none diverges."""
    monkeypatch.syspath_prepend(str(DEMOS))
    nuts = importlib.import_module("_nuts").nuts
    cov = np.array([[1.0, 9.5], [9.5, 100.0]])
    target = jko.Gaussian([1.0, -2.0], cov)
    density = jko.LogDensity(target.log_density_at, target.score, 2)
    draws, gradients, diverged = nuts(density, np.random.default_rng(0), 4, 400, 500)
    assert diverged == 0
    assert gradients > 4 * 900
    for j in range(2):
        found = of_chains(draws[:, :, j])
        assert abs(found.mean - target.mean[j]) < 4 * found.mean_error
        assert abs(found.std / np.sqrt(cov[j, j]) - 1) < 4 * found.std_error
        assert found.ess > 500
