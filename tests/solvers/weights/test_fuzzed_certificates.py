"""A small run of benchmarks/fuzz_certificates.py, and that the judge sees wrong bounds."""

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "fuzz_certificates.py"


@pytest.fixture(scope="module")
def fuzz():
    spec = importlib.util.spec_from_file_location("fuzz_certificates", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look their annotations up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_no_certificate_is_below_the_excess(fuzz):
    tallies, faults = fuzz.run(problems=40, points=12, seed=11, peers=0.0)
    assert sum(tally.count for tally in tallies.values()) >= 300
    assert faults == []


def test_the_judge_sees_a_bound_that_is_too_small(fuzz, monkeypatch):
    """A certificate a millionth short of the excess is found out."""
    real = fuzz.certify

    def short(problem, nu):
        found = real(problem, nu)
        return found if found.gap is None else type(found)(found.gap * (1 - 1e-6), found.residual)

    monkeypatch.setattr(fuzz, "certify", short)
    _, faults = fuzz.run(problems=25, points=10, seed=11, peers=0.0)
    assert len(faults) >= 10
