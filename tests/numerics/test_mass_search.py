"""The search for the multiplier of the mass where Newton's method goes nowhere."""

from __future__ import annotations

import pytest

from jko.prox.duality.mass import MassSearch


@pytest.mark.parametrize("root", [0.3, -0.7, 41.0, 1e-4])
def test_a_bracket_is_halved_where_newton_crawls(root):
    search = MassSearch(10.0, lo=-1.0, hi=64.0)
    for _ in range(250):
        above = search.x < root
        if not search.advance(above, 1e-12 if above else -1e-12):
            break
    assert search.lo <= root <= search.hi
    assert search.hi - search.lo < 1e-9
