"""Run the Python blocks of Markdown pages; write or compare the output that follows each.

    python docs/run_blocks.py README.md docs/*.md      rewrites the output blocks of these pages

The blocks of a page run in order in one namespace, in an empty folder. A block of kind `text`
directly after one holds what it prints. Nothing of it is typed by hand; a test compares.
"""

import contextlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<output>.*?)^```\n)?", re.M | re.S
)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
#: Below this, two figures agree: rounding differs from machine to machine.
NOISE = 1e-8


def run(
    text: str, after: Callable[[re.Match[str]], None] | None = None
) -> list[tuple[re.Match[str], str]]:
    """Each Python block of a page with what it prints; `after` is called when one has run."""
    namespace: dict[str, Any] = {"__name__": "__page__"}
    out = []
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for block in BLOCK.finditer(text):
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(block["code"], "block", "exec"), namespace)
            if after is not None:
                after(block)
            out.append((block, printed.getvalue()))
    return out


def rewritten(text: str) -> str:
    """The page with fresh output blocks."""
    for block, printed in reversed(run(text)):
        shown = f"\n```text\n{printed}```\n" if printed else ""
        code = f"```python\n{block['code']}```\n"
        text = text[: block.start()] + code + shown + text[block.end() :]
    return text


def agree(expected: str, printed: str, rtol: float = 2e-3) -> bool:
    """Equal texts, equal figures up to rounding; iteration counts are not compared."""
    skeletons = [NUMBER.sub("#", s).split() for s in (expected, printed)]
    if skeletons[0] != skeletons[1]:
        return False
    counts = re.compile(r"\d+ iterations")
    figures = [map(float, NUMBER.findall(counts.sub("", s))) for s in (expected, printed)]
    for a, b in zip(*figures, strict=True):
        if max(abs(a), abs(b)) > NOISE and abs(a - b) > rtol * max(abs(a), abs(b)):
            return False
    return True


def main(paths: list[str]) -> None:
    """Rewrite pages in place."""
    for path in paths:
        page = Path(path)
        text = page.read_text(encoding="utf-8")
        fresh = rewritten(text)
        if fresh != text:
            page.write_text(fresh, encoding="utf-8")
            print(f"{page}: rewritten")


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    main(sys.argv[1:])
