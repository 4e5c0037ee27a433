"""Natural-gradient, mirror, moment and Bures steps on Gaussians, and steps of mixtures."""

import numpy as np
import pytest
from generators import measures
from generators.problems import bent_target, smooth_target
from scipy.optimize import minimize

import jko
from jko.expectations import Cubature, GaussHermite
from jko.geometries.gaussian import gaussian_kl, hellinger_angle, hellinger_square
from jko.solvers import (
    Bures,
    ExactFlow,
    GaussianForwardBackward,
    GaussianImplicit,
    GaussianMirror,
    MixtureTransport,
    MixtureWeights,
    MomentMatching,
    NaturalGradient,
)

W, SHE, KLD = jko.Wasserstein(), jko.SphericalHellinger(), jko.Divergence(p=1)
START, NORMAL = measures.gaussian(2, seed=1), measures.gaussian(2, seed=2)


def as_density(g, gradient=True):
    """The same target, known by its log density (and score) only."""
    return jko.LogDensity(g.log_density_at, g.score if gradient else None, g.dim)


def near(a, b, **options):
    np.testing.assert_allclose(a.mean, b.mean, **options)
    np.testing.assert_allclose(a.cov, b.cov, **options)


@pytest.mark.parametrize("rule", [None, GaussHermite(5), Cubature(200, seed=3)], ids=str)
@pytest.mark.parametrize("gradient", [True, False])
def test_black_boxes_give_the_closed_forms(gradient, rule):
    """A quadratic log density behind function calls: every rule integrates it exactly."""
    energy = jko.KL(as_density(NORMAL, gradient), rule)
    pairs = [
        (SHE, NaturalGradient(), ExactFlow()),
        (KLD, GaussianMirror(), GaussianMirror()),
        (W, GaussianImplicit(), Bures()),
    ]
    for geometry, solver, exact in pairs:
        out = jko.step(START, energy, geometry, 0.7, solver=solver)
        twin = jko.step(START, jko.KL(NORMAL), geometry, 0.7, solver=exact)
        near(out.measure, twin.measure, rtol=1e-7, atol=1e-8)


def test_natural_gradient_is_an_explicit_step_and_says_so():
    out = jko.step(START, jko.KL(smooth_target()), SHE, 0.1)
    assert out.solver == "NaturalGradient"
    assert "not a proximal step" in out.info["kind"]
    fine = jko.flow(START, jko.KL(smooth_target()), SHE, tau=0.4 / 512, t1=0.4, save="last").final
    errors = []
    for tau in (0.1, 0.05, 0.025):
        coarse = jko.flow(START, jko.KL(smooth_target()), SHE, tau=tau, t1=0.4, save="last").final
        errors.append(np.sqrt(2 * gaussian_kl(coarse, fine)))
    assert np.log2(errors[1] / errors[2]) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("solver", [GaussianMirror(), GaussianImplicit()], ids=str)
@pytest.mark.parametrize("target", [smooth_target(), bent_target()], ids=["smooth", "bent"])
def test_implicit_steps_against_brute_force(solver, target):
    geometry = KLD if isinstance(solver, GaussianMirror) else W
    problem = jko.ProxProblem(jko.KL(target), geometry, START, 0.5)
    out = jko.step(START, jko.KL(target), geometry, 0.5, solver=solver)

    def objective(y):
        root = np.array([[np.exp(y[2]), 0.0], [y[3], np.exp(y[4])]])
        return problem.objective(jko.Gaussian(y[:2], root @ root.T))

    root = np.linalg.cholesky(START.cov)
    y = np.array([*START.mean, np.log(root[0, 0]), root[1, 0], np.log(root[1, 1])])
    best = minimize(objective, y, method="BFGS", options={"gtol": 1e-7})
    assert out.objective == pytest.approx(best.fun, rel=1e-6, abs=1e-9)
    np.testing.assert_allclose(out.measure.mean, best.x[:2], atol=1e-4)


def test_gap_of_the_implicit_step_where_the_target_is_log_concave():
    problem = jko.ProxProblem(jko.KL(smooth_target()), W, START, 0.5)
    best = jko.step(START, jko.KL(smooth_target()), W, 0.5)
    assert best.solver == "GaussianImplicit"
    assert best.gap < 1e-12
    loose = jko.step(START, jko.KL(smooth_target()), W, 0.5, max_iter=1, tol=10.0)
    assert loose.gap >= problem.objective(loose.measure) - best.objective > 0
    assert jko.step(START, jko.KL(bent_target()), W, 0.1).gap is None


def test_mirror_step_is_the_geometric_mean():
    """Formula H4 between Gaussians: previous^{1/(1+tau)} target^{tau/(1+tau)}: mean precision."""
    out = jko.step(START, jko.KL(NORMAL), KLD, 0.6).measure
    p, q = np.linalg.inv(START.cov), np.linalg.inv(NORMAL.cov)
    precision = (p + 0.6 * q) / 1.6
    np.testing.assert_allclose(np.linalg.inv(out.cov), precision, rtol=1e-12)
    shift = (p @ START.mean + 0.6 * q @ NORMAL.mean) / 1.6
    np.testing.assert_allclose(precision @ out.mean, shift, rtol=1e-12)


def test_entropy_and_potential_make_the_ornstein_uhlenbeck_step():
    """Formula W3 with kappa = 1: the same step as KL to the standard normal."""
    well = jko.Potential(lambda x: 0.5 * (x**2).sum(axis=1), gradient=lambda x: x)
    out = jko.step(START, jko.Entropy() + well, W, 0.3).measure
    near(out, jko.step(START, jko.KL(jko.Gaussian([0, 0], np.eye(2))), W, 0.3).measure, rtol=1e-9)


def test_forward_backward_keeps_the_equilibrium_and_refuses_to_overshoot():
    energy, solver = jko.KL(as_density(NORMAL)), GaussianForwardBackward()
    near(jko.step(NORMAL, energy, W, 0.1, solver=solver).measure, NORMAL, rtol=1e-10)
    with pytest.raises(jko.StepFailed, match="the explicit half overshoots"):
        jko.step(START, energy, W, 30.0, solver=solver)


@pytest.mark.parametrize("mass", ["fixed", "free"])
def test_moments_of_the_mixture(mass):
    """Formula G3: mean and covariance of (tau pi + previous)/(1 + tau), and nothing does better."""
    pi, tau = measures.mixture(), 0.7
    out = jko.step(START, jko.InclusiveKL(pi), jko.Divergence(p=0, mass=mass), tau)
    total = tau * pi.mass + START.mass
    mean = (tau * pi.mass * pi.mean + START.mean) / total
    second = tau * pi.mass * (pi.cov + np.outer(pi.mean, pi.mean))
    second = (second + START.cov + np.outer(START.mean, START.mean)) / total
    assert out.solver == "MomentMatching"
    np.testing.assert_allclose(out.measure.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(out.measure.cov, second - np.outer(mean, mean), rtol=1e-12)
    assert out.measure.mass == pytest.approx(1.0 if mass == "fixed" else total / (1 + tau))


def test_step_and_particles_of_the_target_agree_for_large_samples():
    pi = measures.mixture()
    x = jko.Particles(pi.sample(40_000, np.random.default_rng(0)))
    D0 = jko.Divergence(p=0)
    a, b = (jko.step(START, jko.InclusiveKL(t), D0, 1e9).measure for t in (pi, x))
    near(a, b, atol=0.05)
    near(b, x, rtol=1e-6)


def test_gaussian_distances_against_a_grid():
    grid = jko.Grid(-9.0, 9.0, 4000)
    pair = [jko.Gaussian([0.3], [[1.2]], 0.8), jko.Gaussian([-0.5], [[0.5]], 1.3)]
    a, b = (jko.GridDensity.from_density(np.exp(g.log_density_at(grid.points)), grid) for g in pair)
    for p in (0, 0.5, 1):
        D = jko.Divergence(p=p, mass="free")
        assert D.sqdistance(*pair) == pytest.approx(D.sqdistance(a, b), rel=1e-9)
    assert hellinger_square(*pair) == pytest.approx(jko.Hellinger().sqdistance(a, b), rel=1e-9)
    assert hellinger_angle(*pair) == pytest.approx(SHE.angle(a.weights, b.weights), rel=1e-9)
    close = jko.Gaussian([0.3 + 1e-9], [[1.2]], 0.8)
    assert SHE.distance(pair[0], close) == pytest.approx(np.sqrt(0.8 / 1.2) * 1e-9, rel=1e-3)


def test_indefinite_model_is_refused_with_the_remedy():
    hill = jko.LogDensity(lambda x: np.cosh(x[:, 0]) - (x**2).sum(axis=1), dim=2)
    with pytest.raises(jko.StepFailed, match="not log-concave here; reduce tau"):
        jko.step(jko.Gaussian([3.0, 0.0], np.eye(2)), jko.KL(hill), SHE, 5.0)


# -- mixtures ------------------------------------------------------------------------------------

MIXED = jko.GaussianMixture([[-1.0, 1.0], [1.0, -0.5]], [np.eye(2), 0.5 * np.eye(2)], [0.4, 0.6])


def test_one_component_moves_like_its_gaussian():
    alone = jko.GaussianMixture(START.mean[None], START.cov[None])
    out = jko.step(alone, jko.KL(NORMAL), W, 0.3).measure
    single = jko.step(START, jko.KL(NORMAL), W, 0.3).measure
    near(out, single, atol=1e-9)


def test_mixture_flow_loses_energy_and_keeps_its_equilibrium():
    energy = jko.KL(MIXED)
    start = jko.GaussianMixture([[0.0, 0.5], [0.5, -2.0]], [np.eye(2)] * 2)
    sol = jko.flow(start, energy, W + SHE, tau=0.2, steps=30, save="last")
    assert sol.success
    values = [s.energy for s in sol.steps]
    assert (np.diff(values) < 1e-9).all()
    assert values[-1] < 0.02 * energy.value(start)
    still = jko.split_step(MIXED, energy, W + SHE, 0.2).measure
    np.testing.assert_allclose(still.means, MIXED.means, atol=1e-5)
    np.testing.assert_allclose(still.weights, MIXED.weights, atol=1e-5)


def test_reaction_of_weights_is_the_convex_minimiser():
    problem = jko.ProxProblem(jko.KL(NORMAL), KLD, MIXED, 0.8)
    out = jko.step(MIXED, jko.KL(NORMAL), KLD, 0.8, solver=MixtureWeights())

    def objective(w):
        nu = jko.GaussianMixture(MIXED.means, MIXED.covs, np.array([w, 1 - w]))
        ratio = nu.weights @ np.log(nu.weights / MIXED.weights)
        return problem.energy.value(nu) + ratio / 0.8

    w = np.linspace(0.002, 0.998, 250)
    assert out.objective <= min(map(objective, w)) + 1e-12
    assert out.objective == pytest.approx(objective(out.measure.weights[0]), abs=1e-12)
    assert "kind" in jko.step(MIXED, jko.KL(NORMAL), SHE, 0.8).info


@pytest.mark.parametrize(
    ("measure", "energy", "geometry", "solver", "sentence"),
    [
        (START, "kl", W, NaturalGradient(), "steps in jko.SphericalHellinger"),
        (START, "log", jko.Hellinger(), NaturalGradient(), "it keeps the mass"),
        (START, "kl", jko.Divergence(p=2), GaussianMirror(), "steps in jko.Divergence"),
        (START, "log", jko.Divergence(p=1, mass="free"), GaussianMirror(), "it keeps the mass"),
        (START, "mmd", W, GaussianImplicit(), "no form on Gaussian measures"),
        (START, "atoms", W, GaussianImplicit(), "KL from a Gaussian to a Particles"),
        (START, "well", W, GaussianForwardBackward(), "the energy has no entropy"),
        (START, "inclusive-log", jko.Divergence(p=0), MomentMatching(), "importance_sample"),
        (START, "kl", jko.Divergence(p=0), MomentMatching(), "no jko.InclusiveKL"),
        (START, "kl", W, MixtureTransport(), "it moves a jko.GaussianMixture"),
        (MIXED, "kl", SHE, MixtureTransport(), "steps in jko.Wasserstein"),
        (MIXED, "kl", jko.Hellinger(), MixtureWeights(), "it keeps the mass"),
        (MIXED, "kl", W, MixtureWeights(), "it reacts in"),
    ],
)
def test_refusals(measure, energy, geometry, solver, sentence):
    energies = {
        "kl": jko.KL(NORMAL),
        "log": jko.KL(smooth_target()),
        "mmd": jko.MMDEnergy(NORMAL, jko.kernels.Gaussian(1.0)),
        "atoms": jko.KL(measures.particles(3)),
        "well": jko.Potential(lambda x: (x**2).sum(axis=1)),
        "inclusive-log": jko.InclusiveKL(smooth_target()),
        "inclusive-3": jko.InclusiveKL(measures.gaussian(3)),
    }
    with pytest.raises(jko.Unsupported, match=sentence):
        jko.step(measure, energies[energy], geometry, 0.1, solver=solver)


def test_a_component_without_weight_stays_and_is_not_judged():
    """It was moved by the log density of nothing, far enough for its covariance to have no root."""
    far = 1e30 * np.ones(2)
    covs = np.array([np.eye(2), np.diag([1e-9, 1e9]), 2 * np.eye(2)])
    mixed = jko.GaussianMixture([[0.0, 0.0], far, [1.0, 0.0]], covs, [0.4, 0.0, 0.6])
    alone = jko.GaussianMixture(mixed.components[1][[0, 2]], covs[[0, 2]], [0.4, 0.6])
    energy = jko.KL(smooth_target())
    taken, wanted = (jko.step(mu, energy, W, 16.0) for mu in (mixed, alone))
    np.testing.assert_array_equal(taken.measure.components[1][1], far)
    np.testing.assert_array_equal(taken.measure.components[2][1], covs[1])
    kept = [part[[0, 2]] for part in taken.measure.components[1:]]
    for found, right in zip(kept, wanted.measure.components[1:], strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-12, atol=1e-12)
    assert abs(taken.gap - wanted.gap) <= 1e-12
