"""cocotb benches and their helpers: what runs inside the simulator."""
