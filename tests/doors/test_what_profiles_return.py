"""A kernel of the user's whose profile returns no kernel's values is named before it is used."""

from dataclasses import dataclass

import numpy as np
import pytest

import jko
from jko.kernels import RadialKernel

POINTS = np.random.default_rng(0).normal(size=(9, 2))
HERE = jko.Histogram(POINTS, np.ones(9) / 9)
THERE = HERE.with_weights(np.arange(1, 10) / 45)


def kernel(profile):
    class Mine(RadialKernel):
        def profile(self, sq):
            return profile(sq)

    return Mine()


@pytest.mark.parametrize(
    ("profile", "sentence"),
    [
        (lambda sq: sq * np.nan, "profile of Mine is not finite at squared distance"),
        (lambda sq: 1 / sq**2, "is not finite at squared distance 0"),
        (lambda sq: 1.0, r"returned float of shape \(\) for squared distances of shape \("),
        (lambda sq: np.exp(-sq).ravel(), "return one real number for each"),
        (lambda sq: "a", "returned str"),
        (lambda sq: np.exp(-sq) + 0j, "return one real number for each"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
@pytest.mark.parametrize(
    "use",
    [
        lambda k: jko.MMD(k).sqdistance(HERE, THERE),
        lambda k: jko.step(HERE, jko.MMDEnergy(THERE, k), jko.MMD(k), 0.1),
        lambda k: jko.step(jko.Particles(POINTS), jko.MMDEnergy(THERE, k), jko.Wasserstein(), 0.1),
    ],
)
def test_what_is_no_profile(use, profile, sentence):
    with pytest.raises(jko.InvalidArgument, match=sentence) as said:
        use(kernel(profile))
    assert "object at 0x" not in str(said.value)


@dataclass(frozen=True)
class Single(RadialKernel):
    length: float = 1.0

    def profile(self, sq):
        return np.exp(-sq / (2 * self.length**2)).astype(np.float32)


def test_profiles_in_single_precision_and_of_dataclasses():
    right, mine = jko.MMD(jko.kernels.Gaussian(1.0)), jko.MMD(Single())
    assert mine.sqdistance(HERE, THERE) == pytest.approx(right.sqdistance(HERE, THERE), rel=1e-4)
    assert jko.MMD(Single()) == mine
    assert repr(Single(2.0)) == "Single(length=2.0)"
