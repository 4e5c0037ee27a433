"""Linear models trained against the worst case, in scikit-learn's interface."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from jko.dro.ambiguity import Ambiguity, Set, check_geometry, check_size
from jko.dro.checks import check_prediction
from jko.dro.features import FeatureAdversary, MovedSamples, OrderOneAdversary
from jko.dro.frames import centre, frame_of
from jko.dro.linear import linear_model
from jko.dro.predictions import CLASSIFICATION, REGRESSION, PredictionLoss, prediction_loss
from jko.dro.programs import PieceProgram
from jko.dro.sets import CVaR
from jko.dro.training import Adversary, FiniteAdversary, RobustFit, train
from jko.errors import InvalidArgument, Unsupported
from jko.geometries.divergence import Divergence
from jko.geometries.wasserstein import Wasserstein
from jko.measures.atoms import Histogram
from jko.validation import Array, Mask, positive, positive_int, real

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils.multiclass import check_classification_targets, type_of_target
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        "jko's learners need scikit-learn 1.6 or newer; pip install 'jko[learn]' brings it"
    ) from error


class _RobustLinear(BaseEstimator):
    """What both learners share: the fit of theta = (coef_, intercept_)."""

    loss: Any
    geometry: Any
    radius: Any
    tau: Any
    alpha: Any
    fit_intercept: bool
    tol: float
    max_iter: int

    def __init__(
        self,
        loss: Any = "squared",
        geometry: Any = None,
        radius: float = 0.1,
        tau: float | None = None,
        alpha: float = 0.0,
        fit_intercept: bool = True,
        tol: float = 1e-6,
        max_iter: int = 1000,
    ) -> None:
        self.loss = loss
        self.geometry = geometry
        self.radius = radius
        self.tau = tau
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter

    def _fit(self, x: Array, y: Array, weights: Array, loss: PredictionLoss) -> RobustFit:
        """Train on targets y (n,) and weights of mass 1."""
        geometry = check_geometry(Divergence(p=1) if self.geometry is None else self.geometry)
        alpha = real(self.alpha, "alpha")
        if alpha < 0:
            raise InvalidArgument(
                f"alpha = {alpha:.6g} is negative; pass 0 for no penalty, or more"
            )
        charged = weights > 0
        x, y, weights = x[charged], y[charged], weights[charged]
        check_prediction(loss, y)
        tol, limit = positive(self.tol, "tol"), positive_int(self.max_iter, "max_iter")
        adversary, radius = self._adversary(x, y, weights, loss, geometry)
        if loss.pieces is not None:
            intercept = self.fit_intercept
            where = centre(x, weights, intercept)
            program = PieceProgram(x, y, weights, loss, geometry, radius, alpha, intercept, *where)
            fit = program.fit(adversary, tol)
        else:
            ridge = np.full(x.shape[1] + self.fit_intercept, alpha)
            if self.fit_intercept:
                ridge[-1] = 0.0
            frame = frame_of(x, weights, self.fit_intercept)
            fit = train(adversary, np.zeros(ridge.size), ridge, tol, limit, frame)
        self._keep(fit, weights, charged)
        return fit

    def _adversary(
        self, x: Array, y: Array, weights: Array, loss: PredictionLoss, geometry: Set
    ) -> tuple[Adversary, float | None]:
        """The worst case of every theta, and the radius of the ball, None for another set."""
        radius, tau = None, None
        if not isinstance(geometry, CVaR):
            radius, tau = check_size(None if self.tau is not None else self.radius, self.tau)
        if isinstance(geometry, Wasserstein):
            rate, intercept = geometry.rate, self.fit_intercept
            if geometry.is_quadratic and loss.pieces is None:
                moving = FeatureAdversary(x, y, weights, loss, rate, radius, tau, intercept)
                return moving, radius
            if geometry.cost is None and geometry.p == 1 and radius is not None:
                return OrderOneAdversary(x, y, weights, loss, rate, radius, intercept), radius
            if loss.pieces is None:
                raise Unsupported(
                    f"geometry = {geometry!r}: features move in jko.Wasserstein() or, with a"
                    " radius, in jko.Wasserstein(p=1)"
                )
        nominal = Histogram(x, weights)
        stated = Ambiguity(nominal, np.zeros(len(x)), np.ones(len(x), dtype=bool), geometry)
        value, slope = linear_model(loss, y, self.fit_intercept)
        return FiniteAdversary(stated, value, slope, radius, tau, nominal), radius

    def _keep(self, fit: RobustFit, weights: Array, charged: Mask) -> None:
        import warnings

        if not fit.success:
            warnings.warn(fit.message, ConvergenceWarning, stacklevel=4)
        coef = fit.theta[:-1] if self.fit_intercept else fit.theta
        self.coef_, self.intercept_ = coef, float(fit.theta[-1]) if self.fit_intercept else 0.0
        self.worst_case_, self.robust_loss_ = fit.worst, fit.value
        self.gap_, self.n_iter_ = fit.gap, fit.iterations
        found = fit.worst
        self.worst_weights_ = np.zeros(charged.size)
        if isinstance(found, MovedSamples):
            self.worst_weights_[charged] = np.bincount(found.index, found.weights, weights.size)
        else:
            self.worst_weights_[charged] = found.measure.weights

    def _predictions(self, X: Any) -> Array:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        return np.asarray(X @ self.coef_ + self.intercept_)


def _unit_weights(sample_weight: Any, X: Array) -> Array:
    weights = np.asarray(_check_sample_weight(sample_weight, X, dtype=np.float64))
    if (weights < 0).any() or not weights.sum() > 0:
        raise InvalidArgument("sample_weight must be >= 0 with a positive sum")
    return np.asarray(weights / weights.sum())


class RobustRegressor(RegressorMixin, _RobustLinear):
    r"""Linear regression against the worst case of a set of distributions.

    Minimises sup {E_mu l(x.coef + intercept, y) : D(mu, sample) <= radius} + alpha |coef|^2 / 2.

    Parameters
    ----------
    loss : {"squared", "huber", "absolute"} or jko.dro.PredictionLoss
        "squared" is (z - y)^2, "huber" the same up to |z - y| = 1 and linear beyond, "absolute"
        |z - y|. Piecewise linear losses are trained against `jko.Wasserstein(p=1)`,
        `jko.Divergence(p=1)`, `jko.dro.TotalVariation()`, `jko.dro.CVaR(level)` and
        `jko.dro.Sinkhorn(reg)`.
    geometry : jko geometry, optional
        `jko.Divergence(p)` (default p = 1) and `jko.Hellinger()` reweight the samples;
        `jko.MMD(kernel)` reweights them smoothly in the features; `jko.Wasserstein()` moves their
        features and keeps their targets, `jko.Wasserstein(p=1)` at the cost of the distance. Sets:
        `jko.dro.TotalVariation()`, `jko.dro.CVaR(level)`, `jko.dro.Sinkhorn(reg)`.
    radius : float >= 0
        In the units of D (of the divergence, for `Divergence`); not used when `tau` is given.
    tau : float, optional
        The penalised form, E l - D^2/(2 tau), in place of the ball.
    alpha : float >= 0
    fit_intercept : bool
    tol : float
        On the saddle-point gap, relative to the size of the losses.
    max_iter : int

    Attributes
    ----------
    coef_, intercept_ : (d,) array, float
    robust_loss_, gap_ : float
        The worst-case objective; no other coefficients improve it by more than the gap.
    worst_case_ : WorstCase, or MovedSamples for Wasserstein
    worst_weights_ : (n,) array
        What the worst case gives to each sample.
    n_iter_, n_features_in_ : int

    Notes
    -----
    Formula R1. With `Wasserstein` and the squared loss this is (root mean square + radius
    |coef|)^2, square-root ridge regression.

    References
    ----------
    Mohajerin Esfahani and Kuhn (2018); Blanchet and Murthy (2019).
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to samples X (n, d), targets y (n,) and optional weights (n,)."""
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        loss = prediction_loss(self.loss, REGRESSION)
        self._fit(X, np.asarray(y, dtype=float), _unit_weights(sample_weight, X), loss)
        return self

    def predict(self, X: Any) -> Array:
        """Predictions (n,)."""
        return self._predictions(X)


class RobustClassifier(ClassifierMixin, _RobustLinear):
    r"""Binary linear classification against the worst case of a set of distributions.

    As `RobustRegressor`, with targets -1 and +1. For more than two classes wrap it in
    `sklearn.multiclass.OneVsRestClassifier`.

    Parameters
    ----------
    loss : {"logistic", "linear", "hinge"} or jko.dro.PredictionLoss
        "logistic" is log(1 + exp(-y z)); "linear" is -y z and needs alpha > 0; "hinge" is
        max(0, 1 - y z), piecewise linear (see `RobustRegressor`).
    geometry, radius, tau, fit_intercept, tol, max_iter
        See `RobustRegressor`.
    alpha : float >= 0
        Positive by default: separable classes have no best coefficients without it.

    Attributes
    ----------
    classes_ : (2,) array
    coef_, intercept_, robust_loss_, gap_, worst_case_, worst_weights_, n_iter_, n_features_in_
        See `RobustRegressor`.

    References
    ----------
    Mohajerin Esfahani and Kuhn (2018); Blanchet and Murthy (2019).
    """

    def __init__(
        self,
        loss: Any = "logistic",
        geometry: Any = None,
        radius: float = 0.1,
        tau: float | None = None,
        alpha: float = 1e-3,
        fit_intercept: bool = True,
        tol: float = 1e-6,
        max_iter: int = 1000,
    ) -> None:
        super().__init__(loss, geometry, radius, tau, alpha, fit_intercept, tol, max_iter)

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to samples X (n, d), labels y (n,) of two classes and optional weights (n,)."""
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y", raise_unknown=True)
        weights = _unit_weights(sample_weight, X)
        if kind != "binary":
            raise ValueError(
                f"Only binary classification is supported. The type of the target is {kind};"
                " wrap RobustClassifier in sklearn.multiclass.OneVsRestClassifier"
            )
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError("The data contain one class only; RobustClassifier needs two classes")
        signs = np.where(y == self.classes_[1], 1.0, -1.0)
        self._fit(X, signs, weights, prediction_loss(self.loss, CLASSIFICATION))
        return self

    def decision_function(self, X: Any) -> Array:
        """x.coef + intercept (n,); positive for the second class."""
        return self._predictions(X)

    def predict(self, X: Any) -> Array:
        """Labels (n,)."""
        positive_side = self._predictions(X) > 0
        return np.asarray(self.classes_[positive_side.astype(int)])

    def predict_proba(self, X: Any) -> Array:
        """Probabilities (n, 2) by the logistic link: those of the loss "logistic"."""
        from scipy.special import expit

        p = expit(self._predictions(X))
        return np.column_stack([1 - p, p])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags
