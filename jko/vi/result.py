"""What a variational fit hands back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Required, TypedDict

import numpy as np

from jko.expectations import ExpectationRule
from jko.measures.gaussian import Gaussian, GaussianMixture
from jko.validation import Array
from jko.vi.evidence import Counts, FitCheck, failures
from jko.vi.importance import ImportanceSample

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class TraceRow(NamedTuple):
    """One accepted step.

    Attributes
    ----------
    time : float
        Sum of the step lengths so far.
    elbo, error : float
        The evidence lower bound, E_q log p - E_q log q, and its standard error.
    residual : float
        Length of the gradient in the Fisher metric.
    """

    time: float
    elbo: float
    error: float
    residual: float


class Descended(TypedDict, total=False):
    """What a descent found, before it is judged; some of it is missing on the way."""

    measure: Required[Gaussian | GaussianMixture]
    residual: Required[float]
    moment_error: Required[float]
    tol: Required[float]
    status: Required[str]
    trace: tuple[TraceRow, ...]
    tau: float
    rule: ExpectationRule | None
    importance: ImportanceSample | None
    diagnostics: dict[str, FitCheck]


@dataclass(frozen=True, repr=False)
class Fit:
    """The result of `jko.vi.fit`.

    Attributes
    ----------
    measure : Gaussian or GaussianMixture
    elbo, elbo_error : float
        On nodes the fit has not seen, and its standard error.
    residual : float
        Exclusive: length of the gradient in the Fisher metric, under the nodes of the fit.
        Inclusive: distance (2 KL)^{1/2} of the measure from the last estimate of the moments.
    moment_error : float
        Standard error of that gradient, or of those moments, in the same metric.
    tol : float
    trace : tuple of TraceRow
        One row per accepted step.
    laplace : Gaussian or None
        The Laplace approximation: start and baseline. None where the target has no mode.
    laplace_elbo : float
        NaN without one.
    importance : ImportanceSample or None
        The weighted sample an inclusive fit read its moments from.
    status : str
    seconds : float
    diagnostics : dict of Evidence
        What the fit is judged by besides the residual, each with its bound. Exclusive: the gradient
        on nodes it has not seen. Inclusive: effective size, tail index and errors of the draws, and
        the drift of their moments under moves that keep the target.
    evaluations : Counts
        Points where values, and gradients, of the log density were taken.
    """

    measure: Gaussian | GaussianMixture
    elbo: float
    elbo_error: float
    residual: float
    moment_error: float
    tol: float
    trace: tuple[TraceRow, ...]
    laplace: Gaussian | None
    laplace_elbo: float
    status: str
    seconds: float
    importance: ImportanceSample | None = field(default=None)
    diagnostics: dict[str, FitCheck] = field(default_factory=dict)
    evaluations: Counts = field(default_factory=Counts)

    @property
    def success(self) -> bool:
        """Whether the residual is within the tolerance, and all other evidence agrees."""
        return bool(self.residual <= self.tol and not self.failures)

    @property
    def failures(self) -> tuple[str, ...]:
        """A sentence for each of `diagnostics` that speaks against the fit."""
        return failures(self.diagnostics)

    @property
    def elbos(self) -> Array:
        """The evidence lower bound after every step (n,)."""
        return np.array([row.elbo for row in self.trace])

    def __repr__(self) -> str:
        status = "; ".join(["not converged", *self.failures]) if self.failures else self.status
        return (
            f"Fit({status}: elbo={self.elbo:.6g} +- {self.elbo_error:.1g},"
            f" residual={self.residual:.1e}, {len(self.trace)} steps, {self.seconds:.2f} s)"
        )

    def plot(self, figure: Figure | None = None) -> Figure:
        """The bound after every step and the marginals of the fit, in a matplotlib figure.

        Needs matplotlib, which is imported here. Without a figure of yours it is a new one of
        pyplot, which notebooks display.
        """
        from jko.vi.drawing import draw

        return draw(self, figure)
