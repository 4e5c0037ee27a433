"""Half the squared Wasserstein distance to a target, as an energy."""

from __future__ import annotations

import numpy as np

from jko.energies.sinkhorn import EntropicTransport
from jko.energies.transported import TransportedEnergy
from jko.errors import Unsupported
from jko.geometries.wasserstein import Wasserstein
from jko.measures.base import Discrete, Measure
from jko.measures.masses import balanced
from jko.numerics.exact_transport import square_costs
from jko.validation import Array, instance

#: The geometry whose distance it is.
METRIC = Wasserstein()


class WassersteinEnergy(TransportedEnergy):
    r"""F(mu) = W2^2(mu, target) / 2.

    The first variation is a Kantorovich potential phi of the cost |x - y|^2/2, and a particle is
    drawn to where the optimal plan sends it: the Wasserstein gradient is x - T(x), T the
    barycentric map. The flow in `jko.Wasserstein()` is the geodesic to the target, run through in
    infinite time: after a step of length tau particles have gone the share tau/(1 + tau) of their
    way, when plans do not split them. Weighted sums of such energies have barycentres as minima
    (`jko.barycentre`).

    Parameters
    ----------
    target : Histogram, Particles, GridDensity or Gaussian
        Of the mass of the measures it is compared with.

    Notes
    -----
    Convex in the weights, with kinks where plans change: on fixed supports of a few hundred atoms
    `jko.solvers.ProximalNewton` takes its steps with a gap, by an interior point over all plans,
    or Newton's method on energies with less and less entropy. Every evaluation solves a transport
    problem exactly (`jko.Wasserstein`). Santambrogio (2015), section 7.2; Agueh and Carlier (2011).

    Examples
    --------
    >>> import numpy as np, jko
    >>> target = jko.Particles(np.array([[2.0], [5.0]]))
    >>> res = jko.step(jko.Particles(np.array([[0.0], [1.0]])), jko.WassersteinEnergy(target),
    ...                jko.Wasserstein(), tau=1.0)
    >>> res.measure.points.ravel().round(6).tolist()
    [1.0, 3.0]
    """

    def __init__(self, target: Measure) -> None:
        self.target = instance(target, Measure, "target", "pass a measure to move to")

    def value(self, mu: Measure) -> float:
        return 0.5 * METRIC.sqdistance(mu, self.target)

    def first_variation(self, mu: Discrete) -> Array:
        """A Kantorovich potential (n,) of |x - y|^2/2, of mean zero."""
        return METRIC.potential(mu, self._discrete)

    def wasserstein_gradient(self, mu: Discrete) -> Array:
        """x - T(x) (n, d), T the barycentric map; 0 at atoms without mass."""
        return np.asarray(mu.points - METRIC.barycentric_map(mu, self._discrete))

    @property
    def needs_fixed_mass(self) -> bool:
        return True

    @property
    def regularisation(self) -> float:
        return 0.0

    def softened(self, reg: float) -> EntropicTransport:
        return EntropicTransport(self._discrete, reg)

    def tangent(self, mu: Discrete, near: Array, lift: float = 0.0) -> tuple[Array, float]:
        """Kantorovich duality: any potential gives a bound, the entropic one a good slope.

        At a kink of F the potential of an exact plan is one of many; that of a plan with entropy
        lies near the one that a minimum there has.
        """
        target = balanced(self._discrete, mu)
        y, b = target.points[target.weights > 0], target.weights[target.weights > 0]
        cost = 0.5 * square_costs(mu.points, y)
        slope = (cost - near).min(axis=1)
        return slope, self.value(mu) - float(slope @ mu.weights) - float(near @ b)

    @property
    def _discrete(self) -> Discrete:
        if not isinstance(self.target, Discrete):
            raise Unsupported(
                f"the target is a {type(self.target).__name__}, whose transport to atoms has no"
                " closed form; sample it into jko.Particles, or put it on a jko.GridDensity"
            )
        return self.target

    def __repr__(self) -> str:
        return f"WassersteinEnergy({self.target!r})"
