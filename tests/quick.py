"""For processes that build hundreds of simulators which run for milliseconds each."""

from organza_sim import verilator


def build_quickly() -> None:
    """Less than half of the time a simulator; each is slower."""
    verilator.LEVEL, verilator.PRECOMPILE = "-O0", True
