"""Every public kernel, and their algebra, pass the checks offered to users."""

import pytest
from generators import measures

import jko
from jko import kernels
from jko.testing import check_kernel

ALL = ["gram", "definiteness", "gradient", "products", "algebra"]
CASES = [
    kernels.Gaussian(0.7),
    kernels.InverseMultiquadric(0.8),
    kernels.Matern(0.9, nu=0.5),
    kernels.Matern(0.9, nu=2.5),
    kernels.Laplace(1.1),
    kernels.Energy(),
    kernels.Gaussian(0.7) + 0.5 * kernels.Laplace(2.0),
    kernels.Gaussian(0.7) * kernels.Laplace(2.0),
]


@pytest.mark.parametrize("dim", [1, 3])
@pytest.mark.parametrize("kernel", CASES, ids=repr)
def test_kernel(kernel, dim):
    assert check_kernel(kernel, measures.points(14, dim)) == ALL


def test_every_public_kernel_is_covered():
    public = {
        name
        for name in kernels.__all__
        if isinstance(getattr(jko.kernels, name), type)
        and issubclass(getattr(jko.kernels, name), kernels.Kernel)
        and not getattr(getattr(jko.kernels, name), "__abstractmethods__", None)
    }
    covered = {"Gaussian", "InverseMultiquadric", "Matern", "Laplace", "Energy"}
    algebra = {"Product", "Scaled", "Sum"}
    assert public - algebra <= covered, "a new kernel needs a case in this file"
