"""The checks are themselves checked: each of these wrong objects must be caught."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from generators import measures
from generators.problems import mmd_apart, mmd_shared

import jko
from jko.kernels.radial import RadialKernel
from jko.prox.stated import Certificate, Stated
from jko.solvers import Answer, Mixture, SimplexQP
from jko.testing import check_energy, check_geometry, check_kernel, check_solver

GAUSS = jko.kernels.Gaussian(0.9)


class Wrong(jko.MMDEnergy):
    """An MMD energy with one method spoilt."""

    def __init__(self, what):
        super().__init__(measures.particles(9, seed=5), GAUSS)
        self.what = what

    def value(self, mu):
        return float("nan") if self.what == "value" else super().value(mu)

    def first_variation(self, mu):
        factor = 1.001 if self.what == "first_variation" else 1.0
        return factor * super().first_variation(mu)

    def wasserstein_gradient(self, mu):
        # The gradient of the sum, not of the mean: forgets to divide by the weight.
        out = super().wasserstein_gradient(mu)
        return out * mu.weights[:, None] if self.what == "wasserstein_gradient" else out

    def conic(self, w, mu):
        expression, constraints = super().conic(w, mu)
        return (2 if self.what == "conic" else 1) * expression, constraints

    def log_prox_kl(self, log_q, step, mu):
        if self.what == "log_prox_kl":
            return log_q - step * self.first_variation(mu.with_weights(np.exp(log_q)))
        return super().log_prox_kl(log_q, step, mu)


class WrongConstant(jko.Potential):
    """A first variation off by a constant: invisible on P, wrong on M+."""

    def first_variation(self, mu):
        return super().first_variation(mu) + 1.0


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("value", "is nan"),
        ("first_variation", "first_variation of .* misses the slope"),
        ("wasserstein_gradient", "wasserstein_gradient of .* misses the slope"),
        ("conic", "conic form"),
        ("log_prox_kl", "log_prox_kl of .* is beaten by"),
    ],
)
def test_wrong_energy(what, sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_energy(Wrong(what), measures.particles(seed=3, mass=1.5))


def test_the_same_energy_unspoilt():
    assert "wasserstein_gradient" in check_energy(Wrong(None), measures.particles(seed=3, mass=1.5))


def test_wrong_constant_shows_on_free_mass_only():
    energy = WrongConstant(lambda x: x[:, 0])
    mu = measures.histogram(seed=3)
    with pytest.raises(AssertionError, match="free"):
        check_energy(energy, mu)
    assert "first_variation" in check_energy(energy, mu, free=False)


@dataclass(frozen=True, repr=False)
class WrongHellinger(jko.Hellinger):
    what: str = ""

    def _sqdistance(self, a, b):
        out = super()._sqdistance(a, b)
        if self.what == "asymmetric":
            return out * (1 + 0.01 * a.weights[0])
        return out + 1e-3 if self.what == "diagonal" else out

    def sqdistance(self, a, b):
        # Multiplies where c*G must divide.
        factor = self.rate**2 if self.what == "rate" else 1.0
        return factor * super().sqdistance(a, b)

    def potential(self, a, b):
        return (2.0 if self.what == "potential" else 1.0) * super().potential(a, b)

    def geodesic(self, a, b, t):
        if self.what == "geodesic":
            return a.with_weights((1 - t) * a.weights + t * b.weights)
        return super().geodesic(a, b, t)


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("asymmetric", "not symmetric"),
        ("diagonal", "not zero on the diagonal"),
        ("rate", "does not divide"),
        ("potential", "potential of .* misses"),
        ("geodesic", "no constant speed"),
    ],
)
def test_wrong_geometry(what, sentence):
    a = measures.histogram(seed=1)
    b = measures.sibling(a, 2)
    with pytest.raises(AssertionError, match=sentence):
        check_geometry(WrongHellinger(what=what), a, b)


@dataclass(frozen=True, repr=False)
class SquaredWasserstein(jko.Wasserstein):
    """Labels a square as a distance."""

    def _sqdistance(self, a, b):
        return super()._sqdistance(a, b) ** 2


def test_a_square_is_no_distance():
    a, b, c = (jko.Particles([[x]]) for x in (0.0, 4.0, 2.0))
    with pytest.raises(AssertionError, match="triangle"):
        check_geometry(SquaredWasserstein(), a, b, c)


@dataclass(frozen=True)
class WrongKernel(RadialKernel):
    what: str = ""

    def profile(self, sq):
        return np.exp(-sq / 2) if self.what != "indefinite" else np.exp(-sq / 2) - 0.5

    def _slope(self, sq):
        exact = -np.exp(-sq / 2)
        return (0.5 if self.what == "gradient" else 1) * exact

    def diagonal(self, x):
        return self.profile(np.zeros(len(x)))


@pytest.mark.parametrize(
    ("what", "sentence"), [("indefinite", "has eigenvalue"), ("gradient", "misses the slope")]
)
def test_wrong_kernel(what, sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_kernel(WrongKernel(what), measures.points(12))
    assert "gradient" in check_kernel(WrongKernel("fine"), measures.points(12))


@dataclass(frozen=True)
class Perturbed(Mixture):
    """Answers a little beside the minimum."""

    def solve(self, problem, controls):
        answer = super().solve(problem, controls)
        w = answer.measure.weights
        new = w * (1 + 1e-2 * np.cos(np.arange(w.shape[0])))
        return replace(answer, measure=answer.measure.with_weights(new * w.sum() / new.sum()))


class Liar(Stated):
    """States the step, but certifies everything."""

    def __init__(self, problem):
        self.problem = problem

    def objective(self, nu):
        return self.problem.objective(nu)

    def certificate(self, answer):
        return Certificate(0.0, 0.0)


@dataclass(frozen=True)
class Lying(Perturbed):
    def solve(self, problem, controls):
        return replace(super().solve(problem, controls), problem=Liar(problem))


@dataclass(frozen=True)
class Flattering(Mixture):
    """The right answer with a certificate that belittles the error of any other."""

    def solve(self, problem, controls):
        stated = Liar(problem)
        stated.certificate = lambda answer: Certificate(1e-3 * problem.certificate(answer).gap, 0)
        return replace(super().solve(problem, controls), problem=stated)


@dataclass(frozen=True)
class HalfStep(SimplexQP):
    """Solves for 1/tau where 1/(2 tau) is meant."""

    def solve(self, problem, controls):
        halved = jko.ProxProblem(
            problem.energy, problem.geometry, problem.previous, problem.tau / 2
        )
        answer = super().solve(halved, controls)
        return Answer(answer.measure, problem, answer.iterations)


@pytest.mark.parametrize(
    ("solver", "problem", "sentence"),
    [
        (Perturbed(), mmd_shared(), "not certified"),
        (Lying(), mmd_shared(), "is beaten by"),
        (Flattering(), mmd_shared(), "less than what it is worse by"),
        (HalfStep(), mmd_apart(), "not certified"),
        (Mixture(), mmd_apart(), "refuses the problem"),
    ],
)
def test_wrong_solver(solver, problem, sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_solver(solver, problem)
