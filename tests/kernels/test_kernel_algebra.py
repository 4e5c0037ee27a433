"""Kernels add, multiply and scale as values do."""

import numpy as np
import pytest
from kernel_cases import cloud

from jko.kernels import Energy, Gaussian, InverseMultiquadric, Laplace, Matern

A, B, C = Gaussian(0.7), InverseMultiquadric(0.8), Laplace(1.1)
X, Y = cloud(5, 2), cloud(4, 2, seed=1)

EXPRESSIONS = [
    (lambda a, b, c: a + b + c),
    (lambda a, b, c: 2.0 * (a + b) * c),
    (lambda a, b, c: (a + 0.5 * b) * (c + 3.0 * a)),
    (lambda a, b, c: np.float64(2) * a * b * (0.25 * c)),
    (lambda a, b, c: a * a * b + sum([a, b])),
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_expressions_evaluate_like_their_values(expression):
    got = expression(A, B, C)(X, Y)
    np.testing.assert_allclose(got, expression(A(X, Y), B(X, Y), C(X, Y)), rtol=1e-13)


def test_compound_kernels_are_flat():
    assert len((A + (B + C)).terms) == 3
    assert len(((A + B) * (B + C)).terms) == 4
    assert 2.0 * (3.0 * A) == 6.0 * A
    assert 1.0 * A is A
    assert (2.0 * A) * (3.0 * B) == 6.0 * (A * B)
    assert Gaussian(3.0) * Gaussian(4.0) == Gaussian(2.4)


def test_repr_reads_like_the_expression():
    assert repr(2.0 * A + B * C) == (
        "2 * Gaussian(bandwidth=0.7)"
        " + InverseMultiquadric(bandwidth=0.8, exponent=0.5) * Laplace(bandwidth=1.1)"
    )
    assert eval(repr(2.0 * A + B * C)) == 2.0 * A + B * C


def test_equality_and_hash_go_by_value():
    assert Gaussian(1) == Gaussian(1.0)
    assert Gaussian(1.0) != Laplace(1.0)
    assert len({2.0 * A + B, 2.0 * Gaussian(0.7) + B, A + B}) == 2
    with pytest.raises(AttributeError):
        A.bandwidth = 2.0


@pytest.mark.parametrize(
    ("k", "definiteness", "maximum", "separable"),
    [
        (A, "positive", 1.0, True),
        (2.0 * A, "positive", 2.0, True),
        (A + 3.0 * C, "positive", 4.0, False),
        (2.0 * B * C, "positive", 2.0, False),
        (Energy(), "conditional", None, False),
        (2.0 * Energy(), "conditional", None, False),
        (A + Energy(), "conditional", None, False),
        ((A + Energy()).positive(), "positive", None, False),
    ],
    ids=repr,
)
def test_what_each_operation_retains(k, definiteness, maximum, separable):
    assert k.definiteness == definiteness
    assert k.maximum == maximum
    assert k.separable is separable
    assert k.stationary or "Positive" in repr(k)


def test_other_operands_are_refused_by_python():
    with pytest.raises(TypeError):
        A + 1.0
    with pytest.raises(TypeError):
        A * "k"
    with pytest.raises(TypeError):
        np.ones(3) * A
    assert Matern(1.0, nu=0.5)(X) == pytest.approx(Laplace(1.0)(X))
