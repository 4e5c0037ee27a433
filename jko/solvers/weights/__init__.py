"""Steps on fixed atoms as convex programs of the weights: MMD, Hellinger, divergences."""
