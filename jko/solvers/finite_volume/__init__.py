"""Linearised Wasserstein steps on grids, by finite volumes."""
