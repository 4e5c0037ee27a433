"""Wasserstein steps on fixed supports by entropic scaling."""
