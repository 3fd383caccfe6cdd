"""Reads images from a file written by the images API or by `openstack image list --long`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from sim.importers.glance import COLUMNS, WITH_DATA, size_notes, store_volumes
from sim.importers.json_files import first, records, text_of
from sim.importers.notes import Note
from sim.importers.values import instant, text, whole
from sim.inputs.problems import Problems, quoted

ACCEPTED = "openstack image list --long -f json, or JSON of the images API (GET /v2/images)"
OWNERS = ("owner", "project", "owner_id", "project_id")


def read(path: Path, problems: Problems) -> tuple[pd.DataFrame, list[Note]] | None:
    """Every image with data, as `sim.importers.glance.read` has them; None if there is a problem."""
    content = text_of(path, problems)
    rows = None if content is None else records(path, content, "images", ACCEPTED, problems)
    if rows is None:
        return None
    before = len(problems.lines())
    images = [_image(path, f"entry {number}", row, problems) for number, row in enumerate(rows, 1)]
    found = {image[0]: image for image in images if image is not None}  # pages may overlap
    if len(problems.lines()) > before:
        return None
    table = pd.DataFrame(list(found.values()), columns=list(COLUMNS))
    for time in ("created_at", "updated_at"):
        table[time] = pd.to_datetime(table[time], utc=True)
    table = table.astype(COLUMNS)
    return table, _notes(path, rows, table)


def _image(path: Path, where: str, row: dict[str, Any], problems: Problems) -> tuple[Any, ...] | None:
    """An image; None if it has no data or a problem."""
    image_id = str(first(row, "id") or "")
    status = str(first(row, "status") or "active")
    if not image_id:
        problems.add(path, where, f"has no id; accepted: {ACCEPTED}", "has no id")
    elif "size" not in row or "disk_format" not in row:
        what = "lacks the image's size and format: list images with --long"
        problems.add(path, where, f"{what}; accepted: {ACCEPTED}", what)
    elif status in WITH_DATA:
        try:
            sizes = whole(row["size"]), whole(row.get("virtual_size")) or None
            times = [_time(first(row, key)) for key in ("created_at", "updated_at")]
            names = [text(first(row, key)) for key in ("name", "disk_format", "container_format")]
            rights = text(first(row, "visibility")), text(first(row, *OWNERS))
            unknown = "virtual_size" in row and sizes[1] is None
            more = _volumes(row), whole(row.get("min_disk")), unknown
            return (image_id, names[0], status, *names[1:], *sizes, *rights, *times, *more)
        except ValueError as error:
            what = "has a value that cannot be used"
            problems.add(path, f"{where}, image {quoted(image_id)}", f"{what}: {error}", what)
    return None


def _time(value: Any) -> pd.Timestamp | None:
    return None if value is None else pd.Timestamp(instant(value))


def _volumes(row: dict[str, Any]) -> list[str]:
    """Volumes of a Cinder store that hold the image, if the file has locations."""
    kept = row["properties"] if isinstance(row.get("properties"), dict) else {}
    places = first(row, "locations") or first(kept, "locations") or []
    urls = (
        [place.get("url") for place in places if isinstance(place, dict)] if isinstance(places, list) else []
    )
    urls.append(first(row, "direct_url") or first(kept, "direct_url"))
    return store_volumes(urls)


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
