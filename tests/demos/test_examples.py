"""Every public object has a page with an example that runs."""

import importlib
import importlib.util
import inspect
import re
import sys
from pathlib import Path

import pytest

import jko

DOCS = Path(__file__).parents[2] / "docs"
spec = importlib.util.spec_from_file_location("object_examples", DOCS / "object_examples.py")
object_examples = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = object_examples  # dataclasses look themselves up
spec.loader.exec_module(object_examples)

EXAMPLES = object_examples.examples()
DISTINCT = {example.names[0]: example for example in EXAMPLES.values()}
#: Rooms whose public names have pages; colours and constants have none.
ROOMS = ["", "kernels", "solvers", "sampling", "vi", "dro", "reference", "verify", "testing"]
#: Values, base classes that are documented under another name, and tables.
ELSEWHERE = {"Definiteness", "RULES"}


def pages():
    """The full names on the API page; solvers of the table are listed at the build."""
    page = (DOCS / "api.md").read_text("utf-8")
    named = re.findall(r"^\.\. auto(?:class|function):: ([\w.]+)", page, re.M)
    found = {name if name.startswith("jko.") else f"jko.{name}" for name in named}
    return found | {f"jko.solvers.{type(s).__name__}" for s in jko.solvers.auto.AUTO}


def located(name):
    owner = importlib.import_module("jko")
    for part in name.split(".")[1:]:
        if not hasattr(owner, part):
            importlib.import_module(f"{owner.__name__}.{part}")
        owner = getattr(owner, part)
    return owner


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_has_a_page(room):
    module = located(f"jko.{room}" if room else "jko")
    documented = {id(located(name)) for name in pages()}
    names = module.__all__ if room else [n for n in dir(jko) if n != "__version__"]
    objects = {n: getattr(module, n) for n in names if n not in ELSEWHERE}
    missing = {n for n, o in objects.items() if not inspect.ismodule(o) and id(o) not in documented}
    assert missing == set()


def test_no_example_is_missing():
    assert len(pages()) > 190
    assert pages() - set(EXAMPLES) == set()
    assert set(EXAMPLES) - pages() == set(), "examples of objects without a page"


@pytest.mark.parametrize("name", sorted(DISTINCT))
def test_the_example_runs_and_shows_its_object(name):
    example = DISTINCT[name]
    printed, drawn = example.run()
    assert printed or drawn
    assert "False" not in printed or "conserves_mass" in example.code
    for full in example.names:  # the object itself, or what carries it
        assert len(example.code.splitlines()) <= 30, full


def test_examples_are_read_and_run(tmp_path):
    text = '"""Doc."""\n\nimport numpy as np\nimport jko\n\n#: jko.A jko.B\n#: x^2\nprint(jko)\n'
    (one,) = object_examples.read(text, "x.py")
    assert one.names == ("jko.A", "jko.B")
    assert one.formula == "x^2"
    assert "numpy" not in one.code
    assert one.run()[0].startswith("<module 'jko'")
