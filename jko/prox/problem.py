"""One proximal step as a problem: energy, geometry, previous measure, step length."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from jko.energies.base import Energy, check_energy
from jko.energies.moment import without_constraints
from jko.errors import InvalidArgument, InvalidMeasure, InvalidType, Unsupported
from jko.forms.form import WeightForm
from jko.forms.separable import Separable, Sizes, joint
from jko.geometries.base import Geometry, GeometrySum
from jko.geometries.mmd import MMD
from jko.geometries.unbalanced import WassersteinFisherRao
from jko.geometries.wasserstein import Wasserstein
from jko.kernels import Kernel
from jko.measures.base import Discrete, Measure, check_measure
from jko.measures.gaussian import Gaussian
from jko.measures.grid import GridDensity
from jko.numerics.elementary import EPS
from jko.prox.duality.certify import certify
from jko.prox.stated import Answer, Certificate, Scale, Stated
from jko.validation import Mask, instance, positive

#: Shorter steps lose every digit of the penalty.
LEAST_TAU = 1e-300


@dataclass(frozen=True, eq=False)
class ProxProblem(Stated):
    """argmin_mu F(mu) + D(mu, previous)^2 / (2 tau), the problem `jko.step` solves.

    The rate c of a scaled geometry c*G is folded into `step` = c tau, so that solvers only meet
    unscaled geometries.
    """

    energy: Energy
    geometry: Geometry
    previous: Measure
    tau: float

    def __post_init__(self) -> None:
        check_measure(self.previous, "measure")
        check_energy(self.energy, "energy")
        if self.energy.varies:
            raise InvalidArgument(
                f"energy = {self.energy!r} depends on time, and a single step has none;"
                " pass energy.at(t), or use jko.flow"
            )
        if isinstance(self.geometry, GeometrySum):
            raise InvalidArgument(
                f"geometry = {self.geometry!r} is a sum; jko.step takes one geometry,"
                " use jko.split_step or jko.flow"
            )
        instance(
            self.geometry,
            Geometry,
            "geometry",
            "pass a geometry such as jko.Wasserstein() or jko.Hellinger()",
        )
        remedy = "a step length is a positive number"
        object.__setattr__(self, "tau", positive(self.tau, "tau", remedy))
        self._check_agreement()

    def _check_agreement(self) -> None:
        """Refuse parts that do not fit each other."""
        if self.energy.needs_fixed_mass and not self.geometry.conserves_mass:
            raise Unsupported(
                f"{self.energy!r} compares measures of equal mass only (its kernel is conditionally"
                f" positive definite), but {self.geometry!r} lets the mass vary; use mass='fixed'"
                " or another kernel"
            )
        for _, term in self.energy.terms:
            dim = getattr(getattr(term, "target", None), "dim", self.previous.dim)
            if dim != self.previous.dim:
                raise InvalidArgument(
                    f"target lives in dimension {dim}, the measure in dimension"
                    f" {self.previous.dim}; {term!r} needs them to agree"
                )
        if self.step < LEAST_TAU:
            raise InvalidArgument(
                f"tau = {self.tau:g} (times the rate of the geometry) is below {LEAST_TAU:g}, where"
                " double precision cannot take a step; change the unit of time"
            )

    @property
    def step(self) -> float:
        """Effective step length: tau times the rate of the geometry."""
        return self.tau * self.geometry.rate

    @property
    def metric_kernel(self) -> Kernel:
        """The kernel of an MMD step."""
        assert isinstance(self.geometry, MMD)
        return self.geometry.kernel

    @property
    def discrete(self) -> Discrete:
        """The previous measure, when it is made of weighted points."""
        if not isinstance(self.previous, Discrete):
            raise Unsupported(f"{type(self.previous).__name__} has no weights on a fixed support")
        return self.previous

    @cached_property
    def form(self) -> WeightForm:
        """The energy on the fixed support of the previous measure, closed where no mass can go."""
        form = self.energy.restrict(self.discrete)
        free = self._reachable()
        if free is None:
            return form
        walls = Separable(np.zeros(free.size), {}, np.where(free, np.inf, 0.0))
        return form + WeightForm(walls)

    def _reachable(self) -> Mask | None:
        """Atoms that a step may charge: no obstacles and, in transport, no other region."""
        mu = self.discrete
        if isinstance(self.geometry, Wasserstein) and not self.geometry.is_quadratic:
            return self.geometry.reachable(mu)
        if not (isinstance(mu, GridDensity) and isinstance(self.geometry, Wasserstein)):
            return mu.free
        if mu.free is None:
            return None
        regions = mu.grid.regions
        shares = np.bincount(regions, mu.weights)
        charged = np.flatnonzero(shares > 0)
        if charged.size > 1:
            shown = ", ".join(f"{shares[k]:.4g}" for k in charged[:5])
            raise InvalidMeasure(
                f"grid.mask cuts the measure into {charged.size} regions of mass {shown}, and"
                " transport cannot cross obstacles; open a passage in the mask, or step each"
                " region on a grid of its own"
            )
        return np.asarray(regions == charged[0])

    @cached_property
    def total_form(self) -> WeightForm:
        """The whole objective as one form, where the geometry's penalty is an energy itself.

        MMD: 1/2 MMD^2(., previous); Hellinger: D_{1/2}(. | previous) = He^2/2; Divergence(p):
        D_p(. | previous); each divided by the step.
        """
        return self.form + self.penalty.scaled(1 / self.step)

    @cached_property
    def penalty(self) -> WeightForm:
        """D^2/2 to the previous measure as an energy in normal form: the geometry's own."""
        found = self.geometry.penalty_form(self.discrete)
        if found is None:
            raise Unsupported(f"the penalty of {self.geometry!r} is no energy of the weights")
        if not isinstance(found, WeightForm):
            raise InvalidType(
                f"penalty_form of {type(self.geometry).__name__} returned {type(found).__name__};"
                " return a jko.energies.WeightForm"
            )
        return found

    def value(self, nu: Measure) -> float:
        """F(nu), through the cached normal form when the support is the old one."""
        if "form" in self.__dict__ and isinstance(nu, Discrete) and self.discrete.same_support(nu):
            return self.form.value(nu.weights)
        return self.energy.value(nu)

    def objective(self, nu: Measure) -> float:
        """F(nu) + D(nu, previous)^2 / (2 tau)."""
        return self.value(nu) + self.geometry.penalty(nu, self.previous, self.tau)

    def energy_size(self, nu: Measure, moved: float = 0.0) -> Scale:
        """The size of the energy's terms over a step to `nu` whose penalty is `moved`."""
        return Scale(*joint(self._sizes_at(nu), self._sizes_before, moved))

    @property
    def unit(self) -> float:
        """The size of the energy's terms at the previous measure; of the penalty's, if F has none.

        Known before the step; tolerances relative to it are never larger than those of the judge.
        All the mass at one atom shows nothing of an energy that it may yet move along: there the
        unit is one at which tolerances end at the rounding of the penalty.
        """
        before = self._sizes_before
        if before.size > 0:
            return before.size
        return self.moving * (float(np.sqrt(EPS)) if before.raw > 0 else 1.0)

    @cached_property
    def _sizes_before(self) -> Sizes:
        return self._sizes_at(self.previous)

    def _sizes_at(self, nu: Measure) -> Sizes:
        fixed = self.geometry.conserves_mass
        if isinstance(nu, Gaussian) and isinstance(self.previous, Gaussian):
            plain = without_constraints(self.energy)
            if plain is None:
                return Sizes(0.0, 0.0, 0.0)
            form, value = plain.gaussian_form(), abs(plain.value(nu))
            unit = form.entropy * nu.mass * nu.dim
            return Sizes(0.0, unit, value + unit) if unit > 0 else Sizes(value, 0.0, value)
        if isinstance(nu, Discrete) and self.has_form and self.discrete.same_support(nu):
            return self.form.sizes(nu.weights, fixed)
        # A value alone may vanish where its terms do not: it counts as linear.
        value = abs(self.value(nu))
        value = value if np.isfinite(value) else 0.0
        return Sizes(value, 0.0, value)

    def size(self, answer: Answer) -> Scale:
        """The size of the energy's terms and of the penalty.

        Of the penalty, a difference of measures, rounding knows only what it is made of: weights
        that are off by rounding change it by sqrt(penalty x its raw terms) and their square.
        """
        nu = answer.judged
        if answer.sqdistance is None:
            moved = abs(self.geometry.penalty(nu, self.previous, self.tau))
        else:
            moved = abs(self.geometry.paid(answer.sqdistance, self.tau))
        moved = moved if np.isfinite(moved) else 0.0
        raw = moved + float(np.sqrt(moved * self.moving)) + EPS * self.moving
        energy = self.energy_size(nu, moved)
        if not energy.size > 0:  # bounds alone: the penalty is all there is
            energy = Scale(self.moving, energy.raw)
        return energy + Scale(moved, raw)

    @cached_property
    def moving(self) -> float:
        """The raw terms of the penalty: what moving the whole mass by its own size would pay."""
        mu, geometry = self.previous, self.geometry
        if isinstance(geometry, Wasserstein) and not geometry.is_quadratic:
            return mu.mass * geometry.paid(
                geometry.of_cost(geometry.ground.longest(self.discrete)), self.tau
            )
        if isinstance(geometry, MMD) and isinstance(mu, Discrete):
            return self.penalty.sizes(mu.weights, False)[1] / self.step
        if isinstance(geometry, WassersteinFisherRao):
            return 4 * mu.mass / (geometry.beta * self.step)
        if isinstance(mu, Discrete) and isinstance(geometry, Wasserstein):
            spread = np.ptp(mu.points, axis=0) if mu.n else np.zeros(1)
            return mu.mass * float(spread @ spread) / self.step
        if isinstance(mu, Gaussian):
            return mu.mass * float(np.trace(mu.cov) + mu.mean @ mu.mean) / self.step
        return 4 * mu.mass / self.step

    @cached_property
    def has_form(self) -> bool:
        """Whether the energy has a normal form on the support of the previous measure."""
        if not isinstance(self.previous, Discrete):
            return False
        try:
            return self.form is not None
        except Unsupported:
            return False

    def certificate(self, answer: Answer) -> Certificate:
        """Gap and residual of an answer, from the measure it certifies alone."""
        nu = answer.judged
        return certify(self, nu)
