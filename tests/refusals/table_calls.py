"""Calls of the applications and of solvers' settings that work, for the fuzz of arguments."""

import numpy as np

import jko
from jko import dro, solvers, vi

X = np.array([[0.0], [0.4], [1.0]])
W = np.array([0.2, 0.3, 0.5])
HIST, OTHER, CLOUD = jko.Histogram(X, W), jko.Histogram(X + 0.1, W[::-1]), jko.Particles(X, W)
GRID = jko.Grid(0.0, 1.0, 6)
LEFT, RIGHT = jko.GridDensity(GRID, np.arange(1.0, 7)), jko.GridDensity(GRID, np.arange(6.0, 0, -1))
BELL = jko.Gaussian([0.0], 1.0)
W2 = jko.Wasserstein()


def bell(x):
    return -0.5 * (x**2).sum(axis=1)


def slope(x):
    return -x


def loss(x):
    return (x**2).sum(axis=1)


def product(a, b):
    return {"value": a * b}


APPLICATIONS = [
    ("sample", jko.sample, {"log_density": bell, "dim": 1, "n": 20, "method": "langevin",
     "gradient": slope, "start": CLOUD, "moves": 2, "spread": 1.0, "check": False,
     "progress": False, "rng": 0}),
    ("vi.fit", vi.fit, {"log_density": bell, "dim": 1, "gradient": slope,
     "objective": "exclusive", "family": "gaussian", "start": BELL, "samples": 100, "tau": 1.0,
     "tol": 1e-2, "accuracy": 0.5, "max_iter": 3, "rng": 0, "check": False, "throw": False}),
    ("vi.laplace", vi.laplace, {"target": jko.LogDensity(bell, slope, 1), "start": BELL,
     "max_iter": 5}),
    ("dro.worst_case", dro.worst_case, {"loss": loss, "measure": HIST,
     "geometry": jko.Divergence(1.0), "radius": 0.1, "support": "sample", "tol": 1e-6,
     "max_iter": 50, "rng": 0}),
    ("dro.worst_case priced", dro.worst_case, {"loss": W, "measure": HIST,
     "geometry": jko.Hellinger(mass="fixed"), "tau": 0.1}),
    ("transport", jko.transport, {"a": HIST, "b": OTHER, "cost": np.ones((3, 3)), "p": 2,
     "relax": 1.0, "reg": 0.0, "reference": "counting"}),
    ("barycentre", jko.barycentre, {"measures": [HIST, OTHER], "weights": [0.5, 0.5],
     "geometry": W2, "tol": 1e-6, "max_iter": 50}),
    ("path", jko.geodesic, {"a": LEFT, "b": RIGHT, "geometry": W2, "slices": 2, "tol": 0.1,
     "max_iter": 20}),
    ("planning", jko.planning, {"start": LEFT, "end": RIGHT, "geometry": W2,
     "running": jko.Entropy(), "slices": 2, "duration": 1.0, "tol": 0.1, "max_iter": 20}),
    ("sweep", jko.sweep, {"f": product, "grid": {"a": [1], "b": [2]}, "n_jobs": 1,
     "progress": False}),
    ("WassersteinEnergy", jko.WassersteinEnergy, {"target": HIST}),
    ("SinkhornDivergence", jko.SinkhornDivergence, {"target": HIST, "reg": 0.1}),
    ("Moment", lambda **k: jko.Moment(**k).value(HIST), {"f": W, "value": 0.3, "tol": 1e-8}),
    ("Moment between", lambda **k: jko.Moment(**k).value(HIST), {"f": W, "lower": 0.1,
     "upper": 0.3}),
    ("TimeDependent", lambda f: jko.TimeDependent(f).at(0.0), {"f": lambda t: jko.Entropy()}),
    ("Wasserstein(p)", jko.Wasserstein, {"p": 1.5}),
    ("Wasserstein(cost)", lambda cost: jko.Wasserstein(cost=cost).sqdistance(HIST, HIST),
     {"cost": np.ones((3, 3))}),
]  # fmt: skip

SOLVERS = [
    ("BackAndForth", solvers.BackAndForth, {"side": "auto", "subcells": 2, "max_iter": 5}),
    ("Conic", solvers.Conic, {"solver": "SCS", "max_atoms": 10}),
    ("Dynamic", solvers.Dynamic, {"slices": 2, "max_iter": 9, "bias": False}),
    ("Entropic", solvers.Entropic, {"reg": 0.1, "debias": False, "backend": "log", "depth": 2,
     "bound": False}),
    ("FiniteVolume", solvers.FiniteVolume, {"max_iter": 9}),
    ("Euler", solvers.Euler, {"armijo": False, "accelerate": False, "noise": 0.1,
     "noise_decay": 0.5, "sufficient": 0.5, "grow": 1.2}),
    ("Kernelised", solvers.Kernelised, {"kernel": jko.kernels.Gaussian(1.0), "adaptive": False}),
    ("Lagrangian", solvers.Lagrangian, {"memory": 3, "max_iter": 9}),
    ("Langevin", solvers.Langevin, {"adjusted": True, "moves": 2}),
    ("Quantile", solvers.Quantile, {"curvature": 0.0, "max_iter": 9}),
    ("SimplexQP", solvers.SimplexQP, {"support": "union", "budget": 3}),
    ("Tempering", solvers.Tempering, {"reference": BELL, "moves": 2}),
    ("TransportProgram", solvers.TransportProgram, {"max_atoms": 9}),
    ("UnbalancedProgram", solvers.UnbalancedProgram, {"max_atoms": 9}),
    ("UnbalancedScaling", solvers.UnbalancedScaling, {"reg": 0.1, "bound": False}),
]  # fmt: skip
