"""The Hellinger certificate is a bound: for any answer, however wrong, and sharp for good ones."""

import numpy as np
import pytest
from generators import measures

import jko
from jko.prox import ProxProblem
from jko.prox.duality.hellinger import HellingerDual, hellinger_certificate
from jko.prox.judge import judge
from jko.prox.stated import Answer, Controls
from jko.solvers import Conic, DualRoot, SphericalFixedPoint

FREE, FIXED, SPHERE = jko.Hellinger(), jko.Hellinger(mass="fixed"), jko.SphericalHellinger()
TAUS = (1e-3, 0.4, 30.0)


def problem_of(name, geometry, tau, seed=3, mass=1.4):
    mu = measures.histogram(23, seed=seed, mass=mass)
    pi = measures.sibling(mu, seed=seed + 1)
    v = np.random.default_rng(seed).normal(size=mu.n)
    energy = {
        "potential": jko.Potential(np.abs(v)),
        "kl": jko.KL(pi),
        "inclusive": jko.InclusiveKL(pi),
        "half chi2 + V": jko.PhiDivergence(pi, p=2.0) + jko.Potential(v),
        "hellinger": jko.PhiDivergence(pi, p=0.5),
        "mixed": jko.KL(pi) + jko.PhiDivergence(pi, p=1.5) + 0.2 * jko.InclusiveKL(pi),
        "capped": jko.Potential(np.abs(v)) + jko.BoxConstraint(0.2 * mass),
    }[name]
    return ProxProblem(energy, geometry, mu, tau)


NAMES = ("potential", "kl", "inclusive", "half chi2 + V", "hellinger", "mixed", "capped")


def solved(problem):
    solver = SphericalFixedPoint() if problem.geometry == SPHERE else DualRoot()
    return solver.solve(problem, Controls(tol=1e-9)).measure


def perturbed(problem, w, rng):
    """Admissible weights, from a rounding error away to far away."""
    ceiling = problem.form.separable.ceiling
    for size in (1e-12, 1e-7, 1e-4, 1e-2, 0.3, 2.0):
        for _ in range(4):
            other = w * np.exp(size * rng.normal(size=w.size))
            if rng.random() < 0.5:  # give some to small or empty atoms, empty some others
                i, j = rng.choice(w.size, 2, replace=False)
                other[i] += size * w.max()
                other[j] *= 0.0 if rng.random() < 0.5 else 1e-6
            other = np.minimum(other, ceiling)
            if problem.geometry.conserves_mass:
                room = other < ceiling
                missing = problem.previous.mass - other[~room].sum()
                other[room] *= missing / other[room].sum()
                if (other > ceiling).any() or missing < 0:
                    continue
            yield other


@pytest.mark.parametrize("geometry", [FREE, FIXED, SPHERE], ids=repr)
@pytest.mark.parametrize("name", NAMES)
def test_the_gap_bounds_the_excess_of_any_answer(name, geometry, rng):
    for tau in TAUS:
        problem = problem_of(name, geometry, tau)
        best = solved(problem)
        lowest = problem.objective(best)
        tried = 0
        for w in perturbed(problem, best.weights, rng):
            nu = problem.discrete.with_weights(w)
            excess = problem.objective(nu) - lowest
            gap = problem.certificate(Answer(nu, problem, 1)).gap
            rounding = 1e-12 * max(1, abs(lowest))
            assert gap >= -rounding
            if np.isfinite(excess):
                assert gap >= excess - rounding
            else:
                assert not np.isfinite(gap)
            tried += 1
        assert tried >= 8


@pytest.mark.parametrize("geometry", [FREE, FIXED], ids=repr)
@pytest.mark.parametrize("name", NAMES)
def test_the_gap_is_the_excess_near_the_optimum(name, geometry, rng):
    for tau in TAUS:
        problem = problem_of(name, geometry, tau)
        best = solved(problem)
        lowest = problem.objective(best)
        scale = max(1, abs(lowest))
        assert abs(problem.certificate(Answer(best, problem, 1)).gap) < 1e-14 * scale
        for size in (1e-6, 1e-3):
            w = best.weights * np.exp(size * rng.uniform(-1, 0, size=best.n))
            if geometry.conserves_mass and name == "capped":
                continue
            w = w * (best.mass / w.sum()) if geometry.conserves_mass else w
            nu = best.with_weights(w)
            excess = problem.objective(nu) - lowest
            gap = problem.certificate(Answer(nu, problem, 1)).gap
            assert gap <= 1.01 * excess + 1e-12 * scale


def corruptions(w, rng):
    yield "swapped", np.roll(w, 1)
    yield "one atom off", np.where(np.arange(w.size) == w.argmax(), 0.99 * w, w)
    yield "uniform", np.full(w.size, w.mean())
    yield "noise", w * np.exp(1e-2 * rng.normal(size=w.size))
    emptied = w.copy()
    emptied[w.argmax()] = 0.0
    yield "emptied", emptied


@pytest.mark.parametrize("geometry", [FREE, FIXED, SPHERE], ids=repr)
@pytest.mark.parametrize("name", NAMES)
def test_corrupted_answers_are_never_certified(name, geometry, rng):
    solver = DualRoot()
    for tau in TAUS:
        problem = problem_of(name, geometry, tau)
        best = solved(problem)
        for label, w in corruptions(best.weights, rng):
            w = w * (best.mass / w.sum()) if geometry.conserves_mass else w
            answer = Answer(best.with_weights(w), problem, 1)
            result = judge(problem, solver.name, answer, Controls(tol=1e-9), 0.0)
            assert not result.success, (label, tau)


def test_any_multiplier_and_any_weight_give_a_bound():
    """Weak duality itself: the dual value of a wrong multiplier stays below the minimum."""
    problem = problem_of("mixed", FIXED, 0.4)
    best = solved(problem)
    lower, _ = problem.form.linearised(best.weights)
    dual = HellingerDual(lower, best.weights, problem.discrete.weights, 0.4)
    everyone = np.arange(best.n)
    rng = np.random.default_rng(0)
    for lam in rng.normal(size=20):
        assert dual.gap(float(lam)) >= -1e-14
        brackets = dual._brackets(rng.gamma(0.3, size=best.n), float(lam), everyone)
        assert (brackets >= 0).all()


@pytest.mark.parametrize("tau", [1e-6, 1.0, 1e6])
def test_tiny_weights_do_not_spoil_the_bound(tau):
    """Where a Frank-Wolfe gap explodes: weights down to 1e-300, reborn atoms, holes."""
    before = np.array([0.7, 1e-300, 0.0, 1e-160, 0.3, 0.0, 1e-20])
    target = np.array([1e-250, 0.5, 0.3, 1e-9, 0.2, 0.0, 0.0])
    mu = jko.Histogram(np.arange(7.0)[:, None], before)
    for p in (0.0, 0.5, 1.0, 2.0):
        energy = jko.PhiDivergence(mu.with_weights(target), p=p)
        for geometry in (FREE, FIXED, SPHERE):
            found = jko.step(mu, energy, geometry, tau)
            assert abs(found.gap) < 1e-11 * max(1, abs(found.objective))


def test_weights_short_of_their_optimum_at_empty_atoms_cost_what_they_cost():
    """An atom left at 0 that should be reborn: the excess is finite, so is the gap."""
    problem = problem_of("kl", FREE, 0.4)
    best = solved(problem)
    born = (problem.discrete.weights == 0) & (best.weights > 0)
    assert born.any()
    nu = best.with_weights(np.where(born, 0.0, best.weights))
    excess = problem.objective(nu) - problem.objective(best)
    assert problem.certificate(Answer(nu, problem, 1)).gap == pytest.approx(excess, rel=1e-9)


def test_coupled_energies_are_bounded_through_their_tangent(rng):
    mu = measures.histogram(19, seed=3, mass=1.4)
    pi = measures.sibling(mu, seed=4)
    energy = jko.KL(pi) + 2.0 * jko.MMDEnergy(pi, jko.kernels.Gaussian(0.8))
    for geometry in (FREE, FIXED):
        problem = ProxProblem(energy, geometry, mu, 0.5)
        found = jko.step(mu, energy, geometry, 0.5, solver=Conic())
        for size in (1e-5, 1e-2, 0.5):
            w = found.measure.weights * np.exp(size * rng.normal(size=mu.n))
            w = w * (mu.mass / w.sum()) if geometry.conserves_mass else w
            excess = problem.objective(mu.with_weights(w)) - found.objective
            gap = hellinger_certificate(
                problem.form, w, mu.weights, 0.5, geometry.conserves_mass
            ).gap
            assert gap >= excess - 1e-12
