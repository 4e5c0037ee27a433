"""A picture of a fit."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from jko.vi.result import Fit

#: Marginals shown; and bounds up to which each is marked.
MOST = 6


def draw(fit: Fit, figure: Figure | None = None) -> Figure:
    """The bound after every step beside that of Laplace, and the first marginals."""
    if figure is None:
        from matplotlib import pyplot  # notebooks and `show` display its figures

        figure = pyplot.figure(figsize=(9, 3.5), layout="constrained")
    style = import_module("jko.plot.style")
    with style.rc_context(style.STYLE):
        _draw(fit, *figure.subplots(1, 2))
        for ax in figure.axes:
            style.ink(ax)
    return figure


def _draw(fit: Fit, left: Axes, right: Axes) -> None:
    """Bounds on the left, marginals on the right."""
    if len(fit.trace):
        steps = np.arange(len(fit.trace))
        errors = np.array([row.error for row in fit.trace])
        left.plot(steps, fit.elbos, "o-" if len(steps) < MOST else "-", ms=4, label="fit")
        left.fill_between(steps, fit.elbos - 2 * errors, fit.elbos + 2 * errors, alpha=0.3)
    if np.isfinite(fit.laplace_elbo):
        left.axhline(fit.laplace_elbo, linestyle="--", color="gray", label="Laplace")
    left.set(xlabel="step", ylabel="evidence lower bound")
    if len(fit.trace) == 1:
        left.set_xticks([0])
    if left.get_legend_handles_labels()[0]:
        left.legend()
    weights, means, covs = fit.measure.components
    for j in range(min(MOST, means.shape[1])):
        sd = np.sqrt(covs[:, j, j])
        low, high = (means[:, j] - 4 * sd).min(), (means[:, j] + 4 * sd).max()
        x = np.linspace(low, high, 300)
        bells = np.exp(-0.5 * ((x[:, None] - means[:, j]) / sd) ** 2) / sd
        right.plot(x, bells @ weights / np.sqrt(2 * np.pi), label=f"x[{j}]")
    right.set(xlabel="coordinate", ylabel="density of the fit")
    right.legend()
