"""Reads lists from JSON files of OpenStack's APIs and clients."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from pathlib import Path
from typing import Any

from sim.inputs.problems import Problems

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"\s*")
_GZIP = b"\x1f\x8b"


def text_of(path: Path, problems: Problems) -> str | None:
    """A file's text, unpacked if it is gzipped; None, with a problem noted, if it cannot be read."""
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if data.startswith(_GZIP) else data).decode("utf-8-sig")
    except UnicodeDecodeError:
        problems.add(path, "", "is not text (UTF-8)")
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
    if not all(isinstance(one, dict) and {"id", "ID", "name", "Name"} & one.keys() for one in found):
        problems.add(path, "", f"is JSON, but not a list of {key}; accepted: {accepted}")
        return None
    return [named(one) for one in found]


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


def whole(value: Any) -> int | None:
    """A whole number, which may be text; None if there is none. Raises ValueError."""
    return None if value in (None, "", "None") else int(value)
