"""The images of a scenario: their spec, and the reader of the image list."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from sim.inputs.cells import guarded
from sim.inputs.problems import Problems, quoted
from sim.inputs.spec import Bytes, Date, Hosts, Limit, Name, Spec, listed, validated
from sim.inputs.tables import read_table
from sim.inputs.units import GIB, whole_gib

_SIZES = ("size_bytes", "virtual_size_bytes")
REQUIRED = ("image_id", "name", "disk_format", "container_format", *_SIZES)
OPTIONAL = (
    "store_hosts",
    "owner",
    "visibility",
    "members",
    "image_owner",
    "min_disk",
    "virtual_size_unknown",
    "allocated_bytes",
    "released",
)
LISTS = ("store_hosts", "members")


class Image(Spec):
    """An image of Glance, and the project that owns it."""

    image_id: Name
    """The ID of the image."""
    name: str
    """The name in Glance; may be empty."""
    disk_format: Annotated[str, Field(pattern=r"^[a-z0-9_-]+$")]
    """`raw`, `qcow2` or another format of Glance. Cinder converts all formats except `raw`."""
    container_format: Annotated[str, Field(pattern=r"^[a-z0-9_-]+$")]
    """`bare` or another format of Glance. Cinder clones only `bare` images from the store."""
    size_bytes: Bytes
    """Size of the file, which Cinder downloads."""
    virtual_size_bytes: Bytes
    """Size of the data that Cinder writes to a volume."""
    virtual_size_unknown: bool = False
    """Whether Glance does not know the virtual size. Cinder then finds out after the download, and only then
    refuses a volume that is too small. In CSV, `true` or empty."""
    store_hosts: Annotated[Hosts, BeforeValidator(partial(listed, ";"))] = ()
    """The pools (`backend#pool`) that hold an image-volume of the image in the Cinder store."""
    owner: str = ""
    """The project that owns the image; empty: none."""
    visibility: Literal["", "public", "private", "shared"] = ""
    """Visibility in Glance: `public`, `private` (only the owner may use it) or `shared` (its members may use
    it too). Empty: `private` if the image has an owner, else `public`."""
    members: Annotated[tuple[Name, ...], Field(strict=False), BeforeValidator(partial(listed, ";"))] = ()
    """The projects that may use a shared image."""
    image_owner: str = ""
    """The `image_owner` in the metadata of its image-volumes in the store, if it is not the owner. Glance's
    store writes the project that uploads the image, and an administrator may upload an image for another
    project."""

    min_disk: Limit = 0
    """Glance's `min_disk`, in GiB: Cinder's API refuses smaller volumes. 0: none."""
    allocated_bytes: Annotated[int, Field(ge=0, le=2**60)] | None = None
    """Bytes of the virtual size that hold data; the rest are holes, which read as zeros. Null, or an empty
    cell in CSV: all of it is data. Glance does not know this number (see `write_zeroes`)."""
    released: Date | None = None
    """When Glance has it, ISO 8601: a generated workload takes the images of one name for the versions of one
    line, and asks for a version from then on; for the first of a line, from the start. Null, or an empty cell
    in CSV: from the start."""

    @model_validator(mode="after")
    def _whose(self) -> Self:
        if self.visibility in ("private", "shared") and not self.owner:
            raise ValueError(f"a {self.visibility} image needs an owner")
        if self.members and self.visibility != "shared":
            raise ValueError("only a shared image has members")
        return self

    @model_validator(mode="after")
    def _within(self) -> Self:
        if self.data_bytes > self.virtual_size_bytes:
            raise ValueError("allocated_bytes is at most virtual_size_bytes")
        return self

    @property
    def data_bytes(self) -> int:
        """Bytes of its content that are no holes."""
        return self.virtual_size_bytes if self.allocated_bytes is None else self.allocated_bytes

    @property
    def size_gib(self) -> int:
        """GiB of its file: the size of its image-volume in the store."""
        return -(-self.size_bytes // GIB)

    @property
    def virtual_gib(self) -> int:
        """GiB of its content: the size of its entry in the cache."""
        return whole_gib(self.virtual_size_bytes)

    @property
    def needs_gib(self) -> int:
        """Size of the smallest volume that Cinder makes from it (`volume_utils.check_image_metadata`)."""
        return max(self.size_gib, self.virtual_gib, self.min_disk)

    def as_raw(self) -> Self:
        """The image as Glance keeps it after a conversion to raw."""
        return self.model_copy(update={"disk_format": "raw", "size_bytes": self.virtual_size_bytes})

    def usable_by(self, project: str) -> bool:
        """Whether a project may use the image."""
        public = self.visibility == "public" or not (self.visibility or self.owner)
        return public or project == self.owner or project in self.members


def read_images(
    path: Path, hosts: frozenset[str] | None, problems: Problems
) -> tuple[dict[str, Image], frozenset[str] | None]:
    """Read an image list (CSV). Returns the valid images by ID, and all IDs (None if the file is unreadable).

    `hosts` are the pools that `store_hosts` may name (None: not known).
    """
    table = read_table(path, REQUIRED, OPTIONAL, problems)
    if table is None:
        return {}, None
    if not table.rows:
        problems.add(path, "", "has no images")
    there = [name for name in (*REQUIRED, *OPTIONAL) if name in table.columns]
    lacking = set(REQUIRED) - set(there)
    cells = (table.text(name).to_pylist() for name in there)
    rows = [dict(zip(there, row, strict=True)) for row in zip(*cells, strict=True)]
    lines = table.line_of(np.arange(len(rows)))  # no rows if the file has none of the columns
    images = {}
    for row, line in zip(rows, lines, strict=True):
        raw = {**row, **{name: _whole(row[name]) for name in _SIZES if name in row}}
        raw["min_disk"] = _whole(row.get("min_disk") or "0")
        raw["allocated_bytes"] = _whole(row["allocated_bytes"]) if row.get("allocated_bytes") else None
        raw["released"] = row.get("released") or None
        raw["virtual_size_unknown"] = _flag(row.get("virtual_size_unknown", ""))
        image = validated(Image, raw, path, line, problems, lacking)
        if image is not None:
            images[image.image_id] = image
    check_images(path, lines, rows, hosts, problems)
    ids = frozenset(row["image_id"] for row in rows) if "image_id" in table.columns else None
    return images, ids


def write_images(images: Iterable[Image], path: Path) -> None:
    """Write an image list (CSV); `read_images` reads it back."""
    known = list(images)
    default = {name: Image.model_fields[name].default for name in OPTIONAL}
    there = [
        *REQUIRED,
        *(name for name in OPTIONAL if any(getattr(image, name) != default[name] for image in known)),
    ]
    rows = [image.model_dump() | {name: ";".join(getattr(image, name)) for name in LISTS} for image in known]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, there, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _cell(cell) for name, cell in row.items()} for row in rows)


def check_images(
    path: Path,
    lines: Sequence[str],
    rows: Sequence[Mapping[str, object]],
    hosts: frozenset[str] | None,
    problems: Problems,
) -> None:
    """Note duplicate image ids, and `store_hosts` that the scenario does not have."""
    seen: set[object] = set()
    for row, line in zip(rows, lines, strict=True):
        image_id = row.get("image_id")
        if isinstance(image_id, str):
            if image_id in seen:
                what = f"image {quoted(image_id)} exists already"
                problems.add(path, line, what, "image exists already")
            seen.add(image_id)
        named = listed(";", row.get("store_hosts"))
        if hosts is None or not isinstance(named, list):
            continue
        for host in named:
            if isinstance(host, str) and host not in hosts:
                what = f"store_hosts: unknown pool {quoted(host)}"
                problems.add(path, line, what, "store_hosts: unknown pool")


def _cell(value: object) -> object:
    return ("true" if value else "") if isinstance(value, bool) else guarded(value)


def _flag(cell: str) -> bool | str:
    return {"true": True, "false": False, "": False}.get(cell, cell)


def _whole(cell: str) -> int | str:
    return int(cell) if re.fullmatch(r"[+-]?[0-9]{1,30}", cell) else cell
