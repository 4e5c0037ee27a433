"""Docstrings are plain text: what to escape and what to link before Sphinx reads them.

|x|, c*G and f_ mean themselves, not reStructuredText; "formula W1" and "Otto (2001)" become links
to the page of formulas and to the bibliography.
"""

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from bibliography import entries, linked

_CODE = re.compile(r"(`[^`]*`_?)")
_LABEL = r"(?:[A-Z]\d[a-z]?\b|mass\b)"
_CITED = re.compile(rf"([Ff]ormulas?\s+)({_LABEL}(?:(?:,| and| to)\s+{_LABEL})*)")
_KEYS = entries()


def anchors() -> set[str]:
    """Labels with an anchor on the page of formulas."""
    page = Path(__file__).with_name("formulas.md").read_text("utf-8")
    return set(re.findall(r"\{#formula-(\w+)\}", page))


_ANCHORS = anchors()


def formulas(text: str, link: str) -> str:
    """Labels after "formula" as links; `link` is a format of {label} and {anchor}."""

    def one(label: re.Match[str]) -> str:
        anchor = label[0].lower()
        if anchor not in _ANCHORS:  # a family, as in "formula H2": its first member
            anchor = next((a for a in sorted(_ANCHORS) if a.startswith(anchor)), anchor)
        return link.format(label=label[0], anchor=f"formula-{anchor}")

    return _CITED.sub(lambda m: m[1] + re.sub(_LABEL, one, m[2]), text)


def plain(app: Any, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    """Escape and link what stands outside code, doctests and displays."""
    out: list[str] = []
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
            line = linked(formulas(line, ":ref:`{label} <{anchor}>`"), _KEYS)
            line = "".join(map(_escaped, _CODE.split(line)))
        out.append(line)
        above = indent if text and display is None else above
    lines[:] = out


def page(app: Any, name: str, source: list[str]) -> None:
    """The same links on Markdown pages, outside code."""
    if name == "formulas" or not str(app.env.doc2path(name)).endswith(".md"):
        return
    parts = re.split(r"(^```.*?^```$|`[^`\n]*`)", source[0], flags=re.M | re.S)
    for i in range(0, len(parts), 2):
        text = formulas(parts[i], "[{label}](#{anchor})")
        parts[i] = re.sub(r":cite:t:`(\w+)`", r"{cite:t}`\1`", linked(text, _KEYS))
    source[0] = "".join(parts)


def _escaped(part: str) -> str:
    if part.startswith("`"):
        return re.sub(r"^`(jko(?:\.\w+)+)`$", r":py:obj:`\1`", part)
    return re.sub(r"([|*]|(?<=\w)_(?!\w))", r"\\\1", part)
