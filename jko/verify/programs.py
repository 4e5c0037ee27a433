"""The KL side of the equivalence theorem as an exponential-cone program of its own."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from jko.validation import Array

#: Explicit tolerances for Clarabel: its defaults (1e-8) are too loose for a distance of 1e-5.
TIGHT = {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-12}


def inclusive_kl_program(coefficients: Array, total: float, mass: float | None) -> Array:
    """argmin_w -sum c log w + total sum w, w >= 0 [sum w = mass], by exponential cones (Clarabel).

    With c = pi + m'/eta and total = 1 + 1/eta this is argmin KL(pi|.) + KL(m'|.)/eta (formula M1).

    Parameters
    ----------
    coefficients : (n,) array, >= 0
    total : float
    mass : float or None
        None: free.

    Returns
    -------
    (n,) array
    """
    import cvxpy as cp

    n = coefficients.size
    charged = np.flatnonzero(coefficients > 0)
    w = cp.Variable(n, nonneg=True)
    objective = total * cp.sum(w) - coefficients[charged] @ cp.log(w[charged])
    constraints = [] if mass is None else [cp.sum(w) == mass]
    program = cp.Problem(cp.Minimize(n * objective), constraints)
    _run(program)
    return np.asarray(np.maximum(np.asarray(w.value, dtype=float), 0.0))


def _run(program: Any) -> None:
    """Solve with the tight tolerances; the caller judges the answer, not the status."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        program.solve(solver="CLARABEL", **TIGHT)
