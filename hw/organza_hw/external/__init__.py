"""Weights that stay in a memory beside the chip."""
