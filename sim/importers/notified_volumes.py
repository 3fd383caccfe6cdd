"""Reads volumes from notifications: `volume.create.*`, `volume.delete.start`, `scheduler.create_volume`.

The payloads come from `cinder.volume.volume_utils._usage_from_volume`. For creates that no backend takes they
come from `cinder.scheduler.flows.create_volume.ScheduleCreateVolumeTask._notify_failure`.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from sim.importers.database_notes import UNSIZED
from sim.importers.names import NO_TYPE
from sim.importers.notes import Note
from sim.importers.notification_files import Taker, with_pool
from sim.importers.values import file_bytes, gib, instant, text

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NEVER = np.iinfo(np.int64).min
TIMES = ("created", "launched", "deleted")  # microseconds since 1970, or NEVER
NAMES = ("host", "image", "volume_type", "project", "availability_zone")
FLAGS = ("state", "whose", "from_snapshot", "downloaded")
STARTED, MADE, UNPLACED = 1, 2, 4  # the notifications that a volume had
# The owner: a user, the cache, the Cinder store; the cache's tenant, of other volumes.
USERS, CACHED, STORED, INTERNAL = range(4)
IMAGE_VOLUME = re.compile(r"image-[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


class NotifiedVolumes:
    """Takes notifications of volumes one by one, and keeps a row of numbers for each volume."""

    def __init__(self, internal_tenant: str | None) -> None:
        self._internal_tenant = internal_tenant
        self._rows: dict[str, int] = {}
        self._times = {name: array("q") for name in TIMES}
        self._codes = {name: array("i") for name in NAMES}
        self._known: dict[str, dict[str, int]] = {name: {"": 0} for name in NAMES}
        self._size_gib = array("i")
        self._flags = {name: array("b") for name in FLAGS}
        self._images: dict[str, dict[str, Any]] = {}
        self.takers: dict[str, Taker] = {
            "volume.create.start": self._started,
            "volume.create.end": self._made,
            "volume.delete.start": self._deleted,
            "scheduler.create_volume": self._unplaced,
        }

    # -- taking ---------------------------------------------------------------------------------

    def _started(self, message: dict[str, Any], time: datetime) -> None:
        payload = message["payload"]
        self._describe(self._row(payload["volume_id"]), payload, STARTED)

    def _made(self, message: dict[str, Any], time: datetime) -> None:
        payload = message["payload"]
        row = self._row(payload["volume_id"])
        if self._flags["state"][row] & MADE:
            return  # sent again, perhaps by cinder-volume-usage-audit, which knows only today's host
        self._describe(row, payload, MADE)
        self._times["launched"][row] = _microseconds(instant(payload["launched_at"]))
        self._name(row, "host", with_pool(text(payload["host"])))
        self._flags["from_snapshot"][row] = payload.get("snapshot_id") is not None
        metadata = {each["key"]: each["value"] for each in payload.get("glance_metadata") or ()}
        if image_id := text(metadata.get("image_id")):
            self._name(row, "image", image_id)
            self._images[image_id] = metadata
            # Cinder writes it when it downloads an image (if verify_glance_signatures is on, its default).
            self._flags["downloaded"][row] = "signature_verified" in metadata

    def _describe(self, row: int, payload: dict[str, Any], state: int) -> None:
        self._flags["state"][row] |= state
        self._times["created"][row] = _microseconds(instant(payload["created_at"]))
        self._size_gib[row] = gib(payload["size"])
        self._name(row, "volume_type", payload["volume_type"] or NO_TYPE)
        self._name(row, "project", payload["tenant_id"] or "")
        # At the end, the scheduler has put the backend's there (`scheduler.driver.volume_update_db`).
        self._name(row, "availability_zone", text(payload.get("availability_zone")))
        self._flags["whose"][row] = self._belongs(payload)
        if self._flags["whose"][row] == CACHED and IMAGE_VOLUME.fullmatch(payload["display_name"] or ""):
            self._name(row, "image", payload["display_name"].removeprefix("image-"))

    def _belongs(self, payload: dict[str, Any]) -> int:
        """The owner of a volume. The store and the cache use the same names; Glance's also have metadata.

        Image-volumes that Cinder uploads (`image_upload_use_cinder_backend`) belong to the user who uploads.
        """
        if any(each["key"] == "glance_image_id" for each in payload.get("metadata") or ()):
            return STORED
        named = IMAGE_VOLUME.fullmatch(payload.get("display_name") or "") is not None
        if self._internal_tenant is None:
            return CACHED if named else USERS
        if payload["tenant_id"] == self._internal_tenant:
            return CACHED
        return STORED if named else USERS

    def _deleted(self, message: dict[str, Any], time: datetime) -> None:
        """The last notification counts: earlier deletes were refused. An audit has the time of the delete."""
        payload = message["payload"]
        row = self._row(payload["volume_id"])
        audited = "audit_period_beginning" in payload
        if audited and self._times["deleted"][row] != NEVER:
            return
        when = instant(payload["audit_period_beginning"]) if audited else time
        self._times["deleted"][row] = _microseconds(when)

    def _unplaced(self, message: dict[str, Any], time: datetime) -> None:
        """No backend took the volume, at once or after all attempts."""
        payload = message["payload"]
        spec, properties = payload["request_spec"], payload["volume_properties"]
        row = self._row(payload["volume_id"])
        if not self._flags["state"][row]:  # if no backend ever started, this is the only information
            self._times["created"][row] = _microseconds(time)
            self._size_gib[row] = gib(properties["size"])
            self._name(row, "volume_type", properties.get("volume_type_id") or NO_TYPE)
            self._name(row, "project", properties.get("project_id") or "")
            self._name(row, "availability_zone", text(properties.get("availability_zone")))
        self._flags["state"][row] |= UNPLACED
        self._name(row, "image", spec.get("image_id") or "")
        self._flags["from_snapshot"][row] = spec.get("snapshot_id") is not None

    def _row(self, volume_id: str) -> int:
        if volume_id not in self._rows:
            if not text(volume_id):
                raise ValueError("volume_id is empty")
            for times in self._times.values():
                times.append(NEVER)
            for codes in self._codes.values():
                codes.append(0)
            for numbers in (self._size_gib, *self._flags.values()):
                numbers.append(0)
        return self._rows.setdefault(volume_id, len(self._rows))

    def _name(self, row: int, column: str, value: str) -> None:
        known = self._known[column]
        if value not in known:
            text(value)
        self._codes[column][row] = known.setdefault(value, len(known))

    # -- giving ---------------------------------------------------------------------------------

    def tables(
        self, since: datetime | None, until: datetime | None
    ) -> tuple[pd.DataFrame, pd.DataFrame, list[Note]]:
        """The period's events and images as `Telemetry` has them, and notes on them."""
        volumes = self._volumes()
        begun = volumes["state"] != 0
        inside = begun & _within(volumes["created"], since, until)
        users = volumes["whose"] == USERS
        told = volumes["state"] >= MADE
        creates = volumes[inside & users & told & (volumes["size_gib"] > 0)]
        deletes = creates[_within(creates["deleted"], since, until)]
        notes = list(self._notes(volumes[inside], volumes[~inside]))
        tells = bool(volumes["downloaded"].any())
        return _events(creates, deletes, tells), self._image_table(creates, volumes), notes

    def zones(self) -> dict[str, str]:
        """The availability zone of each host that made volumes."""
        volumes = self._volumes()
        return zones_of(volumes[(volumes["state"] & MADE) != 0])

    def made(self, since: datetime | None, until: datetime | None) -> pd.DataFrame | None:
        """Users' volumes made from images in the period: host, image, downloaded (else cloned).

        None if notifications do not show this: they have no creates, or downloads leave no trace in them.
        """
        volumes = self._volumes()
        inside = _within(volumes["launched"], since, None) & _within(volumes["created"], None, until)
        made = volumes[inside & (volumes["whose"] == USERS) & (volumes["image"] != "")]
        return made[["host", "image", "downloaded"]] if made["downloaded"].any() else None

    def _volumes(self) -> pd.DataFrame:
        columns: dict[str, Any] = {"volume_id": pd.Series(list(self._rows), dtype="str")}
        for name, times in self._times.items():
            micros = np.array(times)
            if name == "deleted":  # two clocks may show a delete before its create
                made = np.array(self._times["created"])
                micros = np.where(micros == NEVER, NEVER, np.maximum(micros, made))
            columns[name] = pd.Series(micros.view("datetime64[us]")).dt.tz_localize("UTC")
        for name, codes in self._codes.items():
            values = pd.Series(list(self._known[name]), dtype="str")
            columns[name] = values.take(np.array(codes)).reset_index(drop=True)
        columns["size_gib"] = np.array(self._size_gib)
        columns["state"], columns["whose"] = (np.array(self._flags[name]) for name in ("state", "whose"))
        for name in ("from_snapshot", "downloaded"):
            columns[name] = np.array(self._flags[name]) != 0
        table = pd.DataFrame(columns)
        table.loc[table["from_snapshot"], "image"] = ""  # it has its snapshot's glance_metadata
        return table

    def _image_table(self, creates: pd.DataFrame, volumes: pd.DataFrame) -> pd.DataFrame:
        """The images of the creates; `virtual_gib` is the size of their image-volumes in the cache.

        The smallest one counts: an image-volume from an upload has the size of the uploaded volume.
        """
        used = creates[creates["image"] != ""].groupby("image")["size_gib"].agg(["min", "size"])
        fills = volumes[
            (volumes["whose"] == CACHED) & ((volumes["state"] & MADE) != 0) & (volumes["size_gib"] > 0)
        ]
        virtual_gib = fills.groupby("image")["size_gib"].min()
        metadata = [self._images.get(image_id, {}) for image_id in used.index]
        return pd.DataFrame(
            {
                "image_id": pd.Series(used.index, dtype="str"),
                "name": pd.Series([str(each.get("image_name") or "") for each in metadata], dtype="str"),
                "disk_format": pd.Series(
                    [str(each.get("disk_format") or "") for each in metadata], dtype="str"
                ),
                "container_format": pd.Series(
                    [str(each.get("container_format") or "") for each in metadata], dtype="str"
                ),
                "size_bytes": pd.Series([file_bytes(each.get("size")) for each in metadata], dtype="Int64"),
                "virtual_gib": virtual_gib.reindex(used.index).to_numpy(dtype=float),
                "smallest_gib": used["min"].to_numpy(),
                "store_hosts": pd.Series([[] for _ in metadata], dtype="object"),
                "creates": used["size"].to_numpy(),
            }
        )

    def _notes(self, inside: pd.DataFrame, outside: pd.DataFrame) -> Iterator[Note]:
        """Notes on the volumes of the period, and on those `outside` of it."""
        users = inside[inside["whose"] == USERS]
        state = users["state"]
        unsized = int(((state >= MADE) & (users["size_gib"] == 0)).sum())
        if unsized:
            yield Note("unknown", f"{unsized:,} {UNSIZED}")
        told = users[(state >= MADE) & (users["size_gib"] > 0)]
        if len(told):
            images = int((told["image"] != "").sum())
            yield Note(
                "read",
                f"notifications of {len(told):,} creates, {images:,} of them from an image, from "
                f"{told['created'].min():%Y-%m-%d %H:%M:%S} to {told['created'].max():%Y-%m-%d %H:%M:%S} UTC",
            )
        yield from self._left_out(inside)
        unplaced = int((state >= UNPLACED).sum())
        if unplaced:
            yield Note("read", f"{unplaced:,} of these creates failed because no backend took them")
        lost = int((state == STARTED).sum())
        if lost:
            yield Note(
                "unknown",
                f"{lost:,} creates have no notification of their end. A notification of a failure on a "
                "backend lacks the image, so these creates are left out",
            )
        gone = int((outside["deleted"].notna() & (outside["whose"] == USERS)).sum())
        if gone:
            yield Note(
                "unknown",
                f"{gone:,} deleted volumes were made before the period or before the first notification: "
                "they and their space are left out; the database has them (--db)",
            )
        if len(told):
            yield Note(
                "unknown",
                "notifications do not show whether a volume was cloned from another volume or made from its "
                "image, nor whether it is encrypted, and they name volume types by id; the database "
                "has all three (--db)",
            )

    def _left_out(self, inside: pd.DataFrame) -> Iterator[Note]:
        cached, stored = (int((inside["whose"] == whose).sum()) for whose in (CACHED, STORED))
        if cached:
            yield Note("read", f"left out of the trace: {cached:,} image-volumes made to fill the cache")
            if self._internal_tenant is None:
                yield Note(
                    "assumed",
                    "image-volumes of the cache were found by their names, image-<id>: the cache's project "
                    "is not known; cinder.conf has it (cinder_internal_tenant_project_id, --conf)",
                )
        if stored:
            yield Note("read", f"left out of the trace: {stored:,} image-volumes of Glance's Cinder store")


def _events(creates: pd.DataFrame, deletes: pd.DataFrame, tells: bool) -> pd.DataFrame:
    """A trace's events in order of time, with `create_s` (NaN: failed, or a delete) and `downloaded`.

    `downloaded` is 1.0 for a download, 0.0 for a clone, and NaN if it is not known. `tells`: downloads leave
    a trace in these notifications.
    """
    known = (creates["image"] != "") & creates["launched"].notna() & tells
    made = pd.DataFrame(
        {
            "time": creates["created"],
            "event": "create",
            "volume_id": creates["volume_id"],
            "image_id": creates["image"],
            "size_gib": creates["size_gib"].astype("Int64"),
            "volume_type": creates["volume_type"],
            "host": creates["host"],
            "project": creates["project"],
            "encrypted": False,
            "availability_zone": creates["availability_zone"],
            "create_s": (creates["launched"] - creates["created"]).dt.total_seconds(),
            "downloaded": creates["downloaded"].astype(float).where(known),
        }
    )
    gone = pd.DataFrame({"time": deletes["deleted"], "event": "delete", "volume_id": deletes["volume_id"]})
    names = ("image_id", "volume_type", "host", "project", "availability_zone")
    for column in names:
        gone[column] = ""
    gone["size_gib"] = pd.array([pd.NA] * len(gone), dtype="Int64")
    gone["encrypted"] = False
    gone["create_s"] = gone["downloaded"] = np.nan
    both = pd.concat([made, gone[list(made)]]).sort_values("time", kind="stable", ignore_index=True)
    return both.astype(dict.fromkeys(("event", *names), "str"))


def zones_of(volumes: pd.DataFrame) -> dict[str, str]:
    """The availability zone of each host: the one that most volumes there have."""
    told = volumes[(volumes["host"] != "") & (volumes["availability_zone"] != "")]
    counted = told.groupby(["host", "availability_zone"]).size().sort_values(kind="stable").reset_index()
    return dict(zip(counted["host"], counted["availability_zone"], strict=True))


def _within(times: pd.Series[Any], since: datetime | None, until: datetime | None) -> pd.Series[bool]:
    inside = times.notna()
    if since is not None:
        inside &= times >= since
    if until is not None:
        inside &= times < until
    return inside


def _microseconds(time: datetime) -> int:
    return (time - EPOCH) // timedelta(microseconds=1)
