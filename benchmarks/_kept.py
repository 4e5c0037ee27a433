"""Runs in pieces: results kept line by line in a file, and tables written between marks."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

#: A run is right when its means are this close in standard deviations, and those relatively.
MEAN, STD = 0.1, 0.1


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


def right(line: dict[str, Any]) -> bool:
    """Whether a run ended with the moments it should."""
    return "error" not in line and line["mean"] <= MEAN and line["std"] <= STD


def verdict(line: dict[str, Any]) -> tuple[str, str]:
    """What the verdict of a run was worth, and the verdict."""
    said = "converged" if line["converged"] else "not: " + ", ".join(line["failed"])
    if right(line):
        return "ok" if line["converged"] else "alarm", said
    return "FALSE" if line["converged"] else "-", said


def tally(runs: list[dict[str, Any]]) -> np.ndarray:
    """Runs, right ones, converged ones, false "converged", false alarms."""
    good = np.array([right(r) for r in runs])
    done = np.array([bool(r.get("converged")) for r in runs])
    counts = (good, done, done & ~good, good & ~done)
    return np.array([len(runs), *(int(c.sum()) for c in counts)])


def by_name(lines: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Results of every name, in the order of the first."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        rows.setdefault(line["name"], []).append(line)
    return rows
