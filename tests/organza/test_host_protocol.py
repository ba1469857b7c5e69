"""Payloads of frames: there and back, and whatever else comes refused."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from organza.formats import Fixed, Flex, Format, Sign
from organza.host_protocol import (
    IDENTITY_BYTES,
    Identity,
    Refusal,
    element_bytes,
    reason_of,
    run_payload,
    tensor_bytes,
    tensor_of,
)
from organza.link import Reason

FORMATS: list[Format] = [Fixed(8, True, 1 / 32), Fixed(8, False, 1 / 32), Fixed(3, True, 1.0), Fixed(12, False, 1.0), Flex(-10), Sign(1.0)]
IDENTITY = Identity((64, 1, 1), 1, (3, 64, 65), 2, 125_000_000, bytes(range(32)))


@pytest.mark.parametrize("form", FORMATS)
def test_tensors_there_and_back(form: Format) -> None:
    rng = np.random.default_rng(0)
    q = form.from_wire(form.to_wire(form.quantize(rng.normal(size=(3, 4, 5)))))
    octets = tensor_bytes(q, form)
    assert len(octets) == 60 * element_bytes(form)
    assert np.array_equal(tensor_of(octets, form, (3, 4, 5)), q)
    # Raster order: channels of a pixel lie side by side, the lowest byte of each first.
    second = int.from_bytes(octets[element_bytes(form) :][: element_bytes(form)], "little", signed=bool(form.signed))
    assert second == form.to_wire(q)[1, 0, 0]


def test_wrong_tensors() -> None:
    form = Fixed(3, True, 1.0)
    with pytest.raises(ValueError, match=r"^Tensor must have three dimensions, not 2$"):
        tensor_bytes(np.zeros((2, 2), np.int64), form)
    with pytest.raises(ValueError, match=r"^Tensor must have integers of Fixed\("):
        tensor_bytes(np.full((1, 1, 1), 4), form)
    with pytest.raises(ValueError, match=r"^Tensor must have 2 bytes, not 3$"):
        tensor_of(bytes(3), form, (2, 1, 1))
    with pytest.raises(ValueError, match=r"^Tensor must have integers of Fixed\("):
        tensor_of(b"\x04", form, (1, 1, 1))


def test_identity_there_and_back() -> None:
    packed = IDENTITY.pack()
    assert len(packed) == IDENTITY_BYTES and Identity.unpack(packed + b"\1\0\0\x80") == (IDENTITY, 0x80000001)


@given(st.binary(max_size=IDENTITY_BYTES + 8))
def test_other_bytes_are_no_identity(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"^Identity must (have|begin with|be of version)"):
        Identity.unpack(payload)


def test_wrong_versions_and_sizes() -> None:
    packed = bytearray(IDENTITY.pack() + bytes(4))
    packed[4] = 2
    with pytest.raises(ValueError, match=r"^Identity must be of version 1, not 2$"):
        Identity.unpack(bytes(packed))
    with pytest.raises(ValueError, match=r"^Identity must fit its fields: "):
        Identity((70_000, 1, 1), 1, (1, 1, 1), 1, 1, bytes(32)).pack()


@pytest.mark.parametrize("state, images, message", [
    (0, 1, "Latents state must be between 1 and 4294967295, not 0"), (1, 0, "Images must be between 1 and 4294967295, not 0"),
])  # fmt: skip
def test_wrong_runs(state: int, images: int, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        run_payload(state, images)


def test_reasons_are_told_apart() -> None:
    assert {int(reason) for reason in Reason}.isdisjoint({int(reason) for reason in Refusal})
    assert [reason_of(int(reason)) for reason in (*Reason, *Refusal)] == [*Reason, *Refusal]
    with pytest.raises(ValueError, match="200"):
        reason_of(200)
