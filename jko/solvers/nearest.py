"""The error of a step that no rule takes: one sentence, or the nearest miss of them all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from jko.errors import MESSAGE, Unsupported
from jko.geometries.divergence import Divergence
from jko.geometries.hellinger import Hellinger
from jko.geometries.mmd import MMD
from jko.prox.problem import ProxProblem
from jko.solvers.base import Elsewhere, NearMiss, ProxSolver, hopeless
from jko.validation import cut

if TYPE_CHECKING:
    from jko.solvers.rules import Rule

#: How the message says where the rest is.
REST = "all reasons: jko.solvers_for(measure, energy, geometry, why=True)"


def refuse(problem: ProxProblem, rules: Sequence[Rule]) -> Unsupported:
    """The error that says why no rule applies, the nearest miss first, and where the rest is.

    Where no weights can be an answer whatever the solver, that alone.
    """
    if len(rules) == 1:
        why = f"{rules[0].solver!r} cannot take this step: {rules[0].reason(problem)}"
        return Unsupported(cut(why, MESSAGE))
    reasons = [(rule, str(rule.reason(problem))) for rule in rules if rule.solver.fits(problem)]
    never = hopeless(problem)
    if never is not None and any(why == never for _, why in reasons):
        return Unsupported(cut(f"the step has no answer: {never}", MESSAGE))
    kind = type(problem.previous).__name__
    asked = f"{cut(repr(problem.energy), 120)} in {cut(repr(problem.geometry), 90)} on a {kind}"
    head = f"no solver takes a step of {asked}"
    near = cut(nearest(problem, rules), MESSAGE - len(head) - len(REST) - 2)
    return Unsupported(f"{head}\n{near}\n{REST}")


def nearest(problem: ProxProblem, rules: Sequence[Rule]) -> str:
    """The smallest change after which a rule applies, else the reasons nearest to one.

    Of the solvers that fit geometry and kind of measure; solvers of this very geometry speak before
    those that take any, and before those that minimise nothing; what most of them say first.
    """
    for words, changed in _changes(problem):
        for rule in rules:
            if rule.solver.fits(changed) and rule.reason(changed) is None:
                return f"nearest: {rule.solver.name} takes it with {words}"
    fitting = [rule for rule in rules if rule.solver.fits(problem)]
    if not fitting:
        return _kinds_taken(problem, rules)
    of_it = [rule for rule in rules if isinstance(problem.geometry, rule.solver.geometries)]
    own = [r for r in fitting if r.solver.geometries != ProxSolver.geometries and not r.last]
    # Solvers that need a form are far from an energy without one.
    missed = [] if problem.has_form else [r for r in fitting if _misses(r, problem)]
    for tier in (missed, own, fitting, of_it):
        reasons = [(rule.solver.name, rule.reason(problem)) for rule in tier]
        near = [(name, why) for name, why in reasons if not isinstance(why, Elsewhere)]
        if near:
            return "nearest: " + "; ".join(_said_most(near))
    return "nearest: " + "; ".join(_said_most(reasons))


def _misses(rule: Rule, problem: ProxProblem) -> bool:
    """Whether the rule would take the step but for its size."""
    return isinstance(rule.reason(problem), NearMiss)


def _said_most(reasons: Sequence[tuple[str, str | None]]) -> list[str]:
    """The two reasons to show: near misses first, then those of most solvers."""
    said: dict[str, list[str]] = {}
    misses = set()
    for name, why in reasons:
        text = str(why).removeprefix(f"{name} ")
        said.setdefault(text, []).append(name)
        if isinstance(why, NearMiss):
            misses.add(text)
    most = sorted(said.items(), key=lambda pair: (pair[0] not in misses, -len(set(pair[1]))))
    return [f"{names[0]}: {why}" for why, names in most[:2]]


def _changes(problem: ProxProblem) -> Iterator[tuple[str, ProxProblem]]:
    """Changes of one argument that leave the question nearly as it was."""
    geometry = problem.geometry
    if isinstance(geometry, (Divergence, Hellinger, MMD)):
        mass = "free" if geometry.mass == "fixed" else "fixed"
        try:
            other = replace(problem, geometry=replace(geometry, mass=mass))
        except Unsupported:  # an energy of equal masses alone
            return
        yield f"mass={mass!r}: use {other.geometry!r}", other


def _kinds_taken(problem: ProxProblem, rules: Sequence[Rule]) -> str:
    """The kinds of measures that solvers of the geometry take."""
    solvers = [r.solver for r in rules if isinstance(problem.geometry, r.solver.geometries)]
    kinds = sorted({kind.__name__ for solver in solvers for kind in solver.kinds})
    names = ["GridDensity, Histogram, Particles" if k == "Discrete" else k for k in kinds]
    if not names:
        return "no solver knows this geometry"
    return f"nearest: solvers of this geometry take {', '.join(names)}"
