"""The package as a whole: light to import, public names as they say, complete archives."""

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

import jko

ROOT = Path(__file__).parents[1]

#: Imported where they are used: each costs from tenths of a second to seconds.
HEAVY = (
    "scipy",
    "cvxpy",
    "ot",
    "matplotlib",
    "numba",
    "sklearn",
    "clarabel",
    "scs",
    "finufft",
    "tqdm",
    "pandas",
    "xarray",
    "arviz",
    "joblib",
    "dask",
    "jax",
    "torch",
)

#: Modules that `import jko` may load beyond NumPy's own. 263 when it was last lowered, at about a
#: third of a millisecond each on the slowest machine at hand.
MODULES = 280


def output(code):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_import_is_light():
    """By count, not by the clock: machines differ, and so does what else they do."""
    code = "import sys, numpy; n = len(sys.modules); import jko; print(len(sys.modules) - n)"
    assert int(output(code)) <= MODULES


@pytest.mark.parametrize("module", ["jko", "jko.testing", "jko.cli"])
def test_import_leaves_heavy_packages_alone(module):
    loaded = output(f"import {module}, sys; print(*sys.modules)").split()
    assert not set(HEAVY) & set(loaded)


@pytest.mark.parametrize("name", jko.__all__)
def test_public_names_exist_and_say_what_they_are(name):
    thing = getattr(jko, name)
    assert (thing.__doc__ or "").strip(), f"jko.{name} has no docstring"


def test_public_names_are_listed_once():
    assert len(set(jko.__all__)) == len(jko.__all__)


def test_completion_shows_public_names_only():
    """`dir(jko)` is what somebody who presses Tab sees: no module that is only there by chance."""
    shown = set(output("import jko; print(*dir(jko))").split())
    assert set(jko.__all__) <= shown
    assert {"plot", "verify", "sample", "vi", "dro"} <= shown
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for name in shown - set(jko.__all__) - {"__version__"}:
        assert re.search(rf"\b{name}\b", page), f"jko.{name} is shown, but not documented"
    there = shown if find_spec("matplotlib") else shown - {"plot"}
    output(f"import jko; [getattr(jko, name) for name in {sorted(there)}]")


def test_rooms_need_no_import_of_their_own():
    if find_spec("matplotlib"):
        assert output("import jko; print(jko.plot.animate.__name__)") == "animate"
    assert output("import jko; print(jko.verify.names()[0])") == jko.verify.names()[0]


def test_nothing_prints(capsys):
    k = jko.kernels.Gaussian(1.0)
    mu, pi = jko.Particles([[0.0], [1.0]]), jko.Particles([[0.5], [2.0]])
    jko.step(mu, jko.MMDEnergy(pi, k), jko.MMD(k), 0.5)
    assert capsys.readouterr() == ("", "")


# -- what is released ----------------------------------------------------------------------------


def test_the_version_is_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert project["version"] == jko.__version__
    assert re.findall(r"^version: (\S+)", citation, re.M) == [jko.__version__]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## \[(.+?)\]", changelog, re.M)
    assert sections[0] == "Unreleased"
    assert sections[1:] == sorted(sections[1:], reverse=True)


def in_the_repository(*folders):
    """Sources that a release must hold, relative to the root."""
    kept = {".py", ".md", ".typed", ".json", ".npy", ".csv"}
    return {
        str(path.relative_to(ROOT))
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.suffix in kept
        and not {"__pycache__", "_build", "generated", "auto_examples"} & set(path.parts)
    }


def build_archives(folder):
    """Wheel and source archive, as `make package` builds them."""
    source = folder / "source"
    ignored = shutil.ignore_patterns(".git", ".venv*", "*_cache", "__pycache__", "_build")
    shutil.copytree(ROOT, source, ignore=ignored)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), "."]
    subprocess.run(command, check=True, capture_output=True, cwd=source)
    (wheel,) = folder.glob("*.whl")
    (archive,) = folder.glob("*.tar.gz")
    return wheel, archive


def check_wheel(path):
    with zipfile.ZipFile(path) as wheel:
        held = set(wheel.namelist())
    demos = {f"jko/_demos/{name.removeprefix('demos/')}" for name in in_the_repository("demos")}
    assert in_the_repository("jko") | demos <= held
    assert "jko/py.typed" in held
    assert any(name.endswith("LICENSE") for name in held)
    assert {name.split("/")[0].split("-")[0] for name in held} == {"jko"}


def check_source_archive(path):
    """From it one can run the tests, the benchmarks, the demos and the documentation."""
    with tarfile.open(path) as archive:
        held = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert in_the_repository("jko", "tests", "demos", "benchmarks", "docs") <= held
    single = {"Makefile", "LICENSE", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"}
    assert single | {"CITATION.cff", "pyproject.toml", ".ci/run"} <= held


def test_the_archives_are_complete_and_an_index_accepts_them(tmp_path):
    for tool in ("build", "hatchling", "twine"):
        pytest.importorskip(tool, reason=f"{tool} is not installed (extra dev)")
    wheel, archive = build_archives(tmp_path)
    check_wheel(wheel)
    check_source_archive(archive)
    command = [sys.executable, "-m", "twine", "check", "--strict", str(wheel), str(archive)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
