"""The demos on grids and of aggregation: what they print is right, and held to a second opinion."""

import importlib
import re
from pathlib import Path

import numpy as np
import pytest

DEMOS = Path(__file__).parents[2] / "demos"


def table(printed: str, first: str) -> np.ndarray:
    """The numbers of the table under the line that starts with `first`."""
    lines = printed[printed.index(first) :].splitlines()[1:]
    return np.array([[float(f) for f in line.split()] for line in lines[: lines.index("")]])


def number(printed: str, before: str) -> float:
    """The number after a piece of text."""
    return float(re.search(re.escape(before) + r"\s*([-+.\de]+\d)", printed).group(1))


def test_barenblatt(demo):
    """Within 5e-3 of the PDE at the end; the exact steps are those of the table of formula W5."""
    printed = demo("barenblatt", "--cells", "64")
    rows = table(printed, "    t ")
    assert rows[-1, 0] == 2.0
    assert rows[-1, 1] < 5e-3
    assert number(printed, "of the run,") == pytest.approx(5.655e-3, rel=0.02)
    assert number(printed, "Mean over the steps:") < 1e-2
    assert number(printed, "Mass lost:") < 1e-12
    assert number(printed, "Least density:") >= 0
    assert np.abs(rows[:, 4] - rows[:, 3]).max() < 2 / 64  # the fronts, within two cells
    assert np.abs(rows[:, 5]).max() <= 1e-9
    longer = table(demo("barenblatt", "--cells", "64", "--steps", "20"), "    t ")
    assert longer[-1, 1] / rows[-1, 1] == pytest.approx(4.0, abs=1.2)  # first order in tau


def test_aggregation(demo):
    """The second moment follows its equation to first order; disc and ring are the exact ones."""
    short = demo("aggregation", "--particles", "150", "--steps", "80")
    long = demo("aggregation", "--particles", "150", "--steps", "40")
    errors = [number(text, "Largest error of the second moment:") for text in (long, short)]
    assert errors[1] < 0.02
    assert errors[0] / errors[1] == pytest.approx(2.0, abs=0.3)
    lines = short[: short.index("\n\n")].splitlines()[1:]
    rows = np.array([[float(f) for f in line.split()[:5]] for line in lines])
    assert rows[-1, 3] == pytest.approx(1.0, abs=0.03)
    assert (np.diff(rows[:, 4]) < 0).all()
    assert number(short, "against r^2 at the end: off by") < 0.07
    inner, outer = (float(v) for v in re.search(r"from (\S+) to (\S+), exact", short).groups())
    assert 0.98 * 3 * np.pi / 16 < inner <= outer < 1.02 * 3 * np.pi / 16


def test_heat_image(demo):
    """First order in tau, no light lost, the entropy falls, dark pixels brighten."""
    pytest.importorskip("sklearn")
    rows = table(demo("heat_image", "--shrink", "4"), "      t ")
    assert rows[-1, 0] == 4e-4
    assert rows[-1, 1] < 3e-3
    assert (rows[:, 1] < 0.2 * rows[:, 2]).all()
    assert (np.diff(rows[:, 3]) < 0).all()
    assert (np.diff(rows[:, 4]) > 0).all()  # the darkest pixel brightens
    assert rows[:, 5].max() < 1e-12
    assert rows[:, 6].max() <= 1e-8
    half = table(demo("heat_image", "--shrink", "4", "--steps", "5"), "      t ")
    assert half[-1, 1] / rows[-1, 1] == pytest.approx(2.0, abs=0.4)


def test_the_heat_of_a_picture_is_exact(monkeypatch):
    """`heated` against the heat kernel's own integrals: one bright pixel in a corner of a line."""
    monkeypatch.syspath_prepend(str(DEMOS))
    pytest.importorskip("matplotlib")
    jko = importlib.import_module("jko")
    from scipy.special import erf

    heated, n, time = importlib.import_module("heat_image").heated, 12, 3e-3
    grid = jko.Grid([0.0, 0.0], [1.0, 0.1], [n, 1])
    rho = jko.GridDensity(grid, np.eye(n)[2])
    edges = np.linspace(0, 1, n + 1)
    inner = (np.arange(2000) + 0.5) / 2000 / n + edges[2]  # sources, and their mirror images
    shares = lambda y: (
        np.diff(erf((edges[:, None] - y) / np.sqrt(4 * time)), axis=0).mean(axis=1) / 2
    )
    exact = sum(shares(s * inner + 2 * j) for s in (1, -1) for j in (-1, 0, 1))
    np.testing.assert_allclose(heated(rho, time), exact, atol=1e-7)


def test_tumour(demo):
    """First order to the radial equation, growth at the rim, energy falling in every step."""
    rows = {}
    for steps in ("25", "50"):
        printed = demo("tumour", "--cells", "64", "--steps", steps)
        lines = printed[: printed.index("\n\n")].splitlines()[1:]
        rows[steps] = np.array([[float(f) for f in line.split()[:5]] for line in lines])
        assert "all certified" in printed
    short, long = rows["50"], rows["25"]
    assert short[0, 1] == pytest.approx(short[0, 2], rel=2e-3)
    assert short[-1, 0] == 0.25
    assert short[-1, 1] > 8 * short[0, 1]
    assert short[-1, 3] < 0.03
    lag = [r[-1, 2] - r[-1, 1] for r in (long, short)]
    assert lag[0] / lag[1] == pytest.approx(2.0, abs=0.3)
    assert (np.diff(short[:, 4]) < 0).all()


def test_the_radial_tumour_keeps_its_balance(monkeypatch):
    """The reference itself: mass grows by the births alone, and two meshes agree."""
    monkeypatch.syspath_prepend(str(DEMOS))
    pytest.importorskip("matplotlib")
    tumour = importlib.import_module("tumour")
    times = np.linspace(0, 0.1, 201)
    r, rho = tumour.radial(times, 300)
    ring = 2 * np.pi * r * (r[1] - r[0])
    births = tumour.RATE * (rho * (1 - 1.5 * np.maximum(rho, 0) ** 2)) @ ring
    grown = (births[1:] + births[:-1]) / 2 * np.diff(times)
    np.testing.assert_allclose((rho @ ring)[-1] - (rho @ ring)[0], grown.sum(), rtol=1e-4)
    fine_r, fine = tumour.radial(times, 600)
    off = np.abs(np.interp(r, fine_r, fine[-1]) - rho[-1]) @ ring
    assert off < 3e-3 * (rho @ ring)[-1]


def test_crowd(demo):
    """The ceiling holds, the crowd is later than walkers unhindered, and those near their count."""
    lateness, places = [], []
    for rows in ("26", "52"):
        printed = demo("crowd", "--rows", rows, "--steps", "70")
        mean = re.search(r"door: (\S+) in the crowd, (\S+) unhindered, exactly (\S+)\.\n", printed)
        crowd, free, exact = (float(v) for v in mean.groups())
        assert crowd > 1.25 * free
        # Besides the cells an implicit step is late by half of itself.
        lateness.append(free - exact - 0.025)
        assert number(printed, "Mass lost:") < 1e-12
        assert "all certified" in printed
        # Flows without pressure, or cut at the ceiling, are off by .06 and more.
        shut = re.search(r"off their places by (\S+) at most, (\S+) at", printed).groups()
        places.append([float(v) for v in shut])
    assert 0 < 1.5 * lateness[1] < lateness[0] < 0.1
    assert places[0][0] < 0.036
    assert places[1][0] < 0.025
    assert places[1][1] < 0.007
    assert places[0][1] > 1.7 * places[1][1]
    rows = table(printed, "    t ")
    assert rows[:, 4].max() <= 1 + 1e-6
    assert (np.diff(rows[:, 1]) >= 0).all()
    assert rows[-1, 1] == pytest.approx(rows[-1, 3], rel=1e-3)  # all are through in the end
    assert np.abs(rows[:, 6]).max() <= 1e-9


@pytest.mark.parametrize("ceiling", [1.5, 0.7])
def test_the_jam_notices_a_wrong_ceiling(monkeypatch, ceiling):
    """The check at the shut door, with wrong answers."""
    monkeypatch.syspath_prepend(str(DEMOS))
    pytest.importorskip("matplotlib")
    crowd, jko = importlib.import_module("crowd"), importlib.import_module("jko")
    right = jko.BoxConstraint
    monkeypatch.setattr(jko, "BoxConstraint", lambda _: right(ceiling))
    _, _, shares, exact = crowd.shut(52, 0.05)
    assert np.abs(shares - exact).mean(axis=1).max() * crowd.RADIUS > 0.04
    assert np.abs(shares - exact)[-1].mean() * crowd.RADIUS > 0.04


def test_walls_of_a_picture_are_grey(monkeypatch, tmp_path):
    """Obstacles are left out of the image, whose background shows."""
    plot = pytest.importorskip("jko.plot", exc_type=ImportError)
    jko = importlib.import_module("jko")
    mask = np.array([[True, False], [True, True]])
    grid = jko.Grid([0, 0], [1, 1], [2, 2], mask=mask)
    _, ax = plot.figure([["a"]], (2, 2))
    image = plot.density(ax["a"], jko.GridDensity(grid, [1.0, 0, 2, 3]))
    np.testing.assert_array_equal(image.get_array().mask, ~mask.T)


def test_geodesic(demo):
    """Bounds from both sides; round the wall is longer than through it; growth is cheaper."""
    printed = demo("geodesic", "--cells", "20", "--slices", "8")
    rows = {
        line.split()[0]: [float(f) for f in line.split()[1:]]
        for line in printed.splitlines()
        if line.split()[:1] and line.split()[0] in ("shortest", "congestion", "growth")
    }
    straight = number(printed, "squared distance would be")
    for _, value, lower, gap, *_ in rows.values():
        assert lower <= value
        assert gap < 5e-3
    assert rows["shortest"][0] > straight
    assert rows["growth"][0] < rows["shortest"][0]
    assert rows["congestion"][5] < rows["shortest"][5]  # the densest cell
    assert rows["shortest"][6] == pytest.approx(1, abs=1e-6)
