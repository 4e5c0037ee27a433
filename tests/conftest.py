"""Fixtures every room of the tests may use."""

import sys
from collections.abc import Iterator

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def no_figures_left() -> Iterator[None]:
    """Pyplot keeps figures until they are closed: none counts in the test that comes next."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def rng() -> np.random.Generator:
    """A fresh generator with a fixed seed: tests do not depend on their order."""
    return np.random.default_rng(0)
