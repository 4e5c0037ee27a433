"""Geometries."""

import numpy as np

import jko

#: jko.Wasserstein
#: W_p^p(\mu,\nu) = \min_{P\in\Pi(\mu,\nu)} \int \lvert x-y\rvert^p\,dP, \qquad
#: \partial_t\mu = \mathrm{div}(\mu\,\nabla f) \quad (p=2)
points = [[0.0], [1.0], [2.0]]
a, b = jko.Histogram(points, [0.5, 0.5, 0.0]), jko.Histogram(points, [0.0, 0.5, 0.5])
for p in (1, 2, 3):
    print(p, jko.Wasserstein(p=p).distance(a, b))
print(jko.Wasserstein().plan(a, b).toarray())

#: jko.Hellinger
#: \mathrm{He}^2(\mu,\nu) = 4\int(\sqrt\mu-\sqrt\nu)^2, \qquad \partial_t\mu = -\mu f
mu = jko.Histogram([[0.0], [1.0]], [0.5, 0.5])
nu = mu.with_weights([0.9, 0.6])
print(jko.Hellinger().distance(mu, nu))
print(jko.step(mu, jko.KL(nu), jko.Hellinger(), tau=1.0).measure.weights)

#: jko.SphericalHellinger
#: \mathrm{SHe}(\mu,\nu) = 2\arccos\int\sqrt{\mu\nu}
mu = jko.Histogram([[0.0], [1.0]], [0.5, 0.5])
nu = mu.with_weights([1.0, 0.0])
print(jko.SphericalHellinger().distance(mu, nu), np.pi / 2)

#: jko.MMD
#: \mathrm{MMD}^2(\mu,\nu) = \iint k\,d(\mu-\nu)\,d(\mu-\nu)
k = jko.kernels.Gaussian(bandwidth=1.0)
mu = jko.Histogram([[0.0], [1.0]], [0.5, 0.5])
nu = mu.with_weights([0.9, 0.1])
print(jko.MMD(k).distance(mu, nu))
print(jko.step(mu, jko.MMDEnergy(nu, k), jko.MMD(k), tau=1.0).measure.weights)

#: jko.WassersteinFisherRao
#: \min \int_0^1\!\!\int \Big(\frac{\lvert v\rvert^2}{\alpha} + \frac{\xi^2}{\beta}\Big)d\mu_t\,dt,
#: \qquad \partial_t\mu + \mathrm{div}(\mu v) = \mu\,\xi
a, b = jko.Histogram([[0.0]], [1.0]), jko.Histogram([[1.0]], [2.0])
print(jko.WassersteinFisherRao(alpha=1.0, beta=1.0).distance(a, b))
print(jko.reference.wfr_diracs(1.0, 2.0, 1.0, 1.0, 1.0) ** 0.5)

#: jko.Divergence
#: \min_\mu F(\mu) + \tfrac1\tau D_p(\mu\,|\,\mu')
mu = jko.Histogram([[0.0], [1.0]], [0.5, 0.5])
cost = jko.Potential([0.0, 1.0])
result = jko.step(mu, cost, jko.Divergence(p=1, mass="fixed"), tau=1.0)
print(result.measure.weights, 1 / (1 + np.exp(-1.0)))

#: jko.Geometry
wave = 2.0 * jko.Wasserstein() + 0.5 * jko.Hellinger()
print(wave)
print(jko.Wasserstein().conserves_mass, jko.Hellinger().conserves_mass)

#: jko.geometries.KernelFisherRao jko.solvers.KernelReaction
#: \partial_t\mu = -\mu\,K_\mu(K_\mu + \lambda)^{-1} f
rng = np.random.default_rng(0)
target = jko.Particles(rng.normal(size=(100, 1)) + 0.5)
cloud = jko.Particles(rng.normal(size=(80, 1)))
geometry = jko.geometries.KernelFisherRao(jko.kernels.Gaussian(1.0), ridge=0.01)
result = jko.step(cloud, jko.InclusiveKL(target), geometry, tau=0.5)
print(result.solver, result.success, cloud.mean.round(2), result.measure.mean.round(2))
