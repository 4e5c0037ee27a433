"""A checked identity and a report of several: what `verify` returns and the shell prints."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from math import isfinite

from jko.errors import JkoError
from jko.html import table


class IdentityFailed(JkoError, AssertionError):
    """An identity of a report does not hold."""


@dataclass(frozen=True)
class Identity:
    """One statement of the theory, executed.

    Attributes
    ----------
    name : str
    statement : str
        What should hold, in one line.
    lhs, rhs : float
        The two sides, or the figure and the bound it is held against.
    residual : float
        Size of the violation, computed by the check (not always lhs - rhs).
    tolerance : float
    """

    name: str
    statement: str
    lhs: float
    rhs: float
    residual: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the residual is within the tolerance (NaN never is)."""
        return bool(self.residual <= self.tolerance)

    def as_dict(self) -> dict[str, object]:
        """All figures, for JSON."""
        return {**asdict(self), "holds": self.holds}

    def __str__(self) -> str:
        mark = "holds" if self.holds else "FAILS"
        return (
            f"{mark}  {self.name}: {self.statement}"
            f" (residual {self.residual:.2e}, tolerance {self.tolerance:.2g})"
        )


@dataclass(frozen=True)
class Report:
    """A sequence of identities; print it, or let it raise."""

    identities: tuple[Identity, ...]

    def __iter__(self) -> Iterator[Identity]:
        return iter(self.identities)

    def __len__(self) -> int:
        return len(self.identities)

    @property
    def holds(self) -> bool:
        """Whether every identity holds."""
        return all(i.holds for i in self.identities)

    @property
    def failed(self) -> tuple[Identity, ...]:
        """Those that do not."""
        return tuple(i for i in self.identities if not i.holds)

    def raise_if_failed(self) -> None:
        """Raise `IdentityFailed` naming every identity that does not hold."""
        if self.failed:
            raise IdentityFailed("; ".join(str(i) for i in self.failed))

    def to_json(self) -> str:
        """The figures as a JSON array; figures that are not finite become null."""
        return json.dumps([_plain(i.as_dict()) for i in self.identities], indent=2)

    def _repr_html_(self) -> str:
        head = ("", "name", "residual", "tolerance", "statement")
        rows = [
            ("holds" if i.holds else "FAILS", i.name, i.residual, i.tolerance, i.statement)
            for i in self.identities
        ]
        return table(head, rows, f"{len(self) - len(self.failed)} of {len(self)} identities hold")

    def __str__(self) -> str:
        width = max([len(i.name) for i in self.identities] + [4])
        head = f"{'name':<{width}}  {'residual':>9}  {'tolerance':>9}  {'':5}  statement"
        rows = [
            f"{i.name:<{width}}  {i.residual:9.2e}  {i.tolerance:9.2g}"
            f"  {'holds' if i.holds else 'FAILS'}  {i.statement}"
            for i in self.identities
        ]
        verdict = (
            f"all {len(self)} identities hold"
            if self.holds
            else f"{len(self.failed)} of {len(self)} identities FAIL"
        )
        return "\n".join([head, *rows, verdict])


def _plain(figures: dict[str, object]) -> dict[str, object]:
    """JSON has no NaN and no infinity."""
    return {
        name: None if isinstance(value, float) and not isfinite(value) else value
        for name, value in figures.items()
    }


def bound(name: str, statement: str, figure: float, tolerance: float = 0.0) -> Identity:
    """The statement that a figure stays within a tolerance; a negative figure is no violation."""
    residual = 0.0 if figure < 0 else float(figure)
    return Identity(name, statement, float(figure), tolerance, residual, tolerance)


def max_of(values: Iterable[float]) -> float:
    """The largest value, 0 of none; NaN wins, so that no comparison overlooks it."""
    listed = list(values)
    if any(v != v for v in listed):
        return float("nan")
    return float(max(listed, default=0.0))
