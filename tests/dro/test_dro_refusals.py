"""Bad input gets one clear sentence: the argument, its value, the remedy."""

import re

import numpy as np
import pytest
from generators import measures

import jko
from jko.dro import Linear, PredictionLoss, Quadratic, kernel_worst_case, minimise, worst_case
from jko.errors import InvalidArgument, InvalidType, Unsupported

MU = measures.particles(8, 1, seed=1)
KL, HE, W2 = jko.Divergence(p=1), jko.Hellinger(), jko.Wasserstein()
MMD = jko.MMD(jko.kernels.Gaussian(1.0))
ONE, SAME = jko.Particles([[1.0]]), jko.Particles(np.ones((5, 2)))
NAN, INF = float("nan"), float("inf")


def wave(x):
    return np.sin(x[:, 0])


def square(x):
    return (x**2).sum(axis=1)


def case(loss=wave, measure=MU, geometry=KL, **options):
    size = {} if {"radius", "tau"} & set(options) else {"radius": 0.1}
    return lambda: worst_case(loss, measure, geometry, **size, **options)


def free(loss, **options):
    return case(loss, geometry=W2, support="particles", **options)


def box(geometry=MMD, **options):
    given = {"radius": 0.1, "lower": [-9.0], "upper": [9.0], "points": [[0.0], [1.0]], **options}
    return lambda: kernel_worst_case(wave, MU, geometry, **given)


def fit(**options):
    given = {"gradient": lambda t, x: x, "radius": 0.1, **options}
    loss = lambda t, x: x[:, 0] * t[0]
    return lambda: minimise(given.pop("loss", loss), given.pop("start", [0.0]), MU, KL, **given)


TABLE = {
    "radius-negative": (case(radius=-0.1), InvalidArgument, ("radius = -0.1 is negative",)),
    "radius-nan": (case(radius=NAN), InvalidArgument, ("radius = nan is not finite",)),
    "radius-inf": (case(radius=INF), InvalidArgument, ("radius = inf is not finite",)),
    "radius-text": (case(radius="big"), InvalidType, ("radius must be a number", "'big'")),
    "tau-zero": (case(tau=0.0), InvalidArgument, ("tau = 0 must be positive",)),
    "tau-negative": (case(tau=-1), InvalidArgument, ("tau = -1 must be positive",)),
    "both": (case(radius=0.1, tau=0.1), InvalidArgument, ("both of radius and tau",)),
    "neither": (lambda: worst_case(wave, MU, KL), InvalidArgument, ("neither of radius and tau",)),
    "loss-nan": (
        case([NAN] + [0.0] * 7),
        InvalidArgument,
        ("loss has 1 non-finite", r"index \(0,\)"),
    ),
    "loss-nan-function": (
        case(lambda x: np.full(len(x), NAN)),
        InvalidArgument,
        ("loss has 8 non-finite",),
    ),
    "loss-inf": (case([INF] * 8), InvalidArgument, ("non-finite",)),
    "loss-shape": (case(np.ones(5)), InvalidArgument, (r"shape \(5,\) for 8 atoms", r"\(8,\)")),
    "loss-column": (case(lambda x: x), InvalidArgument, (r"shape \(8, 1\) for 8 atoms",)),
    "loss-text": (case("loss"), InvalidType, ("loss must be an array",)),
    "loss-union-shape": (
        case(np.ones(8), geometry=W2, support="union", points=[[0.0]]),
        InvalidArgument,
        ("for 9 atoms", "added points last"),
    ),
    "measure-array": (case(measure=np.ones(8)), InvalidType, ("measure got ndarray",)),
    "measure-gaussian": (
        case(measure=jko.Gaussian([0.0], [[1.0]])),
        Unsupported,
        ("Gaussian, which has no atoms", "jko.Particles"),
    ),
    "geometry-text": (
        case(geometry="KL"),
        InvalidType,
        ("geometry got 'KL'", r"jko.Divergence\(p\)"),
    ),
    "geometry-sum": (case(geometry=W2 + HE), Unsupported, ("no worst cases of its own",)),
    "geometry-sphere": (case(geometry=jko.SphericalHellinger()), Unsupported, (r"4 sin\(r/4\)",)),
    "geometry-wfr": (
        case(geometry=jko.WassersteinFisherRao(1, 1)),
        Unsupported,
        ("no worst cases of its own",),
    ),
    **{
        f"one-sample-{k}": (
            case(measure=ONE, geometry=g),
            InvalidArgument,
            ("has one atom", "more samples"),
        )
        for k, g in {"kl": KL, "hellinger": HE, "wasserstein": W2, "mmd": MMD}.items()
    },
    **{
        f"identical-{k}": (
            case(measure=SAME, geometry=g),
            InvalidArgument,
            ("all 5 samples are identical", "distance 0"),
        )
        for k, g in {"wasserstein": W2, "mmd": MMD}.items()
    },
    "two-values-at-a-point": (
        case([0.0, 1.0, 2.0], jko.Particles([[0.0], [0.0], [1.0]]), W2),
        InvalidArgument,
        ("different values at the identical points",),
    ),
    "support": (
        case(support="everywhere"),
        InvalidArgument,
        ("support = 'everywhere' is unknown",),
    ),
    "points-missing": (case(geometry=W2, support="grid"), InvalidArgument, ("needs points=",)),
    "points-unused": (case(points=[[0.0]]), InvalidArgument, ("points are given but",)),
    "points-dimension": (
        case(geometry=W2, support="union", points=[[0.0, 1.0]]),
        InvalidArgument,
        ("points have dimension 2",),
    ),
    "kl-union": (
        case(support="union", points=[[0.0]]),
        Unsupported,
        ("reweighting of the sample",),
    ),
    "hellinger-grid": (
        case(geometry=HE, support="grid", points=[[0.0]]),
        Unsupported,
        ("atom by atom",),
    ),
    "empty-ball": (
        case(geometry=MMD, support="grid", points=[[50.0], [60.0]]),
        InvalidArgument,
        (r"radius = 0.1 is below", "support='union'"),
    ),
    "particles-kl": (case(support="particles"), Unsupported, ("moves atoms",)),
    "particles-values": (free(np.ones(8)), InvalidType, ("array of values", "everywhere")),
    "particles-points": (free(wave, points=[[0.0]]), InvalidArgument, ("points are not used",)),
    "faster-than-quadratic": (
        free(lambda x: square(x) ** 2),
        InvalidArgument,
        ("grows faster than quadratic",),
    ),
    "faster-than-quadratic-tau": (
        free(lambda x: np.exp(x[:, 0]), tau=1e-3),
        InvalidArgument,
        ("grows faster than quadratic",),
    ),
    "curved-function": (
        free(lambda x: 3 * square(x), tau=0.5),
        InvalidArgument,
        ("curves by 6", "not less than 1/tau = 2", "tau below 0.166667"),
    ),
    "curved-exactly": (free(lambda x: square(x), tau=0.5), InvalidArgument, ("curves by 2",)),
    "curved-formula": (
        free(Quadratic([[6.0]], [0.0]), tau=1 / 6),
        InvalidArgument,
        ("curves by 6", "outgrows the penalty"),
    ),
    "quadratic-dimension": (
        free(Linear([1.0, 2.0])),
        InvalidArgument,
        ("loss lives in dimension 2",),
    ),
    "quadratic-shape": (lambda: Quadratic(np.eye(2), [1.0]), InvalidArgument, ("expected",)),
    "quadratic-asymmetric": (
        lambda: Quadratic([[0, 1], [0, 0]], [0, 0]),
        InvalidArgument,
        ("not symmetric",),
    ),
    "gradient-shape": (free(wave, gradient=lambda x: x[:, 0]), InvalidArgument, ("gradient gave",)),
    "curvature-nan": (free(wave, curvature=NAN), InvalidArgument, ("curvature = nan",)),
    "starts": (free(wave, starts=0), InvalidArgument, ("starts = 0",)),
    "tol": (case(tol=-1.0), InvalidArgument, ("tol = -1 must be positive",)),
    "max-iter": (case(max_iter=0), InvalidArgument, ("max_iter = 0",)),
    "box-geometry": (box(geometry=W2), Unsupported, (r"jko.MMD\(kernel\)",)),
    "box-corners": (box(lower=[9.0], upper=[-9.0]), InvalidArgument, ("are no box",)),
    "box-points": (box(points=[[50.0]]), InvalidArgument, ("outside the box", "50")),
    "box-radius": (box(radius=0.0), InvalidArgument, ("no dual function",)),
    "fit-penalty": (fit(penalty=-1.0), InvalidArgument, ("penalty = -1 is negative",)),
    "fit-start": (fit(start=[NAN]), InvalidArgument, ("start has 1 non-finite",)),
    "fit-loss": (fit(loss=lambda t, x: x[:, 0] * NAN), InvalidArgument, ("loss has 8 non-finite",)),
    "prediction-loss": (
        lambda: PredictionLoss("l", "s"),
        InvalidType,
        ("value of a PredictionLoss",),
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_refusal(name):
    call, error, fragments = TABLE[name]
    with pytest.raises(jko.JkoError) as caught:
        call()
    message = str(caught.value)
    assert isinstance(caught.value, error), message
    for fragment in fragments:
        assert re.search(fragment, message), f"{fragment!r} is not in: {message}"
    assert "\n" not in message
    assert len(message) < 400


def test_a_missed_tolerance_is_an_error_that_carries_the_result():
    with pytest.raises(jko.StepFailed, match="raise max_iter") as caught:
        worst_case(wave, MU, MMD, radius=0.3, max_iter=1)
    found = caught.value.result
    assert not found.success
    assert found.measure.mass == pytest.approx(1.0)
    loose = worst_case(wave, MU, MMD, radius=0.3, max_iter=1, throw=False)
    assert loose.gap > 1e-6
    assert loose.bound >= worst_case(wave, MU, MMD, radius=0.3).value


def test_learners_refuse():
    pytest.importorskip("sklearn")
    from jko.dro import RobustClassifier, RobustRegressor

    x, y = np.random.default_rng(0).normal(size=(20, 2)), np.arange(20.0)
    cases = [
        (RobustRegressor(radius=-1.0), y, "radius = -1 is negative"),
        (RobustRegressor(alpha=-1.0), y, "alpha = -1 is negative"),
        (RobustRegressor(loss="hinge"), y, "loss = 'hinge' is unknown"),
        (RobustRegressor(loss=3), y, "PredictionLoss"),
        (RobustRegressor(geometry="KL"), y, "geometry got 'KL'"),
        (RobustClassifier(), np.arange(20) % 3, "OneVsRestClassifier"),
        (RobustClassifier(), np.zeros(20), "one class"),
        (
            RobustRegressor(
                PredictionLoss(lambda z, y: (z - y) ** 4, lambda z, y: 4 * (z - y) ** 3),
                geometry=W2,
            ),
            y,
            "outgrow the transport cost",
        ),
    ]
    for model, target, sentence in cases:
        with pytest.raises(ValueError, match=sentence):
            model.fit(x, target)
    with pytest.raises(ValueError, match="sample_weight"):
        RobustRegressor().fit(x, y, sample_weight=-np.ones(20))
