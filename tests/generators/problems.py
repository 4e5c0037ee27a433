"""One registry: for every solver of `jko.solvers.auto.AUTO`, problems it must pass.

A new solver needs one entry here, under its `name`; the contract tests do the rest.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

import jko
from generators import measures
from jko import ProxProblem

GAUSS = jko.kernels.Gaussian(0.8)
LAPLACE = jko.kernels.Laplace(1.1)
ENERGY = jko.kernels.Energy()


def quadratic_well() -> jko.Potential:
    return jko.Potential(lambda x: 0.5 * (x**2).sum(axis=1), gradient=lambda x: x)


def mmd_shared(kernel=GAUSS, mass="fixed", make=measures.histogram, factor=1.0) -> ProxProblem:
    """The target sits on the measure's atoms: the mixture of formula M1."""
    mu = make(seed=1, mass=2.0)
    pi = measures.sibling(mu, seed=2, mass=2.0 if mass == "fixed" else 3.0)
    energy = factor * jko.MMDEnergy(pi, kernel)
    return ProxProblem(energy, 0.6 * jko.MMD(kernel, mass=mass), mu, 0.9)


def mmd_apart(kernel=GAUSS, mass="fixed", other=21, well=False) -> ProxProblem:
    """The target sits on other atoms, of another number."""
    mu, pi = measures.particles(17, seed=1, mass=2.0), measures.particles(other, seed=2, mass=2.0)
    energy = jko.MMDEnergy(pi, kernel)
    if well:
        energy = energy + 0.1 * quadratic_well()
    return ProxProblem(energy, jko.MMD(kernel, mass=mass), mu, 0.9)


def mmd_mixture_target() -> ProxProblem:
    energy = jko.MMDEnergy(measures.mixture(), GAUSS)
    return ProxProblem(energy, jko.MMD(GAUSS), measures.grid_density(), 0.5)


def shared(energy_of, geometry, tau=0.7, make=measures.histogram, target_mass=2.0) -> ProxProblem:
    """An energy built from a target on the measure's atoms, with zeros of its own."""
    mu = make(seed=1, mass=2.0)
    pi = measures.sibling(mu, seed=2, mass=target_mass)
    return ProxProblem(energy_of(pi), geometry, mu, tau)


def positive_pair(energy_of, geometry, tau=0.05, n=30) -> ProxProblem:
    """A measure and a full target on a grid of the line, for transport."""
    grid = jko.Grid(-3.0, 3.0, n)
    x = grid.points[:, 0]
    mu = jko.GridDensity.from_density(np.exp(-2 * (x - 0.8) ** 2), grid, mass=1.5)
    pi = jko.GridDensity.from_density(np.exp(-(x**2) / 2), grid, mass=1.5)
    return ProxProblem(energy_of(pi), geometry, mu, tau)


def gaussians(energy_of=jko.KL, tau=0.7, dim=2) -> ProxProblem:
    mu, pi = measures.gaussian(dim, seed=1), measures.gaussian(dim, seed=2)
    return ProxProblem(energy_of(pi), jko.Wasserstein(), mu, tau)


def moving(energy, tau=0.3, seed=1) -> ProxProblem:
    return ProxProblem(energy, jko.Wasserstein(), measures.particles(17, seed=seed, mass=2.0), tau)


def phi(p):
    return lambda pi: jko.PhiDivergence(pi, p=p)


def mmd_plus(p):
    return lambda pi: jko.PhiDivergence(pi, p=p) + 0.5 * jko.MMDEnergy(pi, GAUSS)


FREE, FIXED, SPHERE = jko.Hellinger(), jko.Hellinger(mass="fixed"), jko.SphericalHellinger()

#: Solver name -> problems it accepts.
PROBLEMS: dict[str, dict[str, ProxProblem]] = {
    "Mixture": {
        "fixed": mmd_shared(),
        "free": mmd_shared(mass="free"),
        "scaled": mmd_shared(factor=2.5),
        "energy-distance": mmd_shared(kernel=ENERGY),
        "grid": mmd_shared(make=lambda **kw: measures.grid_density(**kw)),
    },
    "SimplexQP": {
        "fixed": mmd_apart(),
        "free": mmd_apart(mass="free"),
        "laplace": mmd_apart(kernel=LAPLACE, other=9),
        "energy-distance": mmd_apart(kernel=ENERGY),
        "well": mmd_apart(well=True),
        "mixture-target": mmd_mixture_target(),
    },
    "SimplexQP(union)": {
        "fixed": mmd_apart(),
        "free": mmd_apart(mass="free"),
        "energy-distance": mmd_apart(kernel=ENERGY),
        "well": mmd_apart(well=True),
    },
}

PROBLEMS["Bures"] = {
    "plane": gaussians(),
    "line": gaussians(dim=1),
    "sum": ProxProblem(
        jko.KL(measures.gaussian(seed=2)) + 0.5 * jko.KL(measures.gaussian(seed=3)),
        2.0 * jko.Wasserstein(),
        measures.gaussian(seed=1),
        0.4,
    ),
}
PROBLEMS["Lagrangian"] = {
    "mmd": moving(jko.MMDEnergy(measures.particles(9, seed=2, mass=2.0), GAUSS)),
    "well": moving(quadratic_well()),
    "sum": moving(jko.MMDEnergy(measures.mixture(), GAUSS) + 0.5 * quadratic_well(), seed=3),
}
PROBLEMS["ClosedForm"] = {
    **{f"free-{p:g}": shared(phi(p), FREE, target_mass=1.5) for p in (0, 0.5, 1, 2)},
    **{f"fixed-{p:g}": shared(phi(p), FIXED) for p in (0, 0.5, 1, 2)},
    "linear": shared(lambda pi: quadratic_well(), FREE),
    "grid": shared(jko.KL, 0.5 * FREE, make=measures.grid_density),
}
PROBLEMS["DualRoot"] = {
    **{f"free-{p:g}": shared(phi(p), FREE, target_mass=1.5) for p in (-0.5, 0.3, 1.5, 3)},
    "fixed-1.5": shared(phi(1.5), FIXED),
    "sum": shared(lambda pi: jko.KL(pi) + 0.3 * jko.InclusiveKL(pi), FREE),
}
PROBLEMS["SphericalFixedPoint"] = {
    **{f"{p:g}": shared(phi(p), SPHERE) for p in (0, 0.5, 1, 2)},
    "linear": shared(lambda pi: quadratic_well(), SPHERE),
}
PROBLEMS["Entropic"] = {
    "kl": positive_pair(jko.KL, jko.Wasserstein()),
    "inclusive": positive_pair(jko.InclusiveKL, jko.Wasserstein()),
    "entropy": positive_pair(lambda pi: jko.Entropy() + quadratic_well(), jko.Wasserstein()),
    "mmd": positive_pair(lambda pi: jko.MMDEnergy(pi, GAUSS), jko.Wasserstein()),
}
PROBLEMS["Entropic(plain)"] = {
    "linear": positive_pair(lambda pi: quadratic_well(), jko.Wasserstein()),
    "box": positive_pair(lambda pi: jko.BoxConstraint(0.8) + quadratic_well(), jko.Wasserstein()),
}
PROBLEMS["Entropic(half)"] = {
    "linear": positive_pair(lambda pi: quadratic_well(), jko.Wasserstein()),
    "scaled": positive_pair(lambda pi: 3.0 * quadratic_well(), 0.5 * jko.Wasserstein()),
    "kl": positive_pair(jko.KL, jko.Wasserstein()),
}
PROBLEMS["BackAndForth"] = {
    "porous": positive_pair(lambda pi: jko.PorousMedium(3.0), jko.Wasserstein()),
    "box": positive_pair(lambda pi: jko.BoxConstraint(0.8) + quadratic_well(), jko.Wasserstein()),
}
PROBLEMS["Conic(CLARABEL)"] = {
    "hellinger-kl": shared(jko.KL, FREE),
    "hellinger-mmd": shared(mmd_plus(1), FIXED),
    "sphere-mmd": shared(mmd_plus(1), SPHERE),
    "free-mmd": shared(mmd_plus(0.5), FREE),
    **{f"mmd-{p:g}": shared(phi(p), jko.MMD(GAUSS)) for p in (0, 0.5, 1, 2)},
    "mmd-free": shared(mmd_plus(1), jko.MMD(GAUSS, mass="free"), target_mass=1.5),
    "mmd-box": shared(lambda pi: jko.BoxConstraint(0.2), jko.MMD(LAPLACE)),
}
PROBLEMS["Conic(SCS)"] = {
    "hellinger-kl": shared(jko.KL, FREE),
    "mmd-kl": shared(jko.KL, jko.MMD(GAUSS)),
}
PROBLEMS["Mirror"] = {
    # An atom once empty stays so under p = 1: the target of p = 0 must not charge it.
    "0": shared(lambda pi: jko.InclusiveKL(measures.histogram(seed=1)), jko.Divergence(p=1)),
    **{f"{p:g}": shared(phi(p), jko.Divergence(p=1)) for p in (0.5, 1, 2)},
    "linear": shared(lambda pi: quadratic_well(), jko.Divergence(p=1)),
    "half-free": shared(jko.KL, jko.Divergence(p=0.5, mass="free")),
}
PROBLEMS["Mirror"].update(
    {f"half-{p:g}": shared(phi(p), jko.Divergence(p=0.5)) for p in (0, 1, 1.5, 2)},
    free=shared(phi(1), jko.Divergence(p=0.3, mass="free"), target_mass=1.5),
    negative=shared(lambda pi: quadratic_well(), jko.Divergence(p=-0.5)),
)
PROBLEMS["WeightNewton"] = {
    **{f"mmd-{p:g}": shared(phi(p), jko.MMD(GAUSS)) for p in (-0.5, 0, 0.5, 1, 2, 3)},
    "mmd-free": shared(phi(1), jko.MMD(GAUSS, mass="free"), target_mass=1.5),
    "mmd-box": shared(lambda pi: jko.BoxConstraint(0.2) + quadratic_well(), jko.MMD(LAPLACE)),
    "energy-distance": shared(jko.KL, jko.MMD(ENERGY)),
    "hellinger": shared(mmd_plus(1), FREE, target_mass=1.5),
    "hellinger-fixed": shared(mmd_plus(0), FIXED),
    "spherical": shared(mmd_plus(2), SPHERE),
    "entropic": shared(mmd_plus(1), jko.Divergence(p=1)),
    "grid": shared(jko.KL, jko.MMD(GAUSS), make=measures.grid_density),
}
WFR = jko.WassersteinFisherRao(0.7, 1.3)
PROBLEMS["UnbalancedScaling"] = {
    **{f"{p:g}": shared(phi(p), WFR, target_mass=1.5) for p in (0, 0.5, 1, 1.5, 2)},
    "linear": shared(lambda pi: quadratic_well(), WFR),
    "sum": shared(lambda pi: jko.KL(pi) + 0.3 * jko.InclusiveKL(pi), 0.5 * WFR),
    "box": shared(lambda pi: jko.BoxConstraint(0.3) + quadratic_well(), WFR),
    "grid": shared(jko.KL, WFR, make=measures.grid_density),
    "line": positive_pair(lambda pi: jko.PorousMedium(2.0) + quadratic_well(), WFR),
    "mmd": shared(lambda pi: jko.MMDEnergy(pi, GAUSS), WFR, target_mass=1.5),
    "mmd-kl": shared(mmd_plus(1), WFR, target_mass=1.5),
}
PROBLEMS["UnbalancedProgram"] = PROBLEMS["UnbalancedScaling"]
PROBLEMS["TransportProgram"] = {
    **{f"{p:g}": shared(phi(p), jko.Wasserstein()) for p in (0, 0.5, 1, 1.5, 2)},
    "linear": shared(lambda pi: quadratic_well(), jko.Wasserstein()),
    "sum": shared(lambda pi: jko.KL(pi) + 0.3 * jko.InclusiveKL(pi), 0.5 * jko.Wasserstein()),
    "box": shared(lambda pi: jko.BoxConstraint(0.3) + quadratic_well(), jko.Wasserstein()),
    "mmd": shared(mmd_plus(1), jko.Wasserstein()),
    "energy-distance": shared(lambda pi: jko.MMDEnergy(pi, ENERGY), jko.Wasserstein()),
    "line": positive_pair(jko.KL, jko.Wasserstein()),
}
PROBLEMS["LinearTransport"] = {
    "well": shared(lambda pi: quadratic_well(), jko.Wasserstein()),
    "scaled": shared(lambda pi: 3.0 * quadratic_well(), 0.5 * jko.Wasserstein(), tau=2.0),
    "grid": shared(lambda pi: quadratic_well(), jko.Wasserstein(), make=measures.grid_density),
}


def on_the_line(energy, tau=0.3, geometry=None, zeros=None) -> ProxProblem:
    """Particles of the line that lie apart, some of them empty."""
    x = np.linspace(-1.5, 2.0, 19) + 0.05 * np.sin(7 * np.arange(19.0))
    mu = jko.Particles(x[:, None], measures.weights(19, seed=4, mass=2.0, zeros=zeros))
    return ProxProblem(energy, geometry or jko.Wasserstein(), mu, tau)


APART = jko.Particles([[-0.4], [0.3], [0.35]], [0.5, 0.7, 0.8])
PROBLEMS["Quantile"] = {
    "entropy": on_the_line(jko.Entropy()),
    "porous": on_the_line(0.2 * jko.PorousMedium(3.0), geometry=0.5 * jko.Wasserstein()),
    "fast": on_the_line(jko.PorousMedium(0.5)),
    "attraction": on_the_line(jko.Interaction.quadratic() + jko.Entropy()),
    "box": on_the_line(jko.BoxConstraint(2.0) + jko.Interaction.power(1.0)),
    "energy-distance": on_the_line(jko.MMDEnergy(APART, ENERGY)),
    "clumps": on_the_line(jko.Interaction.power(1.0)),
}


def smooth_target(dim=2) -> jko.LogDensity:
    """A log-concave density that is not Gaussian, with its score."""

    def log_density(x):
        return -0.5 * (x**2).sum(axis=1) - np.logaddexp(0.0, 2 * x[:, 0] - 1)

    def score(x):
        out = -x
        out[:, 0] -= 2 / (1 + np.exp(1 - 2 * x[:, 0]))
        return out

    return jko.LogDensity(log_density, score, dim, log_concave=True)


def bent_target() -> jko.LogDensity:
    """A banana: not log-concave."""
    return jko.LogDensity(
        lambda x: -0.5 * x[:, 0] ** 2 - (x[:, 1] - 0.3 * x[:, 0] ** 2) ** 2, dim=2
    )


def on_gaussian(energy, geometry, tau=0.4, dim=2, mass=1.0) -> ProxProblem:
    return ProxProblem(energy, geometry, measures.gaussian(dim, seed=1, mass=mass), tau)


def on_mixture(energy, geometry, tau=0.3) -> ProxProblem:
    return ProxProblem(energy, geometry, measures.mixture(), tau)


NORMAL = measures.gaussian(seed=2)
PROBLEMS["ExactFlow"] = {
    "wasserstein": on_gaussian(jko.KL(NORMAL), jko.Wasserstein()),
    "hellinger": on_gaussian(2 * jko.KL(NORMAL), FREE, mass=0.7),
    "sphere": on_gaussian(jko.KL(NORMAL) + jko.KL(measures.gaussian(seed=3)), SPHERE),
    "unsplit": on_gaussian(jko.KL(NORMAL), WFR, mass=1.6),
}
PROBLEMS["NaturalGradient"] = {
    "exact": on_gaussian(jko.KL(NORMAL), FIXED, mass=2.0),
    "smooth": on_gaussian(jko.KL(smooth_target()), SPHERE),
    "well": on_gaussian(0.5 * jko.Entropy() + quadratic_well(), SPHERE),
    "high": on_gaussian(jko.KL(smooth_target(6)), SPHERE, dim=6),
}
PROBLEMS["GaussianMirror"] = {
    "exact": on_gaussian(2 * jko.KL(NORMAL), jko.Divergence(p=1)),
    "smooth": on_gaussian(jko.KL(smooth_target()), jko.Divergence(p=1), mass=2.0),
    "bent": on_gaussian(jko.KL(bent_target()), 0.5 * jko.Divergence(p=1)),
}
PROBLEMS["MomentMatching"] = {
    "mixture": on_gaussian(jko.InclusiveKL(measures.mixture()), jko.Divergence(p=0)),
    "free": on_gaussian(
        0.5 * jko.InclusiveKL(measures.particles(17, seed=2, mass=2.0)),
        jko.Divergence(p=0, mass="free"),
    ),
}
PROBLEMS["GaussianImplicit"] = {
    "smooth": on_gaussian(jko.KL(smooth_target()), jko.Wasserstein(), mass=2.0),
    "entropy": on_gaussian(jko.Entropy(), 2.0 * jko.Wasserstein()),
    "bent": on_gaussian(jko.KL(bent_target()), jko.Wasserstein()),
    "well": on_gaussian(jko.Entropy() + quadratic_well(), jko.Wasserstein()),
}
PROBLEMS["GaussianForwardBackward"] = {
    "smooth": on_gaussian(jko.KL(smooth_target()), jko.Wasserstein(), mass=2.0),
    "bent": on_gaussian(jko.KL(bent_target()), jko.Wasserstein(), tau=0.1),
}
PROBLEMS["MixtureTransport"] = {
    "normal": on_mixture(jko.KL(NORMAL), jko.Wasserstein()),
    "bent": on_mixture(jko.KL(bent_target()), 0.5 * jko.Wasserstein()),
}
PROBLEMS["MixtureWeights"] = {
    "normal": on_mixture(jko.KL(NORMAL), SPHERE),
    "bent": on_mixture(jko.KL(bent_target()), jko.Divergence(p=1)),
    "fixed": on_mixture(jko.KL(smooth_target()), 2.0 * FIXED),
}


def rippled(energy_of, tau, shape=(24,)) -> ProxProblem:
    """A density that is positive everywhere, in steps far below a cell."""
    grid = jko.Grid([-1.0] * len(shape), [1.0] * len(shape), shape)
    mu = jko.GridDensity.from_function(lambda x: 1.5 + np.cos(3 * x).prod(axis=1), grid, mass=1.5)
    pi = jko.GridDensity.from_function(lambda x: np.exp(-(x**2).sum(axis=1)), grid, mass=1.5)
    return ProxProblem(energy_of(pi), 0.5 * jko.Wasserstein(), mu, tau)


CUBIC = jko.LocalEnergy(lambda r: r**3 / 6, lambda r: r**2 / 2, lambda r: r)
RIDGED = jko.geometries.KernelFisherRao(GAUSS, ridge=0.05)
PROBLEMS["KernelReaction"] = {
    "shared": shared(jko.InclusiveKL, RIDGED),
    "free": shared(
        jko.InclusiveKL, jko.geometries.KernelFisherRao(GAUSS, 2.0, mass="free"), target_mass=1.5
    ),
}
FIRST, SQUARE = (lambda x: x[:, 0]), (lambda x: (x**2).sum(axis=1))


def inside(problem: ProxProblem, *wanted: float, upper: bool = False) -> ProxProblem:
    """The step with moments kept at, or below, so many times those of the previous measure."""
    energy = problem.energy
    for f, share in zip((SQUARE, FIRST), wanted, strict=False):
        moment = share * problem.previous.expect(f)
        energy = energy + (jko.Moment(f, upper=moment) if upper else jko.Moment(f, moment))
    return replace(problem, energy=energy)


PROBLEMS["Constrained"] = {
    "hellinger": inside(shared(jko.KL, FIXED), 0.9, 1.1),
    "below": inside(shared(jko.KL, FREE, target_mass=1.5), 0.8, upper=True),
    "slack": inside(shared(jko.KL, FIXED), 5.0, upper=True),
    "spherical": inside(shared(jko.KL, SPHERE), 0.9),
    "entropic-mirror": inside(shared(phi(2), jko.Divergence(p=1)), 0.9),
    "mmd": inside(mmd_apart(), 0.9),
    "mmd-below": inside(mmd_apart(), 0.9, upper=True),
    "transport": inside(shared(jko.KL, jko.Wasserstein()), 0.9, upper=True),
    "grid": inside(positive_pair(jko.KL, jko.Wasserstein()), 0.9, upper=True),
    "gaussian": ProxProblem(
        jko.KL(measures.gaussian(seed=2))
        + jko.Moment(FIRST, 0.2)
        + jko.Moment(SQUARE, upper=float(measures.gaussian(seed=1).cov.trace())),
        jko.Wasserstein(),
        measures.gaussian(seed=1),
        0.4,
    ),
}
PROBLEMS["ProximalNewton"] = {
    "hellinger": ProxProblem(CUBIC, jko.Hellinger(), measures.grid_density((12,), seed=1), 0.5),
    "fixed": ProxProblem(CUBIC, FIXED, measures.grid_density((4, 5), seed=2), 0.5),
    "mmd": ProxProblem(CUBIC, jko.MMD(GAUSS), measures.grid_density((12,), seed=3, zeros=0), 0.5),
}

PROBLEMS["Dynamic"] = {
    "porous": rippled(lambda pi: jko.PorousMedium(2.0), 5e-2, (16,)),
    "wfr": ProxProblem(
        jko.PorousMedium(2.0), jko.WassersteinFisherRao(), measures.grid_density((16,), seed=1), 0.1
    ),
}

#: Cases whose energy is not known to be convex where the geometry needs it: a residual, no gap.
RESIDUAL_ONLY = {
    ("Constrained", "gaussian"),
    ("ProximalNewton", "hellinger"),
    ("ProximalNewton", "fixed"),
    ("ProximalNewton", "mmd"),
    ("GaussianMirror", "smooth"),
    ("GaussianMirror", "bent"),
    ("GaussianImplicit", "bent"),
    ("GaussianImplicit", "well"),
}


PROBLEMS["FiniteVolume"] = {
    "porous": rippled(lambda pi: jko.PorousMedium(2.0), 5e-4),
    "plane": rippled(lambda pi: 0.1 * jko.PorousMedium(4.0), 5e-4, (6, 5)),
    "drift": rippled(lambda pi: jko.PorousMedium(3.0) + quadratic_well(), 2e-4),
    "chi2": rippled(phi(2), 5e-4),
    "mmd": rippled(lambda pi: jko.MMDEnergy(pi, GAUSS) + 0.1 * jko.PorousMedium(2.0), 1e-3),
}
