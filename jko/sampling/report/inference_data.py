"""Samples as inference data of ArviZ, with the weighted particles beside the chains."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from jko.errors import Unsupported
from jko.validation import Array

#: The group of the weighted particles.
GROUP = "particles"
#: The name of their weights.
WEIGHT = "particle_weight"


def inference_data(chains: Mapping[str, Array], points: Mapping[str, Array], weights: Array) -> Any:
    """Draws (chains, m, ...) and particles (n, ...) by name, with the weights (n,)."""
    try:
        arviz = import_module("arviz")
    except ImportError:
        raise Unsupported("to_arviz needs arviz; install it with pip install arviz") from None
    xarray = import_module("xarray")  # which arviz itself stands on
    columns = {
        name: (("particle", *(f"{name}_dim_{k}" for k in range(x.ndim - 1))), x)
        for name, x in points.items()
    }
    particles = xarray.Dataset({**columns, WEIGHT: (("particle",), weights)})
    # Hundreds of chains with fewer draws each are meant, and a group of our own.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "More chains", UserWarning)
        warnings.filterwarnings("ignore", f"{GROUP} group is not defined", UserWarning)
        if int(str(arviz.__version__).split(".")[0]) >= 1:
            data = arviz.from_dict({"posterior": chains})
            data[GROUP] = xarray.DataTree(particles)
        else:
            data = arviz.from_dict(posterior=chains)
            data.add_groups({GROUP: particles})
    return data
