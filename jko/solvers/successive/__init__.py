"""Steps of any energy with a first variation, by successive separable models."""
