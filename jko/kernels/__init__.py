"""Kernels: Gram matrices, mean embeddings, MMD, operators on grids and low-rank factors.

>>> import numpy as np, jko
>>> k = jko.kernels.Gaussian(bandwidth=1.0) + 0.5 * jko.kernels.Laplace(bandwidth=2.0)
>>> k(np.zeros((1, 2)), np.zeros((3, 2))).shape
(1, 3)
"""

from . import algebra
from .base import Kernel
from .energy_distance import Energy
from .fast_sums import FastSums
from .hooks import Definiteness
from .integral import IntegralOperator
from .lowrank import LowRank, median_bandwidth, pivoted_cholesky
from .operators import KernelOperator
from .radial import RadialKernel
from .stationary import Gaussian, InverseMultiquadric, Laplace, Matern

Kernel._algebra = algebra  # what + and * of kernels call

__all__ = [
    "Kernel",
    "RadialKernel",
    "Gaussian",
    "InverseMultiquadric",
    "Matern",
    "Laplace",
    "Energy",
    "Definiteness",
    "FastSums",
    "IntegralOperator",
    "KernelOperator",
    "LowRank",
    "pivoted_cholesky",
    "median_bandwidth",
]
