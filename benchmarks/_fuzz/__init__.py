"""Random small steps with plain formulas, rivals that share no code with jko, and units."""
