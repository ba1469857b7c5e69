"""Tests. A package, so that what they share has one name: tests.sim.toy, tests.strategies."""
