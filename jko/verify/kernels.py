"""Kernel operators, the witness function, MMD computed three ways (formulas M4, M8, Y3)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from jko.energies import InclusiveKL, MMDEnergy
from jko.geometries import MMD, Hellinger
from jko.geometries.base import Geometry
from jko.identity import Identity, max_of
from jko.kernels import Gaussian as GaussianKernel
from jko.kernels import IntegralOperator, Kernel
from jko.measures import Histogram
from jko.measures.base import Discrete
from jko.validation import Array
from jko.verify.actions import path_action

Function = Callable[[ArrayLike], Array]


def three_ways(
    a: Discrete, b: Discrete, *, kernel: Kernel, geometry: Geometry | None = None
) -> Identity:
    """MMD^2 by the kernel, by the witness function and as the action of a path (formula M8)."""
    space = MMD(kernel) if geometry is None else geometry
    gram, delta = kernel.positive_gram(a.points), a.weights - b.weights
    by_kernel = float(delta @ gram @ delta)
    by_witness = float(MMD(kernel).witness(a, b)(a.points) @ delta) ** 2

    def power(mu: Discrete, rate: Array) -> float:
        return float(rate @ gram @ rate)

    by_path = path_action(lambda t: (1 - t) * a.weights + t * b.weights, a, power)
    found = space.sqdistance(a, b)
    residual = max_of(abs(v / found - 1) for v in (by_kernel, by_witness, by_path))
    statement = "MMD^2: kernel form = squared witness mean = action of the straight line (M8)"
    return Identity("mmd-three-ways", statement, found, by_kernel, residual, 1e-8)


def witness_is_best(
    a: Discrete, b: Discrete, *, kernel: Kernel, witness: Function | None = None, seed: int = 0
) -> Identity:
    """MMD = sup of int f d(a - b) over the unit ball of the kernel's space, attained."""
    f = MMD(kernel).witness(a, b) if witness is None else witness
    delta, gram = a.weights - b.weights, kernel.positive_gram(a.points)
    attained, length = float(f(a.points) @ delta), float(np.sqrt(delta @ gram @ delta))
    rng = np.random.default_rng(seed)
    rivals = []
    for size in (0.01, 0.1, 1.0):
        source = delta + size * np.abs(delta).max() * rng.normal(size=a.n)
        rivals.append(float(source @ gram @ delta / np.sqrt(source @ gram @ source)))
    residual = max_of([abs(attained - length), *(r - attained for r in rivals)]) / length
    statement = "MMD = sup of int f d(a-b) over the unit ball, the witness attains it"
    return Identity("mmd-witness", statement, attained, length, residual, 1e-9)


def onsager(
    mu: Discrete,
    *,
    kernel: Kernel,
    operator: Kernel | None = None,
    chord: Geometry | None = None,
    h: float = 1e-4,
    seed: int = 0,
) -> Identity:
    """G_MMD(mu) = K_mu o G_He(mu) on rates of change (formula Y3), from the geometries' potentials.

    G r is the derivative of the first variation of D^2/2 at mu in the direction r.
    """
    rate = mu.weights * np.random.default_rng(seed).uniform(-1, 1, mu.n)
    rate -= rate.sum() * mu.weights / mu.mass
    ahead, behind = (mu.with_weights(mu.weights + s * h * rate) for s in (1, -1))

    def force(geometry: Geometry) -> Array:
        return (geometry.potential(ahead, mu) - geometry.potential(behind, mu)) / (2 * h)

    reaction = force(Hellinger() if chord is None else chord)
    lhs = force(MMD(kernel))
    rhs = (kernel if operator is None else operator).integral_operator(mu) @ reaction
    residual = float(np.abs(lhs - rhs).max() / np.abs(lhs).max())
    size = float(np.abs(lhs).max())
    statement = "G_MMD = K_mu o G_He: the MMD metric is the kernelised Hellinger metric (Y3)"
    return Identity("onsager-mmd", statement, size, float(np.abs(rhs).max()), residual, 1e-6)


def trace(rho: Discrete, *, kernel: Kernel, found: IntegralOperator | None = None) -> Identity:
    """Sum of the eigenvalues of K_rho = nuclear norm = int k(x, x) drho; none is negative."""
    operator = kernel.integral_operator(rho) if found is None else found
    total = float(rho.weights @ kernel.diagonal(rho.points))
    values = operator.spectrum
    misses = [values.sum() - total, operator.nuclear_norm - total, operator.trace - total]
    residual = max_of([*(abs(float(m)) for m in misses), -float(values.min())]) / total
    statement = "K_rho >= 0: sum of eigenvalues = nuclear norm = int k(x,x) drho"
    return Identity("kernel-trace", statement, float(values.sum()), total, residual, 1e-12)


def hilbert_schmidt(
    rho: Discrete, *, kernel: Kernel, found: IntegralOperator | None = None
) -> Identity:
    """Sum of squared eigenvalues of K_rho = double integral of k^2: the operator is compact."""
    operator = kernel.integral_operator(rho) if found is None else found
    lhs = float((operator.spectrum**2).sum())
    rhs = float(rho.weights @ kernel(rho.points) ** 2 @ rho.weights)
    statement = "K_rho is Hilbert-Schmidt: sum of squared eigenvalues = int int k^2 drho drho"
    return Identity("kernel-hilbert-schmidt", statement, lhs, rhs, abs(lhs / rhs - 1), 1e-11)


def mercer(
    *, bandwidth: float = 0.8, count: int = 12, nodes: int = 80, kernel: Kernel | None = None
) -> Identity:
    """Eigenvalues of the Gaussian kernel in L2(N(0, 1)) fall geometrically, as Mercer's series has.

    lambda_k = sqrt(2a/A) (b/A)^k, a = 1/4, b = 1/(2 h^2), A = a + b + sqrt(a^2 + 2ab); the integral
    is a Gauss-Hermite rule.
    """
    x, w = np.polynomial.hermite_e.hermegauss(nodes)
    rho = Histogram(x[:, None], w / w.sum())
    k = GaussianKernel(bandwidth) if kernel is None else kernel
    found = k.integral_operator(rho).spectrum[:count]
    a, b = 0.25, 0.5 / bandwidth**2
    top = a + b + np.sqrt(a**2 + 2 * a * b)
    exact = np.sqrt(2 * a / top) * (b / top) ** np.arange(count)
    residual = float(np.abs(found - exact).max())
    statement = "K_rho is compact: eigenvalues of the Gaussian kernel in L2(N(0,1)) are geometric"
    return Identity("kernel-mercer", statement, float(found[-1]), float(exact[-1]), residual, 1e-10)


def ridge_regression(operator: IntegralOperator, f: Array, ridge: float) -> Array:
    """K_mu (K_mu + ridge)^{-1} f, through the symmetric matrix."""
    root = np.sqrt(operator.weights)
    matrix = root[:, None] * operator.operator.dense() * root
    inner = np.linalg.solve(matrix + ridge * np.eye(root.size), root * f)
    return np.asarray(matrix @ inner / root)


def small_ridge(
    target: Discrete, mu: Discrete, *, kernel: Kernel, ridges: tuple[float, ...] = (1e-5, 1e-6)
) -> Identity:
    """The regression of the inclusive-KL force tends to it as the ridge vanishes (formula Y3)."""
    f = InclusiveKL(target).first_variation(mu)
    operator = kernel.integral_operator(mu)
    size = float(np.abs(f).max())
    far = [float(np.abs(ridge_regression(operator, f, r) - f).max()) / size for r in ridges]
    ratio = far[1] / far[0] / (ridges[1] / ridges[0])
    residual = max_of([far[-1], abs(ratio - 1)])
    statement = "ridge -> 0: the kernel regression of the force is the force, first order (Y3)"
    return Identity("kernel-fisher-rao-small-ridge", statement, far[1], far[0], residual, 1e-2)


def large_ridge(
    target: Discrete,
    mu: Discrete,
    *,
    kernel: Kernel,
    ridge: float = 1e7,
    other: Kernel | None = None,
) -> Identity:
    """ridge * regression of the inclusive-KL force tends to the MMD force (formula Y3)."""
    f = InclusiveKL(target).first_variation(mu)
    lhs = ridge * ridge_regression(kernel.integral_operator(mu), f, ridge)
    rhs = MMDEnergy(target, kernel if other is None else other).first_variation(mu)
    residual = float(np.abs(lhs - rhs).max() / np.abs(rhs).max())
    statement = "ridge -> infinity: ridge * regression is the MMD force K(mu - pi) (Y3)"
    size = float(np.abs(lhs).max())
    return Identity(
        "kernel-fisher-rao-large-ridge", statement, size, float(np.abs(rhs).max()), residual, 1e-6
    )
