"""Sampling and variational inference."""

import numpy as np

import jko

#: jko.sampling.sample jko.sampling.SampleResult
log_density = lambda x: -0.5 * x[:, 0] ** 2 - 0.5 * (x[:, 1] - x[:, 0] ** 2) ** 2
gradient = lambda x: np.stack(
    [-x[:, 0] + 2 * x[:, 0] * (x[:, 1] - x[:, 0] ** 2), -(x[:, 1] - x[:, 0] ** 2)], axis=1
)
out = jko.sample(log_density, dim=2, gradient=gradient, n=500, rng=0)
print(out.measure, bool(abs(out.mean[1] - 1) < 0.3))

#: jko.sampling.check_gradient
pi = jko.LogDensity(lambda x: -(x**4).sum(1), lambda x: -4 * x**3, dim=2)
print(jko.sampling.check_gradient(pi, np.array([[0.5, -1.0], [2.0, 0.3]])) < 1e-6)

#: jko.solvers.Langevin
#: dX = \nabla\log\pi\,dt + \sqrt2\,dW
pi = jko.LogDensity(lambda x: -(x**2).sum(1) / 2, lambda x: -x, dim=1)
cloud = jko.Particles(np.full((500, 1), 3.0))
sol = jko.flow(
    cloud, jko.KL(pi), jko.Wasserstein(), tau=0.5, steps=10, solver=jko.solvers.Langevin(), rng=0
)
print(abs(sol.final.mean[0]) < 0.2, abs(sol.final.cov[0, 0] - 1) < 0.3)

#: jko.solvers.Reweighting
pi = jko.LogDensity(lambda x: -(x**2).sum(1) / 2, lambda x: -x, dim=1)
cloud = jko.Particles(np.random.default_rng(0).normal(size=(300, 1)) + 0.5)
solver = jko.solvers.Reweighting()
result = jko.step(cloud, jko.KL(pi), jko.SphericalHellinger(), tau=0.5, solver=solver)
print(cloud.mean.round(2), result.measure.mean.round(2), round(result.measure.ess))

#: jko.solvers.BirthDeath
pi = jko.LogDensity(lambda x: -(x**2).sum(1) / 2, lambda x: -x, dim=1)
cloud = jko.Particles(np.random.default_rng(0).normal(size=(300, 1)) + 0.5)
solver = jko.solvers.BirthDeath()
result = jko.step(cloud, jko.KL(pi), jko.SphericalHellinger(), tau=0.5, solver=solver, rng=0)
print(cloud.mean.round(2), result.measure.mean.round(2), round(result.measure.ess))

#: jko.solvers.Tempering
reference = jko.Gaussian([0.0], [[9.0]])
pi = jko.LogDensity(lambda x: -((x - 1) ** 2).sum(1) / 2, lambda x: 1 - x, dim=1)
cloud = jko.Particles(reference.sample(1000, np.random.default_rng(0)))
solver = jko.solvers.Tempering(reference)
geometry = jko.Divergence(p=1, mass="fixed")
sol = jko.flow(cloud, jko.KL(pi), geometry, tau=0.5, steps=8, solver=solver, rng=0)
print(sol.final.mean.round(1), sol.final.cov.round(1))

#: jko.vi.fit jko.vi.Fit
pi = jko.LogDensity(lambda x: -(x**2 @ [0.5, 2.0]), lambda x: -x * [1.0, 4.0], dim=2)
fit = jko.vi.fit(pi)
print(fit.success, fit.measure.mean.round(3), np.diag(fit.measure.cov).round(3))

#: jko.vi.TraceRow
fit = jko.vi.fit(jko.Gaussian([1.0], [[2.0]]))
row = fit.trace[-1]
print(type(row).__name__, row.residual < 1e-6)

#: jko.vi.Minibatch
rng = np.random.default_rng(0)
y = rng.normal(loc=2.0, size=5000)
log_density = lambda x: -0.5 * ((x - y) ** 2).sum(1)
part = lambda x, chosen: (y[chosen] - x).sum(1, keepdims=True) * (len(y) / len(chosen))
batch = jko.vi.Minibatch(part, observations=len(y), size=500)
fit = jko.vi.fit(log_density, 1, minibatch=batch, rng=0, check=False, throw=False)
print(abs(fit.measure.mean - y.mean()) < 0.05)

#: jko.vi.laplace
pi = jko.LogDensity(lambda x: -np.cosh(x).sum(1), lambda x: -np.sinh(x), dim=1)
print(jko.vi.laplace(pi))

#: jko.vi.importance_sample jko.vi.ImportanceSample
pi = jko.LogDensity(lambda x: -np.cosh(x).sum(1), lambda x: -np.sinh(x), dim=1)
found = jko.vi.importance_sample(pi, jko.vi.laplace(pi), n=4000, rng=0)
print(found.ess > 2000, abs(found.particles.mean) < 0.05, round(found.log_evidence, 1))

#: jko.expectations.GaussHermite jko.expectations.Cubature jko.expectations.MonteCarlo
pi = jko.LogDensity(lambda x: -np.cosh(x).sum(1), lambda x: -np.sinh(x), dim=2)
for rule in (
    jko.expectations.GaussHermite(order=12),
    jko.expectations.Cubature(points=2000, seed=1),
    jko.expectations.MonteCarlo(samples=2000, seed=1),
):
    fit = jko.vi.fit(pi, rule=rule)
    print(rule, fit.measure.cov[0, 0].round(2))

#: jko.sampling.compare jko.sampling.Comparison
pi = jko.LogDensity(lambda x: -(x**2).sum(1) / 2, lambda x: -x, dim=1)
out = jko.sample(pi, n=500, rng=0)
other = {"x0": np.random.default_rng(1).normal(size=(4, 1500))}
same = jko.compare(out, other)
print(same.verdict, len(same.rows))
