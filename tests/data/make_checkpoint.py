"""Write the checkpoints of version 0.1.0 that later versions must read and resume.

Run once, with version 0.1.0: python tests/data/make_checkpoint.py
`tests/flows/test_old_files.py` loads and resumes them.
"""

import contextlib
from pathlib import Path

import numpy as np

import jko

HERE = Path(__file__).parent


def grid_problem():
    """A density on cells, by a solver whose settings the file holds."""
    grid = jko.Grid(-2, 2, 40)
    start = jko.GridDensity.from_function(lambda x: np.exp(-4 * (x[:, 0] - 0.5) ** 2), grid, mass=1)
    target = jko.GridDensity.from_function(lambda x: np.exp(-(x[:, 0] ** 2)), grid, mass=1)
    return start, jko.KL(target), jko.Wasserstein(), jko.solvers.FiniteVolume(max_iter=60)


def split_problem():
    """Weights on atoms, Wasserstein + MMD, a solver for each."""
    rng = np.random.default_rng(0)
    kernel = jko.kernels.Gaussian(1.0)
    points = rng.normal(size=(12, 2))
    start = jko.Histogram(points, np.full(12, 1 / 12))
    energy = jko.MMDEnergy(jko.Histogram(points, rng.dirichlet(np.ones(12))), kernel)
    solver = (jko.solvers.TransportProgram(), jko.solvers.SimplexQP())
    return start, energy, jko.Wasserstein() + 0.5 * jko.MMD(kernel), solver


class Cut(Exception):
    """Ends a run as a kill would."""


def cut(event):
    """Stop at the third of six steps: the file holds two."""
    if event.index == 3:
        raise Cut


if __name__ == "__main__":
    for name, problem in (("grid", grid_problem), ("split", split_problem)):
        start, energy, geometry, solver = problem()
        path = HERE / f"checkpoint_0.1.0_{name}.npz"
        settings = {"tau": 0.1, "steps": 6, "solver": solver}
        whole = jko.flow(start, energy, geometry, **settings)
        np.save(HERE / f"final_0.1.0_{name}.npy", whole.final.weights)
        with contextlib.suppress(Cut):
            jko.flow(start, energy, geometry, **settings, checkpoint=path, callbacks=[cut])
        print(path.name, path.stat().st_size)
