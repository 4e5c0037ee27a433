"""Learners: scikit-learn's checks, closed forms, saddle-point certificates, a shift survived."""

import warnings

import numpy as np
import pytest

import jko
from jko.dro import PredictionLoss, minimise

pytest.importorskip("sklearn")
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import scale
from sklearn.utils.estimator_checks import parametrize_with_checks

from jko.dro import RobustClassifier, RobustRegressor

GEOMETRIES = {
    "kl": (jko.Divergence(p=1), 0.1),
    "chi2": (jko.Divergence(p=2), 0.1),
    "hellinger": (jko.Hellinger(), 0.3),
    "wasserstein": (jko.Wasserstein(), 0.1),
    "mmd": (jko.MMD(jko.kernels.Gaussian(3.0)), 0.1),
}


def regression(n=120):
    x, y = load_diabetes(return_X_y=True)
    return scale(x)[:n, :6], scale(y)[:n]


def classification(n=120):
    x, y = load_breast_cancer(return_X_y=True)
    return scale(x)[:n, :6], y[:n]


@parametrize_with_checks([RobustRegressor(), RobustClassifier()])
def test_scikit_learn_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # or one of the checks is skipped
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the checks feed deliberately odd data
        check(estimator)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_fits_are_certified(name):
    """The saddle-point gap; and no coefficients nearby have a smaller worst case."""
    geometry, radius = GEOMETRIES[name]
    n = 30 if name == "mmd" else 120
    for model, (x, y) in (
        (RobustRegressor(geometry=geometry, radius=radius), regression(n)),
        (RobustRegressor("huber", geometry=geometry, radius=radius), regression(n)),
        (RobustClassifier(geometry=geometry, radius=radius), classification(n)),
    ):
        fit = model.fit(x, y)
        assert abs(fit.gap_) <= 1e-6 * max(1.0, abs(fit.robust_loss_))
        assert fit.worst_weights_.sum() == pytest.approx(1.0)
        assert fit.score(x, y) > (0.3 if isinstance(model, RobustRegressor) else 0.8)


def test_radius_zero_is_ordinary_least_squares():
    x, y = regression()
    plain = LinearRegression().fit(x, y)
    for geometry, _ in GEOMETRIES.values():
        fit = RobustRegressor(geometry=geometry, radius=0.0).fit(x, y)
        np.testing.assert_allclose(fit.coef_, plain.coef_, atol=1e-6)
        assert fit.robust_loss_ == pytest.approx(np.mean((plain.predict(x) - y) ** 2), rel=1e-10)


def test_radius_zero_is_logistic_regression():
    x, y = classification()
    plain = LogisticRegression(C=1 / (0.01 * len(x)), tol=1e-10, max_iter=5000).fit(x, y)
    fit = RobustClassifier(geometry=jko.Wasserstein(), radius=0.0, alpha=0.01).fit(x, y)
    np.testing.assert_allclose(fit.coef_, plain.coef_[0], atol=1e-5)
    np.testing.assert_allclose(fit.predict_proba(x), plain.predict_proba(x), atol=1e-5)


def test_wasserstein_least_squares_is_square_root_ridge():
    """(rms + radius |coef|)^2 at the fit, as the moved samples say."""
    x, y = regression()
    fit = RobustRegressor(geometry=jko.Wasserstein(), radius=0.2).fit(x, y)
    rms = np.sqrt(np.mean((fit.predict(x) - y) ** 2))
    assert fit.robust_loss_ == pytest.approx(
        (rms + 0.2 * np.linalg.norm(fit.coef_)) ** 2, rel=1e-10
    )
    moved = fit.worst_case_
    residual = moved.points @ fit.coef_ + fit.intercept_ - y[moved.index]
    assert moved.weights @ residual**2 == pytest.approx(fit.robust_loss_, rel=1e-10)
    shift = ((moved.points - x[moved.index]) ** 2).sum(axis=1)
    assert np.sqrt(moved.weights @ shift) == pytest.approx(0.2, rel=1e-9)


@pytest.mark.parametrize("loss", ["logistic", "huber"])
def test_moved_features_against_free_particles(loss):
    """The scalar reduction agrees with certified worst cases on a cloud of points, and beats it."""
    x, y = classification(12)
    x, y = x[:, :2], np.where(y > 0, 1.0, -1.0)
    theta = np.array([2.0, -3.0])
    known = {**jko.dro.predictions.REGRESSION, **jko.dro.predictions.CLASSIFICATION}[loss]
    adversary = jko.dro.features.FeatureAdversary(
        x, y, np.full(12, 1 / 12), known, 1.0, 0.5, None, False
    )
    attack = adversary(theta)
    assert attack.gap <= 1e-8
    best = 0.0
    rng = np.random.default_rng(0)
    for _ in range(300):
        shift = rng.normal(size=12) * rng.uniform(0, 1, 12)
        shift *= 0.5 / np.sqrt(np.mean(shift**2))
        moved = x + shift[:, None] * theta / np.linalg.norm(theta)
        best = max(best, float(np.mean(known.value(moved @ theta, y))))
    assert attack.value >= best
    assert attack.value <= best * 1.5
    numeric = [
        (adversary(theta + h).value - adversary(theta - h).value) / 2e-5 for h in 1e-5 * np.eye(2)
    ]
    np.testing.assert_allclose(attack.gradient, numeric, rtol=1e-4)


def test_penalised_form_weights_and_a_loss_of_ones_own():
    x, y = regression()
    for geometry in (jko.Wasserstein(), jko.Hellinger()):
        fit = RobustRegressor(geometry=geometry, tau=0.2).fit(x, y)
        assert abs(fit.gap_) <= 1e-6
    doubled = RobustRegressor().fit(np.r_[x, x[:30]], np.r_[y, y[:30]])
    weighted = RobustRegressor().fit(x, y, sample_weight=np.r_[np.full(30, 2.0), np.ones(90)])
    np.testing.assert_allclose(doubled.coef_, weighted.coef_, atol=1e-6)
    cosh = PredictionLoss(
        lambda z, y: np.sqrt(1 + (z - y) ** 2) - 1,
        lambda z, y: (z - y) / np.sqrt(1 + (z - y) ** 2),
        lipschitz=1.0,
    )
    for geometry in (None, jko.Wasserstein()):
        model = clone(RobustRegressor(loss=cosh, geometry=geometry))
        assert abs(model.fit(x, y).gap_) <= 1e-6


def test_radius_by_cross_validation():
    """The interface of scikit-learn's search."""
    x, y = classification(80)
    search = GridSearchCV(RobustClassifier(), {"radius": [0.0, 0.1]}, cv=2).fit(x, y)
    assert search.best_params_["radius"] in (0.0, 0.1)


def test_kinks_are_closed_by_scenarios():
    """Transport on a finite support: worst cases jump with theta; the gap closes anyway."""
    loss = lambda t, z: (z[:, 0] * t[0] - z[:, 1]) ** 2 + 0.1 * t[0] ** 2
    slope = lambda t, z: (2 * (z[:, 0] * t[0] - z[:, 1]) * z[:, 0] + 0.2 * t[0])[:, None]
    mu = jko.Particles(np.random.default_rng(2).normal(size=(30, 2)))
    fit = minimise(loss, [0.0], mu, jko.Wasserstein(), gradient=slope, radius=0.5)
    assert fit.success
    for t in np.linspace(fit.theta[0] - 0.2, fit.theta[0] + 0.2, 41):
        there = jko.dro.worst_case(lambda z, t=t: loss([t], z), mu, jko.Wasserstein(), radius=0.5)
        assert there.value >= fit.value - 1e-6


def uncertain_least_squares(seed):
    """E |A(xi) theta - b|^2, A(xi) = A0 + xi A1, ten draws of xi in [-1/2, 1/2]."""
    rng = np.random.default_rng(seed)
    a0, a1 = rng.normal(size=(10, 10)), rng.normal(size=(10, 10))
    b, xi = rng.normal(size=10), rng.uniform(-0.5, 0.5, size=(10, 1))
    residual = lambda t, x: a0 @ t + x * (a1 @ t) - b
    loss = lambda t, x: (residual(t, x) ** 2).sum(axis=1)
    slope = lambda t, x: 2 * (residual(t, x) @ a0 + x * (residual(t, x) @ a1))
    return loss, slope, xi


def test_kernel_robust_least_squares():
    """At the largest shift the test loss is at least 20 % below ERM, mean of ten seeds."""
    geometry, points = jko.MMD(jko.kernels.Gaussian(1.0)), np.linspace(-3, 3, 13)[:, None]
    lost = {"erm": [], "robust": []}
    for seed in range(10):
        loss, slope, xi = uncertain_least_squares(seed)
        mu, test = jko.Particles(xi), np.random.default_rng(seed + 100)
        shifted = test.uniform(-2.5, 2.5, size=(2000, 1))
        options = {"gradient": slope, "penalty": 0.0}
        erm = minimise(loss, np.zeros(10), mu, geometry, radius=0.0, **options)
        robust = minimise(
            loss, np.zeros(10), mu, geometry, radius=0.3, support="union", points=points, **options
        )
        assert robust.success
        lost["erm"].append(loss(erm.theta, shifted).mean())
        lost["robust"].append(loss(robust.theta, shifted).mean())
    assert np.mean(lost["robust"]) <= 0.8 * np.mean(lost["erm"])
    assert (np.array(lost["robust"]) < np.array(lost["erm"])).all()


@pytest.mark.parametrize("geometry", [jko.dro.CVaR(0.5), jko.Divergence(p=1), jko.dro.Sinkhorn(1)])
def test_classes_that_a_line_parts_cost_nothing(geometry):
    """Without a penalty all hinges are 0: the gap is measured by the size of the pieces."""
    x = np.array([[-2.0, 1.0], [-1.0, 0.0], [1.0, 0.0], [2.0, 1.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = RobustClassifier("hinge", geometry, radius=2.0, alpha=0.0).fit(x, [0, 0, 1, 1])
    assert 0 <= found.robust_loss_ <= 1e-8
    assert abs(found.gap_) <= 1e-6
