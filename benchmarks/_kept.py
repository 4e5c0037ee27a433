"""Runs in pieces: results kept line by line in a file, and tables written between marks."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any


def arguments(parser: argparse.ArgumentParser) -> None:
    """--only, --keep and --page."""
    parser.add_argument("--only", nargs="+", default=[""], help="parts of names")
    parser.add_argument("--keep", type=Path, help="a file of results, one a line")
    parser.add_argument("--page", type=Path, help="write the table of what is kept to this page")


class Kept:
    """Results, each a dictionary; with a path the file of them, which a later run goes on with."""

    def __init__(self, path: Path | None) -> None:
        self.path, self.lines = path, []
        if path and path.exists():
            self.lines = [json.loads(line) for line in path.read_text().splitlines()]

    def find(self, **known: Any) -> dict[str, Any] | None:
        """The first result with these entries."""
        return next((k for k in self.lines if known.items() <= k.items()), None)

    def add(self, line: dict[str, Any]) -> None:
        """Keep a result."""
        self.lines.append(line)
        if self.path:
            with self.path.open("a") as file:
                file.write(json.dumps(line) + "\n")


def write_table(page: Path, mark: str, text: str) -> None:
    """Put a table between <!-- mark --> and <!-- end of mark --> of a page."""
    marks = rf"(<!-- {mark} -->\n).*(<!-- end of {mark} -->)"
    whole = page.read_text(encoding="utf-8")
    whole, count = re.subn(marks, lambda m: m[1] + text + "\n" + m[2], whole, flags=re.S)
    if count != 1:
        raise SystemExit(f"{page} has no marks for the table")
    page.write_text(whole, encoding="utf-8")
