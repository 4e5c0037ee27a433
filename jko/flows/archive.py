"""Files: trees of numbers, arrays and measures in one .npz, written atomically, read safely.

Nothing is pickled: a JSON header holds the tree, the bytes of all arrays stand beside it, and only
measures and the library's own frozen settings (geometries, kernels, solvers) are rebuilt from
their fields. Loading executes nothing.
"""

from __future__ import annotations

import dataclasses
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

from jko.errors import JkoError, Unsupported
from jko.flows.container import (
    VERSION,
    InvalidFile,
    Stamp,
    Tree,
    as_path,
    pack,
    put,
    take,
    target_of,
)
from jko.geometries.base import Geometry
from jko.kernels import Kernel
from jko.measures import Gaussian, Grid, GridDensity, Histogram, Particles
from jko.measures.base import Discrete, Measure
from jko.solvers.base import ProxSolver

#: A node of a tree: what JSON can say, and what it stands for.
Node = Any
T = TypeVar("T")

#: Arrays start at multiples of this many bytes.
ALIGN = 64
#: What a header with wrong entries provokes while it is decoded.
DAMAGE = (
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    MemoryError,
)


def _settings_classes() -> dict[str, type]:
    """The library's frozen settings by room and name: the only classes a file may ask for."""

    def below(cls: type) -> Iterator[type]:
        subclasses: list[type] = type.__subclasses__(cls)
        for sub in subclasses:
            yield sub
            yield from below(sub)

    bases: tuple[type, ...] = (Geometry, Kernel, ProxSolver)
    found = [sub for base in bases for sub in below(base)]
    rooms = [(cls.__module__.split("."), cls) for cls in found if dataclasses.is_dataclass(cls)]
    return {f"{room[1]}.{cls.__name__}": cls for room, cls in rooms if room[0] == "jko"}


class _Encoder:
    """Turns a tree into JSON, setting arrays aside (each object once)."""

    def __init__(self) -> None:
        self.arrays: list[np.ndarray] = []
        self.table: list[Tree] = []
        self._size = 0
        self._seen: dict[int, int] = {}
        self._classes = {cls: name for name, cls in _settings_classes().items()}

    def array(self, value: np.ndarray) -> dict[str, int]:
        if value.dtype.kind not in "fiub":
            raise Unsupported(f"arrays of dtype {value.dtype} cannot be stored in a jko file")
        key = self._seen.setdefault(id(value), len(self.arrays))
        if key == len(self.arrays):
            self.arrays.append(value)  # which also keeps its id from being used again
            order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
            place = {"dtype": value.dtype.str, "shape": list(value.shape), "order": order}
            self.table.append({**place, "start": self._size})
            self._size += -(-value.nbytes // ALIGN) * ALIGN
        return {"array": key}

    @property
    def data(self) -> np.ndarray:
        """The bytes of all arrays, one after the other."""
        out = np.zeros(self._size, dtype=np.uint8)
        for value, place in zip(self.arrays, self.table, strict=True):
            flat = value.ravel(order=place["order"])
            out[place["start"] : place["start"] + value.nbytes] = flat.view(np.uint8)
        return out

    def encode(self, value: object) -> Node:
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, np.generic):
            return self.encode(value.item())
        if isinstance(value, np.ndarray):
            return self.array(value)
        if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
            return {type(value).__name__: [self.encode(v) for v in value]}
        if isinstance(value, dict) and all(isinstance(k, str) for k in value):
            return {"dict": {k: self.encode(v) for k, v in value.items()}}
        if isinstance(value, Measure):
            return {"measure": type(value).__name__, "parts": self._measure(value)}
        if type(value) in self._classes and dataclasses.is_dataclass(value):
            fields = {
                f.name: self.encode(getattr(value, f.name)) for f in dataclasses.fields(value)
            }
            return {"settings": self._classes[type(value)], "fields": fields}
        raise Unsupported(f"{type(value).__name__} {value!r} cannot be stored in a jko file")

    def _measure(self, mu: Measure) -> Tree:
        if type(mu) is GridDensity:
            grid = mu.grid
            parts: Tree = {
                "lower": self.array(grid.lower),
                "upper": self.array(grid.upper),
                "shape": list(grid.shape),
                "periodic": list(grid.periodic),
                "mask": None if grid.mask is None else self.array(grid.mask),
                "weights": self.array(mu.weights),
            }
        elif type(mu) in (Histogram, Particles):
            assert isinstance(mu, Discrete)
            parts = {"points": self.array(mu.points), "weights": self.array(mu.weights)}
        elif type(mu) is Gaussian:
            parts = {"mean": self.array(mu.mean), "cov": self.array(mu.cov), "mass": mu.mass}
        else:
            raise Unsupported(f"a {type(mu).__name__} cannot be stored in a jko file")
        return parts


class _Decoder:
    """The inverse of `_Encoder`."""

    def __init__(self, table: list[Tree], data: np.ndarray) -> None:
        self._table, self._data = table, data
        self._arrays: dict[int, np.ndarray] = {}
        self._left = data.size  # no two arrays share bytes: all of them fit into the block
        self._supports: dict[tuple[object, ...], Discrete] = {}
        self._classes = _settings_classes()

    def array(self, node: dict[str, int]) -> np.ndarray:
        key = node["array"]
        if key not in self._arrays:
            place = self._table[key]
            dtype, shape = np.dtype(place["dtype"]), tuple(place["shape"])
            if dtype.kind not in "fiub":
                raise InvalidFile(f"array of dtype {dtype}")
            if not all(type(m) is int and m >= 0 for m in (*shape, place["start"])):
                raise InvalidFile(f"array of shape {place['shape']} at {place['start']}")
            count = math.prod(shape)
            self._left -= count * dtype.itemsize
            if self._left < 0:
                raise InvalidFile("arrays that are larger than the file")
            flat = np.frombuffer(self._data, dtype, count, place["start"]).copy()
            self._arrays[key] = flat.reshape(shape, order=place["order"])
        return self._arrays[key]

    def decode(self, node: Node) -> Node:
        if not isinstance(node, dict):
            return node
        if "array" in node:
            return self.array(node)
        if "list" in node:
            return [self.decode(v) for v in node["list"]]
        if "tuple" in node:
            return tuple(self.decode(v) for v in node["tuple"])
        if "dict" in node:
            return {k: self.decode(v) for k, v in node["dict"].items()}
        if "measure" in node:
            return self._measure(node["measure"], node["parts"])
        cls = self._classes[node["settings"]]
        fields = {k: self.decode(v) for k, v in node["fields"].items()}
        with warnings.catch_warnings():  # deprecated settings of old files have no effect
            warnings.simplefilter("ignore", DeprecationWarning)
            return cls(**fields)

    def _measure(self, kind: str, parts: Tree) -> Measure:
        if kind == "Gaussian":
            return Gaussian(self.array(parts["mean"]), self.array(parts["cov"]), parts["mass"])
        weights = self.array(parts["weights"])
        if kind == "GridDensity":
            mask = parts.get("mask") and parts["mask"]["array"]
            key: tuple[object, ...] = (
                parts["lower"]["array"],
                parts["upper"]["array"],
                tuple(parts["shape"]),
            )
            key = (*key, tuple(parts.get("periodic", ())), mask)
        else:
            key = (kind, parts["points"]["array"])
        if key in self._supports:  # measures of one support share its points again
            return self._supports[key].with_weights(weights)
        if kind == "GridDensity":
            out: Discrete = GridDensity(self._grid(parts), weights)
        else:
            cls = {"Histogram": Histogram, "Particles": Particles}[kind]
            out = cls(self.array(parts["points"]), weights)
        self._supports[key] = out
        return out

    def _grid(self, parts: Tree) -> Grid:
        mask = parts.get("mask")
        return Grid(
            self.array(parts["lower"]),
            self.array(parts["upper"]),
            parts["shape"],
            periodic=parts.get("periodic", False),
            mask=None if mask is None else self.array(mask),
        )


def storable(value: object) -> bool:
    """Whether `write` can store the value."""
    try:
        _Encoder().encode(value)
    except Unsupported:
        return False
    return True


def same(a: object, b: object) -> bool:
    """Whether two values can be stored and would be stored alike, to the last bit."""
    one, two = _Encoder(), _Encoder()
    try:
        if one.encode(a) != two.encode(b) or one.table != two.table:
            return False
    except Unsupported:
        return False
    return bool(np.array_equal(one.data, two.data))


def write(path: str | os.PathLike[str], kind: str, tree: Tree) -> Stamp | None:
    """Write a tree atomically: after a crash the file is the old one or the new one, whole."""
    target = target_of(path)
    encoder = _Encoder()
    body = encoder.encode(tree)
    header = {"kind": kind, "body": body, "arrays": encoder.table}
    return put(target, pack(header, encoder.data))


def read(path: str | os.PathLike[str], builders: Mapping[str, Callable[[Tree], T]]) -> T:
    """What the builder of the file's kind makes of its tree; else one clear `InvalidFile`."""
    target = as_path(path)
    header, data = take(target)
    version, kind = header["version"], header["kind"]
    if version > VERSION:
        raise InvalidFile(
            f"{target} has format version {version}, this jko reads up to {VERSION}; update jko"
        )
    if kind not in builders:
        way = (
            "; go on with jko.flow(jko.Trajectory.load(path), energy, geometry, tau=..., steps=...)"
            if kind == "trajectory" and "checkpoint" in builders
            else ""
        )
        raise InvalidFile(f"{target} holds a {kind}, expected a {' or '.join(builders)}{way}")
    try:
        return builders[kind](_Decoder(header["arrays"], data).decode(header["body"]))
    except (JkoError, *DAMAGE) as error:
        said = " ".join(str(error).split())[:200]
        raise InvalidFile(f"{target} is damaged: {type(error).__name__} {said}") from None
