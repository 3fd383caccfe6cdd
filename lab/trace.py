"""Draws the trace of the lab's experiment: a steady stream, storms of one image, and deletes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sim.inputs.images import Image

ZIPF = 0.9
STORM_SPREAD_S = 2.0


def draw(
    images: list[Image],
    creates: int,
    seconds: float,
    storms: int,
    storm_creates: int,
    seed: int,
    zipf: float = ZIPF,
    flash: float = 0.6,
) -> pd.DataFrame:
    """A trace of so many creates, of which `storms` times `storm_creates` come together.

    Popularity follows Zipf's law in the order of `images`. Half of the volumes are deleted before the end.
    """
    random = np.random.default_rng(seed)
    alone = creates - storms * storm_creates
    times = [*random.uniform(0, seconds, alone)]
    weights = np.arange(1, len(images) + 1) ** -zipf
    weights /= weights.sum()
    chosen = [*random.choice(len(images), alone, p=weights)]
    types = [*random.choice(["flash", "disk"], alone, p=[flash, 1 - flash])]
    for storm in range(storms):
        start = seconds * (storm + 0.5) / storms
        times += [*(start + random.uniform(0, STORM_SPREAD_S, storm_creates))]
        chosen += [int(random.choice(len(images), p=weights))] * storm_creates
        types += [*random.choice(["flash", "disk"], storm_creates, p=[flash, 1 - flash])]
    rows: list[tuple[float, str, str, str, int | None, str]] = []
    for number, index in enumerate(np.argsort(times)):
        image, name = images[chosen[index]], f"v{number:03}"
        at = round(float(times[index]), 3)
        least = -(-image.virtual_size_bytes // (1 << 30))
        size = int(least + random.integers(0, 3))
        rows.append((at, "create", name, image.image_id, size, str(types[index])))
        if random.random() < 0.5:
            gone = round(at + float(random.lognormal(np.log(seconds / 5), 0.5)), 3)
            if gone < seconds:
                rows.append((gone, "delete", name, "", None, ""))
    columns = ["time", "event", "volume_id", "image_id", "size_gib", "volume_type"]
    trace = pd.DataFrame(rows, columns=columns).sort_values("time", kind="stable", ignore_index=True)
    return trace.astype({"size_gib": "Int64"}).assign(host="")


def days(images: list[Image], count: int, day_s: float, creates: int, seed: int) -> pd.DataFrame:
    """So many days of `day_s` seconds, each with so many creates. Images are nearly equally popular."""
    parts = []
    for day in range(count):
        part = draw(images, creates, day_s, 0, 0, seed + day, zipf=0.2, flash=0.5)
        parts.append(part.assign(time=part["time"] + day * day_s, volume_id=f"d{day}" + part["volume_id"]))
    return pd.concat(parts, ignore_index=True).round(3)
