"""The rows of a trace as Python objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

BATCH = 65_536  # rows held as Python objects at a time
COLUMNS = [
    *("time", "event", "volume_id", "snapshot_id", "image_id", "size_gib", "volume_type", "host", "project"),
    *("encrypted", "first_host", "availability_zone"),
]


def rows_of(events: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    """The COLUMNS of each event, in order."""
    for first in range(0, len(events), BATCH):
        batch = events.iloc[first : first + BATCH]
        yield from zip(*(batch[column].tolist() for column in COLUMNS), strict=True)
