"""Refusals of samples, fits, worst cases and theorems, each with its way out followed."""

import matplotlib.pyplot as plt
import numpy as np
from refusals.table_advice import (
    BELL,
    CLOUD,
    HE,
    HEAVY,
    HIST,
    LOSS,
    MMD,
    OTHER,
    RHO,
    W2,
    W,
    X,
    square,
)
from refusals.table_files import in_folder
from refusals.table_more_advice import NORMAL, drawn, inside

import jko
from jko import dro, kernels, verify, vi
from jko.dro import RobustClassifier, RobustRegressor, Sinkhorn, kernel_worst_case
from jko.vi import Minibatch

K, DISTANCE = kernels.Gaussian(1.0), kernels.Energy()
STANDARD, FAR = jko.Gaussian([0.0], 1.0), jko.Gaussian([90.0], 0.01)
SIGNS = np.array([1.0, -1, 1, 1, -1, -1])
CHAINS = np.random.default_rng(2).normal(size=(4, 20))
HALF_LINE = jko.LogDensity(lambda x: np.where(x[:, 0] > 0, -x[:, 0], -np.inf), dim=1)
SLOPED_HALF = jko.LogDensity(HALF_LINE.log_density, lambda x: -np.ones_like(x), dim=1)
WHOLE_LINE = jko.LogDensity(lambda x: x[:, 0] - np.exp(x[:, 0]), lambda x: 1 - np.exp(x), dim=1)
SPIKE = jko.LogDensity(lambda x: np.where(np.abs(x[:, 0] - 90) < 1, 0.0, -np.inf), dim=1)
ISLAND = jko.LogDensity(lambda x: -np.abs(x[:, 0] - 90) * 1e7, dim=1)
CAUCHY = jko.LogDensity(lambda x: -np.log1p(x[:, 0] ** 2), lambda x: -2 * x / (1 + x**2), dim=1)
RISING = jko.LogDensity(lambda x: x[:, 0], lambda x: np.ones_like(x), dim=1)
HILL = jko.LogDensity(lambda x: np.exp(-0.5 * square(x)), dim=1)
NAMED = jko.LogDensity(lambda x: -square(x), dim=1, constrain=lambda x: {"a": np.exp(x[:, 0])})
SAME = jko.Particles(np.r_[X[:3], X[:3]], W)
LOSSY = dro.PredictionLoss(lambda z, y: (z - y) ** 2, lambda z, y: 2 * (z - y))
BOX = {"radius": 0.1, "lower": [-9.0, -9.0], "upper": [9.0, 9.0]}
ROW = jko.Particles(np.arange(4001.0)[:, None])
PLACES = np.array([[0.0, 0.0], [1.0, 1.0]])
ELSEWHERE = jko.Histogram(X + 1, W)


def slope(x, rows):
    return -x


def shaken(x, rows):
    """Slopes whose mean over all six observations is that of the normal law."""
    return -x + 900 * (np.mean(rows) - 2.5) * x**3


def classified(**options):
    return RobustClassifier(**options).fit(X, SIGNS)


def regressed(**options):
    return RobustRegressor(**options).fit(X, SIGNS)


def learned(**options):
    """A line of least worst loss."""
    return dro.minimise(lambda t, x: (x[:, 0] - t[0]) ** 2, [0.0], CLOUD, jko.Divergence(p=1),
                        radius=0.1, gradient=lambda t, x: -2 * (x[:, :1] - t[0]),
                        **options)  # fmt: skip


def compared(other, **options):
    return jko.sampling.compare(drawn("tempered"), other, **options)


def bracketed(points=PLACES, **options):
    return kernel_worst_case(lambda x: np.sin(x[:, 0]), CLOUD, jko.MMD(K), points=points, cells=50,
                             **{**BOX, **options})  # fmt: skip


def equal(target, previous, **options):
    return verify.mmd_kl_equivalence(target, previous, kernel=K, **options)


def kept(folder):
    """A sample that went through a file."""
    drawn("tempered").save(folder / "sample")
    return jko.sampling.SampleResult.load(folder / "sample")


# fmt: off
#: id, what is refused, words of the way out (a regular expression), the way followed
SAMPLES = [
    ("nothing-to-compare", lambda: compared(3.0), r"or a dict of arrays \(chain, draw, ...\)",
     lambda: [compared(other) for other in (drawn("langevin"), jko.Particles(CHAINS[:, :1]),
                                            {"x0": CHAINS})]),
    ("no-names-in-common", lambda: compared({"theta": CHAINS}), "pass names= for the coordinates",
     lambda: compared({"theta": CHAINS}, names=["theta"])),
    ("too-many-names", lambda: compared(CLOUD, names=["a", "b"]), "give 1 different ones",
     lambda: compared(jko.Particles(CHAINS[:, :1]), names=["a"])),
    ("too-few-names", lambda: compared(CLOUD, names=["a"]), "give 2 different ones",
     lambda: compared(jko.Particles(CHAINS[:, :1]), names=["a"])),
    ("draws-not-finite", lambda: compared({"x0": CHAINS, "b": CHAINS / 0}), "leave it out",
     lambda: compared({"x0": CHAINS})),
    ("no-chains-in-it", lambda: compared({"x0": CHAINS[0]}), r"with the axes \(chain, draw, ...\)",
     lambda: compared({"x0": CHAINS[:1]})),
    ("no-model", in_folder(lambda d: kept(d).constrained()),
     r"model.constrain\(out.measure.points\)",
     in_folder(lambda d: NAMED.constrain(kept(d).measure.points))),
    ("names-of-coordinates", lambda: drawn("tempered").to_frame(["a", "b"]), "give 1 different",
     lambda: drawn("tempered").to_frame(["a"])),
    ("names-in-a-figure", inside(lambda: drawn("tempered").plot(names=["a", "b"])), "give 1",
     inside(lambda: drawn("tempered").plot(names=["a"]))),
    ("axes-of-a-figure", inside(lambda: drawn("tempered").plot(axes=plt.subplots(2)[1])),
     "give 1 x 1", inside(lambda: drawn("tempered").plot(axes=plt.subplots(1)[1]))),
    ("no-trace", inside(lambda: drawn("wfr").plot("trace")), "use 'tempered' or 'langevin'",
     inside(lambda: drawn("tempered").plot("trace"))),
    ("a-level-of-what", lambda: drawn("tempered").quantile("median"), "levels between 0 and 1",
     lambda: drawn("tempered").quantile([0.1, 0.5])),
    ("a-start-of-another-space", lambda: jko.sample(NORMAL, start=CLOUD, n=40, rng=0),
     "pass a start of its space",
     lambda: jko.sample(NORMAL, start=jko.Particles(X[:, :1]), n=40, rng=0)),
    ("progress-of-what", lambda: jko.sample(NORMAL, n=20, rng=0, progress=3),
     "True, False, or a function of the stage",
     lambda: jko.sample(NORMAL, n=40, rng=0, progress=lambda stage, count: None)),
]

FITS = [
    ("minibatch-mixed", lambda: vi.fit(NORMAL, minibatch=Minibatch(slope, 6), family="mixture"),
     "leave out geometry= and family=, or leave out minibatch=",
     lambda: vi.fit(NORMAL, minibatch=Minibatch(slope, 6), rng=0)),
    ("batch-of-what", lambda: Minibatch(3, 10),
     r"a function of points \(n, d\) and indices \(b,\)", lambda: Minibatch(slope, 10)),
    ("minibatch-without-mode", lambda: vi.fit(RISING, minibatch=Minibatch(slope, 6), rng=0),
     "pass start=|improper", lambda: vi.fit(NORMAL, start=STANDARD, rng=0)),
    ("batches-of-one", lambda: vi.fit(NORMAL, minibatch=Minibatch(shaken, 6, 1), rng=0),
     "take larger batches", lambda: vi.fit(NORMAL, minibatch=Minibatch(shaken, 6, 6), rng=0)),
    ("walls", lambda: vi.fit(HALF_LINE, rng=0), "transform bounded variables to the whole line",
     lambda: vi.fit(WHOLE_LINE, rng=0)),
    ("walls-inclusive", lambda: vi.fit(HALF_LINE, rng=0), "objective='inclusive'",
     lambda: vi.fit(HALF_LINE, objective="inclusive", rng=0)),
    ("walls-of-known-slope", lambda: vi.fit(SLOPED_HALF, rng=0), "use objective='inclusive'",
     lambda: vi.fit(SLOPED_HALF, objective="inclusive", rng=0)),
    ("a-start-of-another-space", lambda: vi.fit(NORMAL, start=BELL, rng=0), "pass a start of its",
     lambda: vi.fit(NORMAL, start=STANDARD, rng=0)),
    ("a-start-elsewhere", lambda: vi.laplace(NORMAL, BELL), "pass a start of its space",
     lambda: vi.laplace(NORMAL, STANDARD)),
    ("no-mass-on-draws", lambda: vi.importance_sample(SPIKE, STANDARD, 50, rng=0),
     "pass a jko.Gaussian that covers it",
     lambda: vi.importance_sample(SPIKE, jko.Gaussian([90.0], 1.0), 50, rng=0)),
    ("few-draws", lambda: vi.importance_sample(ISLAND, STANDARD, 50, rng=0),
     "pass start=, a Gaussian that covers it",
     lambda: vi.importance_sample(ISLAND, jko.Gaussian([90.0], 1e-12), 50, rng=0)),
    ("no-second-moment", lambda: vi.fit(CAUCHY, objective="inclusive", rng=0),
     "use objective='exclusive'", lambda: vi.fit(CAUCHY, objective="exclusive", rng=0)),
    ("no-second-moment-tails", lambda: vi.fit(CAUCHY, objective="inclusive", rng=0),
     "or lighter tails", lambda: vi.fit(NORMAL, objective="inclusive", rng=0)),
    ("no-mode", lambda: vi.laplace(HILL, jko.Gaussian([50.0], 1.0)), "pass another start",
     lambda: vi.laplace(HILL, STANDARD)),
]

ROBUST = [
    ("no-atoms", lambda: dro.worst_case(square, BELL, W2, radius=0.1),
     "put it on a jko.GridDensity",
     lambda: [dro.worst_case(square, mu, HE, radius=0.1) for mu in (
         jko.Particles(BELL.sample(9, np.random.default_rng(0))), RHO)]),
    ("far-from-a-grid", lambda: dro.worst_case(square, CLOUD, HE, radius=0.1, support="grid",
                                               points=X), "use support='union'",
     lambda: dro.worst_case(square, CLOUD, HE, radius=0.1, support="union", points=X + 1)),
    ("far-from-a-grid-mmd", lambda: dro.worst_case(square, CLOUD, HE, radius=0.1, support="grid",
                                                   points=X), r"jko.Wasserstein\(\) or jko.MMD",
     lambda: [dro.worst_case(square, CLOUD, g, radius=0.1, support="grid", points=X)
              for g in (W2, MMD)]),
    ("identical-points", lambda: dro.worst_case(LOSS, SAME, W2, radius=0.1),
     "add what tells them apart to the points",
     lambda: dro.worst_case(LOSS, jko.Particles(np.c_[SAME.points, np.arange(6.0)]), W2,
                            radius=0.1)),
    ("no-box", lambda: bracketed(lower=[9.0, 9.0]), "lower corner must be below the upper one",
     lambda: bracketed(lower=[-9.0, -9.0])),
    ("outside-the-box", lambda: bracketed([[99.0, 0.0]]), "enlarge the box or leave them out",
     lambda: [bracketed([[99.0, 0.0]], upper=[100.0, 9.0]), bracketed()]),
    ("all-in-the-ball", lambda: bracketed(radius=99.0), "pass another radius",
     lambda: bracketed(radius=0.1)),
    ("a-loss-unbounded", lambda: regressed(loss=LOSSY, geometry=W2),
     "give PredictionLoss one of them",
     lambda: regressed(loss=dro.PredictionLoss(LOSSY.value, LOSSY.slope, curvature=2.0),
                       geometry=W2)),
    ("a-loss-unbounded-kl", lambda: regressed(loss=LOSSY, geometry=W2),
     r"use jko.Divergence\(p=1\)", lambda: regressed(loss=LOSSY, geometry=jko.Divergence(p=1))),
    ("features-at-order-three", lambda: regressed(geometry=jko.Wasserstein(p=3)),
     r"in jko.Wasserstein\(\) or, with a radius, in jko.Wasserstein\(p=1\)",
     lambda: [regressed(geometry=W2),
              regressed(loss="absolute", geometry=jko.Wasserstein(p=1), radius=0.1)]),
    ("particles-at-order-three", lambda: dro.worst_case(
        square, CLOUD, jko.Wasserstein(p=3), radius=0.1, support="particles"),
     r"use jko.Wasserstein\(\), or support='union' with points",
     lambda: [dro.worst_case(square, CLOUD, W2, radius=0.1, support="particles"),
              dro.worst_case(square, CLOUD, jko.Wasserstein(p=3), radius=0.1, support="union",
                             points=X + 1)]),
    ("faster-than-squares", lambda: dro.worst_case(
        lambda x: square(x) ** 2, CLOUD, W2, radius=0.1, support="particles"), "bound the loss",
     lambda: dro.worst_case(lambda x: np.sin(square(x)), CLOUD, W2, radius=0.1,
                            support="particles", throw=False)),
    ("faster-than-squares-grid", lambda: dro.worst_case(
        lambda x: square(x) ** 2, CLOUD, W2, radius=0.1, support="particles"),
     "use support='grid' with points",
     lambda: dro.worst_case(lambda x: square(x) ** 2, CLOUD, W2, radius=0.1, support="grid",
                            points=X)),
    ("points-of-particles", lambda: dro.worst_case(square, CLOUD, W2, radius=0.1, points=X,
                                                   support="particles"), "leave them out",
     lambda: dro.worst_case(square, CLOUD, W2, radius=0.1, support="particles")),
    ("a-penalty-below", lambda: learned(penalty=-1.0), "pass 0 for none, or more",
     lambda: [learned(penalty=c) for c in (0.0, 0.1)]),
    ("too-many-pairs", lambda: dro.worst_case(square, ROW, W2, radius=0.1, support="union",
                                              points=ROW.points + 0.5), "pass fewer points",
     lambda: dro.worst_case(square, CLOUD, W2, radius=0.1, support="union", points=X + 0.5)),
    ("too-many-pairs-moved", lambda: dro.worst_case(square, ROW, W2, radius=0.1, support="union",
                                                    points=ROW.points + 0.5),
     "use support='particles'",
     lambda: dro.worst_case(square, ROW, W2, radius=0.1, support="particles")),
    ("too-many-pairs-blurred", lambda: dro.worst_case(
        square, ROW, Sinkhorn(1.0), radius=3.0, support="union", points=ROW.points + 0.5),
     "pass fewer points", lambda: dro.worst_case(
         square, CLOUD, Sinkhorn(1.0), radius=3.0, support="union", points=X + 0.5)),
    ("a-ridge-below", lambda: regressed(alpha=-1.0), "pass 0 for none|pass 0 for no",
     lambda: regressed(alpha=0.0)),
]

THEOREMS = [
    ("two-masses", lambda: equal(HEAVY, HIST), "normalise them", lambda: equal(OTHER, HIST)),
    ("two-masses-free", lambda: equal(HEAVY, HIST), "pass mass='free'",
     lambda: equal(HEAVY, HIST, mass="free")),
    ("other-atoms", lambda: equal(ELSEWHERE, HIST), "pass support='union'",
     lambda: equal(ELSEWHERE, HIST, support="union")),
    ("other-atoms-restricted", lambda: equal(ELSEWHERE, HIST), "or support='restricted'",
     lambda: equal(jko.Histogram(np.r_[X[:3], X[:3] + 1], W), HIST, support="restricted")),
]
# fmt: on
