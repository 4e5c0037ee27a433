"""Sweeps: a function over a grid of parameters, in parallel, as a table that survives a crash."""

from __future__ import annotations

import inspect
import itertools
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jko.errors import InvalidArgument, InvalidType, JkoError
from jko.flows.container import InvalidFile
from jko.flows.splitting import SplitResult
from jko.flows.trajectory import Trajectory
from jko.later import package
from jko.prox.result import StepResult
from jko.validation import brief, entries, shown, switch

if TYPE_CHECKING:
    import pandas as pd

#: First words of a file of rows.
MARK = "jko sweep"
#: Rows sent out at once to a backend that cannot hand results back one by one, per worker.
BATCH = 1
#: More workers than any machine starts.
MOST_JOBS = 10_000

Row = dict[str, object]


def sweep(
    f: Callable[..., object],
    grid: Mapping[str, Iterable[object]] | Sequence[Mapping[str, object]],
    *,
    n_jobs: int | None = None,
    path: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Call a function at every point of a grid of parameters; one tidy row each.

    Parameters
    ----------
    f : callable
        Called with keyword arguments. It returns a number or string (column `value`), a mapping of
        such, or the result of `jko.step`, `jko.split_step` or `jko.flow`, of which the figures are
        kept. An error of jko is kept as text in the column `error`; any other ends the sweep.
    grid : mapping or sequence of mappings
        Name -> values, of which every combination is taken, or the points themselves.

    Other Parameters
    ----------------
    n_jobs : int, optional
        Workers, as in joblib: -1 is one per core; None is one, or what the surrounding
        `joblib.parallel_config(...)` says. So any backend of joblib serves: loky, dask, ray.
    path : path, optional
        Every finished row is written there at once (a line of JSON). A sweep that was killed takes
        those rows from the file and calls `f` for the others (and those with an error) only; so
        does one over a larger grid.
        Rows are found again by their parameters; what `f` does inside is not compared, its name is.
    progress : bool
        Show a progress bar.

    Returns
    -------
    pandas.DataFrame
        In the order of the grid: parameters, figures, `seconds` of each call, `error`.

    Notes
    -----
    To a cluster in three lines:

    >>> client = dask.distributed.Client("scheduler:8786")  # doctest: +SKIP
    >>> with joblib.parallel_config(backend="dask"):  # doctest: +SKIP
    ...     table = jko.sweep(f, grid, n_jobs=-1, path="rows.jsonl")
    """
    if not callable(f):
        raise InvalidType(f"f got {shown(f)}; pass a function of the parameters")
    switch(progress, "progress")
    whole = isinstance(n_jobs, (int, np.integer)) and not isinstance(n_jobs, bool)
    if n_jobs is not None and not (whole and 0 < abs(n_jobs) <= MOST_JOBS):
        raise InvalidArgument(
            f"n_jobs = {brief(n_jobs)} is no number of workers; pass a whole number such as 2, -1"
            " for all cores, or None"
        )
    points = _points(grid)
    pandas = package("pandas", "frames", "the table of a sweep")
    keys = [_key(point) for point in points]
    store = _Store(None if path is None else Path(path), _name(f))
    rows = store.read()
    todo = {key: point for key, point in zip(keys, points, strict=True) if key not in rows}
    with _bar(progress, len(set(keys)), len(set(keys)) - len(todo)) as advance:
        for key, row in _run(f, todo, n_jobs):
            rows[key] = row
            store.append(key, row)
            advance()
    pairs = zip(keys, points, strict=True)
    table = pandas.DataFrame([{**point, **rows[key]} for key, point in pairs])
    last = [name for name in ("seconds", "error") if name in table]
    return table[[c for c in table if c not in last] + last]


def _points(grid: Mapping[str, Iterable[object]] | Sequence[Mapping[str, object]]) -> list[Row]:
    """The points of a grid, in order."""
    if isinstance(grid, Mapping):
        for name, values in grid.items():
            if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
                raise InvalidType(f"grid[{name!r}] got {shown(values)}; pass a list of values")
        axes = {name: list(values) for name, values in grid.items()}
        points = [dict(zip(axes, c, strict=True)) for c in itertools.product(*axes.values())]
    elif (
        isinstance(grid, Sequence)
        and entries(grid) is not None
        and all(isinstance(point, Mapping) for point in grid)
    ):
        points = [dict(point) for point in grid]
    else:
        raise InvalidType(f"grid got {shown(grid)}; pass name -> values, or a list of such points")
    if not points or not points[0]:
        raise InvalidArgument("grid is empty; give every parameter one value at least")
    for point in points:
        taken = [str(name) for name in point if name in ("seconds", "error")]
        if taken or not all(isinstance(name, str) for name in point):
            raise InvalidArgument(
                f"grid names {sorted(map(str, point))}: names are strings, and not 'seconds' or"
                " 'error', which are columns of the table"
            )
    return points


def _key(point: Row) -> str:
    """The parameters as text: what a row is found by."""
    return json.dumps({name: _text(value) for name, value in sorted(point.items())})


def _text(value: object) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    text = repr(value.tolist()) if isinstance(value, np.ndarray) else repr(value)
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


def _name(f: Callable[..., object]) -> str:
    inner = inspect.unwrap(f)
    return str(getattr(inner, "__qualname__", type(inner).__name__))


# -- one row ------------------------------------------------------------------------------------


def _row(f: Callable[..., object], key: str, point: Row) -> tuple[str, Row]:
    """Call the function at one point; runs in a worker."""
    started = time.perf_counter()
    try:
        found = f(**point)
    except JkoError as error:
        found = {"error": " ".join(f"{type(error).__name__}: {error}".split())}
    except BaseException as error:
        error.add_note(f"in jko.sweep at {key}")
        raise
    seconds = time.perf_counter() - started
    return key, {**_figures(found, point), "seconds": seconds}


def _figures(found: object, point: Row) -> Row:
    """What a row keeps of a result: plain numbers and strings."""
    if isinstance(found, Trajectory):
        last = {"energy": float(found.energies[-1]), "time": float(found.times[-1])}
        found = {
            **last,
            "steps": len(found.steps),
            "success": found.success,
            "status": found.status,
        }
    elif isinstance(found, StepResult):
        names = ("energy", "sqdistance", "gap", "bias", "residual", "iterations", "solver")
        named = {name: getattr(found, name) for name in names}
        found = {**named, "success": found.success, "status": found.status.name}
    elif isinstance(found, SplitResult):
        found = {"energy": found.energy, "success": found.success, "status": found.status.name}
    elif not isinstance(found, Mapping):
        found = {"value": found}
    out = {str(name): v.item() if isinstance(v, np.generic) else v for name, v in found.items()}
    for name, value in out.items():
        if not (value is None or isinstance(value, (bool, int, float, str))):
            raise InvalidType(
                f"f returned {shown(value)} as {name!r}; return numbers or strings, or a mapping"
                " of them (write larger things to files of your own)"
            )
        if name in point:
            raise InvalidArgument(f"f returned {name!r}, which is a parameter; rename it")
    return out


def _run(
    f: Callable[..., object], todo: Mapping[str, Row], n_jobs: int | None
) -> Iterator[tuple[str, Row]]:
    """Rows as they are finished, in any order."""
    if not todo:
        return
    joblib = package("joblib", "sweeps", "a sweep")
    calls = [joblib.delayed(_row)(f, key, point) for key, point in todo.items()]
    # One call a task, so that a row is on disk as soon as it is finished.
    options: dict[str, object] = {"n_jobs": n_jobs, "batch_size": 1, "pre_dispatch": "all"}
    backend, _ = joblib.parallel.get_active_backend()
    if getattr(backend, "supports_return_generator", False):
        yield from joblib.Parallel(**options, return_as="generator_unordered")(calls)
        return
    with joblib.Parallel(**options) as pool:
        size = max(1, BATCH * joblib.effective_n_jobs(n_jobs))
        for first in range(0, len(calls), size):
            yield from pool(calls[first : first + size])


# -- the file -----------------------------------------------------------------------------------


class _Store:
    """Finished rows, a line of JSON each; a line that a crash cut short is not counted."""

    def __init__(self, path: Path | None, name: str) -> None:
        self.path, self.name = path, name

    def read(self) -> dict[str, Row]:
        """The rows so far; the file is begun where there is none."""
        if self.path is None:
            return {}
        head = {MARK: 1, "f": self.name}
        try:
            if not self.path.exists() or not self.path.stat().st_size:
                self._write(head, "w")
                return {}
            *lines, cut = self.path.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidFile(f"path = {self.path}: {error}; pass another path") from None
        rows = self._rows(lines, head)
        if cut:
            self._write(None, "a")
        return rows

    def _rows(self, lines: list[str], head: Row) -> dict[str, Row]:
        found = [self._parsed(line) for line in lines]
        first = found[0] if found else None
        if not isinstance(first, dict) or MARK not in first:
            raise InvalidFile(f"path = {self.path} holds no sweep; move it away first")
        if first != head:
            raise InvalidFile(
                f"path = {self.path} holds a sweep of {first.get('f')}, not of {self.name};"
                " pass another path"
            )
        rows = [row for row in found[1:] if isinstance(row, dict) and {"key", "row"} <= row.keys()]
        # A row that failed is taken again: its cause may be mended by now.
        return {row["key"]: row["row"] for row in rows if "error" not in row["row"]}

    @staticmethod
    def _parsed(line: str) -> Any:
        try:
            return json.loads(line)
        except json.JSONDecodeError:
            return None

    def append(self, key: str, row: Row) -> None:
        """One more row, on disk when this returns."""
        if self.path is not None:
            self._write({"key": key, "row": row}, "a")

    def _write(self, tree: Row | None, mode: str) -> None:
        assert self.path is not None
        with self.path.open(mode, encoding="utf-8") as file:
            file.write(("" if tree is None else json.dumps(tree)) + "\n")
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def _bar(progress: bool, total: int, done: int) -> Iterator[Callable[[], object]]:
    """A progress bar, where one is asked for."""
    if not progress:
        yield lambda: None
        return
    tqdm = package("tqdm.auto", "demo", "a progress bar")
    with tqdm.tqdm(total=total, initial=done, desc="sweep") as bar:
        yield bar.update
