"""Files: trees of numbers, arrays and measures in one .npz, written atomically, read safely.

Nothing is pickled: a JSON header holds the tree, arrays stand beside it, and only measures and the
library's own frozen settings (geometries, kernels, solvers) are rebuilt. Loading executes nothing.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from jko import geometries, kernels, solvers
from jko.errors import InvalidArgument, Unsupported
from jko.measures import Gaussian, Grid, GridDensity, Histogram, Particles
from jko.measures.base import Discrete, Measure

FORMAT, VERSION = "jko", 1


class InvalidFile(InvalidArgument):
    """A file is missing, unreadable, truncated, foreign or newer than this library."""


def _settings_classes() -> dict[str, type]:
    """The library's frozen settings by name: the only classes a file may ask for."""
    found: dict[str, type] = {}
    for room in (geometries, kernels, solvers):
        for name, value in vars(room).items():
            if isinstance(value, type) and dataclasses.is_dataclass(value):
                found[name] = value
    return found


class _Encoder:
    """Turns a tree into JSON, setting arrays aside (each object once)."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self._seen: dict[int, str] = {}
        self._alive: list[Any] = []  # keeps ids unique while they serve as keys

    def array(self, value: np.ndarray) -> dict[str, str]:
        if value.dtype.kind not in "fiub":
            raise Unsupported(f"arrays of dtype {value.dtype} cannot be stored in a jko file")
        key = self._seen.get(id(value))
        if key is None:
            key = f"a{len(self.arrays)}"
            self._seen[id(value)] = key
            self._alive.append(value)
            self.arrays[key] = value
        return {"array": key}

    def encode(self, value: Any) -> Any:
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, np.generic):
            return self.encode(value.item())
        if isinstance(value, np.ndarray):
            return self.array(value)
        if isinstance(value, (list, tuple)):
            kind = "list" if isinstance(value, list) else "tuple"
            return {kind: [self.encode(v) for v in value]}
        if isinstance(value, dict):
            return {"dict": {str(k): self.encode(v) for k, v in value.items()}}
        if isinstance(value, Measure):
            return {"measure": type(value).__name__, "parts": self._measure(value)}
        if type(value).__name__ in _settings_classes():
            fields = {
                f.name: self.encode(getattr(value, f.name)) for f in dataclasses.fields(value)
            }
            return {"settings": type(value).__name__, "fields": fields}
        raise Unsupported(f"{value!r} cannot be stored in a jko file")

    def _measure(self, mu: Measure) -> dict[str, Any]:
        if isinstance(mu, GridDensity):
            grid = mu.grid
            parts: dict[str, Any] = {
                "lower": self.array(grid.lower),
                "upper": self.array(grid.upper),
                "shape": list(grid.shape),
                "weights": self.array(mu.weights),
            }
        elif isinstance(mu, (Histogram, Particles)):
            parts = {"points": self.array(mu.points), "weights": self.array(mu.weights)}
        elif isinstance(mu, Gaussian):
            parts = {"mean": self.array(mu.mean), "cov": self.array(mu.cov), "mass": mu.mass}
        else:
            raise Unsupported(f"a {type(mu).__name__} cannot be stored in a jko file")
        return parts


class _Decoder:
    def __init__(self, arrays: Any) -> None:
        self._stored = arrays
        self._arrays: dict[str, np.ndarray] = {}
        self._supports: dict[Any, Discrete] = {}
        self._classes = _settings_classes()

    def array(self, node: dict[str, str]) -> np.ndarray:
        key = node["array"]
        if key not in self._arrays:
            self._arrays[key] = self._stored[key]
        return self._arrays[key]

    def decode(self, node: Any) -> Any:
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
        return cls(**{k: self.decode(v) for k, v in node["fields"].items()})

    def _measure(self, kind: str, parts: dict[str, Any]) -> Measure:
        if kind == "Gaussian":
            return Gaussian(self.array(parts["mean"]), self.array(parts["cov"]), parts["mass"])
        weights = self.array(parts["weights"])
        if kind == "GridDensity":
            key: Any = (parts["lower"]["array"], parts["upper"]["array"], tuple(parts["shape"]))
        else:
            key = (kind, parts["points"]["array"])
        if key in self._supports:  # measures of one support share its points again
            return self._supports[key].with_weights(weights)
        if kind == "GridDensity":
            corners = self.array(parts["lower"]), self.array(parts["upper"])
            out: Discrete = GridDensity(Grid(*corners, parts["shape"]), weights)
        else:
            cls = {"Histogram": Histogram, "Particles": Particles}[kind]
            out = cls(self.array(parts["points"]), weights)
        self._supports[key] = out
        return out


def storable(value: Any) -> bool:
    """Whether `write` can store the value."""
    try:
        _Encoder().encode(value)
    except Unsupported:
        return False
    return True


def write(path: str | os.PathLike[str], kind: str, tree: dict[str, Any]) -> None:
    """Write a tree atomically: after a crash the file is the old one or the new one, whole."""
    target = Path(path)
    encoder = _Encoder()
    body = encoder.encode(tree)
    header = json.dumps({"format": FORMAT, "version": VERSION, "kind": kind, "body": body})
    scratch = target.with_name(target.name + ".tmp")
    buffer = np.frombuffer(header.encode(), dtype=np.uint8)
    try:
        with open(scratch, "wb") as file:
            np.savez(file, header=buffer, **encoder.arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, target)
    except OSError as error:
        raise InvalidFile(f"cannot write {target}: {error.strerror or error}") from error


def read(path: str | os.PathLike[str], kinds: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """The kind and the tree of a file; one clear error for anything that is not such a file."""
    target = Path(path)
    if not target.exists():
        raise InvalidFile(f"{target} does not exist")
    try:
        data = target.read_bytes()
    except OSError as error:
        raise InvalidFile(f"cannot read {target}: {error.strerror or error}") from error
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            stored = {name: arrays[name] for name in arrays.files}
        header = json.loads(stored.pop("header").tobytes().decode())
        known = header["format"] == FORMAT
        version, kind, body = header["version"], header["kind"], header["body"]
    except (zipfile.BadZipFile, OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise InvalidFile(
            f"{target} is not a jko file, or it is truncated ({type(error).__name__});"
            " it was left untouched"
        ) from None
    except AttributeError:
        raise InvalidFile(f"{target} is a plain array file, not a jko file") from None
    if not known:
        raise InvalidFile(f"{target} is not a jko file")
    if version > VERSION:
        raise InvalidFile(
            f"{target} has format version {version}, this jko reads up to {VERSION}; update jko"
        )
    if kind not in kinds:
        raise InvalidFile(f"{target} holds a {kind}, expected a {' or '.join(kinds)}")
    try:
        return kind, _Decoder(stored).decode(body)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidFile(f"{target} is damaged: {error}") from None
