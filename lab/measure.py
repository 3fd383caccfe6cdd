"""What a lab did, in the tables and names of the simulator's results."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd

from lab.cloud import Lab
from lab.player import Player

WAITED = re.compile(
    r'(req-[0-9a-f-]+) .*Lock "[^"]*cinder-[0-9a-f-]+" acquired by "_prepare_image_cache_entry"'
    r" :: waited ([0-9.]+)s"
)
MIB = 1 << 20


def tables(seen: pd.DataFrame, player: Player, lab: Lab) -> dict[str, pd.DataFrame]:
    """`requests`, `cache_events` and `cache`, with the volumes' and images' names of the trace."""
    names = {one.cinder_id: name for name, one in player.seen.items()}
    images = {uuid: name for name, uuid in player.glance_ids.items()}
    operations = operations_of(lab.folder).assign(
        start=lambda found: found["start"] - player.start, end=lambda found: found["end"] - player.start
    )
    requests = seen.assign(source=sources_of(seen, operations), lock_wait_s=_waits(seen, lab.folder))
    entries = pd.DataFrame(
        lab.query("select host, image_id, size, last_used from image_volume_cache_entries")
    )
    if entries.empty:
        entries = pd.DataFrame(columns=["host", "image_id", "size", "last_used"])
    cache = pd.DataFrame(
        {
            "host": entries["host"].str.split("@").str[-1],
            "image_id": entries["image_id"].map(images),
            "size_gib": entries["size"],
        }
    ).sort_values(["host", "image_id"], ignore_index=True)
    operations["volume"] = operations["volume"].map(names).fillna(operations["volume"])
    return {
        "requests": requests,
        "cache": cache,
        "cache_events": _cache_events(lab.folder, images, player.start),
        "operations": operations,
    }


def operations_of(folder: Path) -> pd.DataFrame:
    lines = [
        json.loads(line)
        for path in sorted((folder / "arrays").glob("*/operations.jsonl"))
        for line in path.read_text().splitlines()
    ]
    return pd.DataFrame(lines).sort_values("start", ignore_index=True)


def sources_of(seen: pd.DataFrame, operations: pd.DataFrame) -> list[str]:
    """What made each volume: the array's last clone or write of it that succeeded."""
    made = operations[operations["operation"].isin(["clone", "write"]) & (operations["error"] == "")]
    last = made.groupby("volume")["operation"].last()
    kind = {"clone": "cache", "write": "download"}
    return [
        kind.get(last.get(row.cinder_id, ""), "none") if row.status == "available" else "none"
        for row in seen.itertuples()
    ]


def _waits(seen: pd.DataFrame, folder: Path) -> list[float]:
    """Seconds that each create waited for the lock of its image, from the log of `cinder.coordination`."""
    waited: dict[str, float] = {}
    for path in (folder / "logs").glob("cinder-volume-*.log"):
        for found in WAITED.finditer(path.read_text(errors="replace")):
            waited[found[1]] = waited.get(found[1], 0.0) + float(found[2])
    return [waited.get(request, 0.0) for request in seen["request_id"]]


def _cache_events(folder: Path, images: dict[str, str], start: float) -> pd.DataFrame:
    """Evictions, hits and misses as Cinder notified them."""
    rows: list[dict[str, Any]] = []
    for line in (folder / "notifications.jsonl").read_text().splitlines():
        body = json.loads(line)
        message = json.loads(body["oslo.message"]) if "oslo.message" in body else body
        kind, _, event = message["event_type"].partition(".")
        if kind == "image_volume_cache":
            at = pd.Timestamp(message["timestamp"], tz="UTC").timestamp() - start
            payload = message["payload"]
            host = str(payload["host"]).split("@")[-1]
            rows.append(
                {"time": at, "host": host, "event": event, "image_id": images.get(payload["image_id"])}
            )
    return pd.DataFrame(rows, columns=["time", "host", "event", "image_id"])
