"""Bad input to steps and solvers: what is called, raised and said."""

import numpy as np
from generators import measures

import jko
from jko import kernels
from jko.errors import InvalidArgument, InvalidMeasure, InvalidType, Unsupported
from jko.solvers import Conic, Entropic, Mixture, SimplexQP

K = kernels.Gaussian(1.0)
MU = measures.histogram(8, 1, seed=1)
PI = measures.sibling(MU, 2)
FAR = measures.particles(6, 1, seed=3, shift=9.0)
KL, HE, W2 = jko.KL(PI), jko.Hellinger(), jko.Wasserstein()
SQUARE = jko.MMDEnergy(PI, K)
NAN, INF = float("nan"), float("inf")


def step(measure=MU, energy=KL, geometry=HE, tau=0.5, **options):
    return lambda **more: jko.step(measure, energy, geometry, tau, **options, **more)


def deep(x):
    return np.full(len(x), -1e6)


def closed(x):
    return np.full(len(x), np.inf)


# fmt: off
#: id, callable, exception, fragments of the message (regular expressions, all must be found)
ARGUMENTS = [
    ("measure-array", step(np.ones(8)), InvalidType, ("measure got ndarray", "jko.Particles")),
    ("measure-text", step("mu"), InvalidType, ("measure got 'mu'", "pass a measure")),
    ("measure-log-density", step(jko.LogDensity(lambda x: x[:, 0])), InvalidType,
     ("measure got LogDensity", "pass a measure")),
    ("energy-text", step(energy="KL"), InvalidType, ("energy got 'KL'", r"jko.KL\(target\)")),
    ("energy-class", step(energy=jko.KL), InvalidType,
     ("energy got the class KL", "pass an energy")),
    ("energy-measure", step(energy=PI), InvalidType, ("energy got Histogram", "pass an energy")),
    ("energy-tuple", step(energy=(KL, KL)), InvalidType, ("energy got tuple",)),
    ("geometry-text", step(geometry="hellinger"), InvalidType,
     ("geometry got 'hellinger'", r"jko.Hellinger\(\)")),
    ("geometry-class", step(geometry=jko.Hellinger), InvalidType, ("geometry got",)),
    ("geometry-kernel", step(geometry=K), InvalidType, ("geometry got Gaussian",)),
    ("geometry-sum", step(geometry=W2 + HE), InvalidArgument,
     ("is a sum", r"Wasserstein\(\) \+ Hellinger\(\)", "jko.split_step")),
    ("tau-zero", step(tau=0.0), InvalidArgument, ("tau = 0 must be positive", "step length")),
    ("tau-negative", step(tau=-0.5), InvalidArgument, ("tau = -0.5 must be positive",)),
    ("tau-nan", step(tau=NAN), InvalidArgument, ("tau = nan is not finite", "finite number")),
    ("tau-inf", step(tau=INF), InvalidArgument, ("tau = inf is not finite", "finite number")),
    ("tau-denormal", step(tau=1e-320), InvalidArgument, ("tau = 9.99989e-321", "unit of time")),
    ("tau-text", step(tau="0.1"), InvalidType, ("tau must be a number", "'0.1'")),
    ("tau-array", step(tau=np.array([0.1])), InvalidType, ("tau must be a number",)),
    ("tau-endless", step(tau=10**400), InvalidArgument,
     (r"tau = 2\*\*1328 or more is beyond double", "1e308")),
    ("tau-bytes", step(tau=b"1"), InvalidType, ("tau must be a number", "b'1'")),
    ("tau-text-array", step(tau=np.array("0.5")), InvalidType, ("tau must be a number",)),
    ("tau-numpy-bool", step(tau=np.True_), InvalidType, ("tau must be a number", "True")),
    ("tau-complex", step(tau=1j), InvalidType, ("tau must be a number", "complex")),
    ("tau-masked", step(tau=np.ma.masked), InvalidType, ("tau must be a number",)),
    ("max-iter-endless", step(max_iter=10**400), InvalidArgument,
     (r"max_iter = 2\*\*1328 or more",)),
    ("rng-bool", step(rng=True), InvalidType, ("rng = True is not a seed", "whole number")),
    ("rng-matrix", step(rng=np.eye(2, dtype=int)), InvalidType,
     ("rng = ndarray is not a seed", "whole number")),
    ("rng-float", step(rng=0.5), InvalidType, ("rng = 0.5 is not a seed",)),
    ("rng-negative", step(rng=-1), InvalidType, ("rng = -1 is not a seed",)),
    ("tau-none", step(tau=None), InvalidType, ("tau must be a number", "None")),
    ("tau-bool", step(tau=True), InvalidType, ("tau must be a number", "True")),
    ("solver-text", step(solver="newton"), InvalidType,
     ("solver got 'newton'", "'auto' or a solver object")),
    ("solver-class", step(solver=SimplexQP), InvalidType,
     ("solver got the class SimplexQP", "'auto' or a solver object")),
    ("solver-array", step(solver=np.ones(2)), InvalidType,
     ("solver got ndarray", "'auto' or a solver object")),
    ("tol-zero", step(tol=0.0), InvalidArgument, ("tol = 0 must be positive",)),
    ("tol-text", step(tol="tight"), InvalidType, ("tol must be a number", "'tight'")),
    ("max-iter-zero", step(max_iter=0), InvalidArgument, ("max_iter = 0 must be at least 1",)),
    ("max-iter-float", step(max_iter=2.5), InvalidType,
     ("max_iter must be a whole number", "2.5")),
    ("rng", step(rng="seed"), InvalidType, ("rng = 'seed' is not a seed",)),
    ("support", lambda: SimplexQP(support="both"), InvalidArgument,
     ("support = 'both' is unknown", "'fixed', 'union'")),
    ("budget-zero", lambda: SimplexQP(support="union", budget=0), InvalidArgument,
     ("budget = 0 must be at least 1",)),
    ("budget-text", lambda: SimplexQP(support="union", budget="10"), InvalidType,
     ("budget must be a whole number", "'10'")),
    ("budget-fixed", lambda: SimplexQP(budget=10), InvalidArgument,
     ("budget = 10", "support='union'")),
]

BOTH = W2 + HE
SETTINGS = [
    ("conic-name", lambda: Conic("MOSEK"), InvalidArgument,
     ("solver = 'MOSEK' is unknown", "'CLARABEL', 'SCS'")),
    ("conic-size", lambda: Conic(max_atoms=0), InvalidArgument,
     ("max_atoms = 0 must be at least 1",)),
    ("reg-zero", lambda: Entropic(reg=0.0), InvalidArgument, ("reg = 0 must be positive",)),
    ("reg-text", lambda: Entropic(reg="small"), InvalidType, ("reg must be a number", "'small'")),
    ("backend", lambda: Entropic(reg=1e-2, backend="geomloss"), InvalidArgument,
     ("backend = 'geomloss' is unknown", "'log', 'pot'")),
    ("pot-debiased", step(geometry=W2, solver=Entropic(reg=1e-2, backend="pot")), Unsupported,
     ("backend='pot' has no debiased step", "debias=False")),
    ("splitting", lambda: jko.split_step(MU, KL, BOTH, 0.5, splitting="yoshida"), InvalidArgument,
     ("splitting = 'yoshida' is unknown", "'lie', 'strang'")),
    ("split-energies", lambda: jko.split_step(MU, (KL,), BOTH, 0.5), InvalidArgument,
     ("energy has 1 entries for 2 geometries", "one per geometry")),
    ("split-solver", lambda: jko.split_step(MU, KL, BOTH, 0.5, solver="newton"), InvalidType,
     ("solver", "'newton'", "'auto'")),
    ("split-tau", lambda: jko.split_step(MU, KL, BOTH, -1.0), InvalidArgument,
     ("tau = -1 must be positive",)),
    ("split-measure", lambda: jko.split_step("mu", KL, BOTH, 1.0), InvalidType,
     ("measure got 'mu'", "pass a measure")),
    ("split-geometry", lambda: jko.split_step(MU, KL, "W2", 1.0), InvalidType,
     ("geometry got 'W2'", "a sum such as")),
    ("flow-steps", lambda: jko.flow(MU, KL, HE, tau=0.1, steps=0), InvalidArgument,
     ("steps = 0 must be at least 1",)),
    ("flow-neither", lambda: jko.flow(MU, KL, HE, tau=0.1), InvalidArgument,
     ("neither given", "steps=, t1=")),
    ("flow-tau", lambda: jko.flow(MU, KL, HE, tau="a", steps=2), InvalidType,
     ("tau must be a number", "'a'")),
    ("wfr-rate", lambda: jko.WassersteinFisherRao(0, 1), InvalidArgument,
     ("alpha = 0 must be positive",)),
    ("divergence-p", lambda: jko.Divergence(p="one"), InvalidType, ("p must be a number", "'one'")),
    ("porous-m", lambda: jko.PorousMedium(m=1), InvalidArgument,
     ("m = 1 is linear diffusion", r"jko.Entropy\(\)")),
    ("box-bound", lambda: jko.BoxConstraint(0), InvalidArgument, ("bound = 0 must be positive",)),
    ("interaction", lambda: jko.Interaction("W"), InvalidType, ("W got", "a function", "kernel")),
]

UNSERVED = [
    ("box-below-the-mass",
     step(energy=jko.BoxConstraint(0.01), geometry=jko.Hellinger(mass="fixed")), Unsupported,
     ("lets the atoms carry 0.08", "less than the mass 1", "relax")),
    ("kl-misses-the-support",
     step(energy=jko.KL(FAR), geometry=jko.Hellinger(mass="fixed")), Unsupported,
     ("forbids every atom", "leave one open")),
    ("inclusive-kl-misses-mmd", step(energy=jko.InclusiveKL(FAR), geometry=jko.MMD(K)),
     Unsupported, ("no solver takes a step of InclusiveKL", "cannot charge", "infinite")),
    ("solver-and-energy", step(energy=KL, geometry=jko.MMD(K), solver=Mixture()), Unsupported,
     (r"Mixture\(\) cannot take", "MMD energies of the geometry's kernel only", "KL")),
    ("solver-and-geometry", step(solver=SimplexQP()), Unsupported,
     (r"SimplexQP\(.*\) cannot take", "MMD geometries only")),
    ("solver-not-quadratic", step(geometry=jko.MMD(K), solver=SimplexQP()), Unsupported,
     ("not quadratic", "Conic")),
    ("union-on-a-grid",
     step(measures.grid_density((5,), seed=1), jko.MMDEnergy(FAR, K), jko.MMD(K),
          solver=SimplexQP(support="union")),
     Unsupported, ("a grid takes no further atoms", "support='fixed'")),
    ("mixture-elsewhere", step(energy=jko.MMDEnergy(FAR, K), geometry=jko.MMD(K),
                               solver=Mixture()),
     Unsupported, ("atoms outside the support", r"SimplexQP\(support='union'\)")),
    ("auto-lists-reasons", step(jko.Gaussian([0.0], [[1.0]]), KL, HE), Unsupported,
     ("no solver takes a step of KL", "on a Gaussian", "nearest: ", "why=True")),
    ("u-statistic", step(energy=jko.MMDEnergy(PI, K, "U"), geometry=jko.MMD(K)), Unsupported,
     ("U-statistic", "statistic='V'")),
    ("energy-distance-free", step(energy=jko.MMDEnergy(PI, kernels.Energy()), geometry=HE),
     Unsupported, ("conditionally", "mass='fixed'", "another kernel")),
    ("energy-distance-masses",
     step(energy=jko.MMDEnergy(PI.with_weights(2 * PI.weights), kernels.Energy()),
          geometry=jko.MMD(K)),
     Unsupported, ("conditionally positive definite", "masses 1 and 2", "normalise")),
    ("every-atom-closed", step(energy=SQUARE + jko.Potential(closed), geometry=jko.MMD(K)),
     Unsupported, ("forbids every atom", "leave one open")),
    ("inclusive-kl-misses", step(energy=jko.InclusiveKL(FAR)), Unsupported,
     ("target has mass 1", "cannot charge", "infinite", "support")),
    ("kl-to-a-density", step(energy=jko.KL(jko.Gaussian([0.0], [[1.0]]))), Unsupported,
     ("Gaussian has no mass on the atoms of a Histogram", "jko.GridDensity")),
    ("target-dimension", step(energy=jko.KL(measures.histogram(4, 2))), InvalidArgument,
     ("target lives in dimension 2", "in dimension 1")),
    ("target-grid",
     step(measures.grid_density((5,), seed=1), jko.KL(measures.grid_density((6,), seed=1))),
     InvalidArgument, ("target lives on Grid", "sample the target on the measure's grid")),
    ("mmd-target-dimension",
     step(energy=jko.MMDEnergy(measures.particles(4, 2), K), geometry=jko.MMD(K)),
     (InvalidArgument, InvalidMeasure), ("dimension 2", "dimension 1")),
    ("potential-shape", step(energy=jko.Potential([1.0])), InvalidMeasure,
     (r"V gave shape \(1,\) for 8 atoms", "one value per atom")),
    ("wasserstein-particles-entropy", step(measures.particles(5, 2), jko.Entropy(), W2),
     Unsupported, ("no solver takes a step", "Lagrangian: ")),
    ("wasserstein-no-gradient",
     step(measures.particles(5, 1), jko.Potential(lambda x: x[:, 0]), W2), Unsupported,
     ("no gradient", "gradient=")),
]

#: Steps that fail while they are taken: `StepFailed` with a result.
FAILED = [
    ("unbounded-hellinger", step(energy=jko.Potential(deep)), jko.Status.UNBOUNDED,
     ("unbounded below", "reduce tau")),
    ("too-few-iterations",
     step(energy=jko.MMDEnergy(FAR, K), geometry=jko.MMD(K), max_iter=1),
     jko.Status.MAX_ITERATIONS, ("iteration limit", "raise max_iter", "gap")),
    ("too-few-iterations-free",
     step(energy=jko.MMDEnergy(FAR, K), geometry=jko.MMD(K, mass="free"), max_iter=1),
     jko.Status.MAX_ITERATIONS, ("iteration limit", "raise max_iter")),
    ("too-few-iterations-moving",
     step(measures.particles(9, 1, seed=1), jko.MMDEnergy(FAR, K), W2, max_iter=1, tau=50.0),
     jko.Status.MAX_ITERATIONS, ("iteration limit", "raise max_iter", "residual")),
    ("tolerance-out-of-reach",
     step(energy=jko.MMDEnergy(FAR, K), geometry=jko.MMD(K), tol=1e-300,
          solver=jko.solvers.Conic()),
     None, ("certificate", "tol")),
]
# fmt: on
