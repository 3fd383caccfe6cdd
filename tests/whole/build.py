"""What a scenario of the tests is built from: images, backends, events, in code."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import yaml

from sim.inputs.scenario import Case
from sim.workload.loading import load

GIB = 2**30
TIER: dict[str, Any] = {"price_gib_month": 0.1}
# A download of one GiB takes 10.24 s on Glance's stream, 1 s to make, 2.56 s to write.
TIMES: dict[str, Any] = {
    "create_s": 1.0,
    "clone_s": 2.0,
    "delete_s": 1.5,
    "extend_s": 0.5,
    "write_mib_s": 400,
    "convert_mib_s": 500,
}


def image(
    name: str, gib: float = 1, fmt: str = "raw", size: float | None = None, **more: Any
) -> dict[str, Any]:
    """An image of `gib` virtual GiB, its file of `size` GiB (raw: as large; else a third)."""
    size = size if size is not None else gib if fmt == "raw" else gib / 3
    return {
        "image_id": name,
        "name": name,
        "disk_format": fmt,
        "container_format": "bare",
        "size_bytes": int(size * GIB),
        "virtual_size_bytes": int(gib * GIB),
        "store_hosts": "",
        "owner": "",
        "min_disk": 0,
        "virtual_size_unknown": "",
        "allocated_bytes": "",
        **more,
    }


def numbered(names: str) -> list[tuple[int, str]]:
    return list(enumerate(names.split()))


class Builder:
    """A scenario in the making."""

    def __init__(self, *images: dict[str, Any], **scenario: Any) -> None:
        self.images = list(images)
        self.events: list[dict[str, Any]] = []
        self.initial: list[dict[str, Any]] = []
        self.scenario: dict[str, Any] = {
            "glance": {"streams": 16, "stream_mib_s": 100},
            "tiers": {"flash": TIER},
            "backends": {},
            "cinder": {},
            **scenario,
        }

    def backend(self, name: str, tier: Any = "flash", pools: Any = None, **spec: Any) -> Builder:
        self.scenario["backends"][name] = {
            "volume_type": tier,
            "pools": pools or {"p0": {}},
            **TIMES,
            **spec,
        }
        return self

    def event(self, time: float, event: str, **columns: Any) -> Builder:
        self.events.append({"time": time, "event": event, **columns})
        return self

    def create(self, time: float, image_id: str, host: str = "a#p0", size: int = 10, **more: Any) -> Builder:
        """A create of volume `v0`, `v1`, … in the order of the calls."""
        number = sum(e["event"] == "create" for e in self.events)
        columns = {
            "volume_id": f"v{number}",
            "image_id": image_id,
            "size_gib": size,
            "volume_type": "flash",
            "host": host,
            **more,
        }
        return self.event(time, "create", **columns)

    def delete(self, time: float, volume_id: str) -> Builder:
        return self.event(time, "delete", volume_id=volume_id)

    def upload(self, time: float, volume_id: str, image_id: str) -> Builder:
        return self.event(time, "upload", volume_id=volume_id, image_id=image_id)

    def store(self, time: float, image_id: str, host: str = "", volume_type: str = "") -> Builder:
        """The image comes into the Cinder store, on a host or where the scheduler places it."""
        return self.event(time, "store_image", image_id=image_id, host=host, volume_type=volume_type)

    def snapshot(self, time: float, volume_id: str, snapshot_id: str) -> Builder:
        return self.event(time, "snapshot", volume_id=volume_id, snapshot_id=snapshot_id)

    def drop(self, time: float, volume_id: str, snapshot_id: str) -> Builder:
        """The delete of a snapshot."""
        return self.event(time, "delete_snapshot", volume_id=volume_id, snapshot_id=snapshot_id)

    def creates(self, images: str, every: float, host: str = "a#p0", start: float = 0) -> Builder:
        """One create of each image named, so many seconds apart."""
        for number, name in numbered(images):
            self.create(start + number * every, name, host)
        return self

    def storm(self, time: float, count: int, image_id: str, host: str = "a#p0", **more: Any) -> Builder:
        for _ in range(count):
            self.create(time, image_id, host, **more)
        return self

    def case(self, folder: Path) -> Case:
        folder.mkdir(parents=True, exist_ok=True)
        workload = {"trace": "trace.csv"}
        self.events.sort(key=lambda e: e["time"])
        _write(folder / "images.csv", self.images, list(image("x")))
        _write(
            folder / "trace.csv",
            self.events,
            [
                "time",
                "event",
                "volume_id",
                "image_id",
                "size_gib",
                "volume_type",
                "host",
                "project",
                "encrypted",
                "first_host",
                "availability_zone",
                "snapshot_id",
            ],
        )
        if self.initial:
            _write(
                folder / "initial.csv",
                self.initial,
                [
                    "kind",
                    "volume_id",
                    "image_id",
                    "size_gib",
                    "host",
                    "last_used",
                ],
            )
            workload["initial"] = "initial.csv"
        scenario = {**self.scenario, "images": "images.csv", "workload": workload}
        (folder / "scenario.yaml").write_text(yaml.safe_dump(scenario, sort_keys=False))
        return load(folder / "scenario.yaml")


def _write(path: Path, rows: list[dict[str, Any]], columns: list[str]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
