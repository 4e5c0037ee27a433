"""Unnormalised log densities, by hand or from another framework."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from jko.adapters.base import Adapted, Faults
from jko.errors import Unsupported
from jko.measures.fused import (
    NO_GRADIENT,
    Apart,
    Columns,
    Fused,
    absent,
    check_callables,
    checked_gradients,
    checked_values,
    names_of,
)
from jko.numerics.called import called
from jko.numerics.checked_gradient import CheckedGradient
from jko.numerics.gradients import check_gradient, is_single
from jko.validation import Array, positive_int
from jko.warned import caution


@dataclass(frozen=True, eq=False, repr=False)
class LogDensity:
    """An unnormalised density exp(log_density) on R^d.

    Parameters
    ----------
    log_density : callable (n, d) -> (n,)
        May be left out where `value_and_grad` is given; -inf outside the support.
    gradient : callable (n, d) -> (n, d), optional
        Gradient of `log_density` (the score); needed by steps that move particles.
    dim : int
    log_concave : bool
        Your word that the log density is concave; steps on Gaussians then have a gap.
    value_and_grad : callable (n, d) -> ((n,), (n, d)), optional
        Both in one evaluation. `log_density`, `gradient` and `value_and_grad` of the object then
        share the last points they were asked at.
    names : sequence of str, optional
        Of the coordinates; x[0], x[1]... by default.
    constrain : callable (n, d) -> dict of arrays (n, ...), optional
        The parameters of a model, by name, from unconstrained coordinates.

    Attributes
    ----------
    log_density, gradient, value_and_grad : callable
        As above, whichever were given; `gradient` is None without one.
    constrain : callable
        {name: column} by default.
    dtype : numpy dtype
        What the function returns: float32 where it works in single precision.
    faults : Faults or None
        Of a density from another framework: how often it could not be evaluated.

    Notes
    -----
    `from_jax`, `from_torch`, `from_numpyro`, `from_pymc`, `from_stan` and `from_blackjax` bring
    models of other frameworks; each is an extra, imported when it is called.
    """

    log_density: Callable[[Array], Array] = absent
    gradient: Callable[[Array], Array] | None = None
    dim: int = 1
    log_concave: bool = False
    value_and_grad: Callable[[Array], tuple[Array, Array]] = None  # type: ignore[assignment]
    names: tuple[str, ...] = None  # type: ignore[assignment]
    constrain: Callable[[Array], dict[str, Array]] = None  # type: ignore[assignment]
    faults: Faults | None = None

    def __post_init__(self) -> None:
        set_: Callable[[str, object], None] = lambda name, value: object.__setattr__(
            self, name, value
        )
        check_callables(self.log_density, self.gradient, self.value_and_grad, self.constrain)
        positive_int(self.dim, "dim")
        set_("names", names_of(self.names, self.dim))
        if self.constrain is None:
            set_("constrain", Columns(self.names))
        if self.value_and_grad is None:
            set_("value_and_grad", Apart(self.log_density, self.gradient).pair)
            return
        if isinstance(getattr(self.value_and_grad, "__self__", None), Apart | Fused):
            return  # dataclasses.replace: the functions fit each other already
        fused = Fused(self.value_and_grad, None if self._bare else self.log_density)
        set_("value_and_grad", fused.pair)
        set_("log_density", fused.values)
        if self.gradient is None:
            set_("gradient", fused.gradients)

    @property
    def _bare(self) -> bool:
        return self.log_density is absent

    @cached_property
    def dtype(self) -> np.dtype[np.floating]:
        """The floating type that the function returns, from one evaluation at the origin."""
        with np.errstate(all="ignore"):
            found = np.asarray(self.log_density(np.zeros((1, self.dim))))
        return np.dtype(found.dtype if found.dtype.kind == "f" else np.float64)

    @classmethod
    def _adapted(cls, found: Adapted) -> Self:
        return cls(
            found.value,  # type: ignore[arg-type]
            None,
            found.dim,
            value_and_grad=found.both,  # type: ignore[arg-type]
            names=found.names,
            constrain=found.constrain,  # type: ignore[arg-type]
            faults=found.faults,
        )

    @classmethod
    def from_jax(
        cls, f: Callable[..., object], dim: int, *, names: Sequence[str] | None = None
    ) -> Self:
        """From a JAX function of a point (d,) or of points (n, d).

        Compiled once for each of a few batch sizes. NaN and a broken gradient outside the support
        count as -inf and 0 (`faults`).

        Parameters
        ----------
        f : callable
            (d,) -> () or (n, d) -> (n,), told apart by `jax.eval_shape`.
        dim : int
        names : sequence of str, optional

        Raises
        ------
        InvalidArgument
            f raises, or returns neither shape; the sentence names the exception.
        Unsupported
            JAX is not installed.
        """
        from jko.adapters.jax import from_function

        return cls._adapted(from_function(f, dim, names, "the JAX function"))

    @classmethod
    def from_blackjax(cls, f: Callable[..., object], position: Any) -> Self:
        """From the logdensity_fn of BlackJAX.

        Parameters
        ----------
        f : callable
        position : tree of arrays, or int
            A position such as `init` takes, or the dimension of a plain vector.
        """
        from jko.adapters.jax import from_position

        return cls._adapted(from_position(f, position, "the JAX function"))

    @classmethod
    def from_torch(
        cls,
        f: Callable[..., object],
        dim: int,
        *,
        names: Sequence[str] | None = None,
        device: Any = None,
    ) -> Self:
        """From a PyTorch function of points (n, d), or of a point (d,).

        Gradients by autograd: rows of a batch must not depend on each other, which is checked.
        Parameters of modules in double precision: `module.double()`.

        Parameters
        ----------
        f : callable
        dim : int
        names : sequence of str, optional
        device : optional
            Where the tensors are put.
        """
        from jko.adapters.torch import from_function

        return cls._adapted(from_function(f, dim, names, device))

    @classmethod
    def from_numpyro(cls, model: Callable[..., object], *args: Any, **kwargs: Any) -> Self:
        """From a NumPyro model and its arguments, in unconstrained coordinates.

        `constrain` gives the sites back, deterministic ones included. Discrete latent sites are
        refused: sum them out first.
        """
        from jko.adapters.numpyro import from_model

        return cls._adapted(from_model(model, args, kwargs))

    @classmethod
    def from_pymc(cls, model: Any) -> Self:
        """From a PyMC model, in unconstrained coordinates; `constrain` gives its variables back.

        Evaluated by JAX where that is installed, else by PyTensor, which compiles for longer.
        """
        from jko.adapters.pymc import from_model

        return cls._adapted(from_model(model))

    @classmethod
    def from_stan(cls, program: Any, data: Any = None) -> Self:
        """From a Stan program, in unconstrained coordinates.

        Parameters
        ----------
        program : str, path or model
            The program's text, the name of a .stan file, a `bridgestan.StanModel` or a
            `stanli.Model`. Text and files are interpreted by stanli: no compiler is needed.
        data : dict, JSON text or path, optional
            For text and files; a model has its data.
        """
        from jko.adapters.stan import from_program

        return cls._adapted(from_program(program, data))

    def log_density_at(self, x: Array) -> Array:
        """Checked values (n,) at points (n, d); -inf is allowed, NaN and +inf are not."""
        return checked_values(self._said(called(self.log_density, x, "log_density")), x)

    def _said(self, found: ArrayLike) -> ArrayLike:
        """Values as they are, and once a sentence where they are in single precision."""
        if self.faults is None and "said" not in self.__dict__ and is_single(np.asarray(found)):
            self.__dict__["said"] = True
            caution(
                "log_density returns numbers of single precision, known to 6e-8 of their size:"
                " gradients are compared to 3e-3 only; return float64 (JAX: call"
                ' jax.config.update("jax_enable_x64", True) before any array is made)'
            )
        return found

    def score(self, x: Array) -> Array:
        """Checked gradient (n, d) of the log density."""
        if self.gradient is None:
            raise Unsupported(NO_GRADIENT)
        return checked_gradients(self.gradient(x), x)

    def believe(self, points: Array) -> None:
        """Compare the gradient with differences at some of the points (n, d), once an object.

        What steps do before they first follow it; `InvalidArgument` where it disagrees.
        """
        if self.gradient is not None and not self._compared.checked:
            x = np.asarray(points, dtype=float)
            some = x[np.unique(np.linspace(0, len(x) - 1, 9).astype(int))]
            self.log_density_at(some)  # says what is no number before it is compared
            self._compared(some)

    @cached_property
    def _compared(self) -> CheckedGradient:
        remedy = "correct the gradient of the LogDensity, or leave it out"
        return CheckedGradient(self.log_density, self.score, "gradient of log_density", remedy)

    def trusted(self) -> Self:
        """The same density, whose gradient is believed as it is."""
        out = replace(self)
        out._compared.checked = True
        return out

    def believed_score(self, x: Array) -> Array:
        """`score`, after `believe`."""
        self.believe(x)
        return self.score(x)

    def log_density_and_score(self, x: Array) -> tuple[Array, Array]:
        """Both, checked, in one evaluation where the density is fused."""
        values, gradients = self.value_and_grad(x)
        return checked_values(self._said(values), x), checked_gradients(gradients, x)

    def check_gradient(self, points: Array, rng: np.random.Generator | None = None) -> float:
        """Compare the gradient with differences at points (m, d) of finite density.

        In the precision and scale of the function, `jko.numerics.gradients.check_gradient`.

        Raises
        ------
        InvalidArgument
            It disagrees; the message names the coordinate, the point and both values.
        """
        if self.gradient is None:
            raise Unsupported(NO_GRADIENT)
        remedy = "correct it" if self.faults is None else "is the function differentiable there?"
        off = check_gradient(self.log_density, self.gradient, points, remedy=remedy, rng=rng)
        self._compared.checked = True
        return off

    def __repr__(self) -> str:
        name = getattr(self.log_density, "__name__", "callable")
        return f"LogDensity({name}, dim={self.dim})"
