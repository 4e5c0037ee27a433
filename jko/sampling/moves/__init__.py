"""Chains and tempered paths, and the ensembles that they move."""
