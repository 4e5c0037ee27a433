"""PyMC models in unconstrained coordinates, evaluated by JAX or by PyTensor."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np

from jko.adapters.base import (
    FAULTS,
    Adapted,
    Faults,
    Values,
    entry_names,
    fault,
    framework,
    tidy,
    warn_single,
)
from jko.errors import InvalidArgument, InvalidType, Unsupported
from jko.validation import Array

#: The remedy for a model made in single precision.
DOUBLE = 'set pytensor.config.floatX = "float64" before the model is made'


def from_model(model: Any) -> Adapted:
    """The log density of a model, Jacobians included."""
    pm = framework("pymc", "pymc")
    if not isinstance(model, pm.Model):
        raise InvalidType(f"model got {type(model).__name__}; pass a pymc.Model")
    if model.discrete_value_vars:
        raise Unsupported(
            f"the variable {model.discrete_value_vars[0].name!r} is discrete and has no gradient;"
            " sum it out, for instance with pymc.Mixture, before bringing the model"
        )
    if not model.value_vars:
        raise InvalidArgument("the model has no free variable: there is nothing to infer")
    try:
        return _adapt(model)
    except FAULTS as error:
        if isinstance(error, Unsupported):
            raise
        remedy = "check that model.compile_logp() works"
        raise fault("the model", error, remedy) from error


def _adapt(model: Any) -> Adapted:
    from pymc.pytensorf import join_nonshared_inputs

    start = model.initial_point()
    outputs, vector = join_nonshared_inputs(
        start, [model.logp(), *model.unobserved_value_vars], model.value_vars
    )
    named = [variable.name for variable in model.unobserved_value_vars]
    hidden = {variable.name for variable in model.value_vars} - {
        variable.name for variable in model.free_RVs
    }
    names = [
        name
        for variable in model.value_vars
        for name in entry_names(variable.name, np.shape(start[variable.name]))
    ]
    make = _by_jax if find_spec("jax") is not None else _by_pytensor
    found, many = make(vector, outputs, names)

    def constrain(x: Array) -> dict[str, Array]:
        values = zip(named, many(np.atleast_2d(np.asarray(x, dtype=float))), strict=True)
        return {name: np.asarray(value) for name, value in values if name not in hidden}

    return replace(found, constrain=constrain)


def _by_jax(vector: Any, outputs: list[Any], names: list[str]) -> tuple[Adapted, Any]:
    import jax
    from pymc.sampling.jax import get_jaxified_graph

    from jko.adapters.jax import from_function

    logp = get_jaxified_graph([vector], outputs[:1])
    others = get_jaxified_graph([vector], outputs[1:])
    found = from_function(lambda x: logp(x)[0], len(names), names, "the PyMC model under JAX")
    return found, jax.jit(jax.vmap(lambda x: others(x)))


def _by_pytensor(vector: Any, outputs: list[Any], names: list[str]) -> tuple[Adapted, Any]:
    import pytensor
    from pytensor.graph.replace import vectorize_graph

    points = pytensor.tensor.matrix("points", dtype=vector.dtype)
    slope = pytensor.grad(outputs[0], vector)
    graphs = vectorize_graph([*outputs, slope], {vector: points})
    value = pytensor.function([points], graphs[0])
    both = pytensor.function([points], [graphs[0], graphs[-1]])
    many = pytensor.function([points], graphs[1:-1])
    if np.dtype(graphs[0].dtype).itemsize < 8:
        warn_single("the PyMC model", DOUBLE)
    faults = Faults()

    def values(x: Array) -> Values:
        return tidy(np.asarray(value(x)), None, faults)[0]

    def pairs(x: Array) -> tuple[Values, Values]:
        found, gradients = both(x)
        return tidy(np.asarray(found), np.asarray(gradients), faults)

    return Adapted(values, pairs, len(names), tuple(names), None, faults), many
