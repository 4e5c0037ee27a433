"""The documents of the project are true: files, targets and names that they mention exist."""

import importlib
import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: Pages and settings of the project.
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "Makefile", ".github/**/*.*", ".ci/*", ".pre-commit*")
    for path in ROOT.glob(pattern)
)
SOURCES = sorted(
    path
    for room in ("jko", "tests", "benchmarks", "demos", "docs")
    for path in (ROOT / room).rglob("*.py")
    if "_build" not in path.parts and "auto_examples" not in path.parts
)
#: Folders that commands make.
MADE = ("docs/_build", "docs/generated", "docs/auto_examples", "jko/_demos")
PATH = r"(?<![\w/.-])((?:docs|tests|jko|benchmarks|demos|\.ci|\.github)/[\w/.-]*\w)"
#: Tests that say nothing of numbers: `make arithmetics` leaves them out.
NOT_NUMERICAL = {
    "adapters",
    "cli",
    "data",
    "demos",
    "generators",
    "plot",
    "refusals",
    "site",
    "sweep",
    "table",
}


def read(path):
    return path.read_text(encoding="utf-8")


def targets():
    """The targets of the Makefile."""
    return set(re.findall(r"^([a-z]+):", read(ROOT / "Makefile"), re.M))


def numerical():
    """What `make arithmetics` runs, below tests/."""
    text = re.search(r"addprefix tests/,([^)]*)\)", read(ROOT / "Makefile"))[1]
    return text.replace("\\", " ").split()


@pytest.mark.parametrize("path", [*PAGES, *SOURCES], ids=lambda p: p.relative_to(ROOT).as_posix())
def test_files_that_are_named_exist(path):
    text = re.sub(r"addprefix tests/,[^)]*\)", "", read(path))
    named = {name for name in re.findall(PATH, text) if not name.startswith(MADE)}
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def resolves(name):
    """Whether a dotted name of the package is there: module, attribute, field."""
    parts = name.split(".")
    for k in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:k]))
        except ModuleNotFoundError:
            continue
        for part in parts[k:]:
            if part in getattr(found, "__dataclass_fields__", {}):
                return True
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def test_names_of_the_package_in_prose_exist():
    pytest.importorskip("matplotlib")
    named = {
        name: path.relative_to(ROOT).as_posix()
        for path in [*PAGES, *SOURCES]
        for name in re.findall(r"`(jko(?:\.\w+)+)", read(path))
    }
    assert len(named) > 100
    assert {name: path for name, path in named.items() if not resolves(name)} == {}


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("jko.step", True),
        ("jko.solvers.auto.RULES", True),
        ("jko.StepResult.gap", True),
        ("jko.solvers.base.ProxSolver.accepts", True),
        ("jko.no_such_name", False),
        ("jko.solvers.no_such_file.Class", False),
    ],
)
def test_the_search_finds_names(name, there):
    assert resolves(name) is there


def test_targets_that_are_named_exist():
    for path in PAGES:
        used = set(re.findall(r"(?:`|run: |\n)make ([a-z]+)", read(path)))
        assert used <= targets(), path
    assert set(re.findall(r"steps=\((.*)\)", read(ROOT / ".ci" / "run"))[0].split()) <= targets()


def test_other_arithmetics_run_every_numerical_test():
    names = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()} - {"__pycache__"}
    run = {name.split("/")[0] for name in numerical()}
    assert names - NOT_NUMERICAL <= run
    assert all((ROOT / "tests" / name).exists() for name in numerical())


def test_the_public_workflow_runs_the_promised_versions():
    project = tomllib.loads(read(ROOT / "pyproject.toml"))["project"]
    marks = (c.rpartition(" :: ")[2] for c in project["classifiers"] if "Python :: 3." in c)
    (matrix,) = re.findall(r"python: (\[.*\])", read(ROOT / ".github" / "workflows" / "ci.yml"))
    assert re.findall(r'"(3\.\d+)"', matrix) == list(marks)


def test_hooks_run_what_lint_runs():
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", read(ROOT / "Makefile"), re.M)[1]
    tools = [line.split()[0].rpartition("/")[2] for line in lint.strip().splitlines()]
    hooks = re.findall(r"entry: \.venv/bin/([\w-]+)", read(ROOT / ".pre-commit-config.yaml"))
    assert hooks == tools


def test_no_two_files_of_tests_have_one_name():
    """The folders are no packages: pytest refuses the second file, and with it the whole run."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


#: The doors for users' own objects, and the check of `jko.testing` that their examples end with.
DOORS = {
    "An energy": "check_energy",
    "A geometry": "check_geometry",
    "A kernel": "check_kernel",
    "A solver": "check_solver",
}


def test_every_door_is_short_and_checked():
    """`tests/demos/test_documents.py` runs them."""
    from jko import testing

    assert set(DOORS.values()) == set(testing.__all__)
    sections = re.split(r"^## (.*)\n", read(ROOT / "docs" / "extending.md"), flags=re.M)
    texts = dict(zip(sections[1::2], sections[2::2], strict=True))
    assert set(texts) == set(DOORS)
    for name, check in DOORS.items():
        first = re.search(r"```python\n(.*?)```", texts[name], re.S)[1]
        assert 15 <= first.count("\n") <= 40, name
        assert f"{check}(" in first, name
