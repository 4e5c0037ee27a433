"""The best of several tries, and how long a figure has not been halved."""

import numpy as np

from jko.numerics.best import Best, Halving, best_of


def test_tries_end_with_the_first_that_is_good_enough():
    made = []

    def tries():
        for k in (3, 1, 2, 0):
            made.append(k)
            yield k

    assert best_of(tries(), float, lambda k: k <= 1) == 1
    assert made == [3, 1]


def test_without_a_good_one_the_first_of_the_best_is_kept():
    found = best_of([(2, "a"), (1, "b"), (1, "c")], lambda p: p[0], lambda p: False)
    assert found == (1, "b")
    assert best_of([], float, lambda k: True) is None
    assert best_of([np.nan], float, lambda k: False) is not None


def test_a_figure_is_stale_until_it_is_halved():
    halving = Halving()
    assert [halving.seen(x) for x in (8.0, 5.0, 4.0, 3.9, 2.0, 1.9)] == [0, 1, 2, 0, 1, 0]


def test_the_first_of_the_least_figure_is_kept():
    offered = (np.nan, 2.0, 2.0, np.nan, 1.0)
    best = Best()
    assert [best.offer(x, n) for n, x in enumerate(offered)] == [True, True, False, False, True]
    assert (best.figure, best.found) == (1.0, 4)
    best = Best(found="start")
    assert [best.offer(x, n) for n, x in enumerate(offered)] == [False, True, False, False, True]
