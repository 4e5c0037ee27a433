"""Densities from other frameworks, as plain functions of arrays; each framework is imported late.

An adapter knows nothing of measures: it hands back an `Adapted`, from which `jko.LogDensity` (and
later an energy) makes itself.
"""
