"""The stream between two layers."""

from amaranth.lib import data, stream


def joint_payload(shape, n):
    """One beat: `n` consecutive channels of one pixel, and `last` on the final beat of an image."""
    return data.StructLayout({"data": data.ArrayLayout(shape, n), "last": 1})


def joint_signature(shape, n):
    """Stream of beats in raster order: row, column, channel group; the last beat of a pixel is zero-padded."""
    return stream.Signature(joint_payload(shape, n))
