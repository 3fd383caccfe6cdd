"""A known workload, run through the whole of Cinder into a database, and what is to be read of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

from tests.whole.build import TIER, Builder, image
from tests.whole.cloud import image_uuid
from tests.whole.reference import Result, Run
from tests.whole.start import EPOCH

EVENT = ["event", "volume_id", "image_id", "size_gib", "volume_type", "host", "project", "encrypted"]
START = EPOCH.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Known:
    """What was run. `events` are those to be read: the contract's columns, `time` in UTC, and `create_s`."""

    run: Run
    result: Result
    events: pd.DataFrame


def builder() -> Builder:
    """Creates, deletes, fills with evictions, failures, in two tiers of several pools."""
    b = Builder(
        *(image("i0", 1), image("i1", 1.3, "qcow2"), image("i2", 2), image("i3", 3)),
        image("private", 2, owner="alice"),
        tiers={"flash": TIER, "disk": TIER},
        cinder={"internal_tenant_quota_volumes": 30, "internal_tenant_quota_gigabytes": None},
        store={"home": "c#p0"},
    )
    b.backend("a", pools={"p0": {}, "p1": {}}, image_volume_cache_max_count=2)
    b.backend("b", ["flash", "disk"], node="c2", image_volume_cache_max_size_gb=4)
    b.backend("c", "disk", node="c2", pools={"p0": {"max_volumes": 17}}, max_clones_per_volume=3)
    hosts = {"flash": ("a#p0", "a#p1", "b#p0", ""), "disk": ("b#p0", "c#p0", "")}
    time = 0.0
    for number in range(60):
        time += (7.37, 31.63, 2.21, 90.11)[number % 4]
        tier = "disk" if number % 3 == 1 else "flash"
        places = hosts[tier]
        name = ("i0", "i1", "i0", "i2", "private", "", "i3", "i1")[number * 5 % 8]
        b.create(
            time,
            name,
            places[number * 7 % len(places)],
            5 + number % 3,
            volume_type=tier,
            project="alice" if name == "private" else ("bob", "carol")[number % 2],
            encrypted=number % 9 == 4,
        )
        if number % 5 == 3:
            b.delete(time + 0.5, f"v{number - 2}")
        if number == 30:
            b.delete(time + 0.7, "v30")  # waits for its create
    return b


def run(folder: Path, url: str, strategy: str = "combined") -> Known:
    """Runs the workload into the empty database of `url`."""
    done = Run(builder().case(folder), strategy, url)
    result = done.execute()
    return Known(done, result, _events(done))


def _events(done: Run) -> pd.DataFrame:
    ids = {id(request): uuid for uuid, request in done.by_uuid.items()}
    rows = []
    for event in done.case.trace.events.itertuples():
        request = done.by_name[event.volume_id]
        if request.status != "available":
            continue
        made = event.event == "create"
        rows.append(
            {
                "time": START + timedelta(seconds=event.time if made else max(event.time, request.end)),
                "event": event.event,
                "volume_id": ids[id(request)],
                "image_id": image_uuid(event.image_id) if event.image_id else "",
                "size_gib": event.size_gib,
                # Cinder encrypts by type: the whole of it has one more for each tier.
                "volume_type": event.volume_type + (", encrypted" if event.encrypted else ""),
                "host": done._inside(request.host)["host"] if made else "",
                "project": event.project if made else "",
                "encrypted": event.encrypted,
                "create_s": request.end - event.time if made else float("nan"),
            }
        )
    return pd.DataFrame(rows)


def at(seconds: float) -> datetime:
    """A time of the workload."""
    return START + timedelta(seconds=seconds)
