"""The demos of robust learning run, and what they print is what they claim."""

import re

import numpy as np
import pytest


def table(printed: str, first: str) -> np.ndarray:
    """The rows of numbers under the line that starts with `first`."""
    lines = printed[printed.index(first) :].splitlines()[1:]
    rows = lines[: lines.index("")]
    return np.array([[float(f) for f in row.replace("%", " ").split()] for row in rows])


def test_robust_least_squares(demo):
    """The robust fit loses less at the largest shift (tests/dro takes the mean of ten seeds)."""
    printed = demo("robust_least_squares", "--seeds", "2")
    rows = table(printed, "shift ")
    assert rows[:, 0].tolist() == [0, 0.5, 1, 1.5, 2, 2.5]
    assert rows[-1, 2] <= 0.8 * rows[-1, 1]
    assert rows[0, 1] <= rows[0, 2]  # ERM is best where it was trained
    assert (np.diff(rows[:, 1]) > 0).all()
    assert float(re.search(r"gap of a fit: (\S+)", printed).group(1)) <= 1e-6


def test_group_shift(demo):
    """The robust loss rises less with the share of the rare digits, and overtakes that of ERM."""
    pytest.importorskip("sklearn")
    printed = demo("group_shift")
    rows = table(printed, "rare at test")
    assert rows[-1, 2] < 0.85 * rows[-1, 1]
    assert np.diff(rows[:, 1]).mean() > 1.2 * np.diff(rows[:, 2]).mean()
    assert "ERM: gap" in printed
    values = [float(v) for v in re.findall(r"WorstCase\(certified: value=([\d.]+)", printed)]
    assert values[1] < values[0]
