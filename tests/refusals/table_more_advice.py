"""More refusals with their way out followed: flows, files, pictures, samples, fits, sweeps."""

from functools import cache

import matplotlib.pyplot as plt
import numpy as np
from refusals.table_advice import (
    BELL,
    CLOUD,
    FIXED,
    GRID,
    HE,
    HIST,
    IN_ROOM,
    LOSS,
    MMD,
    OTHER,
    PI,
    RHO,
    ROOM,
    TILT,
    W2,
    K,
    X,
    double,
    square,
)

import jko
from jko import dro, kernels, solvers, vi

RUN = jko.flow(HIST, jko.KL(OTHER), HE, tau=0.1, steps=3)
MOVED = jko.flow(CLOUD, jko.Potential(square, gradient=double), W2, tau=0.1, steps=2)
NORMAL = jko.LogDensity(lambda x: -0.5 * square(x), lambda x: -x, dim=1)
BARE = jko.LogDensity(lambda x: -0.5 * square(x), dim=2)
SLOW = kernels.Laplace(1.0)


@cache
def drawn(method):
    return jko.sample(NORMAL, n=60, rng=0, method=method)


def inside(f):
    """Figures of a call are closed after it."""

    def call():
        try:
            return f()
        finally:
            plt.close("all")

    return call


# fmt: off
FLOWS = [
    ("a-time-as-index", lambda: RUN[0.25], r"times to sol.at\(t\)", lambda: RUN.at(0.25)),
    ("no-saving", lambda: jko.flow(HIST, TILT, HE, tau=0.1, steps=2, save="all"),
     r"None \(every step\), an int k",
     lambda: [jko.flow(HIST, TILT, HE, tau=0.1, steps=2, save=s) for s in (None, 2, "last", [1])]),
    ("no-callback", lambda: jko.flow(HIST, TILT, HE, tau=0.1, steps=2, callbacks=[3]),
     "functions of an Event",
     lambda: jko.flow(HIST, TILT, HE, tau=0.1, steps=2, callbacks=[lambda event: None])),
    ("mass-drifts", lambda: jko.flow(HIST, TILT, HE, tau=0.1, steps=4,
                                     callbacks=[jko.callbacks.MonitorMass()]),
     "use a geometry that conserves mass",
     lambda: jko.flow(HIST, TILT, FIXED, tau=0.1, steps=4,
                      callbacks=[jko.callbacks.MonitorMass()])),
    ("scheme", lambda: jko.flow(RHO, jko.Entropy(), W2, tau=0.1, steps=2, scheme="bdf3"),
     "choose one of", lambda: jko.flow(RHO, jko.Entropy(), W2, tau=0.1, steps=2,
                                       scheme="implicit")),
    ("a-factor-of-0", lambda: -1 * TILT, r"jko.Potential\(lambda x: -V\(x\)\)",
     lambda: jko.Potential(lambda x: -x[:, 0])),
    ("a-type-that-changes", lambda: jko.flow(HIST, lambda t: TILT if t < 0.1 else 3.0, HE, tau=0.1,
                                             steps=3), "energy",
     lambda: jko.flow(HIST, lambda t: (1 + t) * TILT, HE, tau=0.1, steps=3)),
    ("t1-before-the-end", lambda: jko.flow(HIST, TILT, HE, tau=0.1, t1=-1.0), "t1 = -1",
     lambda: jko.flow(HIST, TILT, HE, tau=0.1, t1=1.0)),
]

PICTURES = [
    ("no-axes", lambda: HIST.plot(ax=3), r"such as those of plt.subplots\(\)",
     inside(lambda: HIST.plot(ax=plt.subplots()[1]))),
    ("no-figure", lambda: RUN.plot(figure=3), "pass a matplotlib figure",
     inside(lambda: RUN.plot(figure=plt.figure()))),
    ("one-frame", lambda: MOVED.animate(frames=1), "pass 2 or more",
     inside(lambda: MOVED.animate(frames=2))),
]

TARGETS = [
    ("no-slope", lambda: BARE.score(X), "pass gradient=...",
     lambda: jko.LogDensity(lambda x: -square(x), lambda x: -2 * x, dim=2).score(X)),
    ("langevin-without-slope", lambda: jko.step(CLOUD, jko.KL(BARE), W2, 0.1,
                                                solver=solvers.Langevin(), rng=0),
     "pass gradient=... to jko.LogDensity",
     lambda: jko.step(CLOUD, jko.KL(jko.LogDensity(lambda x: -square(x), lambda x: -double(x),
                                                   dim=2)), W2, 0.01,
                      solver=solvers.Langevin(), rng=0)),
    ("names", lambda: jko.LogDensity(square, dim=2, names=["a"]), "2 different names",
     lambda: jko.LogDensity(square, dim=2, names=["a", "b"])),
    ("no-function", lambda: jko.LogDensity(3.0, dim=2), r"a vectorised function \(n, d\) -> \(n,\)",
     lambda: jko.LogDensity(square, dim=2)),
    ("density-no-function", lambda: jko.GridDensity.from_function(3.0, GRID),
     r"pass a function \(n, d\) -> \(n,\)",
     lambda: jko.GridDensity.from_function(square, GRID)),
    ("mask-of-numbers", lambda: jko.Grid(0, 1, 3, mask=[0, 1, 1]), "pass booleans of shape",
     lambda: jko.Grid(0, 1, 3, mask=[False, True, True])),
    ("corners", lambda: jko.Grid([0, 0], [1], [3, 3]), "give one entry per axis",
     lambda: jko.Grid([0, 0], [1, 1], [3, 3])),
    ("a-tree", lambda: jko.measures.from_dict({"a": 1}), "what measure.to_dict",
     lambda: jko.measures.from_dict(HIST.to_dict())),
    ("many-nodes", lambda: jko.expectations.GaussHermite(order=20).nodes(8),
     r"use Cubature\(\) or MonteCarlo\(\)", lambda: jko.expectations.Cubature().nodes(8)),
    ("values-on-gaussians", lambda: jko.Potential(np.ones(6)).value(BELL), "pass a function V",
     lambda: jko.Potential(square, gradient=double).value(BELL)),
    ("gradient-no-function", lambda: jko.Potential(square, gradient=3.0),
     r"pass a function \(n, d\) -> \(n, d\)", lambda: jko.Potential(square, gradient=double)),
    ("pairs-no-function", lambda: jko.Interaction(3.0),
     r"a function of displacements \(k, d\) -> \(k,\) or a kernel",
     lambda: (jko.Interaction(square), jko.Interaction(K))),
    ("a-kernel-has-one", lambda: jko.Interaction(K, gradient=double), "leave it out",
     lambda: jko.Interaction(K)),
    ("box-closed", lambda: jko.step(HIST, jko.BoxConstraint(0.01), FIXED, 0.1), "relax",
     lambda: jko.step(HIST, jko.BoxConstraint(0.5), FIXED, 0.1)),
    ("moment-both", lambda: jko.Moment(square, 0.0, lower=-1.0), "leave lower and upper out",
     lambda: (jko.Moment(square, 0.0), jko.Moment(square, lower=-1.0))),
    ("kernel-sums", lambda: kernels.FastSums(backend="metal"), "choose one of",
     lambda: kernels.FastSums(backend="grid")),
    ("no-axes-in-it", lambda: kernels.Matern(1.0, nu=1.5).axis_grams(ROOM.axes), "kernel.operator",
     lambda: kernels.Matern(1.0, nu=1.5).operator(RHO)),
    ("one-atom-u", lambda: K.mmd2(jko.Particles([[0.0]]), jko.Particles([[1.0]]), statistic="U"),
     'use statistic="V"',
     lambda: K.mmd2(jko.Particles([[0.0]]), jko.Particles([[1.0]]), statistic="V")),
]

APPLIED = [
    ("no-chains", lambda: drawn("wfr").to_arviz(), "use 'tempered' or 'langevin'",
     lambda: drawn("tempered").to_arviz()),
    ("levels", lambda: drawn("tempered").quantile(50), "levels between 0 and 1",
     lambda: drawn("tempered").quantile(0.5)),
    ("coordinates", lambda: drawn("tempered").plot(chosen=[3]), "coordinates from 0 to 0",
     inside(lambda: drawn("tempered").plot(chosen=[0]))),
    ("wfr-in-many", lambda: jko.sample(lambda x: -square(x), dim=9, gradient=lambda x: -2 * x,
                                       method="wfr", rng=0), "use method='tempered'",
     lambda: jko.sample(lambda x: -square(x), dim=9, gradient=lambda x: -2 * x, n=40,
                        method="tempered", rng=0)),
    ("start-outside", lambda: jko.sample(lambda x: np.where(x[:, 0] > 50, -x[:, 0], -np.inf),
                                         dim=1, n=40, rng=0), "pass start= inside",
     lambda: jko.sample(lambda x: np.where(x[:, 0] > 50, -x[:, 0], -np.inf), dim=1, n=40, rng=0,
                        gradient=lambda x: -np.ones_like(x), check=False,
                        start=jko.Particles(51 + np.arange(40.0)[:, None] / 20))),
    ("two-sizes", lambda: dro.worst_case(LOSS, HIST, MMD), "pass radius=",
     lambda: dro.worst_case(LOSS, HIST, MMD, radius=0.1)),
    ("radius-below", lambda: dro.worst_case(LOSS, HIST, MMD, radius=-1), "pass 0 for the given",
     lambda: dro.worst_case(LOSS, HIST, MMD, radius=0)),
    ("geometry-of-a-set", lambda: dro.worst_case(LOSS, HIST, "kl", radius=0.1),
     r"jko.Divergence\(p\), jko.Hellinger\(\), jko.Wasserstein\(\), jko.MMD\(kernel\)",
     lambda: [dro.worst_case(LOSS, HIST, g, radius=0.1) for g in (
         jko.Divergence(1), HE, W2, MMD)]),
    ("a-fit-of-what", lambda: vi.fit(3.0, dim=1),
     "a jko.LogDensity, a jko.Gaussian or a jko.GaussianMixture", lambda: vi.fit(NORMAL, rng=0)),
    ("no-workers", lambda: jko.sweep(len, {"x": [1]}, n_jobs=0), "pass a whole number such as 2",
     lambda: jko.sweep(lambda x: x, {"x": [1]}, n_jobs=None)),
    ("sweep-no-function", lambda: jko.sweep(3, {"x": [1]}), "pass a function of the parameters",
     lambda: jko.sweep(lambda x: x, {"x": [1]})),
    ("path-at-one", lambda: jko.geodesic(RHO, PI, jko.Wasserstein(p=1)), "with p > 1",
     lambda: jko.geodesic(RHO, PI, jko.Wasserstein(p=1.5), slices=4)),
    ("no-path", lambda: jko.planning(RHO, PI, HE),
     r"use jko.Wasserstein\(\) or jko.WassersteinFisherRao\(alpha, beta\)",
     lambda: jko.planning(RHO, PI, W2, slices=4)),
    ("velocity-where", lambda: jko.geodesic(BELL, BELL, W2).velocity(0.5),
     r"velocity\(t, points\)", lambda: jko.geodesic(BELL, BELL, W2).velocity(0.5, X)),
    ("no-end", lambda: jko.planning(RHO, 3.0, W2), "pass a GridDensity or a terminal jko.Energy",
     lambda: jko.planning(RHO, jko.KL(PI), W2, slices=4)),
    ("cut-in-two", lambda: jko.step(
        jko.GridDensity(jko.Grid(0, 1, 5, mask=[True, True, False, True, True]),
                        [1, 1, 0, 1, 1]), jko.Entropy(), W2, 0.1), "open a passage in the mask",
     lambda: jko.step(jko.GridDensity(jko.Grid(0, 1, 5), [1, 1, 0, 1, 1]), jko.Entropy(), W2, 0.1)),
    ("walls-in-boxes", lambda: W2.plan(IN_ROOM, IN_ROOM),
     "use a plain jko.Grid", lambda: W2.plan(RHO, PI)),
]
# fmt: on
