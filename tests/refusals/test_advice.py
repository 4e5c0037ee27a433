"""What a refusal tells the user to do succeeds, and every name in a message exists."""

import ast
import importlib
import re
import warnings
from pathlib import Path

import pytest
from refusals.table_adapters import FRAMEWORKS
from refusals.table_advice import APPLICATIONS, DISTANCES, SHAPES, STEPS
from refusals.table_files import FIGURES, FILES, RUNS
from refusals.table_kinds import ENERGIES, GEOMETRIES, MEASURES
from refusals.table_more_advice import APPLIED, FLOWS, PICTURES, TARGETS
from refusals.table_packages import LIMITS, PACKAGES
from refusals.table_reasons import REASONS
from refusals.table_samples import FITS, ROBUST, SAMPLES, THEOREMS
from refusals.table_solvers import SOLVED, SWEEPS, TRANSPORT, WARNED
from refusals.table_user_advice import USERS

import jko

TABLE = [
    *STEPS, *DISTANCES, *SHAPES, *APPLICATIONS, *FLOWS, *PICTURES, *TARGETS, *APPLIED, *USERS,
    *MEASURES, *ENERGIES, *GEOMETRIES, *FILES, *RUNS, *FIGURES,
    *SAMPLES, *FITS, *ROBUST, *THEOREMS, *SOLVED, *TRANSPORT, *SWEEPS, *FRAMEWORKS,
    *REASONS, *PACKAGES, *LIMITS,
]  # fmt: skip
ROOT = Path(jko.__file__).parent


def worked(found):
    """Whether results are certified: of one call, or of a list of them."""
    each = found if isinstance(found, list) else [found]
    return all(getattr(one, "success", True) for one in each)


@pytest.mark.parametrize(("refused", "words", "followed"), [c[1:] for c in TABLE],
                         ids=[c[0] for c in TABLE])  # fmt: skip
def test_the_way_out_is_one(refused, words, followed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(jko.JkoError) as caught:
            refused()
        assert re.search(words, str(caught.value)), str(caught.value)
        found = followed()
    assert worked(found)


def said_by(call):
    """What a call returns, and the warnings of the library in it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = call()
    return found, [str(w.message) for w in caught if issubclass(w.category, jko.JkoWarning)]


@pytest.mark.parametrize(("warned", "words", "followed"), [c[1:] for c in WARNED],
                         ids=[c[0] for c in WARNED])  # fmt: skip
def test_the_advice_of_a_warning_ends_it(warned, words, followed):
    _, before = said_by(warned)
    assert any(re.search(words, text) for text in before), before
    found, after = said_by(followed)
    assert worked(found)
    assert not any(re.search(words, text) for text in after), after


def strings(tree):
    """All texts of a module, formatted values left out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [v.value for v in node.values if isinstance(v, ast.Constant)]
            yield " ".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def exists(name):
    """Whether a dotted name is a module, or an attribute of what comes before it."""
    thing = jko
    for part in name.split(".")[1:]:
        if not hasattr(thing, part):
            try:
                importlib.import_module(f"{thing.__name__}.{part}")
            except (ImportError, AttributeError):
                return False
        thing = getattr(thing, part)
    return True


def test_every_name_in_a_message_or_a_docstring_exists():
    missing = set()
    for path in ROOT.rglob("*.py"):
        for text in strings(ast.parse(path.read_text())):
            found = re.findall(r"\bjko(?:\.[A-Za-z_]\w*)+", text)
            missing |= {(path.name, name) for name in found if not exists(name)}
    assert not missing


def test_a_name_nearly_right_is_answered_with_the_right_one():
    for wrong, right in (("barycenter", "barycentre"), ("Wassertein", "Wasserstein")):
        with pytest.raises(AttributeError, match=f"did you mean '{right}'"):
            getattr(jko, wrong)
        assert hasattr(jko, right)
