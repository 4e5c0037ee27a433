"""Steps and flows of Gaussian measures and their mixtures."""
