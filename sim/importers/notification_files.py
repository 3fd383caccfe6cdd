"""Notifications out of files: a JSON object a line, bare or in oslo.messaging's envelope, or a log."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import IO, Any

from cinder.volume import volume_utils

from sim.inputs.problems import Problems

LONGEST = 2**24  # bytes of a line; a notification has some thousand
LOGGER = b"oslo.messaging.notification."  # of oslo.messaging's driver `log`
# How a line of a log starts: with a time (oslo.log's, systemd's) or a priority (syslog's).
_LOG_LINE = re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d |<\d{1,3}>")
_GZIP = b"\x1f\x8b"
Taker = Callable[[dict[str, Any], datetime], None]  # of a notification and its time


def notifications(path: Path, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every notification of a file with its line number, one at a time; what is none is a problem.

    In a log other lines are left out: a file is one from its first line on that starts as a log's do.
    """
    logged = False
    for number, line in _lines(path, problems):
        found = line.find(LOGGER)
        begin = line.find(b"{")
        logged = logged or found >= 0 or _LOG_LINE.match(line) is not None
        if found < 0 and not line.startswith(b"{"):
            if not logged and line:
                problems.add(path, f"line {number}", "is not a notification (a JSON object)")
            continue
        message = _decoded(line[begin:] if begin >= 0 else b"", path, number, problems)
        if message is not None:
            yield number, message


def _lines(path: Path, problems: Problems) -> Iterator[tuple[int, bytes]]:
    """Lines without what surrounds them, numbered from 1; gzip'd files are unpacked."""
    try:
        with path.open("rb") as plain:
            zipped = plain.read(2) == _GZIP
            plain.seek(0)
            with gzip.open(plain) if zipped else plain as file:
                yield from _text_lines(file, path, problems)
    except (OSError, EOFError, zlib.error) as error:
        problems.add(path, "", getattr(error, "strerror", None) or f"cannot be unpacked: {error}")


def _text_lines(
    file: IO[bytes] | gzip.GzipFile, path: Path, problems: Problems
) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := file.readline(LONGEST):
        number += 1
        if b"\0" in line or len(line) == LONGEST:
            problems.add(path, f"line {number}", "is not text: notifications are read as lines of JSON")
            return
        yield number, line.strip()


def _decoded(text: bytes, path: Path, number: int, problems: Problems) -> dict[str, Any] | None:
    """The notification in a line; without its envelope, if it has one."""
    where = f"line {number}"
    try:
        message = json.loads(text)
        if isinstance(message, dict) and "oslo.message" in message:
            message = json.loads(message["oslo.message"])
    except (ValueError, TypeError, RecursionError) as error:
        at = f" (column {error.colno}: {error.msg})" if isinstance(error, json.JSONDecodeError) else ""
        problems.add(path, where, f"is broken JSON{at}", "is broken JSON")
        return None
    if not isinstance(message, dict) or not isinstance(message.get("event_type"), str):
        # Nothing of it is shown: contexts of older releases have tokens.
        problems.add(path, where, "is JSON, but not a notification: it has no event_type")
        return None
    return message


def instant(text: str) -> datetime:
    """A time as notifications have it: without a time zone it is UTC."""
    time = datetime.fromisoformat(text)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


@cache
def with_pool(host: str) -> str:
    """Cinder's host with its pool (`_pool0` where it has no pools), '' if there is no host."""
    pool = volume_utils.extract_host(host, "pool")
    return host if pool or not host else volume_utils.append_host(host, volume_utils.DEFAULT_POOL_NAME)
