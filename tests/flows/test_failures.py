"""What a flow says when a step fails or no solver takes it; every advice is followed."""

import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
from generators import measures
from refusals.table_steps import UNSERVED

import jko
from jko.prox.stated import Answer
from jko.solvers.base import ProxSolver
from jko.solvers.nearest import nearest
from jko.solvers.remedies import tolerance
from jko.status import Breakdown, Status
from jko.warned import caution

K = jko.kernels.Gaussian(1.0)
CLOUD = jko.Histogram(np.linspace(-1, 1, 9)[:, None], np.arange(9.0) / 36)
GOAL = jko.MMDEnergy(jko.Histogram(np.linspace(-1, 2, 7)[:, None], np.ones(7) / 7), K)

GOAL_KL = jko.KL(CLOUD.with_weights(np.ones(9)))


def failure(measure, energy, geometry, **options):
    with pytest.raises(jko.StepFailed) as caught:
        jko.flow(measure, energy, geometry, **{"steps": 4, **options})
    said = str(caught.value)
    assert len(said) <= 600
    assert "\n" not in said
    return said, caught.value


def test_a_failed_step_says_where_what_is_kept_and_what_to_change():
    energy = jko.Potential(lambda x: -4 * x[:, 0])
    said, error = failure(CLOUD, energy, jko.Hellinger(), tau=0.7)
    assert re.match(r"step 1 failed \(t = 0\.7, tau = 0\.7\): ", said)
    assert "0 good steps are in .trajectory" in said
    assert len(error.trajectory.steps) == 0
    tau = float(re.search(r"use tau = ([\d.]+): this step then succeeds", said).group(1))
    assert jko.flow(CLOUD, energy, jko.Hellinger(), tau=tau, steps=1).success


def test_iterations_that_were_too_few():
    said, error = failure(CLOUD, GOAL, jko.MMD(K), tau=0.5, max_iter=1)
    assert "use a larger max_iter than 1, or None: this step then succeeds" in said
    assert error.result.substeps[-1].status is jko.Status.MAX_ITERATIONS
    assert jko.flow(CLOUD, GOAL, jko.MMD(K), tau=0.5, steps=1, max_iter=None).success


class Tires(ProxSolver):
    """Stays where it is, and gives up after some steps."""

    guarantee = "none"
    default_tol = 1e-9

    def __init__(self, lasts=0):
        self.lasts = lasts

    def accepts(self, problem):
        return None

    def solve(self, problem, controls):
        self.lasts -= 1
        if self.lasts < 0:
            raise Breakdown(Status.BROKEN, "worn out")
        return Answer(problem.previous, problem, 1)


def test_another_solver_is_named_when_it_works():
    bell = jko.KL(CLOUD)
    said, error = failure(CLOUD, bell, jko.Hellinger(), tau=0.5, solver=Tires(2))
    assert said.startswith("step 3 failed (t = 1.5, tau = 0.5): Tires: ")
    assert "2 good steps are in .trajectory; use solver='auto': this step then succeeds" in said
    assert len(error.trajectory.steps) == 2
    assert jko.flow(error.trajectory.final, bell, jko.Hellinger(), tau=0.5, steps=1).success


def test_what_was_tried_is_listed():
    said, _ = failure(CLOUD, jko.KL(CLOUD), jko.Hellinger(), tau=0.5, solver=[Tires(), Tires()])
    assert "also tried: Tires (no answer)" in said


class Rough(ProxSolver):
    """The exact answer, but for a share of 1e-3 of every weight."""

    guarantee = "none"
    default_tol = 1e-9

    def accepts(self, problem):
        return None

    def solve(self, problem, controls):
        found = jko.solvers.ClosedForm().solve(problem, controls)
        n = found.measure.n
        weights = found.measure.weights * (1 + 1e-3 * np.cos(np.arange(n)))
        return replace(found, measure=found.measure.with_weights(weights))


def test_a_tolerance_that_is_named_is_met():
    settings = {"solver": Rough(), "tau": 0.5}
    result = jko.step(CLOUD, GOAL_KL, jko.Hellinger(), throw=False, **settings)
    assert not result.success
    tol = tolerance(result)
    assert 1e-9 < tol < 1e-2
    assert jko.step(CLOUD, GOAL_KL, jko.Hellinger(), tol=tol, **settings).success
    assert not jko.step(
        CLOUD, GOAL_KL, jko.Hellinger(), tol=tol / 10, throw=False, **settings
    ).success
    assert tolerance(replace(result, gap=np.inf)) is None
    assert tolerance(replace(result, gap=None, residual=3e-5)) == 1e-4
    assert tolerance(replace(result, gap=None, residual=None)) is None


def test_a_step_that_was_slow_is_not_taken_again(monkeypatch):
    monkeypatch.setattr("jko.solvers.remedies.CHEAP", 0.0)
    solver = Tires(1)
    said, _ = failure(CLOUD, jko.KL(CLOUD), jko.Hellinger(), tau=0.5, solver=solver)
    assert said.endswith("try solver='auto'")
    assert solver.lasts == -1


def test_the_remedies_leave_the_random_numbers_alone():
    rng = np.random.default_rng(3)
    before = rng.bit_generator.state
    energy = jko.Potential(lambda x: -4 * x[:, 0])
    failure(CLOUD, energy, jko.Hellinger(), tau=0.7, rng=rng)
    assert rng.bit_generator.state == before


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", UNSERVED, ids=[c[0] for c in UNSERVED])
def test_refusals_are_short(case):
    with pytest.raises(jko.JkoError) as caught:
        case[1]()
    said = str(caught.value)
    assert len(said) <= 600
    assert len(said.splitlines()) <= 3


def refused(measure, energy, geometry, nearest_is):
    with pytest.raises(jko.Unsupported) as caught:
        jko.step(measure, energy, geometry, 0.1)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert re.match(rf"nearest: {nearest_is}", lines[1]), lines[1]
    assert lines[2] == "all reasons: jko.solvers_for(measure, energy, geometry, why=True)"
    every = jko.solvers_for(measure, energy, geometry, why=True)
    assert len(every) > 15
    assert all(isinstance(why, str) for _, why in every)


def test_the_nearest_miss_is_a_solver_of_the_geometry_and_its_remedy_works():
    cloud = jko.Particles(np.random.default_rng(0).normal(size=(6, 1)))
    deep = jko.Potential(lambda x: x[:, 0])
    refused(cloud, deep, jko.Wasserstein(), r".*Potential has no gradient .* gradient=")
    slope = jko.Potential(lambda x: x[:, 0], gradient=lambda x: np.ones_like(x))
    assert jko.step(cloud, slope, jko.Wasserstein(), 0.1).success
    atoms = measures.histogram(5, 1)
    refused(atoms, jko.MMDEnergy(atoms, K, "U"), jko.MMD(K), r".*use MMDEnergy\(.*'V'\)")
    assert jko.step(atoms, jko.MMDEnergy(atoms, K, statistic="V"), jko.MMD(K), 0.1).success


def test_kinds_that_the_geometry_knows():
    bell, energy = jko.Gaussian([0.0], [[1.0]]), jko.KL(jko.Gaussian([1.0], [[1.0]]))
    problem = jko.ProxProblem(energy, jko.MMD(K), bell, 0.1)
    rules = [jko.solvers.Rule(s) for s in (jko.solvers.SimplexQP(), jko.solvers.Mixture())]
    said = nearest(problem, rules)
    assert said == "nearest: solvers of this geometry take GridDensity, Histogram, Particles"
    line = jko.ProxProblem(energy, jko.Wasserstein(), bell, 0.1)
    assert nearest(line, rules) == "no solver knows this geometry"


# -- warnings ------------------------------------------------------------------------------------


class Warns(Tires):
    """Stays where it is, and warns of it."""

    def solve(self, problem, controls):
        caution(f"stays at {problem.tau + np.random.default_rng().uniform():.3g}")
        return super().solve(problem, controls)


def test_warnings_come_once_per_flow_and_point_here():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        jko.flow(CLOUD, jko.KL(CLOUD), jko.Hellinger(), tau=1, steps=3, solver=Warns(9))
    (one,) = caught
    assert re.fullmatch(r"stays at [\d.]+ \(said 3 times in 3 steps\)", str(one.message))
    assert one.category is jko.JkoWarning
    assert one.filename == __file__
    with pytest.warns(jko.JkoWarning, match="^stays at") as caught:
        jko.step(CLOUD, jko.KL(CLOUD), jko.Hellinger(), 1, solver=Warns(9))
    assert caught[0].filename == __file__


def test_a_warning_made_an_error_keeps_the_flow_and_hides_no_other():
    with pytest.raises(jko.JkoWarning) as caught:  # pytest turns warnings into errors here
        jko.flow(CLOUD, jko.KL(CLOUD), jko.Hellinger(), tau=1, steps=3, solver=Warns(9))
    assert len(caught.value.trajectory.steps) == 3
    with pytest.raises(jko.StepFailed, match="worn out"):
        jko.flow(CLOUD, jko.KL(CLOUD), jko.Hellinger(), tau=1, steps=3, solver=Warns(1))


# -- the nearest miss, and what it advises --------------------------------------------------------

LINE = jko.Grid(-1, 1, 16)
BELL = jko.GridDensity.from_function(lambda x: np.exp(-(x[:, 0] ** 2)), LINE, mass=1)


@pytest.mark.parametrize("geometry", [jko.Wasserstein(), jko.Hellinger(mass="fixed"), jko.MMD(K)])
def test_a_crowd_that_does_not_fit_gets_one_sentence(geometry):
    mu = BELL if isinstance(geometry, jko.Wasserstein) else CLOUD.with_weights(np.ones(9) / 9)
    bound = 0.3 if mu is BELL else 0.05
    with pytest.raises(jko.Unsupported) as caught:
        jko.step(mu, jko.BoxConstraint(bound), geometry, 0.1)
    said = str(caught.value)
    assert "\n" not in said
    assert re.match("the step has no answer: the energy lets the atoms carry", said)
    assert ("or free the mass" in said) == hasattr(geometry, "mass")
    factor = float(re.search(r"\(([\d.]+) times as high\)", said)[1])
    assert jko.step(mu, jko.BoxConstraint(bound * factor), geometry, 0.1).success
    with pytest.raises(jko.Unsupported):
        jko.step(mu, jko.BoxConstraint(bound * factor * 0.99), geometry, 0.1)


def test_atoms_that_are_all_forbidden_get_one_sentence():
    mu = CLOUD.with_weights([1.0] + [0.0] * 8)
    energy, geometry = jko.KL(CLOUD.with_weights([0.0] + [1.0] * 8)), jko.Divergence(p=1)
    with pytest.raises(jko.Unsupported, match=r"^the step has no answer: .* together forbid every"):
        jko.step(mu, energy, geometry, 0.1)
    assert jko.step(mu.with_weights([0.9] + [0.1] + [0.0] * 7), energy, geometry, 0.1).success


def test_a_mass_that_is_let_free_is_the_nearest_miss():
    pi = jko.LogDensity(lambda x: -np.cosh(x).sum(1), lambda x: -np.sinh(x), dim=1)
    bell = jko.Gaussian([1.0], [[1.0]])
    for geometry, name in (
        (jko.Hellinger(), "NaturalGradient"),
        (jko.Divergence(p=1, mass="free"), "GaussianMirror"),
    ):
        with pytest.raises(jko.Unsupported) as caught:
            jko.step(bell, jko.KL(pi), geometry, 0.1)
        near = str(caught.value).splitlines()[1]
        advised = re.fullmatch(rf"nearest: {name} takes it with mass='fixed': use (.*)", near)[1]
        fixed = eval(advised, {"Hellinger": jko.Hellinger, "Divergence": jko.Divergence})
        assert jko.step(bell, jko.KL(pi), fixed, 0.1).success


def test_a_measure_that_is_too_large_is_the_nearest_miss():
    x = np.linspace(0, 1, 90)[:, None]
    mu = jko.Histogram(x, np.ones(90) / 90)
    energy = jko.KL(mu.with_weights(np.arange(1, 91) / 4095))
    exact = [jko.solvers.LinearTransport(), jko.solvers.TransportProgram()]
    with pytest.raises(jko.Unsupported) as caught:
        jko.step(mu, energy, jko.Wasserstein(p=1), 0.1, solver=exact)
    near = str(caught.value).splitlines()[1]
    assert near.startswith("nearest: TransportProgram: takes at most 80 atoms, this measure has 90")
    solver = eval(near.partition("solver=")[2], {"jko": jko})
    assert jko.step(mu, energy, jko.Wasserstein(p=1), 0.1, solver=solver).success


def test_particles_with_another_cost():
    cloud = jko.Particles(CLOUD.points)
    slope = jko.Potential(lambda x: x[:, 0], gradient=lambda x: np.ones_like(x))
    refused(cloud, slope, jko.Wasserstein(p=3), r".* pass jko\.Histogram\(")
    fixed = jko.Histogram(cloud.points, cloud.weights)
    assert jko.step(fixed, slope, jko.Wasserstein(p=3), 0.1).success


# -- a single step --------------------------------------------------------------------------------


def failed(energy, geometry, **options):
    with pytest.raises(jko.StepFailed) as caught:
        jko.step(CLOUD, energy, geometry, **{"tau": 0.5, **options})
    said = str(caught.value)
    assert len(said) <= 600
    assert "\n" not in said
    assert caught.value.result.message == said
    return said


def test_a_single_step_names_a_change_that_works():
    said = failed(GOAL, jko.MMD(K), max_iter=1)
    assert "use a larger max_iter than 1, or None: this step then succeeds" in said
    said = failed(GOAL_KL, jko.Hellinger(), solver=Rough())
    assert said.endswith("use solver='auto': this step then succeeds")
    deep = jko.Potential(lambda x: -9 * x[:, 0])
    tau = float(re.search(r"use tau = ([\d.]+): this step", failed(deep, jko.Hellinger()))[1])
    assert jko.step(CLOUD, deep, jko.Hellinger(), tau).success


class Talks(Tires):
    """Gives up with a long story."""

    def solve(self, problem, controls):
        raise Breakdown(Status.BROKEN, "and then " * 500)


def test_no_message_is_longer_than_asked():
    said = failed(jko.KL(CLOUD), jko.Hellinger(), solver=[Talks(), Talks()])
    assert "...; also tried: Talks (no answer); use solver='auto': this step then" in said
    options = {"solver": Talks(), "throw": False}
    assert len(jko.step(CLOUD, jko.KL(CLOUD), jko.Hellinger(), 0.5, **options).message) <= 600


def test_the_remedies_of_a_step_leave_the_random_numbers_alone():
    drawn = np.random.default_rng(3)
    failed(jko.Potential(lambda x: -9 * x[:, 0]), jko.Hellinger(), rng=drawn)
    assert drawn.bit_generator.state == np.random.default_rng(3).bit_generator.state


@pytest.mark.parametrize("kind", [jko.InvalidArgument, jko.InvalidMeasure, jko.Unsupported])
def test_no_error_is_longer_than_asked_whatever_it_quotes(kind):
    assert len(str(kind("much " * 400))) == 600
    assert str(kind("little")) == "little"
    assert len(str(jko.StepFailed("much " * 400, None))) == 600
    many = sum((jko.MMDEnergy(CLOUD, jko.kernels.Energy()) for _ in range(60)), jko.KL(CLOUD))
    with pytest.raises(jko.Unsupported, match="equal mass only") as caught:
        jko.step(CLOUD, many, jko.Hellinger(), 0.1)
    assert len(str(caught.value)) <= 600
