"""Exact solutions against quadrature, differential equations and brute-force minimisation."""

import itertools

import mpmath as mp
import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.optimize import minimize, minimize_scalar
from scipy.special import logsumexp

import jko
from jko import reference as ref

RNG = np.random.default_rng(0)


def random_gaussian(d: int) -> tuple[np.ndarray, np.ndarray]:
    root = RNG.normal(size=(d, d))
    return RNG.normal(size=d), root @ root.T + 0.2 * np.eye(d)


def sqrtm(a: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(a)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def gaussian_objective(m, s, m0, s0, mt, st, tau):
    """KL(N(m,s)|N(mt,st)) + W2^2/(2 tau) from the textbook formulas."""
    p = np.linalg.inv(st)
    kl = 0.5 * (
        np.trace(p @ s)
        - len(m)
        + (m - mt) @ p @ (m - mt)
        - np.linalg.slogdet(s)[1]
        + np.linalg.slogdet(st)[1]
    )
    r = sqrtm(s0)
    w2 = ((m - m0) ** 2).sum() + np.trace(s + s0 - 2 * sqrtm(r @ s @ r))
    return kl + w2 / (2 * tau)


# -- W3, W4 ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("m", "s", "tau", "d", "kap", "a"), [(1, 2, 0.3, 1, 1, 0), (-1, 0.4, 5, 0.3, 2.5, 0.7)]
)
def test_ou_step_minimises(m, s, tau, d, kap, a):
    def objective(z):
        mean, std = z[0], np.exp(z[1])
        energy = -d * np.log(std) + kap / 2 * ((mean - a) ** 2 + std**2)
        return energy + ((mean - m) ** 2 + (std - s) ** 2) / (2 * tau)

    best = minimize(objective, [m, np.log(s)], method="BFGS", options={"gtol": 1e-10}).x
    mean, std = ref.ou_step(m, s, tau, diffusion=d, stiffness=kap, centre=a)
    assert mean == pytest.approx(best[0], abs=1e-7)
    assert std == pytest.approx(np.exp(best[1]), abs=1e-7)


def test_ou_flow_is_the_limit_and_solves_the_moment_equations():
    args = {"diffusion": 0.6, "stiffness": 1.7, "centre": 0.3}
    sol = solve_ivp(
        lambda t, y: [-1.7 * (y[0] - 0.3), 2 * 0.6 - 2 * 1.7 * y[1]], (0, 0.9), [1, 4], rtol=1e-11,
        atol=1e-12,
    )  # fmt: skip
    mean, std = ref.ou_flow(1, 2, 0.9, **args)
    assert (mean, std**2) == pytest.approx(sol.y[:, -1], abs=1e-9)
    errors = []
    for n in (50, 100):
        z = (1.0, 2.0)
        for _ in range(n):
            z = ref.ou_step(*z, 0.9 / n, **args)
        errors.append(np.hypot(z[0] - mean, z[1] - std))
    assert np.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize(("s", "tau", "reg", "kap"), [(1.3, 0.4, 0.5, 1.0), (0.7, 0.2, 0.3, 2.0)])
def test_entropic_std_is_the_fixed_point_of_the_scaling(s, tau, reg, kap, debiased):
    """Formulas W1, W2 on a fine grid, iterated in the log domain until nothing moves."""
    x = np.linspace(-9, 9, 301)
    h = x[1] - x[0]
    r = 2 * tau / reg
    log_k = -((x[:, None] - x) ** 2) / reg + np.log(h)
    apply = lambda v: logsumexp(log_k + v, axis=1)
    log_mu = -(x**2) / (2 * s**2)
    log_mu -= logsumexp(log_mu) + np.log(h)
    log_pi = -kap * x**2 / 2
    log_b, log_d = np.zeros_like(x), np.zeros_like(x)
    for _ in range(120):
        log_s = apply(log_mu - apply(log_b))
        log_nu = (log_s + r * log_pi + (log_d if debiased else 0)) / (1 + r)
        log_b = log_nu - log_s
        if debiased:
            log_d = 0.5 * (log_d + log_nu - apply(log_d))
    w = np.exp(log_nu - log_nu.max())
    w /= w.sum()
    measured = np.sqrt(w @ x**2)
    exact = ref.entropic_std(s, tau, reg, stiffness=kap, debiased=debiased)
    assert measured == pytest.approx(exact, abs=2e-9)


def test_entropic_std_limits():
    plain, sink = (
        np.array([ref.entropic_std(1.0, 0.1, e, debiased=b) for e in (0.02, 0.01)])
        for b in (False, True)
    )
    exact = ref.ou_step(0, 1.0, 0.1)[1]
    assert np.log2(np.divide(*(plain - exact))) == pytest.approx(1, abs=0.05)
    other = ref.ou_step(0, 2.0, 0.1)[1]
    errors = [ref.entropic_std(2.0, 0.1, e) - other for e in (0.02, 0.01)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.05)
    assert sink == pytest.approx(1.0, abs=1e-14)  # the equilibrium is kept
    assert abs(plain[0] - 1) > 1e-4


# -- G1, G2 ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("d", "tau"), [(1, 0.3), (2, 0.05), (2, 4.0), (3, 0.7)])
def test_gaussian_jko_step_has_no_better_competitor(d, tau):
    (m0, s0), (mt, st) = random_gaussian(d), random_gaussian(d)
    m, s = ref.gaussian_jko_step(m0, s0, mt, st, tau)
    low = np.tril_indices(d)

    def objective(z):
        root = np.zeros((d, d))
        root[low] = z[d:]
        return gaussian_objective(z[:d], root @ root.T, m0, s0, mt, st, tau)

    start = np.concatenate([m0, np.linalg.cholesky(s0)[low]])
    best = minimize(objective, start, method="BFGS", options={"gtol": 1e-7})
    found = gaussian_objective(m, s, m0, s0, mt, st, tau)
    assert found <= best.fun + 1e-12
    assert found == pytest.approx(best.fun, abs=1e-9)


def covariance_ode(m0, s0, mt, st, time, alpha, beta):
    d = len(m0)
    p = np.linalg.inv(st)

    def rate(_, y):
        m, s = y[:d], y[d:].reshape(d, d)
        dm = -alpha * p @ (m - mt) - beta * s @ p @ (m - mt)
        ds = alpha * (2 * np.eye(d) - p @ s - s @ p) + beta * (s - s @ p @ s)
        return np.concatenate([dm, ds.ravel()])

    y0 = np.concatenate([m0, s0.ravel()])
    y = solve_ivp(rate, (0, time), y0, rtol=1e-11, atol=1e-12).y[:, -1]
    return y[:d], y[d:].reshape(d, d)


@pytest.mark.parametrize("time", [0.1, 1.3])
@pytest.mark.parametrize(
    ("flow", "alpha"), [(ref.fisher_rao_gaussian_flow, 0), (ref.wfr_gaussian_flow, 1)]
)
def test_gaussian_flows_solve_their_moment_equations(flow, alpha, time):
    (m0, s0), (mt, st) = random_gaussian(2), random_gaussian(2)
    mean, cov = flow(m0, s0, mt, st, time)
    m, s = covariance_ode(m0, s0, mt, st, time, alpha, 1)
    assert mean == pytest.approx(m, abs=1e-8)
    assert cov == pytest.approx(s, abs=1e-8)


def test_moment_equation_of_the_reaction_is_that_of_the_density():
    """d/dt int g mu = -int mu (f - <f>) g for g = x, x^2: the ODE above, by quadrature."""
    m, v, mt, vt = 0.4, 0.7, -0.3, 1.9
    rho = lambda x: np.exp(-((x - m) ** 2) / (2 * v)) / np.sqrt(2 * np.pi * v)
    f = lambda x: (x - mt) ** 2 / (2 * vt) - (x - m) ** 2 / (2 * v)
    average = lambda g: quad(lambda x: rho(x) * g(x), -12, 12, epsabs=1e-12)[0]
    mean_f = average(f)
    dm = -average(lambda x: (f(x) - mean_f) * x)
    dv = -average(lambda x: (f(x) - mean_f) * (x - m) ** 2)
    assert dm == pytest.approx(-v / vt * (m - mt), abs=1e-9)
    assert dv == pytest.approx(v - v * v / vt, abs=1e-9)


# -- H5, U1 ---------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [-1.0, 0.0, 0.5, 1.0, 2.0, 3.0])
def test_hellinger_flow_solves_its_equation(p):
    mu0, target = np.array([0.3, 1.2, 0.05]), np.array([0.4, 0.1, 0.6])

    def rate(_, mu):
        r = mu / target
        return -mu * (np.log(r) if p == 1 else (r ** (p - 1) - 1) / (p - 1))

    end = solve_ivp(rate, (0, 0.8), mu0, rtol=1e-11, atol=1e-13, method="DOP853").y[:, -1]
    assert ref.hellinger_flow(mu0, target, 0.8, p) == pytest.approx(end, abs=1e-9)


def test_hellinger_flow_on_fixed_mass():
    mu0, target = np.array([0.3, 0.6, 0.1]), np.array([0.4, 0.1, 0.6])

    def rate(_, mu):
        f = np.log(mu / target)
        return -mu * (f - mu @ f / mu.sum())

    end = solve_ivp(rate, (0, 0.8), mu0, rtol=1e-11, atol=1e-13, method="DOP853").y[:, -1]
    assert ref.hellinger_flow(mu0, target, 0.8, mass="fixed") == pytest.approx(end, abs=1e-9)
    with pytest.raises(ValueError, match="p = 1 only"):
        ref.hellinger_flow(mu0, target, 0.8, p=2, mass="fixed")


@pytest.mark.parametrize(
    ("m0", "m1", "d", "alpha", "beta"), [(1, 2, 0.8, 1, 4), (0.5, 0.7, 2, 2, 1), (1, 1, 9, 1, 1)]
)
def test_wfr_diracs_minimises_the_dynamic_action(m0, m1, d, alpha, beta):
    """Piecewise linear paths of mass and place, or mass lost here and made there."""
    n = 24
    exact = ref.wfr_diracs(m0, m1, d, alpha, beta)

    def action(z):
        root = np.concatenate([[np.sqrt(m0)], z[: n - 1], [np.sqrt(m1)]])
        x = np.concatenate([[0], z[n - 1 :], [d]])
        middle = (root[1:] ** 2 + root[1:] * root[:-1] + root[:-1] ** 2) / 3
        # mass |v|^2/alpha + mass xi^2/beta with mass = root^2 and xi = mass'/mass.
        return n * (middle @ np.diff(x) ** 2 / alpha + 4 / beta * (np.diff(root) ** 2).sum())

    t = np.linspace(0, 1, n + 1)[1:-1]
    start = np.concatenate([(1 - t) * np.sqrt(m0) + t * np.sqrt(m1), d * t])
    travel = minimize(action, start, method="L-BFGS-B", options={"maxfun": 200_000}).fun
    react = 4 / beta * (m0 + m1)
    best = min(travel, react)
    assert exact <= best + 1e-9
    assert exact == pytest.approx(best, rel=4e-3)


def test_wfr_diracs_limits():
    assert ref.wfr_diracs(1, 3, 0, 7, 2) == pytest.approx(4 / 2 * (1 - np.sqrt(3)) ** 2)
    assert ref.wfr_diracs(1, 1, 0.01, 2, 1e-6) == pytest.approx(0.01**2 / 2, rel=1e-6)


# -- W5, W6, M9 -----------------------------------------------------------------------------


@pytest.mark.parametrize(("d", "m"), [(1, 2.0), (2, 2.0), (2, 4.0), (3, 1.5)])
def test_barenblatt_profile_and_dilation(d, m):
    b = ref.Barenblatt(dim=d, m=m)
    lam = b.start
    radial = lambda s, power: quad(
        lambda r: (
            2 * np.pi ** (d / 2) / float(mp.gamma(d / 2)) * r ** (d - 1 + power[1])
            * b.density(np.array([[r] + [0] * (d - 1)]), s)[0] ** power[0]
        ),
        0, b.radius(s), epsabs=1e-13, epsrel=1e-11, limit=400,
    )[0]  # fmt: skip
    assert radial(lam, (1, 0)) == pytest.approx(b.mass, rel=1e-7)
    assert b.density(np.zeros((1, d)), lam)[0] == pytest.approx(b.peak)
    # The step minimises over dilations, energy and transport cost by quadrature.
    tau, moment, internal = 0.4, radial(1.0, (1, 2)), radial(1.0, (m, 0))

    def objective(s):
        energy = b.g / (m - 1) * internal * s ** (-d * (m - 1))
        return energy + (s - lam) ** 2 * moment / (2 * tau)

    best = minimize_scalar(objective, bounds=(lam, 4 * lam), method="bounded",
                           options={"xatol": 1e-12}).x  # fmt: skip
    assert b.jko(lam, tau) == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize(("d", "m"), [(1, 2.0), (2, 3.0)])
def test_barenblatt_solves_the_equation(d, m):
    """rho_t - g Lap(rho^m) = 0 inside the support, in 40 digits."""
    b = ref.Barenblatt(dim=d, m=m)
    mp.mp.dps = 40
    beta, k, c, lam0 = mp.mpf(b.beta), mp.mpf(b.curvature), mp.mpf(b.height), mp.mpf(b.start)

    def rho(t, *x):
        lam = (lam0 ** (1 / beta) + mp.mpf(b.g) * t) ** beta
        return lam**-d * (c - k * sum(z * z for z in x) / lam**2) ** (mp.mpf(1) / (m - 1))

    point = [mp.mpf(b.radius(b.start)) * mp.mpf(z) for z in ("0.3", "0.4")[:d]]
    time = mp.diff(lambda t: rho(t, *point), 1)
    space = 0
    for i in range(d):
        along = lambda z, i=i: rho(1, *[z if j == i else point[j] for j in range(d)]) ** m
        space += mp.diff(along, point[i], 2)
    assert abs(time - b.g * space) < 1e-12 * abs(time)
    assert float(rho(1, *point)) == pytest.approx(
        b.density([[float(z) for z in point]], b.flow(b.start, 1.0))[0], rel=1e-12
    )


@pytest.mark.parametrize("m", [1.5, 2.0, 6.0])
def test_barenblatt_cells_on_a_line_by_quadrature(m):
    b = ref.Barenblatt(1, m)
    scale, grid = b.flow(b.start, 0.2), jko.Grid(-0.04, 0.37, 19)  # one front outside, one inside
    radius, edges = b.radius(scale), np.linspace(-0.04, 0.37, 20)
    assert edges[0] > -radius
    assert edges[-1] > radius
    density = lambda x: b.density([[x]], scale)[0]
    cells = [
        quad(density, low, max(low, min(up, radius)), epsabs=1e-13, epsrel=1e-12, limit=400)[0]
        for low, up in itertools.pairwise(edges)
    ]
    np.testing.assert_allclose(b.on(grid, scale).weights, cells, atol=1e-10)


@pytest.mark.parametrize("m", [1.5, 2.0, 6.0])
@pytest.mark.parametrize("shape", [(8,), (13, 8), (1, 6), (6, 5, 4)])
def test_barenblatt_cells_of_an_orthant_hold_their_part(shape, m):
    """Nothing is rescaled there, for half of the profile or more lies outside the box."""
    b, d = ref.Barenblatt(len(shape), m), len(shape)
    part = b.on(jko.Grid([0.0] * d, [0.6] * d, shape), b.flow(b.start, 0.3))
    assert part.mass == pytest.approx(b.mass / 2**d, rel=1e-7)
    whole = b.on(jko.Grid([-0.4] * d, [0.6] * d, shape), b.start)
    assert whole.mass == pytest.approx(b.mass, rel=1e-14)


@pytest.mark.parametrize(("dim", "tolerance"), [(1, 1e-14), (2, 1e-8), (3, 1e-5)])
@pytest.mark.parametrize("m", [2.0, 6.0])
def test_barenblatt_cells_are_the_sums_of_smaller_ones(dim, tolerance, m):
    b, coarse = ref.Barenblatt(dim, m), (7, 4, 5)[:dim]
    box = ([-0.21, -0.17, -0.3][:dim], [0.37, 0.11, 0.2][:dim])
    scale = b.flow(b.start, 0.1)
    parts = [n for cells in coarse for n in (cells, 3)]
    fine = b.on(jko.Grid(*box, [3 * n for n in coarse]), scale).weights.reshape(parts)
    sums = fine.sum(axis=tuple(range(1, 2 * dim, 2))).ravel()
    found = b.on(jko.Grid(*box, coarse), scale)
    assert np.abs(found.weights - sums).sum() <= tolerance * b.mass


@pytest.mark.parametrize(
    ("dim", "m", "bounds"),
    [
        (2, 2.0, (2e-3, 1e-5)),
        (2, 6.0, (3e-3, 2e-5)),
        (3, 2.0, (2e-3, 1e-4)),
        (3, 6.0, (6e-4, 4e-5)),
    ],
)
def test_barenblatt_cells_are_the_limit_of_samples(dim, m, bounds):
    b, shape = ref.Barenblatt(dim, m), (12, 9, 8)[:dim]
    box = ([-0.19, -0.4, -0.23][:dim], [0.41, 0.2, 0.3][:dim])
    scale = b.flow(b.start, 0.5)
    exact, errors = b.on(jko.Grid(*box, shape), scale), []
    for parts in (4, 64 if dim == 2 else 16):
        fine = jko.Grid(*box, [n * parts for n in shape])
        values = b.density(fine.points, scale).reshape([k for n in shape for k in (n, parts)])
        cells = values.sum(axis=tuple(range(1, 2 * dim, 2))).ravel() * fine.cell_volume
        errors.append(np.abs(exact.weights - cells).sum() / b.mass)
    assert all(e <= bound for e, bound in zip(errors, bounds, strict=True))


@pytest.mark.parametrize(("wrong", "message"), [
    ({"m": 1.0}, "m = 1 must exceed 1"), ({"m": 0.5}, "m = 0.5 must exceed 1"),
    ({"mass": -1}, "mass = -1 must be positive"), ({"peak": 0}, "peak = 0 must be positive"),
    ({"g": np.nan}, "g = nan is not finite"), ({"dim": 0}, "dim = 0 must be at least 1"),
    ({"dim": 2.5}, "dim must be a whole number"), ({"m": "2"}, "m must be a number"),
])  # fmt: skip
def test_barenblatt_profiles_that_are_none(wrong, message):
    with pytest.raises(jko.InvalidArgument, match=message):
        ref.Barenblatt(**wrong)


def test_barenblatt_cells_beside_the_profile_and_of_other_dimensions():
    b = ref.Barenblatt(2)
    assert b.radius(b.start) < 0.2
    half = b.on(jko.Grid([-0.5, 0.0], [0.5, 0.5], [20, 10]), b.start)
    assert half.mass == pytest.approx(b.mass / 2, rel=1e-7)
    assert (half.density[np.abs(half.grid.axes[0]) > 0.25] == 0).all()
    far = jko.Grid([0.2, -0.5], [0.5, 0.5], [6, 20])
    with pytest.raises(jko.InvalidMeasure, match="positive mass"):
        b.on(far, b.start)
    with pytest.raises(jko.InvalidArgument, match="dimension 1; this profile has dim = 2"):
        b.on(jko.Grid(-1, 1, 8), b.start)


@pytest.mark.parametrize(
    ("d", "m", "errors"),
    [
        (1, 2, [8.673e-2, 5.729e-2, 3.586e-2, 2.145e-2, 1.231e-2]),
        (2, 2, [6.376e-2, 3.734e-2, 2.064e-2, 1.095e-2, 5.655e-3]),
        (2, 6, [1.133e-1, 7.495e-2, 4.763e-2, 2.939e-2, 1.773e-2]),
    ],
)
def test_barenblatt_benchmark_table(d, m, errors):
    """Mean L1 distance over the steps of exact JKO to the PDE (the table of formula W5)."""
    b = ref.Barenblatt(dim=d, m=m)
    r = (np.arange(20_000) + 0.5) / 20_000 * b.radius(b.flow(b.start, 2.0)) * 1.01
    shell = (2 if d == 1 else 2 * np.pi * r) * (r[1] - r[0])
    at = np.stack([r] + [np.zeros_like(r)] * (d - 1), axis=1)
    for tau, expected in zip([0.4, 0.2, 0.1, 0.05, 0.025], errors, strict=True):
        scale, found = b.start, []
        for k in range(1, round(2 / tau) + 1):
            scale = b.jko(scale, tau)
            exact = b.density(at, b.flow(b.start, k * tau))
            found.append(np.abs(b.density(at, scale) - exact) @ (shell * np.ones_like(r)))
        assert np.mean(found) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("g", [1.0, -2.5])
def test_drift_density_solves_its_equation_without_flux(g):
    mp.mp.dps = 30
    a = mp.pi**2 + mp.mpf(g) ** 2 / 4

    def u(t, x):
        wave = mp.pi * mp.cos(mp.pi * x) + g / 2 * mp.sin(mp.pi * x)
        return mp.exp(-a * t + g * x / 2) * wave + mp.pi * mp.exp(g * (x - 0.5))

    flux = lambda t, x: mp.diff(lambda z: u(t, z), x) - g * u(t, x)
    for t, x in [(0.1, 0.3), (0.5, 0.8)]:
        rate = mp.diff(lambda s, x=x: u(s, x), t)
        assert abs(rate - mp.diff(lambda z, t=t: flux(t, z), x)) < 1e-9 * abs(rate)
        assert float(u(t, x)) == pytest.approx(ref.drift_density([x], t, g)[0], rel=1e-13)
    assert abs(flux(0.2, 0)) < 1e-9
    assert abs(flux(0.2, 1)) < 1e-9
    mass = quad(lambda x: ref.drift_density([x], 0.2, g)[0], 0, 1, epsabs=1e-12)[0]
    assert mass == pytest.approx(2 * np.pi * np.sinh(g / 2) / g, rel=1e-10)


# -- W7 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [0.0, 0.1])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_a_jam_is_what_a_step_makes_of_a_crowd(d, start):
    """Brute force over the places of 12 people who need room; from the start, and from a jam."""
    n, density, radius, tau = 12, 0.3, 0.75, 0.1
    shares, room = (np.arange(n) + 0.5) / n, density * radius**d  # room: r^d of the full jam
    r = np.linspace(0, radius, 100_001)

    def places(t):
        return np.interp(shares, ref.jam_shares(r, t, density, radius, d), r)

    before, after = places(start), places(start + tau)

    def objective(volumes):
        there = volumes ** (1 / d)
        return (there + (there - before) ** 2 / (2 * tau)).mean()

    needs = [{"type": "ineq", "fun": lambda v: np.diff(v, prepend=-room / (2 * n)) - room / n}]
    options = {"ftol": 1e-14, "maxiter": 500}
    best = minimize(objective, before**d, method="SLSQP", constraints=needs, options=options)
    assert needs[0]["fun"](after**d).min() > -1e-6
    assert objective(after**d) == pytest.approx(best.fun, abs=1e-7)
    np.testing.assert_allclose(after, best.x ** (1 / d), atol=2e-3)
    assert 0 < (after > before - tau + 1e-6).sum() < n  # some are held up, some are not


def test_energy_distance_quantile_follows_its_velocity():
    """d/dt Q_t = -f'(Q_t), f' = 2 (cdf of target - cdf of mu) with the sign of -|x-y|.

    On the spread part x in (-1, 0) of cdf s: f'(x) = -int sign(x-y) d(mu-pi)(y)
    = -(2s - 1) - 1, so the velocity is 2 s; where mass has arrived it stays.
    """
    s, t, dt = np.linspace(0.05, 0.95, 19), 0.6, 1e-6
    rate = (ref.energy_distance_quantile(s, t + dt) - ref.energy_distance_quantile(s, t)) / dt
    q = ref.energy_distance_quantile(s, t)
    moving = q < 0
    sign_mu = 2 * s - 1  # int sign(x - y) dmu(y) at the quantile s
    sign_pi = -1.0  # the target lies to the right
    assert rate[moving] == pytest.approx((sign_mu - sign_pi)[moving], abs=1e-6)
    assert (rate[~moving] == 0).all()
