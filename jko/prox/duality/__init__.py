"""Bounds from below: conjugates, multipliers, and the certificates made of them."""
