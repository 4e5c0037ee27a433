"""Sphinx configuration. The build works offline: no intersphinx, nothing is downloaded."""

import sys
import tomllib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import docstrings

_metadata = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))

project = _metadata["project"]["name"]
author = "jko developers"
copyright = "jko developers"
release = version = _metadata["project"]["version"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "numpydoc",
    "sphinxcontrib.bibtex",
    "sphinx-mathjax-offline",  # MathJax itself, in the built pages
]
highlight_language = "none"  # Python blocks say so
default_role = "code"  # `x` in docstrings is code
exclude_patterns = ["_build", "Thumbs.db", ".DS_Store"]

myst_enable_extensions = ["dollarmath", "deflist", "colon_fence", "attrs_inline"]
myst_heading_anchors = 3
myst_dmath_double_inline = True

numpydoc_show_class_members = False  # the API page lists members itself
autodoc_typehints = "none"  # the docstrings say them, with shapes and units
autodoc_member_order = "bysource"

bibtex_bibfiles = ["references.bib"]

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_title = f"jko {release}"


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
    app.connect("autodoc-process-docstring", docstrings.plain, priority=100)
    app.connect("source-read", docstrings.page)
    app.connect("builder-inited", _write_solvers)
