"""Markov kernels that keep a density, their tuning, resampling and density estimates."""
