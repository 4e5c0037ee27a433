"""Take each step, hold it against rivals and against itself in other units, and count."""

from __future__ import annotations

import time
import warnings

import numpy as np

import jko
from _fuzz import families
from _fuzz.records import Log, Record
from _fuzz.terms import HOME, Units

EPS = float(np.finfo(float).eps)
#: Rounding of objectives, in units of the size of their terms.
FINE = 64 * EPS
#: Statuses that say that the problem has no answer.
NO_ANSWER = {"UNBOUNDED": "unbounded", "EMPTY": "empty"}
#: Problems without a measure as an answer.
UNANSWERED = ("infeasible", "unbounded", "empty")
#: A rival counts as verified where its own lower bound is this close, relative to the terms.
VERIFIED = 1e-6


def run(numbers, seed, units=1, rivals=1.0, seconds=np.inf, log=None, only=None, show=None,
        draw=families.draw):  # fmt: skip
    """The records of these problems; `show` gets them as they come."""
    log, began = Log() if log is None else log, time.process_time()
    for k in numbers:
        if time.process_time() - began > seconds:
            break
        if (seed, k) in log.known:
            continue
        record = one(k, seed, units, rivals, only, draw)
        if record is None:
            continue
        log.add(record)
        if show is not None:
            show(record)
    return log.records


def one(k, seed, units=1, rivals=1.0, only=None, draw=families.draw):
    """One problem from its numbers; None where its geometry is not asked for."""
    rng, record = np.random.default_rng([seed, k]), Record(seed, k)
    began = time.process_time()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        case = draw(rng)
        record.label, record.name = case.label, case.name
        if only is not None and not any(text in case.label for text in only):
            return None
        try:
            examine(case, rng, record, units, rng.random() < rivals)
        except Exception as error:
            record.outcome = "raised"
            record.fault("raised", f"{type(error).__name__}: {error}")
    record.seconds = round(time.process_time() - began, 4)
    return record


def take(case, u):
    """The step in units u; a string where it is refused."""
    try:
        mu, energy, geometry, tau = case.problem(u)
        more = getattr(case, "options", {})
        return jko.step(mu, energy, geometry, tau, throw=False, rng=0, **more)
    except jko.JkoError as refusal:
        return f"{type(refusal).__name__}: {refusal}"


def timed(case, u, record):
    began = time.process_time()
    found = take(case, u)
    record.slowest = max(record.slowest, round(time.process_time() - began, 3))
    return found


def draw_units(rng, tiny=False):
    """M, L and c from 1e-9 to 1e9, some of them or all.

    Beside tiny weights M is no less than 1 and c no more, which their inverses are multiplied by.
    """
    logs = rng.uniform(-9, 9, 3) * (rng.random(3) < 0.6)
    if tiny:  # doubles end at 1e-308
        logs[0], logs[2] = abs(logs[0]), -abs(logs[2])
    return Units(*(10.0**logs))


def outcome(found, expected):
    """One of `OUTCOMES`: a refusal of a problem that has no answer says so."""
    if isinstance(found, str):
        return expected if expected in UNANSWERED else "unsupported"
    if found.status.name in NO_ANSWER:
        return NO_ANSWER[found.status.name]
    if not found.success and expected == "unbounded":  # said in other words: an overflow
        return expected
    return "certified" if found.success else "uncertified"


def examine(case, rng, record, units, rivals):
    """One problem: at home, against rivals, in other units."""
    expected = case.expected()
    home = timed(case, HOME, record)
    record.outcome = outcome(home, expected)
    verdict(record, home, expected)
    if record.outcome == "certified":
        record.solver = home.solver
        if rivals:
            against_rivals(case, rng, home, record)
    for _ in range(units):
        u = draw_units(rng, getattr(case, "tiny", False))
        there = timed(case, u, record)
        record.units += 1
        in_other_units(case, home, there, u, expected, record)


def verdict(record, home, expected):
    """Problems without an answer are refused, others are not."""
    said = home if isinstance(home, str) else home.message
    if record.outcome == "uncertified":
        record.fault("uncertified", said)
    elif record.outcome == "certified" and expected in UNANSWERED:
        record.fault("verdict", f"certified, but the problem is {expected}")
    elif expected == "solvable" and record.outcome != "certified":
        record.fault("refused", said)


def against_rivals(case, rng, home, record):
    """Objective by plain formulas within gap, bias and rounding of every rival's."""
    if hasattr(case, "comparable") and not case.comparable(home):
        return
    if home.claim is jko.Claim.REGULARISED and home.bias is None:
        return  # nothing is said of the step itself
    answer = case.back(home.measure, HOME)
    value, size = case.objective(answer)
    bound = abs(home.gap or 0.0) + abs(home.bias or 0.0)
    if home.gap is None:
        bound += case.allowance(home) if hasattr(case, "allowance") else np.inf
    slack = getattr(case, "slack", 0.0)
    found = case.rivals(rng, answer)
    best, highest = (np.inf, size), -np.inf
    for rival in found:
        other, at = case.objective(rival.at)
        highest = max(highest, rival.lower)
        if np.isfinite(other):
            record.rivals.append(rival.name)
            best = min(best, (float(other), at))
    stay = case.objective(case.before)
    for other, at in [min(best, (float(stay[0]), stay[1]))]:
        if not np.isfinite(other):
            continue
        excess, room = float(value - other), bound + (FINE + slack) * max(size, at)
        record.closest = max(record.closest, excess / max(room, 1e-300))
        if not excess <= room:
            record.fault("above", f"{home.solver}: {excess:.3e} above a rival, gap {home.gap} bias"
                         f" {home.bias} size {size:.3e} tau {case.tau:.1e}")  # fmt: skip
    tight = getattr(case, "verified", VERIFIED)
    record.verified = bool(best[0] - highest <= tight * max(size, best[1]))
    if tight == VERIFIED and not value >= highest - (FINE + slack) * max(size, best[1]):
        record.fault("below", f"{home.solver}: {float(highest - value):.3e} below a lower bound,"
                     f" size {size:.3e}")  # fmt: skip


def in_other_units(case, home, there, u, expected, record):
    """The same verdict, objective and measure in units u."""
    marks = [outcome(r, expected) for r in (home, there)]
    here = "M {:.1e} L {:.1e} c {:.1e}".format(*u)
    if marks[0] != marks[1]:
        other = [r if isinstance(r, str) else r.message for r in (home, there)]
        missed = "uncertified" if "uncertified" in marks and "certified" in marks else "verdict"
        record.fault(missed, f"{here}: {marks[0]} but {marks[1]}: {other[marks[0] == 'certified']}")
        return
    if marks[0] != "certified":
        return
    unit = u.c * u.M
    first, second = home.objective, there.objective / unit - case.shift(u)
    answer = case.back(home.measure, HOME)
    _, size = case.objective(answer)
    raw = size + abs(case.shift(u)) + abs(home.objective)
    raw += case.raw(answer, u) if hasattr(case, "raw") else 0.0
    gained = max((home.baseline or home.objective) - home.objective, 0.0)
    gaps = sum(abs(r.gap or 0.0) / s for r, s in ((home, 1.0), (there, unit)))
    if home.solver != there.solver:  # each states a problem of its own
        gaps += sum(abs(r.bias or 0.0) / s for r, s in ((home, 1.0), (there, unit)))
    if home.gap is None and hasattr(case, "allowance"):
        gaps += 2 * case.allowance(home)
    room = gaps + 1e-6 * gained + FINE * raw
    # The entropy of a plan, which the plain entropic step counts, knows the unit of mass.
    plain = any("plain" in r.solver for r in (home, there))
    if not plain and not abs(first - second) <= room:
        record.fault("objective", f"{here}: {home.solver}/{there.solver} {first:.9e} but"
                     f" {second:.9e}, room {room:.1e}")  # fmt: skip
    apart(case, home, there, u, room, record)


def apart(case, home, there, u, room, record):
    """The measures: within 1e-6 of the motion in closed-form cells, else by what they cost."""
    a, b = case.back(home.measure, HOME), case.back(there.measure, u)
    if case.closed_form:
        scale = np.abs(a - case.before).max() + 1e-9 * np.abs(a).max()
        if not np.abs(a - b).max() <= 1e-6 * scale + FINE * np.abs(a).max():
            record.fault("measure", f"{home.solver}/{there.solver} {np.abs(a - b).max():.2e} apart,"
                         f" motion {scale:.2e}")  # fmt: skip
    elif hasattr(case, "apart"):
        # Two residuals, each relative to the motion and to the force, which balances it.
        if not case.apart(a, b) <= 4 * home.tol:
            record.fault("measure", f"{home.solver} {case.apart(a, b):.2e} of the motion apart")
    elif home.gap is not None:
        (one_, at), (two, _) = case.objective(a), case.objective(b)
        unit = u.c * u.M
        more = abs(home.bias or 0.0) + abs(there.bias or 0.0) / unit
        slack = getattr(case, "slack", 0.0)
        if np.isfinite(one_) and not abs(float(one_ - two)) <= room + more + slack * at:
            record.fault("measure", f"{home.solver}/{there.solver} costs differ by"
                         f" {float(one_ - two):.2e}, room {room + more:.1e}")  # fmt: skip
