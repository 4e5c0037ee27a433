"""Every argument of every public maker and verb, replaced by nonsense: one sentence, no raw error.

Calls that work are written down once; then each argument in turn becomes something that no caller
can mean. Whatever comes out must be a `JkoError` of one short paragraph.
"""

import numpy as np
import pytest
from refusals.table_calls import APPLICATIONS, SOLVERS
from scipy import sparse

import jko
from jko import kernels

X = np.array([[0.0], [0.4], [1.0]])
W = np.array([0.2, 0.3, 0.5])
HIST, CLOUD = jko.Histogram(X, W), jko.Particles(X, W)
GRID = jko.Grid(0.0, 1.0, 4)
BELL = jko.Gaussian([0.0], 1.0)
K = kernels.Gaussian(1.0)
HE, W2 = jko.Hellinger(), jko.Wasserstein()
KL = jko.KL(jko.Histogram(X, W[::-1]))


def well(x):
    return (x**2).sum(axis=1)


#: name, callable, arguments that work
CALLS = [
    ("Histogram", jko.Histogram, {"points": X, "weights": W}),
    ("Particles", jko.Particles, {"points": X, "weights": W}),
    ("Grid", jko.Grid, {"lower": 0.0, "upper": 1.0, "shape": 4, "periodic": False,
     "mask": [True] * 4}),
    ("GridDensity", jko.GridDensity, {"grid": GRID, "weights": np.ones(4)}),
    ("from_function", jko.GridDensity.from_function, {"grid": GRID, "density": well, "mass": 1.0}),
    ("from_density", jko.GridDensity.from_density, {"values": np.ones(4), "grid": GRID,
     "mass": 1.0}),
    ("Gaussian", jko.Gaussian, {"mean": [0.0], "cov": [[1.0]], "mass": 1.0}),
    ("GaussianMixture", jko.GaussianMixture, {"means": X, "covs": np.ones((3, 1, 1)),
     "weights": W}),
    ("LogDensity", jko.LogDensity, {"log_density": well, "dim": 1}),
    ("kernels.Gaussian", kernels.Gaussian, {"bandwidth": 1.0}),
    ("kernels.Laplace", kernels.Laplace, {"bandwidth": 1.0}),
    ("kernels.Matern", kernels.Matern, {"bandwidth": 1.0, "nu": 1.5}),
    ("kernels.InverseMultiquadric", kernels.InverseMultiquadric, {"bandwidth": 1.0}),
    ("kernels.Energy", kernels.Energy, {"exponent": 1.0}),
    ("median_bandwidth", kernels.median_bandwidth, {"x": X}),
    ("apply", K.apply, {"x": X, "y": X, "v": W}),
    ("gradient_apply", K.gradient_apply, {"x": X, "y": X, "v": W}),
    ("embed", K.embed, {"mu": HIST, "x": X}),
    ("mmd2", K.mmd2, {"mu": HIST, "nu": HIST, "statistic": "V"}),
    ("KL", jko.KL, {"target": HIST}),
    ("InclusiveKL", jko.InclusiveKL, {"target": HIST}),
    ("PhiDivergence", jko.PhiDivergence, {"target": HIST, "p": 2.0}),
    ("MMDEnergy", jko.MMDEnergy, {"target": HIST, "kernel": K, "statistic": "V"}),
    ("Entropy", jko.Entropy, {"reference": W}),
    ("PorousMedium", jko.PorousMedium, {"m": 2.0, "reference": W}),
    ("BoxConstraint", jko.BoxConstraint, {"bound": 2.0, "reference": W}),
    ("Potential", lambda **k: jko.Potential(**k).value(HIST), {"V": W, "convexity": 1.0}),
    ("Interaction", jko.Interaction, {"W": K}),
    ("Wasserstein", jko.Wasserstein, {"rate": 1.0}),
    ("Hellinger", jko.Hellinger, {"mass": "free", "rate": 1.0}),
    ("Divergence", jko.Divergence, {"p": 1.0, "mass": "fixed", "rate": 1.0}),
    ("MMD", jko.MMD, {"kernel": K, "mass": "fixed", "rate": 1.0}),
    ("WassersteinFisherRao", jko.WassersteinFisherRao, {"alpha": 1.0, "beta": 1.0}),
    ("sqdistance", HE.sqdistance, {"a": HIST, "b": HIST}),
    ("geodesic", W2.geodesic, {"a": HIST, "b": HIST, "t": 0.5}),
    ("plan", W2.plan, {"a": HIST, "b": HIST}),
    ("barycentric_map", W2.barycentric_map, {"a": HIST, "b": HIST}),
    ("scale", lambda c: c * KL, {"c": 2.0}),
    ("scale geometry", lambda c: HE * c, {"c": 2.0}),
    ("add", lambda f: KL + f, {"f": jko.Entropy()}),
    ("add geometry", lambda g: HE + g, {"g": W2}),
    ("value", lambda mu: jko.Entropy().value(mu), {"mu": HIST}),
    ("with_weights", HIST.with_weights, {"weights": W}),
    ("with_points", CLOUD.with_points, {"points": X}),
    ("expect", HIST.expect, {"f": well}),
    (
        "step",
        jko.step,
        {"measure": HIST, "energy": KL, "geometry": HE, "tau": 0.5, "solver": "auto", "tol": 1e-9,
         "max_iter": 50, "rng": 0},
    ),
    (
        "split_step",
        jko.split_step,
        {"measure": HIST, "energy": KL, "geometry": HE + jko.SphericalHellinger(), "tau": 0.5,
         "splitting": "lie", "solver": "auto", "tol": 1e-9, "max_iter": 50, "rng": 0},
    ),
    (
        "flow",
        jko.flow,
        {"measure": HIST, "energy": KL, "geometry": HE, "tau": 0.5, "steps": 2, "save": 1,
         "every": 1, "splitting": "lie", "scheme": "implicit", "solver": "auto", "rng": 0},
    ),
    ("flow to t1", jko.flow, {"measure": HIST, "energy": KL, "geometry": HE, "tau": 0.5,
     "t1": 1.0}),
    (
        "match",
        jko.match,
        {"particles": CLOUD, "target": HIST, "kernel": K, "steps": 2, "weights": "projected",
         "first_step": 1.0},
    ),
    ("solvers_for", jko.solvers_for, {"measure": HIST, "energy": KL, "geometry": HE}),
    ("AdaptiveStep", jko.AdaptiveStep, {"tol": 1e-2, "tau0": 0.1, "error": "state",
     "longest": 1.0}),
    ("load", jko.Trajectory.load, {"path": None}),
    ("resume", jko.resume, {"path": None}),
    *APPLICATIONS,
    *SOLVERS,
]  # fmt: skip


class Hostile:
    """Refuses to be looked at."""

    def __array__(self, *args, **kwargs):
        raise RuntimeError("not today")

    def __len__(self):
        raise TypeError("no length")


class Tensor:
    requires_grad = True

    def __array__(self, *args, **kwargs):
        raise RuntimeError("requires grad")


#: What no argument of any call can be.
NONSENSE = {
    "object": object(),
    "hostile": Hostile(),
    "tensor": Tensor(),
    "class": jko.Histogram,
    "ellipsis": ...,
    "complex": 1j,
    "complex array": np.array([[1j]]),
    "bytes": b"\x00",
    "text": "no such thing",
    "text array": np.array([["a"]]),
    "objects": np.array([[None, object()]], dtype=object),
    "set": {1.0, 2.0},
    "dict": {"a": 1},
    "nan": float("nan"),
    "nan array": np.full((3, 1), np.nan),
    "minus infinity": -np.inf,
    "minus one": -1,
    "endless": 10**400,
    "masked": np.ma.masked_array(np.ones((3, 1)), [[0], [1], [0]]),
    "masked scalar": np.ma.masked,
    "sparse": sparse.csr_matrix(np.ones((3, 1))),
    "empty": np.zeros((0, 0)),
    "ragged": [[1.0], [1.0, 2.0]],
    "deep": np.ones((2, 2, 2, 2)),
    "date": np.datetime64("2020-01-01"),
    "exception": ValueError("x"),
    "module": np,
}

#: What makes sense after all: argument, kinds of values.
SENSE = {
    "mask": (),
    "periodic": (),
    "lower": ("minus one",),
    "upper": (),
    "mean": ("minus one",),
    "p": ("minus one",),
    "log_density": ("class",),  # callable: it fails, with a sentence, when it is called
    "V": ("class", "module"),
    "gradient": ("class",),
    "loss": ("class",),
    "value": ("minus one",),
    "n_jobs": ("minus one",),
    "curvature": ("minus one",),
    "f": ("class",),
    "density": ("class",),
    "W": ("class",),
    "rng": ("endless",),
    "convexity": ("minus one",),
    "path": (),
}

CASES = [(name, call, given, argument) for name, call, given in CALLS for argument in given]


@pytest.mark.filterwarnings("ignore::jko.JkoWarning")
@pytest.mark.parametrize(
    ("call", "given", "argument"), [c[1:] for c in CASES], ids=[f"{c[0]}-{c[3]}" for c in CASES]
)
def test_nonsense_gets_a_sentence(call, given, argument):
    for kind, value in NONSENSE.items():
        if kind in SENSE.get(argument, ()):
            continue
        try:
            found = call(**{**given, argument: value})
        except jko.JkoError as error:
            text = str(error)
            assert text, kind
            assert len(text) < 1500, f"{kind}: {text}"
            assert "\x00" not in text
        else:
            raise AssertionError(f"{argument} = {kind} was taken without a word: {found!r}")


@pytest.mark.filterwarnings("ignore::jko.JkoWarning")
def test_the_calls_work():
    for name, call, given in CALLS:
        if "path" not in given:
            assert call(**given) is not None, name


def test_random_arrays_give_measures_or_sentences():
    """Arrays of any shape, type and content: a valid measure or one sentence."""
    rng = np.random.default_rng(0)
    types = ["f8", "f4", "f2", "i4", "u1", "?", "c16", "O", "U3", "M8[s]", "g"]
    made = 0
    for _ in range(600):
        arrays = []
        for rank in (2, 1):
            rank = rank if rng.random() < 0.7 else rng.integers(0, 4)
            shape = tuple(rng.integers(1, 3, size=rank))
            odd = [-1.0, 1e-300, 1e300, np.nan, np.inf]
            entries = rng.choice([0.0, 1.0, 3.5, 2.0, 7.0, *odd], size=shape)
            with np.errstate(all="ignore"):
                try:
                    arrays.append(np.asarray(entries).astype(types[rng.integers(len(types))]))
                except (ValueError, OverflowError):
                    arrays.append(entries)
        try:
            mu = jko.Histogram(*arrays)
        except jko.JkoError:
            continue
        made += 1
        assert np.isfinite(mu.points).all()
        assert (mu.weights >= 0).all()
        assert 0 < mu.mass < np.inf
    assert made > 3
