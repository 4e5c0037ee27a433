"""Sphinx configuration. The build works offline: no intersphinx, nothing is downloaded."""

import tomllib
from pathlib import Path

_metadata = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))

project = _metadata["project"]["name"]
author = "jko developers"
copyright = "jko developers"
release = version = _metadata["project"]["version"]

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.mathjax",
]
exclude_patterns = ["_build", "Thumbs.db", ".DS_Store"]

myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3
myst_dmath_double_inline = True

numpydoc_show_class_members = False  # the API page lists members itself

html_theme = "furo"
html_title = f"jko {release}"
