"""Take each step, hold it against rivals and against itself in other units, and count."""

from __future__ import annotations

import time
import warnings
from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

import jko
from _fuzz import gaussians, lines, weights
from _fuzz.terms import HOME, Units

EPS = float(np.finfo(float).eps)
#: Rounding of objectives, in units of the size of their terms.
FINE = 64 * EPS
#: Statuses that say that the problem has no answer.
NO_ANSWER = ("UNBOUNDED", "EMPTY")
FAMILIES = ((weights, 0.8), (lines, 0.1), (gaussians, 0.1))


class Fault(NamedTuple):
    """Something wrong with one problem."""

    kind: str
    number: int
    label: str
    name: str
    text: str


@dataclass
class Tally:
    """Problems of one geometry."""

    problems: int = 0
    refused: int = 0
    unbounded: int = 0
    uncertified: int = 0
    rivals: int = 0
    above: int = 0
    units: int = 0
    moved: int = 0
    raised: int = 0
    excess: list = field(default_factory=list)


def draw(rng):
    shares = np.array([share for _, share in FAMILIES])
    family = FAMILIES[rng.choice(len(FAMILIES), p=shares / shares.sum())][0]
    return family, family.draw(rng)


def take(case, u):
    """The step in units u; a string where it is refused."""
    try:
        mu, energy, geometry, tau = case.problem(u)
        return jko.step(mu, energy, geometry, tau, throw=False, rng=0)
    except jko.JkoError as refusal:
        return f"{type(refusal).__name__}: {refusal}"


def draw_units(rng):
    """M, L and c from 1e-9 to 1e9, one of them or all."""
    logs = rng.uniform(-9, 9, 3) * (rng.random(3) < 0.6)
    return Units(*(10.0**logs))


def run(numbers, seed, units=1, rivals=1.0, seconds=np.inf, show=False, draw=draw):
    """Tallies by geometry, and faults; `show` them as they come."""
    tallies, faults, began = defaultdict(Tally), [], time.process_time()
    for k in numbers:
        if time.process_time() - began > seconds:
            break
        rng = np.random.default_rng([seed, k])
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            family, case = draw(rng)
            tally = tallies[case.label]

            def fault(kind, text, case=case, k=k):
                faults.append(Fault(kind, k, case.label, case.name, text))
                if show:
                    print(line(faults[-1]), flush=True)

            tally.problems += 1
            try:
                one(family, case, rng, tally, fault, units, rng.random() < rivals)
            except Exception as error:
                tally.raised += 1
                fault("raised", f"{type(error).__name__}: {error}")
    return tallies, faults


def one(family, case, rng, tally, fault, units, rivals):
    """One problem: at home, against rivals, in other units."""
    home = take(case, HOME)
    if isinstance(home, str):
        tally.refused += 1
    elif home.status.name in NO_ANSWER:
        tally.unbounded += 1
    elif not home.success:
        tally.uncertified += 1
        fault("uncertified", home.message)
    elif rivals:
        against_rivals(family, case, home, tally, fault)
    for _ in range(units):
        u = draw_units(rng)
        there = take(case, u)
        in_other_units(case, home, there, u, tally, fault)


def against_rivals(family, case, home, tally, fault):
    """Objective by plain formulas within gap, bias and rounding of every rival's."""
    answer = case.back(home.measure, HOME)
    value, size = case.objective(answer)
    bound = abs(home.gap or 0.0) + abs(home.bias or 0.0)
    if home.gap is None:
        bound += case.allowance(home) if hasattr(case, "allowance") else np.inf
    found, _ = family.oracle(case, answer)
    slack = getattr(getattr(case, "penalty", None), "slack", 0.0)
    for rival in [case.before, *found]:
        other, at = case.objective(rival)
        if not np.isfinite(other):
            continue
        tally.rivals += 1
        excess = float(value - other)
        room = bound + (FINE + slack) * max(size, at)
        tally.excess.append(excess / max(room, 1e-300))
        if not excess <= room:
            tally.above += 1
            fault("above", f"{home.solver}: {excess:.3e} above a rival, gap {home.gap} bias"
                  f" {home.bias} size {size:.3e} tau {case.tau:.1e}")  # fmt: skip
            return


def in_other_units(case, home, there, u, tally, fault):
    """The same verdict, objective and measure in units u."""
    marks = [r if isinstance(r, str) else r.status.name for r in (home, there)]
    here = "M {:.1e} L {:.1e} c {:.1e}".format(*u)
    if isinstance(home, str) or isinstance(there, str):
        if not (isinstance(home, str) and isinstance(there, str)):
            tally.units += 1
            fault("verdict", f"{here}: {marks[0][:90]} but {marks[1][:200]}")
        return
    if marks[0] != marks[1]:
        tally.units += 1
        other = there.message if home.success else home.message
        fault("verdict", f"{here}: {marks[0]} but {marks[1]}: {other}")
        return
    if not home.success:
        return
    unit = u.c * u.M
    first, second = home.objective, there.objective / unit - case.shift(u)
    answer = case.back(home.measure, HOME)
    _, size = case.objective(answer)
    raw = size + abs(case.shift(u)) + abs(home.objective)
    raw += case.raw(answer) if hasattr(case, "raw") else 0.0
    gained = max((home.baseline or home.objective) - home.objective, 0.0)
    gaps = sum(abs(r.gap or 0.0) / s for r, s in ((home, 1.0), (there, unit)))
    room = gaps + 1e-6 * gained + FINE * raw
    if not abs(first - second) <= room:
        tally.units += 1
        fault("objective", f"{here}: {home.solver}/{there.solver} {first:.9e} but {second:.9e},"
              f" room {room:.1e}")  # fmt: skip
    apart(case, home, there, u, room, tally, fault)


def apart(case, home, there, u, room, tally, fault):
    """The measures: within 1e-6 of the motion in closed-form cells, else by what they cost."""
    a, b = case.back(home.measure, HOME), case.back(there.measure, u)
    if case.closed_form:
        scale = np.abs(a - case.before).max() + 1e-9 * np.abs(a).max()
        if not np.abs(a - b).max() <= 1e-6 * scale:
            tally.moved += 1
            fault("measure", f"{home.solver}/{there.solver} {np.abs(a - b).max():.2e} apart,"
                  f" motion {scale:.2e}")  # fmt: skip
    elif hasattr(case, "apart"):
        # Two residuals of 1e-6, each relative to the motion and to the force, which balances it.
        if not case.apart(a, b) <= 4 * home.tol:
            tally.moved += 1
            fault("measure", f"{home.solver} {case.apart(a, b):.2e} of the motion apart")
    elif home.gap is not None and home.bias is None:
        (one, at), (two, _) = case.objective(a), case.objective(b)
        slack = getattr(getattr(case, "penalty", None), "slack", 0.0)
        if np.isfinite(one) and not abs(float(one - two)) <= room + slack * at:
            tally.moved += 1
            fault("measure", f"{home.solver}/{there.solver} costs differ by"
                  f" {float(one - two):.2e}, room {room:.1e}")  # fmt: skip


def line(f):
    """A fault in one line."""
    return f"{f.kind}: {f.number} {f.label}, {f.name}: {f.text}"


def report(tallies, faults=(), most=60):
    """A table of the geometries, then the faults."""
    names = ("problems", "refused", "unbounded", "uncertified", "rivals", "above", "units",
             "moved", "raised")  # fmt: skip
    lines = [f"{'geometry':22s}" + "".join(f"{n:>12s}" for n in names) + f"{'uncert. %':>11s}"]
    total = Tally()
    for label, tally in [*sorted(tallies.items()), ("all", total)]:
        figures = [getattr(tally, n) for n in names]
        if tally is not total:
            for n, figure in zip(names, figures, strict=True):
                setattr(total, n, getattr(total, n) + figure)
        share = 100 * tally.uncertified / max(tally.problems - tally.refused, 1)
        lines.append(f"{label:22s}" + "".join(f"{v:12d}" for v in figures) + f"{share:11.2f}")
    lines += [line(f) for f in faults[:most]]
    return "\n".join(lines)
