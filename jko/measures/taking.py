"""Measures from plain values: what JSON, a message or another library has taken away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jko.errors import InvalidMeasure, InvalidType
from jko.measures import plain
from jko.measures.atoms import Histogram, Particles
from jko.measures.gaussian import Gaussian, GaussianMixture
from jko.measures.grid import Grid, GridDensity

#: The arguments that make up a measure, by its type.
PARTS: dict[type, tuple[str, ...]] = {
    kind: plain.PARTS[kind.__name__]
    for kind in (Histogram, Particles, Gaussian, GaussianMixture, Grid, GridDensity)
}


def from_dict(tree: Mapping[str, Any]) -> Any:
    """The measure (or grid) that `to_dict` took apart.

    Parameters
    ----------
    tree : mapping
        As `Measure.to_dict` returns it, also after a way through JSON.

    Raises
    ------
    InvalidMeasure
        An unknown type, or arguments that it does not take.
    """
    if not isinstance(tree, Mapping) or not isinstance(tree.get("type"), str):
        raise InvalidType(
            f"tree got {type(tree).__name__} without a 'type'; pass what measure.to_dict() returned"
        )
    kinds = {kind.__name__: kind for kind in PARTS}
    kind = kinds.get(tree["type"])
    given = {name: value for name, value in tree.items() if name != "type"}
    if kind is None or given.keys() != set(PARTS[kind]):
        raise InvalidMeasure(
            f"tree describes no measure of jko: type {tree['type'][:40]!r} with"
            f" {sorted(map(str, given))[:6]}; pass what measure.to_dict() returned"
        )
    if kind is Grid:
        extra = {"periodic": given["periodic"], "mask": given["mask"]}
        return Grid(given["lower"], given["upper"], given["shape"], **extra)
    if kind is GridDensity:
        return GridDensity(from_dict(given["grid"]), given["weights"])
    return kind(**given)
