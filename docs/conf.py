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
    """Escape bars, stars and trailing underscores outside code, doctests and math blocks."""
    inside = None  # indentation of a directive or literal block
    for i, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if inside is not None and line.strip() and indent <= inside:
            inside = None
        if inside is None and (line.rstrip().endswith("::") or line.lstrip().startswith(".. ")):
            inside = indent
        elif inside is None and not line.lstrip().startswith((">>>", "...")):
            lines[i] = "".join(
                part if part.startswith("`") else re.sub(r"([|*]|(?<=\w)_(?!\w))", r"\\\1", part)
                for part in _CODE.split(line)
            )


def _write_solvers(app):
    """The table of `jko list` for the page on solvers."""
    from jko import survey

    folder = Path(app.srcdir) / "generated"
    folder.mkdir(exist_ok=True)
    text = survey.matrix(survey.table()) + "\n"
    path = folder / "solvers.txt"
    if not path.exists() or path.read_text("utf-8") != text:
        path.write_text(text, "utf-8")


def setup(app):
    """Hooks: before numpydoc sees a docstring, and before anything is read."""
    app.connect("autodoc-process-docstring", _plain, priority=100)
    app.connect("builder-inited", _write_solvers)
