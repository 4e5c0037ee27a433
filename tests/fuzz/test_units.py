"""Steps drawn at random: no success above a rival, and the same step in any unit (formula B2).

The problems, their plain formulas and their rivals are those of `benchmarks/fuzz_steps.py`.
"""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Problems of each piece, seeded: a few seconds in all.
PIECE = 25


@pytest.fixture(scope="module")
def checks():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        from _fuzz import checks
    finally:
        sys.path.pop(0)
    return checks


@pytest.mark.parametrize("first", range(0, 4 * PIECE, PIECE))
def test_random_steps_are_right_in_any_unit(checks, first):
    tallies, faults = checks.run(range(first, first + PIECE), seed=7)
    serious = [f for f in faults if f.kind != "uncertified"]
    assert not serious, checks.report(tallies, serious)
    uncertified = [f for f in faults if f.kind == "uncertified"]
    assert not uncertified, checks.report(tallies, uncertified)


def test_a_wrong_success_is_noticed(checks, monkeypatch):
    """A step that stays and calls itself certified is above its rivals."""
    from dataclasses import replace

    right = checks.take

    def lazy(case, u):
        found = right(case, u)
        if isinstance(found, str) or not found.success:
            return found
        mu, energy, *_ = case.problem(u)
        return replace(found, measure=mu, objective=energy.value(mu), gap=0.0)

    monkeypatch.setattr(checks, "take", lazy)
    _, faults = checks.run(range(20), seed=7)
    assert sum(f.kind == "above" for f in faults) >= 8
