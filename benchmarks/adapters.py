"""What an adapter costs: value and gradient of 1000 particles, against the framework's own batch.

A logistic regression (500 observations, 25 coefficients) in every framework that is installed. The
framework's own batch is what one would write without `jko`: `jit(vmap(value_and_grad(f)))`, one
backward pass of a batch in PyTorch, a loop over BridgeStan. Bar: 1.3 times that. The best of
several interleaved repetitions counts.

    python benchmarks/adapters.py
    python benchmarks/adapters.py --particles 4000 --repeat 50
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import numpy as np

import jko

#: What `python -m benchmarks` passes.
QUICK = ["--repeat", "5"]
D, COUNT = 25, 500
rng = np.random.default_rng(0)
A = rng.normal(size=(COUNT, D))
Y = (rng.random(COUNT) < 0.5).astype(float)

STAN = """
data { int N; int D; matrix[N, D] A; array[N] int<lower=0, upper=1> y; }
parameters { vector[D] x; }
model { x ~ std_normal(); y ~ bernoulli_logit(A * x); }
"""


def jax_cases() -> Iterator[tuple[str, Callable, Callable]]:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def f(x):
        u = A @ x
        return u @ Y - jnp.logaddexp(0, u).sum() - 0.5 * x @ x

    own = jax.jit(jax.vmap(jax.value_and_grad(f)))
    both = lambda x: tuple(np.asarray(v) for v in own(x))
    yield "JAX", both, jko.LogDensity.from_jax(f, D).value_and_grad
    if find_spec("numpyro") is not None:
        import numpyro
        from numpyro.infer.util import log_density

        def model():
            x = numpyro.sample("x", numpyro.distributions.Normal(0, 1).expand([D]).to_event(1))
            numpyro.sample("y", numpyro.distributions.Bernoulli(logits=A @ x), obs=Y)

        density = lambda x: log_density(model, (), {}, {"x": x})[0]
        own_model = jax.jit(jax.vmap(jax.value_and_grad(density)))
        both = lambda x: tuple(np.asarray(v) for v in own_model(x))
        yield "NumPyro", both, jko.LogDensity.from_numpyro(model).value_and_grad
    if find_spec("pymc") is not None:
        import pymc as pm
        from pymc.sampling.jax import get_jaxified_logp

        with pm.Model() as regression:
            x = pm.Normal("x", 0, 1, shape=D)
            pm.Bernoulli("y", logit_p=A @ x, observed=Y)
        logp = get_jaxified_logp(regression)
        own_pymc = jax.jit(jax.vmap(jax.value_and_grad(lambda x: logp([x]))))
        both = lambda x: tuple(np.asarray(v) for v in own_pymc(x))
        yield "PyMC (JAX)", both, jko.LogDensity.from_pymc(regression).value_and_grad


def torch_cases() -> Iterator[tuple[str, Callable, Callable]]:
    import torch

    torch.set_num_threads(1)
    a, y = torch.as_tensor(A), torch.as_tensor(Y)

    def f(x):
        u = x @ a.T
        return u @ y - torch.nn.functional.softplus(u).sum(dim=1) - 0.5 * (x**2).sum(dim=1)

    def own(x):
        points = torch.tensor(x, requires_grad=True)
        values = f(points)
        (slope,) = torch.autograd.grad(values.sum(), points)
        return values.detach().numpy(), slope.numpy()

    yield "PyTorch", own, jko.LogDensity.from_torch(f, D).value_and_grad


def stan_cases() -> Iterator[tuple[str, Callable, Callable]]:
    import stanli

    data = {"N": COUNT, "D": D, "A": A.tolist(), "y": Y.astype(int).tolist()}
    model = stanli.bridgestan_model(stan_code=STAN, data=data)

    def own(x):
        pairs = [model.log_density_gradient(row) for row in x]
        return np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])

    yield "Stan (stanli)", own, jko.LogDensity.from_stan(model).value_and_grad


def milliseconds(calls: list[Callable], particles: int, repeat: int) -> list[float]:
    """The best of `repeat` interleaved runs, each on points of its own: nothing is remembered."""
    best = [np.inf] * len(calls)
    for i in range(repeat + 1):
        x = np.random.default_rng(i).normal(size=(particles, D))
        for j, call in enumerate(calls):
            began = time.perf_counter()
            call(x)
            if i:  # the first one compiles
                best[j] = min(best[j], time.perf_counter() - began)
    return [1e3 * b for b in best]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--particles", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=20)
    args = parser.parse_args()
    print(f"{'framework':16s} {'own, ms':>9s} {'jko, ms':>9s} {'ratio':>6s}   agree to")
    for module, cases in (("jax", jax_cases), ("torch", torch_cases), ("stanli", stan_cases)):
        if find_spec(module) is None:
            print(f"{module}: not installed")
            continue
        for name, own, ours in cases():
            x = np.random.default_rng(99).normal(size=(50, D))
            (values, slope), (v, g) = own(x), ours(x)
            off = np.abs((v - v[0]) - (values - values[0])).max() + np.abs(slope - g).max()
            a, b = milliseconds([own, ours], args.particles, args.repeat)
            print(f"{name:16s} {a:9.2f} {b:9.2f} {b / a:6.2f}   {off:.0e}", flush=True)


if __name__ == "__main__":
    main()
