"""Reads lists from JSON files of OpenStack's APIs and clients."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from pathlib import Path
from typing import Any

from sim.importers.source_files import unusable
from sim.importers.values import encodable
from sim.inputs.problems import SHOWN, Problems, quoted

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"\s*")
_GZIP = b"\x1f\x8b"
MOST_BYTES = 2**30  # of a file, unpacked: a hundred thousand volumes have a quarter of that


def text_of(path: Path, problems: Problems) -> str | None:
    """A file's text, unpacked if it is gzipped; None, with a problem noted, if it cannot be read."""
    if why := unusable(path):
        problems.add(path, "", why)
        return None
    try:
        with path.open("rb") as plain:
            zipped = plain.read(2) == _GZIP
            plain.seek(0)
            with gzip.open(plain) if zipped else plain as file:
                data = file.read(MOST_BYTES + 1)
        if len(data) <= MOST_BYTES:
            return data.decode("utf-8-sig")
        problems.add(path, "", f"has more than {MOST_BYTES:,} bytes: this is no listing of a cloud")
    except UnicodeDecodeError as error:
        problems.add(path, f"line {data.count(10, 0, error.start) + 1}", "is not text (UTF-8)")
    except (OSError, EOFError, zlib.error) as error:
        problems.add(path, "", getattr(error, "strerror", None) or f"cannot be unpacked: {error}")
    return None


def records(
    path: Path, text: str, key: str, accepted: str, problems: Problems
) -> list[dict[str, Any]] | None:
    """The objects of a list, their keys as `named` has them; None, with problems noted, if there is none.

    `key`: the key of the list in an API's response. The file may hold several responses, as pages.
    """
    found: list[Any] = []
    at = 0
    try:
        while (at := _SPACE.match(text, at).end()) < len(text):  # type: ignore[union-attr]
            value, at = _DECODER.raw_decode(text, at)
            found += _listed(value, key)
    except (ValueError, RecursionError) as error:
        where = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        problems.add(path, where, f"is not valid JSON; accepted: {accepted}")
        return None
    wrong = [number for number, one in enumerate(found, 1) if not _is_row(one)]
    for number in wrong[:SHOWN]:
        what = f"is JSON, but not a list of {key}"
        problems.add(path, f"entry {number}", f"{what}; accepted: {accepted}", what)
    problems.add_uncounted(path, f"is JSON, but not a list of {key}", max(0, len(wrong) - SHOWN))
    if wrong or ("\\u" in text and not _whole_characters(path, found, problems)):
        return None
    return [named(one) for one in found]


def _is_row(one: Any) -> bool:
    return isinstance(one, dict) and not {"id", "ID", "name", "Name"}.isdisjoint(one)


def _whole_characters(path: Path, rows: list[dict[str, Any]], problems: Problems) -> bool:
    """Whether all texts can be written; JSON may escape half of a character."""
    good = True
    for number, row in enumerate(rows, 1):
        try:
            encodable(json.dumps(row, ensure_ascii=False))
        except (ValueError, RecursionError):
            good = False
            what = "has half of a character (an escape such as \\ud800)"
            problems.add(path, f"entry {number}, {quoted(named(row).get('id'))}", what, what)
    return good


def _listed(value: Any, key: str) -> list[Any]:
    """The rows of a response: a list (or a list of pages), the list below `key`, or a single object."""
    if isinstance(value, list):
        pages = [one for one in value if isinstance(one, dict) and key in one]
        return [row for page in pages for row in _listed(page, key)] if pages else value
    if isinstance(value, dict) and isinstance(value.get(key), list):
        return list(value[key])
    return [value.get(key.removesuffix("s"), value) if isinstance(value, dict) else value]


def named(row: dict[str, Any]) -> dict[str, Any]:
    """A client's column titles as an API's keys: `Disk Format` becomes disk_format."""
    return {str(key).lower().replace(" ", "_"): value for key, value in row.items()}


def first(row: dict[str, Any], *keys: str) -> Any:
    """The value of the first of these keys that has one."""
    return next((row[key] for key in keys if row.get(key) not in (None, "")), None)
