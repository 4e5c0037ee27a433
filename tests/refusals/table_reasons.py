"""Reasons why one solver does not take a step, each with its way out followed."""

import numpy as np
from refusals.table_adapters import by
from refusals.table_advice import (
    BELL,
    CLOUD,
    FIXED,
    HE,
    HIST,
    LINE,
    MMD,
    OTHER,
    PI,
    RHO,
    W2,
    K,
    X,
    square,
)
from refusals.table_kinds import SLOPED, drawn
from refusals.table_solvers import STANDARD, stepped

import jko
from jko import dro, kernels, solvers, vi

SLOW, SPHERE = kernels.Laplace(1.0), jko.SphericalHellinger()
BIRTHS, DYNAMIC = solvers.BirthDeath(), solvers.Dynamic(slices=1)
TOWARDS, PULLED = jko.KL(OTHER), jko.MMDEnergy(PI, K)
ROW = jko.Particles(np.array([[-1.0], [0.0], [0.5], [2.0]]))
WAVE = jko.Potential(lambda x: np.sin(3 * x[:, 0]), gradient=lambda x: 3 * np.cos(3 * x))
MATCHED = jko.Divergence(p=0)


def worst(**options):
    return dro.worst_case(square, CLOUD, W2, support="particles", **options)


# fmt: off
#: id, what is refused, words of the way out (a regular expression), the way followed
REASONS = [
    ("entropic-of-particles", lambda: stepped(CLOUD, SLOPED, W2, solver=solvers.Entropic()),
     "move particles with jko.solvers.Lagrangian",
     lambda: stepped(CLOUD, SLOPED, W2, solver=solvers.Lagrangian())),
    ("dynamic-of-kernels", lambda: stepped(RHO, PULLED, W2, solver=DYNAMIC),
     "use jko.solvers.Entropic for kernels",
     lambda: stepped(RHO, PULLED, W2, solver=solvers.Entropic())),
    ("births-of-unknown-mass", lambda: stepped(CLOUD, jko.KL(BELL), HE, solver=BIRTHS),
     r"use jko.SphericalHellinger\(\) or jko.Hellinger\(mass='fixed'\)",
     lambda: [stepped(CLOUD, jko.KL(BELL), g, solver=BIRTHS) for g in (SPHERE, FIXED)]),
    ("mixture-of-u", lambda: stepped(HIST, jko.MMDEnergy(OTHER, K, "U"), MMD,
                                     solver=solvers.Mixture()), "statistic='V'",
     lambda: stepped(HIST, jko.MMDEnergy(OTHER, K, statistic="V"), MMD,
                     solver=solvers.Mixture())),
    ("many-subcells", lambda: stepped(RHO, jko.Entropy(), W2,
                                      solver=solvers.BackAndForth(subcells=10**9)), "pass less",
     lambda: stepped(RHO, jko.Entropy(), W2, solver=solvers.BackAndForth(subcells=2))),
    ("a-line-of-waves", lambda: stepped(ROW, WAVE, W2, solver=solvers.Quantile()),
     "use jko.solvers.Lagrangian", lambda: stepped(ROW, WAVE, W2, solver=solvers.Lagrangian())),
    ("a-line-of-waves-declared", lambda: stepped(ROW, WAVE, W2, solver=solvers.Quantile()),
     r"declare its convexity with Quantile\(curvature=...\)",
     lambda: stepped(ROW, WAVE, W2, solver=solvers.Quantile(curvature=-9.0))),
    ("no-integral", lambda: SLOW.mmd2(BELL, CLOUD), "use jko.kernels.Gaussian, or sample",
     lambda: [K.mmd2(BELL, CLOUD), SLOW.mmd2(drawn(BELL), CLOUD)]),
    ("moments-of-a-density", lambda: stepped(STANDARD, jko.InclusiveKL(LINE), MATCHED),
     "jko.vi.importance_sample and take InclusiveKL to them",
     lambda: stepped(STANDARD, jko.InclusiveKL(
         vi.importance_sample(LINE, STANDARD, 50, rng=0).particles), MATCHED)),
    ("curved-loss", lambda: worst(tau=9.0), "pass tau below", lambda: worst(tau=0.4)),
    ("curved-loss-radius", lambda: worst(tau=9.0), "or a radius", lambda: worst(radius=0.1)),
    ("past-the-positive", lambda: jko.flow(HIST, jko.Potential(60 * X[:, 0]), MMD, tau=9.0, steps=2,
                                           scheme="midpoint"), "use scheme='implicit'",
     lambda: jko.flow(HIST, jko.Potential(60 * X[:, 0]), MMD, tau=9.0, steps=2)),
    ("past-the-positive-less", lambda: jko.flow(HIST, jko.Potential(60 * X[:, 0]), MMD, tau=9.0,
                                                steps=2, scheme="midpoint"), "reduce tau",
     lambda: jko.flow(HIST, jko.Potential(60 * X[:, 0]), MMD, tau=1e-4, steps=2,
                      scheme="midpoint")),
    ("a-tensor-in-a-graph", by("torch", lambda torch: jko.Particles(
        torch.ones(3, 1, requires_grad=True))), r"pass points.detach\(\).cpu\(\).numpy\(\)",
     by("torch", lambda torch: jko.Particles(
         torch.ones(3, 1, requires_grad=True).detach().cpu().numpy()))),
]
# fmt: on
