"""A user's density as the samplers see it: counted, and with its failures far out contained."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from jko.errors import InvalidMeasure, JkoError
from jko.markov.mala import Density
from jko.sampling.target.differences import Differences
from jko.sampling.target.watch import Watch
from jko.validation import Array

#: What a function that is evaluated far from its mass may raise: overflow, division by zero, a
#: factorisation that fails, `math domain error`. It means that the density vanishes there.
EXPECTED = (ArithmeticError, np.linalg.LinAlgError, ValueError)
#: Calls spent at most on finding which points of one batch raise; the others count as outside.
ISOLATING = 64


@dataclass
class Counted:
    """A target that counts how often it is evaluated, and contains what fails far out.

    At first it is strict: NaN, +inf and exceptions are errors. When the starting points have been
    checked it is not: there NaN and expected exceptions mean log density -inf, and gradients that
    are not finite count as zero, which the Metropolis test allows. `searching` contains +inf too.
    """

    inner: Density
    values: int = 0
    gradients: int = 0
    strict: bool = True
    searching: bool = False
    lost_values: int = 0
    lost_gradients: int = 0
    watch: Watch = field(default_factory=Watch)

    @property
    def dim(self) -> int:
        """Dimension d."""
        return self.inner.dim

    @contextmanager
    def search(self) -> Iterator[None]:
        """Far from all mass, where +inf is an overflow and nothing that fails is worth a word."""
        before = self.searching, self.lost_values, self.lost_gradients
        self.searching = True
        try:
            yield
        finally:
            self.searching, self.lost_values, self.lost_gradients = before

    def log_density_at(self, x: Array) -> Array:
        """Log density (n,); a function is never asked about no points at all."""
        if not len(x):
            return np.zeros(0)
        self.values += len(x)
        self.watch.count(self.values)
        with quiet():
            if self.strict:
                return np.asarray(self.inner.log_density_at(x))
            finite = np.isfinite(x).all(axis=1)
            if finite.all():
                return self._contained(x, [ISOLATING])
            values = np.full(len(x), -np.inf)
            if finite.any():
                values[finite] = self._contained(x[finite], [ISOLATING])
            return values

    def score(self, x: Array) -> Array:
        """Its gradient (n, d)."""
        if not len(x):
            return np.zeros_like(x)
        if isinstance(self.inner, Differences):
            self.values += 2 * self.dim * len(x)
        else:
            self.gradients += len(x)
        with quiet():
            if self.strict:
                return np.asarray(self.inner.score(x))
            return self._contained_score(x, [ISOLATING])

    def _contained(self, x: Array, calls: list[int]) -> Array:
        try:
            return np.asarray(self.inner.log_density_at(x))
        except InvalidMeasure:
            values = self._raw_values(x)
        except JkoError:
            raise
        except EXPECTED:
            if len(x) == 1 or calls[0] <= 0:
                self.lost_values += len(x)
                return np.full(len(x), -np.inf)
            calls[0] -= 2
            halves = x[: len(x) // 2], x[len(x) // 2 :]
            return np.concatenate([self._contained(half, calls) for half in halves])
        return values

    def _raw_values(self, x: Array) -> Array:
        """The values of a function that has returned NaN or +inf: both -inf, where that may be."""
        function = getattr(self.inner, "log_density", None)
        if function is None:
            return np.asarray(self.inner.log_density_at(x))  # which says what is wrong
        values = np.array(function(x), dtype=float)
        if values.shape != (len(x),) or ((values == np.inf).any() and not self.searching):
            return np.asarray(self.inner.log_density_at(x))
        lost = np.isnan(values) | (values == np.inf)
        self.lost_values += int(lost.sum())
        values[lost] = -np.inf
        return values

    def _contained_score(self, x: Array, calls: list[int]) -> Array:
        try:
            return np.asarray(self.inner.score(x))
        except InvalidMeasure:
            function = getattr(self.inner, "gradient", None)
            if not callable(function):
                raise
            values = np.array(function(x), dtype=float)
            if values.shape != x.shape:
                raise
        except JkoError:
            raise
        except EXPECTED:
            if len(x) == 1 or calls[0] <= 0:
                self.lost_gradients += len(x)
                return np.zeros_like(x)
            calls[0] -= 2
            halves = x[: len(x) // 2], x[len(x) // 2 :]
            return np.concatenate([self._contained_score(half, calls) for half in halves])
        lost = ~np.isfinite(values).all(axis=1)
        self.lost_gradients += int(lost.sum())
        values[lost] = 0.0
        return values


@contextmanager
def quiet() -> Iterator[None]:
    """Floating-point warnings of a function that is evaluated far out are no news."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield
