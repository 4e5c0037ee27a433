"""Where the mass may be: modes, their basins, and whether anything was overlooked."""
