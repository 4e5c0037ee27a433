"""Figures draw what they are given and leave matplotlib's settings alone."""

import numpy as np
import pytest

import jko

plot = pytest.importorskip("jko.plot", reason="matplotlib is not installed", exc_type=ImportError)


@pytest.fixture
def ax():
    return plot.figure([["only"]], (4.0, 3.0))[1]["only"]


def test_marker_area_is_proportional_to_weight(ax):
    mu = jko.Particles([[0.0, 0], [1, 1], [2, 0]], [1.0, 0.0, 3.0])
    plot.particles(ax, mu, [[0.0, 1.0]], area=800)
    sizes = ax.collections[-1].get_sizes()
    np.testing.assert_allclose(sizes, [200, 600])  # the empty atom is not drawn
    np.testing.assert_allclose(ax.collections[-1].get_offsets(), mu.points[[0, 2]])
    np.testing.assert_allclose(ax.collections[0].get_offsets(), [[0, 1]])


def test_densities(ax):
    line = jko.GridDensity.from_function(lambda x: np.exp(-(x[:, 0] ** 2)), jko.Grid(-3, 3, 50))
    curve = plot.density(ax, line)
    np.testing.assert_allclose(curve.get_ydata(), line.density)
    plane = jko.GridDensity(jko.Grid([0, 0], [2, 1], [4, 3]), np.arange(12.0))
    image = plot.density(ax, plane)
    assert image.get_extent() == [0, 2, 0, 1]
    np.testing.assert_allclose(image.get_array(), plane.density.T)


def test_decay_draws_every_step(ax):
    sol = jko.flow(
        jko.Gaussian([2.0], [[1.0]]), jko.KL(jko.Gaussian([0.0], [[1.0]])), jko.Wasserstein(),
        tau=0.1, steps=6, save="last",
    )  # fmt: skip
    plot.decay(ax, sol, labels=["flow"])
    x, y = ax.lines[0].get_data()
    np.testing.assert_allclose(x, 0.1 * np.arange(7))
    np.testing.assert_allclose(y[1:], [s.energy for s in sol.steps])
    assert ax.get_yscale() == "log"
    assert ax.get_ylabel() == "energy F"


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_save(tmp_path, ending):
    fig, axes = plot.figure([["a", "b"]], (4.0, 2.0))
    axes["a"].plot([0, 1])
    path = plot.save(fig, tmp_path / f"figure.{ending}")
    assert path.stat().st_size > 500
    with pytest.raises(jko.InvalidArgument, match=r"cannot write .*; pass another path"):
        plot.save(fig, tmp_path / "no" / f"figure.{ending}")


def test_wrong_dimensions(ax):
    with pytest.raises(jko.InvalidArgument, match="dimension 3; particles are drawn in the plane"):
        plot.particles(ax, jko.Particles(np.zeros((2, 3))))
    cube = jko.Grid([0] * 3, [1] * 3, [2] * 3)
    with pytest.raises(jko.InvalidArgument, match="dimension 3; draw one or two"):
        plot.density(ax, jko.GridDensity(cube, np.ones(8)))


def test_style_stays_inside(ax):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    plot.finish(ax, xlabel="x", log=True)
    assert dict(mpl.rcParams) == before
