"""Certificates of random points and potentials are never below the true excess.

The problems and their plain formulas are those of `benchmarks/fuzz_certificates.py`, where the long
run is; here a part of it, the same in every run.
"""

import pytest
from generators.from_benchmarks import fuzz_certificates as fuzz

#: Certificates of each family and points of each problem: some seconds in all.
COUNTS = {"weights": 300, "entropic": 120, "wfr": 200, "programs": 200, "cells": 100}
POINTS = 12


@pytest.mark.parametrize("family", COUNTS)
def test_no_certificate_is_below_the_true_excess(family):
    tallies, faults = fuzz.run(COUNTS[family], POINTS, seed=5, only=family)
    assert not faults, fuzz.report(tallies, faults)
    total, known = (sum(getattr(t, n) for t in tallies.values()) for n in ("count", "known"))
    assert total >= COUNTS[family]
    assert known >= total / 5, "the excess itself should be known of many, or nothing is tested"


@pytest.mark.parametrize("family", COUNTS)
def test_a_certificate_that_is_too_small_is_noticed(family, monkeypatch):
    """Gaps that are a fifth of what they should be: most are less than five times the excess."""
    from _fuzz import certified

    right = certified.judge

    def shrunk(case, trials, *rest):
        for trial in trials:
            if trial.least is None and trial.gap is not None:
                trial.gap *= 0.2
        right(case, trials, *rest)

    monkeypatch.setattr(certified, "judge", shrunk)
    tallies, faults = fuzz.run(COUNTS[family] // 3, POINTS, seed=5, only=family)
    assert faults
    assert sum(t.below for t in tallies.values()) >= 3
