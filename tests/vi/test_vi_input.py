"""Bad input gets one clear sentence each."""

import numpy as np
import pytest

import jko
from jko import InvalidArgument, InvalidMeasure, InvalidType, StepFailed, Unsupported
from jko.expectations import Cubature, GaussHermite

G1, G2 = jko.Gaussian([0.0], [[1.0]]), jko.Gaussian([0.0, 0.0], np.eye(2))
INCLUSIVE = {"objective": "inclusive", "rng": 0}


def bell(x):
    return -(x**2).sum(axis=1)


def cauchy(x):
    return -np.log1p(x**2).sum(axis=1)


def fit(log_density=bell, dim=2, **options):
    return lambda: jko.vi.fit(log_density, dim, **options)


def step(density, g=G2, geometry=None):
    return lambda: jko.step(g, jko.KL(density), geometry or jko.SphericalHellinger(), 0.1)


CASES = [
    ("indefinite", lambda: jko.vi.fit(bell, 2, start=jko.Gaussian([0, 0], np.diag([1.0, -1.0]))),
     InvalidMeasure, "cov is not positive definite"),
    ("flat", fit(lambda x: 0 * x[:, 0]), StepFailed, "improper .no second moment."),
    ("slope", fit(lambda x: x[:, 0]), StepFailed, "improper .no second moment."),
    ("half-flat", fit(lambda x: -(x[:, 0] ** 2)), StepFailed, "improper .no second moment."),
    ("bowl", fit(lambda x: x[:, 0] ** 2), StepFailed, "improper .no second moment."),
    ("cauchy", fit(cauchy, 1, **INCLUSIVE), StepFailed, r"falls like \|x\|\^-2 along a ray"),
    ("cauchy-plane", fit(cauchy, **INCLUSIVE), StepFailed, "improper .no second moment."),
    ("flat-inclusive", fit(lambda x: 0 * x[:, 0], **INCLUSIVE), StepFailed, "no second moment"),
    ("gradient-shape", fit(gradient=lambda x: x[:, 0]), InvalidMeasure,
     r"gradient returned shape \(\d+,\) for points of shape"),
    ("gradient-transposed", fit(gradient=lambda x: -2 * x.T), InvalidMeasure,
     "gradient returned shape"),
    ("gradient-nan", fit(gradient=lambda x: np.nan * x), InvalidMeasure, "gradient is not finite"),
    ("nan", fit(lambda x: np.nan * x[:, 0]), InvalidMeasure, "log_density is nan at point"),
    ("nan-somewhere", fit(lambda x: np.where(x[:, 0] > 2, np.nan, bell(x))), InvalidMeasure,
     "log_density is nan at point"),
    ("nan-inclusive", fit(lambda x: np.where(x[:, 0] > 2, np.nan, bell(x)), **INCLUSIVE),
     InvalidMeasure, "log_density is nan at point"),
    ("values-shape", fit(lambda x: -(x**2)), InvalidMeasure, "return one value per point"),
    ("walls", fit(lambda x: np.where(x[:, 0] > 0, -x[:, 0], -np.inf), 1), InvalidMeasure,
     "transform bounded variables"),
    ("no-dim", fit(dim=None), InvalidArgument, "dim is missing"),
    ("dim-zero", fit(dim=0), InvalidArgument, "dim = 0 must be at least 1"),
    ("dim-clash", fit(jko.LogDensity(bell, dim=3)), InvalidArgument, "dim = 2, but"),
    ("start-dim", fit(start=G1), InvalidArgument, "start lives in dimension 1"),
    ("start-kind", fit(start=np.zeros(2)), InvalidType, "start got ndarray"),
    ("callable", fit(3.0), InvalidType, "log_density got float"),
    ("objective", fit(objective="forward"), InvalidArgument, "choose one of 'exclusive'"),
    ("family", fit(family="student"), InvalidArgument, "choose one of 'gaussian'"),
    ("inclusive-mixture", fit(family="mixture", objective="inclusive"), Unsupported,
     "use objective='exclusive'"),
    ("inclusive-geometry", fit(geometry=jko.Wasserstein(), **INCLUSIVE), InvalidArgument,
     "matches moments"),
    ("mass", fit(geometry=jko.Hellinger(), start=G2), Unsupported, "with mass=.fixed.: use"),
    ("tau", fit(tau=-1.0), InvalidArgument, "tau = -1 must be positive"),
    ("tol", fit(tol=0.0), InvalidArgument, "tol = 0 must be positive"),
    ("components", fit(family="mixture", components=0), InvalidArgument, "components = 0"),
    ("rng", fit(rng="seed"), InvalidType, "rng = 'seed'"),
    ("rule", lambda: jko.KL(G2, rule=3), InvalidType, "rule got 3; pass a rule"),
    ("rule-size", fit(dim=6, rule=GaussHermite(20)), Unsupported, "use Cubature.. or MonteCarlo"),
    ("points", lambda: Cubature(0), InvalidArgument, "points = 0"),
    ("step-dim", step(jko.LogDensity(bell, dim=3)), InvalidArgument, "target lives in dimension 3"),
    ("step-nan", step(jko.LogDensity(lambda x: np.nan * x[:, 0], dim=2)), InvalidMeasure, "nan"),
    ("step-gradient", step(jko.LogDensity(bell, lambda x: x[:, :1], 2)), InvalidMeasure,
     "gradient returned shape"),
    ("sample-dim", lambda: jko.vi.importance_sample(G1, G2), InvalidMeasure,
     "dimension 1, the proposal in dimension 2"),
    ("sample-proposal", lambda: jko.vi.importance_sample(G1, bell), InvalidType, "proposal got"),
    ("sample-nowhere", lambda: jko.vi.importance_sample(
        jko.LogDensity(lambda x: np.full(len(x), -np.inf)), G1), InvalidMeasure,
     "no mass on any draw"),
    ("laplace", lambda: jko.vi.laplace(jko.LogDensity(lambda x: x[:, 0])), StepFailed,
     "no mode was found"),
    ("inclusive-step", lambda: jko.InclusiveKL(jko.LogDensity(bell, dim=2)).value(G2), Unsupported,
     "importance_sample"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "sentence"), [c[1:] for c in CASES],
                         ids=[c[0] for c in CASES])  # fmt: skip
def test_one_clear_sentence(call, error, sentence):
    with pytest.raises(error, match=sentence) as caught:
        call()
    assert "\n" not in str(caught.value) or error is Unsupported


def test_a_heavy_tail_is_no_obstacle_to_the_exclusive_fit():
    """KL(q|Cauchy) is finite and has a minimiser: only the inclusive fit needs moments."""
    found = jko.vi.fit(cauchy, 1)
    assert found.success
    assert found.measure.cov[0, 0] == pytest.approx(2.656, abs=1e-2)
