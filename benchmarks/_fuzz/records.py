"""What became of each problem: one line of JSON as soon as it is known, and tables of them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

#: What a step may come to. Unbounded and infeasible problems have no answer, and the empty measure
#: is none: they count apart.
OUTCOMES = ("certified", "unbounded", "infeasible", "empty", "unsupported", "uncertified", "raised")
#: Kinds of faults; of these only "uncertified" is no violation.
KINDS = ("above", "below", "verdict", "refused", "objective", "measure", "raised", "uncertified")


@dataclass
class Record:
    """One problem: where it is from, what became of it, how long it took, what is wrong."""

    seed: int
    number: int
    label: str = ""
    name: str = ""
    outcome: str = "raised"
    solver: str = ""
    seconds: float = 0.0
    slowest: float = 0.0
    rivals: list = field(default_factory=list)
    verified: bool = False
    closest: float = 0.0  # excess over the best rival, in units of what is allowed
    units: int = 0
    faults: list = field(default_factory=list)  # of [kind, text]

    def fault(self, kind, text):
        """Note what is wrong."""
        self.faults.append([kind, " ".join(str(text).split())[:400]])

    def lines(self):
        """The faults, each in one line."""
        where = f"seed {self.seed} no. {self.number} {self.label}, {self.name}"
        return [f"{kind}: {where}: {text}" for kind, text in self.faults]

    @property
    def violated(self):
        return any(kind != "uncertified" for kind, _ in self.faults)


class Log:
    """A file of records; problems that it holds are not solved again, unless they failed."""

    def __init__(self, path=None, again=False):
        self.path = None if path is None else Path(path)
        self.records = load([self.path]) if self.path is not None and self.path.exists() else []
        if again:
            self.records = [r for r in self.records if not r.faults]
        self.known = {(r.seed, r.number) for r in self.records}

    def add(self, record):
        self.records.append(record)
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps(asdict(record)) + "\n")


def load(paths):
    """The records of some files; a last line that was cut off is left out."""
    found = {}
    for path in paths:
        for text in Path(path).read_text().splitlines():
            try:
                record = Record(**json.loads(text))
            except json.JSONDecodeError:
                continue
            found[record.seed, record.number] = record
    return list(found.values())


def table(records):
    """A row for each geometry: outcomes, share without a certificate, violations, rivals, time."""
    shown = ("problems", *OUTCOMES, "uncert. %", "violations", "rivals", "verified", "units",
             "seconds", "slowest")  # fmt: skip
    rows = [f"{'geometry':24s}" + "".join(f"{name:>11s}" for name in shown)]
    labels = sorted({r.label for r in records})
    for label in [*labels, "all"]:
        some = [r for r in records if label in (r.label, "all")]
        count = {o: sum(r.outcome == o for r in some) for o in OUTCOMES}
        asked = count["certified"] + count["uncertified"] + count["raised"]
        missed = sum(any(kind == "uncertified" for kind, _ in r.faults) for r in some)
        row = [f"{len(some):11d}", *(f"{count[o]:11d}" for o in OUTCOMES)]
        row.append(f"{100 * missed / max(asked, 1):11.2f}")
        row.append(f"{sum(r.violated for r in some):11d}")
        row.append(f"{sum(bool(r.rivals) for r in some):11d}")
        row.append(f"{sum(r.verified for r in some):11d}")
        row.append(f"{sum(r.units for r in some):11d}")
        row.append(f"{sum(r.seconds for r in some):11.1f}")
        row.append(f"{max((r.slowest for r in some), default=0.0):11.2f}")
        rows.append(f"{label:24s}" + "".join(row))
    return "\n".join(rows)


def report(records, most=60):
    """The table, then the faults, then the slowest problems."""
    faults = [line for r in records for line in r.lines()]
    slow = sorted(records, key=lambda r: -r.slowest)[:5]
    times = [f"slow: seed {r.seed} no. {r.number} {r.label}, {r.name}: {r.slowest:.1f} s"
             for r in slow if r.slowest > 2]  # fmt: skip
    return "\n".join([table(records), *faults[:most], *times])
