"""Steps within sets of measures: the multipliers of moment constraints."""
