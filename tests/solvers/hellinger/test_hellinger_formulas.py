"""Closed forms and roots per atom, in 150 digits: the optimality condition changes sign at them."""

import itertools
from functools import cache

import mpmath
import numpy as np
import pytest

import jko
from jko.prox import ProxProblem
from jko.prox.stated import Controls
from jko.solvers import ClosedForm, DualRoot

TAUS = (1e-6, 1e-3, 0.3, 1.7, 2.0, 40.0, 1e6)
BEFORE = (0.0, 1e-300, 1e-160, 1e-20, 1e-3, 0.4, 1.0)
TARGET = (0.0, 1e-300, 1e-150, 1e-9, 0.3, 1.0)
DELTA = mpmath.mpf("1e-12")


@pytest.fixture(autouse=True)
def many_digits():
    with mpmath.workdps(150):
        yield


def condition(p, w, before, pi, tau, slope=0.0):
    """phi_p'(w/pi) + slope + (2/tau)(1 - sqrt(m'/w)) for w > 0; p None: slope alone."""
    pi, tau, before = mpmath.mpf(pi), mpmath.mpf(tau), mpmath.mpf(before)
    moved = (2 / tau) * (1 - mpmath.sqrt(before / w))
    if p is None:
        f = 0
    elif p == 1:
        f = mpmath.log(w / pi)
    elif pi == 0:
        f = mpmath.mpf(1) / (1 - mpmath.mpf(p))
    else:
        f = ((w / pi) ** (mpmath.mpf(p) - 1) - 1) / (mpmath.mpf(p) - 1)
    return f + mpmath.mpf(slope) + moved


def check_weight(p, w, before, pi, tau, slope=0.0):
    """The root of the condition lies within 1e-12 of w, relatively."""
    args = (before, pi, tau, slope)
    if pi == 0 and p is not None and p >= 1:
        assert w == 0
    elif w < 1e-300:
        assert condition(p, mpmath.mpf("1.0001e-300"), *args) >= 0
    else:
        assert condition(p, mpmath.mpf(w) * (1 - DELTA), *args) <= 0
        assert condition(p, mpmath.mpf(w) * (1 + DELTA), *args) >= 0


def table(slopes=(0.0,)):
    rows = np.array(list(itertools.product(BEFORE, TARGET, slopes)))
    mu = jko.Histogram(np.arange(len(rows))[:, None], rows[:, 0])
    return mu, mu.with_weights(rows[:, 1]), rows


def solved(solver, energy, mu, tau):
    problem = ProxProblem(energy, jko.Hellinger(), mu, tau)
    assert solver.accepts(problem) is None
    return solver.solve(problem, Controls(tol=1e-9)).measure.weights


@pytest.mark.parametrize("solver", [ClosedForm(), DualRoot()], ids=lambda s: s.name)
@pytest.mark.parametrize("p", [0.0, 0.5, 1.0, 2.0])
def test_divergences(solver, p):
    mu, pi, rows = table()
    for tau in TAUS:
        w = solved(solver, jko.PhiDivergence(pi, p=p), mu, tau)
        for weight, (before, target, _) in zip(w, rows, strict=True):
            check_weight(p, weight, before, target, tau)


@pytest.mark.parametrize("p", [-0.5, 0.3, 1.5, 3.0])
def test_other_powers(p):
    mu, pi, rows = table()
    if p <= 0:  # the coefficient pi^{1-p} of a tiny target underflows
        rows = rows[rows[:, 1] > 1e-100]
        mu = jko.Histogram(np.arange(len(rows))[:, None], rows[:, 0])
        pi = mu.with_weights(rows[:, 1])
    for tau in (1e-3, 0.3, 40.0):
        w = solved(DualRoot(), jko.PhiDivergence(pi, p=p), mu, tau)
        for weight, (before, target, _) in zip(w, rows, strict=True):
            if target > 1e-100:  # beyond, pi^{1-p} leaves the range of floats
                check_weight(p, weight, before, target, tau)


@pytest.mark.parametrize("solver", [ClosedForm(), DualRoot()], ids=lambda s: s.name)
@pytest.mark.parametrize("p", [1.0, 2.0])
def test_divergence_with_a_potential(solver, p):
    mu, pi, rows = table(slopes=(-3.0, -0.25, 4.0))
    for tau in (1e-3, 1.7, 40.0):
        w = solved(solver, jko.PhiDivergence(pi, p=p) + jko.Potential(rows[:, 2]), mu, tau)
        for weight, row in zip(w, rows, strict=True):
            check_weight(p, weight, *row[:2], tau, row[2])


@pytest.mark.parametrize("solver", [ClosedForm(), DualRoot()], ids=lambda s: s.name)
def test_potentials(solver):
    slopes = np.array([-0.9, 0.0, 0.3, 2e3])
    for before in BEFORE[1:]:
        mu = jko.Histogram(np.arange(4)[:, None], np.full(4, before))
        for tau in (1e-6, 0.3, 1.7):
            for weight, slope in zip(
                solved(solver, jko.Potential(slopes), mu, tau), slopes, strict=True
            ):
                check_weight(None, weight, before, 1.0, tau, slope)


def exact_root(p, a, before, pi, tau):
    """Weight with a + c psi_p'(w) + (2/tau)(1 - sqrt(m'/w)) = 0, a the linear part minus lam."""
    a, before, pi = (mpmath.mpf(x) for x in (a, before, pi))
    half = mpmath.mpf(tau) / 2
    big_a, s1 = 1 + half * a, mpmath.sqrt(before)
    if p is None or pi == 0:
        return (s1 / big_a) ** 2
    if p == 1:
        v = mpmath.lambertw(s1 / (2 * half) * mpmath.exp(big_a / (2 * half)))
        return (s1 / (2 * half * v)) ** 2 if before > 0 else mpmath.exp(-big_a / half)
    if p == 0:
        return ((s1 + mpmath.sqrt(before + 4 * big_a * half * pi)) / (2 * big_a)) ** 2
    if p == 0.5:
        return ((s1 + 2 * half * mpmath.sqrt(pi)) / big_a) ** 2
    c = half / pi
    s = mpmath.cbrt(s1 / c) + mpmath.sqrt(max(-big_a / c, 0))  # to the right of the root: Newton
    for _ in range(200):  # descends monotonically on the convex cubic
        if s == 0:
            break
        step = (c * s**3 + big_a * s - s1) / (3 * c * s**2 + big_a)
        s -= step
        if abs(step) < mpmath.mpf("1e-40") * s:
            break
    return s**2


@cache
def exact_fixed_mass(p, linear, before, pi, tau, mass):
    """The weights of the fixed-mass step, the multiplier bisected in 150 digits.

    Linear part and weights are tuples; every solver is held against the same few.
    """
    barrier = mpmath.inf
    if p is None or p < 1:
        barrier = mpmath.mpf(float(min(linear))) + 2 / mpmath.mpf(tau)

    def weights(lam):
        data = zip(linear, before, pi, strict=True)
        return [exact_root(p, mpmath.mpf(float(a)) - lam, m, q, tau) for a, m, q in data]

    lo, hi = mpmath.mpf(-1), min(barrier, mpmath.mpf(1))
    while sum(weights(lo)) > mass:
        lo *= 4
    while hi < barrier and sum(weights(hi)) < mass:
        hi = min(4 * hi, barrier)
    for _ in range(480 if barrier < mpmath.inf else 170):  # A may be as small as 1e-100
        middle = (lo + hi) / 2
        lo, hi = (middle, hi) if sum(weights(middle)) < mass else (lo, middle)
    return weights(lo)


@pytest.mark.parametrize("solver", [ClosedForm(), DualRoot()], ids=lambda s: s.name)
@pytest.mark.parametrize("p", [None, 0.0, 0.5, 1.0, 2.0])
def test_fixed_mass(solver, p):
    before = np.array([0.7, 1e-200, 0.4, 0.0, 1e-9, 0.2])
    pi = np.array([0.2, 0.3, 1e-120, 0.4, 0.05, 0.8])
    v = np.array([0.3, -1.0, 2.0, 0.5, -0.2, 0.0])
    mu = jko.Histogram(np.arange(6)[:, None], before)
    energy = jko.Potential(v)
    if p is not None:
        energy = energy + jko.PhiDivergence(mu.with_weights(pi), p=p)
    linear = v if p is None else energy.restrict(mu).separable.linear
    mass = sum(mpmath.mpf(float(m)) for m in before)
    for tau in (1e-6, 0.5, 1e3):
        problem = ProxProblem(energy, jko.Hellinger(mass="fixed"), mu, tau)
        w = solver.solve(problem, Controls(tol=1e-9)).measure.weights
        assert w.sum() == pytest.approx(mu.mass, rel=4e-16)
        # Coefficients are floats on both sides: -log pi as the energy stores it.
        exact = exact_fixed_mass(p, *map(tuple, (linear, before, pi)), tau, mass)
        for mine, truth in zip(w, exact, strict=True):
            if truth > 1e-300:
                assert abs(mine / truth - 1) < 2e-12
            else:
                assert mine < 1e-299
