"""What the tests of the demos share."""

import importlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest

DEMOS = Path(__file__).parents[2] / "demos"


@pytest.fixture
def demo(monkeypatch, tmp_path, capsys) -> Callable[..., str]:
    """Run a demo by name into a folder of its own; hand back what it printed."""
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(str(DEMOS))

    def run(name: str, *options: str) -> str:
        module = importlib.import_module(name)
        capsys.readouterr()
        assert module.main([*options, "--out", str(tmp_path)]) == 0
        printed = capsys.readouterr().out
        path = Path(re.search(r"^Figure: (.+)$", printed, re.M).group(1))
        assert path == tmp_path / f"{name}.png"
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 10_000
        if "--animate" not in options:  # an animation is written when it is asked for, only
            assert "Animation" not in printed
            assert not list(tmp_path.glob("*.gif"))
        return printed

    return run
