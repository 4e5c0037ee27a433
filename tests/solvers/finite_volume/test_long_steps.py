"""Long steps of degenerate diffusion: Newton's method from far away, and where it fails."""

import numpy as np
import pytest

import jko
from jko import reference
from jko.numerics.multigrid import factor
from jko.prox import Breakdown
from jko.solvers import FiniteVolume
from jko.solvers.finite_volume import newton as fv_newton
from jko.solvers.finite_volume import start as fv_start
from jko.solvers.finite_volume.faces import Faces
from jko.solvers.finite_volume.scheme import CellScheme

W = jko.Wasserstein()
GRID = jko.Grid([-0.5, -0.5], [0.5, 0.5], [96, 96])


def peak(m, grid=GRID):
    """The start of formula W5: mass .5, peak 15, a few cells wide."""
    solution = reference.Barenblatt(2, m, 0.5, 15.0, 1e-3)
    return solution.on(grid, solution.start)


@pytest.mark.parametrize("tau", [1e-3, 0.1, 0.4, 50.0])
@pytest.mark.parametrize("m", [1.5, 4.0, 6.0, 12.0])
def test_fronts_that_cross_many_cells_in_few_iterations(m, tau):
    found = jko.step(peak(m), 1e-3 * jko.PorousMedium(m), W, tau, solver=FiniteVolume())
    assert found.success
    assert found.iterations <= 8
    assert found.info["mobility"] == "centred"


@pytest.mark.parametrize("tau", [0.05, 1.0])
def test_drift_across_the_box_does_not_need_the_upwind_mobility(tau):
    bowl = jko.Potential(lambda x: 20.0 * ((x - 0.2) ** 2).sum(axis=1))
    for m in (2.0, 4.0):
        found = jko.step(
            peak(2.0), 1e-2 * jko.PorousMedium(m) + bowl, W, tau, solver=FiniteVolume()
        )
        assert found.success
        assert found.info["mobility"] == "centred"


def test_it_spreads_to_the_constant():
    # m = 6 on a step of a million: the pressure is flat, so the density is.
    mu = peak(6.0)
    found = jko.step(mu, jko.PorousMedium(6.0), W, 1e6, solver=FiniteVolume()).measure
    np.testing.assert_allclose(found.weights, mu.mass / GRID.size, rtol=1e-4)


@pytest.mark.parametrize("shape", [(16, 12), (17, 13), (16, 3)])
@pytest.mark.parametrize("periodic", [False, True])
def test_blocks_have_the_energy_and_the_mass_of_their_cells(shape, periodic):
    mu = peak(3.0, jko.Grid([-0.5, -0.5], [0.5, 0.5], shape, periodic=periodic))
    v = jko.Potential(lambda x: x[:, 0] ** 2)
    scheme = CellScheme((jko.PorousMedium(3.0) + 0.1 * jko.Entropy() + v).restrict(mu), mu.grid)
    blocks = fv_start._on_blocks(scheme, mu.weights)
    count = fv_start._sums(np.ones(mu.n), mu.grid)
    even = fv_start._shared_out(0.3 * count, scheme)  # a constant is interpolated exactly
    np.testing.assert_allclose(even, 0.3, rtol=1e-14)
    assert blocks.form.value(0.3 * count) == pytest.approx(scheme.form.value(even), rel=1e-12)
    np.testing.assert_allclose(fv_start._sums(even, mu.grid), 0.3 * count, rtol=1e-14)
    mass = np.random.default_rng(0).random(blocks.grid.size)
    if not any(s % 2 for s in shape if s >= 8):
        assert fv_start._shared_out(mass, scheme).sum() == pytest.approx(mass.sum(), rel=1e-13)


def test_shorter_steps_lead_where_newton_fails_from_afar(monkeypatch):
    runs = []

    class Impatient(fv_newton.Newton):
        def run(self, start, limit, fine=fv_newton.FINE):
            runs.append(self.step)
            if len(runs) == 1:
                raise Breakdown(jko.Status.BROKEN, "made to fail")
            return super().run(start, limit, fine)

    mu = peak(2.0, jko.Grid([-0.5, -0.5], [0.5, 0.5], [7, 7]))
    plain = jko.step(mu, jko.PorousMedium(2.0), W, 0.3, solver=FiniteVolume())
    monkeypatch.setattr(fv_start, "Newton", Impatient)
    found = jko.step(mu, jko.PorousMedium(2.0), W, 0.3, solver=FiniteVolume())
    assert runs[1:] == sorted(runs[1:])
    assert runs[-1] == 0.3
    assert len(runs) == 1 + len(fv_start.RUNGS)
    np.testing.assert_allclose(found.measure.weights, plain.measure.weights, atol=1e-13)


def test_singular_systems_are_a_breakdown_not_an_exception():
    faces = Faces.of(GRID, np.ones(GRID.size, dtype=bool))
    flat = faces.laplacian(np.zeros_like(faces.scale), np.zeros(GRID.size))
    with pytest.raises(Breakdown, match="singular"):
        factor(flat.matrix)
    broken = faces.laplacian(np.full_like(faces.scale, np.nan), np.ones(GRID.size))
    with pytest.raises(Breakdown, match="not finite"):
        factor(broken.matrix)


def test_a_newton_method_that_leaves_the_numbers_is_a_result_with_a_sentence(monkeypatch):
    monkeypatch.setattr(fv_newton.Newton, "_size", lambda self, r: np.nan)
    found = jko.step(peak(2.0), jko.PorousMedium(2.0), W, 0.1, solver=FiniteVolume(), throw=False)
    assert found.status is jko.Status.BROKEN
    assert "left the range of numbers" in found.message


def test_a_crowd_that_newton_loses_is_no_raw_error():
    """The last iterate had weights of -15 000: the step raised what the measure said of them."""
    grid = jko.Grid(-0.697706, 2.13575, 5)
    mu = jko.GridDensity(grid, [0.0, 0.487315, 0.0, 0.210829, 0.301856])
    potential = jko.Potential([0.00217863, -0.0224776, 0.0277073, -0.0319124, 0.0219775])
    energy = 0.201347 * jko.BoxConstraint(0.579423) + 0.267019 * potential
    alone = jko.step(mu, energy, W, 92900.4, solver=FiniteVolume(), throw=False)
    assert alone.success or "shorter tau" in alone.message
    assert jko.step(mu, energy, W, 92900.4).success
