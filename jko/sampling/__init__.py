"""Samples of an unnormalised density: weighted particles with diagnostics."""

from jko.sampling.api import sample
from jko.sampling.report.comparison import Comparison, compare
from jko.sampling.report.result import SampleResult
from jko.sampling.target.gradients import check_gradient

__all__ = ["Comparison", "SampleResult", "check_gradient", "compare", "sample"]
