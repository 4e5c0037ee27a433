"""Steps and flows."""

import numpy as np

import jko

#: jko.step
#: \mu_+ = \operatorname*{arg\,min}_\mu\; F(\mu) + \frac{D^2(\mu,\mu')}{2\tau}
grid = jko.Grid(lower=-3, upper=3, shape=60)
rho = jko.GridDensity.from_function(lambda x: np.exp(-8 * (x[:, 0] - 1) ** 2), grid, mass=1)
energy = jko.Entropy() + jko.Potential(lambda x: 2 * x[:, 0] ** 2)
result = jko.step(rho, energy, jko.Wasserstein(), tau=0.1)
print(result)

#: jko.split_step
grid = jko.Grid(lower=-3, upper=3, shape=60)
rho = jko.GridDensity.from_function(lambda x: np.exp(-8 * (x[:, 0] - 1) ** 2), grid, mass=1)
energy = jko.Entropy() + jko.Potential(lambda x: 2 * x[:, 0] ** 2)
geometry = jko.Wasserstein() + 0.5 * jko.Hellinger(mass="fixed")
result = jko.split_step(rho, energy, geometry, tau=0.1)
print(*result.substeps, sep="\n")

#: jko.flow jko.Trajectory
mu = jko.Gaussian([3.0], [[0.1]])
sol = jko.flow(mu, jko.KL(jko.Gaussian([0.0], [[1.0]])), jko.Wasserstein(), tau=0.1, steps=50)
print(sol)
print(len(sol), sol.at(1.0).mean, sol.final, sol.verify().holds)

#: jko.resume
mu = jko.Gaussian([3.0], [[0.1]])
energy = jko.KL(jko.Gaussian([0.0], [[1.0]]))
jko.flow(mu, energy, jko.Wasserstein(), tau=0.1, steps=10, checkpoint="run.npz")
sol = jko.resume("run.npz", energy=energy, steps=5)
print(sol.times[-1])


#: jko.sweep
def halfway(tau):
    sol = jko.flow(
        jko.Gaussian([3.0], [[1.0]]),
        jko.KL(jko.Gaussian([0.0], [[1.0]])),
        jko.Wasserstein(),
        tau=tau,
        t1=1.0,
    )
    return {"mean": float(sol.final.mean[0]), "off": abs(sol.final.mean[0] - 3 * np.exp(-1))}


print(jko.sweep(halfway, {"tau": [0.25, 0.125, 0.0625]})[["tau", "mean", "off"]].round(4))

#: jko.AdaptiveStep
mu = jko.Gaussian([3.0], [[0.1]])
energy = jko.KL(jko.Gaussian([0.0], [[1.0]]))
sol = jko.flow(mu, energy, jko.Wasserstein(), tau=jko.AdaptiveStep(tau0=0.1, tol=1e-2), t1=5)
print(sol.success, "steps grow:", np.diff(sol.times)[1] < np.diff(sol.times)[-2])

#: jko.match
rng = np.random.default_rng(0)
target = jko.Particles(rng.normal(size=(100, 2)))
cloud = jko.Particles(rng.normal(size=(40, 2)) + 4)
kernel = jko.kernels.Gaussian(1.5)
sol = jko.match(cloud, target, kernel, steps=100)
print(sol.success, sol.energies[-1] < 1e-3 * sol.energies[0])

#: jko.solvers_for
mu = jko.Histogram([[0.0], [1.0]], [0.5, 0.5])
print(jko.solvers_for(mu, jko.KL(mu), jko.Hellinger()))
refused = [why for _, why in jko.solvers_for(mu, jko.KL(mu), jko.Hellinger(), why=True) if why]
print(refused[0])

#: jko.StepResult
mu = jko.Histogram([[0.0], [1.0]], [0.5, 0.5])
result = jko.step(mu, jko.KL(mu.with_weights([0.9, 0.1])), jko.Hellinger(), tau=1.0)
print(result.success, result.claim.noun, result.solver)
print(result.energy, result.gap <= result.allowed, result.measure.weights)

#: jko.flows.splitting.SplitResult
mu = jko.Histogram([[0.0], [1.0]], [0.5, 0.5])
energy = jko.KL(mu.with_weights([0.9, 0.1]))
geometry = jko.Wasserstein() + jko.Hellinger()
result = jko.split_step(mu, energy, geometry, tau=1.0)
print([r.solver for r in result.substeps], result.success)

#: jko.Status
print([status.name for status in jko.Status])

#: jko.Claim
for claim in jko.Claim:
    print(claim.name, "-", claim.noun)

#: jko.ProxProblem
mu = jko.Histogram([[0.0], [1.0]], [0.5, 0.5])
problem = jko.ProxProblem(jko.KL(mu), jko.Hellinger(), mu, tau=0.5)
print(problem.objective(mu), problem.objective(mu.with_weights([0.6, 0.5])))

#: jko.geodesic jko.Path
grid = jko.Grid([0], [1], [32])
a, b = (
    jko.GridDensity.from_function(lambda x, c=c: np.exp(-200 * (x[:, 0] - c) ** 2), grid, mass=1)
    for c in (0.3, 0.7)
)
path = jko.geodesic(a, b, jko.Wasserstein(), slices=8)
print(path.at(0.5).mean.round(3), "action", round(path.action, 3), "gap", path.gap < 1e-2)

#: jko.planning
grid = jko.Grid([0], [1], [32])
a = jko.GridDensity.from_function(lambda x: np.exp(-200 * (x[:, 0] - 0.3) ** 2), grid, mass=1)
goal = jko.Potential(lambda x: 4 * (x[:, 0] - 0.7) ** 2)
path = jko.planning(a, goal, jko.Wasserstein(), running=0.05 * jko.PorousMedium(2), slices=8)
print(path.measures[-1].mean.round(2), path.gap < 1e-2)

#: jko.transport jko.distances.Transport
a = jko.Histogram([[0.0], [1.0]], [0.5, 0.5])
b = jko.Histogram([[0.0], [2.0]], [0.25, 0.75])
found = jko.transport(a, b, p=1)
print(found.value, found.gap < 1e-12)
print(found.plan.toarray())
print(jko.transport(a, b, p=2, reg=0.1).value, jko.transport(a, b, p=2, relax=1.0).value)

#: jko.barycentre jko.distances.Barycentre
found = jko.barycentre([jko.Gaussian([0.0], [[1.0]]), jko.Gaussian([4.0], [[9.0]])], [0.5, 0.5])
print(found.measure, found.value)
