"""Balances of cells in a row: three diagonals, against the matrix written out."""

import numpy as np
import pytest

from jko.numerics.multigrid import Balance, solve
from jko.status import Breakdown


def row(n, shape, rng, around=0.0):
    """Random fluxes between n cells in a row, which keep the balance."""
    ahead = rng.uniform(0.1, 2.0, n)
    back = -rng.uniform(0.1, 2.0, n)
    ahead[-1], back[-1] = around, -around
    faces = [np.zeros(shape) for _ in shape], [np.zeros(shape) for _ in shape]
    axis = shape.index(n)
    faces[0][axis], faces[1][axis] = ahead.reshape(shape), back.reshape(shape)
    return Balance(rng.uniform(0.01, 1.0, shape), tuple(faces[0]), tuple(faces[1]))


@pytest.mark.parametrize("around", [0.0, 0.7])
@pytest.mark.parametrize("shape", [(2,), (3,), (57,), (57, 1), (1, 57), (1, 57, 1)])
def test_the_solution_is_that_of_the_matrix(shape, around, rng):
    n = max(shape)
    balance, b = row(n, shape, rng, around), rng.normal(size=n)
    x, iterations = solve(balance, b)
    assert iterations == 0
    assert balance.circular == (around > 0)
    np.testing.assert_allclose(x, np.linalg.solve(balance.matrix.toarray(), b), rtol=1e-10)


def test_what_has_no_solution_says_so(rng):
    balance = row(9, (9,), rng)
    nothing = Balance(np.zeros(9), (np.zeros(9),), (np.zeros(9),))
    with pytest.raises(Breakdown, match="singular"):
        solve(nothing, np.ones(9))
    with pytest.raises(Breakdown, match="not finite"):
        solve(Balance(np.full(9, np.nan), balance.ahead, balance.back), np.ones(9))
