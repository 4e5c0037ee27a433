"""Every solver, energy, geometry and application names its source, and the bibliography has it."""

import importlib.util
import inspect
from pathlib import Path

import pytest

import jko
import jko.distances
import jko.paths

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("bibliography", ROOT / "docs" / "bibliography.py")
bibliography = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bibliography)

#: Classes that users extend or that carry an energy of theirs: no paper stands behind them.
OWN = {
    "TimeDependent",
    "Energy",
    "EnergySum",
    "FormEnergy",
    "Geometry",
    "GeometrySum",
    "ProxSolver",
}

#: Classes of the applications that stand for a method; the others hold results.
CITED = {"CVaR", "RobustClassifier", "RobustRegressor", "Sinkhorn", "TotalVariation", "Minibatch"}


def family(module, base):
    """The public subclasses of `base` in a room."""
    found = {name: getattr(module, name) for name in module.__all__}
    return {
        name: o
        for name, o in found.items()
        if inspect.isclass(o) and issubclass(o, base) and name not in OWN
    }


def cited_objects():
    """Everything that must cite: by definition, not from a list kept by hand."""
    out = {f"jko.{name}": getattr(jko, name) for name in ("step", "split_step", "flow", "match")}
    plain = {"Linear", "Quadratic", "check_gradient"}  # losses written down, a check
    for room in (jko.distances, jko.dro, jko.paths, jko.sampling, jko.vi):
        for name in set(room.__all__) - plain:
            thing = getattr(room, name)
            if inspect.isfunction(thing) or name in CITED:
                out[f"{room.__name__}.{name}"] = thing
    out |= family(jko.solvers, jko.solvers.ProxSolver)
    out |= family(jko.energies, jko.energies.Energy)
    return out | family(jko.geometries, jko.geometries.Geometry)


@pytest.mark.parametrize("name", sorted(cited_objects()))
def test_objects_cite_their_source(name):
    found = bibliography.citations(inspect.getdoc(cited_objects()[name]))
    assert found & set(bibliography.entries()), f"{name}: no source in its docstring"


def test_what_is_cited_is_in_the_bibliography():
    known = set(bibliography.entries())
    assert len(known) > 50
    texts = [
        *(ROOT / "jko").rglob("*.py"),
        *(ROOT / "demos").glob("*.py"),
        *(ROOT / "docs").glob("*.md"),
    ]
    for path in texts:
        missing = bibliography.citations(path.read_text("utf-8")) - known
        assert not missing, f"{path}: {sorted(missing)} are not in docs/references.bib"


def test_citations_are_read():
    text = """Peyré (2015); Del Moral et al.
        (2006), Ben-Tal et al. (2013), Lee, Sun and Saunders (2014),
        O'Donoghue et al. (2016), in (2016)"""
    assert bibliography.citations(text) == {
        "Peyré (2015)",
        "Del Moral et al. (2006)",
        "Ben-Tal et al. (2013)",
        "Lee et al. (2014)",
        "O'Donoghue et al. (2016)",
    }
    with pytest.raises(ValueError, match="the first author's name"):
        bibliography.entries("@article{Foo2001, author={Bar, B.}, title={X}}")
    assert (
        bibliography.linked("See Otto (2001).", {"Otto (2001)": "Otto2001"})
        == "See :cite:t:`Otto2001`."
    )
