"""Explicit steps: what they promise, what they do, and what they refuse."""

from functools import partial

import numpy as np
import pytest
from generators import measures

import jko
from jko.kernels import Gaussian
from jko.solvers import (
    BirthDeath,
    Controls,
    Euler,
    Kernelised,
    Langevin,
    Multiplicative,
    ProjectedWeights,
    Tempering,
)
from jko.solvers.particles.projected import project_simplex
from jko.solvers.particles.stated import Search

K = Gaussian(0.8)
W2, SHE = jko.Wasserstein(), jko.SphericalHellinger()


def clouds(n=17, m=9, zeros=2, mass=1.0):
    mu = measures.particles(n, 2, seed=1, mass=mass, zeros=zeros)
    return mu, measures.particles(m, 2, seed=2, mass=mass)


@pytest.mark.parametrize("mass", [1.0, 3.0])
def test_euler_moves_every_particle_by_its_velocity(mass):
    """x - s grad f with no factor of the weight, also where the weight is zero."""
    mu, pi = clouds(mass=mass)
    energy = jko.MMDEnergy(pi, K)
    out = jko.step(mu, energy, 2.0 * W2, 0.01, solver=Euler(armijo=False))
    velocity = -(K.embed_gradient(mu, mu.points) - K.embed_gradient(pi, mu.points))
    assert out.measure.points == pytest.approx(mu.points + 0.02 * velocity, abs=1e-14)
    assert np.array_equal(out.measure.weights, mu.weights)
    assert out.gap <= 1e-15
    assert out.sqdistance == pytest.approx(2e-4 * (mu.weights @ (velocity**2).sum(1)), rel=1e-10)
    assert out.info["decrease"] == pytest.approx(energy.value(mu) - out.energy)


def test_the_linearised_problem_has_an_exact_gap():
    """What another measure is worse by, in the problem that a fixed-length step states."""
    mu, pi = clouds()
    rng = np.random.default_rng(0)
    problem = jko.ProxProblem(jko.MMDEnergy(pi, K), W2, mu, 0.3)
    answer = Euler(armijo=False).solve(problem, Controls(tol=1e-9))
    stated = answer.problem
    best = stated.objective(answer.measure)
    for size in 10.0 ** rng.uniform(-3, 0, 20):
        other = mu.with_points(answer.measure.points + size * rng.normal(size=mu.points.shape))
        claim = stated.certificate(type(answer)(other, stated, 0))
        assert claim.gap == pytest.approx(stated.objective(other) - best, rel=1e-8, abs=1e-14)


@pytest.mark.parametrize("sufficient", [0.1, 0.5, 0.9])
def test_armijo_keeps_its_promise(sufficient):
    mu, pi = clouds()
    energy = jko.MMDEnergy(pi, K)
    out = jko.step(mu, energy, W2, 500.0, solver=Euler(sufficient=sufficient))
    slope = energy.wasserstein_gradient(mu)
    promised = sufficient * out.info["step"] * (mu.weights @ (slope**2).sum(1))
    assert out.energy <= energy.value(mu) - promised
    assert out.residual == 0
    assert out.gap is None
    assert out.info["evaluations"] > 1
    assert out.info["step"] == 500.0 * 0.5 ** (out.info["evaluations"] - 1)
    assert out.warm["length"] == pytest.approx(1.1 * out.info["step"])


@pytest.mark.parametrize("factor", [-1.0, 3.0])
def test_a_force_that_is_no_gradient_is_a_failure(factor):
    """A promise that no step length keeps, down to rounding, whoever believes the gradient."""
    mu = jko.Particles([[1.0], [2.0]])
    energy = jko.Potential(lambda x: (x**2).sum(1), gradient=lambda x: 2 * x)

    def propose(length):
        slope = factor * energy.wasserstein_gradient(mu)
        promised = 0.5 * length * float(mu.weights @ (slope**2).sum(1))
        return mu.with_points(mu.points - length * slope), promised

    found = Search(energy, mu, energy.value(mu), propose).run(0.1)
    assert found.stalled
    assert not found.at_rest
    assert found.trial.promised > 0
    assert found.trial.measure is mu


def test_a_false_promise_fails_the_certificate():
    """The checker with a wrong answer: F fell by less than promised."""
    mu, pi = clouds()
    problem = jko.ProxProblem(jko.MMDEnergy(pi, K), W2, mu, 0.3)
    answer = Euler().solve(problem, Controls(tol=1e-9))
    assert answer.problem.certificate(answer).residual == 0
    stay = type(answer)(mu, answer.problem, 0)
    assert answer.problem.certificate(stay).residual == pytest.approx(1.0)
    assert not answer.problem.certificate(stay).meets(1e-9, 1.0)


def test_at_the_target_nothing_moves():
    mu, _ = clouds()
    for solver in (Euler(), Euler(accelerate=True), Euler(armijo=False)):
        out = jko.step(mu, jko.MMDEnergy(mu, K), W2, 1.0, solver=solver)
        assert out.measure.points == pytest.approx(mu.points, abs=1e-14)
    for solver in (Multiplicative(), ProjectedWeights()):
        out = jko.step(mu, jko.MMDEnergy(mu, K), SHE, 1.0, solver=solver)
        assert out.measure.weights == pytest.approx(mu.weights, abs=1e-15)


@pytest.mark.parametrize("mass", [1.0, 2.5])
@pytest.mark.parametrize(
    ("geometry", "solver"),
    [
        (SHE, Multiplicative()),
        (jko.Hellinger(mass="fixed"), Multiplicative()),
        (jko.Hellinger(), Multiplicative()),
        (jko.Divergence(p=1), Multiplicative()),
        (SHE, ProjectedWeights()),
        (jko.MMD(K), ProjectedWeights()),
    ],
)
def test_weight_steps_of_safe_length_are_taken_at_once(geometry, solver, mass):
    """Step <= 1/(m max k): monotone without a single halving, far from the target and near it."""
    mu, pi = clouds(mass=mass)
    energy = jko.MMDEnergy(pi, K)
    for nu in (mu, mu.with_points(mu.points + 3), pi.with_weights(measures.weights(9, 5, mass))):
        out = jko.step(nu, energy, geometry, 1 / mass, solver=solver)
        assert out.info["evaluations"] == 1
        assert out.residual == 0
        assert out.energy <= energy.value(nu) - out.info["promised"]
        assert out.info["promised"] > 0
        if geometry.conserves_mass:
            assert out.measure.mass == pytest.approx(mass, rel=1e-13)


def test_multiplicative_weights_from_the_definition():
    """Among all weights, exp(-s f) minimises <f, w> + KL(w|w')/s; the promise is that minimum."""
    mu, pi = clouds()
    energy, s = jko.MMDEnergy(pi, K), 0.7
    f = energy.first_variation(mu)
    live = mu.weights > 0

    def model(w):
        rel = np.where(live, w * np.log(np.where(live, w, 1) / np.where(live, mu.weights, 1)), 0)
        return f @ (w - mu.weights) + (rel - w + mu.weights).sum() / s

    rng = np.random.default_rng(3)
    for geometry in (SHE, jko.Hellinger()):
        out = jko.step(mu, energy, geometry, s, solver=Multiplicative())
        best = model(out.measure.weights)
        assert out.info["promised"] == pytest.approx(-best, rel=1e-9)
        for size in 10.0 ** rng.uniform(-4, 0, 30):
            w = out.measure.weights * np.exp(size * rng.normal(size=mu.n))
            if geometry.conserves_mass:
                w = w / w.sum()
            assert model(w) >= best - 1e-15


def test_projected_weights_from_the_definition():
    mu, pi = clouds()
    energy, s = jko.MMDEnergy(pi, K), 2.0
    f = energy.first_variation(mu)
    length = s / mu.n

    def model(w):
        return f @ (w - mu.weights) + ((w - mu.weights) ** 2).sum() / (2 * length)

    out = jko.step(mu, energy, SHE, s, solver=ProjectedWeights())
    best = model(out.measure.weights)
    assert out.info["promised"] == pytest.approx(-best, rel=1e-9)
    rng = np.random.default_rng(4)
    for _ in range(50):
        w = rng.exponential(size=mu.n) * (rng.random(mu.n) < 0.5)
        mix = rng.random()
        w = (1 - mix) * out.measure.weights + mix * w / w.sum()
        assert model(w) >= best - 1e-15


def test_projection_onto_the_simplex():
    rng = np.random.default_rng(0)
    for scale in (1e-3, 1.0, 1e3):
        v = scale * rng.normal(size=30)
        w = project_simplex(v, 2.0)
        assert w.min() >= 0
        assert w.sum() == pytest.approx(2.0, rel=1e-14)
        # Normal cone: v - w is constant where w > 0 and not larger elsewhere.
        slack = v - w
        level = slack[w > 0].mean()
        assert np.ptp(slack[w > 0]) <= 1e-12 * max(scale, 1)
        assert (slack <= level + 1e-12 * max(scale, 1)).all()


def test_wide_steps_are_halved():
    mu, pi = clouds()
    energy = 50.0 * jko.MMDEnergy(pi, K)
    for solver in (Multiplicative(), ProjectedWeights()):
        out = jko.step(mu, energy, SHE, 20.0, solver=solver)
        assert out.info["evaluations"] > 1
        assert out.energy <= energy.value(mu)


def test_walls_empty_an_atom_and_keep_the_mass():
    walls = jko.Potential(lambda x: np.where(x[:, 0] > 0, np.inf, x[:, 0] ** 2))
    mu = jko.Particles([[1.0], [-1.0], [-2.0]])
    f = np.array([np.inf, 1.0, 4.0])
    from jko.solvers.particles.multiplicative import multiplied

    w, promised = multiplied(mu.weights, f, mu.weights > 0, 1.0, True)
    assert w[0] == 0
    assert w.sum() == pytest.approx(1.0)
    assert w[1] / w[2] == pytest.approx(np.exp(3.0))
    assert promised == 0
    assert np.isinf(walls.value(mu))


def test_noise_injection_feels_the_field_elsewhere():
    """The velocity is -grad f at x + b xi, f the field of the particles where they are."""
    mu, pi = clouds()
    energy, b = jko.MMDEnergy(pi, K), 0.7 * 4**-0.3
    solver = Euler(armijo=False, noise=0.7, noise_decay=0.3)
    out = jko.step(mu, energy, W2, 0.4, solver=solver, rng=5, warm={"count": 3})
    at = mu.points + b * np.random.default_rng(5).standard_normal(mu.points.shape)
    field = K.embed_gradient(mu, at) - K.embed_gradient(pi, at)
    assert out.measure.points == pytest.approx(mu.points - 0.4 * field, abs=1e-13)
    assert out.warm == {"count": 4}


def test_noise_injection_lets_particles_leave_a_flat_region():
    """Arbel et al. (2019): far from the target f is flat, nearer copies of a particle feel it."""
    target = jko.Particles(np.random.default_rng(1).normal(size=(40, 2)))
    start = jko.Particles(np.random.default_rng(2).normal(size=(40, 2)) * 0.3 + [9.0, 0.0])
    energy = jko.MMDEnergy(target, Gaussian(1.0))
    options = {"tau": 1.0, "steps": 400, "rng": 0, "save": "last"}
    noisy = Euler(armijo=False, noise=5.0, noise_decay=0.3)
    plain, first, again = (
        jko.flow(start, energy, 3 * W2, solver=s, **options)
        for s in (Euler(armijo=False), noisy, noisy)
    )
    assert first.energies[-1] <= 0.8 * plain.energies[-1]
    assert first.success
    assert np.array_equal(first.final.points, again.final.points)


def test_bad_warm_starts_are_ignored():
    mu, pi = clouds()
    energy = jko.MMDEnergy(pi, K)
    cold = jko.step(mu, energy, W2, 1.0, solver=Euler(accelerate=True))
    for warm in ("x", {"length": -1.0}, {"length": float("nan")}, {"length": "1"}, {}, np.ones(2)):
        out = jko.step(mu, energy, W2, 1.0, solver=Euler(accelerate=True), warm=warm)
        assert np.array_equal(out.measure.points, cold.measure.points)
    shape = {"length": 1.0, "count": 3, "move": np.ones((3, 3))}
    out = jko.step(mu, energy, W2, 1.0, solver=Euler(accelerate=True), warm=shape)
    assert np.array_equal(out.measure.points, cold.measure.points)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Euler(noise=0.1), "armijo=False"),
        (lambda: Euler(armijo=False, noise=-1.0), "must not be negative"),
        (lambda: Euler(armijo=False, accelerate=True), "needs armijo=True"),
        (lambda: Euler(sufficient=1.0), "must lie in"),
        (lambda: Euler(grow=0.9), "at least 1"),
    ],
)
def test_settings_are_checked(make, sentence):
    with pytest.raises(jko.InvalidArgument, match=sentence):
        make()


@pytest.mark.parametrize(
    ("solver", "geometry", "kind", "sentence"),
    [
        (Euler(), SHE, "particles", r"jko.Wasserstein\(\)"),
        (Euler(), W2, "histogram", "moves jko.Particles"),
        (Multiplicative(), W2, "particles", "jko.SphericalHellinger"),
        (Multiplicative(), jko.MMD(K), "particles", "jko.SphericalHellinger"),
        (ProjectedWeights(), jko.Hellinger(), "particles", "mass='fixed'"),
        (ProjectedWeights(), W2, "particles", "takes the place"),
    ],
)
def test_refusals(solver, geometry, kind, sentence):
    make = jko.Particles if kind == "particles" else jko.Histogram
    mu = make([[0.0, 1.0], [1.0, 0.0]], [0.5, 0.5])
    with pytest.raises(jko.Unsupported, match=sentence):
        jko.step(mu, jko.MMDEnergy(clouds()[1], K), geometry, 0.1, solver=solver)


def test_auto_never_chooses_an_explicit_step():
    from jko.solvers.auto import AUTO

    assert not any(isinstance(s, (Euler, Multiplicative, ProjectedWeights)) for s in AUTO)


@pytest.mark.parametrize("length", [1e8, 1e300])
def test_a_first_step_out_of_all_proportion_is_halved(length):
    """Where F cannot be computed, or no number is left: that is no decrease."""
    mu, pi = clouds()
    energy = 1e10 * jko.MMDEnergy(pi, K, sums=jko.kernels.FastSums(backend="grid"))
    out = jko.step(mu, energy, W2, length, solver=Euler(), max_iter=2000)
    assert out.success
    assert out.energy < energy.value(mu)


REFUSED_SCHEMES = [
    (Euler(), W2, ("midpoint", "richardson"), "chooses its step lengths"),
    (Euler(armijo=False), W2, ("midpoint",), "no midpoint"),
    (Euler(armijo=False, noise=0.1), W2, ("richardson",), "is random"),
    (Multiplicative(), SHE, ("midpoint", "richardson"), "step lengths"),
    (ProjectedWeights(), SHE, ("midpoint", "richardson"), "step lengths"),
    (Kernelised(K), W2, ("midpoint",), "no midpoint"),
    (Kernelised(K, adaptive=True), W2, ("midpoint", "richardson"), "what it has seen"),
    (Langevin(), W2, ("midpoint", "richardson"), "random"),
    (BirthDeath(), SHE, ("midpoint", "richardson"), "random"),
    (Tempering(jko.Gaussian([0.0], [[1.0]])), W2, ("midpoint", "richardson"), "at random"),
]


@pytest.mark.parametrize(("solver", "geometry", "schemes", "why"), REFUSED_SCHEMES)
def test_steps_that_cannot_be_extrapolated_say_so(solver, geometry, schemes, why):
    """A half step times two only means something where the step is a smooth function of tau."""
    mu = measures.particles(5, 2)
    energy = jko.MMDEnergy(measures.particles(4, 2, seed=1), K)
    for scheme in schemes:
        sentence = rf"scheme = '{scheme}'.*{why}.*; use scheme='implicit'"
        for call in (jko.split_step, partial(jko.flow, steps=1)):
            with pytest.raises(jko.Unsupported, match=sentence) as caught:
                call(mu, energy, geometry, tau=0.1, scheme=scheme, solver=solver)
            assert "\n" not in str(caught.value)


def test_richardson_of_explicit_steps_is_second_order():
    """What is not refused is what it claims to be: errors fall by four when tau is halved."""
    mu = measures.particles(6, 2, seed=1)
    energy = jko.MMDEnergy(measures.particles(5, 2, seed=2), K)
    settings = {"t1": 1.0, "solver": Euler(armijo=False), "save": "last"}
    exact = jko.flow(mu, energy, W2, tau=1 / 512, scheme="richardson", **settings).final.points
    errors = [
        np.abs(
            jko.flow(mu, energy, W2, tau=tau, scheme="richardson", **settings).final.points - exact
        ).max()
        for tau in (0.25, 0.125, 0.0625)
    ]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert orders == pytest.approx(2.0, abs=0.15)
