"""Reads volumes from a file of the volumes API: those that exist now, as a history of creates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from cinder.objects.fields import VolumeStatus

from sim.importers.cache_telemetry import COUNTS
from sim.importers.database_notes import OTHERS, UNSIZED
from sim.importers.database_tables import INITIAL
from sim.importers.json_files import first, records, text_of
from sim.importers.names import NO_TYPE
from sim.importers.notes import Note
from sim.importers.notification_files import with_pool
from sim.importers.notifications import Telemetry
from sim.importers.notified_volumes import CACHED, IMAGE_VOLUME, INTERNAL, STORED, USERS, zones_of
from sim.importers.values import file_bytes, gib, instant, text
from sim.inputs.problems import Problems, quoted

ACCEPTED = (
    "JSON of the volumes API (GET /v3/{project}/volumes/detail?all_tenants=1), or "
    "openstack volume list --all-projects --long -f json"
)
# Volumes that do not exist yet, or never will.
NOT_THERE = [
    str(status)
    for status in (
        *(VolumeStatus.CREATING, VolumeStatus.DOWNLOADING, VolumeStatus.ERROR),
        *(VolumeStatus.MANAGING, VolumeStatus.ERROR_MANAGING),
    )
]
HOST, TENANT = "os-vol-host-attr:host", "os-vol-tenant-attr:tenant_id"
MIGRATION = "os-vol-mig-status-attr:migstat"
COLUMNS = {
    **dict.fromkeys(("volume_id", "image_id", "volume_type", "host", "project", "availability_zone"), "str"),
    **{"size_gib": "int64", "encrypted": "bool", "whose": "int64", "status": "str"},
    "created": "datetime64[us, UTC]",
}


@dataclass(frozen=True)
class Listing:
    """Volumes of a file: the columns of `COLUMNS`, `image_id` '' if a volume is not from an image.

    `metadata`: the image metadata that the volumes keep. `left_out`: notes on volumes that are not in it.
    """

    path: Path
    volumes: pd.DataFrame
    metadata: dict[str, dict[str, Any]]
    left_out: Sequence[Note] = ()

    def joined(
        self, notified: Telemetry | None, since: datetime | None, until: datetime | None
    ) -> Telemetry | None:
        """The creates of the period as a history; None if no volume has a time.

        If notifications have creates and deletes, the list provides the volumes that existed before.
        """
        if notified is not None and len(notified.events):
            return self._before(notified)
        users = self.volumes[self.volumes["whose"] == USERS]
        dated = users[users["created"].notna()]
        if not len(dated):
            return None if notified is None else replace(notified, notes=[*notified.notes, *self.notes()])
        begin = dated["created"].min() if since is None else pd.Timestamp(since)
        inside = dated["created"] >= begin
        if until is not None:
            inside &= dated["created"] < pd.Timestamp(until)
        counts = pd.DataFrame(
            {name: pd.Series(dtype="str" if name == "host" else "float") for name in COUNTS}
        )
        return Telemetry(
            counts=counts if notified is None else notified.counts,
            events=_events(dated[inside]),
            images=self._images(users),
            notes=[*([] if notified is None else notified.notes), *self.notes()],
            initial=self._initial(begin),
            zones=zones_of(self.volumes),
        )

    def _before(self, notified: Telemetry) -> Telemetry:
        events = notified.events
        creates = events.loc[events["event"] == "create", ["volume_id", "volume_type"]]
        there = self.volumes[~self.volumes["volume_id"].isin(creates["volume_id"])]
        older = Listing(self.path, there, self.metadata)
        initial = older._initial(events["time"].min())
        both = creates.merge(self.volumes, on="volume_id", suffixes=("", "_name"))
        names = dict(zip(both["volume_type"], both["volume_type_name"], strict=True))
        count = int((initial["kind"] == "volume").sum())
        what = "volumes existed before the first notification and still exist"
        then = "a list lacks volumes deleted since; the database has them (--db)"
        images = older._images(there[there["whose"] == USERS])
        return replace(
            notified,
            events=events.assign(volume_type=events["volume_type"].replace(names).astype("str")),
            images=pd.concat([notified.images, images]).drop_duplicates("image_id"),
            notes=[*notified.notes, *self.left_out, Note("read", f"{self.path}: {count:,} {what}; {then}")],
            initial=initial,
            zones=zones_of(self.volumes) | notified.zones,
        )

    def _initial(self, begin: pd.Timestamp) -> pd.DataFrame:
        """Volumes and cache entries that existed at an instant and still exist."""
        there = self.volumes[
            (self.volumes["created"] < begin)
            & (self.volumes["host"] != "")
            & (self.volumes["whose"] != STORED)
        ].sort_values("created", kind="stable")
        cached = there["whose"] == CACHED
        rows = there.assign(
            kind=np.where(cached, "cache", "volume"), last_used=there["created"].where(cached)
        )
        cache = rows["kind"] == "cache"
        rows = pd.concat([rows[~cache], rows[cache].drop_duplicates(["host", "image_id"], keep="last")])
        return rows[list(INITIAL)].astype(INITIAL).reset_index(drop=True)

    def _images(self, users: pd.DataFrame) -> pd.DataFrame:
        used = users[users["image_id"] != ""].groupby("image_id")["size_gib"].agg(["min", "size"])
        cached = self.volumes[self.volumes["whose"] == CACHED].groupby("image_id")["size_gib"].min()
        used = used.reindex(used.index.union(cached.index)).fillna({"size": 0}).astype({"size": "int64"})
        stored = self.volumes[(self.volumes["whose"] == STORED) & (self.volumes["host"] != "")]
        hosts = stored.groupby("image_id")["host"].agg(lambda one: sorted(set(one)))
        told = [self.metadata.get(str(image_id), {}) for image_id in used.index]
        return pd.DataFrame(
            {
                "image_id": pd.Series(used.index, dtype="str"),
                "name": pd.Series([str(one.get("image_name") or "") for one in told], dtype="str"),
                "disk_format": pd.Series([str(one.get("disk_format") or "") for one in told], dtype="str"),
                "container_format": pd.Series(
                    [str(one.get("container_format") or "") for one in told], dtype="str"
                ),
                "size_bytes": pd.Series([file_bytes(one.get("size")) for one in told], dtype="Int64"),
                "virtual_gib": cached.reindex(used.index).to_numpy(dtype=float),
                "smallest_gib": used["min"].to_numpy(),
                "store_hosts": pd.Series([hosts.get(one, []) for one in used.index], dtype="object"),
                "creates": used["size"].to_numpy(),
            }
        )

    def notes(self) -> Iterator[Note]:
        """Notes on what the file shows and what it cannot show."""
        users = self.volumes[self.volumes["whose"] == USERS]
        dated = users[users["created"].notna()]
        size = f"{len(users):,} volumes of {users['size_gib'].sum():,} GiB"
        types = ", ".join(
            f"{count:,} {name or 'without a type'}"
            for name, count in Counter(users["volume_type"]).most_common()
        )
        yield Note("read", f"{self.path}: {size}" + (f" ({types})" if types else ""))
        yield from self.left_out
        if not len(dated):
            what = "the time, host and image of these volumes"
            then = f"so they make no history; the volumes API has these ({ACCEPTED.partition(', or')[0]})"
            yield Note("unknown", f"a client's list of volumes lacks {what}, {then}")
            return
        images = int((dated["image_id"] != "").sum())
        times = "from {:%Y-%m-%d %H:%M:%S} to {:%Y-%m-%d %H:%M:%S} UTC".format(
            *dated["created"].agg(["min", "max"])
        )
        yield Note("read", f"{self.path}: {len(dated):,} creates, {images:,} of them from an image, {times}")
        what = "volumes deleted since, failed creates and durations of creates"
        then = "the history lacks some creates and all deletes; the database has them (--db)"
        yield Note("unknown", f"a list of volumes lacks {what}: {then}")
        for whose, what in ((CACHED, "the image-volume cache"), (STORED, "Glance's Cinder store")):
            count = int((self.volumes["whose"] == whose).sum())
            if count:
                yield Note("read", f"left out of the creates: {count:,} image-volumes of {what}")
        if (dated["host"] == "").any():
            what = f"{int((dated['host'] == '').sum()):,} volumes have no host: only admins see it"
            yield Note("unknown", f"{what}; the simulated scheduler places them")


def read(path: Path, internal_tenant: str | None, problems: Problems) -> Listing | None:
    """The volumes of a file; None, with problems noted, if there are none.

    `internal_tenant`: the project of the cache; None: its image-volumes are known by their names.
    """
    content = text_of(path, problems)
    rows = None if content is None else records(path, content, "volumes", ACCEPTED, problems)
    if rows is None:
        return None
    before = len(problems.lines())
    found: dict[str, dict[str, Any]] = {}  # pages may overlap
    metadata: dict[str, dict[str, Any]] = {}
    for number, row in enumerate(rows, 1):
        try:
            volume = _volume(row, internal_tenant)
        except ValueError as error:
            what = "is not a volume in the form of Cinder's API or client"
            where = f"entry {number}, volume {quoted(row.get('id'))}"
            problems.add(path, where, f"{what}: {error}", what)
            continue
        if volume is not None:
            found[volume["volume_id"]] = volume
            told = _mapping(row, "volume_image_metadata")
            if "image_id" in told:
                metadata.setdefault(str(told["image_id"]), told)
    if not found and len(problems.lines()) == before:
        problems.add(path, "", f"has no volume that exists; accepted: {ACCEPTED}")
    if len(problems.lines()) > before:
        return None
    table = pd.DataFrame(list(found.values()), columns=list(COLUMNS))
    table["created"] = pd.to_datetime(table["created"], utc=True)
    table = table.astype(COLUMNS)
    internal, unsized = table["whose"] == INTERNAL, table["size_gib"] == 0
    notes = []
    if unsized.any():
        notes.append(Note("unknown", f"{path}: {int(unsized.sum()):,} {UNSIZED}"))
    if (internal & ~unsized).any():
        notes.append(Note("read", f"{path}: {int((internal & ~unsized).sum()):,} {OTHERS}"))
    return Listing(path, table[~(internal | unsized)], metadata, notes)


def _mapping(row: dict[str, Any], *keys: str) -> dict[str, Any]:
    """The object below the first of these keys that has one, else an empty one."""
    return next((row[key] for key in keys if isinstance(row.get(key), dict)), {})


def _volume(row: dict[str, Any], internal_tenant: str | None) -> dict[str, Any] | None:
    """A volume; None if it does not exist yet or never will. Raises ValueError."""
    if row.get("status") in NOT_THERE or str(row.get(MIGRATION) or "").startswith("target:"):
        return None
    volume_id = text(first(row, "id"))
    if not volume_id:
        raise ValueError("it has no id")
    if "size" not in row:
        raise ValueError("it has no size")
    project = text(first(row, TENANT, "project_id", "tenant_id"))
    name = str(first(row, "name", "display_name") or "")
    from_nothing = not first(row, "source_volid") and not first(row, "snapshot_id")
    image_id = text(_mapping(row, "volume_image_metadata").get("image_id")) if from_nothing else ""
    whose = _belongs(name, _mapping(row, "metadata", "properties"), project, internal_tenant)
    created = first(row, "created_at")
    return {
        "volume_id": volume_id,
        "image_id": name.removeprefix("image-") if whose in (CACHED, STORED) else image_id,
        "volume_type": text(first(row, "volume_type", "type")) or NO_TYPE,
        "host": with_pool(text(first(row, HOST))),
        "project": project,
        "availability_zone": text(first(row, "availability_zone")),
        "size_gib": gib(row["size"]),
        "encrypted": str(first(row, "encrypted") or "").lower() == "true",
        "whose": whose,
        "status": str(row.get("status") or ""),
        "created": None if created is None else pd.Timestamp(instant(created)),
    }


def _belongs(name: str, metadata: dict[str, Any], project: str, internal_tenant: str | None) -> int:
    """The owner of a volume, as `notified_volumes` has them."""
    named = IMAGE_VOLUME.fullmatch(name) is not None
    if named and "glance_image_id" in metadata:
        return STORED
    if project == internal_tenant:
        return CACHED if named else INTERNAL
    return CACHED if named and internal_tenant is None else USERS


def _events(volumes: pd.DataFrame) -> pd.DataFrame:
    """Creates in order of time, as a trace's events."""
    kept = ["volume_id", "image_id", "size_gib", "volume_type", "host", "project", "encrypted"]
    events = volumes.rename(columns={"created": "time"})[["time", *kept, "availability_zone"]]
    events = events.assign(event="create", size_gib=events["size_gib"].astype("Int64"), create_s=np.nan)
    return events.sort_values("time", kind="stable", ignore_index=True).astype({"event": "str"})
