"""`.plot()` and `.animate()` of measures, results and flows draw what there is."""

import re
from dataclasses import replace

import numpy as np
import pytest

import jko

plot = pytest.importorskip("jko.plot", reason="matplotlib is not installed", exc_type=ImportError)
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.animation import FFMpegWriter, FuncAnimation  # noqa: E402

LINE = jko.GridDensity.from_function(lambda x: np.exp(-(x[:, 0] ** 2)), jko.Grid(-3, 3, 30), mass=1)
PLANE = jko.GridDensity.from_function(
    lambda x: np.exp(-((x - 1) ** 2).sum(1)), jko.Grid([-3, -3], [3, 2], [12, 10]), mass=1
)
ENERGY = jko.PorousMedium(2)


@pytest.fixture(scope="module")
def flows(request):
    rng = np.random.default_rng(0)
    k = jko.kernels.Gaussian(1.0)
    cloud = jko.Particles(rng.normal(size=(11, 2)), rng.uniform(0.1, 1, 11))
    goal = jko.MMDEnergy(jko.Particles(rng.normal(size=(9, 2)) + 1), k)
    atoms = jko.Histogram(rng.normal(size=(8, 1)), np.ones(8))
    far = jko.MMDEnergy(jko.Histogram(rng.normal(size=(6, 1)), np.ones(6)), k)
    bell = jko.KL(jko.Gaussian([0.0, 0.0], np.eye(2)))
    options = {"tau": 0.2, "steps": 4}
    return {
        "line": jko.flow(LINE, ENERGY, jko.Hellinger(), **options),
        "plane": jko.flow(PLANE, ENERGY, jko.Hellinger(), **options),
        "cloud": jko.flow(cloud, goal, jko.Wasserstein(), **options),
        "atoms": jko.flow(atoms, far, jko.MMD(k), **options),
        "bell": jko.flow(jko.Gaussian([2.0, 0.0], np.eye(2)), bell, jko.Wasserstein(), **options),
    }


def test_measures_of_every_kind():
    (curve,) = LINE.plot()
    np.testing.assert_array_equal(curve.get_ydata(), LINE.density)
    assert curve.axes.get_xlabel() == "x"
    (image,) = PLANE.plot()
    np.testing.assert_array_equal(image.get_array(), PLANE.density.T)
    assert image.colorbar is not None
    (stems,) = jko.Histogram([[0.0], [1.0], [2.0]], [1.0, 0.0, 3.0]).plot()
    tops = [segment[-1].tolist() for segment in stems.get_segments()]
    assert tops == [[0.0, 1.0], [2.0, 3.0]]  # the empty atom is not drawn
    deep = jko.Particles(np.arange(12.0).reshape(4, 3))
    (marks,) = deep.plot()
    np.testing.assert_array_equal(marks.get_offsets(), deep.points[:, :2])
    assert marks.axes.get_ylabel() == "$x_2$ (of 3)"
    assert len(plt.get_fignums()) == 4


def test_many_particles_on_the_line_are_drawn_in_bins():
    mu = jko.Particles(np.linspace(0, 1, 50)[:, None], np.linspace(1, 2, 50))
    steps, marks = mu.plot()
    values, ends, _ = steps.get_data()
    assert (values * np.diff(ends)).sum() == pytest.approx(mu.mass, rel=1e-12)
    np.testing.assert_array_equal(marks.get_xdata(), mu.points[:, 0])
    assert steps.axes.get_ylim()[1] > values.max()


def test_curves_over_one_another_are_not_cut():
    ax = plt.subplots()[1]
    jko.Gaussian([0.0], [[1.0]]).plot(ax)
    (sharp,) = jko.Gaussian([0.0], [[0.01]]).plot(ax)
    assert ax.get_ylim() == (0, pytest.approx(1.05 * sharp.get_ydata().max()))
    LINE.plot(ax)
    assert ax.get_ylim()[1] > sharp.get_ydata().max()


def test_labels_of_an_image_stay_in_the_figure():
    cube = jko.GridDensity(jko.Grid([-2] * 3, [2] * 3, [5, 5, 5]), np.ones(125))
    (image,) = cube.plot()
    fig = image.axes.figure
    fig.canvas.draw()
    assert image.axes.get_tightbbox().x0 >= 0
    assert image.axes.get_ylabel() == "$x_2$ (of 3)"


def test_a_gaussian_is_drawn_by_its_density():
    (curve,) = jko.Gaussian([1.0], [[4.0]], mass=3.0).plot()
    x, y = curve.get_data()
    np.testing.assert_allclose(y, 3 * np.exp(-((x - 1) ** 2) / 8) / np.sqrt(8 * np.pi), rtol=1e-9)
    two = jko.GaussianMixture([[0.0, 0, 9], [3, 3, 9]], [np.eye(3)] * 2, [1.0, 2.0])
    (image,) = two.plot()
    rows, columns = image.get_array().shape
    left, right, low, high = image.get_extent()
    cell = (right - left) / columns * (high - low) / rows
    assert image.get_array().sum() * cell == pytest.approx(3.0, rel=0.01)  # the marginal


def test_the_marginal_of_three_dimensions():
    cube = jko.GridDensity(jko.Grid([0] * 3, [1, 1, 2], [3, 4, 5]), np.arange(60.0))
    (image,) = cube.plot()
    expected = cube.weights.reshape(3, 4, 5).sum(2) / (1 / 12)
    np.testing.assert_allclose(image.get_array(), expected.T)


def test_axes_and_figures_of_the_callers(flows):
    fig, (left, right) = plt.subplots(1, 2)
    assert LINE.plot(left)[0].axes is left
    result = jko.step(LINE, ENERGY, jko.Hellinger(), 0.1)
    assert result.plot(ax=right)[0].axes is right
    assert right.get_title("left") == f"minimum by ClosedForm, F = {result.energy:.4g}"
    split = jko.split_step(LINE, ENERGY, jko.Hellinger(), 0.1)
    assert split.plot(right, color="k")[0].get_color() == "k"
    right.clear()
    drawn = flows["line"].plot(right)
    assert {a.axes for a in drawn} == {right}
    assert [t.get_text() for t in right.get_legend().get_texts()] == [
        f"t = {t:.3g}" for t in flows["line"].times
    ]
    assert plt.get_fignums() == [fig.number]
    other = plot.figure([["only"]], (6, 3))[0]
    other.clear()
    assert {a.figure for a in flows["plane"].plot(figure=other)} == {other}


def test_flows_show_measures_and_energies(flows):
    for name, sol in flows.items():
        drawn = sol.plot()
        panels = drawn[-1].figure.axes
        energies = next(ax for ax in panels if ax.get_title("left") == "energy")
        np.testing.assert_array_equal(
            energies.lines[0].get_ydata(), [sol.energies[0], *(s.energy for s in sol.steps)]
        )
        assert all(ax.get_xlabel() or ax.get_ylabel() for ax in panels), name
    images = [a for a in flows["plane"].plot(shots=2) if hasattr(a, "get_extent")]
    assert [i.axes.get_title("left") for i in images] == ["t = 0", "t = 0.8"]
    assert images[0].get_clim() == images[1].get_clim() == (0.0, PLANE.density.max())


def test_steps_that_missed_are_marked(flows):
    sol = flows["line"]
    bad = replace(sol.steps[1].substeps[0], gap=1.0)
    steps = (sol.steps[0], replace(sol.steps[1], substeps=(bad,)), *sol.steps[2:])
    drawn = replace(sol, steps=steps).plot()
    assert drawn[-1].get_label() == "not certified"
    np.testing.assert_allclose(drawn[-1].get_offsets(), [[0.4, sol.steps[1].energy]])


@pytest.mark.parametrize("name", ["line", "plane", "cloud", "atoms", "bell"])
def test_animations(name, flows, tmp_path):
    from PIL import Image

    sol = flows[name]
    moving = sol.animate(tmp_path / "flow.gif", frames=3, seconds=1, size=(2.5, 2.0))
    assert isinstance(moving, FuncAnimation)
    with Image.open(tmp_path / "flow.gif") as gif:
        assert gif.n_frames == 3
        first = np.asarray(gif.convert("RGB")).astype(int)
        gif.seek(2)
        assert np.abs(np.asarray(gif.convert("RGB")) - first).max() > 50
    before = [ax.get_position().bounds for ax in moving._sheet.axes]
    (drawn,) = moving._draw(1)
    assert drawn.axes.get_title("left") == "t = 0.4"
    assert [ax.get_position().bounds for ax in moving._sheet.axes] == before


def test_a_notebook_shows_the_animation(flows):
    moving = flows["line"].animate(frames=2, size=(2.0, 1.5))
    html = moving._repr_html_()
    assert "<img" in html
    assert html.count("data:image/png;base64") == 2


def test_films(flows, tmp_path, monkeypatch):
    monkeypatch.setattr(FFMpegWriter, "isAvailable", classmethod(lambda cls: False))
    with pytest.raises(jko.Unsupported, match=r"needs the program ffmpeg; .* write a \.gif"):
        flows["line"].animate(tmp_path / "flow.mp4")


@pytest.mark.skipif(not FFMpegWriter.isAvailable(), reason="ffmpeg is not installed")
def test_films_are_written(flows, tmp_path):
    flows["line"].animate(tmp_path / "flow.mp4", frames=3, seconds=1, size=(2.5, 2.0))
    assert (tmp_path / "flow.mp4").stat().st_size > 1000


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda sol: LINE.plot(ax=3), "ax got a int; pass matplotlib axes"),
        (lambda sol: LINE.plot(colour="r"), r"plot got \['colour'\]; it takes vmax"),
        (lambda sol: sol.plot(figure="new"), "figure got a str; pass a matplotlib figure"),
        (lambda sol: sol.plot(shots=0), "shots = 0"),
        (lambda sol: sol.animate("flow.webm"), "pass a path that ends in .gif or .mp4"),
        (lambda sol: sol.animate(frames=1), "frames = 1 does not move"),
        (lambda sol: sol.animate(seconds=-1), "seconds = -1"),
        (lambda sol: plot.measure(sol), "pass a measure"),
        (lambda sol: plot.trajectory(LINE), "pass the result of jko.flow"),
    ],
)
def test_bad_input(call, says, flows):
    with pytest.raises(jko.InvalidArgument, match=says.replace(".gif", r"\.gif")) as caught:
        call(flows["line"])
    assert not re.search(r"\n", str(caught.value))
