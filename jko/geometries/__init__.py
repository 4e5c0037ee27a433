"""Dissipation geometries: distance, potential, geodesic; they add and scale."""

from jko.geometries.base import Geometry, GeometrySum
from jko.geometries.divergence import Divergence
from jko.geometries.hellinger import Hellinger, SphericalHellinger
from jko.geometries.mmd import MMD, KernelFisherRao
from jko.geometries.unbalanced import WassersteinFisherRao
from jko.geometries.wasserstein import Wasserstein

__all__ = [
    "MMD",
    "Divergence",
    "Geometry",
    "GeometrySum",
    "Hellinger",
    "KernelFisherRao",
    "SphericalHellinger",
    "Wasserstein",
    "WassersteinFisherRao",
]
