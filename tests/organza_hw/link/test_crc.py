# amaranth: UnusedElaboratable=no
"""The check sum of any bytes against zlib's, and its own bytes."""

import random
import zlib

from organza_hw.link.crc import Crc32
from organza_sim.pysim import trace_cycles

OFF = {"start": 0, "valid": 0, "turn": 0}


def test_bytes_turns_and_a_new_beginning():
    """A turn moves the next byte to the lowest place, four of them change nothing, and `start` wins."""
    rng, octets, inputs, wanted = random.Random(0), b"", [], []
    for _ in range(400):
        byte, kind = rng.randrange(256), rng.choice(["valid"] * 6 + ["turn", "start", "nothing"])
        known = zlib.crc32(octets)
        if kind == "turn":
            inputs += [OFF | {"turn": 1, "byte": byte}] * 4
            wanted += [known >> 8 * k | known << 32 - 8 * k & 0xFFFFFFFF for k in range(4)]
            continue
        inputs.append(OFF | {"byte": byte} | ({} if kind == "nothing" else {kind: 1}))
        if kind == "start":
            inputs[-1]["valid"] = rng.randrange(2)
        wanted.append(known)
        octets = octets + bytes([byte]) if kind == "valid" else b"" if kind == "start" else octets
    crc = Crc32()
    assert [value for value, in trace_cycles(crc, inputs, ["sum"])] == wanted
