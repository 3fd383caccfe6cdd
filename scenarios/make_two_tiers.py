"""Draws the trace of two_tiers.yaml from its seed: `python -m scenarios.make_two_tiers`.

The images' order in the list is their popularity. Kept so that one can see where the trace is from;
the trace itself is in the repository.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import yaml

from sim.inputs.trace import EVENTS, OPTIONAL, REQUIRED, Trace, write_trace

FOLDER = Path(__file__).parent
DAYS, DAY, HOUR = 14, 86_400, 3_600
CREATES = 4_000
ZIPF = 0.95
STORMS = 10
# Creates in each hour of a day, and the share of a working day that a Saturday or Sunday has.
HOURS = np.array([2, 1, 1, 1, 1, 2, 4, 7, 11, 14, 15, 14, 11, 13, 15, 14, 12, 9, 7, 5, 4, 4, 3, 2])
WEEKEND = 0.35
LIFETIME_MEDIAN_S, LIFETIME_SIGMA = 3 * HOUR, 1.8
SIZES_GIB, SIZE_SHARES = [8, 10, 20, 40, 80, 160], [0.01, 0.24, 0.35, 0.22, 0.13, 0.05]
PROJECTS = ["web", "batch", "ci", "finance", "lab"]
FLASH, WITHOUT_IMAGE, ENCRYPTED = 0.55, 0.02, 0.01
PINNED = {"flash": "flash-a#p0", "disk": "disk-b#p1"}


def main(path: Path = FOLDER / "two_tiers" / "trace.csv") -> None:
    """Writes the trace."""
    scenario = yaml.safe_load((FOLDER / "two_tiers.yaml").read_text())
    images = pd.read_csv(FOLDER / scenario["images"], keep_default_na=False)
    rng = np.random.default_rng(scenario["seed"])
    created = pd.concat([storms(rng, images), arrivals(rng, images)], ignore_index=True)
    created = created.head(CREATES).sort_values("time", kind="stable", ignore_index=True)
    created["volume_id"] = [f"volume-{number:04d}" for number in range(1, CREATES + 1)]
    deleted = created[["time", "volume_id", "lifetime"]].assign(event="delete")
    deleted["time"] += deleted.pop("lifetime")
    deleted = deleted[deleted["time"] < DAYS * DAY]
    events = pd.concat([updates(images), created.assign(event="create"), deleted])
    write_trace(Trace(tidy(events), None, path), path)


def arrivals(rng: np.random.Generator, images: pd.DataFrame) -> pd.DataFrame:
    """Single creates: their hour by the day's pattern, their image by Zipf's law."""
    days = np.where(np.arange(DAYS) % 7 < 5, 1, WEEKEND)
    weight = np.outer(days, HOURS).ravel()
    hour = rng.choice(len(weight), CREATES, p=weight / weight.sum())
    rank = np.arange(1, len(images) + 1) ** -ZIPF
    image = rng.choice(len(images), CREATES, p=rank / rank.sum())
    blank = rng.random(CREATES) < WITHOUT_IMAGE
    frame = volumes(rng, images.iloc[image], CREATES)
    frame["time"] = (hour + rng.random(CREATES)) * HOUR
    frame["lifetime"] = lifetimes(rng, CREATES)
    frame["encrypted"] = rng.random(CREATES) < ENCRYPTED
    frame.loc[blank, "image_id"] = ""
    pinned = [CREATES // 7, CREATES // 5, CREATES // 3]
    frame["host"] = ""
    frame.loc[pinned, "host"] = frame.loc[pinned, "volume_type"].map(PINNED)
    return frame


def storms(rng: np.random.Generator, images: pd.DataFrame) -> pd.DataFrame:
    """Many creates of one image at once or within a minute, on working days, deleted together."""
    found = []
    for number in range(STORMS):
        size = int(rng.integers(20, 61))
        day = int(rng.choice([day for day in range(DAYS) if day % 7 < 5]))
        begin = day * DAY + rng.uniform(8, 18) * HOUR
        image = images.iloc[int(rng.integers(12))]
        frame = volumes(rng, pd.DataFrame([image] * size), size)
        frame["volume_type"] = "flash" if rng.random() < FLASH else "disk"
        frame["time"] = begin + np.sort(rng.uniform(0, 60, size)) * (number % 2)
        frame["lifetime"] = lifetimes(rng, 1)[0] + rng.uniform(0, 120, size)
        found.append(frame.assign(encrypted=False, host=""))
    return pd.concat(found, ignore_index=True)


def updates(images: pd.DataFrame) -> pd.DataFrame:
    """The ten most popular images are published anew each Tuesday night, minutes apart."""
    count = 10
    nights = np.arange(1, DAYS, 7) * DAY + 3 * HOUR
    times = np.add.outer(nights, 300.0 * np.arange(count)).ravel()
    names = list(images["image_id"].head(count)) * len(nights)
    return pd.DataFrame({"time": times, "image_id": names, "event": "update_image"})


def volumes(rng: np.random.Generator, images: pd.DataFrame, count: int) -> pd.DataFrame:
    """What is asked for: image, size, tier and project; an image with an owner is the owner's."""
    project = rng.choice(PROJECTS, count, p=[0.35, 0.25, 0.2, 0.1, 0.1])
    owner = images["owner"].to_numpy()
    return pd.DataFrame(
        {
            "image_id": images["image_id"].to_numpy(),
            "size_gib": rng.choice(SIZES_GIB, count, p=SIZE_SHARES),
            "volume_type": np.where(rng.random(count) < FLASH, "flash", "disk"),
            "project": np.where(owner == "", project, owner),
        }
    )


def lifetimes(rng: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
    """Seconds from create to delete: a median of three hours, and some that stay for weeks."""
    return LIFETIME_MEDIAN_S * rng.lognormal(0, LIFETIME_SIGMA, count)


def tidy(events: pd.DataFrame) -> pd.DataFrame:
    """The events in order of time (whole milliseconds), in the columns and types of a trace."""
    events["time"] = events["time"].round(3)
    events = events.sort_values("time", kind="stable", ignore_index=True)
    text = events[["volume_id", "image_id", "volume_type", "host", "project"]].fillna("")
    events["size_gib"] = events["size_gib"].fillna(0).astype("int64")
    events["encrypted"] = events["encrypted"].eq(True)
    events["event"] = pd.Categorical(events["event"], EVENTS)
    absent = dict.fromkeys(("first_host", "availability_zone", "snapshot_id"), "")
    return events.assign(**text, **absent)[[*REQUIRED, *OPTIONAL]]


if __name__ == "__main__":
    main()
