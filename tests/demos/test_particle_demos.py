"""The digits demo, reduced: the MMD flow makes new digits, united support copies old ones."""

import re

import numpy as np
import pytest


def table(printed: str, label: str) -> np.ndarray:
    """step, MMD to training and held-back digits, on, copied, nearest, ESS."""
    lines = re.findall(rf"^{re.escape(label)} +(.+)$", printed.replace("%", " "), re.M)
    return np.array([[float(f) for f in line.split()] for line in lines])


def test_digits(demo):
    pytest.importorskip("sklearn")
    size = ("--train", "200", "--particles", "50", "--steps", "50")
    printed = demo("digits", *size)
    assert "20 principal components of 200 digits" in printed
    flow, ift = table(printed, "(a)"), table(printed, "(b)")
    held = table(printed, "held back")[0]
    assert (np.diff(flow[:, 1]) < 0).all()
    assert flow[-1, 1] <= 0.25 * flow[0, 1]
    # As near to digits it never saw as other digits are, give or take, and no copy among them.
    assert flow[-1, 2] <= 1.3 * held[0]
    assert flow[-1, 4] <= 5
    assert flow[-1, 5] >= 0.7 * held[4]
    # United support: most of the mass is a copy before long.
    assert ift[-1, 4] >= 50
    assert (flow[:, 6] == 50).all()


def test_options(demo):
    from jko import InvalidArgument

    with pytest.raises(InvalidArgument, match="at most"):
        demo("digits", "--features", "64")
