"""Internal energies of a density: entropy (porous medium and box constraint stand beside it)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from jko.energies.base import FormEnergy
from jko.energies.form import WeightForm
from jko.energies.separable import Separable
from jko.errors import InvalidMeasure, Unsupported
from jko.measures.atoms import Particles
from jko.measures.base import Discrete
from jko.validation import Array, finite_array


class Entropy(FormEnergy):
    """int rho log rho dx on grids; sum w log(w / reference) on histograms.

    Parameters
    ----------
    reference : (n,) array of positive numbers, optional
        The base measure; cell volumes on grids and counting measure on histograms by default.
    """

    def __init__(self, reference: ArrayLike | None = None) -> None:
        self._reference: Array | None = None
        if reference is not None:
            ref = finite_array(reference, "reference", InvalidMeasure)
            if not (ref > 0).all():
                raise InvalidMeasure(
                    f"reference has minimum {ref.min():.6g}; every entry must be positive"
                )
            self._reference = ref

    def restrict(self, mu: Discrete) -> WeightForm:
        if isinstance(mu, Particles) and self._reference is None:
            raise Unsupported(
                "Entropy of particles is infinite; use a jko.GridDensity or jko.Histogram,"
                " or pass Entropy(reference=...) to weigh the atoms against a reference"
            )
        reference = mu.reference if self._reference is None else self._reference
        if reference.shape != (mu.n,):
            raise InvalidMeasure(f"reference has shape {reference.shape}, expected ({mu.n},)")
        # w log(w/ref) = psi_1(w) + w (1 - log ref)
        return WeightForm(Separable(1.0 - np.log(reference), {1.0: np.ones(mu.n)}))

    def __repr__(self) -> str:
        return "Entropy()" if self._reference is None else "Entropy(reference)"
