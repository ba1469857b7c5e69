"""Weight codes: how a layer's integer weights are stored and supplied to the lanes."""

from organza.codes.linear import Linear

__all__ = ["Linear"]
