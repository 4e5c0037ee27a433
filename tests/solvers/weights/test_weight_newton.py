"""Steps that mix kernels and separable energies: optimality, references, bounds, bad input."""

import numpy as np
import pytest
from generators import measures

import jko
from jko.energies.conjugate import brackets, bregman, response
from jko.forms.form import Quadratic, WeightForm
from jko.forms.separable import Separable
from jko.prox.duality.certify import certify
from jko.prox.duality.weights import fixed_gap, weight_certificate
from jko.prox.stated import Controls
from jko.solvers import ClosedForm, Conic, SimplexQP, WeightNewton
from jko.solvers.auto import select
from jko.solvers.weights.program import WeightProgram
from jko.status import Breakdown

K = jko.kernels.Gaussian(0.5)
WELL = jko.Potential(lambda x: (x**2).sum(axis=1))
PHI = {f"phi-{p:g}": p for p in (-0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0)}


def pair(n=40, seed=1, mass=1.0, target_mass=None):
    mu = measures.histogram(n, seed=seed, mass=mass)
    return mu, measures.sibling(mu, seed=seed + 1, mass=target_mass)


def energies(mu, pi):
    apart = measures.particles(23, seed=9, mass=mu.mass, shift=0.4)
    kernel = jko.MMDEnergy(apart, K)
    box = jko.BoxConstraint(2.5 * mu.mass / mu.n)
    yield from ((name, jko.PhiDivergence(pi, p=p)) for name, p in PHI.items())
    yield "entropy", jko.Entropy() + WELL
    yield "porous", jko.PorousMedium(m=3) + WELL
    yield "box", box + WELL
    yield "barely", 1e-6 * jko.KL(pi) + WELL
    yield "kernel", kernel + 0.3 * jko.KL(pi)


def take(mu, energy, geometry, tau, **kw):
    return jko.step(mu, energy, geometry, tau, solver=WeightNewton(), **kw)


MIXED = {
    "free": jko.Hellinger(),
    "fixed": jko.Hellinger(mass="fixed"),
    "sphere": jko.SphericalHellinger(),
    "mirror": jko.Divergence(p=1),
    "cubic": jko.Divergence(p=3, mass="free"),
    "reverse": jko.Divergence(p=0),
}


@pytest.mark.parametrize("tau", [1e-3, 1.0, 100.0])
@pytest.mark.parametrize("mass", ["fixed", "free"])
def test_mmd_steps_of_every_energy_are_certified(mass, tau):
    mu, pi = pair(mass=1.7)
    for name, energy in energies(mu, pi):
        if name in ("porous", "box", "barely") and mass == "free" and tau == 100.0:
            continue  # the well removes all mass, or all but e^{-1e6}
        result = take(mu, energy, jko.MMD(K, mass=mass), tau)
        assert result.success, name
        assert result.iterations <= 40, name


@pytest.mark.parametrize("tau", [1e-3, 1.0, 100.0])
@pytest.mark.parametrize("name", MIXED)
def test_kernel_energies_in_the_other_geometries(name, tau):
    mu, pi = pair(mass=1.7)
    kernel = jko.MMDEnergy(measures.particles(23, seed=9, mass=1.7), K)
    box = jko.BoxConstraint(2.5 * mu.mass / mu.n)
    for energy in (kernel, kernel + WELL, kernel + jko.KL(pi), kernel + box):
        if name == "reverse" and energy is not kernel:
            energy = kernel + jko.PhiDivergence(pi, p=0.5)  # p = 0 forbids closed atoms
        result = take(mu, energy, MIXED[name], tau)
        assert result.success
        assert abs(result.gap) <= 1e-9 * max(1.0, abs(result.objective))


@pytest.mark.parametrize("geometry", [jko.MMD(K), jko.MMD(K, mass="free"), *MIXED.values()])
def test_no_competitor_does_better(geometry, rng):
    mu, pi = pair(30)
    energy = jko.PhiDivergence(pi, p=0.5) + 0.5 * jko.MMDEnergy(pi, jko.kernels.Laplace(1.0))
    problem = jko.ProxProblem(energy, geometry, mu, 0.7)
    found = take(mu, energy, geometry, 0.7)
    for size in 10.0 ** rng.uniform(-6, 0, 60):
        w = found.measure.weights * np.exp(size * rng.normal(size=mu.n))
        w += size * rng.exponential(size=mu.n) * (rng.random(mu.n) < 0.2) / mu.n
        if geometry.conserves_mass:
            w *= mu.mass / w.sum()
        assert problem.objective(mu.with_weights(w)) >= found.objective - 1e-9


@pytest.mark.parametrize("backend", ["CLARABEL", "SCS"])
@pytest.mark.parametrize("name", ["phi-0", "phi-1", "phi-2"])
def test_conic_solvers_find_the_same_objective(name, backend):
    mu, pi = pair(40)
    pi = measures.sibling(mu, seed=2, zeros=0)
    energy = jko.PhiDivergence(pi, p=PHI[name])
    ours = take(mu, energy, jko.MMD(K), 1.0)
    theirs = jko.step(mu, energy, jko.MMD(K), 1.0, solver=Conic(backend))
    assert abs(ours.objective - theirs.objective) <= 1e-9 * abs(ours.objective)


def test_optimality_condition():
    """h'(w) + Q w = lam where w > 0, from the public first variation and potential."""
    mu, _ = pair(60)
    energy = jko.KL(measures.sibling(mu, seed=3, zeros=0))
    nu = take(mu, energy, jko.MMD(K), 0.3, tol=1e-13).measure
    slope = energy.first_variation(nu) + jko.MMD(K).potential(nu, mu) / 0.3
    assert np.ptp(slope) < 1e-6
    assert (nu.weights > 0).all()


def test_tiny_kernel_tends_to_the_closed_form():
    mu, pi = pair(50)
    kernel = jko.MMDEnergy(measures.particles(20, seed=5), K)
    exact = jko.step(mu, jko.KL(pi), jko.Hellinger(), 0.8, solver=ClosedForm())
    errors = []
    for c in (1e-2, 1e-4, 1e-6):
        nu = take(mu, jko.KL(pi) + c * kernel, jko.Hellinger(), 0.8, tol=1e-13).measure
        errors.append(np.abs(nu.weights - exact.measure.weights).sum())
    assert errors[1] < 2e-2 * errors[0]
    assert errors[2] < 2e-2 * errors[1]


@pytest.mark.parametrize("tau", [0.1, 10.0])
def test_half_divergence_is_hellinger(tau):
    mu, pi = pair(45)
    energy = jko.MMDEnergy(pi, K) + jko.PhiDivergence(pi, p=2)
    a = take(mu, energy, jko.Divergence(p=0.5), tau, tol=1e-12)
    b = take(mu, energy, jko.Hellinger(mass="fixed"), tau, tol=1e-12)
    assert abs(a.objective - b.objective) < 1e-12
    np.testing.assert_allclose(a.measure.weights, b.measure.weights, atol=1e-8)


def test_vanishing_entropy_tends_to_the_quadratic_program():
    mu, _ = pair(30)
    energy = jko.MMDEnergy(measures.particles(15, seed=4), K)
    exact = jko.step(mu, energy, jko.MMD(K), 1.0, solver=SimplexQP())
    near = take(mu, energy + 1e-9 * jko.KL(mu.with_weights(np.ones(30))), jko.MMD(K), 1.0)
    assert abs(near.objective - exact.objective) < 1e-7


def test_empty_atoms_are_born_where_the_gradient_asks():
    """m' = 0 costs 2/tau per unit of mass in Hellinger: born for large tau, exactly 0 for small."""
    x = np.array([[0.0], [3.0]])
    mu = jko.Histogram(x, [1.0, 0.0])
    energy = jko.MMDEnergy(jko.Histogram(x, [0.0, 1.0]), K)
    small = take(mu, energy, jko.Hellinger(mass="fixed"), 0.5)
    large = take(mu, energy, jko.Hellinger(mass="fixed"), 50.0)
    assert small.measure.weights[1] == 0.0
    assert large.measure.weights[1] > 0.5


def test_weights_of_very_different_scales():
    rng = np.random.default_rng(0)
    mu = measures.histogram(40, seed=6)
    mu = mu.with_weights(10.0 ** rng.uniform(-300, 0, 40))
    pi = mu.with_weights(10.0 ** rng.uniform(-280, 0, 40))
    for energy in (jko.KL(pi), jko.PhiDivergence(pi, p=0.5), jko.KL(pi) + WELL):
        for geometry in (jko.MMD(K), jko.MMD(K, mass="free")):
            assert take(mu, energy, geometry, 1.0).success


@pytest.mark.parametrize(
    ("kernel", "n"),
    [(K, 700), (jko.kernels.Laplace(0.5), 700), (jko.kernels.Energy(), 500)],
    ids=["smooth", "rough", "conditional"],
)
def test_factor_and_dense_systems_agree(kernel, n, monkeypatch):
    from jko.solvers.weights import program as weight_program

    mu, _ = pair(n)
    energy = jko.KL(measures.sibling(mu, seed=3, zeros=0)) + WELL
    fast = take(mu, energy, jko.MMD(kernel), 0.2)
    monkeypatch.setattr(weight_program, "SMALL", 10**6)
    plain = take(mu, energy, jko.MMD(kernel), 0.2)
    assert abs(fast.objective - plain.objective) < 1e-9
    monkeypatch.setattr(weight_program, "SMALL", 10)
    monkeypatch.setattr(weight_program, "STORED_LIMIT", 10)  # the factor is the model
    model = take(mu, energy, jko.MMD(kernel), 0.2)
    assert abs(model.objective - plain.objective) < 1e-9


def test_grids_through_fast_products():
    grid = jko.Grid([-3, -3], [3, 3], (48, 48))
    mu = jko.GridDensity.from_function(lambda x: np.exp(-(x**2).sum(1)), grid, mass=1.0)
    pi = jko.GridDensity.from_function(lambda x: np.exp(-((x - 1) ** 2).sum(1)), grid, mass=1.0)
    assert take(mu, jko.KL(pi), jko.MMD(jko.kernels.Laplace(0.5)), 0.1).success
    assert take(mu, jko.MMDEnergy(pi, K), jko.Hellinger(), 1.0).success


def test_warm_start_and_mass_scales():
    for mass in (1e-6, 1e4):
        mu, pi = pair(30, mass=mass)
        first = take(mu, jko.KL(pi), jko.MMD(K), 1.0 / mass)
        again = take(mu, jko.KL(pi), jko.MMD(K), 1.0 / mass, warm=first.warm)
        assert first.success
        assert again.success
        assert abs(first.measure.mass - mass) < 1e-13 * mass


# ---- the certificate itself


@pytest.mark.parametrize("mass", ["fixed", "free"])
def test_certificate_bounds_the_excess_of_perturbed_answers(mass, rng):
    mu, pi = pair(25, mass=1.3)
    for name, energy in energies(mu, pi):
        if name == "box" and mass == "free":
            continue
        problem = jko.ProxProblem(energy, jko.MMD(K, mass=mass), mu, 0.5)
        best = take(mu, energy, problem.geometry, 0.5, tol=1e-12)
        floor = best.objective - abs(best.gap)
        for size in 10.0 ** rng.uniform(-7, 0, 15):
            w = best.measure.weights * np.exp(size * rng.normal(size=mu.n))
            w = np.minimum(w, problem.total_form.separable.ceiling)
            if mass == "fixed":
                w = _to_mass(w, problem.total_form.separable.ceiling, 1.3)
            gap = weight_certificate(problem.total_form, w, 1.3 if mass == "fixed" else None).gap
            excess = problem.total_form.value(w) - floor
            assert gap is None or gap >= excess - 1e-11 * max(1.0, abs(floor)), name


def _to_mass(w, ceiling, mass):
    for _ in range(200):
        w = np.minimum(w * (mass / w.sum()), ceiling)
    return w


def test_certificate_is_never_smaller_than_zero_and_sharp_at_the_answer():
    mu, pi = pair(40)
    problem = jko.ProxProblem(jko.KL(pi), jko.MMD(K), mu, 1.0)
    found = take(mu, jko.KL(pi), jko.MMD(K), 1.0, tol=1e-13)
    gap = weight_certificate(problem.total_form, found.measure.weights, mu.mass).gap
    assert 0 <= gap + 1e-16 < 1e-13
    moved = found.measure.weights.copy()
    moved[0] += 1e-3
    moved *= mu.mass / moved.sum()
    gap = weight_certificate(problem.total_form, moved, mu.mass).gap
    excess = problem.objective(mu.with_weights(moved)) - found.objective
    assert excess - 1e-14 <= gap <= 100 * excess


@pytest.mark.parametrize("name", ["free", "fixed", "sphere"])
def test_hellinger_certificate_with_a_kernel_part(name, rng):
    """A true bound for perturbed answers, small at the answer (the better of two duals)."""
    mu, pi = pair(25, mass=1.3)
    geometry, kernel = MIXED[name], jko.MMDEnergy(pi, K)
    for energy in (kernel, kernel + jko.KL(pi), kernel + WELL + jko.BoxConstraint(0.2)):
        problem = jko.ProxProblem(energy, geometry, mu, 2.0)
        best = take(mu, energy, geometry, 2.0, tol=1e-11)
        floor = best.objective - abs(best.gap)
        for size in 10.0 ** rng.uniform(-7, 0, 15):
            w = best.measure.weights * np.exp(size * rng.normal(size=mu.n))
            ceiling = problem.form.separable.ceiling
            w = np.minimum(w, ceiling) if name == "free" else _to_mass(w, ceiling, 1.3)
            nu = mu.with_weights(w)
            gap = certify(problem, nu).gap
            assert gap is None or gap >= problem.objective(nu) - floor - 1e-12


def test_brackets_are_fenchel_gaps(rng):
    """h(w) + h*(y) - y w by brute force over a fine grid of weights."""
    mu, pi = pair(12)
    h = (jko.PhiDivergence(pi, p=0.5) + jko.BoxConstraint(2.0) + jko.Entropy()).restrict(mu)
    h = h.separable
    y, w = rng.normal(size=12), rng.uniform(0, 1, 12)
    fine = np.linspace(1e-9, 2.0, 200_001)
    brute = np.empty(12)
    for i in range(12):
        part = h.take(np.array([i]))
        values = np.array([part.linear[0] * fine])[0]
        for p, c in part.powers.items():
            values = values + c[0] * (
                fine * np.log(fine) - fine if p == 1 else fine**p / (p * (p - 1))
            )
        brute[i] = (y[i] * fine - values).max()
    ours = brackets(h, w, y, response(h, y, w))
    np.testing.assert_allclose(ours, h.per_atom(w) + brute - y * w, atol=1e-8)


def test_bregman_does_not_cancel():
    mu, pi = pair(10)
    pi = measures.sibling(mu, seed=2, zeros=0)
    h = jko.PhiDivergence(pi, p=1.5).restrict(mu).separable
    v = np.full(10, 0.1)
    w = v * (1 + 1e-9)
    expected = 0.5 * h.hessian(v) * (w - v) ** 2
    np.testing.assert_allclose(bregman(h, w, v), expected, rtol=1e-6)


def test_multiplier_climbs_from_a_bad_guess():
    mu, pi = pair(30)
    problem = jko.ProxProblem(jko.KL(pi), jko.MMD(K), mu, 1.0)
    form = problem.total_form
    w = take(mu, jko.KL(pi), jko.MMD(K), 1.0).measure.weights
    gap, lam = fixed_gap(form.separable, form.quadratic_gradient(w), w, mu.mass, 0.5)
    assert gap < 1e-10
    assert abs(lam - 0.5) > 1e-2


# ---- bad input


def test_ceilings_that_cannot_carry_the_mass():
    mu, _ = pair(20)
    with pytest.raises(jko.Unsupported, match="less than the mass"):
        take(mu, jko.BoxConstraint(0.01), jko.MMD(K), 1.0)


def test_ceilings_that_just_carry_it_are_the_answer():
    mu, _ = pair(20)
    result = take(mu, jko.BoxConstraint(1 / 20), jko.MMD(K), 1.0)
    np.testing.assert_allclose(result.measure.weights, 1 / 20, rtol=1e-12)


def test_step_that_removes_everything_says_so():
    mu, _ = pair(20)
    energy = jko.BoxConstraint(1.0) + jko.Potential(np.full(20, 5.0))
    with pytest.raises(jko.StepFailed, match="removes all mass"):
        take(mu, energy, jko.MMD(K, mass="free"), 100.0)


class Flat:
    """A quadratic part that does not see the first `blind` atoms."""

    def __init__(self, n, blind):
        self.matrix = np.diag(np.r_[np.zeros(blind), np.ones(n - blind)])

    def matvec(self, v):
        return self.matrix @ v

    def dense(self):
        return self.matrix.copy()

    def diagonal(self):
        return self.matrix.diagonal()


@pytest.mark.parametrize("slope", [-5.0, -1e-3])
def test_unbounded_step_says_so(slope):
    mu = jko.Histogram([[0.0], [1.0], [2.0]], [0.0, 0.6, 0.4])
    separable = Separable(np.array([slope, 3.0, -1.0]), {0.5: np.array([0.0, 1.0, 1.0])})
    form = WeightForm(separable, (Quadratic(K, Flat(3, 1)),))
    with pytest.raises(Breakdown, match="grows without bound"):
        WeightProgram(form, mu, None).solve(Controls(tol=1e-9))


def test_nearly_flat_kernels_still_bound_the_step():
    mu = jko.Histogram([[0.0], [1.0], [2.0]], [0.3, 0.3, 0.4])
    energy = 1e-12 * jko.MMDEnergy(mu, K) + jko.Potential([-5.0, 0.0, 0.0])
    assert take(mu, energy, jko.Hellinger(), 1.0).success


def test_refusals():
    mu, pi = pair(20)
    for energy, geometry, match in (
        (jko.MMDEnergy(pi, K), jko.MMD(K), "quadratic program"),
        (jko.KL(pi), jko.Hellinger(), "no kernel part"),
        (jko.KL(pi), jko.Wasserstein(), "WeightNewton takes"),
    ):
        with pytest.raises(jko.Unsupported, match=match):
            take(mu, energy, geometry, 1.0)
    big = measures.histogram(50_000, seed=1)
    with pytest.raises(jko.Unsupported, match="exceed its limit"):
        take(big, jko.KL(big), jko.MMD(jko.kernels.Energy()), 1.0)


def test_auto_finds_it():
    mu, pi = pair(20)
    for energy, geometry in (
        (jko.KL(pi), jko.MMD(K)),
        (jko.MMDEnergy(pi, K), jko.Hellinger()),
        (jko.MMDEnergy(pi, K), jko.SphericalHellinger()),
        (jko.MMDEnergy(pi, K), jko.Divergence(p=1)),
    ):
        assert select(jko.ProxProblem(energy, geometry, mu, 1.0)) == WeightNewton()


@pytest.mark.parametrize("mass", ["fixed", "free"])
@pytest.mark.parametrize("least", [1e-16, 1e-42, 1e-301])
def test_atoms_that_cost_without_bound(mass, least):
    """A target weight of 1e-301 makes a unit of mass there cost 1e300; the others are unaffected.

    Without such atoms the step is the same to rounding, so its objective is the rival.
    """
    mu, _ = pair(8, seed=3)
    target = np.full(8, 1 / 8)
    target[::3] = least
    rest = np.flatnonzero(target > least)
    mu = mu.with_weights(np.full(8, 1 / 8))
    step = take(mu, jko.PhiDivergence(mu.with_weights(target), p=2), jko.MMD(K, mass=mass), 1.0)
    small = jko.PhiDivergence(mu.with_weights(np.where(target > least, target, 0.0)), p=2)
    other = take(mu, small, jko.MMD(K, mass=mass), 1.0)
    assert step.gap <= 1e-12
    assert other.gap <= 1e-12
    assert abs(step.objective - other.objective) <= 1e-12 + 10 * least
    np.testing.assert_allclose(step.measure.weights[rest], other.measure.weights[rest], rtol=1e-6)


def test_the_empty_measure_is_said_to_be_the_minimiser():
    """A potential that outweighs D_2 at every weight leaves no mass."""
    mu, _ = pair(5, seed=3)
    energy = jko.Potential(np.full(5, 10.0)) + jko.MMDEnergy(mu.with_weights(mu.weights * 1e-9), K)
    result = take(mu, energy, jko.Divergence(p=2, mass="free"), 1.0, throw=False)
    assert result.status is jko.Status.EMPTY


def test_the_last_units_of_mass_go_where_there_is_room():
    """An atom that reaches its ceiling leaves the rest to the others."""
    from jko.solvers.hellinger.multiplier import rescale

    ceiling = np.array([1.0, 1.0, 5.0])
    w = rescale(np.array([1 - 1e-10, 0.9, 1.0]), ceiling, 3.5)
    np.testing.assert_allclose(w.sum(), 3.5, rtol=1e-15)
    assert (w <= ceiling).all()
    np.testing.assert_array_equal(w[:2], 1.0)


@pytest.mark.parametrize("tau", [1e-5, 1e-3])
def test_short_free_steps_are_certified_to_the_tolerance(tau):
    """The gap of an exact step is no more than the rounding of what is left of K / tau."""
    mu = jko.Histogram([[0.0], [0.3], [2.0]], [1.0, 0.0, 1e-9])
    step = jko.step(mu, jko.Potential(np.array([0.1, 0.2, 0.3])), jko.MMD(K, mass="free"), tau)
    assert step.gap <= 1e-9 * abs(step.objective)
