r"""Hellinger steps of any separable energy: one exponential sum per atom, in log sqrt(w)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from jko.geometries.base import Geometry
from jko.geometries.hellinger import Hellinger
from jko.measures.base import Discrete, Measure
from jko.numerics.roots import exponential_sum_root
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Controls
from jko.solvers.base import ProxSolver
from jko.solvers.hellinger.atoms import Atoms, atoms_of
from jko.solvers.hellinger.closed_form import hellinger_answer, refuse_nonseparable
from jko.validation import Array


class RootResponse:
    """w(A) for any mixture of powers, each call started from the last one.

    In z = log s the condition reads A + 2 C_1 z + sum_p C_p e^{2(p-1) z}/(p-1) - s' e^{-z} = 0,
    increasing in z: a safeguarded Newton per atom (formula H2f). From one multiplier to the next z
    is predicted to first order in A.
    """

    def __init__(self, atoms: Atoms, start: Array | None = None) -> None:
        self.atoms = atoms
        self.slope = 2 * atoms.powers[1.0] if 1.0 in atoms.powers else np.zeros(atoms.n)
        self.terms = [(c / (p - 1), 2 * (p - 1)) for p, c in atoms.powers.items() if p != 1]
        self.terms.append((-atoms.root, -1.0))
        self.z = np.log(np.where(atoms.root > 0, atoms.root, 1.0)) if start is None else start
        self.last: tuple[Array, Array] | None = None

    def __call__(self, a: Array) -> Array:
        start = self.z
        if self.last is not None:
            before, w = self.last
            relative = np.where(w > 0, self.atoms.sensitivity(w) / np.where(w > 0, w, 1.0), 0.0)
            # A prediction beyond a factor e per call would be no better than none.
            start = start + np.clip(0.5 * relative * (before - a), -0.5, 0.5)
        z = exponential_sum_root(a, self.slope, self.terms, start)
        self.z = np.where(np.isfinite(z), z, self.z)
        w = np.exp(2 * z)
        self.last = a, w
        return w


@dataclass(frozen=True)
class DualRoot(ProxSolver):
    """Hellinger steps of any separable energy, on M+ or with fixed mass.

    Any mixture of powers, linear parts and upper bounds: a vectorised safeguarded Newton per atom,
    and a scalar root for the multiplier of the mass (hard case included).

    Notes
    -----
    Formula H2f and the paragraph on fixed mass.

    References
    ----------
    The dual is derived here; the flows are those of Mielke and Zhu (2025).
    """

    geometries: ClassVar[tuple[type[Geometry], ...]] = (Hellinger,)
    kinds: ClassVar[tuple[type[Measure], ...]] = (Discrete,)
    guarantee: ClassVar[str] = "exact: a root per atom to rounding, a scalar root for the mass"
    default_tol: ClassVar[float] = 1e-9

    def accepts(self, problem: ProxProblem) -> str | None:
        if not isinstance(problem.geometry, Hellinger):
            return "DualRoot takes Hellinger steps"
        return refuse_nonseparable(problem, "DualRoot")

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        atoms, index = atoms_of(problem)
        return hellinger_answer(problem, atoms, index, RootResponse(atoms), controls)
