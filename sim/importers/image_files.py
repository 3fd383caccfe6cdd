"""Reads images from a file written by the images API or by `openstack image list --long`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from sim.importers.glance import COLUMNS, WITH_DATA, size_notes, store_volumes
from sim.importers.json_files import first, records, text_of, whole
from sim.importers.notes import Note
from sim.inputs.problems import Problems

ACCEPTED = "openstack image list --long -f json, or JSON of the images API (GET /v2/images)"
OWNERS = ("owner", "project", "owner_id", "project_id")


def read(path: Path, problems: Problems) -> tuple[pd.DataFrame, list[Note]] | None:
    """Every image with data, as `sim.importers.glance.read` has them; None if there is a problem."""
    text = text_of(path, problems)
    rows = None if text is None else records(path, text, "images", ACCEPTED, problems)
    if rows is None:
        return None
    before = len(problems.lines())
    found = [image for row in rows if (image := _image(path, row, problems)) is not None]
    if len(problems.lines()) > before:
        return None
    table = pd.DataFrame(found, columns=list(COLUMNS))
    for time in ("created_at", "updated_at"):
        table[time] = pd.to_datetime(table[time], utc=True)
    table = table.astype(COLUMNS)
    return table, _notes(path, rows, table)


def _image(path: Path, row: dict[str, Any], problems: Problems) -> tuple[Any, ...] | None:
    """An image; None if it has no data or a problem."""
    image_id = str(first(row, "id") or "")
    status = str(first(row, "status") or "active")
    if not image_id:
        problems.add(path, "", f"has an image without an id; accepted: {ACCEPTED}")
    elif "size" not in row or "disk_format" not in row:
        what = f"lacks the images' sizes and formats: list images with --long; accepted: {ACCEPTED}"
        problems.add(path, "", what)
    elif status in WITH_DATA:
        try:
            sizes = whole(row["size"]), whole(row.get("virtual_size")) or None
            times = [pd.to_datetime(first(row, key), utc=True) for key in ("created_at", "updated_at")]
        except (ValueError, TypeError):
            problems.add(path, f"image {image_id}", "has a size or a time that cannot be read")
            return None
        texts = (image_id, first(row, "name") or "", status, first(row, "disk_format") or "")
        formats = first(row, "container_format") or ""
        owner = str(first(row, *OWNERS) or "")
        return (*texts, formats, *sizes, first(row, "visibility") or "", owner, *times, _volumes(row))
    return None


def _volumes(row: dict[str, Any]) -> list[str]:
    """Volumes of a Cinder store that hold the image, if the file has locations."""
    kept = row["properties"] if isinstance(row.get("properties"), dict) else {}
    places = first(row, "locations") or first(kept, "locations") or []
    urls = [place["url"] for place in places if isinstance(place, dict) and "url" in place]
    direct = first(row, "direct_url") or first(kept, "direct_url")
    return store_volumes([*urls, *([direct] if direct else [])])


def _notes(path: Path, rows: list[dict[str, Any]], table: pd.DataFrame) -> list[Note]:
    formats = Counter(table["disk_format"])
    listed = ", ".join(f"{count:,} {name}" for name, count in formats.most_common())
    notes = [Note("read", f"{path}: {len(table):,} images" + (f" ({listed})" if listed else ""))]
    if len(rows) > len(table):
        notes.append(Note("read", f"{path}: {len(rows) - len(table):,} images without data are left out"))
    told = {key for row in rows for key in row}
    if "virtual_size" not in told:
        what = "virtual sizes and update times; the images API (GET /v2/images) and --glance have them"
        notes.append(Note("unknown", f"a client's list of images has no {what}"))
    else:
        notes += size_notes(table)
    if not {"locations", "direct_url"} & told:
        what = "whether a Cinder store has them; an admin's listing with the images API may (locations)"
        notes.append(Note("unknown", f"{path} does not show {what}"))
    return notes
