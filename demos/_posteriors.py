"""Real posteriors: log densities with their gradients, vectorised over particles."""

from dataclasses import dataclass

import numpy as np

import jko

SCHOOLS = ("A", "B", "C", "D", "E", "F", "G", "H")
EFFECTS = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])
ERRORS = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])


def eight_schools() -> jko.LogDensity:
    r"""mu ~ N(0, 5^2), tau ~ half-Cauchy(5), theta_j = mu + tau eta_j, y_j ~ N(theta_j, s_j^2).

    Coordinates: mu, log tau, eta_1, ..., eta_8 with eta_j ~ N(0, 1) (the density of log tau has
    the Jacobian tau).
    """

    def parts(x):
        tau = np.exp(np.minimum(x[:, 1], 100.0))
        return tau, (EFFECTS - x[:, :1] - tau[:, None] * x[:, 2:]) / ERRORS

    def log_density(x):
        tau, rest = parts(x)
        prior = -0.5 * (x[:, 0] / 5) ** 2 - 0.5 * (x[:, 2:] ** 2).sum(axis=1)
        return prior + x[:, 1] - np.log1p((tau / 5) ** 2) - 0.5 * (rest**2).sum(axis=1)

    def gradient(x):
        tau, rest = parts(x)
        force = rest / ERRORS
        out = np.empty_like(x)
        out[:, 0] = -x[:, 0] / 25 + force.sum(axis=1)
        out[:, 1] = 1 - 2 / (1 + (5 / tau) ** 2) + tau * (force * x[:, 2:]).sum(axis=1)
        out[:, 2:] = -x[:, 2:] + tau[:, None] * force
        return out

    return jko.LogDensity(log_density, gradient, 10)


def eight_schools_exact(nodes: int = 20_001) -> dict[str, tuple[float, float]]:
    """Exact mean and standard deviation of mu, log tau, tau and every theta_j.

    Given tau all is Gaussian; one integral over log tau is left, by the trapezoidal rule.
    """
    t = np.linspace(-14.0, 7.0, nodes)
    tau = np.exp(t)
    spread = ERRORS**2 + tau[:, None] ** 2  # y_j ~ N(mu, s_j^2 + tau^2)
    precision = 1 / 25 + (1 / spread).sum(axis=1)
    mean = (EFFECTS / spread).sum(axis=1) / precision
    fit = -0.5 * (np.log(spread) + EFFECTS**2 / spread).sum(axis=1)
    log_w = fit - 0.5 * np.log(precision) + 0.5 * precision * mean**2
    log_w += t - np.log1p((tau / 5) ** 2)
    w = np.exp(log_w - log_w.max())
    w /= w.sum()

    def moments(first, second):
        m = float(w @ first)
        return m, float(np.sqrt(w @ second - m**2))

    share = tau[:, None] ** 2 / spread  # of y_j in E[theta_j | y, mu, tau]
    theta = share * EFFECTS + (1 - share) * mean[:, None]
    within = share * ERRORS**2 + (1 - share) ** 2 / precision[:, None]
    out = {
        "mu": moments(mean, mean**2 + 1 / precision),
        "log tau": moments(t, t**2),
        "tau": moments(tau, tau**2),
    }
    for j, name in enumerate(SCHOOLS):
        out[f"theta {name}"] = moments(theta[:, j], theta[:, j] ** 2 + within[:, j])
    return out


def schools_observables(x: np.ndarray) -> np.ndarray:
    """tau and theta_1, ..., theta_8 (n, 9) at coordinates (n, 10)."""
    tau = np.exp(x[:, 1])
    return np.column_stack([tau, x[:, :1] + tau[:, None] * x[:, 2:]])


def logistic(table: np.ndarray, signs: np.ndarray) -> jko.LogDensity:
    """Posterior of b ~ N(0, I) when P(sign_i) = 1/(1 + exp(-sign_i table_i.b))."""
    signed = np.ascontiguousarray((table * signs[:, None]).T)

    def both(b):
        margins = b @ signed
        # log(1 + exp(-m)) = max(-m, 0) + log(1 + exp(-|m|)): no overflow
        small = np.exp(-np.abs(margins))
        loss = np.maximum(-margins, 0) + np.log1p(small)
        doubt = np.where(margins > 0, small, 1) / (1 + small)
        return -loss.sum(axis=1) - 0.5 * (b**2).sum(axis=1), doubt @ signed.T - b

    return jko.LogDensity(value_and_grad=both, dim=table.shape[1])


def diabetes(df: float = 4.0) -> jko.LogDensity:
    """Progression of diabetes of 442 patients on ten measurements, with Student t errors.

    Coordinates: intercept and ten coefficients of standardised columns, N(0, 200^2), then the log
    of the scale of the errors, N(0, 5^2).
    """
    try:
        from sklearn.datasets import load_diabetes
    except ImportError:
        raise jko.InvalidArgument(
            "the diabetes data come with scikit-learn; run pip install 'jko[demo]'"
        ) from None
    data = load_diabetes(scaled=False)
    columns = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    table, y = np.column_stack([np.ones(len(columns)), columns]), data.target
    dim = table.shape[1]

    def both(x):
        z = (y - x[:, :dim] @ table.T) * np.exp(-x[:, dim:])
        fit = -0.5 * (df + 1) * np.log1p(z**2 / df).sum(axis=1) - len(y) * x[:, dim]
        prior = 0.5 * (x[:, :dim] ** 2).sum(axis=1) / 200**2 + 0.5 * (x[:, dim] / 5) ** 2
        pull = (df + 1) * z / (df + z**2)
        slope = np.empty_like(x)
        slope[:, :dim] = np.exp(-x[:, dim:]) * (pull @ table) - x[:, :dim] / 200**2
        slope[:, dim] = (pull * z).sum(axis=1) - len(y) - x[:, dim] / 25
        return fit - prior, slope

    return jko.LogDensity(
        value_and_grad=both,
        dim=dim + 1,
        names=["intercept", *map(str, data.feature_names), "log scale"],
    )


@dataclass(frozen=True)
class Regression:
    """Data of a logistic regression, and the posterior given all of it."""

    table: np.ndarray
    signs: np.ndarray
    names: tuple[str, ...]

    @property
    def target(self) -> jko.LogDensity:
        """The posterior given every row."""
        return logistic(self.table, self.signs)


def breast_cancer() -> Regression:
    """569 tumours, 30 measurements standardised, an intercept first; benign against malignant."""
    try:
        from sklearn.datasets import load_breast_cancer
    except ImportError:
        raise jko.InvalidArgument(
            "the breast cancer data come with scikit-learn; run pip install 'jko[demo]'"
        ) from None
    data = load_breast_cancer()
    columns = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    table = np.column_stack([np.ones(len(columns)), columns])
    names = ("intercept", *map(str, data.feature_names))
    return Regression(table, 2.0 * data.target - 1, names)
