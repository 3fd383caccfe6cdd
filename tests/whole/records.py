"""What a run notes of each create and upload of its trace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import simpy


@dataclass
class Request:
    """One create of the trace."""

    event: Any
    done: simpy.Event
    end: float = float("nan")
    host: str = ""
    source: str = "none"
    status: str = "error"
    error: str = ""
    attempts: int = 0

    def row(self) -> list[Any]:
        event = self.event
        source = self.source if self.status == "available" else "none"
        error = "" if self.status == "available" else self.error
        return [
            *(event.volume_id, event.image_id, event.volume_type, self.host),
            *(int(event.size_gib), event.time, self.end),
            *(source, self.status, error, self.attempts),
        ]


@dataclass
class Upload:
    """One upload of the trace."""

    event: Any
    done: simpy.Event
    end: float = float("nan")
    host: str = ""
    status: str = "error"
    error: str = ""

    def row(self) -> list[Any]:
        event = self.event
        return [event.volume_id, event.image_id, self.host, event.time, self.end, self.status, self.error]
