"""`python -m benchmarks`: it finds the scripts, runs them apart, and writes a table."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def entry(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("benchmarks.__main__")


def test_every_script_is_listed_with_its_quick_sizes(entry, capsys):
    assert entry.main(["--list"]) == 0
    out = capsys.readouterr().out
    for path in (ROOT / "benchmarks").glob("[!_]*.py"):
        assert f"| {path.stem} " in out
        assert entry.first_line(path), f"{path.name} says in its first line what it measures"


def test_scripts_run_apart_and_the_report_has_a_table(entry, tmp_path, monkeypatch, capsys):
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text(
        '"""Good."""\nimport sys\nQUICK: list[str] = ["--n", "3"]\nprint(sys.argv[1:])\n'
    )
    bad.write_text('"""Bad."""\nraise SystemExit("no peer")\n')
    monkeypatch.setattr(entry, "scripts", lambda: {"good": good, "bad": bad})
    report = tmp_path / "report.md"
    assert entry.main(["good", "--output", str(report)]) == 0
    assert entry.main(["--output", str(report)]) == 1
    text = report.read_text()
    assert "['--n', '3']" in text
    assert "exit code 1" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [row.split("|")[1].strip() for row in rows] == ["script", "good", "bad"]
    assert len({len(row) for row in rows}) == 1
    assert "The report is in" in capsys.readouterr().out


def test_an_unknown_script_is_one_line():
    command = [sys.executable, "-m", "benchmarks", "mmd_stap"]
    found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert found.returncode == 2
    assert "mmd_stap; see --list" in found.stderr.splitlines()[-1]
