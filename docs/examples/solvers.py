"""Solvers."""

import dataclasses

import numpy as np

import jko

#: jko.solvers.ClosedForm
mu = jko.Histogram([[0.0], [1.0]], [0.5, 0.5])
energy = jko.KL(mu.with_weights([0.9, 0.1]))
result = jko.step(mu, energy, jko.Hellinger(), tau=1.0, solver=jko.solvers.ClosedForm())
print(result, result.measure.weights)

#: jko.solvers.DualRoot
mu = jko.Histogram([[0.0], [1.0]], [0.5, 0.5])
target = mu.with_weights([0.9, 0.1])
energy = jko.KL(target) + jko.PhiDivergence(target, p=0.5)
result = jko.step(mu, energy, jko.Hellinger(mass="fixed"), 1.0, solver=jko.solvers.DualRoot())
print(result, result.measure.weights)

#: jko.solvers.SphericalFixedPoint
mu = jko.Histogram([[0.0], [1.0]], [0.5, 0.5])
energy = jko.KL(mu.with_weights([0.9, 0.1]))
result = jko.step(mu, energy, jko.SphericalHellinger(), tau=1.0)
print(result, result.measure.weights)

#: jko.solvers.Mirror
mu = jko.Histogram([[0.0], [1.0]], [0.5, 0.5])
energy = jko.KL(mu.with_weights([0.9, 0.1]))
result = jko.step(mu, energy, jko.Divergence(p=1), tau=1.0, solver=jko.solvers.Mirror())
print(result, result.measure.weights)

#: jko.solvers.Bures
mu, target = jko.Gaussian([3.0], [[0.1]]), jko.Gaussian([0.0], [[1.0]])
result = jko.step(mu, jko.KL(target), jko.Wasserstein(), tau=0.5, solver=jko.solvers.Bures())
print(result.measure, jko.reference.gaussian_jko_step([3.0], [[0.1]], [0.0], [[1.0]], 0.5))

#: jko.solvers.GaussianMirror
mu, target = jko.Gaussian([3.0], [[0.1]]), jko.Gaussian([0.0], [[1.0]])
result = jko.step(mu, jko.KL(target), jko.Divergence(p=1, mass="fixed"), tau=1.0)
print(result.solver, result.measure)

#: jko.solvers.MomentMatching
mu, target = jko.Gaussian([3.0], [[0.1]]), jko.Gaussian([0.0], [[1.0]])
geometry = jko.Divergence(p=0, mass="fixed")
result = jko.step(mu, jko.InclusiveKL(target), geometry, tau=1.0)
print(result.solver, result.measure)

#: jko.solvers.GaussianImplicit
pi = jko.LogDensity(lambda x: -np.cosh(x).sum(1), lambda x: -np.sinh(x), dim=1)
result = jko.step(jko.Gaussian([2.0], [[1.0]]), jko.KL(pi), jko.Wasserstein(), tau=0.2)
print(result)

#: jko.solvers.GaussianForwardBackward
pi = jko.LogDensity(lambda x: -np.cosh(x).sum(1), lambda x: -np.sinh(x), dim=1)
solver = jko.solvers.GaussianForwardBackward()
mu = jko.Gaussian([2.0], [[1.0]])
print(jko.step(mu, jko.KL(pi), jko.Wasserstein(), tau=0.2, solver=solver))

#: jko.solvers.MixtureTransport
mu = jko.GaussianMixture([[-2.0], [2.0]], [[[1.0]], [[1.0]]])
target = jko.GaussianMixture([[-1.0], [3.0]], [[[0.5]], [[1.0]]])
solver = jko.solvers.MixtureTransport()
result = jko.step(mu, jko.KL(target), jko.Wasserstein(), tau=0.1, solver=solver, throw=False)
print(result.claim.noun, result.energy < jko.KL(target).value(mu))

#: jko.solvers.MixtureWeights
mu = jko.GaussianMixture([[-2.0], [2.0]], [[[1.0]], [[1.0]]])
target = jko.GaussianMixture([[-2.0], [2.0]], [[[1.0]], [[1.0]]], [0.8, 0.2])
solver = jko.solvers.MixtureWeights()
result = jko.step(mu, jko.KL(target), jko.SphericalHellinger(), tau=1.0, solver=solver)
print(result.success, result.measure.weights.round(2))

#: jko.solvers.Mixture
k = jko.kernels.Gaussian(1.0)
mu = jko.Histogram([[0.0], [1.0]], [0.5, 0.5])
energy = jko.MMDEnergy(mu.with_weights([0.9, 0.1]), k)
result = jko.step(mu, energy, jko.MMD(k), tau=1.0, solver=jko.solvers.Mixture())
print(result.measure.weights)

#: jko.solvers.SimplexQP
k = jko.kernels.Gaussian(1.0)
mu = jko.Histogram([[0.0], [1.0], [2.0]], [0.2, 0.3, 0.5])
energy = jko.MMDEnergy(jko.Particles([[0.5], [0.7]]), k)
result = jko.step(mu, energy, jko.MMD(k), tau=1.0, solver=jko.solvers.SimplexQP())
print(result, result.measure.weights.round(4))

#: jko.solvers.WeightNewton
k = jko.kernels.Gaussian(1.0)
mu = jko.Histogram([[0.0], [1.0], [2.0]], [0.2, 0.3, 0.5])
result = jko.step(mu, jko.KL(mu.with_weights([0.6, 0.3, 0.1])), jko.MMD(k), tau=1.0)
print(result, result.measure.weights.round(4))

#: jko.solvers.Quantile
x = np.linspace(-0.1, 0.1, 40)[:, None]
result = jko.step(jko.Particles(x), jko.Entropy(), jko.Wasserstein(), tau=0.5)
print(result, "std", np.sqrt(result.measure.cov[0, 0]).round(2))

#: jko.solvers.Lagrangian
rng = np.random.default_rng(0)
cloud, target = jko.Particles(rng.normal(size=(30, 2)) + 2), jko.Particles(rng.normal(size=(50, 2)))
energy = jko.MMDEnergy(target, jko.kernels.Gaussian(2.0))
print(jko.step(cloud, energy, jko.Wasserstein(), tau=1.0).claim.noun)

#: jko.solvers.LinearTransport
mu = jko.Histogram(np.arange(5.0)[:, None], [0, 0, 0, 0.5, 0.5])
downhill = jko.Potential(lambda x: x[:, 0])
result = jko.step(mu, downhill, jko.Wasserstein(), tau=1.0)
print(result.solver, result.measure.weights)

#: jko.solvers.FiniteVolume
grid = jko.Grid(-1, 1, 128)
heap = jko.GridDensity.from_function(lambda x: np.exp(-50 * x[:, 0] ** 2), grid, mass=1)
solver = jko.solvers.FiniteVolume()
result = jko.step(heap, jko.PorousMedium(2), jko.Wasserstein(), tau=0.001, solver=solver)
print(
    result.success,
    f"mass {result.measure.mass:.12g}",
    f"model error {result.info['model_error']:.2f}",
)

#: jko.solvers.TransportProgram
x = np.linspace(0, 1, 12)[:, None]
mu = jko.Histogram(x, np.full(12, 1 / 12))
energy = jko.KL(mu.with_weights(np.arange(1, 13) / 78))
print(jko.step(mu, energy, jko.Wasserstein(), tau=0.1, solver=jko.solvers.TransportProgram()))

#: jko.solvers.BackAndForth
grid = jko.Grid([-1, -1], [1, 1], [32, 32])
heap = jko.GridDensity.from_function(lambda x: np.exp(-30 * (x**2).sum(1)), grid, mass=1)
solver = jko.solvers.BackAndForth()
result = jko.step(heap, jko.PorousMedium(2), jko.Wasserstein(), 0.1, solver=solver, tol=1e-4)
print(result.success, result.claim.noun)

#: jko.solvers.Entropic
grid = jko.Grid(-3, 3, 60)
rho = jko.GridDensity.from_function(lambda x: np.exp(-8 * (x[:, 0] - 1) ** 2), grid, mass=1)
energy = jko.Entropy() + jko.Potential(lambda x: 2 * x[:, 0] ** 2)
for solver in (jko.solvers.Entropic(), jko.solvers.Entropic(reg=0.05, debias=False)):
    result = jko.step(rho, energy, jko.Wasserstein(), tau=0.1, solver=solver)
    print(solver.name, round(result.info["reg"], 3), "blur", f"{result.info['bias_reg']:.1e}")

#: jko.solvers.UnbalancedScaling
mu = jko.Histogram(np.linspace(0, 1, 20)[:, None], np.full(20, 0.05))
energy = jko.KL(mu.with_weights(np.linspace(0.01, 0.19, 20)))
solver = jko.solvers.UnbalancedScaling()
print(jko.step(mu, energy, jko.WassersteinFisherRao(1.0, 1.0), tau=0.5, solver=solver))

#: jko.solvers.Dynamic
grid = jko.Grid([0], [1], [32])
rho = jko.GridDensity.from_function(lambda x: np.exp(-50 * (x[:, 0] - 0.3) ** 2), grid, mass=1)
solver = jko.solvers.Dynamic(slices=2)
result = jko.step(rho, jko.Entropy(), jko.Wasserstein(), tau=0.05, solver=solver, tol=1e-3)
print(result.success, result.claim.noun)

#: jko.solvers.Conic
mu = jko.Histogram([[0.0], [1.0]], [0.5, 0.5])
energy = jko.KL(mu.with_weights([0.9, 0.1]))
for solver in (jko.solvers.ClosedForm(), jko.solvers.Conic("CLARABEL")):
    print(jko.step(mu, energy, jko.Hellinger(), tau=1.0, solver=solver).measure.weights.round(6))

#: jko.solvers.ExactFlow
mu, target = jko.Gaussian([3.0], [[0.1]]), jko.Gaussian([0.0], [[1.0]])
solver = jko.solvers.ExactFlow()
result = jko.step(mu, jko.KL(target), jko.Wasserstein(), tau=1.0, solver=solver)
print(result.claim.noun, result.measure.mean, 3 * np.exp(-1.0))

#: jko.solvers.NaturalGradient
pi = jko.LogDensity(lambda x: -np.cosh(x).sum(1), lambda x: -np.sinh(x), dim=1)
mu = jko.Gaussian([1.0], [[1.0]])
print(jko.step(mu, jko.KL(pi), jko.SphericalHellinger(), tau=0.5))


#: jko.solvers.ProximalNewton
@dataclasses.dataclass(frozen=True, eq=False)
class Barycentre(jko.Energy):
    """A quarter of the fourth power of the mean."""

    def value(self, mu):
        return 0.25 * float(mu.weights @ mu.points[:, 0]) ** 4

    def first_variation(self, mu):
        return float(mu.weights @ mu.points[:, 0]) ** 3 * mu.points[:, 0]


mu = jko.Histogram([[0.0], [1.0], [2.0]], [0.2, 0.3, 0.5])
result = jko.step(mu, Barycentre(), jko.Hellinger(mass="fixed"), tau=1.0)
print(result.solver, result.claim.noun, result.measure.mean.round(3))


#: jko.solvers.ProxSolver jko.solvers.Answer jko.solvers.Controls
class Half(jko.solvers.ProxSolver):
    """The Hellinger step of He^2(., target)/2 by hand: the middle of two square roots."""

    guarantee = "exact"
    default_tol = 1e-9

    def accepts(self, problem):
        return None if isinstance(problem.geometry, jko.Hellinger) else "takes Hellinger steps"

    def solve(self, problem, controls):
        old, target = problem.previous, problem.energy.target
        root = (np.sqrt(old.weights) + problem.tau * np.sqrt(target.weights)) / (1 + problem.tau)
        return jko.solvers.Answer(old.with_weights(root**2), problem, iterations=1)


mu = jko.Histogram([[0.0], [1.0]], [0.5, 0.5])
energy = jko.PhiDivergence(mu.with_weights([0.9, 0.1]), p=0.5)
print(jko.step(mu, energy, jko.Hellinger(), tau=1.0, solver=Half()))

#: jko.solvers.Rule
mu = jko.Histogram([[0.0], [1.0]], [0.5, 0.5])
mine = jko.solvers.Rule(jko.solvers.Conic(), budget=50)
result = jko.step(mu, jko.KL(mu), jko.Hellinger(), tau=1.0, solver=[mine, *jko.solvers.RULES])
print(result.solver)

#: jko.solvers.HandedBack
print(issubclass(jko.solvers.HandedBack, Exception))

#: jko.solvers.Euler
rng = np.random.default_rng(0)
cloud, target = jko.Particles(rng.normal(size=(30, 2)) + 2), jko.Particles(rng.normal(size=(50, 2)))
energy = jko.MMDEnergy(target, jko.kernels.Gaussian(2.0))
result = jko.step(cloud, energy, jko.Wasserstein(), tau=10.0, solver=jko.solvers.Euler())
print(result.claim.noun, result.info["decrease"] >= result.info["promised"] > 0)

#: jko.solvers.Multiplicative
rng = np.random.default_rng(0)
cloud, target = jko.Particles(rng.normal(size=(30, 2))), jko.Particles(rng.normal(size=(50, 2)))
energy = jko.MMDEnergy(target, jko.kernels.Gaussian(2.0))
solver = jko.solvers.Multiplicative()
result = jko.step(cloud, energy, jko.SphericalHellinger(), tau=1.0, solver=solver)
print(result.claim.noun, result.energy < energy.value(cloud))

#: jko.solvers.ProjectedWeights
rng = np.random.default_rng(0)
cloud, target = jko.Particles(rng.normal(size=(30, 2))), jko.Particles(rng.normal(size=(50, 2)))
k = jko.kernels.Gaussian(2.0)
energy = jko.MMDEnergy(target, k)
result = jko.step(cloud, energy, jko.MMD(k), tau=1.0, solver=jko.solvers.ProjectedWeights())
print(result.claim.noun, result.energy < energy.value(cloud))

#: jko.solvers.Kernelised
pi = jko.LogDensity(lambda x: -(x**2).sum(1) / 2, lambda x: -x, dim=2)
cloud = jko.Particles(np.random.default_rng(0).normal(size=(50, 2)) + 3)
solver = jko.solvers.Kernelised()
sol = jko.flow(cloud, jko.KL(pi), jko.Wasserstein(), tau=0.5, steps=60, solver=solver)
print(abs(sol.final.mean).max() < 1)

#: jko.solvers.Constrained
mu = jko.Histogram([[0.0], [1.0], [2.0]], [0.2, 0.5, 0.3])
energy = jko.KL(mu) + jko.Moment(lambda x: x[:, 0], upper=0.9)
solver = jko.solvers.Constrained(jko.solvers.RULES)
result = jko.step(mu, energy, jko.Hellinger(mass="fixed"), tau=1.0, solver=solver)
print(result.success, result.info["moments"])

#: jko.solvers.UnbalancedProgram
mu = jko.Histogram(np.linspace(0, 1, 8)[:, None], np.full(8, 1 / 8))
energy = jko.KL(mu.with_weights(np.arange(1, 9) / 36))
solver = jko.solvers.UnbalancedProgram()
print(jko.step(mu, energy, jko.WassersteinFisherRao(1.0, 1.0), tau=0.5, solver=solver))
