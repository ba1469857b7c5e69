"""Simulation of Organza's accelerators: Verilator runs, testbenches, cocotb benches and proofs."""
