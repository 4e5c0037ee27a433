"""Newton's method for entropic steps: what scaling alone does not certify, from bad starts too."""

import warnings

import numpy as np
import pytest

import jko
from jko import ProxProblem
from jko.solvers import Entropic
from jko.solvers.entropic.duals import ColumnDual, RowDual, dual_of
from jko.solvers.entropic.newton import newton
from jko.solvers.entropic.stated import EntropicStep

W2 = jko.Wasserstein()
GAUSS = jko.kernels.Gaussian(1.0)


def line(cells=400, mean=2.0):
    grid = jko.Grid(-5.0, 5.0, cells)
    pair = [
        jko.GridDensity.from_function(f, grid, mass=1.0)
        for f in (
            lambda x: np.exp(-2 * ((x - mean) ** 2).sum(axis=1)),
            lambda x: np.exp(-(x**2).sum(axis=1)),
        )
    ]
    return pair[0], pair[1]


def scattered(n=60):
    rng = np.random.default_rng(0)
    x, (m, p) = rng.standard_normal((n, 2)), rng.random((2, n))
    m[::5], p[3::7] = 0, 0
    return jko.Histogram(x, m / m.sum()), jko.Histogram(x, p / p.sum())


HARD = {
    "inclusive, tau 0.2": (jko.InclusiveKL, 0.2, False),
    "chi2": (lambda pi: jko.PhiDivergence(pi, p=2), 0.05, True),
    "MMD": (lambda pi: jko.MMDEnergy(pi, GAUSS), 0.5, True),
    "MMD, plain": (lambda pi: jko.MMDEnergy(pi, GAUSS), 10.0, False),
    "box": (lambda pi: jko.BoxConstraint(1.0) + jko.Entropy(), 0.2, True),
}


@pytest.mark.parametrize("name", HARD)
def test_steps_that_scaling_alone_missed(name):
    energy_of, tau, debias = HARD[name]
    mu, pi = line()
    r = jko.step(mu, energy_of(pi), W2, tau, solver=Entropic(debias=debias))
    assert r.success
    assert r.measure.mass == pytest.approx(1.0, rel=1e-12)
    assert r.objective <= r.baseline + abs(r.gap) + 1e-12


@pytest.mark.parametrize("kernel", [GAUSS, jko.kernels.Laplace(1.0), jko.kernels.Energy()])
def test_debiased_mmd_between_scattered_atoms(kernel):
    mu, pi = scattered()
    r = jko.step(mu, jko.MMDEnergy(pi, kernel), W2, 0.2, solver=Entropic())
    assert r.success
    stated = EntropicStep(ProxProblem(jko.MMDEnergy(pi, kernel), W2, mu, 0.2), r.info["reg"], True)
    rng = np.random.default_rng(1)
    for size in (1.0, 0.1, 1e-2):
        w = r.measure.weights * np.exp(size * rng.standard_normal(mu.n))
        rival = mu.with_weights(w / w.sum())
        assert stated.objective(rival) >= r.objective - 2e-8


@pytest.mark.parametrize("debias", [True, False])
@pytest.mark.parametrize("name", ["KL", "inclusive", "MMD", "KL+MMD"])
def test_newton_alone_agrees_with_scaling(name, debias):
    mu, pi = line(80, mean=1.0)
    energy = {
        "KL": jko.KL(pi),
        "inclusive": jko.InclusiveKL(pi),
        "MMD": jko.MMDEnergy(pi, GAUSS),
        "KL+MMD": jko.KL(pi) + jko.MMDEnergy(pi, GAUSS),
    }[name]
    stated = EntropicStep(ProxProblem(energy, W2, mu, 0.1), 0.1, debias)
    found = newton(stated, 1e-10, 150)
    assert found.log_b is not None
    plan = stated.plan(found.log_b)
    assert stated.gap(plan, found.log_d, found.tangent).gap < 5e-8
    r = jko.step(mu, energy, W2, 0.1, solver=Entropic(reg=0.1, debias=debias))
    assert stated.value(plan, found.log_d) == pytest.approx(r.objective, abs=6e-8)


@pytest.mark.parametrize("name", ["KL", "inclusive", "KL+MMD", "inclusive+MMD", "MMD"])
def test_slopes_of_the_duals_are_their_derivatives(name):
    mu, pi = line(20, mean=1.0)
    mmd = jko.MMDEnergy(pi, GAUSS)
    energy = {
        "KL": jko.KL(pi),
        "inclusive": jko.InclusiveKL(pi),
        "KL+MMD": jko.KL(pi) + mmd,
        "inclusive+MMD": jko.InclusiveKL(pi) + mmd,
        "MMD": mmd,
    }[name]
    problem = ProxProblem(energy, W2, mu, 0.2)
    stated, rng = EntropicStep(problem, 0.3, False), np.random.default_rng(2)
    for dual in [RowDual(stated)] + [ColumnDual(stated)] * (name == "inclusive"):
        z = mu.weights if "MMD" in name else None
        with np.errstate(all="ignore"):
            p = dual.start(np.zeros(mu.n), 0.1 * rng.standard_normal(mu.n), z)
            dx = np.where(dual.unknowns, rng.standard_normal(mu.n), 0.0)
            dz = None if z is None else 0.01 * rng.standard_normal(mu.n)
            h = 1e-5
            ends = [
                dual.at(p.x + s * dx, p.tilt, None if dz is None else z + s * dz) for s in (h, -h)
            ]
        slope = p.slope_x[dual.unknowns] @ dx[dual.unknowns]
        slope += 0.0 if dz is None else p.slope_z @ dz
        assert (ends[0].value - ends[1].value) / (2 * h) == pytest.approx(slope, rel=1e-5, abs=1e-8)


def test_the_dual_suits_the_energy():
    mu, pi = line(40)
    for energy, kind in [(jko.InclusiveKL(pi), ColumnDual), (jko.KL(pi), RowDual)]:
        assert type(dual_of(EntropicStep(ProxProblem(energy, W2, mu, 0.1), 0.1, False))) is kind


def test_bad_warm_starts_fall_back_to_a_cold_one():
    mu, pi = line()
    good = jko.step(mu, jko.KL(pi), W2, 0.05, solver=Entropic())
    rng = np.random.default_rng(0)
    for spoil in (
        lambda v: v + 300 * rng.standard_normal(v.size),
        lambda v: np.full(v.size, np.nan),
    ):
        warm = {**good.warm, "log_b": spoil(good.warm["log_b"])}
        r = jko.step(mu, jko.KL(pi), W2, 0.05, solver=Entropic(), warm=warm)
        assert np.abs(r.measure.weights - good.measure.weights).sum() < 1e-4


def test_unresolved_kernels_are_reported():
    mu, pi = line(200)
    with pytest.warns(jko.JkoWarning, match=r"reg = 0.001 .* use reg >= 0.005"):
        jko.step(mu, jko.KL(pi), W2, 0.05, solver=Entropic(reg=1e-3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jko.step(mu, jko.KL(pi), W2, 0.05, solver=Entropic(reg=5e-3))


def test_auto_takes_linear_energies_plainly_and_flows_dissipate():
    mu, _ = line(60)
    well = jko.Potential(lambda x: 0.5 * (x**2).sum(axis=1))
    few, _ = line(24)
    assert jko.step(few, jko.BoxConstraint(1.0) + well, W2, 0.5).solver == "Entropic(plain)"
    for debias in (True, False):
        solver = Entropic(debias=debias)
        sol = jko.flow(mu, jko.Entropy() + well, W2, tau=0.1, steps=3, solver=solver)
        report = sol.verify()
        assert "dissipation" in str(report)
        report.raise_if_failed()
