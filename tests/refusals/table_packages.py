"""Refusals where a package or a program is missing, and advice on limits, each followed."""

import sys
from dataclasses import replace
from unittest import mock

from matplotlib.animation import FFMpegWriter
from refusals.table_adapters import bell, by, from_torch
from refusals.table_advice import HIST, PI, RHO, W2
from refusals.table_files import in_folder, written
from refusals.table_more_advice import MOVED, NORMAL, drawn, inside
from refusals.table_samples import CHAINS, NAMED, compared, learned
from refusals.table_solvers import CLIFF, FREE, stepped

import jko
from jko import kernels, solvers

TOWARDS, FAST = jko.KL(PI), solvers.Entropic()
NAMES = {"constrain": NAMED.constrain}


def without(name, f):
    """A call of f where this package is not installed."""

    def call():
        before = sys.modules.get(name)  # not the whole table: what f imports is to stay
        sys.modules[name] = None
        try:
            return f()
        finally:
            del sys.modules[name]
            if before is not None:
                sys.modules[name] = before

    return call


def no_program(f):
    """A call of f where ffmpeg is not installed."""

    def call():
        with mock.patch.object(FFMpegWriter, "isAvailable", return_value=False):
            return f()

    return call


# fmt: off
#: id, what is refused, words of the way out (a regular expression), the way followed
PACKAGES = [
    ("no-tqdm", without("tqdm", jko.callbacks.Progress), r"pip install 'jko\[demo\]'",
     jko.callbacks.Progress),
    ("no-tqdm-to-sample", without("tqdm", lambda: jko.sample(NORMAL, n=40, rng=0, progress=True)),
     "or pass a function", without("tqdm", lambda: jko.sample(
         NORMAL, n=40, rng=0, progress=lambda stage, count: None))),
    ("no-arviz", without("arviz", lambda: drawn("tempered").to_arviz()), "pip install arviz",
     lambda: drawn("tempered").to_arviz()),
    ("no-pandas", without("pandas", lambda: compared({"x0": CHAINS}).to_frame()),
     "pip install pandas", lambda: compared({"x0": CHAINS}).to_frame()),
    ("no-matplotlib", without("jko.plot.style", lambda: drawn("tempered").plot()),
     r"pip install 'jko\[demo\]'", inside(lambda: drawn("tempered").plot())),
    ("no-torch", by("torch", lambda _: without("torch", lambda: from_torch(bell, 1))()),
     r"pip install 'jko\[torch\]'", by("torch", lambda _: from_torch(bell, 1))),
    ("no-finufft", without("finufft", lambda: kernels.FastSums(backend="finufft")), "pass 'grid'",
     without("finufft", lambda: kernels.FastSums(backend="grid"))),
    ("no-ffmpeg", inside(no_program(lambda: written(MOVED.animate(frames=2), "a.mp4"))),
     "or write a .gif", inside(no_program(in_folder(lambda d: written(
         MOVED.animate(frames=2), d / "a.gif"))))),
]

LIMITS = [
    ("few-iterations", lambda: stepped(RHO, TOWARDS, W2, solver=FAST, max_iter=1),
     "raise max_iter", lambda: stepped(RHO, TOWARDS, W2, solver=FAST, max_iter=500)),
    ("a-step-that-succeeds", lambda: stepped(HIST, CLIFF, FREE, 1.0),
     "use tau = 0.0625: this step then succeeds", lambda: stepped(HIST, CLIFF, FREE, 0.0625)),
    ("few-rounds-of-training", lambda: learned(max_iter=1), "raise max_iter or tol",
     lambda: [learned(max_iter=200), learned(max_iter=1, tol=9.0)]),
    ("no-draws-of-a-model", lambda: replace(drawn("wfr"), **NAMES).constrained(draws=True),
     "use 'tempered'", lambda: replace(drawn("tempered"), **NAMES).constrained(draws=True)),
]
# fmt: on
