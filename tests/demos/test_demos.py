"""Every demo runs, its printed figures are right, and its figure is written."""

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import jko

DEMOS = Path(__file__).parents[2] / "demos"


def rows(printed: str, first: str) -> np.ndarray:
    """The numbers of the table under the line that starts with `first`."""
    lines = printed[printed.index(first) :].splitlines()[1:]
    table = [line.replace("%", " ").split() for line in lines[: lines.index("")]]
    width = max(map(len, table))
    out = np.full((len(table), width), np.nan)
    for i, fields in enumerate(table):
        out[i, : len(fields)] = [np.nan if f == "-" else float(f) for f in fields]
    return out


def test_every_demo_has_a_test():
    """A demo without a test is a promise nobody keeps."""
    here = "".join(p.read_text(encoding="utf-8") for p in Path(__file__).parent.glob("test_*.py"))
    for path in DEMOS.glob("[!_]*.py"):
        assert f'demo("{path.stem}"' in here


def test_ift_at_full_size(demo):
    """178 wines, 100 steps: (c) under its bound everywhere, (a) not above (b), all certified."""
    pytest.importorskip("sklearn")
    printed = demo("ift")
    assert "178 wines, flavanoids and color_intensity" in printed
    assert "(c) under its bound at every step: yes" in printed
    table = rows(printed, "step ")
    assert table[:, 0].tolist() == [0, 1, 2, 5, *range(10, 101, 10)]
    a, b, c, bound = table[:, 1], table[:, 5], table[:, 8], table[:, 9]
    assert a[0] == b[0] == c[0] == bound[0]
    assert (c <= bound).all()
    assert (np.diff(c) <= 0).all()
    assert a[-1] <= b[-1]
    assert bound[-1] <= 2e-3 * bound[0]
    assert bound[1] == pytest.approx(bound[0] / 1.1, rel=1e-2)
    residuals, gaps = table[1:, [3, 7, 12]], table[1:, [4, 13]]
    assert residuals.max() <= 1e-6
    assert gaps.max() <= 1e-9
    assert ((table[1:, 10] > 0) & (table[1:, 10] < 100)).all()  # copied, per cent
    assert "holds  mmd-kl" in printed


def test_ift_bound_and_order_at_every_step(demo, monkeypatch):
    """The same claims on the trajectories, on another pair of features and another seed."""
    pytest.importorskip("sklearn")
    monkeypatch.syspath_prepend(str(DEMOS))
    ift, data = importlib.import_module("ift"), importlib.import_module("_data")
    points = data.wine(["alcohol", "proline"]).points
    problem = ift.Problem.of(points, 40, np.random.default_rng(3))
    a, b, c = problem.run(25)
    for sol in (a, b, c):
        assert sol.success
        sol.verify().raise_if_failed()
    assert (ift.mmd(c) <= ift.bound(c)).all()
    assert (ift.bound(c)[1:] >= ift.bound(c)[0] / 1.1 ** np.arange(1, 26)).all()
    assert ift.mmd(a)[-1] <= ift.mmd(b)[-1]
    transport = {s.substeps[0].solver for sol in (a, b, c) for s in sol.steps}
    assert transport == {"Lagrangian"}
    k = jko.MMD(problem.kernel)
    assert ift.mmd(a)[-1] == pytest.approx(k.distance(a.final, problem.target), rel=1e-6)
    assert ift.copied(c, 25) == pytest.approx(
        c.final.weights[(c.final.points[:, None] == points).all(-1).any(1)].sum()
    )


def test_talk_grid(demo):
    """POT and CVXPY in turn, both certified; MMD falls at every step."""
    printed = demo("talk_grid", "--cells", "8", "--steps", "4")
    table = rows(printed, "step ")
    assert table[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert (np.diff(table[:, 1]) < 0).all()
    assert (table[:, 1] <= table[:, 2]).all()
    assert np.abs(table[1:, 3:]).max() <= 1e-8
    blur = float(re.search(r"from 0 to (\S+)\.\n", printed).group(1))
    assert 0 < blur < table[-1, 1]


def test_fokker_planck(demo):
    """The energy decays to that of the Gibbs density, which a step leaves where it is."""
    printed = demo("fokker_planck", "--cells", "120", "--steps", "40")
    table = rows(printed, "    t ")
    assert (np.diff(table[:, 1]) < 0).all()
    assert (table[:, 1] > 0).all()
    assert (np.diff(table[:, 3]) > 0).all()
    assert np.abs(table[1:, 4]).max() <= 1e-8
    assert float(re.search(r"moves (\S+) of it", printed).group(1)) < 1e-8
    # Late decay is exponential: the spectral gap of this well, from a dense generator.
    t, excess = table[-2:, 0], table[-2:, 1]
    measured = -np.diff(np.log(excess))[0] / np.diff(t)[0]
    assert measured == pytest.approx(2 * spectral_gap(), rel=0.1)


def spectral_gap(n: int = 400) -> float:
    """Smallest positive rate of rho_t = (rho V')' + D rho'', by finite volumes."""
    fp = importlib.import_module("fokker_planck")
    h = 4.8 / n
    x = -2.4 + h * (np.arange(n) + 0.5)
    gibbs = np.exp(-fp.well(x[:, None]) / fp.D)
    flux = fp.D * np.sqrt(gibbs[1:] * gibbs[:-1]) / h**2
    matrix = np.diag(np.r_[flux, 0] + np.r_[0, flux]) - np.diag(flux, 1) - np.diag(flux, -1)
    root = np.sqrt(gibbs)
    return float(np.linalg.eigvalsh(matrix / np.outer(root, root))[1])


def test_wfr(demo):
    """The mass follows its own equation, to first order in tau, and the flow reaches the target."""
    errors = []
    for steps in ("100", "200"):
        printed = demo("wfr", "--cells", "120", "--steps", steps)
        errors.append(float(re.search(r"Largest \|h - ODE\|: (\S+)", printed).group(1)))
    table = rows(printed, "    t ")
    assert table[0, 1] == pytest.approx(1.0)
    assert abs(table[-1, 2]) < 0.05
    assert (np.diff(table[:, 4]) < 0).all()
    assert np.abs(table[1:, 5:]).max() <= 1e-8
    assert errors[1] < 0.015
    assert errors[0] / errors[1] == pytest.approx(2.0, abs=0.3)


def test_demos_start_from_the_command_line(capsys, tmp_path):
    """`jko demo NAME` finds the file and hands over the options."""
    pytest.importorskip("matplotlib")
    cli = importlib.import_module("jko.cli")
    options = ["--cells", "60", "--steps", "2", "--out", str(tmp_path)]
    assert cli.main(["demo", "fokker_planck", *options]) == 0
    assert "Figure: " in capsys.readouterr().out
    if str(DEMOS) in sys.path:
        sys.path.remove(str(DEMOS))
