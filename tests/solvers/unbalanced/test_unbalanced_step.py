"""Unsplit Wasserstein-Fisher-Rao steps: a conic oracle, exact cases, certificate, equilibrium."""

import warnings
from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
from generators import measures

import jko
from jko.prox.stated import Controls
from jko.solvers import UnbalancedScaling
from jko.solvers.unbalanced.stated import UnbalancedStep

KERNEL = jko.kernels.Gaussian(1.0)
WFR = jko.WassersteinFisherRao(0.7, 1.3)


def line(n=120, at=0.8, width=0.7, mass=0.6):
    grid = jko.Grid(-4.0, 4.0, n)
    return jko.GridDensity.from_function(
        lambda x: np.exp(-((x[:, 0] - at) ** 2) / (2 * width**2)), grid, mass=mass
    )


def compact(n=26, mass=1.3):
    """Half of the cells are empty; the mass must move into them."""
    mu = line(n, at=-1.0, width=1.0, mass=mass)
    x = mu.grid.points[:, 0]
    return mu.with_weights(np.where(np.abs(x + 1) < 2, mu.weights, 0.0))


def unregularised(mu, energy, geometry, tau):
    """The step itself, by Clarabel: semi-couplings and the conic form of the energy."""
    w = cp.Variable(mu.n)
    value, constraints = energy.restrict(mu).conic(w)
    moved, more = geometry.conic(w, mu)
    objective = value + moved / (2 * tau * geometry.rate)
    program = cp.Problem(cp.Minimize(objective), [*constraints, *more])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program.solve(solver="CLARABEL", tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
    return float(program.solution.opt_val), np.maximum(w.value, 0)


ENERGIES = {
    "kl": lambda mu: jko.KL(mu.with_weights(np.linspace(1, 3, mu.n) / mu.n)),
    "inclusive": lambda mu: jko.InclusiveKL(mu.with_weights(np.linspace(1, 3, mu.n) / mu.n)),
    "chi2": lambda mu: jko.PhiDivergence(mu.with_weights(np.linspace(1, 3, mu.n) / mu.n), p=2),
    "drift": lambda mu: jko.Potential(lambda x: 0.5 * (x[:, 0] - 1) ** 2) + 0.1 * jko.Entropy(),
    "mmd": lambda mu: jko.MMDEnergy(mu.with_weights(np.linspace(1, 3, mu.n) / mu.n), KERNEL),
    "mmd-kl": lambda mu: ENERGIES["kl"](mu) + 3 * ENERGIES["mmd"](mu),
    "box": lambda mu: jko.Potential(lambda x: np.abs(x[:, 0] - 1)) + jko.BoxConstraint(0.4),
}


@pytest.mark.parametrize("rate", [1.0, 0.4])
@pytest.mark.parametrize("name", ENERGIES)
def test_against_the_unregularised_conic_program(name, rate):
    """The true excess of the answer is below its bound, which vanishes with reg."""
    mu, tau = compact(), 0.5
    energy, geometry = ENERGIES[name](mu), rate * WFR
    best, w = unregularised(mu, energy, geometry, tau)
    problem = jko.ProxProblem(energy, geometry, mu, tau)
    biases = []
    for reg in (3e-2, 1e-3):
        r = jko.step(mu, energy, geometry, tau, solver=UnbalancedScaling(reg))
        excess = problem.objective(r.measure) - best
        assert -1e-7 <= excess <= r.info["bias_reg"] + 1e-7
        biases.append(r.info["bias_reg"])
    assert biases[1] < 0.1 * biases[0]
    assert biases[1] < 2e-3
    if name != "mmd":  # a kernel alone does not identify the weights
        assert np.abs(r.measure.weights - w).sum() < 0.03 * w.sum()


def test_one_atom_is_a_hellinger_step():
    """Whatever eps: a single atom pays (4/beta)(sqrt w - sqrt m')^2 exactly."""
    mu, pi = jko.Histogram([[0.0, 1.0]], [0.3]), jko.Histogram([[0.0, 1.0]], [2.0])
    for reg in (0.2, 1e-2, 1e-4):
        found = jko.step(mu, jko.KL(pi), WFR, 0.4, solver=UnbalancedScaling(reg), tol=1e-13)
        exact = jko.step(mu, jko.KL(pi), 1.3 * jko.Hellinger(), 0.4)
        np.testing.assert_allclose(found.measure.weights, exact.measure.weights, rtol=1e-6)
        assert found.sqdistance == pytest.approx(exact.sqdistance, rel=1e-6)


def test_atoms_beyond_the_cut_take_hellinger_steps():
    points = 10.0 * np.arange(7)[:, None]
    mu = jko.Histogram(points, measures.weights(7, seed=1, mass=1.3))
    energy = jko.KL(mu.with_weights(np.full(7, 0.2))) + jko.Potential(lambda x: 0.01 * x[:, 0])
    found = jko.step(mu, energy, WFR, 0.4, tol=1e-11)
    exact = jko.step(mu, energy, 1.3 * jko.Hellinger(), 0.4)
    np.testing.assert_allclose(found.measure.weights, exact.measure.weights, rtol=1e-5)


def test_a_multiple_of_the_target_only_changes_its_mass():
    """No transport between proportional measures: the Hellinger step, and its mass equation."""
    pi = line(at=0.0, width=1.0, mass=1.5)
    mu = pi.with_weights(3 * pi.weights)
    found = jko.step(mu, jko.KL(pi), WFR, 0.2, tol=1e-11)
    exact = jko.step(mu, jko.KL(pi), 1.3 * jko.Hellinger(), 0.2)
    np.testing.assert_allclose(found.measure.weights, exact.measure.weights, rtol=1e-5)


def test_mass_obeys_its_differential_equation():
    """h = log(z/z_pi): h' = -beta (h + KL(nu | nu_pi)) for KL on M+ (formula mass)."""
    pi, mu = line(at=0.0, width=1.0, mass=1.5), line()
    shape = jko.KL(pi.with_weights(pi.weights / pi.mass))
    h = np.log(mu.mass / pi.mass)
    slope = -1.3 * (h + shape.value(mu.with_weights(mu.weights / mu.mass)))
    errors = []
    for tau in (0.02, 0.01):
        new = jko.step(mu, jko.KL(pi), WFR, tau).measure
        errors.append(abs((np.log(new.mass / mu.mass) / tau) - slope))
    assert errors[1] < 0.02 * abs(slope)
    assert errors[1] < 0.6 * errors[0]


@pytest.mark.parametrize("tau", [1.0, 0.1, 0.01])
@pytest.mark.parametrize("name", ["kl", "inclusive", "chi2"])
def test_equilibrium_is_kept(name, tau):
    pi = line(at=0.0, width=1.0, mass=1.5)
    energy = {"kl": jko.KL, "inclusive": jko.InclusiveKL, "chi2": jko.PhiDivergence}[name](pi)
    found = jko.step(pi, energy, WFR, tau)
    np.testing.assert_allclose(found.measure.weights, pi.weights, rtol=1e-7)
    assert found.info["bias_reg"] <= 1e-9


@pytest.mark.parametrize("other", ["moved", "wider", "heavier"])
def test_the_metric_is_second_order_in_eps(other):
    mu = line(320, at=0.0, width=1.0, mass=1.0)
    nu = {
        "moved": line(320, at=0.1, width=1.0, mass=1.0),
        "wider": line(320, at=0.0, width=1.1, mass=1.0),
        "heavier": line(320, at=0.1, width=1.0, mass=1.2),
    }[other]
    problem = jko.ProxProblem(jko.KL(mu), jko.WassersteinFisherRao(1.0, 0.5), mu, 0.1)
    values = []
    for eps in (0.02, 0.01, 0.005):
        stated = UnbalancedStep(problem, eps)
        values.append(stated.penalty(stated.optimal_plan(nu.weights)))
    ratio = (values[0] - values[1]) / (values[1] - values[2])
    assert ratio == pytest.approx(4, rel=0.1)
    assert abs(values[1] - values[2]) < 2e-3 * values[2]


def test_certificate_bounds_and_catches():
    """Any potential bounds the excess; a corrupted measure is never certified."""
    mu, pi = compact(40), line(40, at=0.0, width=1.0, mass=1.5)
    solver, controls = UnbalancedScaling(0.01), Controls(1e-8)
    problem = jko.ProxProblem(jko.KL(pi), WFR, mu, 0.3)
    answer = solver.solve(problem, controls)
    stated = answer.problem
    rng = np.random.default_rng(0)
    for size in (1e-4, 1e-2, 0.3):
        psi = answer.dual["psi"] + size * rng.normal(size=stated.m.size)
        nu = mu.with_weights(answer.measure.weights * np.exp(size * rng.normal(size=mu.n)))
        excess = stated.objective(nu) - answer.objective
        same = replace(answer, measure=nu, objective=None)
        assert stated.certificate(same).gap >= excess - 1e-11
        both = replace(same, dual={"psi": psi})
        assert stated.certificate(both).gap >= excess - 1e-11
        assert excess > 0
    heavier = replace(answer, measure=mu.with_weights(1.01 * answer.measure.weights))
    assert stated.certificate(heavier).gap > 1e-6


def test_objective_of_the_answer_is_that_of_its_weights():
    """The plan reported with the answer is the optimal one of its weights."""
    mu, pi = line(60), line(60, at=0.0, width=1.0, mass=1.5)
    r = jko.step(mu, jko.KL(pi), WFR, 0.1)
    stated = UnbalancedStep(jko.ProxProblem(jko.KL(pi), WFR, mu, 0.1), r.info["reg"])
    assert stated.objective(r.measure) == pytest.approx(r.objective, abs=1e-9)
    assert stated.objective(mu) == pytest.approx(r.baseline, abs=1e-9)
    assert r.objective <= r.baseline
    moved = (r.objective - r.energy) * 2 * 0.1
    assert r.sqdistance == pytest.approx(moved, rel=1e-9)


def test_warm_starts_are_plain_and_useful():
    mu, pi = line(), line(at=0.0, width=1.0, mass=1.5)
    first = jko.step(mu, jko.KL(pi), WFR, 0.02)
    cold = jko.step(first.measure, jko.KL(pi), WFR, 0.02)
    warm = jko.step(first.measure, jko.KL(pi), WFR, 0.02, warm=first.warm)
    assert warm.iterations < cold.iterations
    np.testing.assert_allclose(warm.measure.weights, cold.measure.weights, atol=1e-7)
    assert all(isinstance(v, np.ndarray) for v in first.warm.values())
    other = jko.step(line(60), jko.KL(line(60)), WFR, 0.02, warm=first.warm)
    assert other.success


@pytest.mark.parametrize("tau", [0.02, 0.5, 5.0])
def test_kernel_energies_meet_their_certificate(tau):
    """The weights of an MMD step by Newton's method, from flat energies to stiff ones."""
    mu, pi = line(60), line(60, at=0.0, width=1.0, mass=1.5)
    for energy in (jko.MMDEnergy(pi, KERNEL), jko.KL(pi) + 10 * jko.MMDEnergy(pi, KERNEL)):
        found = jko.step(mu, energy, WFR, tau)
        assert found.objective < found.baseline
        kept = jko.step(pi, energy, WFR, tau, tol=1e-11).measure
        assert energy.value(kept) <= 1e-9


def test_two_dimensions_and_a_flow():
    grid = jko.Grid([-3, -3], [3, 3], [20, 20])
    bump = lambda c, s: lambda x: np.exp(-((x - c) ** 2).sum(axis=1) / (2 * s**2))
    mu = jko.GridDensity.from_function(bump(0.7, 0.6), grid, mass=0.7)
    pi = jko.GridDensity.from_function(bump(0.0, 1.0), grid, mass=1.5)
    sol = jko.flow(mu, jko.KL(pi), jko.WassersteinFisherRao(), tau=0.1, steps=4)
    assert all(np.diff(sol.energies) < 0)
    assert all(s.success for s in sol.steps)


def test_refusals_name_the_remedy():
    x = measures.particles(9, 2, seed=1)
    with pytest.raises(jko.Unsupported, match="split step"):
        jko.step(x, jko.Potential(lambda x: x[:, 0]), WFR, 0.1)
    mu = measures.histogram(seed=1)
    with pytest.raises(jko.Unsupported, match="not convex in the weights; take the split step"):
        jko.step(mu, jko.Interaction(lambda z: np.cos(3 * z[..., 0]) - 1), WFR, 0.1)
    with pytest.raises(jko.Unsupported, match="takes steps of"):
        jko.step(mu, jko.KL(mu), jko.Hellinger(), 0.1, solver=UnbalancedScaling())
    big = jko.Histogram(np.linspace(0, 1, 3001)[:, None], np.ones(3001))
    with pytest.raises(jko.Unsupported, match="at most 3000 atoms"):
        jko.step(big, jko.KL(big), WFR, 0.1)
    with pytest.raises(jko.JkoError, match="reg"):
        UnbalancedScaling(reg=0)
    with pytest.raises(jko.StepFailed, match="reduce tau"):
        jko.step(mu, jko.Potential(lambda x: -3 + 0 * x[:, 0]), WFR, 0.7)


def test_the_distance_is_that_of_the_returned_histogram():
    mu = jko.Histogram(compact().points, compact().weights)
    energy = ENERGIES["kl"](mu)
    for rate in (1.0, 0.4):
        r = jko.step(mu, energy, rate * WFR, 0.5, solver=UnbalancedScaling(3e-2))
        exact = (rate * WFR).sqdistance(r.measure, mu)
        assert r.sqdistance == pytest.approx(exact, rel=1e-6)
    assert jko.step(mu, energy, WFR, 0.5, solver=UnbalancedScaling(bound=False)).bias is None


def test_the_bound_of_a_regularised_plan_holds_too(monkeypatch):
    from jko.solvers.unbalanced import bias

    mu = compact()
    energy, sharp, rough = ENERGIES["kl"](mu), [], []
    for reg in (3e-2, 1e-2, 3e-3):
        r = jko.step(mu, energy, WFR, 0.5, solver=UnbalancedScaling(reg))
        sharp.append(r.info["bias_reg"])
    monkeypatch.setattr(bias, "MAX_PAIRS", 0)
    for reg in (3e-2, 1e-2, 3e-3):
        r = jko.step(mu, energy, WFR, 0.5, solver=UnbalancedScaling(reg))
        assert r.info["bias_kind"] == bias.ROUGH
        rough.append(r.info["bias_reg"])
    assert all(a <= b + 1e-12 for a, b in zip(sharp, rough, strict=True))
    assert rough[2] < 0.3 * rough[0]


def test_an_accuracy_lowers_the_regularisation_or_says_what_was_reached():
    mu = jko.Histogram(compact().points, compact().weights)
    energy = ENERGIES["kl"](mu)
    plain = jko.step(mu, energy, WFR, 0.5, solver=UnbalancedScaling())
    asked = 0.1 * plain.bias / (plain.baseline - plain.objective)
    found = jko.step(mu, energy, WFR, 0.5, solver=UnbalancedScaling(), accuracy=asked)
    assert found.info["reg"] < plain.info["reg"]
    assert found.bias + found.gap <= asked * (found.baseline - found.objective)
    fixed = UnbalancedScaling(plain.info["reg"])
    missed = jko.step(mu, energy, WFR, 0.5, solver=fixed, accuracy=asked, throw=False)
    assert not missed.success
    assert "use jko.solvers.UnbalancedProgram(max_atoms=26)" in missed.message


@pytest.mark.parametrize("name", ["kl", "chi2", "mmd"])
@pytest.mark.parametrize(("mass", "length", "cost"), [(1e-6, 1e3, 1.0), (1e6, 1.0, 1e-3)])
def test_units_change_nothing(name, mass, length, cost):
    """Formula B2: masses, lengths, and the energy together with the penalty."""
    mu, tau = jko.Histogram(compact().points, compact().weights), 0.5
    pi = mu.with_weights(np.linspace(1, 3, mu.n) / mu.n)
    moved = jko.Histogram(length * mu.points, mass * mu.weights)
    goal = moved.with_weights(mass * pi.weights)
    kernels = [jko.kernels.Gaussian(0.5 * unit) for unit in (1.0, length)]
    make = {"kl": lambda m, k: jko.KL(m), "chi2": lambda m, k: jko.PhiDivergence(m, p=2)}
    make["mmd"] = jko.MMDEnergy
    here = jko.step(mu, make[name](pi, kernels[0]), WFR, tau, tol=1e-9)
    unit = mass if name == "mmd" else 1.0
    G = jko.WassersteinFisherRao(WFR.alpha * length**2, WFR.beta)
    energy = cost * make[name](goal, kernels[1])
    there = jko.step(moved, energy, G, tau / (cost * unit), tol=1e-9)
    gap = np.abs(there.measure.weights / mass - here.measure.weights).sum()
    assert gap <= 1e-6 * mu.mass
