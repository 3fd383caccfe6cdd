"""What an importer reports about its sources."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Note:
    """A line that an operator can act on: what was read, assumed or cannot be known."""

    kind: Literal["read", "assumed", "unknown"]
    text: str


def shortened(names: Iterable[str], most: int = 5) -> str:
    """Some names, and how many more there are."""
    every = list(map(str, names))
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more
