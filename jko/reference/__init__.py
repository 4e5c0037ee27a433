"""Exact solutions that tests, demos and the accuracy pages are judged against.

Plain functions, and a class of profiles, each with its label on the page of formulas.
None of them calls a solver, an energy or a geometry of the library.
"""

from jko.reference.barenblatt import Barenblatt
from jko.reference.gaussians import (
    entropic_std,
    fisher_rao_gaussian_flow,
    gaussian_jko_step,
    ou_flow,
    ou_step,
    wfr_gaussian_flow,
)
from jko.reference.reaction import hellinger_flow, wfr_diracs
from jko.reference.transport import drift_density, energy_distance_quantile, jam_shares

__all__ = [
    "ou_step",
    "ou_flow",
    "entropic_std",
    "gaussian_jko_step",
    "fisher_rao_gaussian_flow",
    "wfr_gaussian_flow",
    "hellinger_flow",
    "wfr_diracs",
    "Barenblatt",
    "drift_density",
    "jam_shares",
    "energy_distance_quantile",
]
