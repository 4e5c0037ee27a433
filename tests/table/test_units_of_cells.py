"""Every cell of the table in other units: the same step, the same verdict (formula B2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import jko
from jko.measures import Discrete, Gaussian, GridDensity
from jko.survey import APART, GEOMETRIES, MEASURES, _square, _target, table

TAU = 0.3
#: Masses M, lengths L and energies c per unit: each alone, and all together.
UNITS = ((1e9, 1, 1), (1, 1e-9, 1), (1, 1, 1e-9), (1e-9, 1e9, 1e7))
#: What a step that is the same to rounding may differ by, relative to the size of its terms.
ROUNDING = 1e-9


@dataclass
class Unit:
    """A system of units."""

    M: float
    L: float
    c: float

    def measure(self, mu):
        if isinstance(mu, Gaussian):
            return jko.Gaussian(self.L * mu.mean, self.L**2 * mu.cov, self.M * mu.mass)
        if isinstance(mu, GridDensity):
            grid = jko.Grid(self.L * mu.grid.lower, self.L * mu.grid.upper, mu.grid.shape)
            return GridDensity(grid, self.M * mu.weights)
        return type(mu)(self.L * mu.points, self.M * mu.weights)

    @property
    def kernel(self):
        return jko.kernels.Gaussian(self.L)

    def energy(self, name, mu):
        """c times the energy in these units, homogeneous of degree one in the mass."""
        # The volume of densities: of cells, and of the intervals between particles.
        c, d = self.c, mu.dim if isinstance(mu, (GridDensity, jko.Particles)) else 0
        target = lambda: self.measure(_target(mu))
        square = lambda x: _square(x / self.L)
        slope = lambda x: x / self.L**2
        # Where the mass varies a constant per unit of mass counts: the entropy's reference.
        logs = c * (np.log(self.M) - d * np.log(self.L))
        reference = jko.Potential(lambda x: np.full(len(x), -logs), gradient=lambda x: 0 * x)
        entropy = c * jko.Entropy() + reference
        if isinstance(mu, Gaussian):
            entropy = c * jko.Entropy()
        density = jko.LogDensity(lambda x: -square(x), lambda x: -slope(x), 1)
        relative = c * jko.KL(density)
        if not isinstance(mu, Gaussian):
            relative = relative + reference
        makers = {
            "KL": lambda: c * jko.KL(target()),
            "KL(LogDensity)": lambda: relative,
            "InclusiveKL": lambda: c * jko.InclusiveKL(target()),
            "PhiDivergence(p=2)": lambda: c * jko.PhiDivergence(target(), p=2.0),
            "PhiDivergence(p=1.5)": lambda: c * jko.PhiDivergence(target(), p=1.5),
            "MMDEnergy": lambda: c / self.M * jko.MMDEnergy(target(), self.kernel),
            "MMDEnergy(other atoms)": lambda: (
                c / self.M * jko.MMDEnergy(self.measure(APART), self.kernel)
            ),
            "Potential": lambda: c * jko.Potential(square, gradient=slope),
            "Entropy": lambda: entropy,
            "Entropy + Potential": lambda: entropy + c * jko.Potential(square),
            "PorousMedium": lambda: c / self.M * self.L**d * jko.PorousMedium(m=2.0),
            "Interaction": lambda: c / self.M * jko.Interaction(self.kernel),
            "BoxConstraint": lambda: jko.BoxConstraint(self.M / self.L**d),
        }
        return makers[name]()

    def geometry(self, name):
        kernels = {"MMD": "fixed", "MMD(free)": "free"}
        if name in kernels:
            return jko.MMD(self.kernel, mass=kernels[name])
        if name == "WassersteinFisherRao":
            return jko.WassersteinFisherRao(self.L**2, 1.0)
        return GEOMETRIES[name]

    def tau(self, name):
        stretch = {"Wasserstein": self.L**2, "MMD": self.M, "MMD(free)": self.M}
        return TAU * stretch.get(name, 1.0) / self.c


def shape(mu):
    """What moves, in the unit of the measure itself."""
    if isinstance(mu, Gaussian):
        return np.concatenate([mu.mean, mu.cov.ravel(), [mu.mass]])
    assert isinstance(mu, Discrete)
    return np.concatenate([mu.points.ravel(), mu.weights])


def take(unit, measure, geometry, energy):
    mu = MEASURES[measure]
    return jko.step(unit.measure(mu), unit.energy(energy, mu), unit.geometry(geometry),
                    unit.tau(geometry), throw=False, rng=0)  # fmt: skip


CELLS = [
    pytest.param(r.measure, r.geometry, r.energy, id=f"{r.measure}-{r.geometry}-{r.energy}")
    for r in table()
    if r.solvers
]


@pytest.mark.filterwarnings("ignore::jko.JkoWarning")
@pytest.mark.parametrize(("measure", "geometry", "energy"), CELLS)
def test_a_cell_is_the_same_in_any_unit(measure, geometry, energy):
    home = take(Unit(1, 1, 1), measure, geometry, energy)
    for unit in (Unit(*u) for u in UNITS):
        away = take(unit, measure, geometry, energy)
        label = f"in {unit}: {home.message} but {away.message}"
        assert away.status == home.status, label
        assert away.claim == home.claim, label
        back = Unit(1 / unit.M, 1 / unit.L, 1).measure(away.measure)
        first, second = shape(home.measure), shape(back)
        moved = np.abs(first - shape(MEASURES[measure])).max()
        known = room(home) + room(away)
        apart = np.abs(first - second).max()
        assert apart <= 1e-6 * moved + known * np.abs(first).max(), (label, apart, moved)


def room(result):
    """Relative distance from the minimiser that the verdict of a step leaves open."""
    if result.gap is None:
        return 10 * (result.residual or 0.0) + ROUNDING
    if not result.success:
        return np.inf
    decrease = max((result.baseline or result.objective) - result.objective, 0.0)
    scale = max(decrease, abs(result.allowed or 0.0) / max(result.tol, 1e-16), 1e-300)
    return 10 * np.sqrt(abs(result.gap) / scale) + ROUNDING
