"""Reads notifications from files: JSON in lines, arrays or documents, bare or wrapped, and logs."""

from __future__ import annotations

import codecs
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import IO, Any

from cinder.volume import volume_utils

from sim.importers.notes import Note
from sim.importers.notification_wrappers import LOGGER, carriers, notifications_in, value_in
from sim.importers.source_files import unusable
from sim.inputs.problems import Problems

LONGEST = 2**24  # bytes of a line or a value; a notification has some thousand
CHUNK = 2**20  # bytes read of documents at once
HEAD = 2**12  # bytes that distinguish lines from documents
ACCEPTED = (
    "accepted: JSON (one notification a line, an array, what rabbitmqadmin get, Elasticsearch, fluentd, "
    "Docker or Ceilometer writes) and logs of oslo.messaging's driver log"
)
# How a line of a log starts: with a time (oslo.log's, systemd's) or a priority (syslog's).
_LOG_LINE = re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d |<\d{1,3}>")
_TABBED = re.compile(rb"(\S*\t)+(?=\{)")  # fluentd: time, tag, record; rabbitmqadmin -f tsv
_KUBERNETES = re.compile(rb"\S+ (stdout|stderr) ([PF]) ")  # P: continues in the stream's next line
# rabbitmqadmin's tables and lists, with the payloads in or between their lines.
_RABBITMQADMIN = re.compile(
    rb"[|+]|\xe2\x94|\xe2\x95|-+$|(routing_key|exchange|message_count|payload\w*|properties|redelivered)\b"
)
_HITS = re.compile(
    r'\s*\{[^\[]*?"hits"\s*:\s*\{[^\[]*?"hits"\s*:\s*\[\s*'
)  # before the first hit of a response
_BETWEEN = re.compile(r"[\s,\[\]}]*")  # values of arrays and documents
_DOCUMENT = re.compile(rb'(\xef\xbb\xbf)?\s*(\[\s*[\[{"\]]|\{\s*\n\s*"|\{[^\[\n]{0,500}?"hits"\s*:\s*\{)')
_GZIP = b"\x1f\x8b"
_DECODER = json.JSONDecoder()
Taker = Callable[[dict[str, Any], datetime], None]  # of a notification and its time


def notifications(path: Path, problems: Problems, notes: list[Note]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every notification of a file with its line number, one at a time; anything else is a problem.

    In a log, other lines are skipped: a file counts as a log from its first line on that starts as a log's
    lines do. A notification that is cut at the end of a file is left out and noted.
    """
    if why := unusable(path):
        problems.add(path, "", why)
        return
    try:
        with path.open("rb") as plain:
            zipped = plain.read(2) == _GZIP
            plain.seek(0)
            with gzip.open(plain) if zipped else plain as file:
                reader = _Reader(path, file, problems)
                yield from reader.notifications()
    except (OSError, zlib.error) as error:
        problems.add(path, "", getattr(error, "strerror", None) or f"cannot be unpacked: {error}")
        return
    if reader.cut:
        notes.append(Note("read", f"{path}: its end is cut off: 1 incomplete notification was skipped"))


class _Reader:
    """A file of notifications. `cut`: whether its last line or value is not whole."""

    def __init__(self, path: Path, file: IO[bytes] | gzip.GzipFile, problems: Problems) -> None:
        self.path, self.file, self.problems = path, file, problems
        self.cut = False
        self._logged = self._refused = False
        self._parts: dict[Any, str] = {}  # lines that Docker or Kubernetes divided, by stream

    def notifications(self) -> Iterator[tuple[int, dict[str, Any]]]:
        head = self._read(lambda: self.file.peek(HEAD))  # type: ignore[union-attr]
        for number, value in self._documents() if _DOCUMENT.match(head) else self._lines():
            try:
                found = list(notifications_in(value))
            except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
                self._broken(number, error)
                continue
            if not found and not carriers(value):
                # The message shows none of it: contexts of older releases have tokens.
                self._refuse(number, "is JSON, but not a notification: it has no event_type")
            yield from ((number, message) for message in found)

    def _read(self, read: Callable[[], bytes]) -> bytes:
        """The next bytes; none at the point where a packed file is cut."""
        try:
            return read()
        except EOFError:
            self.cut = True
            return b""

    def _refuse(self, number: int, what: str) -> None:
        """Note a problem with a line; the first time in a file, also say what is accepted."""
        accepted = "" if self._refused else f"; {ACCEPTED}"
        self._refused = True
        self.problems.add(self.path, f"line {number}", f"{what}{accepted}", what)

    def _broken(self, number: int, error: Exception) -> None:
        at = f" (column {error.colno}: {error.msg})" if isinstance(error, json.JSONDecodeError) else ""
        self.problems.add(self.path, f"line {number}", f"is broken JSON{at}", "is broken JSON")

    # -- a value in a line ----------------------------------------------------------------------

    def _lines(self) -> Iterator[tuple[int, Any]]:
        """The value of each line that has one. A line that ends early is cut only if no line follows."""
        number, cut = 0, None
        while line := self._read(lambda: self.file.readline(LONGEST)):
            number += 1
            if cut is not None:
                self._broken(number - 1, cut)
                cut = None
            if b"\0" in line or len(line) == LONGEST:
                self._refuse(number, "is not text")
                return
            try:
                value = self._value(line.strip(), number)
            except (ValueError, RecursionError) as error:
                cut = error if _is_cut(error) else None
                if cut is None:
                    self._broken(number, error)
                continue
            if value is not None:
                yield number, value
        self.cut = self.cut or cut is not None
        for text in self._parts.values():
            try:
                yield number, value_in(text) or {"log": text}
            except ValueError:
                self.cut = True

    def _value(self, line: bytes, number: int) -> Any:
        """The JSON value of a line; None if it has none and needs none."""
        if divided := _KUBERNETES.match(line):
            text = line[divided.end() :].decode(errors="replace")
            return self._joined(divided[1], text, whole=divided[2] == b"F")
        found, begin = line.find(LOGGER.encode()), line.find(b"{")
        tagged = _TABBED.match(line) is not None or _RABBITMQADMIN.match(line) is not None
        self._logged = self._logged or found >= 0 or (not tagged and _LOG_LINE.match(line) is not None)
        if found < 0 and begin and (begin < 0 or not tagged):
            if line and not self._logged and not tagged:
                self._refuse(number, "is not a notification (a JSON object)")
            return None
        text = line[begin:].decode() if begin >= 0 else ""
        value, end = _DECODER.raw_decode(text)
        if begin == 0 and end < len(text):
            raise json.JSONDecodeError("Extra data", text, end)
        if isinstance(value, dict) and isinstance(value.get("log"), str):
            alone = value.keys() <= {
                "log",
                "stream",
                "time",
                "attrs",
            }  # Docker's own key; only the last part has it
            goes_on = value.get("partial_message") == "true" or value.get("logtag") == "P"
            goes_on = goes_on or ("stream" in value and alone and not value["log"].endswith("\n"))
            stream = value.get("container_id"), value.get("stream")
            return self._joined(stream, value["log"], whole=not goes_on)
        return value

    def _joined(self, stream: Any, text: str, whole: bool) -> Any:
        """A container's log line that ends with this text; None if this text does not end the line."""
        text = self._parts.pop(stream, "") + text
        if whole or len(text) > LONGEST:
            return {"log": text}
        self._parts[stream] = text
        return None

    # -- arrays and documents of many lines -----------------------------------------------------

    def _documents(self) -> Iterator[tuple[int, Any]]:
        """Values of arrays one by one, values of an Elasticsearch response one by one; whole documents."""
        decode = codecs.getincrementaldecoder("utf-8-sig")("replace").decode
        text, at, number, ended = "", 0, 1, False
        while True:
            between = _HITS.match(text, at) or _BETWEEN.match(text, at)
            after = between.end() if between is not None else at
            try:
                value, end = _DECODER.raw_decode(text, after)
            except (ValueError, RecursionError) as error:
                if ended and after == len(text):
                    return
                if not _is_cut(error) or len(text) - at > LONGEST:
                    self._broken(number + text.count("\n", at, after), error)
                    return
                if ended:
                    self.cut = True
                    return
                more = self._read(lambda: self.file.read(CHUNK))
                ended = not more
                text, at = text[at:] + decode(more, ended), 0
                continue
            number += text.count("\n", at, after)
            yield number, value
            number += text.count("\n", after, end)
            at = end


def _is_cut(error: Exception) -> bool:
    """Whether JSON is broken only because it ends too early."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    rest = error.doc[error.pos :].strip()
    inside = error.msg.startswith(("Unterminated string", "Invalid \\u")) and "\n" not in rest
    return inside or any(word.startswith(rest) for word in ("true", "false", "null", "-"))


@cache
def with_pool(host: str) -> str:
    """Cinder's host with its pool (`_pool0` if the host names none), '' if there is no host."""
    pool = volume_utils.extract_host(host, "pool")
    return host if pool or not host else volume_utils.append_host(host, volume_utils.DEFAULT_POOL_NAME)
