"""Settings that every test shares."""

import os

from hypothesis import settings

from tests.quick import build_quickly

# The Verilog under test must not depend on a Yosys that the machine happens to have.
os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")

# Repeatable, and not at the mercy of a busy machine: compiling a simulator takes seconds.
settings.register_profile("organza", derandomize=True, deadline=None)
settings.load_profile("organza")

build_quickly()
