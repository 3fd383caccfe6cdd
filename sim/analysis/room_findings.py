"""Findings on the space of arrays: creates that lacked space beside image-volumes, and unwanted volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sim.analysis.names import among
from sim.analysis.wording import ENTRIES, Finding, at_host, by, changes, count, lost_s
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


def lack_of_space(records: Records, case: Case, strategy: Strategy) -> list[Finding]:
    """Creates that failed for lack of space on a pool where image-volumes held some of it."""
    columns = ["volume_id", "volume_type", "status", "time", "end", "error"]
    tables = (records.requests, records.others)
    errors = pd.concat([table.loc[table["status"] == "error", columns] for table in tables])
    host = errors["error"].str.extract(NO_SPACE, expand=False)
    failed = errors.assign(host=host)[host.notna()]
    filled = records.cache_events[records.cache_events["event"].isin(FILLED)]["volume_id"]
    lines = []
    for host_name, chosen in by(failed, "host"):
        cached = _cached_gib(records, case, host_name, chosen["end"].to_numpy(float)).max()
        kept = _stored_gib(case, strategy, host_name)
        if not cached and not kept:
            continue
        held = [f"the cache up to {cached:,.0f} GiB"] if cached else []
        held += [f"the Cinder store {kept:,} GiB"] if kept else []
        late = int(among(chosen["volume_id"], filled).sum())
        after = f", {late:,} of them after their whole download" if late else ""
        lower = "lower image_volume_cache_max_size_gb or " if cached else ""
        line = (
            f"{count(len(chosen), 'create')} failed for lack of space{after}, while"
            f" image-volumes held some of it ({' and '.join(held)}): {lower}raise capacity_gib"
        )
        lines.append(at_host(line, case, host_name, lost_s(chosen, case)))
    return [*lines, *_unplaced(records, case, errors)]


def _unplaced(records: Records, case: Case, failed: pd.DataFrame) -> list[Finding]:
    """Failed creates for which the scheduler saw too little space on every pool of their tier."""
    lines = []
    unplaced = failed[failed["error"].str.startswith(NO_POOL)]
    for tier, chosen in by(unplaced, "volume_type"):
        at = chosen["end"].to_numpy(float)
        cached = sum(_cached_gib(records, case, host, at) for host in case.scenario.hosts_of(tier))
        if np.max(cached, initial=0) > 0:
            line = (
                f"{tier}: {count(len(chosen), 'create')} found no pool with enough space, while the caches"
                f" of its pools held up to {np.max(cached):,.0f} GiB:"
                " lower image_volume_cache_max_size_gb or raise capacity_gib"
            )
            lines.append(Finding(line, tier, lost_s(chosen, case)))
    return lines


def _cached_gib(records: Records, case: Case, host: str, at: np.ndarray) -> np.ndarray:
    """GiB of the cache's entries on a pool at given times (in seconds)."""
    events = records.cache_events
    events = events[(events["host"] == host) & events["event"].isin(list(ENTRIES))]
    initial = case.initial[(case.initial["kind"] == "cache") & (case.initial["host"] == host)]
    moved = changes(events) * events["size_gib"].to_numpy(float)
    levels = float(initial["size_gib"].sum()) + np.concatenate([[0.0], np.cumsum(moved)])
    held: np.ndarray = levels[np.searchsorted(events["time"].to_numpy(float), at, side="right")]
    return held


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
    gone = _deleted_images(case)
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


def entries_of_deleted_images(records: Records, case: Case) -> list[Finding]:
    """Cache entries that no create can use any more, because their image was deleted."""
    useless = records.cache[records.cache["image_id"].isin(list(_deleted_images(case)))]
    return [
        at_host(
            f"{count(len(chosen), 'cache entry', 'cache entries')} of deleted images,"
            f" {chosen['size_gib'].sum():,} GiB, stay until they are the least recently used",
            case,
            host,
        )
        for host, chosen in by(useless, "host")
    ]


def _deleted_images(case: Case) -> set[str]:
    events = case.trace.events
    return set(events.loc[events["event"] == "delete_image", "image_id"].astype(str))
