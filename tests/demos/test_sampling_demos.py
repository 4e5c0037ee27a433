"""The sampling demos run, and what they print is right."""

import re

import numpy as np
import pytest


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
