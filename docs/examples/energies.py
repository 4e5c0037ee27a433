"""Energies."""

import dataclasses

import numpy as np

import jko

#: jko.KL
#: \mathrm{KL}(\mu\,|\,\pi) = \int \mu\log\frac{\mu}{\pi} - \mu + \pi
target = jko.Histogram([[0.0], [1.0]], [0.5, 0.5])
energy = jko.KL(target)
mu = target.with_weights([0.9, 0.1])
print(energy.value(mu), energy.first_variation(mu))

#: jko.InclusiveKL
#: \mathrm{KL}(\pi\,|\,\mu) = \int \pi\log\frac{\pi}{\mu} - \pi + \mu
target = jko.Histogram([[0.0], [1.0]], [0.5, 0.5])
energy = jko.InclusiveKL(target)
print(energy.value(target.with_weights([0.9, 0.1])), energy.value(target.with_weights([1, 0])))

#: jko.PhiDivergence
#: D_p(\mu\,|\,\pi) = \int \varphi_p\Big(\frac{d\mu}{d\pi}\Big)\,d\pi, \qquad
#: \varphi_p(t) = \frac{t^p - p(t-1) - 1}{p(p-1)}
target = jko.Histogram([[0.0], [1.0]], [0.5, 0.5])
mu = target.with_weights([0.9, 0.1])
for p in (0, 0.5, 1, 2):
    print(p, jko.PhiDivergence(target, p=p).value(mu))

#: jko.MMDEnergy
#: \tfrac12\mathrm{MMD}^2(\mu,\pi) = \tfrac12\iint k\,d(\mu-\pi)\,d(\mu-\pi)
rng = np.random.default_rng(0)
target = jko.Particles(rng.normal(size=(200, 2)))
energy = jko.MMDEnergy(target, jko.kernels.Gaussian(bandwidth=1.0))
near = jko.Particles(rng.normal(size=(50, 2)))
far = near.with_points(near.points + 3)
print(energy.value(near) < energy.value(far))

#: jko.Entropy
#: \int \rho\log\rho\,dx, \qquad \sum_i w_i\log\frac{w_i}{r_i}
grid = jko.Grid(-6, 6, 400)
bell = jko.GridDensity.from_function(lambda x: np.exp(-(x[:, 0] ** 2) / 2), grid, mass=1)
print(jko.Entropy().value(bell), -0.5 * np.log(2 * np.pi * np.e))

#: jko.PorousMedium
#: \frac{1}{m-1}\int \rho^m\,dx, \qquad \partial_t\rho = \Delta\rho^m
grid = jko.Grid(-1, 1, 64)
heap = jko.GridDensity.from_function(lambda x: np.exp(-50 * x[:, 0] ** 2), grid, mass=1)
result = jko.step(heap, jko.PorousMedium(m=2), jko.Wasserstein(), tau=0.01)
print(result)

#: jko.BoxConstraint
#: 0 \text{ if } \rho\le b \text{ everywhere, else } +\infty
grid = jko.Grid(0, 4, 80)
crowd = jko.GridDensity.from_function(lambda x: (x[:, 0] > 2).astype(float), grid, mass=1)
door = jko.Potential(lambda x: x[:, 0])
result = jko.step(crowd, door + jko.BoxConstraint(1.0), jko.Wasserstein(), tau=3)
print(result.success, "highest density", result.measure.density.max().round(6))

#: jko.Potential
#: \int V\,d\mu
mu = jko.Particles([[0.0], [1.0], [2.0]])
well = jko.Potential(lambda x: (x[:, 0] - 1) ** 2, gradient=lambda x: 2 * (x - 1))
print(well.value(mu), well.first_variation(mu))
print(jko.step(mu, well, jko.Wasserstein(), tau=0.5).measure.points.ravel())

#: jko.Interaction
#: \tfrac12\iint W(x-y)\,d\mu(x)\,d\mu(y)
attraction = jko.Interaction(lambda z: (z**2).sum(-1), gradient=lambda z: 2 * z)
mu = jko.Particles([[0.0], [2.0]])
print(attraction.value(mu))
print(jko.step(mu, attraction, jko.Wasserstein(), tau=0.5).measure.points.ravel())

#: jko.LocalEnergy
#: \int U(\rho)\,dx
grid = jko.Grid(-1, 1, 64)
heap = jko.GridDensity.from_function(lambda x: np.exp(-20 * x[:, 0] ** 2), grid, mass=1)
cubic = jko.LocalEnergy(lambda r: r**3 / 2, lambda r: 1.5 * r**2, lambda r: 3 * r)
print(cubic.value(heap), jko.PorousMedium(3).value(heap))

#: jko.WassersteinEnergy
#: \tfrac12 W_2^2(\mu,\nu)
nu = jko.Particles([[2.0], [4.0]])
mu = jko.Particles([[0.0], [1.0]])
print(jko.WassersteinEnergy(nu).value(mu))
print(jko.step(mu, jko.WassersteinEnergy(nu), jko.Wasserstein(), tau=1.0).measure.points.ravel())

#: jko.SinkhornDivergence
#: \mathrm{OT}_\varepsilon(\mu,\nu) - \tfrac12\mathrm{OT}_\varepsilon(\mu,\mu)
#: - \tfrac12\mathrm{OT}_\varepsilon(\nu,\nu)
nu = jko.Particles([[2.0], [4.0]])
mu = jko.Particles([[0.0], [1.0]])
print(jko.SinkhornDivergence(nu, reg=0.1).value(mu), jko.Wasserstein().sqdistance(mu, nu))

#: jko.TimeDependent
#: t\mapsto F_t
moving = jko.TimeDependent(lambda t: jko.Potential(lambda x: (x[:, 0] - t) ** 2 / 2))
start = jko.Histogram(np.linspace(-1, 2, 31)[:, None], np.eye(31)[10])
sol = jko.flow(start, moving, jko.Wasserstein(), tau=0.25, steps=4)
print(sol.times, [float(mu.mean[0].round(2)) for mu in sol])


#: jko.Energy
@dataclasses.dataclass(frozen=True, eq=False)
class Spread(jko.Energy):
    """Half the variance along the first axis."""

    def value(self, mu):
        return 0.5 * mu.mass * mu.cov[0, 0]

    def first_variation(self, mu):
        return 0.5 * (mu.points[:, 0] - mu.mean[0]) ** 2


mu = jko.Histogram([[0.0], [1.0], [2.0]], [0.2, 0.5, 0.3])
print(jko.step(mu, Spread() + jko.KL(mu), jko.Hellinger(mass="fixed"), tau=1.0))

#: jko.Moment
#: l \le \int f\,d\mu \le u
mu = jko.Histogram([[0.0], [1.0], [2.0]], [0.2, 0.5, 0.3])
mean = jko.Moment(lambda x: x[:, 0], 1.5)
result = jko.step(mu, jko.KL(mu), jko.Hellinger(mass="fixed"), tau=1.0, constraints=[mean])
print(result.success, result.measure.mean.round(6), np.round(result.info["multipliers"], 3))
