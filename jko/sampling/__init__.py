"""Samples of an unnormalised density: weighted particles with diagnostics."""

from jko.sampling.api import sample
from jko.sampling.gradients import check_gradient
from jko.sampling.result import SampleResult

__all__ = ["SampleResult", "check_gradient", "sample"]
