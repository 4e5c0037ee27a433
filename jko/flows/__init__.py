"""Flows: split steps in a loop, what is kept of them, and files to go on from."""
