"""What `auto` keeps of several answers, and what selecting a solver costs, counted."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

import jko
from jko.prox.stated import Claim
from jko.solvers.auto import RULES
from jko.solvers.rules import _rank
from jko.status import Status

X = np.random.default_rng(0).normal(size=(100, 2))
MU = jko.Histogram(X, np.full(100, 0.01))
PI = MU.with_weights(np.linspace(1, 2, 100) / 150)
RESULT = jko.step(MU, jko.KL(PI), jko.Hellinger(), 0.1)


def missed(gap, bias, claim=Claim.REGULARISED):
    """An answer that is not as accurate as asked, of a step that gains 1."""
    return replace(
        RESULT,
        gap=gap,
        bias=bias,
        claim=claim,
        objective=0.0,
        baseline=1.0,
        allowed=1e-8,
        status=Status.INACCURATE,
    )


def test_the_whole_error_ranks_where_an_accuracy_is_asked_for():
    close, exact_gap = missed(1e-6, 0.02), missed(1e-15, 4.16)
    assert min((close, exact_gap), key=lambda r: _rank(r, 1e-2)) is close
    assert min((close, exact_gap), key=_rank) is exact_gap
    unknown = missed(1e-15, None)
    assert min((unknown, close), key=lambda r: _rank(r, 1e-2)) is close
    exact = missed(0.01, None, Claim.MINIMISES)
    assert min((close, exact), key=lambda r: _rank(r, 1e-2)) is exact


def test_a_certified_answer_comes_before_a_closer_one_that_is_not():
    certified = replace(missed(1e-9, 0.5), status=Status.CERTIFIED)
    assert min((missed(1e-9, 0.1), certified), key=lambda r: _rank(r, 1e-2)) is certified


@pytest.mark.parametrize(
    "geometry",
    [
        jko.Hellinger(),
        jko.Hellinger(mass="fixed"),
        jko.SphericalHellinger(),
        jko.Divergence(p=1),
    ],
)
def test_a_step_in_closed_form_asks_once(monkeypatch, geometry):
    """The energy is restricted once, one solver solves, none is asked twice, one certificate."""
    calls = Counter()

    def counted(owner, name):
        original = getattr(owner, name)

        def one_more(*args, **options):
            calls[name] += 1
            return original(*args, **options)

        monkeypatch.setattr(owner, name, one_more)

    counted(type(jko.KL(PI)), "restrict")
    for solver in {type(rule.solver) for rule in RULES}:
        counted(solver, "accepts")
        counted(solver, "solve")
    counted(jko.prox.problem.ProxProblem, "certificate")
    jko.step(MU, jko.KL(PI), geometry, 0.1)
    assert calls["restrict"] <= 2  # a solver for a part of the objective may ask again
    assert calls["solve"] == calls["certificate"] == 1
    assert calls["accepts"] <= 5
