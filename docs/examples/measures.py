"""Measures."""

import numpy as np

import jko

#: jko.Grid
grid = jko.Grid(lower=[-1, 0], upper=[1, 1], shape=[8, 4])
print(grid.size, grid.spacing, grid.cell_volume)
print(grid.points[:2])

#: jko.GridDensity
#: \mu(A) = \int_A \rho\,dx, \qquad w_i = \rho(x_i)\,\lvert\text{cell}\rvert
grid = jko.Grid(lower=-3, upper=3, shape=60)
rho = jko.GridDensity.from_function(lambda x: np.exp(-(x[:, 0] ** 2) / 2), grid, mass=1)
print(rho, "variance", rho.cov[0, 0].round(4))
print("density at the centre", rho.density.max().round(4))

#: jko.Histogram
#: \mu = \sum_i w_i\,\delta_{x_i}, \qquad x_i \text{ fixed}
hist = jko.Histogram(points=[[0.0], [1.0], [2.0]], weights=[0.2, 0.5, 0.3])
print(hist, "mean", hist.mean)
print(hist.with_weights([1, 0, 0]).weights)

#: jko.Particles
#: \mu = \sum_i w_i\,\delta_{x_i}
mu = jko.Particles(np.random.default_rng(0).normal(size=(100, 2)))
print(mu, "effective", mu.ess)
heavy = mu.with_weights(np.r_[0.5, np.full(99, 0.5 / 99)])
print("effective", round(heavy.ess, 2))

#: jko.Gaussian
#: \mathcal N(m, S)
bell = jko.Gaussian(mean=[1.0, 0.0], cov=[[2.0, 0.5], [0.5, 1.0]])
print(bell)
print(jko.Wasserstein().distance(bell, jko.Gaussian([0.0, 0.0], [[2.0, 0.5], [0.5, 1.0]])))

#: jko.GaussianMixture
#: \sum_k p_k\,\mathcal N(m_k, S_k)
pi = jko.GaussianMixture(means=[[-2.0], [2.0]], covs=[[[1.0]], [[0.5]]], weights=[0.3, 0.7])
print(pi)
cloud = jko.Particles(pi.sample(1000, np.random.default_rng(0)))
print("share on the right:", (cloud.points > 0).mean().round(2))

#: jko.LogDensity
#: \pi(x) \propto e^{\ell(x)}
pi = jko.LogDensity(lambda x: -(x**2).sum(1) / 2, lambda x: -x, dim=2)
print(pi)
print(pi.log_density(np.array([[0.0, 0.0], [1.0, 1.0]])))

#: jko.measures.from_dict
mu = jko.Histogram([[0.0], [1.0]], [0.4, 0.6])
again = jko.measures.from_dict(mu.to_dict())
print(again, (again.weights == mu.weights).all())

#: jko.measures.base.Discrete
mu = jko.Histogram([[0.0], [1.0], [3.0]], [0.25, 0.25, 0.5])
print(mu.n, mu.dim, mu.mass, mu.mean, mu.cov)
print("second moment", mu.expect(lambda x: x[:, 0] ** 2))
