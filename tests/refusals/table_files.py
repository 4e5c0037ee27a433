"""Refusals of flows, their files and pictures, each with its way out followed."""

import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
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
    TILT,
    W2,
    K,
    X,
    double,
    square,
)
from refusals.table_more_advice import MOVED, RUN, inside

import jko
from jko import plot, solvers

SLOPED = jko.Potential(square, gradient=double)
STANDARD = jko.Gaussian([0.0], 1.0)
STEEP = jko.Potential(lambda x: 50 * square(x), gradient=lambda x: 50 * double(x))
CUBE = jko.GridDensity(jko.Grid([0, 0, 0], [1, 1, 1], [2, 2, 2]), np.ones(8))
EXPLICIT = solvers.Euler(armijo=False)
FALLING = [jko.callbacks.MonitorDissipation()]


def in_folder(f):
    """A call of f(folder), a new folder that is gone after it."""

    def call():
        with tempfile.TemporaryDirectory() as name:
            return f(Path(name))

    return call


def run(path=None, energy=TILT, **options):
    return jko.flow(HIST, energy, HE, steps=2, checkpoint=path, **{"tau": 0.1, **options})


def finished(folder):
    """The file of a finished run whose energy is a function."""
    run(folder / "run")
    return folder / "run"


def loaded(folder, **options):
    run(**options).save(folder / "sol")
    return jko.Trajectory.load(folder / "sol")


def grown():
    """A flow that takes the atoms of its target in."""
    return jko.flow(CLOUD, jko.MMDEnergy(jko.Particles(X + 0.5), K), MMD, tau=0.1, steps=2,
                    solver=solvers.SimplexQP(support="union"))  # fmt: skip


def piped(folder):
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def foreign(folder):
    (folder / "run").write_text("notes")
    return folder / "run"


def moved_away(folder):
    foreign(folder).rename(folder / "notes")
    return run(folder / "run")


def rivals(first, second):
    """Two runs at once, with these checkpoints."""
    return run(first, callbacks=[lambda e: run(second) if e.index == 1 else None])


def axes():
    return plt.subplots()[1]


def written(animation, path):
    return animation.write(path)


def nested(path):
    path.parent.mkdir()
    return RUN.save(path)


# fmt: off
#: id, what is refused, words of the way out (a regular expression), the way followed
FILES = [
    ("a-folder", in_folder(RUN.save), "pass the name of a file in it",
     in_folder(lambda d: RUN.save(d / "run"))),
    ("no-such-folder", in_folder(lambda d: RUN.save(d / "no" / "run")), "is missing",
     in_folder(lambda d: nested(d / "yes" / "run"))),
    ("a-pipe", in_folder(lambda d: RUN.save(piped(d))), "pass another name",
     in_folder(lambda d: RUN.save(d / "run"))),
    ("no-path", lambda: RUN.save(3.0), "pass a file name", in_folder(lambda d: RUN.save(d / "r"))),
    ("a-folder-to-read", in_folder(jko.Trajectory.load), "pass the name of a file",
     in_folder(loaded)),
    ("a-file-of-notes", in_folder(lambda d: run(foreign(d))), "move it away first",
     in_folder(moved_away)),
    ("one-file-for-two", in_folder(lambda d: rivals(d / "a", d / "a")),
     "give every run a file of its own", in_folder(lambda d: rivals(d / "a", d / "b"))),
    ("a-function-gone", in_folder(lambda d: jko.resume(finished(d), steps=2)),
     r"pass energy=\.\.\. again", in_folder(lambda d: jko.resume(finished(d), energy=TILT,
                                                                  steps=2))),
    ("another-energy", in_folder(lambda d: jko.resume(finished(d), energy=jko.KL(OTHER), steps=2)),
     "pass the same one", in_folder(lambda d: jko.resume(finished(d), energy=TILT, steps=2))),
    ("another-function", in_folder(lambda d: jko.resume(finished(d), energy=SLOPED, steps=2)),
     "not the one the run used|not what the run used",
     in_folder(lambda d: jko.resume(finished(d), energy=TILT, steps=2))),
    ("a-function-of-the-same-name", in_folder(lambda d: jko.resume(
        finished(d), energy=jko.Potential(lambda x: x[:, 1]), steps=2)), "not the one the run used",
     in_folder(lambda d: jko.resume(finished(d), energy=jko.Potential(lambda x: x[:, 0]),
                                    steps=2))),
    ("a-file-without-functions", in_folder(lambda d: jko.flow(loaded(d), steps=1)),
     "pass its energy and geometry again",
     in_folder(lambda d: jko.flow(loaded(d), TILT, HE, steps=1))),
    ("a-file-without-tau", in_folder(lambda d: jko.flow(
        loaded(d, tau=jko.AdaptiveStep()), TILT, HE, steps=1)), "pass it, or another, again",
     in_folder(lambda d: jko.flow(loaded(d, tau=jko.AdaptiveStep()), TILT, HE, steps=1, tau=0.1))),
]

RUNS = [
    ("a-record-unnamed", lambda: run(callbacks=[lambda e: e.record(3, 1.0)]), "pass a string",
     lambda: run(callbacks=[lambda e: e.record("three", 1.0)])),
    ("a-record-of-what", lambda: run(callbacks=[lambda e: e.record("a", run)]),
     "record numbers, strings, arrays, measures, or lists and dicts of them",
     lambda: run(callbacks=[lambda e: e.record("a", [1.0, "b", X, HIST, {"c": 2}])])),
    ("energy-rises", lambda: jko.flow(CLOUD, STEEP, W2, tau=0.1, steps=2, solver=EXPLICIT,
                                      callbacks=FALLING), "reduce tau",
     lambda: jko.flow(CLOUD, STEEP, W2, tau=0.001, steps=2, solver=EXPLICIT, callbacks=FALLING)),
    ("midpoint-of-euler", lambda: jko.flow(CLOUD, SLOPED, W2, tau=0.1, steps=2, scheme="midpoint",
                                           solver=EXPLICIT), "use scheme='implicit'",
     lambda: jko.flow(CLOUD, SLOPED, W2, tau=0.1, steps=2, scheme="implicit", solver=EXPLICIT)),
    ("midpoint-of-euler-proximal", lambda: jko.flow(CLOUD, SLOPED, W2, tau=0.1, steps=2,
                                                    scheme="midpoint", solver=EXPLICIT),
     "or a proximal step",
     lambda: jko.flow(CLOUD, SLOPED, W2, tau=0.1, steps=2, scheme="midpoint")),
    ("no-way-past", lambda: jko.flow(HIST, jko.KL(OTHER), W2, tau=0.1, steps=2, scheme="midpoint"),
     "use scheme='implicit'",
     lambda: jko.flow(HIST, jko.KL(OTHER), W2, tau=0.1, steps=2, scheme="implicit")),
    ("past-the-narrowest", lambda: jko.flow(STANDARD, SLOPED, W2, tau=3.0, steps=2,
                                            scheme="richardson"), "or use scheme='midpoint'",
     lambda: jko.flow(STANDARD, SLOPED, W2, tau=3.0, steps=2, scheme="midpoint")),
    ("past-the-narrowest-slowly", lambda: jko.flow(STANDARD, SLOPED, W2, tau=3.0, steps=2,
                                                   scheme="richardson"), "reduce tau",
     lambda: jko.flow(STANDARD, SLOPED, W2, tau=0.01, steps=2, scheme="richardson")),
    ("atoms-and-weights", lambda: jko.flow(CLOUD, SLOPED, W2 + FIXED, tau=0.1, steps=1,
                                           scheme="richardson"), "use scheme='midpoint'",
     lambda: jko.flow(CLOUD, SLOPED, W2 + FIXED, tau=0.1, steps=1, scheme="midpoint")),
    ("atoms-that-grow", lambda: grown().to_xarray(), "take sol.measures one by one",
     lambda: [mu.to_dict() for mu in grown().measures]),
    ("a-density-beyond-double", lambda: jko.step(RHO, jko.InclusiveKL(jko.LogDensity(
        lambda x: 800 - square(x), dim=1)), FIXED, 0.1), "its maximum is near 0",
     lambda: jko.step(RHO, jko.InclusiveKL(jko.LogDensity(lambda x: -square(x), dim=1)), FIXED,
                      0.1)),
]

FIGURES = [
    ("a-still", lambda: plot.animate(MOVED, "a.gif", frames=1), "pass 2 or more",
     inside(in_folder(lambda d: plot.animate(MOVED, d / "a.gif", frames=2, dpi=40)))),
    ("too-slow", lambda: plot.animate(MOVED, "a.gif", seconds=1e9), "pass at most 1950",
     inside(in_folder(lambda d: plot.animate(MOVED, d / "a.gif", seconds=1950, dpi=40)))),
    ("too-coarse", lambda: plot.animate(MOVED, "a.gif", dpi=1), r"pass \d+ or more",
     inside(in_folder(lambda d: plot.animate(MOVED, d / "a.gif", frames=2, dpi=40)))),
    ("no-size", lambda: plot.animate(MOVED, "a.gif", size=3), r"pass \(width, height\) in inches",
     inside(in_folder(lambda d: plot.animate(MOVED, d / "a.gif", frames=2, size=(2, 2), dpi=40)))),
    ("no-film", inside(lambda: written(MOVED.animate(frames=2), "a.avi")),
     "ends in .gif or .mp4",
     inside(in_folder(lambda d: written(MOVED.animate(frames=2), d / "a.gif")))),
    ("three-dimensions", inside(lambda: plot.density(axes(), CUBE)),
     "draw one or two dimensions", inside(lambda: plot.density(axes(), RHO))),
    ("a-file-as-folder", in_folder(lambda d: plot.folder(foreign(d))), "pass another folder",
     in_folder(lambda d: plot.folder(d / "figures"))),
    ("nowhere-to-write", inside(in_folder(lambda d: plot.save(plt.figure(), foreign(d) / "a.png"))),
     "pass another path", inside(in_folder(lambda d: plot.save(plt.figure(), d / "a.png")))),
    ("a-picture-of-a-law", inside(lambda: plot.measure(LINE)),
     "pass a measure such as jko.GridDensity",
     inside(lambda: [plot.measure(mu) for mu in (PI, CLOUD, BELL)])),
]
# fmt: on
