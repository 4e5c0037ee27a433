"""Fixtures every room of the tests may use."""

import gc
import os
import sys
from collections.abc import Iterator

import numpy as np
import pytest

# POT imports every framework it finds, 3 s in each process that solves one transport problem. jko
# hands it NumPy arrays alone; processes that tests start take these settings over.
for framework in ("PYTORCH", "JAX", "TENSORFLOW", "CUPY"):
    os.environ.setdefault(f"POT_BACKEND_DISABLE_{framework}", "1")

#: Thousands of tests are read in, none of which is garbage: nothing to look for, then or later.
gc.disable()


def pytest_collection_finish() -> None:
    """Leave what was collected out of every later search for garbage: 0.2 s each."""
    gc.freeze()
    gc.enable()


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
