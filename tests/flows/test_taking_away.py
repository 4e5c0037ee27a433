"""A flow taken away: tables, datasets, a sequence of measures, what notebooks show."""

import json
import pickle
import re
from dataclasses import replace

import numpy as np
import pytest

import jko
from jko.flows.callbacks import Progress
from jko.html import curve

GRID = jko.Grid(-4, 4, 40)
START = jko.GridDensity.from_function(lambda x: np.exp(-4 * (x[:, 0] - 1) ** 2), GRID, mass=1)
ENERGY = jko.Entropy() + 0.5 * jko.Potential(lambda x: x[:, 0] ** 2)


@pytest.fixture(scope="module")
def sol():
    geometry = jko.Wasserstein() + jko.Hellinger()
    return jko.flow(START, ENERGY, geometry, tau=0.1, steps=4, splitting="strang", save=2)


def test_a_flow_is_a_sequence_of_its_measures(sol):
    assert len(sol) == 3
    assert [sol[i] for i in range(3)] == list(sol) == list(sol.measures)
    assert sol[-1] is sol.final
    assert sol[1:] == sol.measures[1:]
    with pytest.raises(IndexError):
        sol[3]


def test_frame_has_a_row_per_step(sol):
    frame = sol.to_frame()
    assert list(frame.index) == [0, 1, 2, 3, 4]
    columns = [
        "time", "tau", "energy", "energy[Entropy]", "energy[Potential]", "distance", "gap", "bias",
        "residual", "mass", "ess", "certified", "solver", "claim", "iterations", "seconds",
    ]  # fmt: skip
    assert list(frame.columns) == columns
    np.testing.assert_array_equal(frame["time"], [0, *(s.time for s in sol.steps)])
    for step in sol.steps:
        row, parts = frame.loc[step.index], step.substeps
        assert (row["energy"], row["mass"], row["ess"]) == (step.energy, step.mass, step.ess)
        assert row["gap"] == pytest.approx(sum(s.gap for s in parts))
        assert row["distance"] ** 2 == pytest.approx(sum(s.sqdistance for s in parts))
        assert row["iterations"] == sum(s.iterations for s in parts)
        assert row["certified"] is True
        assert row["solver"] == "Entropic + ClosedForm"


def test_terms_of_the_energy_add_up_where_measures_are_saved(sol):
    frame = sol.to_frame()
    terms = frame[["energy[Entropy]", "energy[Potential]"]]
    saved = frame["time"].isin(sol.times)
    np.testing.assert_allclose(terms[saved].sum(axis=1), frame["energy"][saved], rtol=1e-12)
    assert terms[~saved].isna().all(axis=None)
    bare = replace(sol, plan=None)
    assert not [c for c in bare.to_frame().columns if "[" in c]
    again = bare.to_frame(ENERGY)
    np.testing.assert_array_equal(again["energy[Entropy]"][saved], terms["energy[Entropy]"][saved])
    twice = bare.to_frame(jko.Entropy() + 2 * jko.Entropy())
    np.testing.assert_allclose(twice["energy[Entropy 2]"], 2 * twice["energy[Entropy]"])


def test_frame_of_substeps_names_the_geometry(sol):
    frame = sol.to_frame(substeps=True)
    assert list(frame["geometry"])[1:] == ["Wasserstein()", "Hellinger()", "Wasserstein()"] * 4
    assert list(frame.index)[:3] == [(0, 0), (1, 1), (1, 2)]
    gaps = [s.gap for step in sol.steps for s in step.substeps]
    np.testing.assert_array_equal(frame["gap"][1:], gaps)


def test_a_gap_that_does_not_exist_is_nan():
    cloud = jko.Particles(np.random.default_rng(0).normal(size=(12, 2)))
    target = jko.MMDEnergy(cloud.with_points(cloud.points + 1), jko.kernels.Gaussian(1.0))
    frame = jko.flow(cloud, target, jko.Wasserstein(), tau=0.1, steps=2).to_frame()
    assert frame["gap"].isna().all()
    assert (frame["residual"][1:] <= 1e-6).all()
    assert frame["ess"][2] == pytest.approx(12)


def dataset(measure, energy, geometry, **options):
    return jko.flow(measure, energy, geometry, tau=0.1, steps=2, **options).to_xarray()


def test_datasets_of_densities(sol):
    data = sol.to_xarray()
    assert data["density"].dims == ("time", "x")
    for k, mu in enumerate(sol):
        np.testing.assert_array_equal(data["density"][k], mu.density)
    np.testing.assert_array_equal(data["time"], sol.times)
    np.testing.assert_array_equal(data["step_energy"], [s.energy for s in sol.steps])
    at = data["density"].sel(x=1.0, method="nearest")
    assert (np.diff(at) < 0).all()
    assert data.attrs["splitting"] == "strang"
    square = jko.Grid([-3, -3], [3, 3], [8, 6])
    plane = jko.GridDensity.from_function(lambda x: np.exp(-(x**2).sum(1)), square)
    flat = dataset(plane, jko.PorousMedium(2), jko.Hellinger())
    assert flat["density"].dims == ("time", "x", "y")
    assert flat["density"].shape == (3, 8, 6)
    np.testing.assert_array_equal(flat["y"], plane.grid.axes[1])


def test_datasets_of_atoms_and_gaussians(rng):
    k = jko.kernels.Gaussian(1.0)
    cloud = jko.Particles(rng.normal(size=(9, 2)))
    goal = jko.MMDEnergy(jko.Particles(rng.normal(size=(7, 2))), k)
    moved = dataset(cloud, goal, jko.Wasserstein())
    assert moved["points"].shape == (3, 9, 2)
    fixed = dataset(jko.Histogram(cloud.points, cloud.weights), goal, jko.MMD(k))
    assert fixed["points"].shape == (9, 2)
    assert fixed["weights"].shape == (3, 9)
    bell = jko.Gaussian([1.0, 0.0], np.eye(2))
    bells = dataset(bell, jko.KL(jko.Gaussian([0.0, 0.0], np.eye(2))), jko.Wasserstein())
    assert bells["cov"].shape == (3, 2, 2)
    np.testing.assert_array_equal(bells["mean"][0], [1, 0])
    mixture = jko.GaussianMixture([[0.0], [2.0]], [[[1.0]], [[0.5]]], [0.5, 0.5])
    several = replace(jko.flow(bell, jko.KL(bell), jko.Wasserstein(), tau=1, steps=1))
    data = replace(several, measures=(mixture, mixture)).to_xarray()
    assert data["means"].shape == (2, 2, 1)


def test_measures_that_fit_in_no_array(sol):
    cloud = jko.Particles([[0.0], [1.0]])
    changing = replace(sol, measures=(cloud, cloud, jko.Particles([[0.0]])))
    with pytest.raises(jko.Unsupported, match=r"change their shape .* take sol\.measures"):
        changing.to_xarray()
    mixed = replace(sol, measures=(cloud, cloud, START))
    with pytest.raises(jko.Unsupported, match="several kinds, GridDensity, Particles"):
        mixed.to_xarray()
    finer = jko.GridDensity(jko.Grid(-4, 4, 50), np.ones(50))
    with pytest.raises(jko.Unsupported, match="several grids"):
        replace(sol, measures=(START, START, finer)).to_xarray()


def test_functions_stay_behind_when_a_trajectory_travels(sol):
    assert sol.plan.energies[0] is ENERGY
    again = pickle.loads(pickle.dumps(sol))
    assert again.plan is None
    assert repr(again) == repr(sol)
    np.testing.assert_array_equal(again.energies, sol.energies)


def test_what_notebooks_show(sol):
    bell = jko.Gaussian([1.0], [[2.0]])
    result = jko.step(START, ENERGY, jko.Hellinger(), 0.1)
    split = jko.split_step(START, ENERGY, jko.Hellinger(), 0.1)
    shown = {
        "Trajectory": (sol, ["4 to t = 0.4", "Wasserstein() + Hellinger()", "<svg"]),
        "GridDensity": (START, ["<td style='text-align:left'>40</td>", "<svg"]),
        "Gaussian": (bell, ["mass", "[1.]"]),
        "StepResult": (result, ["ClosedForm", "sqdistance"]),
        "SplitResult": (split, ["ClosedForm", "<thead>"]),
        "identities": (sol.verify(), ["certified", "holds"]),
    }
    for title, (value, words) in shown.items():
        text = value._repr_html_()
        assert all(word in text for word in [title, *words]), (title, text)
        assert text.count("<table>") == text.count("</table>") == 1
    named = jko.flow(START, jko.Potential(lambda x: x[:, 0] ** 2), jko.Hellinger(), tau=1, steps=1)
    assert "&lt;lambda&gt;" in named._repr_html_()  # never read as a tag


def test_curves_are_finite_and_short():
    assert curve([1.0]) == curve([]) == curve([np.inf, np.nan, 1.0]) == ""
    drawn = curve(np.linspace(0, 1, 10_000))
    assert len(re.findall(r"\d,\d", drawn)) < 400
    assert "nan" not in curve([1.0, 1.0])


def test_progress_is_that_of_the_place(monkeypatch):
    """`tqdm.auto` is a widget in a notebook and text elsewhere."""
    seen = []

    class Bar:
        n = 0

        def __init__(self, **options):
            seen.append(options)

        def update(self, count):
            self.n += count

        set_postfix = close = lambda self, **_: None

    monkeypatch.setattr("tqdm.auto.tqdm", Bar)
    jko.flow(START, ENERGY, jko.Hellinger(), tau=0.1, steps=3, progress=True)
    assert json.dumps(seen) == json.dumps([{"total": 3, "desc": "jko", "initial": 0}])
    assert Progress().label == "jko"
