"""Changes of a workload: more load, larger images, more updates, or only its first part."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sim.inputs.images import Image
from sim.workload.streams import Streams

Floats = npt.NDArray[np.float64]
MARKS = ("update_image", "delete_image", "upload")  # what copies of creates may not pass
JITTER_S = 3600.0  # largest distance in time of a copied create from its original


@dataclass(frozen=True)
class Changes:
    """Changes to a workload, applied in this order; the defaults change nothing.

    image_size_factor: multiplies the sizes of all images. growth: multiplies the number of volumes.
    update_every: seconds between additional updates of each image. until: seconds; later events are left out.
    """

    image_size_factor: float = 1.0
    growth: float = 1.0
    update_every: float | None = None
    until: float | None = None

    @property
    def none(self) -> bool:
        """Whether nothing is changed."""
        return self == Changes()


def changed(
    changes: Changes,
    events: pd.DataFrame,
    images: Mapping[str, Image],
    initial: pd.DataFrame,
    streams: Streams,
    generated: bool = False,
) -> tuple[pd.DataFrame, dict[str, Image], pd.DataFrame]:
    """Events, images and initial state after the changes (see `sim.inputs.trace.Trace` for their columns).

    `generated` events already include the growth: only initial volumes grow.
    """
    found = dict(images)
    if changes.image_size_factor != 1:
        found = {name: _sized(image, changes.image_size_factor) for name, image in images.items()}
        events, initial = (_holding(table, images, found) for table in (events, initial))
    if changes.growth != 1:
        events, initial = _grown(events, initial, changes.growth, streams, generated)
    if changes.update_every is not None:
        events = _updated(events, list(found), changes.update_every)
    if changes.until is not None:
        events = events[events["time"] < changes.until].reset_index(drop=True)
    return events, found, initial


def _sized(image: Image, factor: float) -> Image:
    sizes = ("size_bytes", "virtual_size_bytes")
    larger = {name: max(1, round(factor * getattr(image, name))) for name in sizes}
    if image.allocated_bytes is not None:
        larger["allocated_bytes"] = round(factor * image.allocated_bytes)
    return image.model_copy(update=larger)


def _holding(table: pd.DataFrame, before: Mapping[str, Image], after: Mapping[str, Image]) -> pd.DataFrame:
    """Enlarge volumes that held their image, so that they still do: Cinder's API would refuse them all."""
    names = table["image_id"].astype(str)
    had, needs = (
        names.map({name: image.needs_gib for name, image in images.items()}).fillna(0).astype(np.int64)
        for images in (before, after)
    )
    held = (table["size_gib"] >= had) & (table["size_gib"] > 0)
    return table.assign(size_gib=table["size_gib"].mask(held & (table["size_gib"] < needs), needs))


# -- growth --------------------------------------------------------------------------------------------


def _grown(
    events: pd.DataFrame, initial: pd.DataFrame, growth: float, streams: Streams, generated: bool
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Volumes with their creates and deletes, `growth` times as many; each copy is near its original in time.

    Copy n of a volume (0: itself) exists if the volume's random number is below growth - n. So a larger load
    contains a smaller one.
    """
    created = events.index[(events["event"] == "create") & (not generated)].to_numpy()
    users = initial.index[initial["kind"] == "volume"].to_numpy()
    chance = streams("growth")
    chances = pd.Series(
        np.append(chance.random(len(created)), streams("growth initial").random(len(users))),
        np.append(events.loc[created, "volume_id"], initial.loc[users, "volume_id"]),
    )
    chance_of, chance_initial = (
        table["volume_id"].map(chances).fillna(-1.0).to_numpy() for table in (events, initial)
    )
    once = np.asarray(events["event"] != "upload")  # of an image that exists already
    parts, before = [events[chance_of < growth]], [initial[chance_initial < growth]]
    between = _between_marks(events)
    order = pd.Series(np.arange(len(created)), events.loc[created, "volume_id"])
    creates_of = events["volume_id"].map(order).fillna(-1).to_numpy(np.intp)
    taken = {*chances.index, *initial["volume_id"]}
    for copy in range(1, math.ceil(growth)):
        mark = f"+{copy}"
        while any(f"{name}{mark}" in taken for name in chances.index):
            mark = "+" + mark
        there = (chance_of >= 0) & (chance_of < growth - copy) & once
        copies = events[there].copy()
        copies["time"] = _jittered(events, streams(f"growth copy {copy}"), created, creates_of, between)[
            there
        ]
        copies["volume_id"] = copies["volume_id"] + mark
        taken_of = copies["snapshot_id"]
        copies["snapshot_id"] = taken_of.where(taken_of == "", taken_of + mark)
        parts.append(copies)
        again = initial[(chance_initial >= 0) & (chance_initial < growth - copy)]
        before.append(again.assign(volume_id=again["volume_id"] + mark))
    # Events at one time stay in the order of their originals, whose index they have.
    grown = pd.concat(parts).rename_axis("row").sort_values(["time", "row"], kind="stable")
    return grown.reset_index(drop=True), pd.concat(before, ignore_index=True)


def _jittered(
    events: pd.DataFrame,
    stream: np.random.Generator,
    created: npt.NDArray[Any],
    creates_of: npt.NDArray[np.intp],
    between: tuple[Floats, Floats],
) -> Floats:
    """Times of copies: creates move by up to an hour, deletes by as much, so lifetimes stay the same.

    `creates_of`: for each event, which of the `created` made its volume; -1 for none of them.
    No copy leaves the trace's period or passes an update or the deletion of its image (`_between_marks`).
    """
    time = events["time"].to_numpy(np.float64)
    low, high = between
    moved = np.clip(
        time[created] + stream.uniform(-JITTER_S, JITTER_S, len(created)), low[created], high[created]
    )
    shift = np.append(moved - time[created], 0.0)[creates_of]
    found: Floats = np.clip(time + shift, time[0], time[-1])
    found[created] = moved
    return found


def _between_marks(events: pd.DataFrame) -> tuple[Floats, Floats]:
    """For each event, the times between which nothing happens to its image."""
    time, count = events["time"].to_numpy(np.float64), len(events)
    image, _ = pd.factorize(events["image_id"])
    by_image = np.argsort(image, kind="stable")
    starts = np.flatnonzero(np.diff(image[by_image], prepend=-1))
    first = np.repeat(starts, np.diff(starts, append=count))
    end = np.repeat(np.append(starts[1:], count), np.diff(starts, append=count))
    mark, place = events["event"].isin(MARKS).to_numpy()[by_image], np.arange(count)
    before = np.maximum.accumulate(np.where(mark, place, -1))
    before = np.append(-1, before[:-1])  # by position: events at one time have an order
    after = np.minimum.accumulate(np.where(mark, place, count)[::-1])[::-1]
    times = time[by_image]
    low, high = np.empty(count), np.empty(count)
    low[by_image] = np.where(before >= first, times[before], time[0])
    high[by_image] = np.where(after < end, times[np.minimum(after, count - 1)], time[-1])
    return low, high


# -- updates -------------------------------------------------------------------------------------------


def _updated(events: pd.DataFrame, images: list[str], every: float) -> pd.DataFrame:
    """Periodic updates of every image until it is deleted, spread over the images."""
    last = float(events["time"].iloc[-1])
    deletions = events[events["event"] == "delete_image"]
    until = dict(zip(deletions["image_id"].astype(str), deletions["time"], strict=True))
    times = [
        np.arange((number + 0.5) / len(images) * every, min(last, until.get(image, last)), every)
        for number, image in enumerate(images)
    ]
    which = np.repeat(np.arange(len(images)), [len(of_image) for of_image in times])
    more = pd.DataFrame({"time": np.concatenate(times), "image_id": pd.array(images, "str").take(which)})
    more = more.assign(event="update_image", size_gib=0, encrypted=False)
    text = ("volume_type", "host", "project", "first_host", "availability_zone")
    more[["volume_id", "snapshot_id", *text]] = ""
    for name in text:
        if "" not in events[name].cat.categories:
            events = events.assign(**{name: events[name].cat.add_categories("")})
    more = more[list(events.columns)].astype(events.dtypes.to_dict())
    return pd.concat([events, more]).sort_values("time", kind="stable", ignore_index=True)
