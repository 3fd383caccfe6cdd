"""What an importer has to say of what it read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Note:
    """A line that an operator can act on: what came from where, what was assumed, what cannot be known."""

    kind: Literal["read", "assumed", "unknown"]
    text: str
