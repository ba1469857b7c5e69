"""Tests. A package, so that helpers below it import under one name: `from tests.sim.toy import Toy`."""
