"""Which constants survive a framework that keeps them in float32."""

from __future__ import annotations

import struct


def is_float32(value: float) -> bool:
    """Whether float32 represents this number exactly."""
    try:
        (rounded,) = struct.unpack("f", struct.pack("f", value))
    except OverflowError:
        return False
    return bool(rounded == value)
