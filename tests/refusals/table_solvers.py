"""Refusals and warnings of solvers, of transport and of sweeps, with the way out followed."""

import numpy as np
from refusals.table_advice import (
    BELL,
    CLOUD,
    FIXED,
    HE,
    HEAVY,
    HIST,
    OTHER,
    PI,
    RHO,
    TILT,
    W2,
    WIDE,
    W,
    X,
    double,
    square,
)
from refusals.table_files import STANDARD, in_folder
from refusals.table_kinds import SLOPED, drawn

import jko
from jko import solvers

FREE, WFR = jko.Divergence(p=1, mass="free"), jko.WassersteinFisherRao()
SPHERE = jko.SphericalHellinger()
FALLING, CLIFF = jko.Potential(np.full(6, -9.0)), jko.Potential(np.full(6, -3000.0))
TOWARDS = jko.KL(OTHER)
HALF = jko.LogDensity(lambda x: np.where(x[:, 0] > 0, -x[:, 0], -np.inf),
                      lambda x: -np.c_[np.ones(len(x)), 0 * x[:, 1:]], dim=2)  # fmt: skip
RIGHT = jko.Particles(np.abs(X) + 0.1, W)
NARROW = jko.LogDensity(lambda x: -500 * square(x), lambda x: -500 * double(x), dim=2)
THIN = jko.LogDensity(lambda x: -50 * square(x), lambda x: -50 * double(x), dim=1)
HOLLOW = jko.GaussianMixture([[-9.0], [9.0]], [[[1.0]], [[1.0]]], [0.5, 0.5])
HERE, FAR = jko.Histogram([[0.0]], [1.0]), jko.Histogram([[9.0]], [1.0])
MANY = jko.Histogram(np.arange(2100.0)[:, None], np.ones(2100))
HILL = jko.Potential(lambda x: -0.5 * square(x), gradient=lambda x: -x, convexity=-1.0)
BLURRED, PROGRAM = solvers.Entropic(debias=False), solvers.TransportProgram()
SQUARES = jko.PorousMedium(2)
ELSEWHERE = jko.GridDensity(jko.Grid(-1, 1, 24), np.ones(24))
LIFTED = jko.Particles(np.random.default_rng(0).normal(size=(80, 2)))


def stepped(mu, energy, geometry, tau=0.1, **options):
    return jko.step(mu, energy, geometry, tau, rng=0, **options)


def on(cells, centre=0.4):
    """The density on more cells."""
    bell = lambda x: np.exp(-2 * (x[:, 0] - centre) ** 2)
    return jko.GridDensity.from_function(bell, jko.Grid(-2, 2, cells), mass=1)


def swept(folder, f=lambda x: x, name="rows", text=None):
    if text is not None:
        (folder / name).write_text(text)
    return jko.sweep(f, {"x": [1.0]}, path=folder / name)


def swept_twice(folder, second="rows"):
    jko.sweep(square_of, {"x": [1.0]}, path=folder / "rows")
    return jko.sweep(cube_of, {"x": [1.0]}, path=folder / second)


def square_of(x):
    return x**2


def repr_of(x):
    return str(x)


def cube_of(x):
    return x**3


# fmt: off
#: id, what is refused, words of the way out (a regular expression), the way followed
SOLVED = [
    ("falls-forever", lambda: stepped(HIST, FALLING, HE, 0.5, solver=solvers.ClosedForm()),
     r"take tau below 0.222|take tau below", lambda: stepped(HIST, FALLING, HE, 0.2,
                                                            solver=solvers.ClosedForm())),
    ("falls-forever-fixed", lambda: stepped(HIST, FALLING, HE, 0.5, solver=solvers.ClosedForm()),
     "or fix the mass", lambda: stepped(HIST, FALLING, FIXED, 0.5)),
    ("mirror-overflows", lambda: stepped(HIST, CLIFF, FREE, 1.0), "fix the mass",
     lambda: stepped(HIST, CLIFF, jko.Divergence(p=1, mass="fixed"), 1.0)),
    ("mirror-falls", lambda: stepped(HIST, CLIFF, jko.Divergence(p=0, mass="free"), 9.0),
     "or fix the mass", lambda: stepped(HIST, CLIFF, jko.Divergence(p=0, mass="fixed"), 9.0)),
    ("mirror-falls-less", lambda: stepped(HIST, CLIFF, jko.Divergence(p=0, mass="free"), 9.0),
     "take a smaller tau", lambda: stepped(HIST, CLIFF, jko.Divergence(p=0, mass="free"), 1e-4)),
    ("overshoots", lambda: stepped(STANDARD, jko.KL(THIN), W2, 1.0,
                                   solver=solvers.GaussianForwardBackward()), "reduce tau",
     lambda: stepped(STANDARD, jko.KL(THIN), W2, 0.01, solver=solvers.GaussianForwardBackward())),
    ("overshoots-implicit", lambda: stepped(STANDARD, jko.KL(THIN), W2, 1.0,
                                            solver=solvers.GaussianForwardBackward()),
     r"use jko.solvers.GaussianImplicit\(\)",
     lambda: stepped(STANDARD, jko.KL(THIN), W2, 1.0, solver=solvers.GaussianImplicit())),
    ("not-log-concave", lambda: stepped(STANDARD, jko.KL(HOLLOW), SPHERE, 9.0,
                                        solver=solvers.NaturalGradient()), "reduce tau",
     lambda: stepped(STANDARD, jko.KL(HOLLOW), SPHERE, 0.01, solver=solvers.NaturalGradient())),
    ("noise-and-armijo", lambda: solvers.Euler(noise=0.1, armijo=True), "pass armijo=False",
     lambda: stepped(CLOUD, SLOPED, W2, solver=solvers.Euler(noise=0.1, armijo=False))),
    ("outside-the-support", lambda: stepped(CLOUD, jko.KL(HALF), W2, solver=solvers.Langevin()),
     "start where the target is positive",
     lambda: stepped(RIGHT, jko.KL(HALF), W2, solver=solvers.Langevin())),
    ("out-of-the-support", lambda: stepped(RIGHT, jko.KL(HALF), W2, 9.0,
                                           solver=solvers.Langevin(adjusted=False)), "reduce tau",
     lambda: stepped(RIGHT, jko.KL(HALF), W2, 1e-5, solver=solvers.Langevin(adjusted=False))),
    ("out-of-the-support-adjusted", lambda: stepped(RIGHT, jko.KL(HALF), W2, 9.0,
                                                    solver=solvers.Langevin(adjusted=False)),
     "use adjusted=True",
     lambda: stepped(RIGHT, jko.KL(HALF), W2, 9.0, solver=solvers.Langevin(adjusted=True))),
    ("pot-at-a-small-reg", lambda: stepped(HIST, TOWARDS, W2, solver=solvers.Entropic(
        reg=1e-5, backend="pot", debias=False)), "raise reg",
     lambda: stepped(HIST, TOWARDS, W2, solver=solvers.Entropic(
         reg=0.5, backend="pot", debias=False))),
    ("pot-at-a-small-reg-log", lambda: stepped(HIST, TOWARDS, W2, solver=solvers.Entropic(
        reg=1e-5, backend="pot", debias=False)), "use backend='log'",
     lambda: stepped(HIST, TOWARDS, W2, solver=solvers.Entropic(reg=1e-5, debias=False))),
    ("too-short-a-step", lambda: stepped(HIST, TOWARDS, HE, 1e-310), "change the unit of time",
     lambda: stepped(HIST, TOWARDS, HE, 1e-3)),
    ("no-births-out-there", lambda: stepped(jko.Particles(-np.abs(X) - 0.1), jko.KL(HALF), SPHERE,
                                            solver=solvers.BirthDeath()),
     "start inside its support", lambda: stepped(RIGHT, jko.KL(HALF), SPHERE,
                                                 solver=solvers.BirthDeath())),
]

TRANSPORT = [
    ("no-way-so-far", lambda: jko.transport(HERE, FAR, cost=WFR),
     r"pass relax=1.0 \(or another weight\) on both sides",
     lambda: [jko.transport(HERE, FAR, cost=WFR, relax=r) for r in (1.0, 2.0)]),
    ("too-many-to-average", lambda: jko.barycentre([MANY, MANY], geometry=WFR), "use fewer atoms",
     lambda: jko.barycentre([HERE, FAR], geometry=WFR)),
    ("three-divergences", lambda: jko.transport(HIST, HEAVY, relax=1.0, divergence=("kl",) * 3),
     "or one for each marginal",
     lambda: [jko.transport(HIST, HEAVY, relax=1.0, divergence=d) for d in (
         "kl", "hellinger", ("kl", "hellinger"))]),
    ("sliced-below-one", lambda: jko.sliced_wasserstein(HIST, OTHER, p=0.5), "pass p >= 1",
     lambda: jko.sliced_wasserstein(HIST, OTHER, p=1)),
    ("barycentre-of-laws", lambda: jko.barycentre([BELL, BELL], geometry=WFR), "sample them",
     lambda: jko.barycentre([drawn(BELL, 1), drawn(WIDE, 1)], geometry=WFR)),
    ("an-end-that-is-flat", lambda: jko.planning(RHO, jko.Divergence, W2),
     "pass a GridDensity or a terminal jko.Energy",
     lambda: jko.planning(RHO, PI, W2, slices=2)),
    ("ends-on-two-grids", lambda: jko.planning(RHO, ELSEWHERE.with_weights(
        ELSEWHERE.weights / ELSEWHERE.mass), W2), "put both on one jko.Grid",
     lambda: jko.planning(RHO, PI, W2, slices=2)),
    ("an-end-too-slow", lambda: jko.planning(on(6), jko.InclusiveKL(on(6, 0)), WFR),
     "an energy such as jko.KL", lambda: jko.planning(on(6), jko.KL(on(6, 0)), WFR, slices=1)),
]

SWEEPS = [
    ("a-grid-of-what", lambda: jko.sweep(square_of, 3), "pass name -> values, or a list",
     lambda: [jko.sweep(square_of, g) for g in ({"x": [1.0]}, [{"x": 1.0}])]),
    ("rows-of-what", lambda: jko.sweep(lambda x: {"a": X}, {"x": [1.0]}),
     "return numbers or strings, or a mapping",
     lambda: [jko.sweep(f, {"x": [1.0]}) for f in (square_of, repr_of, lambda x: {"a": x})]),
    ("a-file-of-notes", in_folder(lambda d: swept(d, text="notes\n")), "move it away first",
     in_folder(lambda d: swept(d))),
    ("a-file-of-another", in_folder(lambda d: swept_twice(d)), "pass another path",
     in_folder(lambda d: swept_twice(d, "other"))),
    ("a-folder-for-rows", in_folder(lambda d: jko.sweep(square_of, {"x": [1.0]}, path=d)),
     "pass another path", in_folder(lambda d: swept(d))),
]

#: id, what warns, words of the way out (a regular expression), the way followed
WARNED = [
    ("kernel-unresolved", lambda: stepped(RHO, jko.KL(PI), W2, solver=solvers.Entropic(reg=1e-3)),
     "use reg >= 0.0556",
     lambda: stepped(RHO, jko.KL(PI), W2, solver=solvers.Entropic(reg=0.0556))),
    ("cells-too-coarse", lambda: stepped(RHO, jko.KL(PI), W2, 1e-4, solver=BLURRED),
     "tau >= 0.014", lambda: stepped(RHO, jko.KL(PI), W2, 0.015, solver=BLURRED)),
    ("cells-too-coarse-finer", lambda: stepped(RHO, jko.KL(PI), W2, 1e-3, solver=BLURRED),
     "use cells of at most 0.045", lambda: stepped(on(96), jko.KL(on(96, -0.2)), W2, 1e-3,
                                                  solver=BLURRED)),
    ("cells-too-coarse-debiased", lambda: stepped(RHO, jko.KL(PI), W2, 1e-4, solver=BLURRED),
     "or the debiased step", lambda: stepped(RHO, jko.KL(PI), W2, 1e-4, solver=solvers.Entropic())),
    ("cells-too-coarse-for-a-drift", lambda: stepped(RHO, TILT, W2, 1e-3, solver=BLURRED),
     r"or jko.solvers.FiniteVolume\(\)",
     lambda: stepped(RHO, TILT, W2, 1e-3, solver=solvers.FiniteVolume())),
    ("cells-too-coarse-for-a-program", lambda: stepped(RHO, TILT, W2, 1e-3, solver=PROGRAM),
     r"or jko.solvers.FiniteVolume\(\)",
     lambda: stepped(RHO, TILT, W2, 1e-3, solver=solvers.FiniteVolume())),
    ("cells-too-coarse-for-a-program-bent", lambda: stepped(RHO, SQUARES, W2, 1e-4,
                                                            solver=PROGRAM),
     r"or jko.solvers.Entropic\(\)",
     lambda: stepped(RHO, SQUARES, W2, 1e-4, solver=solvers.Entropic())),
    ("langevin-stuck", lambda: stepped(CLOUD, jko.KL(NARROW), W2, 9.0, solver=solvers.Langevin()),
     "reduce tau", lambda: stepped(CLOUD, jko.KL(NARROW), W2, 1e-4, solver=solvers.Langevin())),
    ("few-for-a-density", lambda: stepped(CLOUD, jko.KL(BELL), SPHERE,
                                          solver=solvers.BirthDeath()), "take more particles",
     lambda: stepped(LIFTED, jko.KL(BELL), SPHERE, solver=solvers.BirthDeath())),
    ("single-slopes", lambda: stepped(CLOUD, jko.Potential(
        square, gradient=lambda x: double(x).astype(np.float32)), W2, throw=False),
     "return float64",
     lambda: stepped(CLOUD, SLOPED, W2)),
    ("single-values", lambda: jko.LogDensity(
        lambda x: -square(x).astype(np.float32), dim=2).log_density_at(X), "return float64",
     lambda: jko.LogDensity(lambda x: -square(x), dim=2).log_density_at(X)),
    ("no-slope-to-sample", lambda: jko.sample(lambda x: -square(x), dim=1, n=40, rng=0),
     "gradient=, by hand or from automatic differentiation",
     lambda: jko.sample(lambda x: -square(x), dim=1, n=40, rng=0, gradient=lambda x: -2 * x)),
    ("too-long-for-one-answer", lambda: stepped(CLOUD, HILL, W2, 1.5, throw=False),
     "use tau < 1", lambda: stepped(CLOUD, HILL, W2, 0.5)),
    ("path-at-rounding", lambda: jko.geodesic(on(5), on(5, -0.2), W2, slices=2, tol=1e-15),
     "more of them do not help: pass a larger tol",
     lambda: jko.geodesic(on(5), on(5, -0.2), W2, slices=2, tol=1e-3)),
    ("path-cut-short", lambda: jko.geodesic(RHO, PI, W2, slices=4, max_iter=2),
     "pass a larger max_iter", lambda: jko.geodesic(RHO, PI, W2, slices=4)),
]
# fmt: on
