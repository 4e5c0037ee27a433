"""Sphinx configuration. The build works offline: no intersphinx, nothing is downloaded."""

import re
import tomllib
from pathlib import Path

_metadata = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))

project = _metadata["project"]["name"]
author = "jko developers"
copyright = "jko developers"
release = version = _metadata["project"]["version"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "numpydoc",
    "sphinx-mathjax-offline",  # MathJax itself, in the built pages
]
highlight_language = "none"  # Python blocks say so
default_role = "code"  # `x` in docstrings is code
exclude_patterns = ["_build", "Thumbs.db", ".DS_Store"]

myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3
myst_dmath_double_inline = True

numpydoc_show_class_members = False  # the API page lists members itself
autodoc_typehints = "none"  # the docstrings say them, with shapes and units
autodoc_member_order = "bysource"

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_title = f"jko {release}"


# -- docstrings are plain text: |x|, c*G and f_ mean themselves, not reStructuredText --

_CODE = re.compile(r"(`[^`]*`_?)")


def _plain(app, what, name, obj, options, lines):
    """Escape bars, stars and trailing underscores outside code, doctests and displays."""
    out = []
    display = None  # indentation of the text around an indented block
    above = 0
    for line in lines:
        text = line.lstrip()
        indent = len(line) - len(text)
        if display is not None and text and indent <= display:
            display = None
        if display is None and text and out and not out[-1].strip() and indent > above:
            display = above  # an indented formula after an empty line: keep its lines
            if not any(o.rstrip().endswith("::") for o in out[-2:]):
                out += [" " * above + "::", ""]
        if display is None and text.startswith(".. "):
            display = indent
        elif display is None and not text.startswith((">>>", "...")):
            line = "".join(map(_escaped, _CODE.split(line)))
        out.append(line)
        above = indent if text and display is None else above
    lines[:] = out


def _escaped(part):
    if part.startswith("`"):
        return part
    return re.sub(r"([|*]|(?<=\w)_(?!\w))", r"\\\1", part)


def _write_solvers(app):
    """The table of `jko list` and the solvers' entries of the API page."""
    from jko import survey
    from jko.solvers.auto import AUTO

    classes = dict.fromkeys(type(solver).__name__ for solver in AUTO)  # one solver, two settings
    entries = [f".. autoclass:: jko.solvers.{name}" for name in classes]
    pages = {
        "solvers.txt": survey.matrix(survey.table()),
        "solvers.rst.txt": "\n".join(entries),
    }
    folder = Path(app.srcdir) / "generated"
    folder.mkdir(exist_ok=True)
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text("utf-8") != text + "\n":
            path.write_text(text + "\n", "utf-8")


def setup(app):
    """Hooks: before numpydoc sees a docstring, and before anything is read."""
    app.connect("autodoc-process-docstring", _plain, priority=100)
    app.connect("builder-inited", _write_solvers)
