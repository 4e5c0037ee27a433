"""Wasserstein steps on the line, in quantiles."""
