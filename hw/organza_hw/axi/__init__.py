"""The accelerator between AXI4-Streams, with AXI4-Lite registers."""
