"""Pruning: which weights, vectors, kernels or channels of a chain go, when, and what goes with them."""
