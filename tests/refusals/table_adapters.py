"""Refusals of densities from other frameworks, each with its way out followed."""

import numpy as np
import pytest
from refusals.table_files import in_folder

import jko

POINT = np.zeros((2, 1))
STAN = "parameters { real m; }\nmodel { m ~ normal(0, 1); }\n"
GIVEN = "data { int n; }\n" + STAN
from_jax, from_torch = jko.LogDensity.from_jax, jko.LogDensity.from_torch
from_stan, from_blackjax = jko.LogDensity.from_stan, jko.LogDensity.from_blackjax


def brought(name):
    """A framework, or a test that is skipped without it."""
    return pytest.importorskip(name, reason=f"{name} is not installed")


def by(name, f):
    """A call of f(the framework)."""
    return lambda: f(brought(name))


def at_once(density):
    """The density and its slope, evaluated."""
    return density.log_density_and_score(POINT)


def detached(x):
    return -(x.detach() ** 2).sum(dim=-1)


def bell(x):
    return -(x**2).sum(-1)


def free(pm):
    with pm.Model() as model:
        pm.Normal("m", 0.0, 1.0)
    return model


def filed(folder, name, text):
    (folder / name).write_text(text)
    return folder / name


# fmt: off
#: id, what is refused, words of the way out (a regular expression), the way followed
FRAMEWORKS = [
    ("jax-of-what", by("jax", lambda _: from_jax(3.0, 1)), "a JAX function of a point or of points",
     by("jax", lambda jax: from_jax(lambda x: -(x**2).sum(), 1).log_density_at(POINT))),
    ("jax-whole-numbers", by("jax", lambda _: from_jax(lambda x: x.sum().astype(int), 1)),
     "return a real floating number",
     by("jax", lambda _: from_jax(lambda x: x.sum().astype(float), 1))),
    ("jax-shapes", by("jax", lambda _: from_jax(lambda x: x, 1)),
     r"must take a point \(1,\) and return a number, or points \(n, 1\) and n numbers",
     by("jax", lambda _: [from_jax(f, 1) for f in (lambda x: x[0], lambda x: x[:, 0])])),
    ("blackjax-nothing", by("jax", lambda _: from_blackjax(lambda x: 0.0, {})),
     "pass one like those f takes",
     by("jax", lambda _: from_blackjax(lambda x: -(x["m"] ** 2), {"m": 0.0}))),
    ("blackjax-text", by("jax", lambda _: from_blackjax(lambda x: 0.0, {"m": "one"})),
     "pass numbers and arrays of them, in dictionaries, tuples or lists",
     by("jax", lambda _: [from_blackjax(lambda x: -(x[0] ** 2), kind([0.0]))
                          for kind in (tuple, list)])),
    ("torch-of-what", by("torch", lambda _: from_torch(3.0, 1)), "a function of tensors",
     by("torch", lambda _: at_once(from_torch(bell, 1)))),
    ("torch-whole-numbers", by("torch", lambda _: from_torch(lambda x: bell(x).int(), 1)),
     "return a real floating number",
     by("torch", lambda _: from_torch(lambda x: bell(x).double(), 1))),
    ("torch-shapes", by("torch", lambda _: from_torch(lambda x: x, 1)),
     r"must take points \(n, 1\) and return n numbers, or a point \(1,\) and one",
     by("torch", lambda _: [from_torch(f, 1) for f in (lambda x: x[:, 0], lambda x: x[0])])),
    ("torch-detached", by("torch", lambda _: at_once(from_torch(detached, 1))),
     "do not detach or leave tensors", by("torch", lambda _: at_once(from_torch(bell, 1)))),
    ("pymc-of-what", by("pymc", lambda _: jko.LogDensity.from_pymc(3)), "pass a pymc.Model",
     by("pymc", lambda pm: jko.LogDensity.from_pymc(free(pm)))),
    ("stan-of-what", lambda: from_stan(3), "pass the text or file of a Stan program",
     by("stanli", lambda _: in_folder(
         lambda d: [from_stan(STAN), from_stan(filed(d, "a.stan", STAN))])())),
    ("stan-no-file", by("stanli", lambda _: from_stan("gone.stan")),
     "pass a .stan file or its text",
     by("stanli", lambda _: in_folder(lambda d: from_stan(filed(d, "here.stan", STAN)))())),
    ("stan-no-data", by("stanli", lambda _: from_stan(GIVEN, "gone.json")),
     "pass a .json file, its text or a dict",
     by("stanli", lambda _: in_folder(lambda d: [from_stan(GIVEN, data) for data in (
         filed(d, "here.json", '{"n": 1}'), '{"n": 1}', {"n": 1})])())),
    ("stan-data-twice", by("stanli", lambda stanli: from_stan(stanli.Model(stan_code=STAN), {})),
     "pass data with the text of a program", by("stanli", lambda _: from_stan(GIVEN, {"n": 1}))),
    ("stan-wrong", by("stanli", lambda _: from_stan("model {")), "correct the program",
     by("stanli", lambda _: from_stan(STAN))),
]
# fmt: on
