"""What the site makes from the sources: a page for every public object, a gallery of the demos."""

import ast
import hashlib
import inspect
import pydoc
import re
import shutil
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import docstrings
import object_examples
import run_blocks

HERE = Path(__file__).parent
OBJECTS = HERE / "generated" / "objects"
DEMOS = HERE / "generated" / "demos"
PAGES = HERE / "generated" / "pages"
FIGURES = Path(tempfile.mkdtemp(prefix="jko-gallery-"))

#: Sizes at which a demo takes seconds; the others run as they are.
SMALL = {
    "aggregation": ["--particles", "150", "--steps", "80"],
    "beside_nuts": ["--particles", "400", "--draws", "300"],
    "digits": ["--train", "200", "--particles", "50", "--steps", "50"],
    "fokker_planck": ["--cells", "120", "--steps", "40"],
    "heat_image": ["--shrink", "4"],
    "logistic_regression": ["--particles", "400", "--moves", "40"],
    "logistic_vi": ["--chain", "1500"],
    "multimodal": ["--particles", "400"],
    "robust_least_squares": ["--seeds", "2"],
    "talk_grid": ["--cells", "10", "--steps", "10"],
    "wfr": ["--cells", "120", "--steps", "20"],
}

_ENTRY = r"^\.\. auto(?:class|function):: [\w.]+\n(?:   .*\n)*"
_DIRECTIVE = re.compile(
    r"^\.\. auto(?P<kind>class|function):: (?P<name>[\w.]+)\n(?P<rest>(?:   .*\n)*)", re.M
)
_SENTENCE = re.compile(r"(.+?[.:])(?:\s+(?=[A-Z`(])|\s*$)")


def objects() -> dict[str, re.Match[str]]:
    """The entries of the API page by their full names: what has a page of its own."""
    text = _expanded((HERE / "api.md").read_text("utf-8"))
    return {_full(entry["name"]): entry for entry in _DIRECTIVE.finditer(text)}


def write_objects() -> None:
    """A page for each entry of the API page: formula, members, executed example, demos."""
    OBJECTS.mkdir(parents=True, exist_ok=True)
    found, kept = object_examples.examples(), set()
    ran: dict[object_examples.Example, str] = {}  # some stand on several pages
    for name, entry in objects().items():
        example = found.get(name)
        if example is not None and example not in ran:
            ran[example] = _example(example)
        short = name.removeprefix("jko.")
        text = (
            f"{short}\n{'=' * len(short)}\n\n{_formula(example)}"
            f".. auto{entry['kind']}:: {name}\n{entry['rest']}\n{ran.get(example, '')}"
            f".. minigallery:: {name}\n   :add-heading: In the gallery\n"
        )
        path = OBJECTS / f"{name}.rst"
        kept.add(path)
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
    for old in set(OBJECTS.glob("*.rst")) - kept:
        old.unlink()


def _formula(example: object_examples.Example | None) -> str:
    """The display formula at the head of a page."""
    if example is None or not example.formula:
        return ""
    return ".. math::\n\n" + textwrap.indent(example.formula, "   ") + "\n\n"


def _example(example: object_examples.Example) -> str:
    """Code and what it prints and draws at this build."""
    printed, drawn = example.run(OBJECTS)
    code = textwrap.indent(example.code, "   ")
    text = f"Example\n-------\n\n.. code-block:: python\n\n{code}\n"
    if printed:
        text += f".. code-block:: text\n\n{textwrap.indent(printed, '   ')}\n"
    for path in drawn:
        text += f".. image:: {path.name}\n   :alt: What the example draws\n\n"
    return text


def links() -> dict[str, str]:
    """What the types of parameters link to: the short names of objects that have pages."""
    short: dict[str, str] = {}
    for name in sorted(objects(), key=lambda n: n.count("."), reverse=True):
        if name.rpartition(".")[2][:1].isupper():
            short[name.rpartition(".")[2]] = name  # jko.Gaussian wins over jko.kernels.Gaussian
    return short


def api_page(app: Any, name: str, source: list[str]) -> None:
    """The API page as tables of links to the pages of its entries."""
    if name != "api":
        return
    text = re.sub(r"^\.\. currentmodule:: .*\n", "", _expanded(source[0]), flags=re.M)
    pages = []

    def table(run: re.Match[str]) -> str:
        names = [_full(entry["name"]) for entry in _DIRECTIVE.finditer(run[0])]
        pages.extend(names)
        rows = "".join(f"   * - :py:obj:`{n}`\n     - {_summary(n)}\n" for n in names)
        return f"\n.. list-table::\n   :widths: 32 68\n   :width: 100%\n\n{rows}\n"

    text = re.sub(rf"(?:{_ENTRY})+", table, text, flags=re.M)
    listed = "".join(f"generated/objects/{n}\n" for n in pages)
    source[0] = f"{text}\n```{{toctree}}\n:hidden:\n:maxdepth: 1\n\n{listed}```\n"


def found(name: str) -> Any:
    """The object of a full name."""
    return pydoc.locate(name)


def _summary(name: str) -> str:
    """The first sentence of a docstring, escaped and linked."""
    first = (inspect.getdoc(found(name)) or "").split("\n\n")[0]
    line = " ".join(first.split())
    sentence = _SENTENCE.match(line)
    lines = [sentence[1] if sentence else line]
    docstrings.plain(None, "", "", None, None, lines)
    return lines[0]


def page_figures(app: Any, name: str, source: list[str]) -> None:
    """What the blocks of a page draw, below them: pages whose blocks end in a plot are run."""
    if not re.search(r"^\w+\.plot\(\)$", source[0], re.M) or "/" in name:
        return
    import matplotlib.pyplot as plt

    mark = hashlib.md5(source[0].encode()).hexdigest()[:8]
    PAGES.mkdir(parents=True, exist_ok=True)
    listed = PAGES / f"{name}-{mark}.txt"
    drawn: list[str] = []

    def keep(block: re.Match[str]) -> None:
        for number in plt.get_fignums():
            picture = PAGES / f"{name}-{mark}-{len(drawn)}.png"
            plt.figure(number).savefig(picture, dpi=100)
            drawn.append(f"{block.end()} {picture.name}")
        plt.close("all")

    if not listed.exists():
        for old in PAGES.glob(f"{name}-*"):
            old.unlink()
        run_blocks.run(source[0], keep)
        listed.write_text("\n".join(drawn), "utf-8")
    text = source[0]
    for line in reversed(listed.read_text("utf-8").splitlines()):
        end, file = int(line.split()[0]), line.split()[1]
        image = f"\n```{{image}} generated/pages/{file}\n:alt: What the lines above draw\n```\n"
        text = text[:end] + image + text[end:]
    source[0] = text


def solver_table(rows: list[Any]) -> str:
    """What solves what, for each kind of measure: geometries and energies with their solvers."""
    lines = []
    for measure in dict.fromkeys(row.measure for row in rows):
        lines += [f"### On a {_role(measure)}", ""]
        lines += ["| Geometry | Energy | Solvers |", "| --- | --- | --- |"]
        chains: dict[tuple[str, tuple[str, ...]], list[str]] = {}
        for row in rows:
            if row.measure == measure and row.solvers:
                chains.setdefault((row.geometry, tuple(row.solvers)), []).append(row.energy)
        last = ""
        for (geometry, chain), energies in chains.items():
            shown = "" if geometry == last else _role(geometry)
            cells = (shown, ", ".join(map(_role, energies)), ", ".join(map(_solver, chain)))
            lines.append(f"| {' | '.join(cells)} |")
            last = geometry
        lines.append("")
    return "\n".join(lines)


def _role(name: str) -> str:
    """A name of the survey with a link, its particulars in brackets beside it."""
    parts = []
    for part in name.split(" + "):
        short, bracket, rest = part.partition("(")
        parts.append(f"{{py:obj}}`{short} <jko.{short}>`" + (f" ({rest}" if bracket else ""))
    return " + ".join(parts)


def _solver(name: str) -> str:
    short, bracket, rest = name.partition("(")
    named = f"{{py:obj}}`{short} <jko.solvers.{short}>`"
    return named + (f" ({rest.lower()}" if bracket and short != "Conic" else "")


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
