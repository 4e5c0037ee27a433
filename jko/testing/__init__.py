"""Contract checks for energies, geometries, kernels and solvers: ours, and other people's.

Each check raises AssertionError with a sentence, skips what an object does not offer (it raises
`jko.Unsupported`), and returns the names of the checks that ran, so that a test can assert that
nothing it counts on was skipped.
"""

from jko.testing.energies import check_energy
from jko.testing.geometries import check_geometry
from jko.testing.kernels import check_kernel
from jko.testing.solvers import check_solver

__all__ = ["check_energy", "check_geometry", "check_kernel", "check_solver"]
