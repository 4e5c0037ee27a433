"""The picture of the rooms is true, and no imports run in circles."""

import ast
import re
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import numpy as np
import pytest

import jko

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_every_room_is_in_the_picture():
    rooms = {
        f"{path.parent.relative_to(ROOT).as_posix()}/"
        for path in (ROOT / "jko").rglob("__init__.py")
        if path.parent != ROOT / "jko"
    }
    files = {f"jko/{path.name}" for path in (ROOT / "jko").glob("*.py")} - {"jko/__init__.py"}
    named = set(re.findall(r"\bjko/[\w/]*(?:/|\.py)", PAGE))
    assert sorted((rooms | files) - named) == [], "name these rooms in docs/architecture.md"
    gone = {name for name in named if not (ROOT / name).exists()}
    assert sorted(gone) == [], "docs/architecture.md names rooms that are gone"


def test_the_readme_names_rooms_that_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\bjko/[\w/]*(?:/|\.py)", text))
    assert named
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


# -- import circles ------------------------------------------------------------------------------


#: Public names of two rooms, told apart by the room: `kernels.Gaussian` and `jko.Gaussian`.
TWO_ROOMS = {"Energy", "Gaussian", "Quadratic"}


def classes(package):
    """Class names of a package with the files that define them."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(path.name)
    return found


def test_class_names_are_unique():
    """One name, one thing: who reads of a `Plan` knows which."""
    twice = {name for name, files in classes(ROOT / "jko").items() if len(files) > 1}
    assert twice == TWO_ROOMS


def test_the_search_finds_classes_named_twice(tmp_path):
    (tmp_path / "a.py").write_text("class Run: ...")
    (tmp_path / "b.py").write_text("def f():\n    class Run: ...")
    assert classes(tmp_path) == {"Run": ["a.py", "b.py"]}


#: Words that named an idea before it had its term in the field.
RIDDLES = r"dear|dearer|rash|stern|sterner|afar|astray|bent_paths|vouch(?:es)?|whisper|gossip"


def test_prose_uses_terms_of_the_field():
    for path in [*(ROOT / "jko").rglob("*.py"), *(ROOT / "docs").glob("*.md")]:
        found = re.search(rf"(?i)\b(?:{RIDDLES})\b", path.read_text(encoding="utf-8"))
        assert not found, f"{path}: {found[0]!r}"


def names_of(package):
    """Module name -> path, of every module below a folder."""
    found = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


class Imports(ast.NodeVisitor):
    """Modules that a file imports when it runs, inside functions too; not for type checkers."""

    def __init__(self, name, path, modules):
        self.modules, self.found = modules, set()
        self.package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        self.visit(ast.parse(path.read_text(encoding="utf-8")))
        self.found.discard(name)  # a room that lists its own modules

    def visit_If(self, node):
        if "TYPE_CHECKING" not in ast.unparse(node.test):
            self.generic_visit(node)

    def visit_Import(self, node):
        self.found |= {alias.name for alias in node.names} & set(self.modules)

    def visit_ImportFrom(self, node):
        base = node.module or ""
        if node.level:
            up = self.package.split(".")
            up = up[: len(up) - node.level + 1]
            base = ".".join([*up, *base.split(".")] if base else up)
        for alias in node.names:
            inner = f"{base}.{alias.name}"
            if inner in self.modules:
                self.found.add(inner)
            elif base in self.modules:
                self.found.add(base)


def circle(package):
    """A circle of imports below a folder, or None."""
    modules = names_of(package)
    graph = {name: Imports(name, path, modules).found for name, path in modules.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return None


def test_imports_run_in_no_circle():
    found = circle(ROOT / "jko")
    assert found is None, " imports ".join(reversed(found))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"a": "from . import b", "b": ""}, None),
        ({"a": "from . import b", "b": "def f():\n    from .a import x\n"}, {"p.a", "p.b"}),
        ({"a": "import p.b", "b": "class C:\n    import p.c", "c": "from p import a"}, 3),
        ({"a": "from .b import x", "b": "if TYPE_CHECKING:\n    from .a import y\n"}, None),
    ],
)
def test_the_search_finds_circles(tmp_path, files, expected):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "__init__.py").write_text("")
    for name, text in files.items():
        (tmp_path / "p" / f"{name}.py").write_text(text)
    found = circle(tmp_path / "p")
    if expected is None:
        assert found is None
    else:
        assert len(set(found)) == (expected if isinstance(expected, int) else len(expected))


# -- types -----------------------------------------------------------------------------------------


#: What the checks of `jko.verify` call: tests hand in wrong ones, of any kind.
STEPS = "steps and flows handed in, wrong ones included"
#: Where `Any` may stand, and for what: objects of other packages, whose types may not be installed.
THIRD_PARTY = {
    "jko/__init__.py": "module attributes found by name",
    "jko/adapters/": "arrays, models and functions of other frameworks",
    "jko/cli.py": "what the user's file defines",
    "jko/dro/__init__.py": "module attributes found by name",
    "jko/dro/programs.py": "expressions of CVXPY",
    "jko/dro/spread.py": "expressions of CVXPY",
    "jko/dro/learners.py": "scikit-learn's estimators, data frames as X and y",
    "jko/errors.py": "results of rooms above",
    "jko/flows/archive.py": "nodes of JSON",
    "jko/flows/callbacks.py": "a bar of tqdm",
    "jko/flows/checkpoint.py": "what the file holds",
    "jko/flows/container.py": "nodes of JSON",
    "jko/flows/trajectory.py": "an animation of matplotlib",
    "jko/later.py": "what jko.plot returns",
    "jko/matching.py": "options handed on to jko.flow",
    "jko/measures/log_density.py": "models of other frameworks",
    "jko/measures/taking.py": "nodes of JSON",
    "jko/plot/": "artists and options of matplotlib",
    "jko/sampling/flows.py": "options handed on to jko.flow",
    "jko/sampling/report/": "arviz, pandas and matplotlib",
    "jko/sampling/target/watch.py": "a bar of tqdm",
    "jko/solvers/programs/": "expressions of CVXPY",
    "jko/sweep.py": "rows of the user's function, joblib",
    "jko/threads.py": "pools of threadpoolctl",
    "jko/verify/errata.py": STEPS,
    "jko/verify/hellinger.py": STEPS,
    "jko/verify/inequality.py": STEPS,
    "jko/verify/mmd.py": STEPS,
    "jko/verify/orders.py": STEPS,
    "jko/verify/programs.py": "expressions of CVXPY",
    "jko/verify/scaling.py": STEPS,
}


def parts_of(name):
    """The files that an entry names: one, or those of a room."""
    path = ROOT / name
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def uses_of_any(path):
    """How often a file's annotations say `Any`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return sum(isinstance(node, ast.Name) and node.id == "Any" for node in ast.walk(tree))


def test_any_stands_only_for_objects_of_other_packages():
    found = {}
    for path in sorted((ROOT / "jko").rglob("*.py")):
        name, count = path.relative_to(ROOT).as_posix(), uses_of_any(path)
        if count and not name.startswith(tuple(THIRD_PARTY)):
            found[name] = count
    assert found == {}
    without = [name for name in THIRD_PARTY if not any(map(uses_of_any, parts_of(name)))]
    assert without == [], "these need no exception any more"


def test_the_count_sees_annotations(tmp_path):
    path = tmp_path / "a.py"
    path.write_text("from typing import Any\ndef f(x: Any, y: list[Any]) -> int: ...\n# Any\n")
    assert uses_of_any(path) == 2


# -- sizes -----------------------------------------------------------------------------------------

MOST_LINES, MOST_BODY, MOST_ARGUMENTS = 300, 40, 10

#: What is larger, and why.
LARGER = {
    "flow": "a front verb: every argument is documented, all but the first three by keyword",
    "split_step": "a front verb",
    "step": "a front verb",
    "sample": "a front verb",
    "fit": "a front verb",
    "worst_case": "a front verb",
    "kernel_worst_case": "a front verb",
    "minimise": "a front verb",
}


def too_large(package):
    """Files, bodies of functions and lists of arguments beyond the limits."""
    found = []
    for path in sorted(package.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > MOST_LINES:
            found.append(path.relative_to(package).as_posix())
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) is not None else node.body
                lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
                names = [a.arg for a in (*node.args.posonlyargs, *node.args.args)]
                count = len(names) + len(node.args.kwonlyargs) - (names[:1] in (["self"], ["cls"]))
                if lines > MOST_BODY or count > MOST_ARGUMENTS:
                    found.append(node.name)
    return found


def test_files_bodies_and_arguments_stay_small():
    found = too_large(ROOT / "jko")
    assert sorted(set(found) - set(LARGER)) == []


def test_the_search_finds_what_is_too_large(tmp_path):
    body = "\n".join("    x = 1" for _ in range(MOST_BODY + 1))
    names = ", ".join(f"a{k}" for k in range(MOST_ARGUMENTS + 1))
    (tmp_path / "a.py").write_text(
        f'def long():\n    "Text."\n{body}\n\n\ndef wide({names}): ...\n'
    )
    (tmp_path / "b.py").write_text("\n" * (MOST_LINES + 1))
    assert too_large(tmp_path) == ["long", "wide", "b.py"]


# -- constants -------------------------------------------------------------------------------------

#: Constants of numbers in the package, at most: derive one from another before there are more.
CONSTANTS = 650
NOT_PLAIN = (ast.Call, ast.Dict, ast.Lambda, ast.Name, ast.Attribute)


def constants(path):
    """Names of a module's constants of numbers, and the faults of how they are written."""
    text = path.read_text(encoding="utf-8")
    lines, names, faults = text.splitlines(), [], []
    for node in ast.parse(text).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        upper = [e.id for e in ast.walk(target or node) if isinstance(e, ast.Name)]
        if target is None or not all(name.strip("_").isupper() for name in upper):
            continue
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            faults.append(f"{path.name}:{node.lineno} sets several constants in one line")
        parts = [n for n in ast.walk(node.value) if isinstance(n, ast.Constant)]
        numbers = parts and all(type(n.value) in (int, float) for n in parts)
        if not numbers or any(isinstance(n, NOT_PLAIN) for n in ast.walk(node.value)):
            continue
        names += upper
        above = node.lineno - 2  # up to the comment that a group of constants has in common
        while above >= 0 and re.match(r"\w+ = ", lines[above]):
            above -= 1
        if not (lines[above].startswith("#") or "  # " in lines[node.lineno - 1]):
            faults.append(f"{path.name}:{node.lineno} does not say what {upper[0]} bounds")
    return names, faults


def test_constants_say_what_they_bound_one_a_line():
    found = [constants(path) for path in sorted((ROOT / "jko").rglob("*.py"))]
    assert [fault for _, faults in found for fault in faults] == []
    assert sum(len(names) for names, _ in found) <= CONSTANTS


def test_the_search_finds_bare_constants(tmp_path):
    path = tmp_path / "a.py"
    path.write_text("#: What it bounds.\nA = 1.0\nB = 2\n\nC = 3.0\nD, E = 1, 2\nF = 'text'\n")
    names, faults = constants(path)
    assert names == ["A", "B", "C", "D", "E"]
    assert len(faults) == 3


# -- the way of one step --------------------------------------------------------------------------

#: Files that run in one step in Wasserstein on 32^2 cells, from the front verb to the certificate
#: and the bound of the bias. Merge what belongs together before one of them grows.
VISITED = {"KL": 45, "PorousMedium": 39}


def files_run(function):
    """Files of the package whose functions run in a call."""
    root, found = str(ROOT / "jko"), set()

    def look(frame, event, _):
        if event == "call" and frame.f_code.co_filename.startswith(root):
            found.add(frame.f_code.co_filename)

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        function()
    finally:
        sys.setprofile(before)
    return {Path(name).relative_to(ROOT).as_posix() for name in found}


@pytest.mark.parametrize("name", VISITED)
def test_the_way_of_one_step_stays_short(name):
    grid = jko.Grid(lower=[-4, -4], upper=[4, 4], shape=[32, 32])
    bump = lambda at: jko.GridDensity.from_function(
        lambda x: np.exp(-((x - at) ** 2).sum(axis=-1)), grid
    )
    mu = bump(0.5)
    energy = jko.KL(bump(-0.3)) if name == "KL" else jko.PorousMedium(m=2)
    take = lambda: jko.step(mu, energy, jko.Wasserstein(), 0.1)
    take()  # what is imported when it is needed runs once
    visited = files_run(take)
    assert len(visited) <= VISITED[name], "\n".join(sorted(visited))
    assert {"jko/solvers/step.py", "jko/prox/judge.py"} <= visited
