"""Figures are drawn without a window."""

import pytest


@pytest.fixture(autouse=True)
def no_window() -> None:
    pytest.importorskip("matplotlib.pyplot").switch_backend("agg")
