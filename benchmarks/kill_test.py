"""Kill runs with SIGKILL at random instants and resume them, again and again.

    python benchmarks/kill_test.py --kills 200

Three flows (interaction-force transport, a random walk, entropic steps on a grid) write a
checkpoint after every step. A child process runs each, is killed after a random delay, and the next
child resumes from the file, until the flow has come to its end. Every trajectory must be
bit-identical to that of a run that nobody disturbed. Needs a system with fork.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # threads do not survive a fork

import numpy as np

import jko
from jko.solvers import Answer, Controls, Lagrangian, ProxSolver

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from generators.granted import Granted

#: What `python -m benchmarks` passes: sizes fit for a minute.
QUICK = ["--kills", "10"]

STEPS = 30


@dataclass(frozen=True)
class Walk(ProxSolver):
    """Random numbers and a warm start, both of which a resumed run must find again."""

    guarantee: ClassVar[str] = "none"
    default_tol: ClassVar[float] = 1.0

    def accepts(self, problem: Any) -> str | None:
        return None

    def solve(self, problem: Any, controls: Controls) -> Answer:
        x = problem.previous.points
        noise = controls.rng.normal(size=x.shape)
        speed = noise if controls.warm is None else 0.9 * controls.warm["speed"] + noise
        return Answer(problem.previous.with_points(x + speed), Granted(), 1, warm={"speed": speed})


def well(x: np.ndarray) -> np.ndarray:
    return 0.5 * (x**2).sum(axis=1)


def flows() -> dict[str, tuple[Any, Any, Any, dict[str, Any]]]:
    """Measure, energy, geometry and settings of the flows under fire."""
    rng = np.random.default_rng(0)
    mu = jko.Particles(rng.normal(size=(40, 2)))
    pi = jko.Particles(rng.normal(size=(45, 2)) + 2)
    kernel = jko.kernels.Gaussian(1.0)
    grid = jko.Grid(-3.0, 3.0, 40)
    bump = jko.GridDensity.from_function(lambda x: np.exp(-2 * (x[:, 0] - 1) ** 2), grid, mass=1.0)
    bell = jko.GridDensity.from_function(lambda x: np.exp(-(x[:, 0] ** 2) / 2), grid, mass=1.0)
    transport = jko.Wasserstein()
    walk = {"solver": (Walk(), Lagrangian()), "rng": 1, "splitting": "strang", "save": 7}
    confining = jko.Potential(well, gradient=lambda x: x)
    return {
        "transport": (mu, jko.MMDEnergy(pi, kernel), transport + jko.MMD(kernel), {}),
        "walk": (mu, confining, transport + 2 * transport, walk),
        "grid": (bump, jko.KL(bell), transport + jko.SphericalHellinger(), {}),
    }


def run(name: str, path: Path | None) -> jko.Trajectory:
    """Start the flow, or go on with it."""
    measure, energy, geometry, settings = flows()[name]
    record = jko.callbacks.Record("mean", lambda mu: mu.mean)
    if path is not None and path.exists():
        solver = settings.get("solver")
        return jko.resume(path, energy, geometry, callbacks=record, solver=solver)
    return jko.flow(
        measure,
        energy,
        geometry,
        tau=0.05,
        steps=STEPS,
        callbacks=record,
        checkpoint=path,
        **settings,
    )


def fingerprint(sol: jko.Trajectory) -> list[Any]:
    """Everything but timings, to the last bit."""
    arrays = [sol.times, sol.energies, *(m.points for m in sol.measures)]
    arrays += [m.weights for m in sol.measures]
    arrays += [np.asarray(v) for pair in sol.records.values() for v in pair]
    steps = [asdict(s) for s in sol.steps]
    for substep in itertools.chain.from_iterable(s["substeps"] for s in steps):
        del substep["seconds"]
    return [a.tobytes() for a in arrays] + [repr(steps), sol.status, dict(sol.description)]


def shot(work: Callable[[], Any], delay: float) -> bool:
    """Whether a child running `work` was killed after `delay` seconds, before it was done."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0:
        raise SystemExit("a resumed run failed; see the traceback above")
    return os.WIFSIGNALED(status)


def main() -> None:
    """Shoot until the given number of kills, and finish every flow that was begun."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng, started = np.random.default_rng(args.seed), time.perf_counter()
    whole, spans = {}, {}
    for name in flows():
        begun = time.perf_counter()
        whole[name] = fingerprint(run(name, None))
        spans[name] = time.perf_counter() - begun
    kills = resumed = writing = finished = 0
    names = itertools.cycle(whole)
    with tempfile.TemporaryDirectory() as folder:
        while kills < args.kills:
            name, path = next(names), Path(folder) / f"{finished}.npz"
            before = 0
            while kills < args.kills:
                # About six shots in a whole run, some of them before the first checkpoint.
                delay = rng.uniform(0.0, 0.02 + spans[name] / 3)
                if not shot(lambda: run(name, path), delay):  # noqa: B023 (called at once)
                    break
                kills += 1
                writing += path.with_name(path.name + ".tmp").exists()
                if path.exists():
                    resumed += 1
                    there = len(jko.Trajectory.load(path).steps)
                    assert there >= before, "a step that was on disk is gone"
                    before = there
            assert fingerprint(run(name, path)) == whole[name], f"{name} differs"
            finished += 1
    print(
        f"{kills} kills ({writing} while writing, {kills - resumed} before the first checkpoint),"
        f" {resumed} resumed, {finished} flows of {STEPS} steps finished,"
        f" all bit-identical; {time.perf_counter() - started:.1f} s"
    )


if __name__ == "__main__":
    main()
