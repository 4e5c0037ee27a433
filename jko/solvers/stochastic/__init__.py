"""Random moves of particles towards a density: Langevin, tempering, births and deaths."""
