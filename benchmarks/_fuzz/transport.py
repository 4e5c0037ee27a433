"""Transport on small grids: the same discretisation, exactly, by POT and Clarabel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from _fuzz import penalties
from _fuzz import terms as energies
from _fuzz.weights import WeightCase, before_of, line, plane

SHARE = 0.06
#: Of transport with sources.
SOURCES = 0.03


@dataclass
class GridCase(WeightCase):
    """A transport step on a grid.

    Densities are constant on cells: where a solver speaks of these, and not of atoms at the
    centres, `_fuzz.densities` has the rivals.
    """

    def comparable(self, home):
        """Whether the step is one between the centres of the cells."""
        return home.solver in ("TransportProgram", "LinearTransport")

    @property
    def label(self):
        return f"Wasserstein grid {self.space.dim}-D"

    def rivals(self, rng, answer):
        from _fuzz import rivals

        w = rivals.clarabel(self)
        bound = rivals.lower(self, answer)
        if w is None:
            return [rivals.Rival("POT", np.asarray(answer), bound)]
        w = rivals.feasible(w, self.ceiling, self.mass)
        return [rivals.Rival("Clarabel", w, max(bound, rivals.lower(self, w)))]


def draw(rng):
    if rng.random() < 0.5:
        space = line(rng, int(rng.integers(2, 33)))
    else:
        space = plane(rng, tuple(int(k) for k in rng.integers(2, 6, size=2)))
    m = before_of(rng, space.size)
    parts = energies.draw(rng, space, float(m.sum()), fixed=True)
    return GridCase(space, parts, m, penalties.transport(space, m), 10.0 ** rng.uniform(-6, 6))


def draw_sources(rng):
    """Transport with sources on a grid."""
    if rng.random() < 0.5:
        space = line(rng, int(rng.integers(2, 9)))
    else:
        space = plane(rng, tuple(int(k) for k in rng.integers(2, 4, size=2)))
    m = before_of(rng, space.size)
    penalty = penalties.with_sources(rng, space, m)
    parts = energies.draw(rng, space, float(m.sum()))
    case = WeightCase(space, parts, m, penalty, 10.0 ** rng.uniform(-6, 6))
    case.named = "WassersteinFisherRao grid"
    return case
