"""Log densities written in PyTorch: gradients by autograd, or by torch.func for one point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jko.adapters.base import (
    FAULTS,
    MOST_ROWS,
    Adapted,
    Faults,
    Values,
    default_names,
    fault,
    framework,
    gathered,
    tidy,
    warn_single,
)
from jko.errors import InvalidArgument, InvalidType
from jko.validation import Array, positive_int

#: The remedy for PyTorch's default.
DOUBLE = "make its tensors and modules double: tensor.double(), module.double()"
#: The remedy for distributions that refuse points outside of their support.
INSIDE = (
    "write it in a coordinate of the whole line, such as the logarithm, with its Jacobian, or pass"
    " validate_args=False and return -inf outside the support by torch.where"
)
#: Points at which a function is tried, and how far they are spread.
TRIALS = 7
WIDTH = 0.1


def from_function(
    f: Callable[..., Any], dim: int, names: Sequence[str] | None = None, device: Any = None
) -> Adapted:
    """A log density from a function of points (n, d), or of a point (d,)."""
    torch = framework("torch", "torch")
    if not callable(f):
        raise InvalidType(f"f got {type(f).__name__}; pass a function of tensors")
    dim = positive_int(dim, "dim")
    entry, returned, batched = _kind(torch, f, dim, device)
    if returned != torch.float64:
        warn_single("the PyTorch function", DOUBLE)
    run = _TensorFunction(torch, f if batched else torch.func.vmap(f), entry, device)
    return Adapted(run.values, run.pairs, dim, tuple(names or default_names(dim)), None, run.faults)


def _kind(torch: Any, f: Callable[..., Any], dim: int, device: Any) -> tuple[Any, Any, bool]:
    """The type of tensors that f takes and returns, and whether it takes several points.

    It is tried on several points and on each of them alone: where both work they must agree, or
    the rows of a batch depend on each other.
    """
    trouble: BaseException | None = None
    x = torch.as_tensor(WIDTH * np.random.default_rng(0).standard_normal((TRIALS, dim)))
    for entry in (torch.float64, torch.float32):
        points = x.to(device=device, dtype=entry)
        many, alone = None, None
        with torch.no_grad():
            try:
                many = _shaped(torch, f(points), (TRIALS,))
            except FAULTS as error:
                trouble = error
            try:
                alone = [_shaped(torch, f(point), ()) for point in points]
            except FAULTS as error:
                trouble = trouble or error
        found = many if many is not None else None if alone is None else alone[0]
        if found is None:
            continue
        if not found.is_floating_point():
            raise InvalidArgument(f"f returns {found.dtype}; return a real floating number")
        return entry, found.dtype, many is not None and _same(torch, many, alone)
    remedy = f"f must take points (n, {dim}) and return n numbers, or a point ({dim},) and one"
    assert trouble is not None
    raise fault("f", trouble, INSIDE if "support" in str(trouble) else remedy) from trouble


def _shaped(torch: Any, out: Any, shape: tuple[int, ...]) -> Any:
    if not torch.is_tensor(out) or tuple(out.shape) != shape:
        found = tuple(out.shape) if torch.is_tensor(out) else type(out).__name__
        raise ValueError(f"it returned {found} where {shape} was expected")
    return out


def _same(torch: Any, many: Any, alone: Any) -> bool:
    """Whether a batch gives what its rows give alone; if not, f is a function of one point."""
    if alone is None:
        return True
    one = torch.stack(alone)
    return bool(torch.allclose(many, one, rtol=1e-3, atol=1e-5, equal_nan=True))


class _TensorFunction:
    """A batched function of tensors, on NumPy arrays."""

    def __init__(self, torch: Any, f: Callable[..., Any], entry: Any, device: Any) -> None:
        self.torch, self.f, self.entry, self.device = torch, f, entry, device
        self.faults = Faults()

    def values(self, x: Array) -> Values:
        """Values (n,)."""
        if not len(x):
            return np.zeros(0)
        with self.torch.no_grad():
            parts = [(self._numpy(self._said(self._tensor(part))),) for part in _parts(x)]
        return tidy(gathered(parts)[0], None, self.faults)[0]

    def pairs(self, x: Array) -> tuple[Values, Values]:
        """Values (n,) and gradients (n, d): of the sum, since rows are independent."""
        if not len(x):
            return np.zeros(0), np.zeros_like(x)
        parts = []
        for part in _parts(x):
            points = self._tensor(part).requires_grad_(True)
            values = self._said(points)
            if values.requires_grad:
                (slope,) = self.torch.autograd.grad(values.sum(), points, allow_unused=True)
            else:
                raise InvalidArgument(
                    "f returns values that do not depend on the points through PyTorch operations,"
                    " so there is no gradient; do not detach or leave tensors in f"
                )
            slope = self.torch.zeros_like(points) if slope is None else slope
            parts.append((self._numpy(values), self._numpy(slope)))
        values, gradients = gathered(parts)
        return tidy(values, gradients, self.faults)

    def _tensor(self, x: Array) -> Any:
        # A copy of NumPy's: PyTorch warns of the read-only points of a measure.
        return self.torch.as_tensor(np.array(x)).to(device=self.device, dtype=self.entry)

    def _numpy(self, tensor: Any) -> Values:
        return np.asarray(tensor.detach().cpu().numpy())

    def _said(self, x: Any) -> Any:
        try:
            return self.f(x)
        except FAULTS as error:
            remedy = "it must take any number of points"
            raise fault("f", error, INSIDE if "support" in str(error) else remedy) from error


def _parts(x: Array) -> list[Array]:
    return [x[first : first + MOST_ROWS] for first in range(0, len(x), MOST_ROWS)]
