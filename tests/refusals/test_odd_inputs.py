"""Values of kinds that other libraries hand out: numbers, or refused in a short sentence."""

import datetime
import decimal
import fractions
import re

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import jko

X = np.random.default_rng(0).normal(size=(5, 2))
HIST = jko.Histogram(X, np.full(5, 0.2))
CLOUD = jko.Particles(X)
HE, KL = jko.Hellinger(), jko.KL(HIST)
RUN = jko.flow(HIST, KL, HE, tau=0.1, steps=2)

VALUES = {
    "masked": np.ma.masked_array(X, mask=X > 1),
    "bool": X > 0,
    "complex": X + 1j,
    "complex without imaginary part": X + 0j,
    "objects": np.array([[1, "a"], [None, 2]], object),
    "numbers as text": X.astype(str),
    "dates": np.array(["2020-01-01", "2020-01-02"], "datetime64[D]"),
    "durations": np.array([[1, 2]], "timedelta64[s]"),
    "empty": np.zeros((0, 2)),
    "a number in an array": np.array(3.0),
    "NaN": np.full((5, 2), np.nan),
    "infinite": np.full((5, 2), np.inf),
    "negative zeros": -0.0 * X,
    "whole numbers without end": [[10**400, 1]],
    "frame": pd.DataFrame(X),
    "frame of text": pd.DataFrame({"a": ["u", "v"]}),
    "frame with gaps": pd.DataFrame({"a": pd.array([1, None], dtype="Int64")}),
    "categories": pd.Categorical(["a", "b"]),
    "missing": pd.NA,
    "fractions": [[fractions.Fraction(1, 3), fractions.Fraction(2, 3)]],
    "decimals": [[decimal.Decimal("0.1"), decimal.Decimal(2)]],
    "sparse": sparse.csr_array(X),
    "bytes": b"abc",
    "set": {1, 2},
    "ragged": [[1, 2], [3]],
    "records": np.array([(1, 2.0)], dtype=[("a", int), ("b", float)]),
    "memory": memoryview(X.copy()),
    "single": X.astype(np.float16),
    "date": datetime.date(2020, 1, 1),
    "class": float,
    "ellipsis": ...,
    "generator of numbers": np.random.default_rng(0),
}
CALLS = {
    "points": lambda v: jko.Particles(v),
    "weights": lambda v: jko.Histogram(X, v),
    "cov": lambda v: jko.Gaussian([0.0, 0.0], v),
    "shape": lambda v: jko.Grid([0, 0], [1, 1], shape=v),
    "target": lambda v: jko.KL(v),
    "tau": lambda v: jko.step(HIST, KL, HE, v),
    "solver": lambda v: jko.step(HIST, KL, HE, 0.1, solver=v),
    "constraints": lambda v: jko.step(HIST, KL, HE, 0.1, constraints=v),
    "save": lambda v: jko.flow(HIST, KL, HE, tau=0.1, steps=2, save=v),
    "checkpoint": lambda v: jko.flow(HIST, KL, HE, tau=0.1, steps=2, checkpoint=v),
    "file": lambda v: jko.Trajectory.load(v),
    "index": lambda v: RUN[v],
    "time": lambda v: RUN.at(v),
    "cost": lambda v: jko.transport(HIST, HIST, cost=v),
    "radius": lambda v: jko.dro.worst_case(lambda x: x[:, 0], HIST, jko.Divergence(1.0), radius=v),
    "grid": lambda v: jko.sweep(lambda a: a, v),
    "family": lambda v: jko.barycentre(v),
}
#: Functions of the caller's own, whose exceptions are the caller's.
OWN = {("cost", "class")}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CALLS)
def test_taken_or_refused_in_three_lines(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for kind, value in VALUES.items():
        if (name, kind) in OWN:
            continue
        try:
            CALLS[name](value)
        except jko.JkoError as refusal:
            text = str(refusal)
            assert len(text) <= 600, kind
            assert text.count("\n") <= 2, kind
        except Exception as raw:
            raise AssertionError(f"{name} = {kind}") from raw


@pytest.mark.parametrize(
    "call",
    [
        lambda: jko.GridDensity.from_function(lambda x, y: x + y, jko.Grid([0, 0], [1, 1], [3, 3])),
        lambda: jko.sample(lambda x: -x @ x, dim=2, n=20, rng=0),
        lambda: jko.Potential(lambda x: -x @ x).value(jko.Particles(np.ones((4, 3)))),
    ],
)
def test_a_function_of_one_point_is_told_what_it_gets(call):
    """The error is the function's own; a note says what it is called with."""
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    (note,) = caught.value.__notes__
    assert re.search(r"array of shape \(\d+, \d\) at once: x has shape \(n, d\)", note)


def test_columns_where_values_belong_are_told_what_x_is():
    grid = jko.Grid(0, 1, 4)
    for call in (
        lambda: jko.GridDensity.from_function(lambda x: x**2, grid),
        lambda: jko.Potential(lambda x: x**2).value(jko.GridDensity(grid, np.ones(4))),
    ):
        with pytest.raises(jko.InvalidMeasure, match=r"\(4, 1\) for 4 points.* x\[:, 0\]"):
            call()


def test_energies_have_no_sign():
    for call in (lambda: jko.Entropy() - jko.Entropy(), lambda: -jko.Entropy()):
        with pytest.raises(jko.Unsupported, match="positive numbers"):
            call()
