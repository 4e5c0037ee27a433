"""Unregularised Wasserstein steps on grids, by ascent of the dual."""
