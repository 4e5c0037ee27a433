"""Kernelised flows: SVGD from its definition, and the inclusive KL kernelised (formula M6)."""

import numpy as np
import pytest
from generators import measures

import jko
from jko.kernels import Gaussian, InverseMultiquadric
from jko.kernels.energy_distance import PositiveEnergy
from jko.solvers import Controls, Euler, Kernelised

K = Gaussian(0.9)
W2 = jko.Wasserstein()
TARGET = jko.Gaussian([0.5, -1.0], [[1.0, 0.4], [0.4, 0.6]])


def test_svgd_from_its_definition():
    """The published double sum, particle by particle, with weights."""
    mu = measures.particles(9, 2, seed=1)
    for k in (K, InverseMultiquadric(1.2)):
        out = jko.step(mu, 2.0 * jko.KL(TARGET), W2, 0.1, solver=Kernelised(k))
        score = TARGET.score(mu.points)
        for i in range(mu.n):
            velocity = np.zeros(2)
            for j in range(mu.n):
                pair = k(mu.points[j : j + 1], mu.points[i : i + 1])[0, 0]
                slope = k.gradient(mu.points[j : j + 1], mu.points[i : i + 1])[0, 0]
                velocity += mu.weights[j] * (pair * score[j] + slope)
            assert out.measure.points[i] == pytest.approx(mu.points[i] + 0.2 * velocity, abs=1e-13)
    assert out.gap is None
    assert out.residual <= 1e-14


def test_other_energies_are_smoothed():
    mu, pi = measures.particles(9, 2, seed=1), measures.particles(7, 2, seed=2)
    energy = jko.MMDEnergy(pi, Gaussian(1.3))
    out = jko.step(mu, energy, W2, 0.3, solver=Kernelised(K))
    smooth = K(mu.points) @ (mu.weights[:, None] * energy.wasserstein_gradient(mu))
    assert out.measure.points == pytest.approx(mu.points - 0.3 * smooth, abs=1e-13)
    assert out.energy < energy.value(mu)


def test_a_wrong_answer_fails_the_certificate():
    mu = measures.particles(9, 2, seed=1)
    problem = jko.ProxProblem(jko.KL(TARGET), W2, mu, 0.1)
    answer = Kernelised(K).solve(problem, Controls(tol=1e-9))
    assert answer.problem.certificate(answer).residual <= 1e-14
    assert answer.problem.certificate(type(answer)(mu, answer.problem, 0)).residual > 1e-3


def test_svgd_flow_reaches_a_gaussian():
    rng = np.random.default_rng(0)
    start = jko.Particles(rng.normal(size=(60, 2)) + 2)
    log = jko.LogDensity(TARGET.log_density_at, TARGET.score, dim=2)
    sol = jko.flow(start, jko.KL(log), W2, tau=0.3, steps=400, solver=Kernelised(K), save="last")
    assert sol.success
    assert sol.final.mean == pytest.approx(TARGET.mean, abs=0.05)
    spread = np.diag(sol.final.cov) / np.diag(TARGET.cov)
    assert (spread > 0.7).all()
    assert (spread < 1.0).all()  # it spreads less than the target


def test_the_usual_bandwidth():
    """2 h^2 = median^2 / log(n + 1), anew for the particles of every step."""
    mu = measures.particles(9, 2, seed=1)
    median = jko.kernels.median_bandwidth(mu.points)
    k = Gaussian((median**2 / (2 * np.log(10))) ** 0.5)
    out, same = (
        jko.step(mu, jko.KL(TARGET), W2, 0.1, solver=Kernelised(kernel)) for kernel in (None, k)
    )
    assert out.measure.points == pytest.approx(same.measure.points, abs=1e-14)


@pytest.mark.parametrize("points", [[[0.3, -0.2]], [[0.3, -0.2]] * 4], ids=["one", "coincident"])
def test_without_distances_particles_climb(points):
    """No pair, no repulsion: the step follows the score."""
    mu = jko.Particles(points)
    out = jko.step(mu, jko.KL(TARGET), W2, 0.1, solver=Kernelised())
    climbed = mu.points + 0.1 * TARGET.score(mu.points)
    assert out.measure.points == pytest.approx(climbed, abs=1e-14)


def test_adaptive_steps_from_their_definition():
    mu = measures.particles(9, 2, seed=1)
    solver, plain = Kernelised(K, adaptive=True), Kernelised(K)
    square, warm = 0.0, None
    for k in range(3):
        out = jko.step(mu, jko.KL(TARGET), W2, 0.05, solver=solver, warm=warm)
        velocity = jko.step(mu, jko.KL(TARGET), W2, 1.0, solver=plain).measure.points - mu.points
        square = velocity**2 if k == 0 else 0.9 * square + 0.1 * velocity**2
        move = 0.05 * velocity / (1e-6 * np.sqrt(square.max()) + np.sqrt(square))
        assert out.measure.points == pytest.approx(mu.points + move, abs=1e-12)
        mu, warm = out.measure, out.warm
    wrong = jko.step(mu, jko.KL(TARGET), W2, 0.05, solver=solver, warm={"square": np.ones(3)})
    fresh = jko.step(mu, jko.KL(TARGET), W2, 0.05, solver=solver)
    assert np.array_equal(wrong.measure.points, fresh.measure.points)


def test_adaptive_flows_resume_bit_for_bit(tmp_path):
    mu, path = measures.particles(9, 2, seed=1), tmp_path / "run.npz"
    options = {"tau": 0.05, "solver": Kernelised(adaptive=True)}
    whole = jko.flow(mu, jko.KL(TARGET), W2, steps=8, **options)

    def stop(event):
        if event.index == 4:
            raise KeyboardInterrupt

    with pytest.warns(RuntimeWarning, match="interrupted"):
        jko.flow(mu, jko.KL(TARGET), W2, steps=8, checkpoint=path, callbacks=stop, **options)
    again = jko.resume(path, energy=jko.KL(TARGET))
    assert np.array_equal(again.final.points, whole.final.points)


def test_kernelised_inclusive_kl_is_the_mmd_flow():
    """M6: int k(z, x) (1 - dpi/dmu)(z) dmu(z) is the first variation of 1/2 MMD^2, so particles
    that follow its gradient, with no density anywhere, are those of the MMD flow."""
    mu = measures.particles(12, 2, seed=1, zeros=0)
    pi = measures.sibling(mu, 3)
    inclusive, mmd = jko.InclusiveKL(pi), jko.MMDEnergy(pi, K)
    signed = mu.weights * inclusive.first_variation(mu)
    assert K.apply(mu.points, mu.points, signed) == pytest.approx(
        mmd.first_variation(mu), abs=1e-14
    )
    velocity = -K.gradient_apply(mu.points, mu.points, signed)
    out = jko.step(mu, mmd, W2, 0.2, solver=Euler(armijo=False))
    assert out.measure.points == pytest.approx(mu.points + 0.2 * velocity, abs=1e-13)


@pytest.mark.parametrize(
    ("solver", "geometry", "measure", "sentence"),
    [
        (Kernelised(K), jko.Hellinger(), measures.particles(4, 2), "takes the place"),
        (Kernelised(K), W2, measures.histogram(4, 2), "moves jko.Particles"),
        (Kernelised(PositiveEnergy()), W2, measures.particles(4, 2), "function of x - y"),
    ],
)
def test_refusals(solver, geometry, measure, sentence):
    with pytest.raises(jko.Unsupported, match=sentence):
        jko.step(measure, jko.KL(TARGET), geometry, 0.1, solver=solver)


def test_the_kernel_is_checked():
    with pytest.raises(jko.InvalidType, match="kernel got 'rbf'"):
        Kernelised("rbf")
