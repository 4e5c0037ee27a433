"""Killed at random instants, a run always goes on to the bit-identical trajectory."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "kill_test.py"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_twenty_kills():
    run = [sys.executable, str(SCRIPT), "--kills", "20"]
    out = subprocess.run(run, capture_output=True, text=True, timeout=500, check=False)
    assert out.returncode == 0, out.stderr
    assert re.match(r"20 kills .* all bit-identical", out.stdout), out.stdout
