"""Every check of `jko.verify` holds on its own problem and gives the same figures twice."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import jko
from jko.verify import problems, report


@pytest.mark.parametrize("name", jko.verify.names())
def test_holds(name):
    (identity,) = jko.verify.all(name)
    assert identity.name == name
    assert identity.holds, str(identity)
    assert np.isfinite([identity.lhs, identity.rhs, identity.residual]).all()
    assert len(identity.statement) <= 110


def test_theorem_at_the_declared_numbers():
    """1e-5 between independent conic solutions, 1e-8 between closed form and QP, at n = 200."""
    target, previous = problems.shared(200, zeros=0)
    assert target.n == 200
    for eta in (0.1, 0.5, 3.0):
        check = {"kernel": problems.SMOOTH, "eta": eta}
        assert jko.verify.mmd_kl_equivalence(target, previous, **check).residual <= 1e-5
    assert jko.verify.mixture_by_qp(target, previous, kernel=problems.SMOOTH).residual <= 1e-8


@pytest.mark.parametrize(
    "kernel",
    [jko.kernels.InverseMultiquadric(1.0), jko.kernels.Matern(1.0), jko.kernels.Energy()],
    ids=repr,
)
def test_theorem_for_other_kernels(kernel):
    target, previous = problems.scattered(14, 19, seed=3)
    check = jko.verify.mmd_kl_equivalence(target, previous, kernel=kernel, support="union")
    assert check.holds, str(check)


def test_runs_are_deterministic():
    names = ("mmd-kl-union", "ift-bound-union", "lojasiewicz", "order-strang", "spherical-step")
    first, second = jko.verify.all(names), jko.verify.all(names)
    assert first == second


def test_selection_by_name_and_by_beginning():
    assert jko.verify.select("chord-arc") == ("chord-arc",)
    assert jko.verify.select(["order-lie", "order-*"])[0] == "order-lie"
    assert set(jko.verify.select("erratum-*")) < set(jko.verify.names())
    assert jko.verify.select() == jko.verify.names()


def test_unknown_names_meet_the_nearest_ones():
    with pytest.raises(jko.InvalidArgument, match="'mmd-kl-unoin'; nearest: mmd-kl-union"):
        jko.verify.all("mmd-kl-unoin")
    with pytest.raises(jko.InvalidArgument, match="no check named"):
        jko.verify.all("zzz*")


def test_a_check_that_cannot_run_does_not_hold(monkeypatch):
    def broken():
        raise jko.Unsupported("no solver takes this\n  for many reasons")

    monkeypatch.setitem(report.CHECKS, "chord-arc", broken)
    result = jko.verify.all("chord-arc")
    assert not result.holds
    assert result.identities[0].statement == "could not run: no solver takes this"
    with pytest.raises(jko.verify.IdentityFailed, match="chord-arc"):
        result.raise_if_failed()


def test_verify_is_imported_when_asked_for():
    code = (
        "import sys, jko; assert 'jko.verify' not in sys.modules; assert 'verify' in dir(jko);"
        " assert callable(jko.verify.all); assert not hasattr(jko, 'verfy')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# -- arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"support": "sphere"}, "support"),
        ({"mass": "loose"}, "mass"),
        ({"eta": 0.0}, "eta"),
        ({"previous": [1.0]}, "previous"),
        ({"target": jko.Gaussian(np.zeros(2), np.eye(2))}, "target"),
        ({"masses": (1.0, 1.5)}, "equal masses"),
        ({"apart": True}, "support='union'"),
    ],
)
def test_bad_arguments_of_the_theorem(change, message):
    change = dict(change)
    target, previous = problems.shared(10, masses=change.pop("masses", (1, 1)))
    if change.pop("apart", False):
        target = jko.Histogram(target.points + 0.1, target.weights)
    call = {"target": target, "previous": previous, "kernel": problems.SMOOTH, **change}
    with pytest.raises(jko.InvalidArgument, match=message):
        jko.verify.mmd_kl_equivalence(**call)


@pytest.mark.parametrize("p", [0.5, 1.0, 2.0])
def test_measured_order_of_a_power(p):
    taus = np.array([0.4, 0.1, 0.02])
    assert jko.verify.measured_order(3 * taus**p, taus) == pytest.approx(p, abs=1e-12)


@pytest.mark.parametrize(
    ("errors", "taus", "message"),
    [
        ([0.1], [0.1], "at least 2"),
        ([0.1, 0.2], [0.1], "equal length"),
        ([0.0, 0.1], [0.1, 0.2], "positive"),
        ([np.nan, 0.1], [0.1, 0.2], "errors"),
    ],
)
def test_measured_order_refuses(errors, taus, message):
    with pytest.raises(jko.InvalidArgument, match=message):
        jko.verify.measured_order(errors, taus)


def test_the_page_of_identities_lists_every_check():
    page = Path(__file__).parents[2].joinpath("docs", "identities.md").read_text("utf-8")
    listed = re.findall(r"^`([a-z0-9.-]+)`$", page, flags=re.M)
    assert sorted(listed) == sorted(jko.verify.names()), "run python docs/identities.py"
