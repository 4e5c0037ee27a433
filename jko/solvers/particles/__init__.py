"""Steps that move particles: implicit ones, and explicit ones that promise a decrease."""
