"""Kernels."""

import numpy as np

import jko

#: jko.kernels.Gaussian
#: k(x,y) = \exp\Big(-\frac{\lvert x-y\rvert^2}{2h^2}\Big)
k = jko.kernels.Gaussian(bandwidth=2.0)
print(k(np.array([[0.0]]), np.array([[0.0], [2.0]])), np.exp(-0.5))

#: jko.kernels.InverseMultiquadric
#: k(x,y) = \Big(1+\frac{\lvert x-y\rvert^2}{h^2}\Big)^{-1/2}
k = jko.kernels.InverseMultiquadric(bandwidth=1.0)
print(k(np.array([[0.0]]), np.array([[0.0], [1.0]])))

#: jko.kernels.Matern
k = jko.kernels.Matern(bandwidth=1.0, nu=1.5)
print(k(np.array([[0.0]]), np.array([[0.0], [1.0]])))

#: jko.kernels.Laplace
#: k(x,y) = e^{-\lvert x-y\rvert/h}
k = jko.kernels.Laplace(bandwidth=1.0)
print(k(np.array([[0.0]]), np.array([[0.0], [1.0]])), np.exp(-1))

#: jko.kernels.Energy
#: k(x,y) = -\lvert x-y\rvert
k = jko.kernels.Energy()
mu, nu = jko.Histogram([[0.0]], [1.0]), jko.Histogram([[3.0]], [1.0])
print(k.definiteness, "twice the distance:", k.mmd2(mu, nu))

#: jko.kernels.median_bandwidth
x = np.random.default_rng(0).normal(size=(500, 2))
h = jko.kernels.median_bandwidth(x)
print(h, jko.kernels.median_bandwidth(10 * x) / h)

#: jko.kernels.pivoted_cholesky jko.kernels.LowRank
x = np.linspace(0, 1, 200)[:, None]
k = jko.kernels.Gaussian(0.5)
low = jko.kernels.pivoted_cholesky(k, x, tol=1e-10)
print("rank", low.rank, "of", len(x))
print(np.abs(low.factor @ low.factor.T - k(x, x)).max() <= 1e-10)

#: jko.kernels.KernelOperator
mu = jko.Histogram(np.linspace(0, 1, 100)[:, None], np.full(100, 0.01))
k = jko.kernels.Gaussian(0.5)
operator = k.operator(mu)
print(operator.shape, np.allclose(operator @ mu.weights, k.embed(mu, mu.points)))

#: jko.kernels.IntegralOperator
rho = jko.Histogram(np.linspace(0, 1, 100)[:, None], np.full(100, 0.01))
operator = jko.kernels.Gaussian(0.5).integral_operator(rho)
print(operator.trace, operator.spectrum[:3].round(4))

#: jko.kernels.FastSums
rng = np.random.default_rng(0)
k = jko.kernels.Gaussian(0.3)
target = jko.Particles(rng.normal(size=(2000, 2)))
mu = jko.Particles(rng.normal(size=(2000, 2)))
fast = jko.MMDEnergy(target, k, sums=jko.kernels.FastSums(tol=1e-8))
print(abs(fast.value(mu) - jko.MMDEnergy(target, k).value(mu)) < 1e-8)

#: jko.kernels.Kernel
k = jko.kernels.Gaussian(1.0) + 0.5 * jko.kernels.Laplace(2.0)
print(k)
mu, nu = jko.Histogram([[0.0]], [1.0]), jko.Histogram([[1.0]], [1.0])
print(k.mmd2(mu, nu), 2 * (1 - np.exp(-0.5)) + (1 - np.exp(-0.5)))

#: jko.kernels.RadialKernel
print(issubclass(jko.kernels.Gaussian, jko.kernels.RadialKernel))
