"""Findings on the space of arrays: creates that lacked space beside image-volumes, and unwanted volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sim.analysis.adding import Counts, Kind, Part, costs
from sim.analysis.names import among
from sim.analysis.wording import Finding, at_host, by, count, lost, number, parts_of
from sim.inputs.strategies import Strategy
from sim.model.initial import stored
from sim.model.records import Records

if TYPE_CHECKING:
    from sim.inputs.scenario import Case

# The message of an array without enough space, and that of the scheduler.
NO_SPACE = r"(\S+#\S+) has no \S+ GiB (?:left to provision|of physical space left)"
NO_POOL = "NoValidBackend: no pool of the volume type passes"
USERS = ("volume of a user", "volumes of users")
STORED = ("image-volume of a deleted image", "image-volumes of deleted images")
FILLED = ("create", "skip")  # a create's fill has these events after the download


def _no_space(part: Part, case: Case, strategy: Strategy) -> pd.DataFrame | None:
    """Creates that failed for lack of space on a pool: `late`, those that had been downloaded before."""
    host = part.failed["error"].str.extract(NO_SPACE, expand=False)
    failed = part.failed.assign(host=host).dropna(subset="host")
    if failed.empty:
        return None
    filled = part.cache_events[part.cache_events["event"].isin(FILLED)]["volume_id"]
    cached = pd.Series(0.0, index=failed.index)
    for name, ends in failed.groupby("host")["end"]:
        cached[ends.index] = part.cached_gib(str(name), ends.to_numpy(float))
    late = among(failed["volume_id"], filled).astype(int)
    return costs(failed, case, "host").assign(late=late, cached_gib_max=cached)


def _no_pool(part: Part, case: Case, strategy: Strategy) -> pd.DataFrame | None:
    """Failed creates for which the scheduler saw too little space on every pool of their tier."""
    failed = part.failed[part.failed["error"].str.startswith(NO_POOL)]
    if failed.empty:
        return None
    cached = pd.Series(0.0, index=failed.index)
    for tier, ends in failed.groupby("volume_type", observed=True)["end"]:
        hosts, at = case.scenario.hosts_of(str(tier)), ends.to_numpy(float)
        cached[ends.index] = sum((part.cached_gib(host, at) for host in hosts), np.zeros(len(at)))
    return costs(failed, case, "volume_type").assign(cached_gib_max=cached)


KINDS = {"no space": Kind(("host",), _no_space), "no pool": Kind(("volume_type",), _no_pool)}


def lack_of_space(counts: Counts, case: Case, strategy: Strategy) -> list[Finding]:
    """Creates that failed for lack of space on a pool where image-volumes held some of it."""
    lines = []
    for host, rows in parts_of(counts.get("no space"), "host"):
        cached, late = rows["cached_gib_max"].max(), int(rows["late"].sum())
        kept = _stored_gib(case, strategy, host)
        if not cached and not kept:
            continue
        held = [f"the cache up to {cached:,.0f} GiB"] if cached else []
        held += [f"the Cinder store {kept:,} GiB"] if kept else []
        after = f", {late:,} of them after their whole download" if late else ""
        lower = "lower image_volume_cache_max_size_gb or " if cached else ""
        line = (
            f"{count(number(rows), 'create')} failed for lack of space{after}, while"
            f" image-volumes held some of it ({' and '.join(held)}): {lower}raise capacity_gib"
        )
        lines.append(at_host(line, case, host, lost(rows)))
    for tier, rows in parts_of(counts.get("no pool"), "volume_type"):
        if (cached := rows["cached_gib_max"].max()) > 0:
            line = (
                f"{tier}: {count(number(rows), 'create')} found no pool with enough space, while the"
                f" caches of its pools held up to {cached:,.0f} GiB:"
                " lower image_volume_cache_max_size_gb or raise capacity_gib"
            )
            lines.append(Finding(line, tier, lost(rows)))
    return lines


def _stored_gib(case: Case, strategy: Strategy, host: str) -> int:
    """GiB of the Cinder store's image-volumes on a pool at the start."""
    return sum(
        volume.size_gib
        for image in case.images.values()
        if image.image_id not in case.uploaded
        for volume in stored(case, strategy, image)
        if volume.host == host
    )


def refused_deletes(records: Records, case: Case, strategy: Strategy) -> list[Finding]:
    """Volumes that stayed after their delete: users' volumes, and the store's of deleted images."""
    events = case.trace.events
    busy = "the array refuses to delete a volume that has clones"
    gone = deleted_images(case)
    of_images = {
        volume.volume_id
        for image in case.images.values()
        if image.image_id in gone
        for volume in stored(case, strategy, image)
    }
    left = records.volumes
    deleted = among(left["volume_id"], events.loc[events["event"] == "delete", "volume_id"])
    snapshot = among(left["volume_id"], _with_snapshots(events))
    return [
        at_host(
            f"{count(len(chosen), *names)} stayed after the delete, {chosen['size_gib'].sum():,} GiB:"
            f" {why}, and it is not tried again",
            case,
            host,
        )
        for kind, stayed, why, names in (
            ("user", deleted & ~snapshot, f"{busy} (delete_with_clones busy)", USERS),
            ("user", deleted & snapshot, "Cinder refuses to delete a volume that has snapshots", USERS),
            ("store", among(left["volume_id"], of_images), f"{busy} (delete_with_clones busy)", STORED),
        )
        for host, chosen in by(left[(left["kind"] == kind) & stayed], "host")
    ]


def _with_snapshots(events: pd.DataFrame) -> set[str]:
    """The volumes that have a snapshot when the trace deletes them."""
    taken = events.loc[events["event"] == "snapshot", "volume_id"]
    some = events[among(events["volume_id"], taken)]
    left: dict[str, set[str]] = {}
    found = set()
    rows = zip(some["event"], some["volume_id"], some["snapshot_id"], strict=True)
    for event, volume, snapshot in rows:
        if event == "snapshot":
            left.setdefault(volume, set()).add(snapshot)
        elif event == "delete_snapshot":
            left.get(volume, set()).discard(snapshot)
        elif event == "delete" and left.get(volume):
            found.add(volume)
    return found


def deleted_images(case: Case) -> set[str]:
    """The images that the trace deletes."""
    events = case.trace.events
    return set(events.loc[events["event"] == "delete_image", "image_id"].astype(str))
