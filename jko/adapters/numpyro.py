"""NumPyro models in unconstrained coordinates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from jko.adapters.base import FAULTS, Adapted, fault, framework
from jko.adapters.jax import from_function, tree_names
from jko.errors import InvalidArgument, InvalidType, Unsupported
from jko.validation import Array


def from_model(model: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Adapted:
    """The log density of a model at these arguments, Jacobians included."""
    framework("numpyro", "numpyro")
    if not callable(model):
        raise InvalidType(f"model got {type(model).__name__}; pass the model function of NumPyro")
    jax = framework("jax", "numpyro")
    from jax.flatten_util import ravel_pytree
    from numpyro.infer.util import initialize_model

    key = jax.random.PRNGKey(0)
    try:
        _refuse(model, key, args, kwargs)
        info = initialize_model(
            key, model, model_args=args, model_kwargs=kwargs, validate_grad=False
        )
    except FAULTS as error:
        if isinstance(error, Unsupported):
            raise
        remedy = "check the model and the arguments given after it"
        raise fault("the model", error, remedy) from error
    flat, back = ravel_pytree(info.param_info.z)
    if flat.size == 0:
        raise InvalidArgument("the model has no latent site: there is nothing to infer")
    names = tree_names(jax, info.param_info.z)
    potential = info.potential_fn
    found = from_function(lambda x: -potential(back(x)), flat.size, names, "the NumPyro model")
    many = jax.jit(jax.vmap(lambda x: info.postprocess_fn(back(x))))

    def constrain(x: Array) -> dict[str, Array]:
        sites = many(np.atleast_2d(np.asarray(x, dtype=float)))
        return {name: np.asarray(values) for name, values in sites.items()}

    return replace(found, constrain=constrain)


def _refuse(
    model: Callable[..., Any], key: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Say which site has no density on the whole line, or another one at every call."""
    from numpyro.handlers import seed, substitute, trace
    from numpyro.infer import init_to_uniform

    # Flat priors cannot be drawn from: their sites are filled in as for a start of NUTS.
    filled = substitute(seed(model, key), substitute_fn=init_to_uniform())
    sites = trace(filled).get_trace(*args, **kwargs)
    for name, site in sites.items():
        if site["type"] == "plate" and (site["args"][1] or site["args"][0]) < site["args"][0]:
            raise Unsupported(
                f"the plate {name!r} takes a random part of its data at every call, so that the"
                " log density is no function of the parameters; leave out subsample_size"
            )
        if site["type"] != "sample" or site["is_observed"]:
            continue
        if site["fn"].support.is_discrete:
            raise Unsupported(
                f"the site {name!r} is discrete and has no gradient; sum it out, for instance with"
                " numpyro.distributions.MixtureSameFamily, before bringing the model"
            )
