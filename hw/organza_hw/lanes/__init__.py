"""Arithmetic of the lanes, one file for each kind."""
