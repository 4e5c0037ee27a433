"""The package as a whole: it imports quickly, and its public names are what they say."""

import subprocess
import sys

import pytest

import jko

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
)

#: Processor time: other processes on the machine do not count.
CLOCK = "import time; t = time.process_time(); import {}; print(time.process_time() - t)"


def output(code):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def seconds_to_import(*modules, runs=5):
    """The minimum over fresh interpreters, interleaved so that a busy machine hurts all alike."""
    times = [[float(output(CLOCK.format(m))) for m in modules] for _ in range(runs)]
    return [min(column) for column in zip(*times, strict=True)]


def test_import_is_quick():
    numpy, whole = seconds_to_import("numpy", "jko")
    assert whole - numpy < 0.4, f"import jko takes {whole - numpy:.2f} s beyond NumPy"


def test_import_leaves_heavy_packages_alone():
    loaded = output("import jko, sys; print(*sys.modules)").split()
    assert not set(HEAVY) & set(loaded)


def test_importing_the_checks_is_light_too():
    loaded = output("import jko.testing, sys; print(*sys.modules)").split()
    assert not set(HEAVY) & set(loaded)


@pytest.mark.parametrize("name", jko.__all__)
def test_public_names_exist_and_say_what_they_are(name):
    thing = getattr(jko, name)
    assert (thing.__doc__ or "").strip(), f"jko.{name} has no docstring"


def test_public_names_are_listed_once():
    assert len(set(jko.__all__)) == len(jko.__all__)


def test_nothing_prints(capsys):
    k = jko.kernels.Gaussian(1.0)
    mu, pi = jko.Particles([[0.0], [1.0]]), jko.Particles([[0.5], [2.0]])
    jko.step(mu, jko.MMDEnergy(pi, k), jko.MMD(k), 0.5)
    assert capsys.readouterr() == ("", "")
