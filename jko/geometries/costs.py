"""What `cost=` of `jko.Wasserstein` names: powers of a distance, values, a function, a graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from jko.errors import InvalidArgument, InvalidType
from jko.geometries.graph import GraphCost, checked_graph
from jko.geometries.ground import (
    CallableCost,
    Ground,
    MatrixCost,
    PowerCost,
    checked,
)
from jko.validation import Array, float_array, frozen

if TYPE_CHECKING:
    from scipy.sparse import sparray

    #: What `cost=` takes: values, a function, or a graph of lengths.
    Cost: TypeAlias = ArrayLike | Callable[[Array, Array], ArrayLike] | sparray


def ground_of(p: float, cost: Cost | None) -> Ground:
    """The cost that the arguments of `jko.Wasserstein` name; p >= 1 is checked already."""
    if cost is None:
        return PowerCost(p)
    if hasattr(cost, "toarray") and hasattr(cost, "nnz"):
        return GraphCost(checked_graph(cost), p)
    if hasattr(cost, "adjacency") and hasattr(cost, "nodes"):
        raise InvalidType(
            "cost is a graph of networkx; pass its lengths, with an atom per node in its order:"
            " networkx.to_scipy_sparse_array(cost, weight='weight')"
        )
    if p != 2:
        raise InvalidArgument(
            f"p = {p:g} has no meaning beside a cost, which is never raised to a power; leave p out"
            " and pass the costs raised to it, or pass a graph of lengths"
        )
    if callable(cost):
        return CallableCost(cost)
    matrix = float_array(cost, "cost")
    if matrix.ndim != 2:
        raise InvalidArgument(
            f"cost has shape {matrix.shape}; pass an (n, m) array, a function (x, y) -> (n, m) or a"
            " SciPy sparse graph"
        )
    return MatrixCost(frozen(np.ascontiguousarray(checked(matrix))))
