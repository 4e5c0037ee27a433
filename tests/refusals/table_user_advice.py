"""Refusals that a new user meets first, each with its way out followed: names, arrays, gaps."""

import numpy as np
from refusals.table_advice import (
    BELL,
    CLOUD,
    FIXED,
    HE,
    HIST,
    LOSS,
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

import jko
from jko import dro, kernels
from jko.dro import CVaR, RobustClassifier, RobustRegressor, Sinkhorn

SIGNS = np.where(X[:, 0] > 0, 1.0, -1.0)
SIGNS[0] *= -1
TOWARDS = jko.KL(OTHER)
ENERGY = kernels.Energy()
RUN = jko.flow(HIST, TOWARDS, HE, tau=0.1, steps=3)
MEAN = jko.Moment(lambda x: x[:, 0], 0.1)
FAR = [jko.Moment(lambda x: x[:, 0] ** 2, -1.0)]


class Bare(jko.Energy):
    """An energy known by its value alone, and, completed, by its first variation."""

    def value(self, mu):
        return float(0.5 * mu.weights @ mu.weights)


class Complete(Bare):
    def first_variation(self, mu):
        return mu.weights


# fmt: off
#: id, what is refused, words of the way out (a regular expression), the way followed
USERS = [
    ("arrays-as-measures", lambda: W2.distance(X, X), r"jko.Particles\(points\)",
     lambda: W2.distance(jko.Particles(X), jko.Particles(X))),
    ("arrays-in-transport", lambda: jko.transport(X, X), r"jko.Histogram\(points, weights\)",
     lambda: jko.transport(jko.Histogram(X, W), HIST)),
    ("arrays-in-steps", lambda: jko.step(X, TILT, W2, 0.1), r"jko.Particles\(points\)",
     lambda: jko.step(jko.Particles(X), jko.Potential(square, gradient=double), W2, 0.1)),
    ("a-number-as-measure", lambda: jko.flow(3.0, TILT, W2, tau=0.1, steps=1), "jko.GridDensity",
     lambda: jko.flow(RHO, TILT, W2, tau=0.1, steps=1)),
    ("a-function-as-energy", lambda: jko.step(HIST, square, HE, 0.1), r"jko.Potential\(f\)",
     lambda: jko.step(HIST, jko.Potential(square), HE, 0.1)),
    ("a-measure-as-energy", lambda: jko.step(HIST, OTHER, HE, 0.1),
     r"jko.KL\(target\) or jko.WassersteinEnergy\(target\)",
     lambda: [jko.step(HIST, F(OTHER), g, 0.1)
              for F, g in ((jko.KL, HE), (jko.WassersteinEnergy, W2))]),
    ("minus-an-energy", lambda: -1.0 * TILT, r"jko.Potential\(lambda x: -V\(x\)\)",
     lambda: jko.step(HIST, jko.Potential(lambda x: -x[:, 0]), FIXED, 0.1)),
    ("a-value-alone", lambda: Bare().first_variation(HIST),
     r"first_variation\(mu\) -> dF/dw_i", lambda: jko.step(HIST, Complete(), HE, 0.1)),
    ("no-barycentre", lambda: jko.barycentre([]), "pass at least one measure",
     lambda: jko.barycentre([HIST])),
    ("negative-reg", lambda: jko.transport(HIST, OTHER, reg=-1.0), "pass 0 for no entropy",
     lambda: [jko.transport(HIST, OTHER, reg=r) for r in (0.0, 0.1)]),
    ("map-of-gaussians", lambda: W2.barycentric_map(BELL, WIDE), r"pass points x \(k, d\)",
     lambda: W2.barycentric_map(BELL, WIDE, X)),
    ("map-elsewhere", lambda: W2.barycentric_map(BELL, WIDE, [1.0]), r"pass x of shape \(k, 2\)",
     lambda: W2.barycentric_map(BELL, WIDE, [[1.0, 0.0]])),
    ("a-cost-that-is-flat", lambda: jko.Wasserstein(cost=np.ones(3)), r"\(n, m\) array",
     lambda: jko.Wasserstein(cost=np.ones((6, 6))).plan(HIST, OTHER)),
    ("a-cost-too-small", lambda: jko.Wasserstein(cost=np.ones((2, 2))).plan(HIST, OTHER),
     "a row for every atom of the first", lambda: jko.Wasserstein(cost=np.ones((6, 6))).plan(
         HIST, OTHER)),
    ("no-bound", lambda: jko.Moment(square), "pass value=, lower= or upper=",
     lambda: [jko.Moment(square, 1.0), jko.Moment(square, lower=0.0), jko.Moment(square, upper=1)]),
    ("curvature-of-what", lambda: jko.Moment(square, 1.0, curvature=2.0), r"\(0.0, 2.0\)",
     lambda: jko.Moment(square, 1.0, curvature=(0.0, 2.0))),
    ("curvature-falls", lambda: jko.Moment(square, 1.0, curvature=(2.0, 0.0)), "least one first",
     lambda: jko.Moment(square, 1.0, curvature=(0.0, 2.0))),
    ("a-set-without-measure", lambda: jko.step(BELL, jko.KL(WIDE), W2, 0.1, constraints=FAR),
     "drop or relax", lambda: jko.step(BELL, jko.KL(WIDE), W2, 0.1, constraints=[MEAN])),
    ("moving-in-a-set", lambda: MEAN.wasserstein_gradient(CLOUD), "use a jko.Histogram",
     lambda: jko.step(HIST, TOWARDS, FIXED, 0.1, constraints=[MEAN])),
    ("no-tau", lambda: jko.flow(HIST, TOWARDS, HE, steps=2), "such as tau=0.1",
     lambda: jko.flow(HIST, TOWARDS, HE, tau=0.1, steps=2)),
    ("a-function-of-what", lambda: CLOUD.expect(3.0), r"pass a function \(n, d\)",
     lambda: CLOUD.expect(square)),
    ("not-symmetric", lambda: dro.Quadratic([[1.0, 1.0], [0.0, 1.0]], [0.0, 0.0]),
     r"pass \(matrix \+ matrix.T\) / 2",
     lambda: dro.Quadratic([[1.0, 0.5], [0.5, 1.0]], [0.0, 0.0])),
    ("points-unused", lambda: dro.worst_case(LOSS, HIST, MMD, radius=0.1, points=X),
     "support='union' or support='grid'",
     lambda: dro.worst_case(square, HIST, MMD, radius=0.1, points=X + 1, support="union")),
    ("too-small-a-ball", lambda: dro.worst_case(square, CLOUD, Sinkhorn(1.0), radius=0.1),
     "raise it", lambda: dro.worst_case(square, CLOUD, Sinkhorn(1.0), radius=3.0)),
    ("order-below-one", lambda: Sinkhorn(0.1, p=0.5), "pass p >= 1",
     lambda: dro.worst_case(square, CLOUD, Sinkhorn(0.1, p=1), radius=2.0)),
    ("negative-penalty", lambda: RobustClassifier(alpha=-1.0).fit(X, SIGNS), "pass 0 for no",
     lambda: RobustRegressor(alpha=0.0).fit(X, SIGNS)),
    ("hinge-in-hellinger", lambda: RobustClassifier(loss="hinge", geometry=HE).fit(X, SIGNS),
     r"jko.dro.CVaR or jko.dro.Sinkhorn",
     lambda: [RobustClassifier(loss="hinge", geometry=g, radius=1.2).fit(X, SIGNS)
              for g in (CVaR(0.5), Sinkhorn(0.3), jko.Divergence(p=1), dro.TotalVariation())]),
    ("a-loss-unknown", lambda: RobustRegressor(loss=3.0).fit(X, SIGNS), "pass one of",
     lambda: [RobustRegressor(loss=name).fit(X, SIGNS)
              for name in ("squared", "huber", "absolute")]),
    ("no-tau-for-hinges", lambda: RobustClassifier(
        loss="hinge", geometry=jko.Divergence(p=1), tau=1.0).fit(X, SIGNS), "pass radius=",
     lambda: RobustClassifier(
         loss="hinge", geometry=jko.Divergence(p=1), radius=0.1).fit(X, SIGNS)),
    ("no-lipschitz", lambda: RobustRegressor(geometry=jko.Wasserstein(p=1)).fit(X, SIGNS),
     r"use jko.Wasserstein\(\)",
     lambda: RobustRegressor(geometry=jko.Wasserstein(), radius=0.05).fit(X, SIGNS)),
    ("energy-distance-as-mmd", lambda: jko.geometries.KernelFisherRao(ENERGY, 0.1),
     r"jko.kernels.Gaussian\(bandwidth=1.0\)",
     lambda: jko.geometries.KernelFisherRao(kernels.Gaussian(bandwidth=1.0), 0.1)),
    ("kernel-of-no-measure", lambda: K.integral_operator(X), "kernel.operator",
     lambda: [K.integral_operator(HIST), K.operator(X)]),
    ("a-hot-name", lambda: jko.plot.animate(RUN, "run.mpeg"), "ends in .gif",
     lambda: jko.plot.trajectory(RUN)),
    ("a-ceiling-at-the-start", lambda: jko.planning(
        RHO, PI, W2, running=jko.BoxConstraint(0.5), slices=2), "relax its bounds",
     lambda: jko.planning(RHO, PI, W2, running=jko.BoxConstraint(5.0), slices=2)),
    ("gradients-of-nothing", lambda: jko.TimeDependent(3.0), "a function of time",
     lambda: jko.flow(HIST, jko.TimeDependent(lambda t: TOWARDS), HE, tau=0.1, steps=2)),
]
# fmt: on
