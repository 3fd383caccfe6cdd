"""A scenario with another share of raw images; the share decides what a Cinder store brings.

Lines of images (versions have the name of their line) become raw or qcow2, evenly over the image list. A
qcow2 image has the size of its published file, and a raw one its virtual size. Nothing else changes.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

import sim
from scenarios.make_month import CATALOGUE, image_of


def dealt(images: pd.DataFrame, percent: int) -> pd.DataFrame:
    """The images, of whose lines `percent` are raw. All lie on the home pool of the store."""
    lines = images["name"].drop_duplicates()
    order = pd.Series(range(1, len(lines) + 1), index=lines)
    raw = images["name"].map(order * percent // 100 > (order - 1) * percent // 100)
    sizes = images["virtual_size_bytes"].where(raw, published(images))
    made = images.assign(disk_format=raw.map({True: "raw", False: "qcow2"}), size_bytes=sizes.astype("int64"))
    return made.drop(columns="store_hosts", errors="ignore")


def published(images: pd.DataFrame) -> pd.Series:
    """The bytes of each image as qcow2: its own, those of its file in the catalogue, or of a similar file."""
    catalogue = pd.read_csv(CATALOGUE, dtype=str)
    files = catalogue.set_index(catalogue["image"].str.split().str[0])["download_bytes"].astype("int64")
    known = images["name"].str.split().str[0].map(files)
    known = known.where(images["disk_format"] != "qcow2", images["size_bytes"])
    for at in known.index[known.isna()]:
        release = {
            "name": images["name"][at],
            "version": "",
            "format": "qcow2",
            "first_seen": "2022-01-01T00:00Z",
        }
        known[at] = image_of(release, catalogue.to_dict("records")).size_bytes
    return known


def change(percent: int) -> Any:
    """What makes a scenario one with that share: for `changed` of runs.py."""

    def of(raw: dict[str, Any], folder: Path) -> None:
        images = pd.read_csv(raw["images"], keep_default_na=False)
        raw["images"] = str(folder / f"images-{raw['name']}-{percent}.csv")
        dealt(images, percent).to_csv(raw["images"], index=False)

    return of


def of_creates(path: Path, percent: int, replications: int) -> float:
    """The share of the creates from an image that ask for a raw one: the mean over replications."""
    images, asked = _asked(path, replications)
    made = dealt(images, percent)
    raw = set(made.loc[made["disk_format"] == "raw", "image_id"])
    return sum(one.isin(raw).mean() for one in asked) / replications


@cache
def _asked(path: Path, replications: int) -> tuple[pd.DataFrame, list[pd.Series]]:
    """The image list of a scenario, and what its creates ask for in each replication. Formats do not change
    a workload."""
    cases = [sim.load(path, replication=replication) for replication in range(replications)]
    images = pd.read_csv(path.parent / cases[0].scenario.images, keep_default_na=False)
    events = (case.trace.events.query("event == 'create' and image_id != ''") for case in cases)
    return images, [each["image_id"] for each in events]
