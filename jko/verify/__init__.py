"""The theory, executed: every identity of the formulas as a check that returns an `Identity`.

`jko.verify.all()` runs them on fixed problems. Each check takes the object it tests as an
argument (a solver, a step function, an energy, an exact flow), so that it can be run on one's own
objects, and on wrong ones.
"""

from jko.identity import Identity, IdentityFailed, Report
from jko.verify.equivalence import cross_optimality, mixture_by_qp, mmd_kl_equivalence
from jko.verify.inequality import dissipation, regularised_dissipation
from jko.verify.orders import measured_order, order, scheme_order
from jko.verify.report import names, select
from jko.verify.report import run_all as all

__all__ = [
    "Identity",
    "IdentityFailed",
    "Report",
    "all",
    "cross_optimality",
    "dissipation",
    "measured_order",
    "mixture_by_qp",
    "mmd_kl_equivalence",
    "names",
    "order",
    "regularised_dissipation",
    "scheme_order",
    "select",
]
