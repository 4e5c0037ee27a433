"""What representative steps cost, counted: a slowdown fails here on every machine, loaded or not.

Seconds are measured in `benchmarks/`; a test counts what they are made of: products with kernels,
c-transforms, linear systems, sweeps. The figures beside the limits are those of the day they were
written; a limit leaves about a quarter for other arithmetics. Who makes a step dearer on purpose
raises its limit and says why in the commit; who makes it cheaper lowers it.
"""

from collections import Counter

import numpy as np
import pytest

import jko
from jko.kernels.operators import DenseOperator
from jko.numerics import c_transform
from jko.numerics.tilted import Tilted
from jko.prox.duality.weights import _FixedBound
from jko.solvers import BackAndForth, Entropic, FiniteVolume
from jko.solvers.auto import AUTO
from jko.solvers.back_and_forth import ascent, stated
from jko.solvers.entropic.gibbs import GridGibbs
from jko.solvers.rules import Rule

W = jko.Wasserstein()
K = jko.kernels.Gaussian(1.0)
GRID = jko.Grid([-4, -4], [4, 4], [64, 64])
BELL = jko.GridDensity.from_function(
    lambda x: np.exp(-2 * ((x - [1.5, 0.5]) ** 2).sum(1)), GRID, mass=1
)


@pytest.fixture
def counted(monkeypatch):
    """Counts calls of what steps are made of."""
    calls = Counter()

    def count(owner, name, label):
        original = getattr(owner, name)

        def one_more(*args, **options):
            calls[label] += 1
            return original(*args, **options)

        monkeypatch.setattr(owner, name, one_more)

    count(GridGibbs, "_counted", "products")
    count(DenseOperator, "_product", "products")
    count(stated, "c_transform", "transforms")
    count(ascent, "solve", "systems")
    count(stated, "couple", "bounds")
    assert stated.c_transform is not c_transform.c_transform
    return calls


def atoms(n=300):
    rng = np.random.default_rng(0)
    mu = jko.Histogram(rng.normal(size=(n, 2)), np.full(n, 1 / n))
    return mu, mu.with_weights(rng.gamma(2.0, size=n) / (2 * n))


@pytest.mark.parametrize(("debias", "limit"), [(True, 42), (False, 28)])
def test_products_of_an_entropic_step(counted, debias, limit):
    """36 products debiased, 24 plain: judge and bias included."""
    energy = jko.KL(jko.Gaussian([0.0, 0.0], np.eye(2)))
    jko.step(BELL, energy, W, 0.05, solver=Entropic(debias=debias))
    assert 0 < counted["products"] <= limit


def test_products_of_a_cube(counted):
    """Coarser cubes resolve most of the regularisation: 34 products of the cube itself."""
    cube = jko.Grid([-4] * 3, [4] * 3, [36] * 3)
    bell = jko.GridDensity.from_function(
        lambda x: np.exp(-2 * ((x - [1.5, 0.5, -0.5]) ** 2).sum(1)), cube, mass=1
    )
    energy = jko.KL(jko.Gaussian(np.zeros(3), np.eye(3)))
    r = jko.step(bell, energy, W, 0.05, solver=Entropic(bound=False))
    assert 0 < r.info["products"]["36x36x36"] <= 42


def test_sweeps_of_a_warm_flow(counted):
    """A later step starts from the last potentials: it costs about what the first did (43, 44)."""
    energy, costs, mu, warm = jko.KL(jko.Gaussian([0.0, 0.0], np.eye(2))), [], BELL, None
    for _ in range(4):
        counted.clear()
        r = jko.step(mu, energy, W, 0.05, solver=Entropic(debias=False), warm=warm)
        mu, warm = r.measure, r.warm
        costs.append(counted["products"])
    assert max(costs[1:]) <= 1.15 * costs[0]


def test_transforms_of_a_back_and_forth_step(counted):
    """Transforms and Poisson systems, coarser grids and the judge included."""
    r = jko.step(BELL, jko.PorousMedium(2), W, 0.5, solver=BackAndForth(), tol=1e-4)
    assert r.iterations <= 30  # 24
    counts = dict(counted)
    assert 0 < counts["transforms"] <= 285, counts  # 228
    assert 0 < counts["systems"] <= 45, counts  # 36
    assert 0 < counts["bounds"] <= 6, counts  # 5: coarser grids need none, the judge no second one


def test_systems_of_a_finite_volume_step():
    r = jko.step(BELL, jko.PorousMedium(2), W, 0.5, solver=FiniteVolume())
    assert r.iterations <= 6  # 4
    assert r.info["linear_iterations"] <= 20  # 14


def test_products_of_steps_with_a_kernel(counted):
    mu, pi = atoms()
    for energy, geometry, systems, products in (
        (jko.KL(pi) + jko.MMDEnergy(pi, K), jko.Hellinger(), 8, 12),  # 6, 9
        (jko.KL(pi), jko.MMD(K), 9, 9),  # 7, 7
        (jko.MMDEnergy(pi, K), jko.MMD(K), 15, 12),  # 12, 9
        (jko.KL(pi) + jko.MMDEnergy(pi, K), jko.Divergence(p=1), 12, 16),  # 9
    ):
        counted.clear()
        r = jko.step(mu, energy, geometry, 0.5)
        assert r.iterations <= systems, r
        assert counted["products"] <= products, r


def test_sweeps_of_roots_and_scalings():
    mu, pi = atoms()
    root = jko.KL(pi) + jko.PhiDivergence(pi, p=0.5)
    assert jko.step(mu, root, jko.Hellinger(mass="fixed"), 0.5).iterations <= 7  # 5
    assert jko.step(mu, jko.KL(pi), jko.SphericalHellinger(), 0.1).iterations <= 12  # 10
    unbalanced = jko.step(mu, jko.KL(pi), jko.WassersteinFisherRao(1.0, 1.0), 0.5)
    assert unbalanced.iterations <= 14  # 11


def test_a_quadratic_that_flattens_nothing_is_tried_ever_more_rarely(monkeypatch):
    """400 steep products of two potentials; each fit costs as much as several of them."""
    fit, tried = Tilted.of, []
    monkeypatch.setattr(Tilted, "of", lambda *a: tried.append(1) or fit(*a))
    line = jko.Grid(-5.0, 5.0, 400)
    mu, pi = (
        jko.GridDensity.from_function(
            lambda x, c=c, s=s: np.exp(-s * (x[:, 0] - c) ** 2), line, mass=1.0
        )
        for c, s in ((2.0, 2.0), (0.0, 1.0))
    )
    solver = Entropic(debias=False, bound=False)
    r = jko.step(mu, jko.PhiDivergence(pi, p=2), W, 0.1, solver=solver, throw=False)
    assert r.info["products"]["400"] > 100
    assert 0 < len(tried) <= 60  # 39


def test_newton_from_one_side_is_not_halved():
    """The mass of a linear energy falls steeply: Newton comes from above, and is left alone."""
    x = np.linspace(-2.0, 2.0, 400)[:, None]
    mu = jko.Histogram(x, np.exp(-(x[:, 0] ** 2)) / np.exp(-(x**2)).sum())
    wave = jko.Potential(lambda x: np.cos(2 * x[:, 0]) + 1.5)
    assert jko.step(mu, wave, jko.Hellinger(mass="fixed"), 100.0).iterations <= 9  # 7


def test_multipliers_that_a_certificate_tries(monkeypatch):
    """Where the answer is the previous measure, the first multiplier is the right one: 1."""
    at, tried = _FixedBound.at, []
    monkeypatch.setattr(_FixedBound, "at", lambda *a: tried.append(1) or at(*a))
    mu, _ = atoms(100)
    box = jko.BoxConstraint(2 * float(mu.weights.max()))
    assert jko.step(mu, box, jko.Divergence(p=1), 0.5).success
    assert 0 < len(tried) <= 2


def test_solvers_are_asked_once_each(monkeypatch):
    """A question which solvers take a step asks every solver of the table once, or twice at most.

    The second time belongs to rules that depend on more than what a solver can do.
    """
    asked = Counter()
    refusal = Rule.refusal
    monkeypatch.setattr(
        Rule, "refusal", lambda r, p: asked.update([r.solver.name]) or refusal(r, p)
    )
    mu, pi = atoms(20)
    jko.solvers_for(mu, jko.MMDEnergy(pi, K), jko.MMD(K))
    assert sum(asked.values()) <= 2 * len(AUTO)
    assert asked["SimplexQP"] == 1


def test_iterations_of_particles():
    rng = np.random.default_rng(0)
    well = jko.Potential(lambda x: 0.5 * (x**2).sum(1), gradient=lambda x: x)
    line, cloud = (jko.Particles(rng.normal(size=s)) for s in ((200, 1), (100, 2)))
    target = jko.Particles(rng.normal(size=(120, 2)) + 1.0)
    assert jko.step(line, jko.Entropy() + well, W, 0.5).iterations <= 18  # 14
    assert jko.step(cloud, jko.MMDEnergy(target, K), W, 0.5).iterations <= 8  # 5
