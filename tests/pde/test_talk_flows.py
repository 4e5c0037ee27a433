"""The flows of the talk on a grid: four geometries by three energies, against their equations.

                    Wasserstein              Hellinger         both (WFR)    Wasserstein + MMD (IFT)
    KL              Fokker-Planck            mu_0^a pi^(1-a)   their sum     (*)
    inclusive KL    (pi log(mu)' - pi')'     -(mu - pi)        their sum     (*)
    1/2 MMD^2       (mu K * (mu - pi)')'     -mu K*(mu - pi)   their sum     (mu f')' - (mu - pi)

Every cell is a flow. (*): the MMD part of these two is -K^{-1}(f - lambda), which needs the inverse
of the kernel: an equation on a grid for any kernel, but one in the continuum only where K^{-1} is a
differential operator. For the Gaussian kernel it is the backward heat equation applied to f; so
these two cells take the Laplace kernel, whose inverse is (1 - d^2)/2 with conditions at the walls.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from pde_reference import Line, cell_masses
from scipy.integrate import quad

import jko

ALPHA, BETA, TIME = 1.3, 0.7, 0.4
TAUS = (0.1, 0.05, 0.025)
WIDTH = 0.8
GAUSS, LAPLACE = jko.kernels.Gaussian(WIDTH), jko.kernels.Laplace(1.0)
W, HE = jko.Wasserstein(), jko.Hellinger()


def normal(x, mean, std):
    return np.exp(-((x - mean) ** 2) / (2 * std**2)) / (std * np.sqrt(2 * np.pi))


def scaled(density, half_width, mass):
    """The density times what makes its mass on the box `mass`."""
    factor = mass / quad(density, -half_width, half_width, epsabs=1e-13, limit=200)[0]
    return lambda x: factor * density(x)


#: Densities that stay above zero, where inclusive KL is finite, and that feel the walls.
BOX = 3.0
HILL = lambda x: 0.1 + np.exp(-2 * (x - 0.8) ** 2)
RIDGE = lambda x: 0.1 + np.exp(-(x**2)) * (1 + 0.5 * np.sin(2 * x))
#: Bells far from the walls, where characteristics stay inside.
WIDE = 3.4
BELL = lambda x: normal(x, 0.8, 0.5)
PAIR = lambda x: 0.6 * normal(x, -0.5, 0.6) + 0.4 * normal(x, 1.0, 0.7)


@dataclass(frozen=True)
class Cell:
    """A geometry, an energy, the largest error at the shortest tau, and the mass of the start."""

    geometry: str
    energy: str
    bound: float
    mass: float = 1.0

    @property
    def name(self) -> str:
        return f"{self.geometry} flow of {self.energy}"

    @property
    def line(self) -> Line:
        start, target, half = (BELL, PAIR, WIDE) if self.energy == "MMD" else (HILL, RIDGE, BOX)
        return Line(scaled(start, half, self.mass), scaled(target, half, 1.0), half)

    @property
    def alpha(self) -> float:
        rate = 3 * ALPHA if self.energy == "MMD" else ALPHA  # forces of kernels are weaker
        return 0.0 if self.geometry == "Hellinger" else rate

    @property
    def beta(self) -> float:
        if self.energy == "MMD" and self.geometry in ("Hellinger", "WFR"):
            return 8 * BETA
        return 0.0 if self.geometry == "Wasserstein" else BETA

    @property
    def conserves(self) -> bool:
        return self.geometry in ("Wasserstein", "IFT")

    def jko(self, grid: jko.Grid):
        """Start, energy and geometry."""
        edges = np.linspace(grid.lower[0], grid.upper[0], grid.size + 1)
        mu = jko.GridDensity(grid, cell_masses(self.line.start, edges))
        pi = jko.GridDensity(grid, cell_masses(self.line.target, edges))
        if self.conserves:
            pi = pi.with_weights(pi.weights * (mu.mass / pi.mass))
        kernel = GAUSS if self.energy == "MMD" else LAPLACE
        alpha, beta = self.alpha or 1.0, self.beta or 1.0
        geometry = {
            "Wasserstein": alpha * W,
            "Hellinger": beta * HE,
            "WFR": alpha * W + beta * HE,
            "IFT": alpha * W + beta * jko.MMD(kernel),
        }[self.geometry]
        energy = {
            "KL": jko.KL(pi),
            "inclusive KL": jko.InclusiveKL(pi),
            "MMD": jko.MMDEnergy(pi, GAUSS),
        }[self.energy]
        return mu, energy, geometry

    @cache  # noqa: B019 (a dozen cells)
    def exact(self, beta: float | None = None):
        """The density at TIME, as a function; another beta gives another flow."""
        beta = self.beta if beta is None else beta
        line, kept = self.line, np.exp(-beta * TIME)
        if self.geometry == "Hellinger" and self.energy == "KL":  # Formula H5
            return lambda x: line.start(x) ** kept * line.target(x) ** (1 - kept)
        if self.geometry == "Hellinger" and self.energy == "inclusive KL":  # Formula M3
            return lambda x: line.target(x) + kept * (line.start(x) - line.target(x))
        reaction = {"Hellinger": "hellinger", "WFR": "hellinger", "IFT": "mmd"}.get(
            self.geometry, "none"
        )
        if self.energy == "MMD":
            return line.carried(WIDTH, reaction, self.alpha, beta, TIME)
        nodes = 300 if reaction == "mmd" else 600  # its Jacobian is full
        return line.diffused(self.energy, reaction, self.alpha, beta, TIME, nodes)


#: Bounds: the measured error at tau = .025 and a fifth.
CELLS = [
    Cell("Wasserstein", "KL", 9.5e-3),
    Cell("Hellinger", "KL", 6.7e-4, 0.7),
    Cell("WFR", "KL", 5.6e-3, 0.7),
    Cell("IFT", "KL", 5.3e-3),
    Cell("Wasserstein", "inclusive KL", 8.8e-3),
    Cell("Hellinger", "inclusive KL", 1.7e-3, 0.7),
    Cell("WFR", "inclusive KL", 4.9e-3, 0.7),
    Cell("IFT", "inclusive KL", 5.5e-3),
    Cell("Wasserstein", "MMD", 1.43e-2),
    Cell("Hellinger", "MMD", 1.4e-3, 0.7),
    Cell("WFR", "MMD", 8.8e-3, 0.7),
    Cell("IFT", "MMD", 1.15e-2),
]


def promises(sol: jko.Trajectory, cell: Cell) -> None:
    """Mass, sign and energy, at every step."""
    for mu in sol.measures:
        assert mu.weights.min() >= 0
        if cell.conserves:
            assert abs(mu.mass - sol.measures[0].mass) < 1e-12
    assert (np.diff(sol.energies) < 0).all()
    if cell.geometry == "IFT" and cell.energy == "MMD":  # Formula M5
        tau = sol.times[1]
        rate = (1 + BETA * tau) ** -np.arange(len(sol.times))
        assert (np.sqrt(2 * sol.energies) <= np.sqrt(2 * sol.energies[0]) * rate * 1.0001).all()


@cache
def flowed(cell: Cell, transport=None):
    """The grid, the start, and where flows that keep their promises are at TIME, at every tau."""
    grid = jko.Grid(-cell.line.half_width, cell.line.half_width, 100)
    mu, energy, geometry = cell.jko(grid)
    out, solver = [], "auto"
    if transport is not None:
        solver = transport if cell.geometry == "Wasserstein" else (transport, "auto")
    for tau in TAUS:
        sol = jko.flow(mu, energy, geometry, tau=tau, t1=TIME, solver=solver)
        promises(sol, cell)
        out.append(sol.final.weights)
    return grid, mu, out


def errors_of(cell: Cell, density, transport=None) -> list[float]:
    """L1 distances to a density at TIME, at every tau."""
    grid, mu, ends = flowed(cell, transport)
    exact = cell_masses(density, np.linspace(grid.lower[0], grid.upper[0], grid.size + 1))
    out = [float(np.abs(end - exact).sum()) for end in ends]
    assert out[0] < 0.12 * np.abs(mu.weights - exact).sum() + 1e-3  # the flow went somewhere
    return out


def first_order(errors: list[float], bound: float) -> bool:
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    return bool(np.abs(orders - 1).max() < 0.1 and errors[-1] < bound)


@pytest.mark.parametrize("cell", CELLS, ids=lambda c: c.name)
def test_flows_follow_their_equations_at_first_order(cell):
    errors = errors_of(cell, cell.exact())
    assert first_order(errors, cell.bound), errors


@pytest.mark.parametrize("cell", [c for c in CELLS if c.energy == "KL" and c.alpha], ids=repr)
def test_finite_volumes_follow_the_same_equations(cell):
    """Another transport step, which is not the Wasserstein step, has the same limit."""
    assert first_order(errors_of(cell, cell.exact(), jko.solvers.FiniteVolume()), cell.bound)


@pytest.mark.parametrize("cell", [CELLS[2], CELLS[6], CELLS[11]], ids=lambda c: c.name)
def test_a_reaction_five_per_cent_faster_is_noticed(cell):
    """The check itself, with another equation."""
    assert not first_order(errors_of(cell, cell.exact(1.05 * cell.beta)), cell.bound)
