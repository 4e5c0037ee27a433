"""Log densities written in JAX: of one point or of a batch, compiled, in padded batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jko.adapters.base import (
    FAULTS,
    Adapted,
    Faults,
    Padded,
    Values,
    default_names,
    entry_names,
    fault,
    framework,
    gathered,
    tidy,
    warn_single,
)
from jko.errors import InvalidArgument, InvalidType
from jko.validation import Array, positive_int

#: The remedy for JAX's default.
DOUBLE = 'call jax.config.update("jax_enable_x64", True) before any array is made'
#: What a function must be that cannot be traced.
TRACED = (
    "it must be a pure JAX function that jax.jit and jax.grad can trace: jax.numpy instead of"
    " numpy, jax.numpy.where instead of if"
)


def from_function(
    f: Callable[..., Any], dim: int, names: Sequence[str] | None = None, source: str = "f"
) -> Adapted:
    """A log density from a JAX function of a point (d,) or of points (n, d)."""
    jax = framework("jax", "jax")
    if not callable(f):
        raise InvalidType(f"f got {type(f).__name__}; pass a JAX function of a point or of points")
    dim = positive_int(dim, "dim")
    batched, dtype = _kind(jax, f, dim, source)
    if dtype.itemsize < 8:
        warn_single(source, DOUBLE)
    many = f if batched else jax.vmap(f)

    def summed(x: Any) -> Any:
        out = many(x)
        return out.sum(), out

    slope = jax.value_and_grad(summed, has_aux=True)

    def fused(x: Any) -> Any:
        (_, out), gradients = slope(x)
        return out, gradients

    faults = Faults()
    value, both = _Compiled(jax.jit(many), faults), _Compiled(jax.jit(fused), faults)
    return Adapted(value.values, both.pairs, dim, tuple(names or default_names(dim)), None, faults)


def from_position(f: Callable[..., Any], position: Any, source: str = "f") -> Adapted:
    """A log density of a tree of arrays shaped like `position`, as BlackJAX has them."""
    jax = framework("jax", "jax")
    if isinstance(position, int):
        return from_function(f, position, source=source)
    from jax.flatten_util import ravel_pytree

    try:
        tree = jax.tree.map(lambda a: jax.numpy.asarray(a, dtype=float), position)
    except FAULTS as error:
        remedy = "pass numbers and arrays of them, in dictionaries, tuples or lists"
        raise fault("position", error, remedy) from error
    flat, back = ravel_pytree(tree)
    if flat.size == 0:
        raise InvalidArgument(f"position = {position!r} has no entry; pass one like those f takes")
    adapted = from_function(lambda x: f(back(x)), flat.size, tree_names(jax, tree), source)
    many = jax.jit(jax.vmap(back))

    def constrain(x: Array) -> dict[str, Array]:
        leaves = jax.tree_util.tree_flatten_with_path(many(x))[0]
        return {_path(path): np.asarray(leaf, dtype=float) for path, leaf in leaves}

    return Adapted(
        adapted.value, adapted.both, adapted.dim, adapted.names, constrain, adapted.faults
    )


def tree_names(jax: Any, tree: Any) -> list[str]:
    """The name of every entry of a tree of arrays, in the order of `ravel_pytree`."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [name for path, leaf in leaves for name in entry_names(_path(path), np.shape(leaf))]


def _path(path: Any) -> str:
    parts = [getattr(p, "key", getattr(p, "name", getattr(p, "idx", p))) for p in path]
    return ".".join(map(str, parts)) or "x"


def _kind(
    jax: Any, f: Callable[..., Any], dim: int, source: str = "f"
) -> tuple[bool, np.dtype[Any]]:
    """Whether f takes points (n, d), and the type it returns: from shapes, nothing is evaluated.

    What takes one point is vectorised by JAX even if it would take several: x[0] of several
    points is a row, not a coordinate.
    """
    many = 7 if dim != 7 else 5
    shapes: dict[str, Any] = {}
    trouble: BaseException | None = None
    for name, shape in (("one point", (dim,)), ("points", (many, dim))):
        try:
            shapes[name] = jax.eval_shape(f, jax.ShapeDtypeStruct(shape, _default(jax)))
        except FAULTS as error:
            trouble = trouble or error
    wanted: dict[str, tuple[int, ...]] = {"one point": (), "points": (many,)}
    for name, found in wanted.items():
        out: Any = shapes.get(name)
        if getattr(out, "shape", None) == found:
            kind = np.dtype(out.dtype)
            if kind.kind != "f" and "float" not in str(out.dtype):
                raise InvalidArgument(f"f returns {out.dtype}; return a real floating number")
            return name == "points", kind
    remedy = f"f must take a point ({dim},) and return a number, or points (n, {dim}) and n numbers"
    if not shapes:
        assert trouble is not None
        if "model" in source:  # its shapes are no business of the user's
            raise fault(source, trouble, TRACED) from trouble
        raise fault("f", trouble, remedy) from trouble
    said = ", ".join(f"{getattr(v, 'shape', type(v).__name__)} for {k}" for k, v in shapes.items())
    raise InvalidArgument(f"f returns shape {said}; {remedy}")


def _default(jax: Any) -> Any:
    return jax.numpy.zeros(0).dtype


class _Compiled:
    """A compiled function of batches, on NumPy arrays of any length."""

    def __init__(self, run: Callable[..., Any], faults: Faults) -> None:
        self.run, self.faults, self.batches = run, faults, Padded()

    def values(self, x: Array) -> Values:
        """Values (n,)."""
        if not len(x):
            return np.zeros(0)
        parts = [(np.asarray(self._said(part))[:n],) for part, n in self.batches(x)]
        return tidy(gathered(parts)[0], None, self.faults)[0]

    def pairs(self, x: Array) -> tuple[Values, Values]:
        """Values (n,) and gradients (n, d)."""
        if not len(x):
            return np.zeros(0), np.zeros_like(x)
        parts = []
        for part, n in self.batches(x):
            values, gradients = self._said(part)
            parts.append((np.asarray(values)[:n], np.asarray(gradients)[:n]))
        values, gradients = gathered(parts)
        return tidy(values, gradients, self.faults)

    def _said(self, x: Array) -> Any:
        try:
            return self.run(x)
        except FAULTS as error:
            raise fault("f", error, TRACED) from error
