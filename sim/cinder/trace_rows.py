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
IDS = "volume_id", "snapshot_id"  # hardly two are equal


def rows_of(events: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    """The COLUMNS of each event, in order."""
    for first in range(0, len(events), BATCH):
        batch = events.iloc[first : first + BATCH]
        yield from zip(*(_listed(batch[column]) for column in COLUMNS), strict=True)


def _listed(values: pd.Series[Any]) -> list[Any]:
    """The values of a column. Equal texts are one object, which Python finds faster in dictionaries."""
    if values.dtype != "str" or values.name in IDS:
        return values.tolist()
    codes, texts = pd.factorize(values, use_na_sentinel=False)
    return list(map(texts.tolist().__getitem__, codes.tolist()))
