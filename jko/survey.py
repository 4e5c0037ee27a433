"""What solves what: every solver asked about one small problem of each kind."""

from __future__ import annotations

import re
import string
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from jko import energies, geometries
from jko.energies.base import Energy
from jko.errors import InvalidArgument, JkoError
from jko.geometries.base import Geometry
from jko.kernels import Gaussian as GaussianKernel
from jko.measures import Gaussian, Grid, GridDensity, Histogram, LogDensity, Particles
from jko.measures.base import Discrete, Measure
from jko.prox.problem import ProxProblem
from jko.solvers.auto import AUTO, survey
from jko.validation import Array

KERNEL = GaussianKernel(bandwidth=1.0)


def _bump(x: Array) -> Array:
    return np.asarray(np.exp(-((x - 0.3) ** 2).sum(axis=1)))


def _square(x: Array) -> Array:
    return np.asarray(0.5 * (x**2).sum(axis=1))


POINTS = np.linspace(-1.0, 1.0, 6)[:, None]
MEASURES: dict[str, Measure] = {
    "GridDensity": GridDensity.from_function(_bump, Grid([-2.0], [2.0], [8]), mass=1.0),
    "Histogram": Histogram(POINTS, np.full(6, 1 / 6)),
    "Particles": Particles(POINTS),
    "Gaussian": Gaussian(np.zeros(1), np.eye(1)),
}


def _target(mu: Measure) -> Measure:
    """A target of the kind of the measure, where that kind can meet it."""
    if isinstance(mu, Discrete):
        return mu.with_weights(np.linspace(1.0, 2.0, mu.n) / (1.5 * mu.n))
    return Gaussian(np.ones(1), 2 * np.eye(1))


#: A target with atoms of its own.
APART = Particles(POINTS[:4] + 0.05)
ENERGIES: dict[str, Callable[[Measure], Energy]] = {
    "KL": lambda mu: energies.KL(_target(mu)),
    "KL(LogDensity)": lambda mu: energies.KL(LogDensity(lambda x: -_square(x), lambda x: -x, 1)),
    "InclusiveKL": lambda mu: energies.InclusiveKL(_target(mu)),
    "PhiDivergence(p=2)": lambda mu: energies.PhiDivergence(_target(mu), p=2.0),
    "PhiDivergence(p=1.5)": lambda mu: energies.PhiDivergence(_target(mu), p=1.5),
    "MMDEnergy": lambda mu: energies.MMDEnergy(_target(mu), KERNEL),
    "MMDEnergy(other atoms)": lambda mu: energies.MMDEnergy(APART, KERNEL),
    "Potential": lambda mu: energies.Potential(_square, gradient=lambda x: x),
    "Entropy": lambda mu: energies.Entropy(),
    "Entropy + Potential": lambda mu: energies.Entropy() + energies.Potential(_square),
    "PorousMedium": lambda mu: energies.PorousMedium(m=2.0),
    "Interaction": lambda mu: energies.Interaction(KERNEL),
    "BoxConstraint": lambda mu: energies.BoxConstraint(1.0),
}
GEOMETRIES: dict[str, Geometry] = {
    "Wasserstein": geometries.Wasserstein(),
    "Hellinger": geometries.Hellinger(),
    "Hellinger(fixed)": geometries.Hellinger(mass="fixed"),
    "SphericalHellinger": geometries.SphericalHellinger(),
    "MMD": geometries.MMD(KERNEL),
    "MMD(free)": geometries.MMD(KERNEL, mass="free"),
    "WassersteinFisherRao": geometries.WassersteinFisherRao(),
    "Divergence(p=1)": geometries.Divergence(p=1.0),
}


@dataclass(frozen=True)
class Row:
    """One kind of step.

    Attributes
    ----------
    measure, geometry, energy : str
    solvers : dict name -> guarantee
        In the order `auto` tries them.
    refusals : dict name -> reason
        Solvers that do not take the step, and why.
    """

    measure: str
    geometry: str
    energy: str
    solvers: dict[str, str]
    refusals: dict[str, str]


def table() -> list[Row]:
    """Ask every solver about every kind of step."""
    return [_row(m, g, e) for m in MEASURES for g in GEOMETRIES for e in ENERGIES]


def _row(measure: str, geometry: str, energy: str) -> Row:
    mu = MEASURES[measure]
    try:
        functional = ENERGIES[energy](mu)
        answers = survey(ProxProblem(functional, GEOMETRIES[geometry], mu, 0.1))
    except JkoError as refusal:
        return Row(measure, geometry, energy, {}, {"every solver": str(refusal)})
    takes = {s.name: f"{s.claim.noun}; {s.guarantee}" for s, why in answers if why is None}
    refusals = {s.name: _general(why, functional) for s, why in answers if why is not None}
    return Row(measure, geometry, energy, takes, refusals)


def _general(why: str, energy: Energy) -> str:
    """A reason without the particulars of the example."""
    for text in (repr(energy), *(repr(term) for _, term in energy.terms)):
        why = why.replace(text, "the energy")
    return why


def select(rows: Iterable[Row], **wanted: str | None) -> list[Row]:
    """Rows whose energy, geometry and measure contain the texts (upper or lower case).

    A text that equals a name keeps that one only.

    Raises
    ------
    InvalidArgument
        When nothing is called so.
    """
    kept = list(rows)
    for what, text in wanted.items():
        if text is None:
            continue
        names = list(dict.fromkeys(getattr(row, what) for row in kept))
        exact = [n for n in names if n.lower() == text.lower()]
        found = exact or [n for n in names if text.lower() in n.lower()]
        if not found:
            raise InvalidArgument(f"no {what} is called {text!r}; there are {', '.join(names)}")
        kept = [row for row in kept if getattr(row, what) in found]
    return kept


def telling(row: Row, rows: Iterable[Row]) -> dict[str, str]:
    """The refusals of a step that nobody takes which tell something.

    Those of solvers that take other energies of this geometry on this measure; failing that, of
    solvers that take this geometry on other measures; else all of them.
    """
    alike = [other for other in rows if other.geometry == row.geometry]
    if not any(other.solvers for other in alike):
        return {"all": "none takes steps of this geometry"}
    same = [other for other in alike if other.measure == row.measure]
    for group in (same, alike):
        able = {name for other in group for name in other.solvers}
        found = {name: why for name, why in row.refusals.items() if name in able}
        if found:
            return found
    return row.refusals


def matrix(rows: list[Row], width: int = 100) -> str:
    """The whole table: a letter per solver in the order `auto` tries them, a number per refusal."""
    promises = {name: promise for row in rows for name, promise in row.solvers.items()}
    solvers = [solver.name for solver in AUTO if solver.name in promises]
    letters = dict(zip(solvers, string.ascii_uppercase, strict=False))
    notes: dict[str, int] = {}
    cells: dict[tuple[str, str, str], str] = {}
    for row in rows:
        cell = "".join(letters[name] for name in row.solvers)
        if not cell:
            text = _brief(telling(row, rows))
            cell = str(notes.setdefault(text, len(notes) + 1))
        cells[row.measure, row.energy, row.geometry] = cell
    lines = [line for measure in MEASURES for line in _block(measure, cells)]
    lines.append("Solvers, in the order auto tries them:")
    for name, letter in letters.items():
        lines += _wrapped(f"{letter} {name}: ", promises[name], 2, width)
    lines += ["", "Refusals:"]
    for text, number in notes.items():
        lines += _wrapped(f"{number} ", text, 2, width)
    lines += ["", "Filters (see --help) show rows in words, --reasons every solver's refusal."]
    return "\n".join(lines)


def _block(measure: str, cells: dict[tuple[str, str, str], str]) -> list[str]:
    """Energies by geometries, on one measure."""
    first = max(map(len, ENERGIES)) + 1
    heads = [_head(g) for g in GEOMETRIES]
    widths = {
        g: max(*map(len, pair), *(len(cells[measure, e, g]) for e in ENERGIES)) + 1
        for g, pair in zip(GEOMETRIES, heads, strict=True)
    }
    lines = []
    for label, head in zip((measure, ""), zip(*heads, strict=True), strict=True):
        columns = "".join(f"{h:<{w}}" for h, w in zip(head, widths.values(), strict=True))
        lines.append(f"{label:<{first}}{columns}".rstrip())
    for energy in ENERGIES:
        columns = "".join(f"{cells[measure, energy, g]:<{w}}" for g, w in widths.items())
        lines.append(f"{energy:<{first}}{columns}".rstrip())
    return [*lines, ""]


def _head(geometry: str) -> tuple[str, str]:
    """The two lines above a column: a long name is cut before its last word or its bracket."""
    cut = re.fullmatch(r"(\w+?)(\(.*\)|Hellinger|FisherRao)", geometry)
    return (cut[1], cut[2]) if cut else (geometry, "")


def listing(rows: list[Row], everything: list[Row], reasons: bool = False, width: int = 100) -> str:
    """Some rows in words: by measure and geometry, energies with the same solvers together.

    Parameters
    ----------
    rows : list of Row
        What to show.
    everything : list of Row
        The whole table, from which `telling` learns who could have taken a step.
    reasons : bool
        Show every refusal, not only those of steps that nobody takes.
    """
    lines: list[str] = []
    for measure, geometry in dict.fromkeys((row.measure, row.geometry) for row in rows):
        block = [row for row in rows if (row.measure, row.geometry) == (measure, geometry)]
        lines.append(f"{geometry} on {measure}")
        for chain in dict.fromkeys(tuple(row.solvers) for row in block):
            group = [row for row in block if tuple(row.solvers) == chain]
            if chain:
                names = ", ".join(row.energy for row in group)
                lines += _wrapped(f"{names}: ", ", ".join(chain), 2, width)
            if reasons or not chain:
                lines += _refusals(group, everything, reasons, width)
    return "\n".join([*lines, *_guarantees(rows, width)])


def _refusals(group: list[Row], everything: list[Row], reasons: bool, width: int) -> list[str]:
    """Who refuses and why; the same words are said once for all energies they fit."""
    words: dict[str, list[str]] = {}
    for row in group:
        text = _together(row.refusals if reasons else telling(row, everything))
        words.setdefault(text, []).append(row.energy)
    lines = []
    for text, names in words.items():
        label = "    refused by " if group[0].solvers else f"{', '.join(names)}: no solver. "
        lines += _wrapped(label, text, 2, width)
    return lines


def _together(refusals: dict[str, str]) -> str:
    """Refusals in one text; solvers with the same reason share it."""
    by_reason: dict[str, list[str]] = {}
    for name, why in refusals.items():
        by_reason.setdefault(why.removeprefix(f"{name} "), []).append(name)
    return "; ".join(f"{', '.join(names)}: {why}" for why, names in by_reason.items())


def _brief(refusals: dict[str, str]) -> str:
    """The reason that most solvers give; with a name where only one gives it."""
    votes: dict[str, list[str]] = {}
    for name, why in refusals.items():
        votes.setdefault(why.removeprefix(f"{name} "), []).append(name)
    most = max(map(len, votes.values()))
    chosen = {name: why for why, names in votes.items() if len(names) == most for name in names}
    return _together(chosen) if most == 1 else "; ".join(dict.fromkeys(chosen.values()))


def _guarantees(rows: list[Row], width: int) -> list[str]:
    """What each solver of the rows promises."""
    promises = {name: promise for row in rows for name, promise in row.solvers.items()}
    lines = ["", "auto takes the first solver of a list; each promises:"] if promises else []
    for name, promise in promises.items():
        lines += _wrapped(f"{name}: ", promise, 2, width)
    return lines


def _wrapped(label: str, text: str, indent: int, width: int) -> list[str]:
    flat = " ".join(text.split())
    space = " " * indent
    return textwrap.wrap(
        label + flat, width, initial_indent=space, subsequent_indent=space + "    "
    )
