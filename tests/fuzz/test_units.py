"""Steps drawn at random: no success above a rival, and the same step in any unit (formula B2).

The problems, their plain formulas and their rivals are those of `benchmarks/fuzz_steps.py`.
"""

from dataclasses import replace

import pytest
from generators.from_benchmarks import checks, records

#: Problems of each piece, seeded: a few seconds in all.
PIECE = 15


@pytest.mark.parametrize("first", range(0, 4 * PIECE, PIECE))
def test_random_steps_are_right_in_any_unit(first):
    found = checks.run(range(first, first + PIECE), seed=7)
    assert not any(r.faults for r in found), records.report(found)
    assert sum(r.verified for r in found) >= PIECE // 2


def test_a_wrong_success_is_noticed(monkeypatch):
    """A step that stays and calls itself certified is above its rivals."""
    right = checks.take

    def lazy(case, u):
        found = right(case, u)
        if isinstance(found, str) or not found.success:
            return found
        mu, energy, *_ = case.problem(u)
        return replace(found, measure=mu, objective=energy.value(mu), gap=0.0)

    monkeypatch.setattr(checks, "take", lazy)
    found = checks.run(range(20), seed=7, units=0)
    assert sum("above" in [kind for kind, _ in r.faults] for r in found) >= 8


def test_a_wrong_verdict_is_noticed(monkeypatch):
    """A refusal of problems that have an answer, and an exception, are violations."""
    asked = []

    def moody(case, u):
        asked.append(case)
        if len(asked) % 2:
            raise ZeroDivisionError("division by zero")
        return "Unsupported: not today"

    monkeypatch.setattr(checks, "take", moody)
    found = checks.run(range(4), seed=7)
    assert all(r.violated and r.outcome == "raised" for r in found)
    monkeypatch.setattr(checks, "take", lambda case, u: "Unsupported: not today")
    found = checks.run(range(12), seed=7)
    kinds = [kind for r in found for kind, _ in r.faults]
    assert kinds.count("refused") >= 6


def test_records_survive_a_kill(tmp_path):
    """A log that was cut off is read up to the cut, and the run goes on from there."""
    path = tmp_path / "log.jsonl"
    checks.run(range(3), seed=7, log=records.Log(path), rivals=0.0, units=0)
    text = path.read_text()
    path.write_text(text[: len(text) - 20])
    log = records.Log(path)
    assert len(log.records) == 2
    checks.run(range(3), seed=7, log=log, rivals=0.0, units=0)
    assert [r.number for r in log.records] == [0, 1, 2]
    assert "all" in records.table(log.records)
