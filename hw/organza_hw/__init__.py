"""Amaranth gateware of Organza's accelerators. Importing this package never imports PyTorch."""
