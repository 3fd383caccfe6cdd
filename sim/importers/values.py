"""Values of sources, as a scenario can hold them. Each function raises ValueError that says what is wrong."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from sim.inputs.problems import quoted
from sim.inputs.trace import MAX_GIB

# No cloud is older, and no clock that is right shows later times.
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
YEARS = f"a time from {EARLIEST.year} to {LATEST.year - 1}"
MAX_BYTES = 2**60
_WHOLE = re.compile(r"[+-]?[0-9]{1,30}(\.0*)?")


def whole(value: Any, most: int = MAX_BYTES) -> int | None:
    """A whole number up to `most` (and down to `-most`), which may be text; None if there is none."""
    if value in (None, "", "None"):
        return None
    if not _WHOLE.fullmatch(shown := str(value)):
        raise ValueError(f"{quoted(value)} is not a whole number")
    number = int(shown.partition(".")[0])
    if abs(number) > most:
        raise ValueError(f"{quoted(value)} is above {most}")
    return number


def gib(value: Any) -> int:
    """The size of a volume in GiB; 0 if it has none that a volume can have, as while Cinder manages one."""
    return max(0, whole(value, MAX_GIB) or 0)


def file_bytes(value: Any) -> int | None:
    """The size of an image by the metadata of a volume, which users may change; None if it is not one."""
    try:
        size = whole(value)
    except ValueError:
        return None
    return size if size and size > 0 else None


def text(value: Any) -> str:
    """A text, '' for None."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{quoted(value)} is not text")
    if not value.isascii():
        encodable(value)
    return value


def encodable(value: str) -> None:
    """Raise ValueError if a text has half of a character, which no file can hold."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{quoted(value)} has half of a character (at {error.start})") from None


def instant(value: Any) -> datetime:
    """A time in ISO 8601, in UTC; without a time zone it is UTC."""
    if not isinstance(value, str):
        raise ValueError(f"{quoted(value)} is not a time in ISO 8601")
    try:
        time = datetime.fromisoformat(value)
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{quoted(value)} is not a time in ISO 8601") from None
    if not EARLIEST <= time < LATEST:
        raise ValueError(f"{quoted(value)} is not {YEARS}")
    return time
