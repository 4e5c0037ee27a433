"""Hellinger and mirror steps of separable energies: closed forms and scalar roots."""
