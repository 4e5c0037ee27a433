"""Stan programs in unconstrained coordinates: interpreted by stanli, or compiled by BridgeStan."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from jko.adapters.base import (
    FAULTS,
    Adapted,
    Faults,
    Values,
    default_names,
    fault,
    framework,
    tidy,
)
from jko.errors import InvalidArgument, InvalidType
from jko.validation import Array

#: Words of Stan's messages that mean a wrong program, not a point outside the support.
BUGS = ("out of range", "accessing element", "index", "size mismatch", "must match in size")


def from_program(program: Any, data: Any = None) -> Adapted:
    """The log density of a program at these data, Jacobians included."""
    model = program
    if isinstance(program, str | os.PathLike):
        model = _interpreted(program, data)
    elif data is not None:
        raise InvalidArgument("data is part of the model; pass data with the text of a program")
    if hasattr(model, "log_density_gradient"):
        return _bridge(model)
    if hasattr(model, "log_prob_grad"):  # stanli.Model: its coordinates have no names
        run = _Rows(model.log_prob_grad, model)
        dim = _some(int(model.n_unconstrained))
        return Adapted(run.values, run.pairs, dim, default_names(dim), None, run.faults)
    raise InvalidType(
        f"program got {type(program).__name__}; pass the text or file of a Stan program,"
        " a bridgestan.StanModel or a stanli.Model"
    )


def _some(dim: int) -> int:
    """The number of parameters, where there are any."""
    if dim == 0:
        raise InvalidArgument("the Stan program has no parameter: there is nothing to infer")
    return dim


def _interpreted(program: str | os.PathLike[str], data: Any) -> Any:
    """A BridgeStan model of a text or file, without a compiler."""
    stanli = framework("stanli", "stan")
    framework("bridgestan", "stan")
    text = os.fspath(program)
    is_file = "\n" not in text and text.endswith(".stan")
    if is_file and not os.path.exists(text):
        raise InvalidArgument(f"program = {text!r} does not exist; pass a .stan file or its text")
    named = isinstance(data, str | os.PathLike) and not os.fspath(data).lstrip().startswith("{")
    if named and not os.path.exists(data):
        raise InvalidArgument(
            f"data = {os.fspath(data)!r} does not exist; pass a .json file, its text or a dict"
        )
    try:
        source = {"stan_file": text} if is_file else {"stan_code": text}
        return stanli.bridgestan_model(data=data if data is not None else {}, **source)
    except FAULTS as error:
        remedy = "correct the program, or the data handed in with it"
        raise fault("the Stan program", error, remedy) from error


def _bridge(model: Any) -> Adapted:
    run = _Rows(model.log_density_gradient, model)
    return Adapted(
        run.values,
        run.pairs,
        _some(int(model.param_unc_num())),
        tuple(_bracketed(name) for name in model.param_unc_names()),
        _Constrain(model),
        run.faults,
    )


def _bracketed(name: str) -> str:
    """theta.1.2 as Stan counts becomes theta[1,2]."""
    head, *index = name.split(".")
    return f"{head}[{','.join(index)}]" if index else head


class _Rows:
    """A function of one point, applied row by row; the model lives as long as it does."""

    def __init__(self, one: Callable[[Array], tuple[float, Array]], model: Any) -> None:
        self.one, self.model, self.faults = one, model, Faults()

    def values(self, x: Array) -> Values:
        """Values (n,)."""
        return self.pairs(x)[0]

    def pairs(self, x: Array) -> tuple[Values, Values]:
        """Values (n,) and gradients (n, d); a domain error means that the density vanishes."""
        x = np.ascontiguousarray(x, dtype=float)
        values, gradients = np.empty(len(x)), np.zeros(x.shape)
        for i, row in enumerate(x):
            try:
                values[i], gradients[i] = self.one(row)
            except RuntimeError as error:
                if any(word in str(error) for word in BUGS):
                    raise fault("the Stan program", error, "correct the program") from error
                values[i] = -np.inf
                self.faults.errors += 1
        return tidy(values, gradients, self.faults)


class _Constrain:
    """Parameters and transformed parameters by name, in the shapes of the program."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.columns: dict[str, list[tuple[int, tuple[int, ...]]]] = {}
        for j, name in enumerate(model.param_names(include_tp=True)):
            head, *index = name.split(".")
            place = tuple(int(i) - 1 for i in index)
            self.columns.setdefault(head, []).append((j, place))

    def __call__(self, x: Array) -> dict[str, Array]:
        """{name: (n, ...) array} at points (n, d)."""
        x = np.ascontiguousarray(np.atleast_2d(x), dtype=float)
        flat = np.array([self.model.param_constrain(row, include_tp=True) for row in x])
        out = {}
        for name, places in self.columns.items():
            shape = tuple(np.max([place for _, place in places], axis=0).astype(int) + 1)
            out[name] = np.empty((len(x), *shape))
            for j, place in places:
                np.moveaxis(out[name], 0, -1)[place] = flat[:, j]
        return out
