"""Robust learning."""

import numpy as np

import jko

#: jko.dro.worst_case jko.dro.WorstCase
#: \sup\{\mathbb E_\mu\ell : D(\mu,\hat P)\le r\}
sample = jko.Particles(np.random.default_rng(0).normal(size=(200, 1)))
loss = lambda x: np.tanh(2 * x[:, 0])
found = jko.dro.worst_case(loss, sample, jko.Divergence(p=1), radius=0.1)
print(found)
print(found.measure.mean > sample.mean, found.bound - found.value < 1e-9)

#: jko.dro.WorstCaseStatus
print([status.name for status in jko.dro.WorstCaseStatus])

#: jko.dro.Linear
loss = jko.dro.Linear([0.6, -0.8])
sample = jko.Particles(np.random.default_rng(0).normal(size=(50, 2)))
found = jko.dro.worst_case(loss, sample, jko.Wasserstein(), radius=0.5, support="particles")
print(found.value - found.nominal)

#: jko.dro.Quadratic
loss = jko.dro.Quadratic(matrix=np.diag([1.0, 0.5]), coef=np.zeros(2))
sample = jko.Particles(np.random.default_rng(0).normal(size=(50, 2)))
found = jko.dro.worst_case(loss, sample, jko.Wasserstein(), radius=0.5, support="particles")
print(found.success, found.value > found.nominal)

#: jko.dro.kernel_worst_case jko.dro.BoxWorstCase
sample = jko.Particles(np.linspace(-1, 1, 20)[:, None])
loss = lambda x: np.tanh(2 * x[:, 0])
found = jko.dro.kernel_worst_case(
    loss,
    sample,
    jko.MMD(jko.kernels.Gaussian(1.0)),
    radius=0.1,
    lower=[-2.0],
    upper=[2.0],
    points=np.array([[-2.0], [0.0], [2.0]]),
    lipschitz=2.0,
    rounds=5,
)
print(found.lower <= found.upper, found.upper - found.lower < 0.05)

#: jko.dro.dual_violation jko.dro.Violation jko.dro.DualFunction
sample = jko.Particles(np.linspace(-1, 1, 20)[:, None])
loss = lambda x: np.tanh(2 * x[:, 0])
found = jko.dro.worst_case(loss, sample, jko.MMD(jko.kernels.Gaussian(1.0)), radius=0.1)
majorant = found.dual
print("above the loss:", (majorant(sample.points) >= loss(sample.points) - 1e-9).all())
between = jko.dro.dual_violation(majorant, loss, [-1.0], [1.0], lipschitz=2.0)
print("between the points:", between.lower <= between.upper)

#: jko.dro.minimise jko.dro.RobustFit
rng = np.random.default_rng(0)
sample = jko.Particles(np.append(rng.normal(size=40), 8.0)[:, None])
loss = lambda t, x: (x[:, 0] - t[0]) ** 2
gradient = lambda t, x: -2 * (x - t[0])
fit = jko.dro.minimise(loss, [0.0], sample, jko.Divergence(p=2), gradient=gradient, radius=0.2)
print(fit.success, fit.theta > sample.mean)

#: jko.dro.PredictionLoss
pinball = jko.dro.PredictionLoss(
    lambda z, y: np.maximum(0.9 * (y - z), -0.1 * (y - z)),
    lambda z, y: np.where(y > z, -0.9, 0.1),
    lipschitz=0.9,
)
print(pinball.value(np.array([0.0]), np.array([2.0])))

#: jko.dro.RobustRegressor
rng = np.random.default_rng(0)
x = rng.normal(size=(150, 3))
y = x @ [1.0, -2.0, 0.5] + 0.3 * rng.normal(size=150)
fit = jko.dro.RobustRegressor(geometry=jko.Wasserstein(), radius=0.1).fit(x, y)
print(fit.coef_.round(2), fit.gap_ < 1e-6)

#: jko.dro.RobustClassifier
rng = np.random.default_rng(0)
x = rng.normal(size=(100, 2))
y = np.sign(x[:, 0] + 0.3 * rng.normal(size=100))
fit = jko.dro.RobustClassifier(radius=0.1).fit(x, y)
print(fit.score(x, y) > 0.8, fit.predict(x[:3]))

#: jko.dro.features.MovedSamples
rng = np.random.default_rng(0)
x = rng.normal(size=(30, 1))
y = 2 * x[:, 0]
fit = jko.dro.RobustRegressor(geometry=jko.Wasserstein(), radius=0.2).fit(x, y)
print(type(fit.worst_case_).__name__, fit.worst_case_.distance <= 0.2 + 1e-9)

#: jko.dro.TotalVariation
#: \tfrac12 \sum_i |w_i - \hat w_i| \le r
mu = jko.Histogram([[0.0], [1.0], [2.0], [3.0]], [0.25] * 4)
found = jko.dro.worst_case([1.0, 2.0, 3.0, 9.0], mu, jko.dro.TotalVariation(), radius=0.1)
print(found.success, found.measure.weights, round(found.value, 6))

#: jko.dro.CVaR
#: \min_c\; c + \tfrac{1}{1 - \beta}\,\mathbb E\,(\ell - c)_+
mu = jko.Histogram([[0.0], [1.0], [2.0], [3.0]], [0.25] * 4)
found = jko.dro.worst_case([1.0, 2.0, 3.0, 9.0], mu, jko.dro.CVaR(level=0.5))
print(found.success, round(found.value, 6), (3 + 9) / 2)

#: jko.dro.Sinkhorn
#: \min_P\; \langle C, P\rangle + \varepsilon\,\mathrm{KL}(P\,|\,\hat P \otimes \nu) \le r^p
rng = np.random.default_rng(0)
cloud = jko.Particles(rng.normal(size=(60, 1)))
wave = lambda x: np.sin(3 * x[:, 0])
soft = jko.dro.worst_case(wave, cloud, jko.dro.Sinkhorn(reg=0.02), radius=0.4)
hard = jko.dro.worst_case(wave, cloud, jko.Wasserstein(), radius=0.4)
print(soft.success, round(soft.nominal, 3), round(soft.value, 3), round(hard.value, 3))
