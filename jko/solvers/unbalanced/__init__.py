"""Unsplit Wasserstein-Fisher-Rao steps by unbalanced scaling."""
