"""The MMD energy 1/2 MMD^2(., target)."""

from __future__ import annotations

from jko.energies.base import FormEnergy
from jko.errors import Unsupported
from jko.forms.form import WeightForm, mmd_form
from jko.kernels import Kernel
from jko.kernels.fast_sums import FastSums, SpectralMMD
from jko.measures.base import Discrete, Measure
from jko.measures.masses import balanced, same_mass
from jko.validation import Array, instance, one_of


class MMDEnergy(FormEnergy):
    """F(mu) = 1/2 MMD^2(mu, target) for a kernel; first variation K(mu - target).

    Parameters
    ----------
    target : measure
        Discrete, or a Gaussian or mixture when the kernel is Gaussian (formula M7, noise-free).
    kernel : Kernel
    statistic : {"V", "U"}
        "V" (default) keeps the diagonal and is the one steps minimise; "U" drops it: an unbiased
        estimate to monitor, possibly negative.
    sums : FastSums, optional
        Compute values, first variations and gradients in O(n), to the error it states: Gaussian
        kernels in 1 to 3 dimensions. None: exact sums, blocked in memory.

    References
    ----------
    Gretton et al. (2012); Arbel et al. (2019) for its Wasserstein flow.
    """

    def __init__(
        self, target: Measure, kernel: Kernel, statistic: str = "V", sums: FastSums | None = None
    ) -> None:
        self.target = instance(
            target, Measure, "target", "pass a measure to compare with, then the kernel"
        )
        self.kernel = instance(
            kernel, Kernel, "kernel", "pass a kernel such as jko.kernels.Gaussian(bandwidth=1.0)"
        )
        if self.kernel.definiteness == "indefinite":
            raise Unsupported(
                f"kernel {self.kernel!r} is not positive definite, so MMD is no distance;"
                " jko.Interaction(W) takes such functions"
            )
        self.statistic = one_of(statistic, ("V", "U"), "statistic")
        self.sums, self._fast = sums, None
        self._last: tuple[Measure, float] | None = None
        if sums is not None:
            instance(sums, FastSums, "sums", "pass jko.kernels.FastSums(tol=1e-8) or None")
            self._require_v("fast sums")
            self._fast = SpectralMMD(target, kernel, sums)

    def value(self, mu: Measure) -> float:
        if self._fast is not None and isinstance(mu, Discrete):
            return self._fast.value(mu)
        # A step ends where the next one begins and asks again; measures do not change.
        if self._last is None or self._last[0] is not mu:
            self._last = mu, 0.5 * self.kernel.mmd2(mu, self.target, statistic=self.statistic)
        return self._last[1]

    def first_variation(self, mu: Discrete) -> Array:
        self._require_v("first variation")
        if self._fast is not None:
            return self._fast.first_variation(mu)
        embed = self.kernel.embed
        return embed(mu, mu.points) - embed(self.target, mu.points)

    def wasserstein_gradient(self, mu: Discrete) -> Array:
        self._require_v("Wasserstein gradient")
        if self._fast is not None:
            return self._fast.gradient(mu)
        slope = self.kernel.embed_gradient
        return slope(mu, mu.points) - slope(self.target, mu.points)

    def check_restriction(self, mu: Discrete) -> None:
        """Raise `Unsupported` where `restrict` would, before any product with the kernel."""
        self._require_v("normal form")
        self._require_equal_masses(mu)

    def restrict(self, mu: Discrete) -> WeightForm:
        self.check_restriction(mu)
        target = balanced(self.target, mu) if self.needs_fixed_mass else self.target
        return mmd_form(self.kernel, target, mu)

    @property
    def needs_fixed_mass(self) -> bool:
        return bool(self.kernel.definiteness == "conditional")

    def _require_equal_masses(self, mu: Discrete) -> None:
        # The positive twin of a conditional kernel would depend on where the origin is.
        if self.needs_fixed_mass and not same_mass(mu, self.target):
            raise Unsupported(
                f"{self.kernel!r} is only conditionally positive definite and cannot compare the"
                f" measure's mass {mu.mass:.9g} with the target's {self.target.mass:.9g};"
                " normalise them, or use"
                " a positive kernel"
            )

    def _require_v(self, what: str) -> None:
        if self.statistic == "U":
            raise Unsupported(f"the U-statistic has no {what}; use MMDEnergy(..., statistic='V')")

    def __repr__(self) -> str:
        suffix = "" if self.statistic == "V" else ", statistic='U'"
        suffix += "" if self.sums is None else f", sums={self.sums!r}"
        return f"MMDEnergy({self.target!r}, {self.kernel!r}{suffix})"
