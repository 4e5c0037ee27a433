"""The parts of `jko.sample`: moment weights, modes and jumps, diagnostics, the path."""

from types import SimpleNamespace

import numpy as np
import pytest
from generators.exact_targets import student, target_of
from generators.targets import gaussian, two_modes

import jko
from jko.markov.independent import independent_move
from jko.markov.mala import Cloud
from jko.markov.resampling import effective_size
from jko.markov.scale import Preconditioner, Tuner
from jko.sampling import api
from jko.sampling.moves.chains import Chains, forgetting
from jko.sampling.moves.history import History
from jko.sampling.moves.modes import find_modes
from jko.sampling.moves.path import TemperedPath, longest_power, wide
from jko.sampling.search.opening import open_at_fit
from jko.sampling.verdict.bridge import Masses
from jko.sampling.verdict.diagnostics import stein_discrepancy, unseen
from jko.sampling.verdict.moments import moment_weights, project


def test_moment_weights_are_the_nearest_ones(rng):
    """The moments hold, and no rival with the same moments is nearer to uniform."""
    x = rng.standard_normal((300, 4))
    mean, variance = np.full(4, 0.1), np.full(4, 1.1)
    w, matched = moment_weights(x, mean, variance)
    assert matched == "mean and variance"
    assert w.min() >= 0
    np.testing.assert_allclose(w @ x, mean, atol=1e-8)
    np.testing.assert_allclose(w @ (x - mean) ** 2, variance, atol=1e-8)
    constraints = np.column_stack([np.ones(300), x, (x - mean) ** 2])
    inside = np.linalg.qr(constraints)[0]
    for _ in range(30):
        move = rng.standard_normal(300)
        move -= inside @ (inside.T @ move)
        move[w == 0] = 0
        rival = np.maximum(w + 1e-4 * move, 0)
        if np.abs(constraints.T @ (rival - w)).max() < 1e-9:
            assert ((300 * rival - 1) ** 2).sum() >= ((300 * w - 1) ** 2).sum() - 1e-9


def test_moment_weights_with_an_active_bound(rng):
    """Far targets make weights zero; conditions of optimality hold there (a conic reference)."""
    cp = pytest.importorskip("cvxpy")
    x = rng.standard_normal((60, 1))
    features = x - 1.2
    w = project(features)
    assert (w == 0).any()
    v = cp.Variable(60, nonneg=True)
    goal = [cp.sum(v) == 1, features.T @ v == 0]
    cp.Problem(cp.Minimize(cp.sum_squares(60 * v - 1)), goal).solve(solver=cp.CLARABEL)
    np.testing.assert_allclose(w, v.value, atol=1e-5)


def test_impossible_moments_are_left_alone(rng):
    """Outside the hull nothing can be matched: uniform weights, and the word for it."""
    x = rng.standard_normal((100, 2))
    assert project(x - 50) is None
    w, matched = moment_weights(x, np.full(2, 50.0), np.ones(2))
    assert matched == "nothing"
    assert np.ptp(w) == 0
    w, matched = moment_weights(np.ones((50, 1)), np.ones(1), np.zeros(1))
    assert matched == "nothing"


@pytest.mark.parametrize("dim", [1, 2, 10, 30])
def test_modes_are_told_apart(rng, dim):
    """One Gaussian is one mode, heavy tails and a banana too; two far ones are two."""
    x = rng.standard_normal((800, dim))
    assert find_modes(Cloud.at(gaussian(dim), x), rng).count == 1
    x[:560, 0] += 8
    found = find_modes(Cloud.at(two_modes(dim), x), rng)
    assert found.count == 2
    np.testing.assert_allclose(np.sort(found.shares), [0.3, 0.7], atol=0.01)
    labels = found.labels(x)
    assert len(set(labels[:560])) == len(set(labels[560:])) == 1


def test_three_modes(rng):
    means = np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
    mixture = jko.GaussianMixture(means, np.stack([np.eye(2), 0.2 * np.eye(2), np.eye(2)]))
    found = find_modes(Cloud.at(mixture, mixture.sample(900, rng)), rng)
    assert found.count == 3


def test_jumps_keep_the_target(rng):
    """From draws of an uneven mixture jumps alone keep shares and spreads, whatever the pictures.

    The pictures are made wrong on purpose: only the Metropolis test makes them harmless.
    """
    covs = np.stack([np.eye(2), np.diag([0.25, 4.0])])
    mixture = jko.GaussianMixture([[0.0, 0.0], [10.0, 1.0]], covs, [0.3, 0.7])
    x = mixture.sample(20_000, rng)
    cloud = Cloud.at(mixture, x)
    found = find_modes(cloud, rng)
    wrong = type(found)(found.shares[::-1] * 0.5 + 0.25, found.means + 0.3, 1.2 * found.roots)
    moved = 0.0
    for _ in range(15):
        cloud, accepted = wrong.jump(mixture, cloud, rng)
        moved += accepted
    assert moved > 1
    share = (cloud.x[:, 0] > 5).mean()
    assert share == pytest.approx(0.7, abs=0.015)
    right = cloud.x[cloud.x[:, 0] > 5]
    np.testing.assert_allclose(right.mean(axis=0), [10, 1], atol=0.1)
    np.testing.assert_allclose(np.cov(right.T), covs[1], atol=0.2)


def test_independent_moves_keep_the_target(rng):
    """From draws of a mixture its shares and spreads stay, though the proposals are far from it."""
    covs = np.stack([np.eye(2), np.diag([0.25, 4.0])])
    mixture = jko.GaussianMixture([[0.0, 0.0], [5.0, 1.0]], covs, [0.3, 0.7])
    start = cloud = Cloud.at(mixture, mixture.sample(20_000, rng))
    for _ in range(8):
        cloud = independent_move(mixture, cloud, rng)
    assert (cloud.x != start.x).any(axis=1).mean() > 0.9
    np.testing.assert_allclose(cloud.log_p, mixture.log_density_at(cloud.x))
    np.testing.assert_allclose(cloud.score, mixture.score(cloud.x))
    np.testing.assert_allclose(cloud.x.mean(axis=0), [3.5, 0.7], atol=0.06)
    wanted = 0.3 * covs[0] + 0.7 * covs[1] + 0.21 * np.outer([5, 1], [5, 1])
    np.testing.assert_allclose(np.cov(cloud.x.T), wanted, rtol=0.03, atol=0.05)


def test_chains_come_back_out_of_heavy_tails(rng):
    """A tenth of them begin 20 to 200 standard deviations out, where the density is flat."""
    t = student(8, 6)
    x = t.std * rng.standard_normal((400, 8))
    x[:40] *= rng.uniform(20, 200, (40, 1)) / np.linalg.norm(x[:40], axis=1)[:, None]
    target = target_of(t)
    chains = Chains(target, Cloud.at(target, x), lambda x: x, rng, searched=True)
    chains.warm_up()
    assert chains.modes.count == 1
    # Of 400 points the furthest are about 12 standard deviations out.
    assert np.sort(np.linalg.norm(chains.cloud.x, axis=1))[-4] < 20


def test_small_modes_keep_their_chains(rng):
    """Forty chains in a mode of 1 %, 25 standard deviations away, told by the search."""
    mixture = jko.GaussianMixture([np.zeros(3), [25.0, 0, 0]], [np.eye(3)] * 2, [0.99, 0.01])
    x = rng.standard_normal((1000, 3))
    x[:40, 0] += 25
    cloud = Cloud.at(mixture, x)
    modes = find_modes(cloud, rng)
    assert modes.count == 2
    asked = []
    chains = Chains(mixture, cloud, lambda x: x, rng, modes=modes, searched=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jko.sampling.moves.chains.independent_move", lambda *a: asked.append(a))
        chains.warm_up()
    assert not asked
    assert chains.modes.count >= 2


def test_slow_chains_run_on_where_that_will_do():
    """Twice as long where half of what is asked for was reached, no longer where a tenth was."""
    target = target_of(student(1, 30))
    for reached, rounds in ((2.6, 16), (0.5, 8), (9.0, 1)):
        chains = Chains(target, Cloud.at(target, np.zeros((8, 1))), lambda x: x, None)
        done = []
        chains._move = lambda i, done=done: done.append(i)
        chains.tuner, size = SimpleNamespace(h=1.0), property(lambda self, r=reached: r)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(History, "slowest", size)
            patch.setattr(History, "precise", property(lambda self: True))
            chains.keep(6)
        assert len(done) == 6 * rounds


def test_stein_discrepancy_formula(rng):
    """Against the definition with derivatives of the kernel taken by differences."""
    x, d = rng.standard_normal((4, 2)), 2
    score, w = -x + 0.3, np.array([0.1, 0.2, 0.3, 0.4])
    kernel = lambda u, v: (1 + ((u - v) ** 2).sum() / d) ** -0.5
    eye, h = np.eye(d), 1e-4
    total = 0.0
    for i in range(4):
        for j in range(4):
            u, v = x[i], x[j]
            du = [(kernel(u + h * e, v) - kernel(u - h * e, v)) / (2 * h) for e in eye]
            dv = [(kernel(u, v + h * e) - kernel(u, v - h * e)) / (2 * h) for e in eye]
            trace = sum(
                (kernel(u + h * e, v + h * e) - kernel(u + h * e, v - h * e)
                 - kernel(u - h * e, v + h * e) + kernel(u - h * e, v - h * e)) / (4 * h**2)
                for e in eye
            )  # fmt: skip
            stein = score[i] @ score[j] * kernel(u, v) + score[i] @ dv + score[j] @ du + trace
            total += w[i] * w[j] * stein
    found = stein_discrepancy(x, w, score, Preconditioner(np.eye(2)))
    assert found**2 == pytest.approx(total, rel=1e-6)


def test_stein_discrepancy_sees_a_wrong_mean_and_spread(rng):
    x, w = rng.standard_normal((500, 3)), np.full(500, 1 / 500)
    good = stein_discrepancy(x, w, -x, Preconditioner(np.eye(3)))
    for wrong in (x + 0.5, 0.6 * x):
        assert stein_discrepancy(wrong, w, -wrong, Preconditioner(np.eye(3))) > 2 * good


def test_unseen_mass(rng):
    sample = rng.standard_normal((500, 5))
    search = rng.standard_normal((400, 5))
    assert unseen(sample, search, rng) < 0.01
    search[:100, 0] += 10
    assert unseen(sample, search, rng) == pytest.approx(0.25, abs=0.01)


def test_rhat_tells_stuck_and_drifting_chains(rng):
    def rhat(draws):
        history = History.begin(draws[0])
        for k, x in enumerate(draws):
            if k % (len(draws) // 2) == 0:
                history.new_block()
            history.keep(x)
        return history.rhat()[0]

    mixing = rng.standard_normal((40, 200, 1))
    stuck = mixing + 4 * (np.arange(200)[:, None] % 2)
    drift = mixing + np.linspace(0, 3, 40)[:, None, None]
    assert rhat(mixing) < 1.02
    assert rhat(stuck) > 1.5
    assert rhat(drift) > 1.2


def test_history_moments(rng):
    """Mean and variance over chains and moves, by the direct formula; far from zero too."""
    draws = 1e6 + rng.standard_normal((10, 50, 2))
    history = History.begin(draws[0])
    history.new_block()
    for x in draws:
        history.keep(x)
    np.testing.assert_allclose(history.mean, draws.mean(axis=(0, 1)), rtol=1e-14)
    np.testing.assert_allclose(history.variance, draws.var(axis=(0, 1)), rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e40, 1e200])
def test_the_longest_power_keeps_the_effective_size(rng, scale):
    log_ratio = scale * rng.standard_normal(200)
    log_ratio[:20] = -np.inf
    step, weights = longest_power(log_ratio, 1.0, 0.7)
    assert (weights[:20] == 0).all()
    assert effective_size(weights) >= 0.7 * 180 * (1 - 1e-6)
    assert step == 1 or effective_size(weights) < 0.71 * 180


def test_the_path_estimates_the_evidence(rng):
    """log int exp(-|x|^2/2) = (d/2) log(2 pi): the normalised weights of the stages add up."""
    target = gaussian(5)
    reference = wide(rng.standard_normal((500, 5)), np.zeros((1, 5)), 5.0)
    path, tuner = TemperedPath(reference.sample(2000, rng)), Tuner.fresh(5)
    while not path.done:
        path.advance(reference, target, tuner, rng)
    assert path.log_mass == pytest.approx(2.5 * np.log(2 * np.pi), abs=0.2)
    assert np.abs(path.points.mean(axis=0)).max() < 0.15
    assert all(0 < s <= 1 for s in path.sizes)
    assert path.exponents == sorted(path.exponents)


def test_the_opening_is_at_the_hill_of_most_mass(rng):
    """The best first points lead up a hill of weight e^-40, others up the one that counts."""

    def log_density(x):
        return np.logaddexp(-40 - 2 * (x**2).sum(axis=1), -0.5 * ((x - 6) ** 2).sum(axis=1))

    def gradient(x):
        share = np.exp(-40 - 2 * (x**2).sum(axis=1) - log_density(x))[:, None]
        return -4 * share * x - (1 - share) * (x - 6)

    target = jko.LogDensity(log_density, gradient, 2)
    first = np.array([[0.01, 0.0], [0.0, 0.02], [4.0, -3.5], [-4.0, -4.0]])
    heights = log_density(first)
    assert heights.argmax() < 2
    found = open_at_fit(target, first, heights, 200, rng)
    assert found.settled
    np.testing.assert_allclose(found.points.mean(axis=0), 6.0, atol=0.3)


def test_a_log_evidence_of_unknown_error_is_not_told(monkeypatch):
    """An error that is no number is not a small one."""
    rows = {}
    for error in (0.01, np.nan, 1.0):
        found = Masses(np.array([-1.0]), np.array([error]))
        monkeypatch.setattr(api, "second_look", lambda *_, found=found: (found, {}))
        task, progress = SimpleNamespace(opening=None), SimpleNamespace(evidence={})
        rows[error] = api._looked_again(task, None, progress)
    assert rows[0.01] == {"log_evidence": -1.0, "log_evidence_error": 0.04}
    assert not rows[1.0]
    assert not any(rows[error] for error in rows if np.isnan(error))


def test_forgetting_is_that_of_an_autoregression(rng):
    """(1 - r^k)/(1 + r^k) after k moves; of several features the slowest decides."""
    speeds = np.array([0.3, 0.8])
    x = [rng.standard_normal((20_000, 2))]
    for _ in range(5):
        noise = rng.standard_normal(x[-1].shape)
        x.append(speeds * x[-1] + np.sqrt(1 - speeds**2) * noise)
    for apart in (1, 4):
        left = 0.8**apart
        found = forgetting(np.stack(x), apart)
        assert found == pytest.approx((1 - left) / (1 + left), rel=0.03)
