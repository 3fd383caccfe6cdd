"""Units of space. Cinder's GB, and every `gb` in the name of an option of its, are GiB."""

from __future__ import annotations

import math

MIB = 2**20  # bytes
GIB = 2**30  # bytes
MIB_PER_GIB = GIB // MIB


def whole_gib(size_bytes: float) -> int:
    """Whole GiB that hold `size_bytes`, in floating point as in `image_utils.check_virtual_size`."""
    return math.ceil(size_bytes / GIB)
