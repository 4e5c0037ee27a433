"""Animations: which moments they show, for how long, and that axes and colours stay put."""

import numpy as np
import pytest

import jko

plot = pytest.importorskip("jko.plot", reason="matplotlib is not installed", exc_type=ImportError)
Image = pytest.importorskip("PIL.Image")


def trajectory(measures, times=None):
    times = np.arange(len(measures)) / 4 if times is None else np.asarray(times, dtype=float)
    return jko.Trajectory(times, tuple(measures), np.zeros(len(measures)), (), {}, "finished", {})


def shown(path):
    """Frames (n, height, width, 3) of a GIF, and the milliseconds that each is shown."""
    frames, pauses = [], []
    with Image.open(path) as image:
        for k in range(image.n_frames):
            image.seek(k)
            frames.append(np.asarray(image.convert("RGB"), dtype=int))
            pauses.append(image.info["duration"])
        assert image.info["loop"] == 0
    return np.array(frames), pauses


def halves(left, right):
    """Density on two cells before a third that is an obstacle."""
    grid = jko.Grid([0, 0], [3, 3], [3, 1], mask=[[True], [True], [False]])
    return jko.GridDensity(grid, [left, right, 0.0])


def test_colours_keep_their_meaning(tmp_path):
    """A cell that rests has one colour, another changes its own, an obstacle is grey."""
    sol = trajectory([halves(3.0, w) for w in (0.0, 1.5, 3.0, 6.0)])
    frames, pauses = shown(plot.animate(sol, tmp_path / "a.gif", seconds=2.0))
    assert len(frames) == 4
    assert pauses == [500, 500, 500, 1500]
    violet, grey = np.array([68, 1, 84]), np.array([107] * 3)
    first, last = frames[0], frames[-1]
    inside = np.argwhere(np.abs(first - violet).max(axis=2) < 9)  # the middle cell, empty yet
    y, x = np.median(inside[inside[:, 1] < 0.6 * first.shape[1]], axis=0).astype(int)
    width = np.ptp(inside[inside[:, 0] == y][:, 1])
    still, wall = x - width, x + width
    assert (np.ptp(frames[:, y, still], axis=0) == 0).all()
    assert np.abs(frames[:, y, wall] - grey).max() < 9
    assert np.abs(last[y, x] - [253, 231, 37]).max() < 9
    assert np.abs(frames[2, y, x] - frames[2, y, still]).max() == 0  # 3 and 3 are one colour
    rest = (frames != first).any(axis=(0, 3))
    rows, columns = np.nonzero(rest)
    outside = (columns < x - width / 2 - 2) | (columns > x + width / 2 + 2)
    assert rows[outside].max() < 0.12 * first.shape[0]  # beside the cell only the title changes


def test_which_moments_are_shown():
    """Every n-th where steps are equal, the nearest in time where they are not; the ends always."""
    from jko.plot.animation import evenly

    assert evenly(np.arange(81) / 40, 48) == list(range(0, 81, 2))
    assert evenly(np.arange(71) * 0.05, 100) == list(range(71))
    assert evenly(np.array([0.0, 0.1, 0.2, 0.3, 0.4, 2.0, 4.0]), 5) == [0, 5, 5, 6]
    assert evenly(np.array([0.0]), 5) == [0]
    assert evenly(np.arange(100.0), 2) == [0, 99]
    for n in range(2, 60):
        shots = evenly(np.linspace(0, 1, n), 12)
        assert len(shots) <= 12
        assert (shots[0], shots[-1]) == (0, n - 1)
        assert len(set(shots)) == len(shots)


def test_lines_and_particles(tmp_path):
    grid = jko.Grid(-4, 4, 60)
    bell = lambda c: jko.GridDensity.from_function(lambda x: np.exp(-((x[:, 0] - c) ** 2)), grid)
    line = [bell(c) for c in (-1.0, 0.0, 1.0)]
    frames, _ = shown(plot.animate(trajectory(line), tmp_path / "line.gif", size=(3, 2), dpi=50))
    assert frames.shape == (3, 100, 150, 3)
    assert (frames[1] != frames[0]).any()
    cloud = [jko.Particles([[0.0, 0], [r, 1.0], [9, 9]], [1, 1, 0.0]) for r in (1.0, 2.0)]
    path = plot.animate(trajectory(cloud), tmp_path / "cloud.gif", color=plot.COLORS[1], area=500)
    frames, _ = shown(path)
    orange = np.abs(frames - [226, 126, 64]).max(axis=3) < 40
    assert (orange.sum(axis=(1, 2)) > 100).all()
    rest = orange[0] & orange[1]  # the atom at the origin stays where it is, on the same axes
    assert 0.3 < rest.sum() / orange[0].sum() < 0.7
    one = trajectory([jko.Particles([[1.0, 2.0]])])
    assert len(shown(plot.animate(one, tmp_path / "one.gif"))[0]) == 1


def test_what_it_refuses(tmp_path):
    sol = trajectory([halves(1.0, 1.0), halves(1.0, 2.0)])
    with pytest.raises(jko.InvalidArgument, match=r"pass a path that ends in .gif"):
        plot.animate(sol, tmp_path / "a.mp4")
    with pytest.raises(jko.InvalidArgument, match=r"frames = 1 does not move; pass 2 or more"):
        plot.animate(sol, tmp_path / "a.gif", frames=1)
    with pytest.raises(jko.InvalidArgument, match="seconds"):
        plot.animate(sol, tmp_path / "a.gif", seconds=0)
    with pytest.raises(jko.InvalidArgument, match=r"seconds = 1e\+09 is too long for 2 frames"):
        plot.animate(sol, tmp_path / "a.gif", seconds=1e9)
    for size in (3, (5,), (0, 4), "ab"):
        with pytest.raises(jko.InvalidArgument, match=r"size got .*; pass \(width, height\)"):
            plot.animate(sol, tmp_path / "a.gif", size=size)
    with pytest.raises(jko.InvalidArgument, match=r"dpi = 1 is too coarse .*; pass 10 or more"):
        plot.animate(sol, tmp_path / "a.gif", dpi=1)
    with pytest.raises(jko.InvalidArgument, match=r"cannot write .*; pass another path"):
        plot.animate(sol, tmp_path / "no" / "a.gif")
    with pytest.raises(jko.InvalidType, match=r"pass the result of jko\.flow"):
        plot.animate(sol.final, tmp_path / "a.gif")
    with pytest.raises(jko.InvalidType, match="animate draws grid densities and particles"):
        plot.animate(trajectory([jko.Gaussian([0.0], [[1.0]])]), tmp_path / "a.gif")
    with pytest.raises(jko.InvalidArgument, match="dimension 3; particles are drawn in the plane"):
        plot.animate(trajectory([jko.Particles(np.zeros((2, 3)))]), tmp_path / "a.gif")
    assert not (tmp_path / "a.gif").exists()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("crowd", ("--rows", "20", "--steps", "7")),
        ("barenblatt", ("--cells", "20", "--steps", "7")),
        ("tumour", ("--cells", "20", "--steps", "7")),
        ("aggregation", ("--particles", "30", "--steps", "8")),
        ("fokker_planck", ("--cells", "40", "--steps", "7")),
    ],
)
def test_demos_write_theirs_when_asked(demo, tmp_path, name, options):
    printed = demo(name, *options, "--animate")
    path = tmp_path / f"{name}.gif"
    assert printed.endswith(f"Animation: {path}\n")
    frames, pauses = shown(path)
    assert len(frames) == int(options[-1]) + 1
    assert sum(pauses) == pytest.approx(6000, abs=10 * len(frames))
