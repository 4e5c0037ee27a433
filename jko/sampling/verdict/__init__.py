"""Whether a sample is one of the density: evidence for and against it."""
