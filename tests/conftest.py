"""Fixtures every room of the tests may use."""

import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    """A fresh generator with a fixed seed: tests do not depend on their order."""
    return np.random.default_rng(0)
