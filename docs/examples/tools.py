"""Thinning, callbacks, checks, exact solutions, figures, errors."""

import warnings

import matplotlib.pyplot as plt
import numpy as np

import jko

#: jko.thinning.resample
mu = jko.Particles(np.arange(4.0)[:, None], [0.7, 0.1, 0.1, 0.1])
print(jko.thinning.resample(mu, 10, rng=0).points.ravel())

#: jko.thinning.recombine
rng = np.random.default_rng(0)
mu = jko.Particles(rng.normal(size=(500, 2)))
k = jko.kernels.Gaussian(1.5)
few = jko.thinning.recombine(mu, 50, k)
print(few, k.mmd2(few, mu) < 1e-6)

#: jko.thinning.copied_mass
target = jko.Particles([[0.0], [1.0]])
mu = jko.Particles([[0.0], [0.5]], [0.25, 0.75])
print(jko.thinning.copied_mass(mu, target))

#: jko.thinning.nearest_distances
target = jko.Particles([[0.0], [1.0]])
print(jko.thinning.nearest_distances(jko.Particles([[0.2], [3.0]]), target))

#: jko.callbacks.Event jko.callbacks.Call
seen = []
show = jko.callbacks.Call(lambda e: seen.append((e.index, round(e.energy, 3))))
mu, target = jko.Gaussian([3.0], [[1.0]]), jko.Gaussian([0.0], [[1.0]])
jko.flow(mu, jko.KL(target), jko.Wasserstein(), tau=0.5, steps=3, callbacks=[show])
print(seen)

#: jko.callbacks.Every jko.callbacks.Record
spread = jko.callbacks.Record("mean", lambda mu: mu.mean[0], when=jko.callbacks.Every(2))
mu, target = jko.Gaussian([3.0], [[1.0]]), jko.Gaussian([0.0], [[1.0]])
sol = jko.flow(mu, jko.KL(target), jko.Wasserstein(), tau=0.5, steps=4, callbacks=[spread])
times, values = sol.records["mean"]
print(times, np.round(values, 3))

#: jko.callbacks.AtTimes
when = jko.callbacks.AtTimes([0.7, 1.6])
keep = jko.callbacks.Record("mean", lambda mu: mu.mean[0], when=when)
mu, target = jko.Gaussian([3.0], [[1.0]]), jko.Gaussian([0.0], [[1.0]])
sol = jko.flow(mu, jko.KL(target), jko.Wasserstein(), tau=0.5, steps=4, callbacks=[keep])
print(sol.records["mean"][0])

#: jko.callbacks.StopWhen
near = jko.callbacks.StopWhen(lambda event: event.energy < 0.1)
mu, target = jko.Gaussian([3.0], [[1.0]]), jko.Gaussian([0.0], [[1.0]])
sol = jko.flow(mu, jko.KL(target), jko.Wasserstein(), tau=0.5, steps=100, callbacks=[near])
print(sol.status, len(sol.steps))

#: jko.callbacks.MonitorDissipation jko.callbacks.MonitorMass
guards = [jko.callbacks.MonitorDissipation(), jko.callbacks.MonitorMass()]
mu, target = jko.Gaussian([3.0], [[1.0]]), jko.Gaussian([0.0], [[1.0]])
sol = jko.flow(mu, jko.KL(target), jko.Wasserstein(), tau=0.5, steps=10, callbacks=guards)
print(sol.success)

#: jko.callbacks.Progress
print(jko.callbacks.Progress(label="porous medium"))

#: jko.verify.all jko.verify.Report
report = jko.verify.all("m*")
print(report.holds, len(report))

#: jko.verify.names jko.verify.select
print(len(jko.verify.names()), jko.verify.select("hellinger*")[:2])

#: jko.verify.mmd_kl_equivalence jko.verify.Identity
x = np.linspace(0, 1, 6)[:, None]
target, previous = jko.Histogram(x, np.full(6, 1 / 6)), jko.Histogram(x, np.arange(1, 7) / 21)
check = jko.verify.mmd_kl_equivalence(target, previous, kernel=jko.kernels.Laplace(0.5), eta=0.5)
print(check.name, check.holds, check.residual <= check.tolerance)

#: jko.verify.cross_optimality
x = np.linspace(0, 1, 4)[:, None]
target, previous = jko.Histogram(x, np.full(4, 1 / 4)), jko.Histogram(x, np.arange(1, 5) / 10)
print(jko.verify.cross_optimality(target, previous, kernel=jko.kernels.Laplace(0.5)).holds)

#: jko.verify.mixture_by_qp
x = np.linspace(0, 1, 6)[:, None]
target, previous = jko.Histogram(x, np.full(6, 1 / 6)), jko.Histogram(x, np.arange(1, 7) / 21)
print(jko.verify.mixture_by_qp(target, previous, kernel=jko.kernels.Gaussian(0.5)).holds)

#: jko.verify.dissipation
mu = jko.Histogram([[0.0], [1.0]], [0.5, 0.5])
energy = jko.KL(mu.with_weights([0.9, 0.1]))
print(jko.verify.dissipation(mu, energy, jko.Hellinger(), 0.5).holds)

#: jko.verify.regularised_dissipation
grid = jko.Grid(-3, 3, 40)
rho = jko.GridDensity.from_function(lambda x: np.exp(-4 * (x[:, 0] - 1) ** 2), grid, mass=1)
print(jko.verify.regularised_dissipation(rho, jko.Entropy(), jko.Wasserstein(), 0.1).holds)


#: jko.verify.order jko.verify.measured_order
def error(tau):
    mu = jko.Gaussian([3.0], [[1.0]])
    energy = jko.KL(jko.Gaussian([0.0], [[1.0]]))
    sol = jko.flow(mu, energy, jko.Wasserstein(), tau=tau, t1=1.0)
    return float(abs(sol.final.mean[0] - 3 * np.exp(-1.0)))


print(jko.verify.order("implicit steps", 1.0, error).holds)
taus = [0.1, 0.05, 0.025]
print(round(jko.verify.measured_order([error(tau) for tau in taus], taus), 2))

#: jko.verify.scheme_order
print(jko.verify.scheme_order("lie", parts=1).holds)

#: jko.verify.IdentityFailed
print(jko.verify.IdentityFailed.__mro__[1].__name__)

#: jko.testing.check_energy
mu = jko.Histogram([[0.0], [1.0]], [0.6, 0.4])
print(jko.testing.check_energy(jko.KL(mu.with_weights([0.5, 0.5])), mu))

#: jko.testing.check_geometry
a = jko.Histogram([[0.0], [1.0]], [0.6, 0.4])
print(jko.testing.check_geometry(jko.Hellinger(), a, a.with_weights([0.2, 0.9])))

#: jko.testing.check_kernel
points = np.random.default_rng(0).normal(size=(8, 2))
print(jko.testing.check_kernel(jko.kernels.Gaussian(1.0), points))

#: jko.testing.check_solver
mu = jko.Histogram([[0.0], [1.0]], [0.6, 0.4])
problem = jko.ProxProblem(jko.KL(mu.with_weights([0.5, 0.5])), jko.Hellinger(), mu, tau=1.0)
print(jko.testing.check_solver(jko.solvers.ClosedForm(), problem))

#: jko.reference.ou_step
mean, std = 2.0, 0.5
for _ in range(3):
    mean, std = jko.reference.ou_step(mean, std, tau=0.1)
print(round(mean, 6), round(2 / 1.1**3, 6))

#: jko.reference.ou_flow
print(jko.reference.ou_flow(mean=2.0, std=0.5, time=1.0))

#: jko.reference.entropic_std
exact = jko.reference.ou_step(0.0, 1.0, tau=0.1)[1]
for debiased in (False, True):
    off = jko.reference.entropic_std(1.0, tau=0.1, reg=0.05, debiased=debiased) - exact
    print("debiased" if debiased else "plain", f"{off:.1e}")

#: jko.reference.gaussian_jko_step
print(jko.reference.gaussian_jko_step([3.0], [[0.1]], [0.0], [[1.0]], tau=0.5))

#: jko.reference.fisher_rao_gaussian_flow
print(jko.reference.fisher_rao_gaussian_flow([3.0], [[0.1]], [0.0], [[1.0]], time=1.0))

#: jko.reference.wfr_gaussian_flow
print(jko.reference.wfr_gaussian_flow([3.0], [[0.1]], [0.0], [[1.0]], time=1.0))

#: jko.reference.hellinger_flow
print(jko.reference.hellinger_flow([0.5, 0.5], [0.9, 0.1], time=1.0))

#: jko.reference.wfr_diracs
print(jko.reference.wfr_diracs(1.0, 2.0, 0.0), 4 * (np.sqrt(2) - 1) ** 2)

#: jko.reference.Barenblatt
#: \rho(t,x) = \lambda^{-d}\Big(C - k\frac{\lvert x\rvert^2}{\lambda^2}\Big)_+^{1/(m-1)}
heap = jko.reference.Barenblatt(dim=1, m=2, mass=0.5, peak=15.0, g=1e-3)
start = heap.start
print(heap.radius(start), heap.radius(heap.flow(start, 2.0)))

#: jko.reference.drift_density
x = np.linspace(0, 1, 5)
print(jko.reference.drift_density(x, time=0.1).round(4))

#: jko.reference.jam_shares
print(jko.reference.jam_shares([0.2, 0.5], time=0.25, density=0.5, radius=0.75).round(4))

#: jko.reference.energy_distance_quantile
print(jko.reference.energy_distance_quantile(np.linspace(0, 1, 5), time=0.5))

#: jko.plot.measure
mu = jko.Gaussian([0.0, 0.0], [[1.0, 0.5], [0.5, 1.0]])
artists = mu.plot()
plt.savefig("gaussian.png")

#: jko.plot.result
mu = jko.Histogram(np.arange(3.0)[:, None], [0.2, 0.3, 0.5])
result = jko.step(mu, jko.KL(mu.with_weights([0.6, 0.3, 0.1])), jko.Hellinger(), tau=1.0)
artists = result.plot()
plt.savefig("step.png")

#: jko.plot.trajectory
grid = jko.Grid(-3, 3, 60)
rho = jko.GridDensity.from_function(lambda x: np.exp(-8 * (x[:, 0] - 1) ** 2), grid, mass=1)
sol = jko.flow(rho, jko.Entropy(), jko.Wasserstein(), tau=0.1, steps=5)
artists = sol.plot()
plt.savefig("flow.png")

#: jko.plot.animation jko.plot.animate
grid = jko.Grid(-3, 3, 60)
rho = jko.GridDensity.from_function(lambda x: np.exp(-8 * (x[:, 0] - 1) ** 2), grid, mass=1)
sol = jko.flow(rho, jko.Entropy(), jko.Wasserstein(), tau=0.1, steps=3)
film = sol.animate("flow.gif", frames=4)
print(type(film).__name__, jko.plot.animate(sol, "other.gif", frames=4))

#: jko.plot.points jko.plot.particles jko.plot.finish
data = np.random.default_rng(0).normal(size=(100, 2))
cloud = jko.Particles(data[:20])
fig, ax = plt.subplots()
jko.plot.points(ax, data, label="data")
jko.plot.particles(ax, cloud, label="particles")
jko.plot.finish(ax, xlabel="x", ylabel="y", legend="upper left")

#: jko.plot.density
grid = jko.Grid([-3, -3], [3, 3], [40, 40])
rho = jko.GridDensity.from_function(lambda x: np.exp(-(x**2).sum(1)), grid, mass=1)
fig, ax = plt.subplots()
image = jko.plot.density(ax, rho)
fig.colorbar(image)

#: jko.plot.decay
mu, target = jko.Gaussian([3.0], [[1.0]]), jko.Gaussian([0.0], [[1.0]])
sol = jko.flow(mu, jko.KL(target), jko.Wasserstein(), tau=0.5, steps=10)
fig, ax = plt.subplots()
jko.plot.decay(ax, sol, labels=["Wasserstein"])


#: jko.plot.figure jko.plot.styled
@jko.plot.styled
def two():
    return jko.plot.figure([["left", "right"]], (6, 3))


fig, ax = two()
print(sorted(ax))

#: jko.plot.folder jko.plot.save
figures = jko.plot.folder("figures")
fig, ax = plt.subplots()
ax.plot([0, 1], [0, 1])
print(jko.plot.save(fig, figures / "line.png"))

#: jko.JkoError jko.InvalidArgument
try:
    jko.Wasserstein(p=0.5)
except jko.JkoError as error:
    print(type(error).__name__, "-", error)

#: jko.InvalidType
try:
    jko.step("not a measure", jko.Entropy(), jko.Wasserstein(), 0.1)
except jko.InvalidType as error:
    print(error)

#: jko.InvalidMeasure
try:
    jko.Histogram([[0.0], [1.0]], [0.5, -0.5])
except jko.InvalidMeasure as error:
    print(error)

#: jko.InvalidFile
with open("run.npz", "w") as file:
    file.write("no archive")
try:
    jko.Trajectory.load("run.npz")
except jko.InvalidFile as error:
    print(error)

#: jko.Unsupported
mu = jko.Histogram([[0.0], [1.0]], [0.5, 0.5])
try:
    jko.step(mu, jko.KL(jko.Gaussian([0.0], [[1.0]])), jko.Hellinger(), 0.1)
except jko.Unsupported as error:
    print(error)

#: jko.StepFailed
mu = jko.Histogram([[0.0], [1.0]], [0.5, 0.5])
slope = jko.Potential([0.0, -9.0])
try:
    jko.step(mu, slope, jko.Hellinger(), tau=0.5)
except jko.StepFailed as failure:
    print(failure)
    print(failure.result.status.name)

#: jko.JkoWarning
grid = jko.Grid(-3, 3, 20)
rho = jko.GridDensity.from_function(lambda x: np.exp(-(x[:, 0] ** 2)), grid, mass=1)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    solver = jko.solvers.Entropic(debias=False)
    jko.step(rho, jko.Entropy(), jko.Wasserstein(), tau=1e-3, solver=solver)
print(caught[0].category.__name__, "-", caught[0].message)

#: jko.plot.worst_case
sample = jko.Particles(np.random.default_rng(0).normal(size=(60, 2)))
loss = jko.dro.Linear([0.6, -0.8])
found = jko.dro.worst_case(loss, sample, jko.Wasserstein(), radius=0.5, support="particles")
artists = found.plot()

#: jko.sliced_wasserstein jko.distances.Sliced
#: \mathrm{SW}_p^p = \int W_p^p(u_\# a, u_\# b)\, du
rng = np.random.default_rng(0)
a = jko.Particles(rng.normal(size=(50, 2)))
b = jko.Particles(a.points + np.array([1.0, 0.0]))
print(jko.sliced_wasserstein(a, b), round(0.5**0.5, 6))
