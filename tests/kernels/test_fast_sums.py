"""Fast Gaussian sums against the exact ones, and the error that `tol` promises."""

import importlib.util

import numpy as np
import pytest
from generators import measures

import jko
from jko.kernels import FastSums, Gaussian, Laplace
from jko.kernels.nonuniform import Finufft, Spread

HAVE = importlib.util.find_spec("finufft") is not None
BACKENDS = [
    pytest.param("finufft", marks=pytest.mark.skipif(not HAVE, reason="finufft is not installed")),
    "grid",
]
KERNELS = [Gaussian(0.5), 0.7 * Gaussian(0.3) + 2.0 * Gaussian(1.5)]


def data(d, seed=0, n=300, m=200):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, d)), 0.7 * rng.normal(size=(m, d)) + 1.5
    return x, y, rng.normal(size=m)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("tol", [1e-3, 1e-6, 1e-8, 1e-11])
@pytest.mark.parametrize("kernel", KERNELS[:1], ids=["one"])
def test_error_is_within_tol(kernel, tol, d, backend):
    x, y, v = data(d)
    sums = FastSums(tol, backend=backend)
    bound = tol * kernel.maximum * np.abs(v).sum()
    value = np.abs(sums.apply(kernel, x, y, v) - kernel.apply(x, y, v)).max()
    slope = np.abs(sums.gradient_apply(kernel, x, y, v) - kernel.gradient_apply(x, y, v)).max()
    assert value <= bound
    assert slope <= bound / 0.5


@pytest.mark.parametrize("backend", BACKENDS)
def test_sums_of_kernels(backend):
    kernel, (x, y, v) = KERNELS[1], data(2)
    sums = FastSums(1e-9, backend=backend)
    bound = 1e-9 * kernel.maximum * np.abs(v).sum()
    assert np.abs(sums.apply(kernel, x, y, v) - kernel.apply(x, y, v)).max() <= bound
    slope = sums.gradient_apply(kernel, x, y, v) - kernel.gradient_apply(x, y, v)
    assert np.abs(slope).max() <= bound / 0.3


def test_the_tolerance_matters():
    """A coarser tol is coarser: the error is the tolerance's doing, not luck."""
    x, y, v = data(2)
    errors = [
        np.abs(FastSums(t, backend="grid").apply(KERNELS[0], x, y, v) - KERNELS[0].apply(x, y, v))
        for t in (1e-2, 1e-5, 1e-10)
    ]
    assert errors[0].max() > 10 * errors[1].max() > 100 * errors[2].max() > 0


@pytest.mark.parametrize("d", [1, 2, 3])
def test_transforms_against_their_definition(d):
    """Forward and backward sums, both backends, with angles at the ends of the interval."""
    rng = np.random.default_rng(1)
    angles = np.concatenate([rng.uniform(-np.pi, np.pi, (20, d)), np.full((1, d), np.pi)])
    v, most = rng.normal(size=21), (4, 3, 2)[:d]
    waves = np.meshgrid(*[np.arange(-m, m + 1) for m in most], indexing="ij")
    phase = np.tensordot(np.stack(waves, axis=-1), angles.T, axes=1)
    exact = np.exp(-1j * phase) @ v
    c = rng.normal(size=exact.shape) + 1j * rng.normal(size=exact.shape)
    back = (c[..., None] * np.exp(1j * phase)).sum(axis=tuple(range(d))).real
    for transform in [Spread(1e-11)] + ([Finufft(1e-11)] if HAVE else []):
        assert transform.forward(angles, v, most) == pytest.approx(exact, abs=1e-9)
        both = transform.backward(angles, [c, 2 * c])
        assert both == pytest.approx(np.stack([back, 2 * back]), abs=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "target",
    [
        measures.particles(40, 2, seed=4),
        measures.mixture(),
        jko.Gaussian([0.3, -1.0], [[1.0, 0.4], [0.4, 0.6]]),
    ],
    ids=["particles", "mixture", "gaussian"],
)
def test_mmd_energy(target, backend):
    mu = measures.particles(30, 2, seed=3, mass=target.mass)
    exact = jko.MMDEnergy(target, Gaussian(0.6))
    fast = jko.MMDEnergy(target, Gaussian(0.6), sums=FastSums(1e-9, backend=backend))
    slack = 1e-9 * (mu.mass + target.mass)
    assert fast.value(mu) == pytest.approx(exact.value(mu), abs=slack * (mu.mass + target.mass))
    assert fast.first_variation(mu) == pytest.approx(exact.first_variation(mu), abs=slack)
    slope = fast.wasserstein_gradient(mu) - exact.wasserstein_gradient(mu)
    assert np.abs(slope).max() <= slack / 0.6


def test_the_fast_energy_is_one_functional():
    """Gradient and first variation are those of the fast value itself: finite differences."""
    mu, pi = measures.particles(12, 2, seed=3), measures.particles(20, 2, seed=4)
    energy = jko.MMDEnergy(pi, Gaussian(0.6), sums=FastSums(1e-4, backend="grid"))
    rng, h = np.random.default_rng(0), 1e-4
    move, change = rng.normal(size=mu.points.shape), rng.normal(size=mu.n)
    up, down = (energy.value(mu.with_points(mu.points + s * move)) for s in (h, -h))
    slope = (mu.weights[:, None] * energy.wasserstein_gradient(mu) * move).sum()
    assert (up - down) / (2 * h) == pytest.approx(slope, rel=1e-3, abs=1e-5)
    w = np.abs(mu.weights) + 0.01
    change = 0.001 * change
    base = mu.with_weights(w)
    up, down = (energy.value(mu.with_weights(w + s * change)) for s in (1, -1))
    assert (up - down) / 2 == pytest.approx(energy.first_variation(base) @ change, rel=1e-3)


def test_what_is_kept_changes_nothing():
    """The same measure asked for first or last gives the same bits."""
    pi = measures.particles(20, 2, seed=4)
    clouds = [measures.particles(12, 2, seed=s, shift=s / 3) for s in range(6)]
    energy = jko.MMDEnergy(pi, Gaussian(0.6), sums=FastSums(backend="grid"))
    first = [energy.value(mu) for mu in clouds]
    again = [energy.value(mu) for mu in reversed(clouds)][::-1]
    fresh = [
        jko.MMDEnergy(pi, Gaussian(0.6), sums=FastSums(backend="grid")).value(mu) for mu in clouds
    ]
    assert first == again == fresh


def test_far_points_exceed_the_modes_and_say_so():
    x = np.array([[0.0, 0.0], [1e5, 1e5]])
    with pytest.raises(jko.Unsupported, match="remove far-off points, raise max_modes"):
        FastSums(backend="grid").apply(Gaussian(0.1), x, x, np.ones(2))
    target = jko.Particles(np.zeros((1, 2)))
    energy = jko.MMDEnergy(target, Gaussian(0.1), sums=FastSums())
    with pytest.raises(jko.Unsupported, match="Fourier modes"):
        energy.value(jko.Particles(x))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: FastSums(0.0), "tol"),
        (lambda: FastSums(1e-15), "between 1e-13 and 0.1"),
        (lambda: FastSums(max_modes=0), "max_modes"),
        (lambda: FastSums(backend="cuda"), "backend = 'cuda' is unknown"),
        (lambda: FastSums().apply(Laplace(1.0), *data(2)), "Gaussian kernels"),
        (lambda: FastSums().apply(Gaussian(1.0), *data(4)), "1 to 3 dimensions, not 4"),
        (lambda: jko.MMDEnergy(measures.particles(4, 2), Laplace(1.0), sums=FastSums()), "Gauss"),
        (lambda: jko.MMDEnergy(measures.particles(4, 2), Gaussian(1.0), "U", FastSums()), "U-"),
        (lambda: jko.MMDEnergy(measures.particles(4, 2), Gaussian(1.0), sums="yes"), "sums got"),
    ],
)
def test_refusals(call, sentence):
    with pytest.raises((jko.InvalidArgument, jko.Unsupported), match=sentence):
        call()


def test_wrong_dimension():
    energy = jko.MMDEnergy(measures.particles(4, 2), Gaussian(1.0), sums=FastSums(backend="grid"))
    with pytest.raises(jko.InvalidMeasure, match="dimension 3"):
        energy.value(measures.particles(4, 3))


def test_embeddings_take_them():
    mu, (x, _, _) = measures.particles(50, 2, seed=1), data(2)
    k, sums = Gaussian(0.5), FastSums(1e-9)
    assert k.embed(mu, x, sums) == pytest.approx(k.embed(mu, x), abs=1e-9)
    assert k.embed_gradient(mu, x, sums) == pytest.approx(k.embed_gradient(mu, x), abs=2e-9)


@pytest.mark.skipif(not HAVE, reason="finufft is not installed")
def test_pieces_add_up(monkeypatch):
    """Many points go to finufft in pieces: the same sums."""
    rng = np.random.default_rng(2)
    angles, v, most = rng.uniform(-np.pi, np.pi, (500, 1)), rng.normal(size=500), (4,)
    transform = Finufft(1e-12)
    whole = transform.forward(angles, v, most)
    back = transform.backward(angles, [whole])
    monkeypatch.setattr("jko.kernels.nonuniform.PIECE", 16)
    assert transform.forward(angles, v, most) == pytest.approx(whole, abs=1e-10)
    assert transform.backward(angles, [whole]) == pytest.approx(back, abs=1e-10)
