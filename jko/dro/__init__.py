"""Robust learning under distribution shift: the proximal step upside down (formulas R1, R2).

>>> import jko
>>> mu = jko.Histogram([[0.0], [1.0]], [0.5, 0.5])
>>> jko.dro.worst_case([0.0, 1.0], mu, jko.Divergence(p=2), radius=0.02)
WorstCase(certified: value=0.6, nominal=0.5, multiplier=2.5, gap=0.0e+00)
"""

from importlib import import_module
from typing import Any

from jko.dro.box import BoxWorstCase, Violation, dual_violation, kernel_worst_case
from jko.dro.dual import DualFunction
from jko.dro.losses import Linear, Quadratic
from jko.dro.predictions import PredictionLoss
from jko.dro.result import WorstCase, WorstCaseStatus
from jko.dro.sets import CVaR, Sinkhorn, TotalVariation
from jko.dro.training import RobustFit, minimise
from jko.dro.worst import worst_case

__all__ = [
    "worst_case",
    "WorstCase",
    "WorstCaseStatus",
    "CVaR",
    "Linear",
    "Quadratic",
    "Sinkhorn",
    "TotalVariation",
    "kernel_worst_case",
    "BoxWorstCase",
    "DualFunction",
    "dual_violation",
    "Violation",
    "minimise",
    "RobustFit",
    "PredictionLoss",
    "RobustClassifier",
    "RobustRegressor",
]

#: These need scikit-learn, and are imported when they are first asked for.
_LEARNERS = ("RobustClassifier", "RobustRegressor")


def __getattr__(name: str) -> Any:
    if name in _LEARNERS:
        return getattr(import_module("jko.dro.learners"), name)
    raise AttributeError(f"module 'jko.dro' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LEARNERS})
