"""Users' snapshots: rows of Cinder's table, and a trace's events over Cinder's own API and manager."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from cinder import exception

from sim.cinder.clock import Clock
from sim.cinder.database import Context, Database, Volume


class Snapshot:
    """A row of `snapshots`, with the attributes of `cinder.objects.Snapshot` that Cinder's code uses.

    `running`: its create or its delete is under way. `delete_wanted`: delete it when its create has ended.
    """

    id: str
    volume_id: str
    volume_size: int
    status: str
    progress: str
    project_id: str
    display_name: str
    encryption_key_id: str | None = None
    use_quota = True
    deleted = False
    running = False
    delete_wanted = False

    def __init__(self, db: Database, **values: Any) -> None:
        self.__dict__.update(values)
        self._db = db

    def __getitem__(self, key: str) -> Any:
        return getattr(self, key)

    def get(self, key: str, default: Any = None) -> Any:
        return getattr(self, key, default)

    @property
    def name(self) -> str:
        return f"snapshot-{self.id}"

    @property
    def volume(self) -> Volume:
        return self._db.volumes[self.volume_id]

    def update(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)

    def create(self) -> None:
        """Enter the row. Its ID is its name, which the trace gives."""
        self.id = self.display_name
        self._db.snapshots.setdefault(self.volume_id, {})[self.id] = self

    def save(self) -> None:
        """Nothing to write: this object is the row."""

    def destroy(self) -> None:
        self.deleted = True
        del self._db.snapshots[self.volume_id][self.id]

    def assert_not_frozen(self) -> None: ...

    def obj_attr_is_set(self, name: str) -> bool:
        return hasattr(self, name)

    def conditional_update(self, values: dict[str, Any], expected: dict[str, Any]) -> bool:
        """Update if the status is one of the expected ones (groups are not simulated)."""
        if self.status not in expected.get("status", (self.status,)):
            return False
        self.update(values)
        return True


class Snapshots:
    """Takes and deletes a trace's snapshots; `free` deletes a volume whose delete had to wait for them."""

    def __init__(self, clock: Clock, db: Database, api: Any, free: Callable[[str], None]) -> None:
        self._clock, self._db, self._api, self._free = clock, db, api, free
        self._waiting: set[str] = set()  # volumes
        self._volume_of: dict[str, str] = {}
        api.volume_rpcapi.snapshot_ended = self._ended

    def take(self, volume_id: str, snapshot_id: str) -> None:
        """`volume.API.create_snapshot`, unless it refuses or there is no such volume."""
        volume = self._db.volumes.get(volume_id)
        if volume is None:
            return
        with suppress(exception.InvalidVolume):
            context = Context(volume.user_id, volume.project_id)
            self._api.create_snapshot(context, volume, snapshot_id, "")
            self._volume_of[snapshot_id] = volume_id

    def drop(self, snapshot_id: str) -> None:
        """`volume.API.delete_snapshot`, when its create has ended."""
        found = self._db.snapshots.get(self._volume_of.get(snapshot_id, ""), {}).get(snapshot_id)
        if found is None:
            return
        if found.running:
            found.delete_wanted = True
        else:
            self._api.delete_snapshot(Context("", found.project_id), found)

    def delay(self, volume: Volume) -> bool:
        """Whether the delete of a volume must wait for the end of steps of its snapshots; then it will."""
        taken = self._db.snapshots.get(volume.id)
        if taken and any(each.running for each in taken.values()):
            self._waiting.add(volume.id)
            return True
        return False

    def _ended(self, snapshot: Snapshot) -> None:
        if snapshot.delete_wanted:
            snapshot.delete_wanted = False
            self._clock.cast(self.drop, snapshot.id)
        volume_id = snapshot.volume_id
        others = self._db.snapshots[volume_id].values()
        if volume_id in self._waiting and not any(each.running for each in others):
            self._waiting.discard(volume_id)
            self._free(volume_id)
