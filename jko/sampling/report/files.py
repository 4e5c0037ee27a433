"""Files of samples: one .npz, read without executing anything."""

from __future__ import annotations

from dataclasses import asdict
from os import PathLike
from typing import TYPE_CHECKING

from jko.flows.archive import read, storable, write
from jko.flows.container import Tree
from jko.measures.atoms import Particles
from jko.sampling.verdict.evidence import Evidence
from jko.validation import Array

if TYPE_CHECKING:
    from jko.sampling.report.result import SampleResult

KIND = "sample"
#: The fields of a `SampleResult` that a file holds.
Arguments = tuple[
    Particles, str, bool, tuple[str, ...], dict[str, object], Array | None, tuple[str, ...]
]


def save(out: SampleResult, path: str | PathLike[str]) -> None:
    """Write a result with its evidence and figures."""
    figures = {k: v for k, v in out.diagnostics.items() if k not in out.evidence}
    tree: Tree = {
        "measure": out.measure,
        "method": out.method,
        "converged": out.converged,
        "warnings": list(out.warnings),
        "evidence": {k: asdict(e) for k, e in out.evidence.items()},
        "figures": {k: v for k, v in figures.items() if storable(v)},
        "draws": out.draws,
        "names": list(out.names),
    }
    write(path, KIND, tree)


def load(path: str | PathLike[str]) -> Arguments:
    """Read what `save` has written: the arguments of a `SampleResult`.

    Raises
    ------
    InvalidArgument
        The file is missing, damaged, or holds something else.
    """
    found: Arguments = read(path, {KIND: _build})
    return found


def _build(tree: Tree) -> Arguments:
    evidence = {k: Evidence(**e) for k, e in tree["evidence"].items()}
    return (
        tree["measure"],
        tree["method"],
        tree["converged"],
        tuple(tree["warnings"]),
        {**tree["figures"], **evidence},
        tree["draws"],
        tuple(tree.get("names") or ()),
    )
