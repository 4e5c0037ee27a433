"""The core without the extras: what needs none works, and what needs one says so in one line.

Every test runs in a process of its own in which the packages of the extras cannot be imported, as
if they were not there; `make core` runs this file, and more, where they really are not.
"""

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def names(requirements):
    """Distribution names of requirement strings, without extras, versions and markers."""
    return {re.split(r"[\[<>=!~;( ]", r)[0].lower() for r in requirements}


def with_their_own(found):
    """Distributions and all that they require themselves (cvxpy, say, brings joblib)."""
    todo, found = set(found), set()
    while todo:
        name = todo.pop()
        found.add(name)
        try:
            needs = requires(name) or []
        except PackageNotFoundError:
            continue
        todo |= names(r for r in needs if "extra ==" not in r) - found
    return found


#: Packages an application may look for that are in no extra.
OTHERS = {"jax", "torch", "pymc", "numpyro", "cmdstanpy", "bridgestan", "zarr"}
IMPORTED_AS = {"scikit-learn": "sklearn"}
WANTED = names(
    need
    for extra, needs in PROJECT["optional-dependencies"].items()
    if extra not in ("test", "docs")
    for need in needs
)
EXTRAS = (OTHERS | WANTED) - with_their_own(names(PROJECT["dependencies"])) - {"jko"}
BLOCKED = sorted(IMPORTED_AS.get(name, name.replace("-", "_")) for name in EXTRAS)

BLOCK = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

def find_spec(name, package=None, ask=importlib.util.find_spec):
    return None if name.split(".")[0] in BLOCKED else ask(name, package)

sys.meta_path.insert(0, Absent())
importlib.util.find_spec = find_spec
"""


def alone(code, *argv):
    """Run a program without the extras."""
    program = f"import importlib.util\nBLOCKED = {BLOCKED!r}\n{BLOCK}\n{code}"
    command = [sys.executable, "-W", "error::UserWarning", "-c", program, *argv]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, timeout=500
    )


def test_the_block_blocks():
    assert {"numba", "matplotlib", "sklearn", "pandas", "finufft"} <= set(BLOCKED)
    found = alone("import sklearn")
    assert found.returncode == 1
    assert "No module named 'sklearn'" in found.stderr


STEPS = """
import numpy as np, jko

rng = np.random.default_rng(0)
cloud = jko.Particles(rng.normal(size=(40, 2)))
target = jko.Particles(rng.normal(size=(50, 2)) + 1.0)
k = jko.kernels.Gaussian(1.0)
grid = jko.Grid([-3.0, -3.0], [3.0, 3.0], [32, 32])
rho = jko.GridDensity.from_function(lambda x: np.exp(-(x**2).sum(1)), grid, mass=1)
axis = jko.Grid([-3.0], [3.0], [64])
line = jko.GridDensity.from_function(lambda x: np.exp(-(x**2).sum(1)), axis)
heat = jko.Entropy() + jko.Potential(lambda x: 0.5 * (x**2).sum(1))

found = [
    jko.step(cloud, jko.MMDEnergy(target, k), jko.MMD(k), 0.5),
    jko.step(rho, jko.KL(jko.Gaussian([0.5, 0.0], np.eye(2))), jko.Wasserstein(), 0.1),
    jko.step(line, jko.PorousMedium(2), jko.Wasserstein(), 0.5),
    jko.step(line, jko.KL(line), jko.Hellinger(), 0.5),
    jko.step(jko.Gaussian([1.0], [[2.0]]), heat, jko.Wasserstein(), 0.1),
    jko.flow(cloud, jko.MMDEnergy(target, k), jko.Wasserstein() + jko.MMD(k), tau=0.1, steps=2),
]
sums = jko.kernels.FastSums().apply(k, cloud.points, target.points, target.weights)
assert np.abs(sums - k.apply(cloud.points, target.points, target.weights)).max() < 1e-7
assert len(jko.verify.names()) > 5
print(len(found), "done")
"""


def test_steps_need_no_extra():
    found = alone(STEPS)
    assert found.stderr == ""
    assert found.stdout == "6 done\n"


@pytest.mark.parametrize(
    ("code", "package"),
    [
        ("jko.plot", "matplotlib"),
        ("from jko import plot", "matplotlib"),
        ("jko.kernels.FastSums(backend='finufft')", "finufft"),
    ],
)
def test_what_needs_an_extra_says_which(code, package):
    found = alone(f"import jko\n{code}")
    assert found.returncode == 1
    last = found.stderr.splitlines()[-1]
    assert package in last
    assert "pip install 'jko[" in last


def test_a_demo_without_its_extra_says_one_line():
    shell = "import jko.cli; sys.exit(jko.cli.main())"
    demos = [line.split()[0] for line in alone(shell, "demo", "--list").stdout.splitlines()]
    assert "ift" in demos
    for name in ("ift", "digits"):
        found = alone(shell, "demo", name)
        assert (found.returncode, found.stdout) == (2, "")
        assert re.fullmatch(
            rf"jko: demo {name} needs \w+, which is not installed; pip install 'jko\[demo\]'\n",
            found.stderr,
        )


def test_a_core_environment_has_no_extra():
    """In the environment of `make core` nothing is left to block."""
    if os.environ.get("JKO_CORE_ALONE"):
        assert not set(BLOCKED) & set(packages_distributions())
