"""Measures taken apart: plain numbers, lists and strings, by the name of the type."""

from __future__ import annotations

from jko.errors import Unsupported

#: The arguments that make up a measure, by the name of its type.
PARTS: dict[str, tuple[str, ...]] = {
    "Histogram": ("points", "weights"),
    "Particles": ("points", "weights"),
    "Gaussian": ("mean", "cov", "mass"),
    "GaussianMixture": ("means", "covs", "weights"),
    "Grid": ("lower", "upper", "shape", "periodic", "mask"),
    "GridDensity": ("grid", "weights"),
}


def to_dict(value: object) -> dict[str, object]:
    """The type of a measure (or grid) and the arguments that make it again."""
    kind = type(value)
    if not _known(value):
        raise Unsupported(
            f"a {kind.__name__} has no plain form; of the measures of jko all have one but"
            " jko.LogDensity, which is a function"
        )
    parts = PARTS[kind.__name__]
    return {"type": kind.__name__, **{p: _plain(getattr(value, p)) for p in parts}}


def _known(value: object) -> bool:
    """Whether a value is of one of the types, not merely of one with the same name."""
    kind = type(value)
    return kind.__name__ in PARTS and kind.__module__.startswith("jko.measures.")


def _plain(value: object) -> object:
    """Arrays as nested lists, tuples as lists, a grid as its own dictionary."""
    if _known(value):
        return to_dict(value)
    if isinstance(value, tuple):
        return list(value)
    return value.tolist() if hasattr(value, "tolist") else value
