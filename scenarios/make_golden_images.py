"""Draws the trace and images of golden_images.yaml from its seed: `python -m scenarios.make_golden_images`.

Every day two pipelines make a golden image: a volume from a base image, an upload of it, its release half an
hour later, the volume's delete; then servers are made from it until the next one replaces it. Kept so that
one can see where the trace is from; the trace itself is in the repository.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from sim.inputs.images import Image, write_images
from sim.inputs.trace import EVENTS, OPTIONAL, REQUIRED, Trace, write_trace

FOLDER = Path(__file__).parent
DAYS, DAY, HOUR, GIB = 10, 86_400, 3_600, 2**30
SIZE_GIB = 20
SERVERS = 30  # a day from each golden image
LIFETIME_S = 2 * DAY  # of a server, on average
PIPELINES = {"web": "raw", "data": "qcow2"}  # whose images are raw, and whose are not


def main(folder: Path = FOLDER / "golden_images") -> None:
    """Writes both files."""
    seed = yaml.safe_load((FOLDER / "golden_images.yaml").read_text())["seed"]
    rng = np.random.default_rng(seed)
    base = Image(
        image_id="base",
        name="base",
        disk_format="qcow2",
        container_format="bare",
        size_bytes=GIB // 2,
        virtual_size_bytes=3 * GIB,
    )
    images, rows = [base], []
    for day in range(DAYS):
        for pipeline, disk_format in PIPELINES.items():
            image_id, built = f"{pipeline}-{day}", f"{pipeline}-build-{day}"
            size = SIZE_GIB * GIB if disk_format == "raw" else 4 * GIB
            images.append(
                base.model_copy(
                    update={
                        "image_id": image_id,
                        "name": image_id,
                        "disk_format": disk_format,
                        "size_bytes": size,
                        "virtual_size_bytes": SIZE_GIB * GIB,
                    }
                )
            )
            at = day * DAY + HOUR
            rows.append(volume(at, built, "base", pipeline))
            rows.append({"time": at + HOUR, "event": "upload", "volume_id": built, "image_id": image_id})
            rows.append({"time": at + 1.5 * HOUR, "event": "release", "image_id": image_id})
            rows.append({"time": at + 2 * HOUR, "event": "delete", "volume_id": built})
            rows += servers(rng, at + 2 * HOUR, image_id, pipeline)
            if day >= 3:
                old = {"event": "delete_image", "image_id": f"{pipeline}-{day - 3}"}
                rows.append({"time": at + 3 * HOUR, **old})
    write_images(images, folder / "images.csv")
    path = folder / "trace.csv"
    write_trace(Trace(tidy(pd.DataFrame(rows)), None, path), path)


def servers(rng: np.random.Generator, since: float, image_id: str, project: str) -> list[dict[str, object]]:
    """A day's servers of a golden image, half of them at once (a deployment), and their ends."""
    late = np.sort(rng.uniform(0, DAY - HOUR, SERVERS // 2))
    rows: list[dict[str, object]] = []
    for number, after in enumerate([*np.zeros(SERVERS // 2), *late]):
        at, name = round(since + float(after), 3), f"{image_id}-server-{number}"
        rows.append(volume(at, name, image_id, project))
        end = round(at + float(rng.exponential(LIFETIME_S)), 3)
        if end < DAYS * DAY:
            rows.append({"time": end, "event": "delete", "volume_id": name})
    return rows


def volume(at: float, volume_id: str, image_id: str, project: str) -> dict[str, object]:
    return {
        "time": at,
        "event": "create",
        "volume_id": volume_id,
        "image_id": image_id,
        "size_gib": SIZE_GIB,
        "volume_type": "flash",
        "project": project,
    }


def tidy(events: pd.DataFrame) -> pd.DataFrame:
    """The columns and types of a trace, by time."""
    events = events.sort_values("time", kind="stable", ignore_index=True).reindex(
        columns=[*REQUIRED, *OPTIONAL]
    )
    events["event"] = pd.Categorical(events["event"], EVENTS)
    events["size_gib"] = events["size_gib"].fillna(0).astype("int64")
    events["encrypted"] = False
    for name in (
        "volume_id",
        "image_id",
        "volume_type",
        "host",
        "project",
        "first_host",
        "availability_zone",
        "snapshot_id",
    ):
        events[name] = events[name].astype("object").fillna("").astype("str")
    return events


if __name__ == "__main__":
    main()
