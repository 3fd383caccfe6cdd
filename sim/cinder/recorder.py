"""Records a run: a row for every create and for every event of the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from typing import Any

import numpy as np
import pandas as pd

from sim.cinder.clock import Clock, current_process
from sim.cinder.database import Entry, Volume
from sim.cinder.directories import Directories
from sim.cinder.links import Transfers
from sim.cinder.uploads import Upload
from sim.inputs.texts import in_texts
from sim.model.arrays import Array
from sim.model.records import (
    ASKED,
    EVENT_COLUMNS,
    MAKES_PLACE,
    MAKES_ROOM,
    OUTDATED,
    SOURCES,
    WAITS,
    Records,
    cache_events_table,
    cache_table,
    tables_of_creates,
    uploads_table,
    volumes_table,
)
from sim.model.rules import Kind
from sim.model.usage import UsageMeter


class Request:
    """A create in progress, and its results so far.

    `row` is its position among the creates of the trace, None for a create that is not in the trace. `makes`
    is the kind of the image-volumes that it makes, in every attempt.
    """

    __slots__ = (
        "attempts", "cache_held", "delete_wanted", "error", "fill_error", "image_version",
        "lock_wait_s", "makes", "row", "source", "stream_wait_s", "then", "upload", "volume_id", *WAITS,
    )  # fmt: skip

    def __init__(self, volume_id: str, row: int | None) -> None:
        self.volume_id = volume_id
        self.row = row
        self.attempts = 0
        self.makes: Kind = "cache"
        self.source = "none"
        self.error = ""
        self.fill_error = ""  # why the cache was not filled
        self.image_version: object = None
        self.lock_wait_s = 0.0
        self.stream_wait_s = 0.0
        self.thread_wait_s = self.clone_wait_s = self.write_wait_s = 0.0
        self.cache_held = 0
        self.delete_wanted = False
        self.upload: Upload | None = None  # requested before the create has ended
        self.then: Callable[[Volume], None] | None = None  # what follows the create of an image-volume


class Recorder:
    """Collects the rows of a run: some bytes for each create, in arrays; a tuple for each cache event."""

    def __init__(self, events: pd.DataFrame, clock: Clock, queues: bool) -> None:
        self._asked = events.loc[events["event"] == "create", list(ASKED)].reset_index(drop=True)
        count = len(self._asked)
        self._clock = clock
        self._begun = 0
        self._end = np.zeros(count)
        self._source = np.zeros(count, dtype=np.int8)
        self._available = np.zeros(count, dtype=bool)
        self._attempts = np.zeros(count, dtype=np.int16)
        self._lock_wait_s = np.zeros(count)
        self._stream_wait_s = np.zeros(count)
        self._waits = {name: np.zeros(count) for name in WAITS if queues}
        self._cache_held = np.zeros(count, dtype=np.int64)
        self._hosts: list[str] = [""] * count
        self._errors: dict[int, str] = {}
        self._cache_events: list[tuple[Any, ...]] = []
        self._uploads: list[list[Any]] = []

    def request(self, volume_id: str) -> Request:
        """The next create of the trace."""
        self._begun += 1
        return Request(volume_id, self._begun - 1)

    def ended(self, request: Request, volume: Volume | None) -> None:
        """A create is over; `volume` is None if the API refused it."""
        row = request.row
        if row is None:
            return
        self._end[row] = self._clock.now
        self._attempts[row] = request.attempts
        self._lock_wait_s[row] = request.lock_wait_s
        self._stream_wait_s[row] = request.stream_wait_s
        for name, seconds in self._waits.items():
            seconds[row] = getattr(request, name)
        if volume is not None:
            self._hosts[row] = volume.pool
        if volume is not None and volume.status == "available":
            self._available[row] = True
            self._source[row] = SOURCES.index(request.source)
        else:
            self._errors[row] = request.error
            self._cache_held[row] = request.cache_held

    def upload(self, volume_id: str, image_id: str) -> Upload:
        """The next upload of the trace."""
        self._uploads.append([volume_id, image_id, "", self._clock.now, 0.0, ""])
        return Upload(len(self._uploads) - 1, volume_id, image_id)

    def upload_ended(self, upload: Upload, volume: Volume | None) -> None:
        """An upload is over; `volume` is None if there was none."""
        host = volume.pool if volume else ""
        self._uploads[upload.row][2:] = [host, self._uploads[upload.row][3], self._clock.now, upload.error]

    def entry_event(self, event: str, entry: Entry) -> None:
        """A cache entry was made or is gone; the process knows the step of the cache."""
        process = current_process()
        if event == "create":
            self._cache_event("create", entry, "")
        elif process.phase == "stale":
            self._cache_event("stale", entry, OUTDATED)
        elif process.phase == "evict":
            self._cache_event("evict", entry, MAKES_ROOM)
        elif process.phase == "place":
            self._cache_event("evict", entry, MAKES_PLACE)
        else:
            self._cache_event("clone_limit", entry, "SnapshotLimitReached")

    def not_filled(self, volume: Volume, image_id: str, reason: str) -> None:
        """An image was not cached: the cache refused it, or the fill failed."""
        entry = {"pool": volume.pool, "image_id": image_id, "size": volume.size}
        self._cache_event("skip", entry, reason)

    def _cache_event(self, event: str, entry: Entry, reason: str) -> None:
        request = current_process().request
        self._cache_events.append(
            (
                self._clock.now,
                entry["pool"],
                event,
                entry["image_id"],
                entry["size"],
                reason,
                request.volume_id if request and request.row is not None else "",
            )
        )

    def records(
        self,
        entries: list[Entry],
        arrays: Iterable[Array],
        placed: Set[str],
        meter: UsageMeter,
        directories: Directories,
        transfers: Transfers,
        until: float,
        engine_s: float,
    ) -> Records:
        """The run's tables; `until` is the time at which the trace ended, `placed` the ids at the start."""
        clock = self._clock
        asked = self._asked
        tables = tables_of_creates(
            asked,
            host=pd.Series(self._hosts, dtype="str"),
            end=self._end,
            source=self._source,
            available=self._available,
            error=[self._errors.get(row, "") for row in range(len(asked))],
            attempts=self._attempts,
            lock_wait_s=self._lock_wait_s,
            stream_wait_s=self._stream_wait_s,
            cache_held=self._cache_held,
            **self._waits,
        )
        requests, others = map(in_texts, tables)
        cache = cache_table(
            [(e["pool"], e["image_id"], e["size"], clock.seconds(e["last_used"])) for e in entries]
        )
        volumes = [volume for array in arrays for volume in array.volumes.values()]
        end = max(until, float(self._end.max(initial=0.0)), meter.last)
        return Records(
            requests=requests,
            others=others,
            cache_events=cache_events_table(
                dict(zip(EVENT_COLUMNS, zip(*self._cache_events, strict=True), strict=False))
            ),
            cache=cache,
            uploads=uploads_table(self._uploads),
            usage=meter.table(end),
            space=meter.space(),
            volumes=volumes_table(
                host=[each.pool.host for each in volumes],
                kind=[each.kind for each in volumes],
                # Cinder draws the ids of image-volumes that it makes.
                volume_id=[each.id if each.kind == "user" or each.id in placed else "" for each in volumes],
                size_gib=[each.size_gib for each in volumes],
                clones=[each.clones for each in volumes],
            ),
            nodes=directories.table(end),
            directories=directories.over_time(),
            links=transfers.table(end),
            engine_s=engine_s,
        )
