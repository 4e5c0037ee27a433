"""Sphinx configuration. The build works offline: no intersphinx, nothing is downloaded."""

import sys
import tomllib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import docstrings
import numpydoc.xref
import site_pages

_metadata = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))

project = _metadata["project"]["name"]
author = "jko developers"
copyright = "jko developers"
release = version = _metadata["project"]["version"]


def _write_solvers():
    """The table of what solves what, and the solvers' entries of the API page."""
    from jko import survey
    from jko.solvers.auto import AUTO

    classes = dict.fromkeys(type(solver).__name__ for solver in AUTO)  # one solver, two settings
    entries = [f".. autoclass:: jko.solvers.{name}" for name in classes]
    pages = {
        "solver_table.md": site_pages.solver_table(survey.table()),
        "solvers.rst.txt": "\n".join(entries),
    }
    folder = Path(__file__).parent / "generated"
    folder.mkdir(exist_ok=True)
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text("utf-8") != text + "\n":
            path.write_text(text + "\n", "utf-8")


_write_solvers()

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",  # every object's page links to its source, on the site itself
    "numpydoc",
    "sphinxcontrib.bibtex",
    "sphinx_gallery.gen_gallery",
    "sphinx-mathjax-offline",  # MathJax itself, in the built pages
]
highlight_language = "none"  # Python blocks say so
default_role = "code"  # `x` in docstrings is code
exclude_patterns = [
    "_build",
    "generated/demos",
    "generated/backreferences",
    "**sg_execution_times.rst",
    "generated/*.md",  # included
    "Thumbs.db",
    ".DS_Store",
]

myst_enable_extensions = ["dollarmath", "deflist", "colon_fence", "attrs_inline"]
myst_heading_anchors = 3
myst_dmath_double_inline = True

numpydoc_show_class_members = False  # the API page lists members itself
numpydoc.xref.DEFAULT_LINKS.clear()  # they lead to the pages of Python and NumPy: not offline
numpydoc_xref_param_type = True
numpydoc_xref_ignore = "all"  # but for the names below
numpydoc_xref_aliases = site_pages.links()
autodoc_typehints = "none"  # the docstrings say them, with shapes and units
autodoc_member_order = "bysource"

autosummary_generate = False  # site_pages writes the pages of objects
sys.path.insert(0, str(Path(__file__).parents[1] / "demos"))  # what the demos share
sphinx_gallery_conf = {
    "examples_dirs": ["generated/demos"],
    "gallery_dirs": ["auto_examples"],
    "filename_pattern": r"\.py$",
    "reset_argv": "site_pages.arguments",
    "image_scrapers": ("site_pages.figures",),
    "capture_repr": (),
    "abort_on_example_error": True,
    "doc_module": ("jko",),
    "backreferences_dir": "generated/backreferences",
    "download_all_examples": False,
    "remove_config_comments": True,
    "reset_modules": (),
    "show_signature": False,
}

bibtex_bibfiles = ["references.bib"]

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_title = f"jko {release}"


site_pages.write_objects()
site_pages.write_demos()


def setup(app):
    """Hooks: before numpydoc sees a docstring, and when a page is read."""
    app.connect("autodoc-process-docstring", docstrings.plain, priority=100)
    app.connect("source-read", site_pages.page_figures, priority=50)  # before links shift it
    app.connect("source-read", docstrings.page)
    app.connect("source-read", site_pages.api_page, priority=100)
