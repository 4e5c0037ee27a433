"""Variational inference as gradient flow: Gaussians and mixtures of them, either KL."""

from jko.vi.fit import fit
from jko.vi.importance import ImportanceSample, importance_sample
from jko.vi.laplace import laplace
from jko.vi.minibatch import Minibatch
from jko.vi.result import Fit, TraceRow

__all__ = [
    "Fit",
    "ImportanceSample",
    "Minibatch",
    "TraceRow",
    "fit",
    "importance_sample",
    "laplace",
]
