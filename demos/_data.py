"""Two columns of numbers for a demo: the wine data, or the user's own file."""

import csv
import difflib
from dataclasses import dataclass

import numpy as np

import jko

MOST_ROWS = 1000


@dataclass(frozen=True)
class Data:
    """Two standardised columns, with the classes of the rows where they are known."""

    points: np.ndarray
    names: tuple[str, str]
    title: str
    classes: np.ndarray | None = None


def pick(wanted: str, names: list[str], what: str) -> int:
    """The index of a column given by name or by index, or a sentence."""
    if wanted in names:
        return names.index(wanted)
    if wanted.isdigit() and int(wanted) < len(names):
        return int(wanted)
    near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.4) or names[:3]
    raise jko.InvalidArgument(
        f"{what} {wanted!r} is unknown; pass an index from 0 to {len(names) - 1} or a name"
        f" such as {', '.join(map(repr, near))}"
    )


def standardised(columns: np.ndarray, names: tuple[str, str], source: str) -> np.ndarray:
    """Columns with mean 0 and standard deviation 1."""
    spread = columns.std(axis=0)
    for name, s in zip(names, spread, strict=True):
        if not np.isfinite(s) or s <= 1e-12 * np.abs(columns).max():
            raise jko.InvalidArgument(
                f"column {name!r} of {source} does not vary; choose another with --columns"
            )
    return (columns - columns.mean(axis=0)) / spread


def wine(features: list[str]) -> Data:
    """Two measurements of the 178 wines that scikit-learn ships."""
    try:
        from sklearn.datasets import load_wine
    except ImportError:
        raise jko.InvalidArgument(
            "the wine data come with scikit-learn; run pip install 'jko[demo]', or pass --data"
        ) from None
    table = load_wine()
    all_names = list(table.feature_names)
    i, j = (pick(f, all_names, "feature") for f in features)
    if i == j:
        raise jko.InvalidArgument(f"the two features are both {all_names[i]!r}; name two")
    names = (all_names[i], all_names[j])
    points = standardised(table.data[:, [i, j]], names, "the wine data")
    return Data(points, names, "178 wines", table.target)


def read_table(path: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Column names and (line number, fields) of a table of text: commas, semicolons or tabs."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            text = file.read()
        separator = max(",;\t", key=text.partition("\n")[0].count)
        reader = csv.reader(text.splitlines(), delimiter=separator, strict=True)
        rows = [(reader.line_num, [c.strip() for c in r]) for r in reader if any(map(str.strip, r))]
    except OSError as error:
        raise jko.InvalidArgument(f"cannot read {path!r}: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise jko.InvalidArgument(f"{path!r} is not a table of text (CSV): {error}") from None
    if not rows:
        raise jko.InvalidArgument(f"{path!r} holds no rows")
    width = len(rows[0][1])
    for line, fields in rows:
        if len(fields) != width:
            raise jko.InvalidArgument(
                f"{path!r}, line {line}: {len(fields)} columns where the first line has {width}"
            )
    if all(number(c) is None for c in rows[0][1]):
        return rows[0][1], rows[1:]
    return [f"column {i}" for i in range(width)], rows


def number(text: str) -> float | None:
    """The number a field says (NaN for an empty one), None when it says none."""
    try:
        return float(text) if text else np.nan
    except ValueError:
        return np.nan if text.lower() in ("na", "n/a", "null", "none") else None


def own(path: str, wanted: list[str] | None, rng: np.random.Generator) -> Data:
    """Two numeric columns of the user's own file."""
    names, rows = read_table(path)
    if not rows:
        raise jko.InvalidArgument(f"{path!r} has a header and no rows")
    if wanted is None:
        numeric = [i for i in range(len(names)) if number(rows[0][1][i]) is not None]
        if len(numeric) < 2:
            raise jko.InvalidArgument(
                f"{path!r} has {len(numeric)} numeric columns, and the demo needs two"
            )
        chosen = numeric[:2]
    else:
        chosen = [pick(w, names, f"column of {path!r}:") for w in wanted]
        if chosen[0] == chosen[1]:
            raise jko.InvalidArgument(f"the two columns are both {names[chosen[0]]!r}; name two")
    values, missing = [], []
    for line, fields in rows:
        pair = [number(fields[i]) for i in chosen]
        for i, value in zip(chosen, pair, strict=True):
            if value is None:
                raise jko.InvalidArgument(
                    f"{path!r}, line {line}: {fields[i]!r} in {names[i]!r} is not a number;"
                    " choose numeric columns with --columns"
                )
        values.append(pair)
        if not np.isfinite(np.array(pair, dtype=float)).all():
            missing.append(line)
    if missing:
        listed = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
        raise jko.InvalidArgument(
            f"{path!r} has {len(missing)} rows with missing or infinite values (lines {listed});"
            " remove or complete them"
        )
    table = np.array(values, dtype=float)
    title = f"{len(table)} rows of {path}"
    if len(table) > MOST_ROWS:
        title = f"{MOST_ROWS} of {title}, drawn at random"
        table = table[rng.choice(len(table), MOST_ROWS, replace=False)]
    pair_names = (names[chosen[0]], names[chosen[1]])
    return Data(standardised(table, pair_names, repr(path)), pair_names, title)
