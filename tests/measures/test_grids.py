"""Grids with periodic axes and obstacles: what they are, store, and refuse."""

import numpy as np
import pytest

import jko
from jko.geometries import MMD, Hellinger
from jko.measures.grid import not_straight

K = jko.kernels.Gaussian(0.5)


def walled(gap: bool = True) -> jko.Grid:
    """A box of 8 x 6 cells cut by a wall in column 4, with a door in it unless gap is False."""
    mask = np.ones((8, 6), dtype=bool)
    mask[4] = False
    mask[4, 2] = gap
    return jko.Grid([0, 0], [4, 3], [8, 6], mask=mask)


def left_half(grid: jko.Grid) -> jko.GridDensity:
    return jko.GridDensity.from_function(lambda x: 1.0 * (x[:, 0] < 2), grid, mass=1.0)


def test_periodic_is_one_flag_per_axis():
    assert jko.Grid([0, 0], [1, 1], [4, 4]).periodic == (False, False)
    assert jko.Grid([0, 0], [1, 1], [4, 4], periodic=True).periodic == (True, True)
    assert jko.Grid([0, 0], [1, 1], [4, 4], periodic=[True, False]).periodic == (True, False)
    with pytest.raises(jko.InvalidArgument, match="periodic"):
        jko.Grid([0, 0], [1, 1], [4, 4], periodic=[True])
    with pytest.raises(jko.InvalidArgument, match="periodic"):
        jko.Grid([0], [1], [4], periodic=1)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.ones((8, 5), bool), "shape"),
        (np.ones((8, 6)), "booleans"),
        (np.zeros((8, 6), bool), "no cell free"),
    ],
)
def test_bad_masks(mask, words):
    with pytest.raises(jko.InvalidArgument, match=words):
        jko.Grid([0, 0], [4, 3], [8, 6], mask=mask)


def test_an_all_free_mask_is_no_mask():
    grid = jko.Grid([0, 0], [4, 3], [8, 6], mask=np.ones((8, 6), bool))
    assert grid.mask is None
    assert grid == jko.Grid([0, 0], [4, 3], [8, 6])


def test_equality_and_hash_see_walls():
    plain, a, b = jko.Grid([0, 0], [4, 3], [8, 6]), walled(), walled()
    assert a == b
    assert hash(a) == hash(b)
    assert a != plain
    assert a != walled(gap=False)
    assert jko.Grid([0], [1], [4], periodic=True) != jko.Grid([0], [1], [4])


def test_no_mass_on_obstacles():
    grid = walled()
    assert left_half(grid).weights[~grid.mask].sum() == 0
    with pytest.raises(jko.InvalidMeasure, match="blocks"):
        jko.GridDensity(grid, np.ones(grid.size))


def test_regions():
    assert walled().regions.max() == 1
    cut = walled(gap=False)
    assert set(cut.regions) == {0, 1, 2}
    ring = jko.Grid([0, 0], [4, 3], [8, 6], mask=cut.mask, periodic=[True, False])
    assert len(set(ring.regions[ring.mask])) == 1


def test_a_mask_that_cuts_the_measure_is_refused():
    cut = walled(gap=False)
    both = jko.GridDensity.from_function(lambda x: np.ones(len(x)), cut)
    with pytest.raises(jko.InvalidMeasure, match="2 regions of mass"):
        jko.step(both, jko.Entropy(), jko.Wasserstein(), 0.1)


@pytest.mark.parametrize("energy", ["kl", "inclusive", "mmd", "entropy"])
@pytest.mark.parametrize("geometry", [Hellinger(), Hellinger(mass="fixed"), MMD(K)])
def test_steps_in_weights_leave_obstacles_empty(energy, geometry):
    grid = walled()
    target = jko.LogDensity(lambda x: -((x - 2) ** 2).sum(1), dim=2)
    energies = {
        "kl": lambda: jko.KL(target),
        "inclusive": lambda: jko.InclusiveKL(target),
        "mmd": lambda: jko.MMDEnergy(jko.Gaussian([2.0, 1.5], np.eye(2)), K),
        "entropy": lambda: jko.Entropy() + jko.Potential(lambda x: x[:, 0]),
    }
    out = jko.step(left_half(grid), energies[energy](), geometry, 0.3)
    assert out.measure.weights[~grid.mask].sum() == 0
    assert out.success


def test_saved_and_loaded(tmp_path):
    grid = jko.Grid([0, 0], [4, 3], [8, 6], mask=walled().mask, periodic=[False, True])
    sol = jko.flow(left_half(grid), jko.Entropy(), Hellinger(), tau=0.1, steps=2)
    sol.save(tmp_path / "run.npz")
    again = jko.Trajectory.load(tmp_path / "run.npz")
    assert again.measures[-1].grid == grid
    np.testing.assert_array_equal(again.measures[-1].weights, sol.measures[-1].weights)


def test_straight_line_costs_refuse_bent_grids():
    mu = left_half(walled())
    assert not_straight(left_half(jko.Grid([0, 0], [4, 3], [8, 6]))) is None
    nu = jko.GridDensity.from_function(lambda x: np.exp(-x[:, 1]), walled(), mass=1.0)
    for geometry in (jko.Wasserstein(), jko.WassersteinFisherRao(1.0, 1.0)):
        with pytest.raises(jko.Unsupported, match="obstacles"):
            geometry.distance(mu, nu)
    loop = jko.Grid([0], [1], [8], periodic=True)
    ends = [jko.GridDensity(loop, w) for w in np.eye(8)[[0, 7]]]
    assert jko.Wasserstein().distance(*ends) == pytest.approx(1 / 8)
