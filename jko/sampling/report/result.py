"""What `jko.sample` returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from jko.errors import InvalidArgument, Unsupported
from jko.later import package
from jko.measures.atoms import Particles
from jko.sampling.verdict.evidence import Evidence
from jko.validation import Array

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Groups of chains whose quantiles are compared.
GROUPS = 20


@dataclass(frozen=True, eq=False, repr=False)
class SampleResult:
    """A sample and what is known of its quality.

    Attributes
    ----------
    measure : Particles
        Weighted particles of mass 1.
    method : str
        The method that ran: "tempered", "langevin", "wfr" or "svgd".
    converged : bool
        Whether every check passed. It is evidence, no proof: mass that no particle ever came near
        leaves no trace.
    warnings : tuple of str
        What did not pass, and what else deserves attention; each a sentence with the remedy.
    diagnostics : dict
        Evidence, each with value, threshold, whether it passes and what it says (`evidence` holds
        these alone): "mixing", R-hat; "stein", Stein identity of the coordinates; "drift";
        "chain_ess", effective size of one chain; "precision", standard errors; "crossing", jumps
        between modes; "masses" of modes by visits and by bridges; "search", how often it met the
        mode it met least; "narrower", where it would have missed a narrower one;
        "agreement" with a search (langevin, wfr, svgd); "energy", height of the
        top above the chains; "tails", tail index; "far_mass" and "far_variance", mass and variance
        far out; "matching", the weights; "defined", evaluations that failed.
        Figures: ess: effective sample size of the weights; ksd: kernel Stein discrepancy
        (V-statistic); acceptance and leapfrog_steps of the kept moves; rhat, mcse: (d,) arrays,
        where chains exist; log_evidence, log_evidence_error; moves, modes, hills, jump_acceptance,
        history_mean, history_std (with the observables), matched, unseen, temperatures, path_ess,
        evaluations (values of the log density), gradients, seconds.
    draws : (chains, m, d) array or None
        Positions of the chains at m kept times; equal weights.
    names : tuple of str
        Of the coordinates, where the density brought them; else empty.
    constrain : callable (n, d) -> dict of arrays (n, ...), or None
        The parameters of a model by name, where the density brought it; it is not saved.
    """

    measure: Particles
    method: str
    converged: bool
    warnings: tuple[str, ...]
    diagnostics: Mapping[str, object] = field(default_factory=dict)
    draws: Array | None = None
    names: tuple[str, ...] = ()
    constrain: Callable[[Array], dict[str, Array]] | None = None

    @property
    def evidence(self) -> dict[str, Evidence]:
        """The checks of the sample by name; `converged` is their conjunction."""
        return {k: v for k, v in self.diagnostics.items() if isinstance(v, Evidence)}

    def _figure(self, name: str) -> float | None:
        value = self.diagnostics.get(name)
        return float(value) if isinstance(value, (int, float)) else None

    @property
    def log_evidence(self) -> float | None:
        """Log of the integral of exp(log_density); None where it is not known or not converged."""
        return self._figure("log_evidence") if self.converged else None

    @property
    def log_evidence_error(self) -> float | None:
        """What the error of `log_evidence` rarely exceeds: four standard errors, at most 0.3."""
        return self._figure("log_evidence_error") if self.converged else None

    @property
    def mean(self) -> Array:
        """Mean (d,) of the particles."""
        return self.measure.mean

    @property
    def std(self) -> Array:
        """Standard deviation (d,) of the particles."""
        return np.asarray(np.sqrt(np.diag(self.measure.cov)))

    def constrained(self, *, draws: bool = False) -> dict[str, Array]:
        """The parameters of the model by name, in its own scale and shapes.

        Parameters
        ----------
        draws : bool
            Of the kept draws of the chains, arrays (chains, m, ...), instead of the weighted
            particles, arrays (n, ...).
        """
        if self.constrain is None:
            raise Unsupported(
                "the density brought no parameters of its own, or the sample comes from a file;"
                " use model.constrain(out.measure.points)"
            )
        if not draws:
            return self.constrain(self.measure.points)
        if self.draws is None:
            raise Unsupported(f"method {self.method!r} keeps no chains; use 'tempered'")
        shape = self.draws.shape[:2]
        flat = self.constrain(self.draws.reshape(-1, self.measure.dim))
        return {name: np.reshape(x, (*shape, *x.shape[1:])) for name, x in flat.items()}

    def summary(self, names: Sequence[str] | None = None) -> str:
        """A table: mean, standard deviation, standard error and R-hat of every coordinate."""
        labels = self.labels(names)
        none = np.full(self.measure.dim, np.nan)
        rhat, mcse = (np.asarray(self.diagnostics.get(key, none)) for key in ("rhat", "mcse"))
        width = max(10, *map(len, labels))
        lines = [f"{'':<{width}} {'mean':>10} {'sd':>10} {'mcse':>9} {'rhat':>7}"]
        for j, label in enumerate(labels):
            lines.append(
                f"{label:<{width}} {self.mean[j]:10.4g} {self.std[j]:10.4g}"
                f" {mcse[j]:9.2g} {rhat[j]:7.3f}"
            )
        return "\n".join([*lines, repr(self), *(f"  - {w}" for w in self.warnings)])

    def quantile(self, q: ArrayLike) -> tuple[Array, Array]:
        """Quantiles of every coordinate with their standard errors.

        They come from the kept draws of all chains, which reach further into the tails than the
        particles; the errors from the scatter between `GROUPS` groups of chains. Methods without
        chains use the weighted particles, and know no errors (NaN).

        Parameters
        ----------
        q : float or (k,) array
            Levels between 0 and 1.

        Returns
        -------
        values, errors : arrays (d,) or (k, d)
        """
        try:
            levels = np.asarray(q, dtype=float)
        except (TypeError, ValueError):
            raise InvalidArgument(f"q = {q!r}; give levels between 0 and 1") from None
        if levels.ndim > 1 or not ((levels >= 0) & (levels <= 1)).all():
            raise InvalidArgument(f"q = {q!r}; give levels between 0 and 1")
        if self.draws is None:
            values = _weighted_quantile(self.measure, np.atleast_1d(levels))
            values = values.reshape(*levels.shape, self.measure.dim)
            return values, np.full(values.shape, np.nan)
        flat = self.draws.reshape(-1, self.measure.dim)
        values = np.quantile(flat, levels, axis=0)
        parts = np.array_split(self.draws, min(GROUPS, len(self.draws)))
        own = [np.quantile(p.reshape(-1, self.measure.dim), levels, axis=0) for p in parts]
        errors = np.std(own, axis=0, ddof=1) / np.sqrt(len(own)) if len(own) > 1 else np.nan
        return values, np.broadcast_to(errors, values.shape).copy()

    def plot(
        self,
        kind: str = "pair",
        *,
        names: Sequence[str] | None = None,
        chosen: Sequence[int] | None = None,
        figure: Figure | None = None,
        axes: Axes | Sequence[Axes] | None = None,
    ) -> list[Artist]:
        """Draw the sample (needs matplotlib).

        Parameters
        ----------
        kind : {"pair", "trace", "ess"}
            Particles in every pair of coordinates; a few chains over the kept times; effective
            draws behind each mean.
        names : sequence of d str, optional
        chosen : sequence of int, optional
            Coordinates to draw: the first five by default.
        figure : matplotlib Figure, optional
            Where axes are made; a new figure by default.
        axes : array of matplotlib Axes, optional
            (k, k) for "pair", (k,) for "trace", one for "ess".

        Returns
        -------
        list of matplotlib artists
            `.figure` of the first is the figure.
        """
        from jko.sampling.report.figure import plot

        labels = self.labels(names) if names is not None or self.names else None
        rows = None if chosen is None else list(chosen)
        return plot(self, kind, names=labels, chosen=rows, figure=figure, axes=axes)

    def save(self, path: str | PathLike[str]) -> None:
        """Write everything to one .npz file, atomically; `SampleResult.load` reads it."""
        from jko.sampling.report.files import save

        save(self, path)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> SampleResult:
        """Read a file that `save` has written; nothing in it is executed."""
        from jko.sampling.report.files import load

        return cls(*load(path))

    def to_frame(self, names: Sequence[str] | None = None) -> Any:
        """The particles as a pandas table: a column per coordinate, and `weight`, of sum 1.

        Columns are named as those of `to_arviz` without a model.
        """
        pandas: Any = package("pandas", "frames", "a table of a sample")
        out = pandas.DataFrame(self.measure.points, columns=self.labels(names))
        out["weight"] = self.measure.weights / self.measure.mass
        return out

    def to_arviz(self, names: Sequence[str] | None = None) -> Any:
        """The sample as ArviZ inference data (needs arviz).

        The group `posterior` holds the kept draws of the chains, which ArviZ takes to weigh the
        same, and do; the group `particles` the weighted particles, along the dimension "particle",
        with their weights as `particle_weight`. Means agree within their errors: the particles have
        those of the whole history, of which the draws are a part.

        The parameters of a model in its own scale and shapes; without a model, or with `names`, one
        variable per coordinate, named x0, x1, ... or by `names`.
        """
        if self.draws is None:
            raise Unsupported(
                f"method {self.method!r} keeps no chains for ArviZ; use 'tempered' or 'langevin'"
            )
        from jko.sampling.report.inference_data import inference_data

        if names is None and self.constrain is not None:
            return inference_data(
                self.constrained(draws=True), self.constrained(), self.measure.weights
            )
        labels = self.labels(names)
        chains = {name: self.draws[:, :, j] for j, name in enumerate(labels)}
        points = dict(zip(labels, self.measure.points.T, strict=True))
        return inference_data(chains, points, self.measure.weights)

    def labels(self, names: Sequence[str] | None = None) -> list[str]:
        """Names of the coordinates: these, or those of the density, or x0, x1..."""
        d = self.measure.dim
        if names is None:
            return list(self.names) or [f"x{j}" for j in range(d)]
        if len(names) != d or len(set(names)) != d:
            raise InvalidArgument(f"names has {len(names)} entries; give {d} different ones")
        return list(names)

    def __repr__(self) -> str:
        verdict = "converged" if self.converged else "NOT converged"
        ess = self.diagnostics.get("ess", np.nan)
        return (
            f"SampleResult({verdict}: {self.measure.n} particles in dimension {self.measure.dim}"
            f" by {self.method}, ess={ess:.0f}, {len(self.warnings)} warnings)"
        )


def _weighted_quantile(measure: Particles, levels: Array) -> Array:
    """Quantiles (k, d) of weighted particles: where half of a particle's weight is passed."""
    out = np.empty((len(levels), measure.dim))
    for j in range(measure.dim):
        order = np.argsort(measure.points[:, j], kind="stable")
        w = measure.weights[order] / measure.mass
        out[:, j] = np.interp(levels, np.cumsum(w) - 0.5 * w, measure.points[order, j])
    return out
