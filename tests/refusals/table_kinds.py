"""Refusals of measures, kernels, energies and geometries, each with its way out followed."""

import numpy as np
import pytest
from refusals.table_advice import (
    BELL,
    CLOUD,
    EDGES,
    FIXED,
    HE,
    HEAVY,
    HIST,
    LINE,
    MMD,
    OTHER,
    PI,
    RHO,
    TILT,
    W2,
    WIDE,
    K,
    W,
    X,
    double,
    square,
)
from scipy.sparse import csr_array

import jko
from jko import kernels, solvers, vi

TOWARDS = jko.KL(OTHER)
DISTANCE = kernels.Energy()
MEAN = jko.Moment(lambda x: x[:, 0], 0.1)
PARTS = jko.SinkhornDivergence(OTHER, reg=1.0)
STANDARD = jko.Gaussian([0.0], 1.0)
ELSEWHERE = jko.GridDensity(jko.Grid(-1, 1, 24), np.ones(24))
MANY = np.arange(20_001.0)[:, None]
SLOPED = jko.Potential(square, gradient=double)
CROWD = jko.Histogram(MANY[:3001], np.ones(3001))
SMOOTH = kernels.Gaussian(1.0)


def networkx():
    return pytest.importorskip("networkx", reason="networkx is not installed")


def drawn(mu, n=6):
    return jko.Particles(mu.sample(n, np.random.default_rng(0)))


def changing(t):
    return TILT if t < 1 else TILT + jko.Entropy()


def at_two_times(f):
    energy = jko.TimeDependent(f)
    return energy.at(0.0), energy.at(2.0)


# fmt: off
#: id, what is refused, words of the way out (a regular expression), the way followed
MEASURES = [
    ("a-sparse-mask", lambda: jko.Grid([0, 0], [1, 1], [1, 3], mask=csr_array([[0, 1, 1]])),
     "pass a plain array of booleans",
     lambda: jko.Grid([0, 0], [1, 1], [1, 3], mask=np.array([[False, True, True]]))),
    ("names-as-text", lambda: jko.LogDensity(square, dim=2, names="ab"), "pass a list of 2 strings",
     lambda: jko.LogDensity(square, dim=2, names=["a", "b"])),
    ("no-density", lambda: jko.LogDensity(dim=2), r"pass a vectorised function \(n, d\) -> \(n,\)",
     lambda: jko.LogDensity(lambda x: -square(x), dim=2).log_density_at(X)),
    ("a-gradient-of-what", lambda: jko.LogDensity(square, gradient=3.0, dim=2),
     r"a vectorised function \(n, d\) -> \(n, d\) or None",
     lambda: [jko.LogDensity(square, gradient=g, dim=2) for g in (double, None)]),
    ("a-tree-of-another", lambda: jko.measures.from_dict({"type": "Histogramm", "points": X}),
     "pass what measure.to_dict", lambda: jko.measures.from_dict(CLOUD.to_dict())),
    ("two-grids", lambda: jko.step(RHO, jko.KL(ELSEWHERE), HE, 0.1),
     "sample the target on the measure's grid", lambda: jko.step(RHO, jko.KL(PI), HE, 0.1)),
    ("not-finite", lambda: jko.Particles([[0.0], [np.nan]]), "remove or replace them",
     lambda: [jko.Particles([[0.0]]), jko.Particles([[0.0], [1.0]])]),
    ("no-finite-number", lambda: jko.Wasserstein(p=np.inf), "pass a finite number",
     lambda: jko.Wasserstein(p=9.0)),
    ("a-number-beyond", lambda: jko.Wasserstein(p=10**400), "pass a number below 1e308",
     lambda: jko.Wasserstein(p=10**2)),
    ("nothing-to-compare", lambda: K.mmd2(LINE, CLOUD),
     "pass Particles, a Histogram, a GridDensity or a Gaussian",
     lambda: [K.mmd2(mu, CLOUD) for mu in (CLOUD, HIST, BELL)]),
    ("two-spaces", lambda: K.mmd2(CLOUD, RHO), "pass measures on the same space",
     lambda: K.mmd2(CLOUD, jko.Particles(X + 1))),
    ("points-on-a-line", lambda: K(np.ones(3)), r"write x\[:, None\]",
     lambda: K(np.ones(3)[:, None])),
    ("points-of-two-spaces", lambda: K(X, X[:, :1]), "pass points of the same space",
     lambda: K(X, X + 1)),
    ("no-tolerance", lambda: kernels.pivoted_cholesky(K, X, tol=-1.0), "pass a number >= 0",
     lambda: kernels.pivoted_cholesky(K, X, tol=0.0)),
    ("too-large-a-gram", lambda: K.operator(MANY).dense(), "use matvec, columns, or",
     lambda: [K.operator(X).matvec(W), K.operator(MANY).columns([0, 3]),
              kernels.pivoted_cholesky(K, MANY, tol=0.0, max_rank=2)]),
    ("too-many-modes", lambda: jko.MMDEnergy(OTHER, SMOOTH, sums=kernels.FastSums(
        max_modes=2)).value(CLOUD), "raise max_modes",
     lambda: jko.MMDEnergy(OTHER, SMOOTH, sums=kernels.FastSums(max_modes=10**6)).value(CLOUD)),
    ("too-many-modes-exact", lambda: jko.MMDEnergy(OTHER, SMOOTH, sums=kernels.FastSums(
        max_modes=2)).value(CLOUD), r"exact sums \(sums=None\)",
     lambda: jko.MMDEnergy(OTHER, SMOOTH, sums=None).value(CLOUD)),
    ("another-space-to-match", lambda: jko.match(CLOUD, RHO, K, steps=2),
     "pass points of the same space", lambda: jko.match(CLOUD, jko.Particles(X + 1), K, steps=2)),
]

ENERGIES = [
    ("no-normal-form", lambda: PARTS.restrict(HIST), "use solver='auto'",
     lambda: jko.step(HIST, PARTS, FIXED, 0.1)),
    ("no-gaussian-form", lambda: jko.PorousMedium(2).gaussian_form(),
     r"use jko.KL, jko.Entropy\(\) or",
     lambda: [f.gaussian_form() for f in (jko.KL(BELL), jko.Entropy(), SLOPED)]),
    ("no-slope-of-particles", lambda: jko.PorousMedium(2).wasserstein_gradient(CLOUD),
     r"an energy such as MMDEnergy or Potential\(V, gradient=...\)",
     lambda: [f.wasserstein_gradient(CLOUD) for f in (jko.MMDEnergy(OTHER, K), SLOPED)]),
    ("a-difference", lambda: TILT - TILT, "write other signs into the function",
     lambda: TILT + jko.Potential(lambda x: -x[:, 0])),
    ("no-value-of-a-density", lambda: jko.Interaction(K).value(BELL),
     "sample it into jko.Particles", lambda: jko.Interaction(K).value(drawn(BELL))),
    ("moments-unknown", lambda: jko.InclusiveKL(LINE).value(STANDARD), "jko.vi.importance_sample",
     lambda: jko.InclusiveKL(vi.importance_sample(LINE, STANDARD, 50, rng=0).particles).value(
         STANDARD)),
    ("cells-for-a-gaussian", lambda: jko.KL(RHO).value(STANDARD),
     "as a jko.Gaussian, jko.GaussianMixture or jko.LogDensity",
     lambda: [jko.KL(pi).value(STANDARD) for pi in (STANDARD, LINE)]),
    ("no-law-known", lambda: jko.KL(BELL).wasserstein_gradient(CLOUD), "or call jko.sample",
     lambda: jko.step(CLOUD, jko.KL(BELL), W2, 0.1, solver=solvers.Langevin(), rng=0)),
    ("pairs-without-slope", lambda: jko.Interaction(square).wasserstein_gradient(CLOUD),
     r"pass Interaction\(W, gradient=...\)",
     lambda: jko.Interaction(square, gradient=double).wasserstein_gradient(CLOUD)),
    ("field-without-slope", lambda: jko.Potential(square).wasserstein_gradient(CLOUD),
     r"pass Potential\(V, gradient=...\)", lambda: SLOPED.wasserstein_gradient(CLOUD)),
    ("local-of-what", lambda: jko.LocalEnergy(3.0, double), "pass a function of the density",
     lambda: jko.LocalEnergy(np.square, double)),
    ("conditional-masses", lambda: jko.MMDEnergy(HEAVY, DISTANCE).value(HIST), "normalise the",
     lambda: jko.MMDEnergy(HEAVY.with_weights(HEAVY.weights / HEAVY.mass), DISTANCE).value(HIST)),
    ("conditional-masses-positive", lambda: jko.MMDEnergy(HEAVY, DISTANCE).value(HIST),
     "a positive kernel", lambda: jko.MMDEnergy(HEAVY, K).value(HIST)),
    ("conditional-masses-in-a-form", lambda: jko.MMDEnergy(HEAVY, DISTANCE).restrict(HIST),
     "normalise them, or use a positive kernel",
     lambda: [f.restrict(HIST) for f in (jko.MMDEnergy(OTHER, DISTANCE),
                                         jko.MMDEnergy(HEAVY, K))]),
    ("a-law-on-atoms", lambda: jko.KL(BELL).value(HIST), "as a jko.Histogram on these points, or",
     lambda: [jko.KL(OTHER).value(HIST), jko.KL(STANDARD).value(RHO)]),
    ("sinkhorn-of-many", lambda: jko.SinkhornDivergence(CROWD, reg=1.0).value(CROWD),
     "use jko.MMDEnergy", lambda: jko.MMDEnergy(OTHER, K).value(drawn(BELL, 99))),
    ("sinkhorn-of-many-fewer", lambda: jko.SinkhornDivergence(CROWD, reg=1.0).value(CROWD),
     r"fewer particles: jko.thinning.resample\(measure, 3000\)",
     lambda: PARTS.value(jko.thinning.resample(drawn(BELL, 3001), 30, rng=0))),
    ("u-has-no-form", lambda: jko.MMDEnergy(OTHER, K, "U").restrict(HIST), "statistic='V'",
     lambda: jko.MMDEnergy(OTHER, K, statistic="V").restrict(HIST)),
    ("a-set-as-energy", lambda: MEAN.restrict(HIST), "use solver='auto'",
     lambda: jko.step(HIST, TOWARDS, FIXED, 0.1, constraints=[MEAN])),
    ("a-set-of-gaussians", lambda: MEAN.gaussian_form(), "use solver='auto'",
     lambda: jko.step(BELL, jko.KL(WIDE), W2, 0.1, constraints=[MEAN])),
    ("an-empty-set", lambda: jko.Moment(square, lower=1.0, upper=0.0), "swap the bounds",
     lambda: jko.Moment(square, lower=0.0, upper=1.0)),
    ("an-array-on-gaussians", lambda: jko.step(BELL, jko.KL(WIDE), W2, 0.1, constraints=[
        jko.Moment(X[:, 0], 0.1)]), "pass a function f",
     lambda: jko.step(BELL, jko.KL(WIDE), W2, 0.1, constraints=[MEAN])),
    ("values-of-others", lambda: jko.Potential(np.ones(5)).value(HIST), "give one value per atom",
     lambda: jko.Potential(np.ones(6)).value(HIST)),
    ("sinkhorn-of-a-law", lambda: PARTS.value(BELL), "sample it into jko.Particles",
     lambda: PARTS.value(drawn(BELL))),
    ("sinkhorn-masses", lambda: PARTS.value(HEAVY), "normalise them",
     lambda: PARTS.value(HEAVY.with_weights(HEAVY.weights / HEAVY.mass))),
    ("kinds-that-change", lambda: at_two_times(changing),
     "a small factor instead of leaving a term out",
     lambda: at_two_times(lambda t: TILT + (1e-9 if t < 1 else 1.0) * jko.Entropy())),
    ("transport-to-a-law", lambda: jko.WassersteinEnergy(BELL).first_variation(HIST),
     "sample it into jko.Particles",
     lambda: jko.WassersteinEnergy(drawn(BELL)).first_variation(HIST)),
]

GEOMETRIES = [
    ("plus-a-number", lambda: HE + 3, r"such as jko.Wasserstein\(\) \+ jko.Hellinger\(\)",
     lambda: jko.Wasserstein() + jko.Hellinger()),
    ("plus-a-number-again", lambda: (W2 + HE) + 3, "add two geometries", lambda: (W2 + HE) + MMD),
    ("a-networkx-graph", lambda: jko.Wasserstein(cost=networkx().path_graph(6)),
     "networkx.to_scipy_sparse_array",
     lambda: jko.Wasserstein(cost=networkx().to_scipy_sparse_array(
         networkx().path_graph(6), weight="weight")).distance(
         HIST, OTHER)),
    ("a-graph-of-two-shapes", lambda: jko.Wasserstein(cost=csr_array(np.ones((2, 3)))),
     r"pass an \(n, n\) sparse array", lambda: jko.Wasserstein(cost=csr_array(np.ones((3, 3))))),
    ("a-complex-graph", lambda: jko.Wasserstein(cost=EDGES.astype(complex)),
     "pass lengths of edges", lambda: jko.Wasserstein(cost=EDGES)),
    ("an-order-without-formula", lambda: jko.Divergence(p=3).distance(BELL, WIDE),
     "use p = 0, 1/2 or 1",
     lambda: [jko.Divergence(p=p).distance(BELL, WIDE) for p in (0, 0.5, 1)]),
    ("no-mixtures", lambda: MMD.geodesic(BELL, WIDE, 0.5), "sample them first",
     lambda: MMD.geodesic(drawn(BELL), drawn(WIDE), 0.5)),
]
# fmt: on
