"""What the site makes from the sources: a page for every public object, a gallery of the demos."""

import ast
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import docstrings

HERE = Path(__file__).parent
OBJECTS = HERE / "generated" / "objects"
DEMOS = HERE / "generated" / "demos"
FIGURES = Path(tempfile.mkdtemp(prefix="jko-gallery-"))

#: Sizes at which a demo takes seconds; the others run as they are.
SMALL = {
    "aggregation": ["--particles", "150", "--steps", "80"],
    "digits": ["--train", "200", "--particles", "50", "--steps", "50"],
    "fokker_planck": ["--cells", "120", "--steps", "40"],
    "heat_image": ["--shrink", "4"],
    "logistic_regression": ["--particles", "400", "--moves", "40"],
    "logistic_vi": ["--chain", "1500"],
    "multimodal": ["--particles", "400"],
    "robust_least_squares": ["--seeds", "2"],
    "talk_grid": ["--cells", "8", "--steps", "10"],
    "wfr": ["--cells", "120", "--steps", "20"],
}

_ENTRY = r"^\.\. auto(?:class|function):: [\w.]+\n(?:   .*\n)*"
_DIRECTIVE = re.compile(
    r"^\.\. auto(?P<kind>class|function):: (?P<name>[\w.]+)\n(?P<rest>(?:   .*\n)*)", re.M
)


def write_objects() -> None:
    """A page for each entry of the API page, with its members and the demos that use it."""
    OBJECTS.mkdir(parents=True, exist_ok=True)
    kept = set()
    for entry in _DIRECTIVE.finditer(_expanded((HERE / "api.md").read_text("utf-8"))):
        name = _full(entry["name"])
        short = name.removeprefix("jko.")
        text = (
            f"{short}\n{'=' * len(short)}\n\n.. auto{entry['kind']}:: {name}\n{entry['rest']}\n"
            f".. minigallery:: {name}\n   :add-heading: In the gallery\n"
        )
        path = OBJECTS / f"{name}.rst"
        kept.add(path)
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
    for old in set(OBJECTS.glob("*.rst")) - kept:
        old.unlink()


def api_page(app: Any, name: str, source: list[str]) -> None:
    """The API page as tables of links to the pages of its entries."""
    if name != "api":
        return
    text = re.sub(r"^\.\. currentmodule:: .*\n", "", _expanded(source[0]), flags=re.M)
    pages = []

    def table(run: re.Match[str]) -> str:
        names = [_full(entry["name"]) for entry in _DIRECTIVE.finditer(run[0])]
        pages.extend(names)
        rows = "".join(f"   {n}\n" for n in names)
        return f"\n.. currentmodule:: None\n\n.. autosummary::\n   :nosignatures:\n\n{rows}\n"

    text = re.sub(rf"(?:{_ENTRY})+", table, text, flags=re.M)
    listed = "".join(f"generated/objects/{n}\n" for n in pages)
    source[0] = f"{text}\n```{{toctree}}\n:hidden:\n:maxdepth: 1\n\n{listed}```\n"


def write_demos() -> None:
    """The demos with a title that the gallery can show."""
    shutil.rmtree(DEMOS, ignore_errors=True)
    DEMOS.mkdir(parents=True)
    (DEMOS / "README.rst").write_text(
        "Gallery\n=======\n\nThe demos, with their code, figures and seconds on one core. Long ones"
        " run at reduced sizes here;\n``jko demo NAME`` runs them in full.\n",
        "utf-8",
    )
    for path in sorted((HERE.parent / "demos").glob("[a-z]*.py")):
        code = path.read_text("utf-8")
        tree = ast.parse(code)
        first, _, rest = (ast.get_docstring(tree) or path.stem).partition("\n")
        title, _, more = first.rstrip(".").partition(": ")
        lines = [*([f"{more[:1].upper()}{more[1:]}."] if more else []), *rest.splitlines()]
        docstrings.plain(None, "", "", None, None, lines)
        body = "\n".join(code.splitlines()[tree.body[0].end_lineno :])
        body = body.replace("    script(main)", "    main()")
        head = "\n".join([title, "=" * len(title), "", *lines])
        (DEMOS / path.name).write_text(f'r"""\n{head}\n"""\n{body}\n', "utf-8")


def arguments(gallery: Any, script: Any) -> list[str]:
    """The command line of a demo in the gallery."""
    stem = Path(script["src_file"]).stem
    return ["--out", str(FIGURES / stem), *SMALL.get(stem, [])]


def figures(block: Any, block_vars: Any, gallery: Any, **unused: Any) -> str:
    """The pictures that a demo wrote."""
    from sphinx_gallery.scrapers import figure_rst

    written = sorted((FIGURES / Path(block_vars["src_file"]).stem).glob("*.png"))
    names = []
    for path, target in zip(written, block_vars["image_path_iterator"], strict=False):
        shutil.move(path, target)
        names.append(target)
    return figure_rst(names, gallery["src_dir"]) if names else ""


def _full(name: str) -> str:
    return name if name.startswith("jko.") else f"jko.{name}"


def _expanded(text: str) -> str:
    solvers = HERE / "generated" / "solvers.rst.txt"
    return text.replace(".. include:: generated/solvers.rst.txt\n", solvers.read_text("utf-8"))
