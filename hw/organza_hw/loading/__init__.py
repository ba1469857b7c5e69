"""Weights that come at run time: what writes them into the memories, and where it has them from."""
