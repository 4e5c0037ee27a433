"""A geometry with a penalty form, a kernel with a profile, a solver in a list of rules."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.optimize import minimize

import jko
from jko.energies import Separable, WeightForm
from jko.prox.stated import Certificate
from jko.solvers import RULES, Answer, ProxSolver
from jko.testing import check_geometry, check_kernel

POINTS = np.linspace(0, 1, 7)[:, None]
BEFORE = jko.Histogram(POINTS, [0.3, 0.2, 0.2, 0.1, 0.1, 0.1, 0.0])
TARGET = jko.Histogram(POINTS, np.full(7, 1 / 7))


@dataclass(frozen=True)
class Bare(jko.Geometry):
    """D^2 = sum (w - w')^2, and nothing else."""

    @property
    def conserves_mass(self):
        return True

    def _sqdistance(self, a, b):
        return float(((a.weights - b.weights) ** 2).sum())


@dataclass(frozen=True)
class Euclidean(Bare):
    """The same with its penalty form."""

    def penalty_form(self, previous):
        w, one = previous.weights, np.ones(previous.n)
        return WeightForm(Separable(-w, {2.0: one}, constant=0.5 * float(w @ w)))


@dataclass(frozen=True)
class Sworn(Euclidean):
    """Certifies everything itself."""

    def certify(self, problem, nu):
        return 0.25, 0.0


@dataclass(frozen=True)
class Doubled(Euclidean):
    """A penalty form without its half."""

    def penalty_form(self, previous):
        return super().penalty_form(previous).scaled(2.0)


@dataclass(frozen=True)
class Formless(Euclidean):
    """A number in place of the form."""

    def penalty_form(self, previous):
        return 3.0


@pytest.mark.parametrize(
    ("geometry", "error", "sentence"),
    [
        (Doubled(), jko.InvalidArgument, "penalty_form of Doubled is .* half of _sqdistance is"),
        (Formless(), jko.InvalidType, "penalty_form of Formless returned float; return a"),
        (Bare(), jko.Unsupported, "Bare has no penalty_form; write penalty_form"),
    ],
)
def test_a_form_that_is_not_that_of_the_distance_certifies_nothing(geometry, error, sentence):
    with pytest.raises(error, match=sentence):
        jko.step(BEFORE, jko.KL(TARGET), 0.3 * geometry, 0.5)
    if geometry == Doubled():
        with pytest.raises(AssertionError, match="is not half its squared distance"):
            check_geometry(geometry, BEFORE, TARGET)


@pytest.mark.parametrize("rate", [1.0, 0.3])
@pytest.mark.parametrize("tau", [0.05, 1.0])
def test_a_geometry_with_a_penalty_form_steps_and_is_certified(tau, rate):
    energy = jko.KL(TARGET) + jko.Potential(lambda x: x[:, 0])
    found = jko.step(BEFORE, energy, rate * Euclidean(), tau)
    assert found.claim is jko.Claim.MINIMISES
    w0 = BEFORE.weights

    def objective(w):
        kl = (w * np.log(w / TARGET.weights)).sum() + w @ POINTS[:, 0]
        return kl + ((w - w0) ** 2).sum() / (2 * tau * rate)

    constraint = {"type": "eq", "fun": lambda w: w.sum() - 1}
    settings = {"bounds": [(1e-12, 1)] * 7, "constraints": constraint, "tol": 1e-14}
    right = minimize(objective, np.full(7, 1 / 7), method="SLSQP", **settings)
    assert found.objective == pytest.approx(right.fun, abs=1e-8)
    assert np.abs(found.measure.weights - right.x).max() < 1e-5


def test_energies_without_curvature_project():
    found = jko.step(BEFORE, jko.Potential(lambda x: x[:, 0]), Euclidean(), 0.2)
    free = BEFORE.weights - 0.2 * POINTS[:, 0]
    shift = min(np.linspace(-1, 1, 200_001), key=lambda s: abs(np.maximum(free + s, 0).sum() - 1))
    assert found.measure.weights == pytest.approx(np.maximum(free + shift, 0), abs=2e-5)


def test_a_geometry_may_bring_its_own_certificate():
    problem = jko.ProxProblem(jko.KL(TARGET), Sworn(), BEFORE, 0.1)
    answer = Answer(BEFORE, problem, 0)
    assert problem.certificate(answer) == Certificate(0.25, 0.0)
    with pytest.raises(jko.StepFailed):  # a quarter is no certificate
        jko.step(BEFORE, jko.KL(TARGET), Sworn(), 0.1)


@dataclass(frozen=True)
class RationalQuadratic(jko.kernels.RadialKernel):
    a: float = 2.0

    def profile(self, sq):
        return (1 + sq / (2 * self.a)) ** (-self.a)


@dataclass(frozen=True)
class Sloped(RationalQuadratic):
    factor: float = 1.0

    def slope(self, sq):
        return -self.factor * (1 + sq / (2 * self.a)) ** (-self.a - 1)


@pytest.mark.parametrize("kernel", [RationalQuadratic(), Sloped()], ids=repr)
def test_a_kernel_needs_a_profile(kernel):
    x = np.random.default_rng(0).normal(size=(20, 2))
    check_kernel(kernel, x)
    mu, pi = jko.Particles(x + 1), jko.Particles(x[::-1])
    energy = jko.MMDEnergy(pi, kernel)
    assert jko.step(mu, energy, jko.Wasserstein(), 1.0).success
    assert jko.step(mu, energy, jko.MMD(kernel), 1.0).success


def test_a_wrong_slope_is_named():
    with pytest.raises(jko.InvalidArgument, match=r"slope of Sloped.* is twice the derivative"):
        Sloped(factor=2.0).gradient(np.zeros((1, 2)), np.ones((1, 2)))


@dataclass(frozen=True)
class Blend(ProxSolver):
    """Formula M1, or something else."""

    off: float = 0.0
    guarantee = "exact"
    default_tol = 1e-9

    def accepts(self, problem):
        return None if isinstance(problem.geometry, jko.MMD) else "takes MMD steps"

    def solve(self, problem, controls):
        eta, previous = problem.step, problem.previous
        w = (eta * problem.energy.target.weights + previous.weights) / (1 + eta)
        w = (1 - self.off) * w + self.off * previous.weights
        return Answer(previous.with_weights(w), problem, iterations=0)


def test_a_solver_of_ones_own_has_the_first_turn_and_no_other_privilege():
    k = jko.kernels.Gaussian(0.3)
    energy, geometry = jko.MMDEnergy(TARGET, k), jko.MMD(k)
    assert jko.step(BEFORE, energy, geometry, 0.5, solver=[Blend(), *RULES]).solver == "Blend"
    wrong = jko.step(BEFORE, energy, geometry, 0.5, solver=[Blend(0.5), *RULES])
    assert wrong.solver != "Blend"
    assert wrong.info["tried"][0]["solver"] == "Blend"
    sol = jko.flow(BEFORE, energy, geometry, tau=0.5, steps=3, solver=[Blend(), *RULES])
    assert {s.substeps[0].solver for s in sol.steps} == {"Blend"}
    hellinger = jko.step(BEFORE, energy, jko.Hellinger(), 0.5, solver=[Blend(), *RULES])
    assert hellinger.solver != "Blend"
