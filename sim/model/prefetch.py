"""The what-if `prefetch`: an image's release fills caches before a user asks for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from sim.inputs.scenario import Case

RELEASES = ("release", "update_image")


def with_prefetches(case: Case) -> Case:
    """The case with a `prefetch` event and a delete of its volume after each release, for each pool.

    A script can do the same with any Cinder: on each pool it creates the smallest possible volume from the
    image and deletes it at once. The run decides which pools' caches want the image. Returns the case itself
    if `what_if.prefetch` is off, or nothing is released.
    """
    events = case.trace.events
    rows = np.flatnonzero(events["event"].isin(RELEASES))
    if not case.scenario.what_if.prefetch or not len(rows):
        return case
    made = pd.DataFrame(
        [{"after": row} | made for row in rows.tolist() for made in _after(case, row)],
        columns=["after", *events.columns],
    )
    every = pd.concat([events.assign(after=np.arange(len(events))), made], ignore_index=True)
    every = every.sort_values("after", kind="stable", ignore_index=True)[list(events.columns)]
    types = {name: kind for name, kind in events.dtypes.items() if kind != "category"}
    categories = {name: "category" for name in events.columns if name not in types}
    every = every.astype({**types, **categories})
    every["event"] = every["event"].cat.set_categories(events["event"].cat.categories)
    return replace(case, trace=replace(case.trace, events=every))


def _after(case: Case, row: int) -> list[dict[str, Any]]:
    """The events that follow a release."""
    event = case.trace.events.iloc[row]
    image_id, time = str(event["image_id"]), event["time"]
    return prefetches(case, image_id, time, f"prefetch {row}", case.scenario.pools())


def prefetches(
    case: Case, image_id: str, time: float, name: str, hosts: Iterable[str]
) -> list[dict[str, Any]]:
    """The events that fill the caches of some pools with an image; `name` begins those of their volumes."""
    image = case.images[image_id]
    rows = []
    for host in hosts:
        volume = {
            "time": time,
            "volume_id": f"{name} {host}",
            "image_id": "",
            "size_gib": 0,
            "volume_type": "",
            "host": "",
            "project": "",
            "encrypted": False,
            "first_host": "",
            "availability_zone": "",
            "snapshot_id": "",
        }
        made = {
            "event": "prefetch",
            "image_id": image.image_id,
            "size_gib": image.needs_gib,
            "volume_type": case.scenario.backend_at(host).volume_types[0],
            "host": host,
            "project": image.owner,
            "availability_zone": case.scenario.backend_at(host).availability_zone,
        }
        rows += [volume | made, volume | {"event": "delete"}]
    return rows
