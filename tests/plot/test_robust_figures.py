"""`.plot()` of worst cases and robust fits."""

import numpy as np
import pytest

import jko

pytest.importorskip("jko.plot", reason="matplotlib is not installed", exc_type=ImportError)
from matplotlib import pyplot as plt
from matplotlib.collections import LineCollection

RNG = np.random.default_rng(0)
PLANE = jko.Particles(RNG.normal(size=(20, 2)))
LINE = jko.Particles(RNG.normal(size=(15, 1)))


def test_samples_that_moved_are_tied_to_where_they_were():
    loss = jko.dro.Linear([0.6, -0.8])
    found = jko.dro.worst_case(loss, PLANE, jko.Wasserstein(), radius=0.5, support="particles")
    assert found.given is PLANE
    drawn = found.plot()
    axes = drawn[0].axes
    ways = [a for a in drawn if isinstance(a, LineCollection)]
    ends = np.array(ways[0].get_segments())
    np.testing.assert_allclose(ends[:, 1] - ends[:, 0], np.tile([0.3, -0.4], (20, 1)), atol=1e-9)
    low, high = np.array([axes.get_xlim(), axes.get_ylim()]).T
    for mu in (PLANE, found.measure):
        assert (mu.points >= low).all()
        assert (mu.points <= high).all()
    assert f"worst loss {found.value:.4g}, nominal {found.nominal:.4g}" in axes.get_title("left")


def test_samples_that_are_reweighted():
    found = jko.dro.worst_case(lambda x: x[:, 0], LINE, jko.Divergence(p=1), radius=0.1)
    _, ax = plt.subplots()
    given, worst = found.plot(ax)
    assert given.axes is worst.axes is ax
    heights = [segment[-1][1] for segment in worst.get_segments()]
    np.testing.assert_allclose(heights, found.measure.weights[found.measure.weights > 0])
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["given", "worst case"]


def test_fits_draw_their_worst_case():
    fit = jko.dro.minimise(
        lambda t, x: (x[:, 0] - t[0]) ** 2,
        [0.0],
        LINE,
        jko.Divergence(p=2),
        gradient=lambda t, x: -2 * (x - t[0]),
        radius=0.2,
    )
    assert fit.worst.given is LINE
    assert len(fit.plot()) == 2
    x = RNG.normal(size=(30, 2))
    learner = pytest.importorskip("jko.dro.learners", reason="scikit-learn is not installed")
    fit = learner.RobustRegressor(geometry=jko.Wasserstein(), radius=0.3).fit(x, x @ [1.0, -2.0])
    assert len(fit.worst_case_.plot()) == 3
    with pytest.raises(jko.InvalidArgument, match="ax got a str"):
        fit.worst_case_.plot("axes")
