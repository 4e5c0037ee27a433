"""`jko.compare`: two samples of one posterior side by side, with Monte Carlo errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

import numpy as np
from scipy.special import ndtr, ndtri

from jko.errors import InvalidArgument, Unsupported
from jko.html import table
from jko.sampling.report.columns import Column, columns_of
from jko.sampling.report.result import SampleResult
from jko.sampling.verdict.evidence import Z
from jko.validation import positive

Word = Literal["agree", "unclear", "differ"]
#: Worst last.
WORDS: tuple[Word, ...] = ("agree", "unclear", "differ")
#: Standard error of a difference, as a share of the tolerance, up to which a small difference says
#: that there is none larger: two errors then reach the tolerance.
RESOLVED = 0.5

HEAD = ("mean", "mean of other", "diff / sd", "error", "sd ratio", "error", "ESS", "ESS of other")


@dataclass(frozen=True)
class Compared:
    """One parameter in both samples.

    Attributes
    ----------
    name : str
    first, second : Column
    difference, difference_error : float
        Of the means, in standard deviations of the second sample, with its standard error.
    ratio, ratio_error : float
        First standard deviation over the second, with its standard error.
    verdict : {"agree", "unclear", "differ"}
    """

    name: str
    first: Column
    second: Column
    difference: float
    difference_error: float
    ratio: float
    ratio_error: float
    verdict: Word

    def cells(self) -> tuple[str, ...]:
        """What the table says of it, beside the name."""
        return (
            f"{self.first.mean:.4g}",
            f"{self.second.mean:.4g}",
            f"{self.difference:+.3f}",
            f"{self.difference_error:.3f}",
            f"{self.ratio:.3f}",
            f"{self.ratio_error:.3f}",
            f"{self.first.ess:.0f}",
            f"{self.second.ess:.0f}",
            self.verdict,
        )


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Two samples side by side; its repr is the table.

    Attributes
    ----------
    rows : tuple of Compared
        One for each parameter that both have.
    only_first, only_second : tuple of str
        Parameters that the other has not.
    notes : tuple of str
        What the samples say of themselves: not converged, divergent transitions.
    mean, std : float
        The tolerances.
    """

    rows: tuple[Compared, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    notes: tuple[str, ...]
    mean: float
    std: float

    @property
    def verdict(self) -> Word:
        """The worst verdict of a parameter."""
        return max((r.verdict for r in self.rows), key=WORDS.index)

    @property
    def agrees(self) -> bool:
        """Whether every parameter agrees."""
        return self.verdict == "agree"

    @property
    def worst(self) -> Compared:
        """The parameter whose mean or spread is furthest off, in tolerances."""
        return max(self.rows, key=lambda r: _size(r, self.mean, self.std))

    def __getitem__(self, name: str) -> Compared:
        """The row of one parameter."""
        for row in self.rows:
            if row.name == name:
                return row
        raise InvalidArgument(f"no parameter {name!r}; there are {_list([r.name for r in self])}")

    def __iter__(self) -> Iterator[Compared]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def summary(self) -> str:
        """One sentence."""
        counts = {w: sum(r.verdict == w for r in self.rows) for w in WORDS}
        said = ", ".join(f"{n} {w}" for w, n in counts.items() if n)
        worst = self.worst
        return (
            f"{self.verdict}: {len(self.rows)} parameters, {said}; furthest off {worst.name}:"
            f" mean {worst.difference:+.3f} +- {worst.difference_error:.3f} sd,"
            f" sd ratio {worst.ratio:.3f} +- {worst.ratio_error:.3f}"
            f" (tolerance {self.mean:g} sd, {self.std:.0%})"
        )

    def to_frame(self) -> Any:
        """A pandas table (needs pandas), one row a parameter."""
        try:
            import pandas as pd
        except ImportError:
            raise Unsupported("to_frame needs pandas; pip install pandas brings it") from None
        rows = {
            r.name: {
                "mean": r.first.mean,
                "mean_other": r.second.mean,
                "difference": r.difference,
                "difference_error": r.difference_error,
                "sd_ratio": r.ratio,
                "sd_ratio_error": r.ratio_error,
                "ess": r.first.ess,
                "ess_other": r.second.ess,
                "verdict": r.verdict,
            }
            for r in self.rows
        }
        return pd.DataFrame.from_dict(rows, orient="index")

    def _below(self) -> list[str]:
        out = [self.summary(), *self.notes]
        for which, names in (("first", self.only_first), ("other", self.only_second)):
            if names:
                out.append(f"in the {which} sample only: {_list(names)}")
        return out

    def __repr__(self) -> str:
        text = [("", *HEAD, ""), *((r.name, *r.cells()) for r in self.rows)]
        widths = [max(map(len, column)) for column in zip(*text, strict=True)]
        lines = []
        for name, *cells in text:
            line = [name.ljust(widths[0])]
            line += [c.rjust(w) for c, w in zip(cells, widths[1:], strict=True)]
            lines.append("  ".join(line).rstrip())
        return "\n".join([*lines, *self._below()])

    def _repr_html_(self) -> str:
        below = "".join(f"<p>{escape(line)}</p>" for line in self._below())
        return table(("", *HEAD, ""), [(r.name, *r.cells()) for r in self.rows]) + below


def compare(
    sample: SampleResult,
    other: object,
    *,
    names: Sequence[str] | None = None,
    mean: float = 0.1,
    std: float = 0.1,
) -> Comparison:
    """Compare a sample with another of the same posterior, parameter by parameter.

    Parameters
    ----------
    sample : SampleResult
        Of `jko.sample`. Its chains are compared (its particles where there are none), in the
        constrained parameters of a model from another framework; with one that was read from a
        file, which has lost them, in the coordinates.
    other : SampleResult, ArviZ InferenceData, Particles, or dict of arrays (chain, draw, ...)
        Variables and their entries are matched by name: theta[0], tau...
    names : sequence of d str, optional
        Names for the coordinates of `sample`, and of `other` where that has none either.
    mean, std : float
        Differences of interest: of means in standard deviations, of these relative.

    Returns
    -------
    Comparison
        A table with a verdict for every parameter: "agree": the difference is within the tolerance
        and known to half of it; "differ": it is beyond, and beyond what chance alone explains;
        "unclear": more draws are needed.

    Raises
    ------
    InvalidArgument
        The two have no parameter in common, or draws that are not finite.

    Notes
    -----
    Errors come from the scatter of independent chains where there are at least 50, else from
    autocorrelations. Chance explains three of them for one figure, and more where many are looked
    at: the level is divided by the number of means and standard deviations compared (Bonferroni).
    Two samples that agree may miss the same mode.

    References
    ----------
    Geyer (1992); Vehtari et al. (2021).
    """
    tolerances = positive(mean, "mean"), positive(std, "std")
    shared = names
    if isinstance(other, SampleResult):
        if names is None and (sample.constrain is None) != (other.constrain is None):
            # One was read from a file, without the function that makes its parameters.
            names = shared = (sample if sample.names else other).labels()
        elif other.constrain is not None:
            shared = None
    first = columns_of(sample, "sample", names)
    second = columns_of(other, "other", shared)
    common = [name for name in first if name in second]
    if not common:
        raise InvalidArgument(
            f"sample and other have no parameter in common: {_list(list(first))} against"
            f" {_list(list(second))}; pass names= for the coordinates of sample"
        )
    # The level of Z standard errors, shared by two figures a parameter.
    chance = -float(ndtri(ndtr(-Z) / (2 * len(common))))
    rows = [_compared(name, first[name], second[name], *tolerances, chance) for name in common]
    return Comparison(
        tuple(rows),
        tuple(name for name in first if name not in second),
        tuple(name for name in second if name not in first),
        (*_said(sample, "first"), *_said(other, "other")),
        *tolerances,
    )


def _compared(name: str, a: Column, b: Column, mean: float, std: float, chance: float) -> Compared:
    if a.std == 0 or b.std == 0:  # a constant: equal or not
        same = a.std == b.std and abs(a.mean - b.mean) <= 1e-9 * max(abs(a.mean), abs(b.mean))
        off = 0.0 if same else float(np.copysign(np.inf, a.mean - b.mean))
        ratio = 1.0 if a.std == b.std else (np.inf if b.std == 0 else 0.0)
        return Compared(name, a, b, off, 0.0, ratio, 0.0, "agree" if same else "differ")
    difference = (a.mean - b.mean) / b.std
    error = float(np.hypot(a.mean_error, b.mean_error)) / b.std
    ratio = a.std / b.std
    ratio_error = ratio * float(np.hypot(a.std_error, b.std_error))
    words = (
        _word(difference, error, mean, chance),
        _word(ratio - 1, ratio_error, std, chance),
    )
    return Compared(name, a, b, difference, error, ratio, ratio_error, max(words, key=WORDS.index))


def _word(off: float, error: float, tolerance: float, chance: float) -> Word:
    if abs(off) <= tolerance and error <= RESOLVED * tolerance:
        return "agree"
    if abs(off) > tolerance and abs(off) > chance * error:
        return "differ"
    return "unclear"


def _size(row: Compared, mean: float, std: float) -> float:
    return max(abs(row.difference) / mean, abs(row.ratio - 1) / std)


def _said(source: object, which: str) -> list[str]:
    """What a sample says against itself."""
    if isinstance(source, SampleResult):
        if source.converged:
            return []
        failed = ", ".join(k for k, e in source.evidence.items() if not e.passes)
        return [f"the {which} sample has not converged: {failed or '; '.join(source.warnings)}"]
    diverging = getattr(getattr(source, "sample_stats", None), "diverging", None)
    count = 0 if diverging is None else int(np.asarray(diverging).sum())
    return [f"the {which} sample has {count} divergent transitions"] if count else []


def _list(names: Sequence[str]) -> str:
    few = ", ".join(list(names)[:6])
    return few + (f" and {len(names) - 6} more" if len(names) > 6 else "")
