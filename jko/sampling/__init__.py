"""Samples of an unnormalised density: weighted particles with diagnostics."""

from jko.sampling.api import sample
from jko.sampling.comparison import Comparison, compare
from jko.sampling.gradients import check_gradient
from jko.sampling.result import SampleResult

__all__ = ["Comparison", "SampleResult", "check_gradient", "compare", "sample"]
