"""The search of `jko.sample`: hills, what met them, and where others could hide."""

import numpy as np
import pytest
from generators.exact_targets import mixture, target_of

import jko
from jko.markov.mala import Cloud
from jko.sampling.search.basins import Chart, Hill, hills
from jko.sampling.search.laplace import LaplaceFit, ascend, fit_at
from jko.sampling.search.scatter import (
    HIDDEN,
    ROUNDS,
    Looks,
    among,
    further,
    hidden,
    outstanding,
    outwards,
)


def hill(place, width):
    """A round hill of mass 2 pi in two dimensions, on the first axis."""
    mean = np.array([place, 0.0])
    fit = LaplaceFit(mean, width * np.eye(2), -2 * np.log(width))
    return Hill(fit, mean[None], float(np.log(2 * np.pi)))


def test_hills_of_many_widths_ask_for_a_narrower_one(rng):
    """The share of places where it would be missed; none where no such hill is expected."""
    looks = Looks()
    assert Chart([hill(9.0 * k, 1.0) for k in range(3)]).narrower(looks, rng) is None
    # Even on [0, 1]^2 at density e^-10: a bump of width .02 is as high within .02 sqrt(2 * 17.8).
    x = rng.random((60, 2))
    looks.points.append(x)
    looks.heights.append(np.full(60, -10.0))
    reach = 0.02 * np.sqrt(2 * (10 - 2 * np.log(0.02)))
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1.0]])
    got = hidden(corners, np.ones(2), 0.02 * np.eye(2), float(np.log(2 * np.pi)), looks, rng)
    places = among(corners, np.ones(2), 4000, 1.0, rng)
    missed = np.mean(((places[:, None] - x) ** 2).sum(-1).min(axis=1) > reach**2)
    assert 0.2 < missed < 0.9
    assert abs(got - missed) < 4 * np.sqrt(missed * (1 - missed) / 200)
    looks.heights[0][:] = 30.0  # where all is higher than the bump nothing would have been seen
    assert (
        hidden(corners, np.ones(2), 0.02 * np.eye(2), float(np.log(2 * np.pi)), looks, rng) == 1.0
    )


def test_a_search_goes_on_where_that_would_settle_it():
    """h^m places are left by m times the points; no further where m is too large, or no end."""
    assert further(100, 1, 1, 100.0, None) == 50
    assert further(100, 2, 2, 100.0, None) == 50
    assert further(100, 2, ROUNDS, 100.0, None) == 0
    blind = further(100, 3, ROUNDS, 400.0, 0.2)
    assert blind == pytest.approx(400 * (np.log(HIDDEN) / np.log(0.2) - 1))
    assert 0.2 ** ((400 + blind) / 400) == pytest.approx(HIDDEN)
    for beyond in (0.9, 1.0):
        assert further(100, 3, ROUNDS, 400.0, beyond) == 0
        assert further(100, 3, 2, 400.0, beyond) == 75
    assert further(100, 3, ROUNDS, 400.0, HIDDEN / 2) == 0


def test_a_narrow_mode_off_the_axes_is_found_in_eight_dimensions():
    """Four fifths of the mass in a thousandth of the volume, in a direction of its own."""
    way = np.random.default_rng(19).standard_normal(8)
    exact = mixture("", [np.zeros(8), 12 * way / np.linalg.norm(way)], [1, 0.4], [0.2, 0.8])
    out = jko.sample(target_of(exact), rng=11)
    assert np.abs(out.mean - exact.mean).max() < 0.1 * exact.std.min()
    assert out.converged


def test_meetings_are_climbers_and_points_on_slopes(rng):
    chart = Chart([hill(-9, 1.0), hill(0, 0.5), hill(9, 0.25)])
    x = np.concatenate([h.fit.draw(20 + 10 * k, rng) for k, h in enumerate(chart.hills)])
    heights = chart.explained(x)
    heights[::10] += 5  # nine points of something else
    looks = Looks([x], [heights], [chart.hills[0].fit.mean[None]])
    chart.count(looks)
    chart.count(looks)  # anew, not on top
    assert chart.meetings == [19, 27, 36]


def test_a_narrow_hill_on_the_flank_of_a_wide_one_is_another(rng):
    """Two standard deviations of the wide one away and far above its bump; a ripple is none."""
    target = jko.GaussianMixture([[0, 0], [4.0, 0]], [4 * np.eye(2), 0.01 * np.eye(2)])
    fit = fit_at(target, *ascend(target, np.array([0.1, 0.1])))
    assert fit is not None
    chart = Chart([Hill(fit, fit.draw(50, rng), fit.log_mass)], [0])
    ends = Cloud.at(target, np.array([[0.05, 0.0], [4.01, 0.0], [3.99, 0.02], [2.5, 0.0]]))
    (found,) = hills(target, ends, chart, rng)
    np.testing.assert_allclose(found.fit.mean, [4, 0], atol=1e-3)
    assert chart.explains(ends.x, ends.log_p).tolist() == [True, False, False, True]


def test_points_of_all_shells_stand_out(rng):
    """A hundredth as surprising as all far points, but most in its shell: chosen all the same."""
    x, far = outwards(np.ones(3), 2 * np.eye(3), 4000, 20.0, rng)
    np.testing.assert_allclose(np.linalg.norm(x - 1, axis=1), 2 * np.sqrt(3) * far)
    surprise = 100 * far**2
    odd = int(np.argsort(far)[500])
    surprise[odd] += 90
    assert odd in outstanding(far, surprise)
    assert len(outstanding(far, surprise)) == 80
