r"""The finite-volume scheme: mobilities, fluxes and their derivatives; how long a step is.

In cell masses w the implicit step of rho_t = div(rho grad f) is, without flux through the walls,

    R(w)_i = w_i - w'_i + tau sum_j M_ij (f_i(w) - f_j(w)) / h_ij^2 = 0,

M_ij between w_i and w_j and h_ij the distance of the centres: `jko.solvers.finite_volume.flux`
says which.
Where the density has a bound, f has a pressure p_i >= 0 besides, 0 in cells that are not full.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from jko.forms.form import WeightForm
from jko.measures.grid import Grid
from jko.numerics.multigrid import Balance
from jko.solvers.finite_volume.faces import LEAST_SLOPE, Faces, Flux
from jko.solvers.finite_volume.flux import Pair
from jko.validation import Array, Mask

#: Share of the mass that full cells give per unit, for systems that would be singular.
SOFT = 1e-10
#: Cells below this share of the largest density do not count.
CHARGED = 1e-4


@dataclass(frozen=True, eq=False)
class CellScheme:
    """The scheme for an energy in normal form on the cells of a grid."""

    form: WeightForm
    grid: Grid
    upwind: bool = False

    @cached_property
    def opened(self) -> Mask:
        """Cells that may carry mass."""
        return np.asarray(self.form.separable.ceiling > 0)

    @cached_property
    def bounded(self) -> Mask | None:
        """Cells whose density has a bound, None where no cell has one."""
        ceiling = self.form.separable.ceiling
        finite = np.isfinite(ceiling) & self.opened
        return finite if finite.any() else None

    @cached_property
    def faces(self) -> Faces:
        """Faces between them."""
        return Faces.of(self.grid, self.opened)

    @cached_property
    def powers(self) -> dict[float, Array]:
        """Powers that charge an open cell, and their coefficients."""
        return self.form.separable.charging

    def uniform(self, p: float) -> bool:
        """Whether the coefficient of a power is the same in all open cells."""
        c = self.powers[p][self.opened]
        return bool(np.ptp(c) <= 1e-12 * c.max())

    @property
    def barrier(self) -> bool:
        """Whether f is -inf at empty cells, so that none can be emptied."""
        return any(p <= 1 for p in self.powers)

    @cached_property
    def driftless(self) -> bool:
        """Whether the fluxes are those of Lap P(w), a symmetric matrix in the unknown P(w)."""
        if self.upwind or not self.powers or 1.0 in self.powers or self.form.quadratics:
            return False
        if self.bounded is not None:
            return False
        even = all(self.uniform(p) for p in self.powers)
        return even and not np.ptp(self.form.separable.linear[self.opened])

    def first_variation(self, w: Array) -> Array:
        """f (n,); -inf at empty cells under a barrier."""
        return self.form.gradient(w)

    def residual(
        self, w: Array, previous: Array, step: float, pressure: Array | None = None
    ) -> tuple[Array, Flux]:
        """R (n,) and the fluxes."""
        flux = self.flux(w, pressure)
        return w - (previous - step * self.outflow(flux)), flux

    def outflow(self, flux: Flux) -> Array:
        """A f (n,): what leaves every cell per unit of time."""
        return self.faces.divergence(flux.value * self.faces.scale)

    def jacobian(self, flux: Flux, step: float, push: Array | None = None) -> tuple[Balance, Array]:
        """Derivative of R without the long-range part of kernels, in u = s dw, and the slopes s.

        s is what leaves a cell per change of its mass, so that u is a change of the pressure P(w),
        smooth where that of the mass is not, and the matrix is close to 1/s + a Laplacian.
        In full cells, where `push` (n,) is positive, the unknown is the pressure over `push`.
        """
        faces = self.faces
        kept = np.ones(faces.size)
        if push is not None:
            pa, pb, m = push[faces.i], push[faces.j], flux.by_drift
            by_i = np.where(pa > 0, pa * m, flux.by_i)
            flux = flux._replace(by_i=by_i, by_j=np.where(pb > 0, -pb * m, flux.by_j))
            kept = np.where(push > 0, SOFT, 1.0)
        slope = np.maximum(step * faces.outgoing(flux) / faces.degree, LEAST_SLOPE)
        slope = np.where(self.opened, slope, 1.0)
        if self.driftless:
            ones = np.full(len(faces.i), step)
            return faces.balance(1 / (slope / step), ones, -ones), slope / step
        ahead, back = step * flux.by_i / slope[faces.i], step * flux.by_j / slope[faces.j]
        return faces.balance(kept / slope, ahead, back), slope

    def long_range(self, flux: Flux, step: float) -> Callable[[Array], Array] | None:
        """What kernels add to the Jacobian, as a function of a change of the masses."""
        if not self.form.quadratics:
            return None
        i, j, scale = self.faces.i, self.faces.j, self.faces.scale

        def product(change: Array) -> Array:
            slope = self.form.quadratic_gradient(change)
            return step * self.faces.divergence(scale * flux.by_drift * (slope[i] - slope[j]))

        return product

    def flux(self, w: Array, pressure: Array | None = None) -> Flux:
        """Fluxes and their derivatives at masses w, with the pressure (n,) of full cells."""
        linear = self.form.separable.linear + self.form.quadratic_gradient(w)
        linear = linear if pressure is None else linear + pressure
        drift = linear[self.faces.i] - linear[self.faces.j]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            pair = Pair(self, w, drift)
            if 1.0 in self.powers:
                return pair.drifting()
            if self.upwind or not self.powers:
                return pair.given()
            return pair.diffusive() if self.driftless else pair.monotone()


def model_error(scheme: CellScheme, w: Array, step: float) -> float:
    """q = step max |D^2 f| over cells whose neighbours are charged, by central differences."""
    grid = scheme.grid
    f = scheme.first_variation(w)
    field = np.where(w > CHARGED * w.max(), f, np.nan).reshape(grid.shape)
    # One cell from the other side is enough for differences around a periodic axis.
    field = np.pad(field, [(1, 1) if p else (0, 0) for p in grid.periodic], mode="wrap")
    worst = 0.0
    for axis, h in enumerate(grid.spacing):
        if field.shape[axis] > 2:
            worst = max(worst, _largest(np.diff(field, 2, axis=axis)) / h**2)
        for other in range(axis):
            if min(field.shape[axis], field.shape[other]) > 1:
                mixed = np.diff(np.diff(field, axis=axis), axis=other)
                worst = max(worst, _largest(mixed) / (h * float(grid.spacing[other])))
    return step * worst


def displacement(scheme: CellScheme, w: Array, step: float) -> float:
    """step max |grad f|/h over the faces that mass crosses: how many cells it moves by.

    Those are faces between charged cells, and all faces of a charged cell that has no such one.
    """
    i, j, level = scheme.faces.i, scheme.faces.j, CHARGED * w.max()
    charged = w > level
    between = charged[i] & charged[j]
    alone = charged.copy()
    alone[i[between]] = alone[j[between]] = False
    crossed = between | alone[i] | alone[j]
    f = scheme.first_variation(w)
    return step * _largest(scheme.faces.scale[crossed] * (f[i[crossed]] - f[j[crossed]]))


def _largest(values: Array) -> float:
    known = np.abs(values[np.isfinite(values)])
    return float(known.max(initial=0.0))
