"""jko.transport: hard, relaxed and entropic, against programs and definitions of their own."""

import numpy as np
import ot
import pytest
from scipy.optimize import linprog, minimize

import jko
from jko import Histogram, Particles
from jko.errors import InvalidArgument, InvalidMeasure, InvalidType, Unsupported

RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(6, 2)), RNG.normal(size=(5, 2)) + 0.5
A = Histogram(X, RNG.dirichlet(np.ones(6)) * np.array([1, 0, 1, 1, 1, 1.0]))
B = Particles(Y, RNG.dirichlet(np.ones(5)) * 1.4)
EQUAL = B.with_weights(B.weights * (A.mass / B.mass))
COST = ((X[:, None] - Y) ** 2).sum(-1)
RELAX = [1.0, (0.5, 2.0), (None, 0.7), (0.7, None), 20.0, 0.05]


def kl(p, q):
    p, q = p[q > 0], q[q > 0]
    return float(np.where(p > 0, p * np.log(np.maximum(p, 1e-300) / q), 0.0).sum() - (p - q).sum())


def objective(plan, a, b, cost, relax, reg=0.0, reference="counting"):
    """The definition, from the plan alone."""
    pair = relax if isinstance(relax, tuple) else (relax, relax)
    value = float((plan * cost).sum())
    for weight, marginal, mass in zip(pair, (plan.sum(1), plan.sum(0)), (a, b), strict=True):
        value += 0.0 if weight is None else weight * kl(marginal, mass)
    if reg and reference == "counting":
        some = plan[plan > 0]
        value += reg * float((some * (np.log(some) - 1)).sum())
    elif reg:
        value += reg * kl(plan.ravel(), (np.outer(a, b) / np.sqrt(a.sum() * b.sum())).ravel())
    return value


def test_hard_transport_is_the_linear_program():
    n, m = COST.shape
    rows, columns = np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))
    b = np.concatenate([A.weights, EQUAL.weights])
    found = linprog(COST.ravel(), A_eq=np.vstack([rows, columns])[:-1], b_eq=b[:-1])
    result = jko.transport(A, EQUAL)
    assert result.value == pytest.approx(found.fun, rel=1e-9)
    assert 0 <= result.gap <= 1e-12
    assert result.value == pytest.approx(jko.Wasserstein().sqdistance(A, EQUAL), rel=1e-12)
    assert jko.transport(A, EQUAL, p=3).value == pytest.approx(
        jko.Wasserstein(p=3).distance(A, EQUAL) ** 3, rel=1e-12
    )


@pytest.mark.parametrize("relax", RELAX)
@pytest.mark.parametrize("reg", [0.0, 1.0, 0.03])
@pytest.mark.parametrize("reference", ["counting", "product"])
def test_value_and_gap_are_those_of_the_plan(relax, reg, reference):
    found = jko.transport(A, B, relax=relax, reg=reg, reference=reference)
    plan = found.plan.toarray()
    expected = objective(plan, A.weights, B.weights, COST, relax, reg, reference)
    assert found.value == pytest.approx(expected, rel=1e-9)
    assert -1e-12 <= found.gap <= 1e-11 * max(1.0, abs(found.value))
    pair = relax if isinstance(relax, tuple) else (relax, relax)
    for weight, axis, mass in zip(pair, (1, 0), (A.weights, B.weights), strict=True):
        if weight is None:
            np.testing.assert_allclose(plan.sum(axis), mass, atol=1e-11)
    # The potentials alone prove it: evaluate the dual by hand.
    f, h = (v[w > 0] for v, w in zip(found.potentials, (A.weights, B.weights), strict=True))
    wa, wb = A.weights[A.weights > 0], B.weights
    dual = sum(
        float(w @ v) if r is None else r * float(w @ -np.expm1(-v / r))
        for r, w, v in zip(pair, (wa, wb), (f, h), strict=True)
    )
    slack = COST[A.weights > 0] - f[:, None] - h
    if reg == 0:
        assert slack.min() >= -1e-12
    else:
        scale = np.sqrt(wa.sum() * wb.sum())
        base = np.outer(wa, wb) / scale if reference == "product" else np.ones(slack.shape)
        dual += reg * float((base * -np.exp(-slack / reg)).sum())
        dual += reg * float(base.sum()) * (reference == "product")
    assert dual == pytest.approx(found.value, rel=1e-9, abs=1e-11)


@pytest.mark.parametrize("relax", [1.0, (0.5, 2.0), (None, 0.7)])
def test_no_plan_of_a_general_optimiser_does_better(relax):
    found = jko.transport(A, B, relax=relax)
    keep = A.weights > 0

    def value(root):
        plan = (root**2).reshape(5, 5)
        if relax == (None, 0.7):
            plan = plan * (A.weights[keep] / plan.sum(1))[:, None]
        return objective(plan, A.weights[keep], B.weights, COST[keep], relax)

    rival = min(
        minimize(value, RNG.uniform(0.1, 0.6, 25), options={"maxiter": 300}).fun for _ in range(3)
    )
    assert found.value <= rival + 1e-9
    assert found.value == pytest.approx(rival, rel=1e-3)


def test_entropic_plans_agree_with_pot():
    a, b = A.weights[A.weights > 0] / A.mass, B.weights / B.mass
    cost = COST[A.weights > 0]
    plan = jko.transport(A, EQUAL, reg=0.2).plan.toarray()[A.weights > 0] / A.mass
    np.testing.assert_allclose(plan, ot.sinkhorn(a, b, cost, 0.2, stopThr=1e-14), atol=1e-11)
    # KL against ones differs from the entropy by a constant.
    both = jko.transport(A, B, relax=0.5, reg=0.2).plan.toarray()[A.weights > 0]
    pot = ot.unbalanced.sinkhorn_unbalanced(
        A.weights[A.weights > 0], B.weights, cost, 0.2, 0.5, c=np.ones((5, 5)),
        stopThr=1e-15, numItermax=10000,
    )  # fmt: skip
    np.testing.assert_allclose(both, pot, atol=1e-9)


def test_small_entropy_tends_to_none():
    for relax in (None, 1.0):
        b = EQUAL if relax is None else B
        sharp = jko.transport(A, b, relax=relax).value
        off = [
            abs(jko.transport(A, b, relax=relax, reg=r, reference="product").value - sharp)
            for r in (1e-1, 1e-2, 1e-3)
        ]
        assert off[0] > off[1] > off[2]
        assert off[2] < 5e-3


def test_wfr_by_name_is_the_squared_distance():
    found = jko.transport(A, B, cost="wfr", relax=1.0)
    g = jko.WassersteinFisherRao(alpha=1.0, beta=4.0)
    assert found.value == pytest.approx(g.sqdistance(A, B), rel=1e-10)
    g = jko.WassersteinFisherRao(alpha=0.5, beta=3.0)
    found = jko.transport(A, B, cost=g, relax=1.0)
    assert 4 / 3 * found.value == pytest.approx(g.sqdistance(A, B), rel=1e-10)
    # An atom beyond the cut dies: it costs its mass.
    far = Histogram(np.concatenate([X, [[50.0, 0.0]]]), np.append(A.weights, 0.3))
    for reg in (0.0, 1e-2):
        near = jko.transport(A, B, cost="wfr", relax=1.0, reg=reg).value
        assert jko.transport(far, B, cost="wfr", relax=1.0, reg=reg).value == pytest.approx(
            near + 0.3
        )


@pytest.mark.parametrize("reg", [0.0, 0.1])
@pytest.mark.parametrize("relax", [None, 1.0])
def test_units_do_not_matter(reg, relax):
    b = EQUAL if relax is None else B
    one = jko.transport(A, b, relax=relax, reg=reg, reference="product")
    scaled = [Histogram(100 * mu.points, 7 * mu.weights) for mu in (A, b)]
    big = jko.transport(
        *scaled, relax=None if relax is None else 1e4 * relax, reg=1e4 * reg, reference="product"
    )
    assert big.value == pytest.approx(7e4 * one.value, rel=1e-9)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({}, InvalidMeasure, "masses"),
        ({"relax": 0}, InvalidArgument, "relax = 0 must be positive"),
        ({"relax": (1.0, None, 2.0)}, InvalidArgument, "3 entries"),
        ({"relax": 1.0, "reg": -1}, InvalidArgument, "reg = -1 is negative"),
        ({"relax": 1.0, "reg": 1.0, "reference": "lebesgue"}, InvalidArgument, "reference"),
        ({"relax": 1.0, "p": 0.5}, InvalidArgument, "p = 0.5 is below 1"),
        ({"relax": 1.0, "cost": "euclid"}, InvalidArgument, "cost = 'euclid' is unknown"),
        ({"relax": 1.0, "cost": np.ones((3, 3))}, InvalidMeasure, "shape"),
        ({"relax": (1.0, None), "cost": lambda x, y: np.full((5, 5), np.inf)}, InvalidArgument,
         "not finite"),
    ],
)  # fmt: skip
def test_bad_input_gets_a_sentence(arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        jko.transport(A, B, **arguments)


def test_ways_that_hard_marginals_need_are_not_forbidden():
    far = Histogram(50 + X, A.weights)
    with pytest.raises(Unsupported, match="relax"):
        jko.transport(A, far, cost="wfr")
    with pytest.raises(InvalidType, match="discrete"):
        jko.transport(jko.Gaussian([0.0, 0.0], np.eye(2)), A)


# -- Hellinger's divergence on relaxed marginals ---------------------------------------------------


@pytest.mark.parametrize("reg", [0.0, 0.2])
@pytest.mark.parametrize("relax", [1.0, (0.5, 2.0), (None, 0.7)])
@pytest.mark.parametrize("kinds", ["hellinger", ("kl", "hellinger"), ("hellinger", "kl")])
def test_no_other_plan_pays_less_with_hellinger_marginals(reg, relax, kinds):
    """The value from the definition, against the bound of the potentials and against rivals."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(6, 2)), rng.normal(size=(5, 2)) + 0.5
    a, b = jko.Histogram(x, rng.random(6)), jko.Histogram(y, rng.random(5))
    found = jko.transport(a, b, relax=relax, reg=reg, divergence=kinds)
    cost = ((x[:, None] - y) ** 2).sum(-1)
    weights = relax if isinstance(relax, tuple) else (relax, relax)
    names = (kinds, kinds) if isinstance(kinds, str) else kinds

    def value(plan):
        out = (plan * cost).sum() + reg * (plan * (np.log(np.maximum(plan, 1e-300)) - 1)).sum()
        for axis, (mass, w, name) in enumerate(
            zip((a.weights, b.weights), weights, names, strict=True)
        ):
            z = plan.sum(axis=1 - axis)
            if w is not None and name == "hellinger":
                out += 2 * w * ((np.sqrt(z) - np.sqrt(mass)) ** 2).sum()
            elif w is not None:
                out += w * (z * np.log(z / mass) - z + mass).sum()
        return out

    plan = found.plan.toarray()
    assert found.value == pytest.approx(value(plan), rel=1e-10)
    assert abs(found.gap) <= 1e-10
    for size in (1e-4, 1e-2, 0.3):
        rival = np.maximum(plan, 1e-9) * np.exp(size * rng.normal(size=plan.shape))
        if weights[0] is None:
            rival *= (a.weights / rival.sum(axis=1))[:, None]
        assert value(rival) >= found.value - 1e-9
    f, h = found.potentials
    if reg == 0:
        assert (f[:, None] + h <= cost + 1e-9).all()


def test_hellinger_marginals_beyond_the_cut_and_bad_names():
    a, b = jko.Histogram([[0.0]], [1.0]), jko.Histogram([[9.0], [0.1]], [2.0, 0.5])
    found = jko.transport(a, b, cost="wfr", relax=1.0, divergence="hellinger")
    near = jko.transport(
        a, jko.Histogram([[0.1]], [0.5]), cost="wfr", relax=1.0, divergence="hellinger"
    )
    assert found.value == pytest.approx(near.value + 2 * 2.0, rel=1e-12)
    for name in ("tv", ("kl",)):
        with pytest.raises(jko.InvalidArgument, match="divergence"):
            jko.transport(a, b, relax=1.0, divergence=name)
