"""What `jko.sample` returns."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from jko.errors import InvalidArgument, Unsupported
from jko.measures.atoms import Particles
from jko.sampling.evidence import Evidence
from jko.validation import Array


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
        Evidence, each with value, threshold and whether it passes (`SampleResult.evidence` holds
        these alone): "stein", Stein identity of the coordinates; "mixing", R-hat; "drift";
        "chain_ess", effective size of one chain; "precision"; "crossing", jumps between modes;
        "matching", the weights; "tails", tail index. Figures: ess: effective sample size of the
        weights; ksd: kernel Stein discrepancy (V-statistic); acceptance and leapfrog_steps of the
        kept moves; rhat, mcse: (d,) arrays, where chains exist; moves, modes, jump_acceptance,
        history_mean, history_std (with the observables), matched, unseen, temperatures, path_ess,
        evaluations (values of the log density), gradients, seconds.
    draws : (chains, m, d) array or None
        Positions of the chains at m kept times; equal weights.
    """

    measure: Particles
    method: str
    converged: bool
    warnings: tuple[str, ...]
    diagnostics: Mapping[str, Any] = field(default_factory=dict)
    draws: Array | None = None

    @property
    def evidence(self) -> dict[str, Evidence]:
        """The checks of the sample by name; `converged` is their conjunction."""
        return {k: v for k, v in self.diagnostics.items() if isinstance(v, Evidence)}

    @property
    def log_evidence(self) -> float | None:
        """Log of the integral of exp(log_density); None where it is not known or not converged."""
        return self.diagnostics.get("log_evidence") if self.converged else None

    @property
    def log_evidence_error(self) -> float | None:
        """Standard error of `log_evidence`."""
        return self.diagnostics.get("log_evidence_error") if self.converged else None

    @property
    def mean(self) -> Array:
        """Mean (d,) of the particles."""
        return self.measure.mean

    @property
    def std(self) -> Array:
        """Standard deviation (d,) of the particles."""
        return np.asarray(np.sqrt(np.diag(self.measure.cov)))

    def summary(self, names: Sequence[str] | None = None) -> str:
        """A table: mean, standard deviation, standard error and R-hat of every coordinate."""
        labels = self._names(names)
        none = np.full(self.measure.dim, np.nan)
        rhat, mcse = (self.diagnostics.get(key, none) for key in ("rhat", "mcse"))
        width = max(10, *map(len, labels))
        lines = [f"{'':<{width}} {'mean':>10} {'sd':>10} {'mcse':>9} {'rhat':>7}"]
        for j, label in enumerate(labels):
            lines.append(
                f"{label:<{width}} {self.mean[j]:10.4g} {self.std[j]:10.4g}"
                f" {mcse[j]:9.2g} {rhat[j]:7.3f}"
            )
        return "\n".join([*lines, repr(self), *(f"  - {w}" for w in self.warnings)])

    def to_arviz(self, names: Sequence[str] | None = None) -> Any:
        """The kept draws of the chains as ArviZ inference data (needs arviz).

        One variable per coordinate, named x0, x1, ... or by `names`. ArviZ knows no weights: these
        are the chains before weighting.
        """
        if self.draws is None:
            raise Unsupported(
                f"method {self.method!r} keeps no chains for ArviZ; use 'tempered' or 'langevin'"
            )
        try:
            arviz = import_module("arviz")
        except ImportError:
            raise Unsupported("to_arviz needs arviz; install it with pip install arviz") from None
        posterior = {name: self.draws[:, :, j] for j, name in enumerate(self._names(names))}
        with warnings.catch_warnings():  # hundreds of chains with fewer draws each are meant
            warnings.filterwarnings("ignore", "More chains", UserWarning)
            if int(str(arviz.__version__).split(".")[0]) >= 1:
                return arviz.from_dict({"posterior": posterior})
            return arviz.from_dict(posterior=posterior)

    def _names(self, names: Sequence[str] | None) -> list[str]:
        d = self.measure.dim
        if names is None:
            return [f"x{j}" for j in range(d)]
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
