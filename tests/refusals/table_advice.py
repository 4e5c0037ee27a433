"""Refusals that name a way out: what is called, the words of the way out, and the way followed."""

import numpy as np
from scipy.sparse import csr_array

import jko
from jko import dro, kernels, solvers, vi

RNG = np.random.default_rng(4)
X = RNG.normal(size=(6, 2))
W = np.array([0.1, 0.2, 0.1, 0.3, 0.2, 0.1])
HIST, OTHER = jko.Histogram(X, W), jko.Histogram(X, W[::-1])
HEAVY = jko.Histogram(X, 2 * W)
CLOUD = jko.Particles(X, W)
GRID = jko.Grid(-2, 2, 24)
RHO = jko.GridDensity.from_function(lambda x: np.exp(-2 * (x[:, 0] - 0.4) ** 2), GRID, mass=1)
PI = jko.GridDensity.from_function(lambda x: np.exp(-2 * (x[:, 0] + 0.2) ** 2), GRID, mass=1)
WALL = np.ones((6, 6), bool)
WALL[3, 3] = False
ROOM = jko.Grid([-1, -1], [1, 1], [6, 6], mask=WALL)
IN_ROOM = jko.GridDensity.from_function(lambda x: np.exp(-(x**2).sum(1)), ROOM, mass=1)
RING = jko.Grid(0, 1, 12, periodic=True)
ON_RING = jko.GridDensity(RING, np.arange(1.0, 13))
BACK_ON_RING = ON_RING.with_weights(ON_RING.weights[::-1])
BELL, WIDE = jko.Gaussian([0.0, 0.0], np.eye(2)), jko.Gaussian([1.0, 0.0], 2 * np.eye(2))
LINE = jko.LogDensity(lambda x: -0.5 * (x**2).sum(1), lambda x: -x, dim=1)
K, DISTANCE = kernels.Gaussian(1.0), kernels.Energy()
W2, HE, FIXED = jko.Wasserstein(), jko.Hellinger(), jko.Hellinger(mass="fixed")
MMD = jko.MMD(K)
TILT = jko.Potential(lambda x: x[:, 0])
EDGES = csr_array(([1.0, 1.0, 1.0, 1.0, 1.0], (range(5), range(1, 6))), shape=(6, 6))
APART = csr_array(([1.0, 1.0, 1.0, 1.0], ([0, 1, 3, 4], [1, 2, 4, 5])), shape=(6, 6))
ONE_WAY = csr_array(([1.0, 2.0], ([0, 1], [1, 0])), shape=(2, 2))
PAIR = jko.Histogram(X[:2], [0.4, 0.6])
LOSS = (X**2).sum(1)


def atoms(rho):
    """The cells of a density as atoms, as the refusal says."""
    return jko.Histogram(rho.points, rho.weights)


def square(x):
    return (x**2).sum(axis=1)


def double(x):
    return 2 * x


def shifted(x):
    return square(x - 1)


# fmt: off
#: id, what is refused, words of the way out (a regular expression), the way followed
STEPS = [
    ("a-power-on-a-grid", lambda: jko.step(RHO, jko.KL(PI), jko.Wasserstein(p=3), 0.1),
     r"pass jko.Histogram\(measure.points, measure.weights\)",
     lambda: jko.step(atoms(RHO), jko.KL(PI), jko.Wasserstein(p=3), 0.1)),
    ("a-matrix-on-a-grid", lambda: jko.step(RHO, TILT, jko.Wasserstein(cost=np.ones((24, 24))), 1),
     r"pass jko.Histogram\(measure.points, measure.weights\)",
     lambda: jko.step(atoms(RHO), TILT, jko.Wasserstein(cost=np.ones((24, 24))), 1)),
    ("a-power-on-a-grid-moved", lambda: jko.flow(RHO, jko.Entropy(), jko.Wasserstein(p=1), tau=0.1,
                                                 steps=2), r"or move by jko.Wasserstein\(\)",
     lambda: jko.flow(RHO, jko.Entropy(), W2, tau=0.1, steps=2)),
    ("a-power-of-particles", lambda: jko.step(CLOUD, TILT, jko.Wasserstein(p=3), 0.1),
     r"pass jko.Histogram\(measure.points, measure.weights\)",
     lambda: jko.step(atoms(CLOUD), TILT, jko.Wasserstein(p=3), 0.1)),
    ("a-power-of-gaussians", lambda: jko.step(BELL, jko.KL(WIDE), jko.Wasserstein(p=3), 0.1),
     r"use jko.Wasserstein\(\)", lambda: jko.step(BELL, jko.KL(WIDE), W2, 0.1)),
    ("a-power-debiased", lambda: jko.step(HIST, jko.KL(OTHER), jko.Wasserstein(p=3), 0.1,
                                          solver=solvers.Entropic()), "pass debias=False",
     lambda: jko.step(HIST, jko.KL(OTHER), jko.Wasserstein(p=3), 0.1,
                      solver=solvers.Entropic(debias=False))),
    ("half-off-grids", lambda: jko.step(HIST, jko.KL(OTHER), W2, 0.1,
                                        solver=solvers.Entropic(debias="half")),
     "pass debias=True or False",
     lambda: jko.step(HIST, jko.KL(OTHER), W2, 0.1, solver=solvers.Entropic())),
    ("pot-debiased", lambda: jko.step(HIST, jko.KL(OTHER), W2, 0.1,
                                      solver=solvers.Entropic(backend="pot")),
     "pass debias=False, or backend='log'",
     lambda: jko.step(HIST, jko.KL(OTHER), W2, 0.1,
                      solver=solvers.Entropic(reg=0.5, backend="pot", debias=False))),
    ("linear-debiased", lambda: jko.step(RHO, TILT, W2, 0.1, solver=solvers.Entropic()),
     "pass debias=False, on grids debias='half', or add",
     lambda: jko.step(RHO, TILT, W2, 0.1, solver=solvers.Entropic(debias="half"))),
    ("linear-debiased-entropy", lambda: jko.step(RHO, TILT, W2, 0.1, solver=solvers.Entropic()),
     r"or add jko.Entropy\(\)",
     lambda: jko.step(RHO, TILT + jko.Entropy(), W2, 0.1, solver=solvers.Entropic())),
    ("walls-entropic", lambda: jko.step(IN_ROOM, jko.Entropy(), W2, 0.1, solver=solvers.Entropic()),
     "use jko.solvers.FiniteVolume",
     lambda: jko.step(IN_ROOM, jko.Entropy(), W2, 0.1, solver=solvers.FiniteVolume())),
    ("walls-distance", lambda: W2.distance(IN_ROOM, IN_ROOM),
     "take steps with jko.solvers.Entropic or jko.solvers.FiniteVolume",
     lambda: jko.step(IN_ROOM, jko.Entropy(), W2, 0.1, solver=solvers.FiniteVolume())),
    ("no-gradient", lambda: jko.step(CLOUD, jko.Potential(square), W2, 0.1),
     r"pass Potential\(V, gradient=...\)",
     lambda: jko.step(CLOUD, jko.Potential(square, gradient=double), W2, 0.1)),
    ("no-pair-gradient", lambda: jko.step(CLOUD, jko.Interaction(square), W2, 0.1),
     r"pass Interaction\(W, gradient=...\)",
     lambda: jko.step(CLOUD, jko.Interaction(square, gradient=double), W2, 0.1)),
    ("entropy-of-particles", lambda: jko.Entropy().value(CLOUD),
     "use a jko.GridDensity or jko.Histogram", lambda: jko.step(HIST, jko.Entropy(), W2, 0.1)),
    ("entropy-moves-no-particles", lambda: jko.step(CLOUD, jko.Entropy(), W2, 0.1),
     "use a jko.GridDensity", lambda: jko.step(RHO, jko.Entropy(), W2, 0.1)),
    ("entropy-of-particles-weighed", lambda: jko.Entropy().value(CLOUD),
     r"Entropy\(..., reference=array\)",
     lambda: jko.Entropy(reference=np.full(6, 0.5)).value(CLOUD)),
    ("local-energy-of-atoms",
     lambda: jko.LocalEnergy(np.square, double, lambda r: 2 + 0 * r).value(CLOUD),
     "use a jko.GridDensity",
     lambda: jko.step(RHO, jko.LocalEnergy(np.square, double, lambda r: 2 + 0 * r), W2, 0.1)),
    ("conditional-kernel-free", lambda: jko.step(HIST, jko.MMDEnergy(OTHER, DISTANCE), HE, 0.1),
     "mass='fixed'", lambda: jko.step(HIST, jko.MMDEnergy(OTHER, DISTANCE), FIXED, 0.1)),
    ("conditional-kernel-masses", lambda: jko.step(HIST, jko.MMDEnergy(HEAVY, DISTANCE), MMD, 0.1),
     "normalise", lambda: jko.step(HIST, jko.MMDEnergy(OTHER, DISTANCE), MMD, 0.1)),
    ("u-statistic", lambda: jko.step(HIST, jko.MMDEnergy(OTHER, K, "U"), MMD, 0.1),
     "statistic='V'", lambda: jko.step(HIST, jko.MMDEnergy(OTHER, K, statistic="V"), MMD, 0.1)),
    ("a-density-for-atoms", lambda: jko.step(HIST, jko.KL(BELL), W2, 0.1),
     "give the target as a jko.Histogram on these points",
     lambda: jko.step(HIST, jko.KL(jko.Histogram(X, np.exp(-square(X) / 2))), W2, 0.1)),
    ("a-sum-in-one-step", lambda: jko.step(HIST, jko.KL(OTHER), W2 + HE, 0.1),
     "use jko.split_step or jko.flow",
     lambda: jko.split_step(HIST, jko.KL(OTHER), W2 + HE, 0.1)),
    ("time-in-a-step", lambda: jko.step(HIST, jko.TimeDependent(lambda t: t * TILT), W2, 0.1),
     r"pass energy.at\(t\)",
     lambda: jko.step(HIST, jko.TimeDependent(lambda t: t * TILT).at(2.0), W2, 0.1)),
    ("time-in-a-value", lambda: jko.TimeDependent(lambda t: t * TILT).value(HIST),
     r"use .at\(t\)", lambda: jko.TimeDependent(lambda t: t * TILT).at(2.0).value(HIST)),
    ("program-too-large", lambda: jko.step(HIST, jko.KL(OTHER), W2, 0.1,
                                           solver=solvers.TransportProgram(max_atoms=5)),
     r"TransportProgram\(max_atoms=6\)",
     lambda: jko.step(HIST, jko.KL(OTHER), W2, 0.1, solver=solvers.TransportProgram(max_atoms=6))),
    ("conic-too-large", lambda: jko.step(HIST, jko.KL(OTHER), HE, 0.1,
                                         solver=solvers.Conic(max_atoms=5)), "raise max_atoms",
     lambda: jko.step(HIST, jko.KL(OTHER), HE, 0.1, solver=solvers.Conic(max_atoms=6))),
    ("cone-too-large", lambda: jko.step(HIST, jko.KL(OTHER), jko.WassersteinFisherRao(), 0.1,
                                        solver=solvers.UnbalancedProgram(max_atoms=5)),
     r"jko.solvers.UnbalancedScaling\(\)",
     lambda: jko.step(HIST, jko.KL(OTHER), jko.WassersteinFisherRao(), 0.1,
                      solver=solvers.UnbalancedScaling())),
    ("coupled-closed-form", lambda: jko.step(HIST, jko.MMDEnergy(OTHER, K), HE, 0.1,
                                             solver=solvers.ClosedForm()),
     r"use jko.solvers.Conic\(\)",
     lambda: jko.step(HIST, jko.MMDEnergy(OTHER, K), HE, 0.1, solver=solvers.Conic())),
    ("kernels-back-and-forth", lambda: jko.step(RHO, jko.MMDEnergy(PI, K), W2, 0.1,
                                                solver=solvers.BackAndForth()),
     "use jko.solvers.Entropic",
     lambda: jko.step(RHO, jko.MMDEnergy(PI, K), W2, 0.1, solver=solvers.Entropic())),
    ("walls-and-pieces", lambda: jko.step(HIST, TILT, jko.Wasserstein(cost=APART), 1.0),
     "add an edge", lambda: jko.step(HIST, TILT, jko.Wasserstein(cost=EDGES), 1.0)),
    ("kl-of-particles", lambda: jko.step(CLOUD, jko.KL(BELL), W2, 0.1),
     r"solver=jko.solvers.Langevin\(\)",
     lambda: jko.step(CLOUD, jko.KL(BELL), W2, 0.1, solver=solvers.Langevin(), rng=0)),
    ("an-unknown-density", lambda: jko.step(BELL, jko.InclusiveKL(WIDE), FIXED, 0.1),
     "use jko.KL", lambda: jko.step(BELL, jko.KL(WIDE), FIXED, 0.1)),
    ("a-budget-alone", lambda: solvers.SimplexQP(budget=3), "support='union'",
     lambda: solvers.SimplexQP(support="union", budget=3)),
    ("linear-diffusion", lambda: jko.PorousMedium(1), r"use jko.Entropy\(\)", jko.Entropy),
    ("logarithmic-pairs", lambda: jko.Interaction.power(0), r"Interaction.logarithmic\(\)",
     jko.Interaction.logarithmic),
    ("steps-and-t1", lambda: jko.flow(HIST, TILT, HE, tau=0.1, steps=2, t1=1.0),
     "pass one of steps=, t1=", lambda: jko.flow(HIST, TILT, HE, tau=0.1, t1=0.2)),
    ("energies-of-a-split", lambda: jko.split_step(HIST, (TILT,), W2 + HE, 0.1),
     "one per geometry", lambda: jko.split_step(HIST, (TILT, TILT), W2 + HE, 0.1)),
    ("a-moment-alone", lambda: jko.step(HIST, TILT, FIXED, 0.1, constraints=3),
     r"pass a list such as \[jko.Moment\(lambda x: x\[:, 0\], 0.0\)\]",
     lambda: jko.step(HIST, TILT, FIXED, 0.1, constraints=[jko.Moment(lambda x: x[:, 0], 0.0)])),
    ("unbounded", lambda: jko.step(HIST, jko.Potential(np.full(6, -9.0)), HE, 0.5),
     "fix the mass", lambda: jko.step(HIST, jko.Potential(np.full(6, -9.0)), FIXED, 0.5)),
]

DISTANCES = [
    ("below-one", lambda: jko.Wasserstein(p=0.5), "pass p >= 1", lambda: jko.Wasserstein(p=1)),
    ("below-one-cost", lambda: jko.Wasserstein(p=0.5), "cost=lambda x, y",
     lambda: jko.Wasserstein(cost=lambda x, y: np.sqrt(np.abs(x - y[:, 0]))).sqdistance(
         jko.Histogram(X[:, :1], W), jko.Histogram(X[:, :1], W[::-1]))),
    ("power-and-matrix", lambda: jko.Wasserstein(p=3, cost=np.ones((6, 6))),
     "leave p out and pass the costs raised to it",
     lambda: jko.Wasserstein(cost=np.ones((6, 6)) ** 3)),
    ("power-and-graph", lambda: jko.Wasserstein(p=3, cost=np.ones((6, 6))),
     "or pass a graph of lengths", lambda: jko.Wasserstein(p=3, cost=EDGES).distance(HIST, OTHER)),
    ("one-way", lambda: jko.Wasserstein(cost=ONE_WAY), "or the costs as a matrix",
     lambda: jko.Wasserstein(cost=ONE_WAY.toarray()).sqdistance(PAIR, PAIR)),
    ("one-way-mended", lambda: jko.Wasserstein(cost=ONE_WAY), "pass a symmetric graph",
     lambda: jko.Wasserstein(cost=ONE_WAY + ONE_WAY.T)),
    ("a-closed-way", lambda: jko.Wasserstein(cost=np.full((6, 6), np.inf)),
     "close a way with a large cost", lambda: jko.Wasserstein(cost=np.full((6, 6), 1e6))),
    ("no-metric", lambda: jko.Wasserstein(cost=np.ones((6, 6))).distance(HIST, OTHER),
     r"jko.Wasserstein\(cost=...\).sqdistance\(a, b\)",
     lambda: jko.Wasserstein(cost=np.ones((6, 6))).sqdistance(HIST, OTHER)),
    ("no-way", lambda: jko.Wasserstein(cost=EDGES).geodesic(HIST, OTHER, 0.5),
     r"use jko.Wasserstein\(p=...\) for straight ways",
     lambda: jko.Wasserstein(p=1).geodesic(HIST, OTHER, 0.5)),
    ("no-way-a-plan", lambda: jko.Wasserstein(cost=EDGES).geodesic(HIST, OTHER, 0.5),
     "read jko.Wasserstein.plan", lambda: jko.Wasserstein(cost=EDGES).plan(HIST, OTHER)),
    ("no-potential", lambda: jko.Wasserstein(p=1).potential(HIST, OTHER), "use jko.transport",
     lambda: jko.transport(HIST, OTHER, p=1)),
    ("gaussians", lambda: jko.Wasserstein(p=1).distance(BELL, WIDE),
     "use jko.Histogram or jko.Particles",
     lambda: jko.Wasserstein(p=1).distance(HIST, CLOUD)),
    ("masses", lambda: W2.distance(HIST, HEAVY), "normalise the measures",
     lambda: W2.distance(HIST, HEAVY.with_weights(HEAVY.weights / HEAVY.mass))),
    ("masses-free", lambda: W2.distance(HIST, HEAVY), r"such as jko.Hellinger\(\)",
     lambda: HE.distance(HIST, HEAVY)),
    ("conditional-mmd", lambda: jko.MMD(DISTANCE, mass="free").distance(HIST, HEAVY),
     "mass='fixed'", lambda: jko.MMD(DISTANCE, mass="fixed").distance(HIST, OTHER)),
    ("fixed-mass-geodesic", lambda: FIXED.geodesic(HIST, OTHER, 0.5),
     r"use jko.SphericalHellinger\(\)",
     lambda: jko.SphericalHellinger().geodesic(HIST, OTHER, 0.5)),
    ("fixed-mass-geodesic-free", lambda: FIXED.geodesic(HIST, OTHER, 0.5),
     r"jko.Hellinger\(mass='free'\)",
     lambda: jko.Hellinger(mass="free").geodesic(HIST, OTHER, 0.5)),
    ("relaxed-on-one-side", lambda: jko.transport(HIST, HEAVY, relax=(1.0, None, 2.0)),
     r"a pair such as \(1.0, None\)", lambda: jko.transport(HIST, HEAVY, relax=(1.0, None))),
    ("no-barycentre", lambda: jko.barycentre([CLOUD, CLOUD], geometry=W2),
     r"densities on one grid in jko.Wasserstein\(\)",
     lambda: jko.barycentre([RHO, PI], geometry=W2)),
    ("ring-geodesic", lambda: W2.geodesic(ON_RING, BACK_ON_RING, 0.5), "use a plain jko.Grid",
     lambda: W2.geodesic(RHO, PI, 0.5)),
    ("wfr-of-gaussians", lambda: jko.WassersteinFisherRao().distance(BELL, WIDE),
     "discretise them on a jko.Grid or sample them",
     lambda: jko.WassersteinFisherRao().distance(HIST, HEAVY)),
    ("wfr-one-rate", lambda: jko.WassersteinFisherRao(0, 1), "positive", lambda: HE),
    ("moving-cells", lambda: RHO.with_points(RHO.points), "use jko.Particles",
     lambda: jko.Particles(RHO.points, RHO.weights).with_points(RHO.points + 1)),
    ("dynamic-matrix", lambda: jko.geodesic(RHO, PI, jko.Wasserstein(cost=np.ones((24, 24)))),
     r"use jko.Wasserstein\(p=...\)",
     lambda: jko.geodesic(RHO, PI, jko.Wasserstein(p=2), slices=4)),
]

SHAPES = [
    ("a-line-of-points", lambda: jko.Particles([0.0, 1.0]), r"points\[:, None\]",
     lambda: jko.Particles(np.array([0.0, 1.0])[:, None])),
    ("masked", lambda: jko.Histogram(X, np.ma.masked_array(W, W > 0.2)),
     r"weights.filled\(0.0\)",
     lambda: jko.Histogram(X, np.ma.masked_array(W, W > 0.2).filled(0.0))),
    ("sparse", lambda: jko.Histogram(X, csr_array(W[None])), r"weights.toarray\(\)",
     lambda: jko.Histogram(X, csr_array(W[None]).toarray()[0])),
    ("not-symmetric", lambda: jko.Gaussian([0, 0], [[1.0, 0.5], [0.0, 1.0]]),
     r"pass \(cov \+ cov.T\) / 2",
     lambda: jko.Gaussian([0, 0], np.array([[1.0, 0.25], [0.25, 1.0]]))),
    ("not-positive", lambda: jko.Gaussian([0, 0], [[1.0, 0], [0, 0]]),
     "add a small multiple of the identity",
     lambda: jko.Gaussian([0, 0], np.diag([1.0, 0]) + 1e-6 * np.eye(2))),
    ("same-points", lambda: kernels.median_bandwidth(np.zeros((4, 2))),
     r"numpy.unique\(x, axis=0\)",
     lambda: kernels.median_bandwidth(np.unique(np.repeat(X, 2, axis=0), axis=0))),
    ("matern", lambda: kernels.Matern(1.0, nu=2.0), "pass 0.5, 1.5 or 2.5",
     lambda: kernels.Matern(1.0, nu=2.5)),
    ("no-seed", lambda: jko.step(HIST, TILT, HE, 0.1, rng="seed"), "None or a whole number",
     lambda: jko.step(HIST, TILT, HE, 0.1, rng=7)),
    ("no-solver", lambda: jko.step(HIST, TILT, HE, 0.1, solver="entropic"),
     r"'auto' or a solver object such as jko.solvers.SimplexQP\(support='union'\)",
     lambda: jko.step(HIST, jko.MMDEnergy(OTHER, K), MMD, 0.1,
                      solver=solvers.SimplexQP(support="union"))),
    ("one-recombined", lambda: jko.thinning.recombine(CLOUD, 1, K), "pass 2 or more",
     lambda: jko.thinning.recombine(CLOUD, 2, K)),
    ("blocked-mass", lambda: jko.GridDensity(ROOM, np.ones(36)), "give those cells weight 0",
     lambda: jko.GridDensity(ROOM, WALL.ravel().astype(float))),
    ("unbounded-kernel", lambda: jko.match(CLOUD, CLOUD, DISTANCE, steps=2),
     "use a kernel such as jko.kernels.Gaussian",
     lambda: jko.match(CLOUD, CLOUD, K, steps=2)),
    ("a-heavy-target", lambda: jko.match(CLOUD, jko.Particles(X, 2 * W), K, steps=2),
     "weights that sum to 1", lambda: jko.match(CLOUD, jko.Particles(X, W), K, steps=2)),
    ("sums", lambda: jko.match(CLOUD, CLOUD, K, steps=2, sums="fast"),
     r"'auto', None or jko.kernels.FastSums\(tol=...\)",
     lambda: jko.match(CLOUD, CLOUD, K, steps=2, sums=kernels.FastSums(tol=1e-6))),
]

APPLICATIONS = [
    ("no-dim", lambda: vi.fit(lambda x: -square(x)), "pass the dimension",
     lambda: vi.fit(lambda x: -square(x), dim=1, gradient=lambda x: -2 * x, rng=0)),
    ("inclusive-mixture", lambda: vi.fit(LINE, objective="inclusive", family="mixture"),
     "use objective='exclusive' for a mixture",
     lambda: vi.fit(LINE, objective="exclusive", family="mixture", rng=0, throw=False)),
    ("ball-and-price", lambda: dro.worst_case(LOSS, HIST, jko.Divergence(), radius=0.1, tau=1.0),
     "pass radius= for a ball or tau= for a penalty",
     lambda: dro.worst_case(LOSS, HIST, jko.Divergence(), tau=1.0)),
    ("values-for-particles", lambda: dro.worst_case(LOSS, CLOUD, W2, radius=0.1,
                                                    support="particles"),
     r"pass a function \(n, d\) -> \(n,\)",
     lambda: dro.worst_case(square, CLOUD, W2, tau=0.1, support="particles", throw=False)),
    ("particles-elsewhere", lambda: dro.worst_case(square, CLOUD, HE, tau=0.1,
                                                   support="particles"),
     r"use jko.Wasserstein\(\)",
     lambda: dro.worst_case(square, CLOUD, W2, tau=0.1, support="particles", throw=False)),
    ("sample-only", lambda: dro.worst_case(square, HIST, jko.Divergence(), radius=0.1,
                                           support="union", points=X + 1),
     "use support='sample'",
     lambda: dro.worst_case(square, HIST, jko.Divergence(), radius=0.1, support="sample")),
    ("a-set-with-a-radius", lambda: dro.worst_case(square, HIST, dro.CVaR(0.5), radius=0.1),
     "leave radius and tau out", lambda: dro.worst_case(square, HIST, dro.CVaR(0.5))),
    ("no-gradient-given", lambda: jko.sample(jko.LogDensity(square, dim=1), gradient=double, dim=1),
     "pass it there",
     lambda: jko.sample(jko.LogDensity(lambda x: -square(x), lambda x: -2 * x, dim=1), n=50,
                        rng=0)),
    ("no-density", lambda: jko.sample(square(X), dim=2), "best with gradient=",
     lambda: jko.sample(lambda x: -square(x), dim=1, gradient=lambda x: -2 * x, n=50, rng=0)),
    ("empty-grid", lambda: jko.sweep(len, {}), "give every parameter one value at least",
     lambda: jko.sweep(lambda x: x, {"x": [1]})),
    ("one-value", lambda: jko.sweep(len, {"x": 3}), "pass a list of values",
     lambda: jko.sweep(lambda x: x, {"x": [3]})),
    ("a-path-in-kernels", lambda: jko.planning(RHO, PI, W2, running=jko.MMDEnergy(PI, K)),
     "use Potential, Entropy, PorousMedium, BoxConstraint or divergences",
     lambda: jko.planning(RHO, PI, W2, running=TILT, slices=4)),
]
# fmt: on
