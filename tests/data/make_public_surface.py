"""Write down the public surface: names, parameters, status sentences, names in files.

    python tests/data/make_public_surface.py > tests/data/public_surface.json

`tests/test_public_surface.py` holds the library to it: names and parameters may come, none may go.
"""

import inspect
import json
from typing import Any

import jko
from jko import callbacks, dro, kernels, plot, reference, sampling, solvers, testing, verify, vi

ROOMS: dict[str, Any] = {
    "jko": jko,
    "jko.callbacks": callbacks,
    "jko.dro": dro,
    "jko.kernels": kernels,
    "jko.plot": plot,
    "jko.reference": reference,
    "jko.sampling": sampling,
    "jko.solvers": solvers,
    "jko.testing": testing,
    "jko.verify": verify,
    "jko.vi": vi,
}


def public(room: Any) -> list[str]:
    """The names a room offers."""
    named = getattr(room, "__all__", None)
    if named is not None:
        return sorted(named)
    own = [n for n, v in vars(room).items() if getattr(v, "__module__", None) == room.__name__]
    return sorted(n for n in own if not n.startswith("_"))


def parameters(value: Any) -> list[str] | None:
    """The parameters of a function or class, None where there is no signature to read."""
    try:
        return list(inspect.signature(value).parameters)
    except (TypeError, ValueError):
        return None


def surface() -> dict[str, Any]:
    """Names and parameters by room, result fields, status sentences, classes that files name."""
    rooms = {
        name: {n: parameters(getattr(room, n)) for n in public(room)}
        for name, room in ROOMS.items()
    }
    # Rooms and functions that are imported when they are asked for.
    shown = [n for n in dir(jko) if not n.startswith("_") and n not in jko.__all__]
    rooms["jko"].update({n: parameters(getattr(jko, n)) for n in shown})
    solver_fields = {n: parameters(getattr(solvers, n)) for n in solvers.__all__}
    return {
        "rooms": rooms,
        "result": list(jko.StepResult.__dataclass_fields__),
        "trajectory": sorted(n for n in dir(jko.Trajectory) if not n.startswith("_")),
        "status": {s.name: s.value for s in jko.Status},
        "solver fields": solver_fields,
    }


if __name__ == "__main__":
    print(json.dumps(surface(), indent=1, sort_keys=True))
