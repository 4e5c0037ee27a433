"""Linear energies: the integral of a potential."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from jko.energies.base import FormEnergy
from jko.energies.gaussian_form import GaussianForm
from jko.energies.gaussian_moments import Field
from jko.errors import InvalidMeasure, InvalidType, Unsupported
from jko.forms.form import WeightForm
from jko.forms.separable import Separable
from jko.measures.base import Discrete
from jko.measures.fused import checked_gradients
from jko.numerics.called import called, one_each
from jko.numerics.checked_gradient import CheckedGradient
from jko.numerics.gradients import is_single
from jko.validation import Array, float_array, real
from jko.warned import caution

Function = Callable[[Array], ArrayLike]


class Potential(FormEnergy):
    """int V dmu.

    Parameters
    ----------
    V : callable (n, d) -> (n,), or (n,) array of values at the atoms
        +inf closes an atom (a wall); NaN and -inf are errors.
    gradient : callable (n, d) -> (n, d), optional
        Gradient of V, needed by steps that move particles. It is compared with differences of V
        once, at the first points it is asked for: `InvalidArgument` where they disagree.
    convexity : float, optional
        Least curvature of V, negative where V is not convex: `jko.step` warns when a Wasserstein
        step is too long to have one minimiser, and shorter steps of Gaussians have a gap.

    References
    ----------
    McCann (1997); Santambrogio (2017).
    """

    def __init__(
        self,
        V: Function | ArrayLike,
        gradient: Function | None = None,
        convexity: float | None = None,
    ) -> None:
        self._convexity = None if convexity is None else real(convexity, "convexity")
        self._values: Array | None = None
        if callable(V):
            self._function: Function | None = V
        else:
            self._function = None
            self._values = float_array(V, "V")
        if gradient is not None and not callable(gradient):
            raise InvalidType(
                f"gradient got {type(gradient).__name__}; pass a function (n, d) -> (n, d)"
            )
        if gradient is not None and self._function is not None:
            remedy = "correct Potential(V, gradient=...), or pass the V that it is the gradient of"
            gradient = CheckedGradient(self._function, gradient, "gradient of V", remedy)
        self._gradient = gradient

    @property
    def listed(self) -> bool:
        return self._values is not None

    def values(self, mu: Discrete) -> Array:
        """V at the atoms (n,)."""
        if self._function is not None:
            values = float_array(called(self._function, mu.points, "V"), "V(points)")
            if values.shape != (mu.n,):
                raise InvalidMeasure(one_each("V", values.shape, mu.n))
        else:
            assert self._values is not None
            values = self._values
        if values.shape != (mu.n,):
            raise InvalidMeasure(
                f"V gave shape {values.shape} for {mu.n} atoms; give one value per atom"
            )
        bad = np.isnan(values) | (values == -np.inf)
        if bad.any():
            i = int(np.argmax(bad))
            raise InvalidMeasure(f"V is {values[i]} at atom {i}, {mu.points[i].tolist()}")
        return values

    def restrict(self, mu: Discrete) -> WeightForm:
        values = self.values(mu)
        wall = np.isinf(values)
        upper = np.where(wall, 0.0, np.inf) if wall.any() else None
        return WeightForm(Separable(np.where(wall, 0.0, values), {}, upper))

    @cached_property
    def _gaussian_form(self) -> GaussianForm:
        if self._function is None:
            raise Unsupported(
                "Potential of an array has values on atoms only; pass a function V for a Gaussian"
            )
        least = -np.inf if self._convexity is None else self._convexity
        return GaussianForm(
            fields=(Field(self._function, self._gradient),),
            convex=False,
            curvature=least,
        )

    def gaussian_form(self) -> GaussianForm:
        return self._gaussian_form

    def _displacement_convexity(self) -> float | None:
        return self._convexity

    def wasserstein_gradient(self, mu: Discrete) -> Array:
        if self._gradient is None:
            raise Unsupported(
                "Potential has no gradient to move particles with; pass Potential(V, gradient=...)"
            )
        found = self._gradient(mu.points)
        if "said" not in self.__dict__ and is_single(np.asarray(found)):
            self.__dict__["said"] = True
            caution(
                "gradient of V returns numbers of single precision, known to 6e-8 of their size:"
                " short steps may miss their tolerance; return float64 (JAX: call"
                ' jax.config.update("jax_enable_x64", True) before any array is made), or pass'
                " tol=1e-4"
            )
        return checked_gradients(found, mu.points, "gradient of V")

    def __repr__(self) -> str:
        if self._function is None:
            return "Potential(values)"
        return f"Potential({getattr(self._function, '__name__', 'V')})"
