"""Cinder's database, in memory: live volumes and cache entries.

The names, arguments and results are those of `cinder.db.api` and `cinder.objects.Volume`, as far as the code
that runs here calls them. Memory grows with live volumes, not with the length of a run.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, KeysView
from contextlib import AbstractContextManager, nullcontext
from dataclasses import KW_ONLY, InitVar, dataclass
from datetime import datetime
from itertools import chain
from types import SimpleNamespace
from typing import Any

from cinder import exception

from sim.cinder.addresses import scenarios_own
from sim.cinder.clock import Clock
from sim.cinder.release import EarlierCalls, rewrites_metadata
from sim.model.repeats import repeats

INTERNAL_PROJECT = "(internal tenant)"  # a name that no trace is likely to have
INTERNAL_USER = "(internal user)"
STORE_PROJECT = "(glance)"  # owns the image-volumes of the Cinder store, unless the internal tenant does

ENCRYPTION = {"provider": "luks", "cipher": "aes-xts-plain64", "key_size": 256}

Entry = dict[str, Any]


class Context:
    """A request context: the requester (`cinder.context.RequestContext`; every policy allows everyone)."""

    __slots__ = ("is_admin", "project_id", "user_id")

    quota_class = None

    def __init__(self, user_id: str = "", project_id: str = "", is_admin: bool = False) -> None:
        self.user_id = user_id
        self.project_id = project_id
        self.is_admin = is_admin

    def elevated(self) -> Context:
        """The same requester as an administrator."""
        return Context(self.user_id, self.project_id, True)

    def authorize(self, *_: Any, **__: Any) -> bool:
        """Policies are not simulated."""
        return True


class _Row:
    """What a row has beside its columns: `node` is that which made it, the position among its backend's."""

    __slots__ = ("__dict__", "_db", "node", "number")


@dataclass(slots=True, eq=False)
class Volume(_Row):
    """A row of `volumes`, with the attributes of `cinder.objects.Volume` that Cinder's code uses."""

    db: InitVar[Database]
    _: KW_ONLY
    id: str = ""
    size: int
    host: Any = None  # backend#pool; None while no backend has it
    cluster_name: str | None = None
    status: str = "creating"
    project_id: str
    user_id: str
    volume_type_id: str
    encryption_key_id: str | None = None
    snapshot_id: str | None = None
    source_volid: str | None = None
    group_id: str | None = None
    consistencygroup_id: str | None = None
    availability_zone: str | None = None
    attach_status: str = "detached"
    migration_status: str | None = None
    display_name: str | None = None
    bootable: bool = False
    use_quota: bool = True
    service_uuid: str | None = None
    volume_metadata: list[dict[str, str]] | tuple[()] = ()
    volume_attachment: tuple[()] = ()  # none: glance_store detaches a volume before it has it extended
    launched_at: datetime | None = None
    scheduled_at: datetime | None = None
    terminated_at: datetime | None = None
    # Further keys of the API's answer to an upload.
    updated_at = None
    display_description = None
    previous_status = None  # while an upload runs

    def __post_init__(self, db: Database) -> None:
        self._db, self.node = db, 0
        db.rows += 1
        self.number = db.rows  # in the order of `created_at`

    def keys(self) -> KeysView[str]:
        return FIELDS.keys()

    def get(self, key: str, default: Any = None) -> Any:
        return getattr(self, key, default)

    __getitem__ = object.__getattribute__

    def __contains__(self, key: str) -> bool:
        return key in FIELDS

    @property
    def model(self) -> Volume:
        """Columns in a `conditional_update`: their values before the update."""
        return self

    @property
    def volume_type(self) -> SimpleNamespace:
        return SimpleNamespace(extra_specs=self._db.extra_specs.get(self.volume_type_id, {}))

    @property
    def name(self) -> str:
        return f"volume-{self.id}"

    @property
    def pool(self) -> str:
        """The pool's host in the scenario (backend#pool); '' while no backend has the volume."""
        return scenarios_own(self.host or "")

    @property
    def is_clustered(self) -> bool:
        return bool(self.cluster_name)

    @property
    def service_topic_queue(self) -> str:
        return self.cluster_name or self.host

    def update(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            setattr(self, name, value)

    def create(self) -> None:
        self.id = self._db.new_id()
        self._db.volumes[self.id] = self

    def save(self) -> None:
        """Nothing to write: this object is the row."""

    def refresh(self) -> None:
        if self.id not in self._db.volumes:
            raise exception.VolumeNotFound(volume_id=self.id)

    def destroy(self) -> None:
        self._db.volumes.pop(self.id, None)
        self._db.volume_glance_metadata_delete_by_volume(None, self.id)

    def conditional_update(
        self, values: dict[str, Any], expected_values: dict[str, Any] | None = None, filters: Any = ()
    ) -> bool:
        """Update if the status is one of the expected ones, and, with `filters`, without snapshots.

        Cinder gives the filters for deletes alone. Other conditions are not simulated.
        """
        if self.status not in (expected_values or {}).get("status", (self.status,)) or (
            filters and self._db.snapshots.get(self.id)
        ):
            return False
        self.update(values)
        return True

    def obj_as_admin(self) -> AbstractContextManager[None]:
        return nullcontext()

    def obj_name(self) -> str:
        return "Volume"

    def populate_consistencygroup(self) -> None: ...

    def assert_not_frozen(self) -> None: ...

    def is_migration_target(self) -> bool:
        return False


FIELDS = dict.fromkeys(Volume.__slots__)


class VolumeClass:
    """Stands for the class `cinder.objects.Volume`: makes and finds volumes of one database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def __call__(self, context: Any = None, **values: Any) -> Volume:
        return Volume(self._db, **values)

    def get_by_id(self, context: Any, volume_id: str) -> Volume:
        volume = self._db.volumes.get(volume_id)
        if volume is None:
            raise exception.VolumeNotFound(volume_id=volume_id)
        return volume


class Database(EarlierCalls):
    """Cinder's tables. `on_entry` receives cache entries that are made (`create`), used and gone (`delete`).

    An entry has the columns of Cinder's table, its `pool` (backend#pool) and `uses`, which counts the uses of
    all entries up to its last one: in the order of `last_used`, but without ties at the start.
    """

    def __init__(self, clock: Clock, on_entry: Callable[[str, Entry], None]) -> None:
        self.volumes: dict[str, Volume] = {}
        self.snapshots: dict[str, dict[str, Any]] = {}  # by volume, then by ID
        self.extra_specs: dict[str, dict[str, str]] = {}  # of a volume type, as far as they matter
        self.clock = clock
        self.on_entry = on_entry
        # Per scope (a pool's cluster name, or its host), the last used entry at the end: readings of
        # the clock only grow, so order of use is order of `last_used`.
        self._used: dict[str, OrderedDict[str, Entry]] = {}
        # Per scope and image, in the same order: a look-up takes the last one, which remains the last one.
        self._of_image: dict[tuple[str, str], list[Entry]] = {}
        self._entries: dict[str, Entry] = {}
        self._uses = 0
        self._glance_metadata: dict[str, dict[str, str]] = {}
        self._ids = 0
        self.rows = 0  # rows of `volumes` ever made

    def new_id(self) -> str:
        """The next id for a volume that Cinder makes by itself."""
        self._ids += 1
        return f"00000000-0000-0000-0000-{self._ids:012x}"

    # -- image_volume_cache_entries ----------------------------------------------------------

    @repeats("cinder.db.api", "image_volume_cache_create")
    def image_volume_cache_create(
        self,
        context: Any,
        host: str,
        cluster_name: str | None,
        image_id: str,
        image_updated_at: datetime,
        volume_id: str,
        size: int,
    ) -> Entry:
        now = self.clock.utcnow()
        entry = self.add_entry(host, cluster_name, image_id, image_updated_at, volume_id, size, now)
        self.on_entry("create", entry)
        return entry

    def add_entry(
        self,
        host: str,
        cluster_name: str | None,
        image_id: str,
        image_updated_at: datetime,
        volume_id: str,
        size: int,
        last_used: datetime,
    ) -> Entry:
        """Add an entry with the latest `last_used` of its pool."""
        self._uses += 1
        entry = {
            "id": volume_id,
            "host": host,
            "cluster_name": cluster_name,
            "image_id": image_id,
            "image_updated_at": image_updated_at,
            "volume_id": volume_id,
            "size": size,
            "last_used": last_used,
            "pool": scenarios_own(host),
            "uses": self._uses,
        }
        scope = cluster_name or host
        self._used.setdefault(scope, OrderedDict())[volume_id] = entry
        self._of_image.setdefault((scope, image_id), []).append(entry)
        self._entries[volume_id] = entry
        return entry

    @repeats("cinder.db.api", "image_volume_cache_delete")
    def image_volume_cache_delete(self, context: Any, volume_id: str) -> None:
        entry = self._entries.pop(volume_id, None)
        if entry is not None:
            scope = entry["cluster_name"] or entry["host"]
            del self._used[scope][volume_id]
            same = self._of_image[scope, entry["image_id"]]
            same.remove(entry)
            if not same:
                del self._of_image[scope, entry["image_id"]]
            self.on_entry("delete", entry)

    @repeats("cinder.db.api", "image_volume_cache_get_and_update_last_used")
    def image_volume_cache_get_and_update_last_used(
        self, context: Any, image_id: str, host: str | None = None, cluster_name: str | None = None
    ) -> Entry | None:
        entry = self.entry(image_id, host, cluster_name)
        if entry is not None:
            self._uses += 1
            entry["last_used"], entry["uses"] = self.clock.utcnow(), self._uses
            self._used[entry["cluster_name"] or entry["host"]].move_to_end(entry["volume_id"])
        return entry

    @repeats("cinder.db.api", "image_volume_cache_get_by_volume_id")
    def image_volume_cache_get_by_volume_id(self, context: Any, volume_id: str) -> Entry | None:
        return self._entries.get(volume_id)

    @repeats("cinder.db.api", "image_volume_cache_get_all")
    def image_volume_cache_get_all(
        self, context: Any, host: str | None = None, cluster_name: str | None = None
    ) -> list[Entry]:
        """The entries of a pool, the last used first. Nothing here asks for those of all pools at once.

        No release asks for a whole backend, but a patched Cinder may: `patches/limits-per-backend` does.
        """
        scope = cluster_name or host or ""
        if not scope or "#" in scope:
            return list(reversed(self._used.get(scope, {}).values()))
        pools = (used.values() for name, used in self._used.items() if name.startswith(f"{scope}#"))
        return sorted(chain(*pools), key=_uses, reverse=True)

    def entries(self) -> list[Entry]:
        """All cache entries, pool by pool, least recently used first."""
        return [entry for used in self._used.values() for entry in used.values()]

    def entry(self, image_id: str, host: str | None = None, cluster_name: str | None = None) -> Entry | None:
        """An image's last used entry in a pool, or anywhere; looking at it does not count as a use."""
        scope = cluster_name or host
        if scope:
            entries = self._of_image.get((scope, image_id))
            return entries[-1] if entries else None
        anywhere = (self._of_image.get((scope, image_id)) for scope in self._used)
        return max((entries[-1] for entries in anywhere if entries), key=_uses, default=None)

    # -- volume types --------------------------------------------------------------------------

    @repeats("cinder.db.api", "volume_type_get")
    def volume_type_get(self, context: Any, id: str, expected_fields: None = None) -> dict[str, Any]:
        specs = {"volume_backend_name": id, **self.extra_specs[id]}
        return {"id": id, "name": id, "extra_specs": specs}

    # -- encryption --------------------------------------------------------------------------

    def volume_type_encryption_get(self, context: Any, volume_type_id: str) -> SimpleNamespace:
        """What encrypts a volume of a type. It is asked for encrypted volumes only."""
        return SimpleNamespace(**ENCRYPTION)

    def volume_encryption_metadata_get(self, context: Any, volume_id: str) -> dict[str, Any]:
        return {"encryption_key_id": self.volumes[volume_id].encryption_key_id, **ENCRYPTION}

    # -- volumes and their metadata ----------------------------------------------------------

    @repeats("cinder.db.api", "volume_update")
    def volume_update(self, context: Any, volume_id: str, values: dict[str, Any]) -> None:
        self.volumes[volume_id].update(values)

    @repeats("cinder.db.api", "volume_get")
    def volume_get(self, context: Any, volume_id: str) -> Volume:
        return self.volumes[volume_id]

    def volume_glance_metadata_copy_to_snapshot(self, *_: Any) -> None:
        """Nothing is made from snapshots, so nothing reads their metadata."""

    def volume_glance_metadata_delete_by_snapshot(self, *_: Any) -> None: ...

    @repeats("cinder.db.api", "volume_get_all")
    def volume_get_all(self, context: Any, filters: dict[str, Any]) -> list[Volume]:
        """The newest first, as Cinder sorts them; the order of the requested ids is arbitrary.

        The other filters, if any, are a host or a cluster name.
        """
        here = [self.volumes[volume_id] for volume_id in filters["id"] if volume_id in self.volumes]
        for key, value in filters.items():
            if key != "id":
                here = [volume for volume in here if volume[key] == value]
        return sorted(here, key=_number, reverse=True) if len(here) > 1 else here

    @repeats("cinder.db.api", "volume_data_get_for_host")
    def volume_data_get_for_host(self, context: Any, host: str, count_only: bool) -> int:
        """How many rows of `volumes` a pool has, in any status: image-volumes and failed volumes too."""
        return sum(volume.host == host for volume in self.volumes.values())

    @repeats("cinder.db.api", "volume_glance_metadata_get")
    def volume_glance_metadata_get(self, context: Any, volume_id: str) -> list[SimpleNamespace]:
        metadata = self._glance_metadata.get(volume_id)
        if not metadata:
            raise exception.GlanceMetadataNotFound(id=volume_id)
        return [SimpleNamespace(key=key, value=value) for key, value in metadata.items()]

    @repeats("cinder.db.api", "volume_glance_metadata_bulk_create")
    def volume_glance_metadata_bulk_create(
        self, context: Any, volume_id: str, metadata: dict[str, Any]
    ) -> None:
        kept = self._glance_metadata.get(volume_id)
        if not kept:
            self._glance_metadata[volume_id] = {key: str(value) for key, value in metadata.items()}
            return
        for key, value in metadata.items():
            if key in kept and not (rewrites_metadata() and kept[key] == str(value)):
                raise exception.GlanceMetadataExists(key=key, volume_id=volume_id)
            kept[key] = str(value)

    @repeats("cinder.db.api", "volume_glance_metadata_copy_from_volume_to_volume")
    def volume_glance_metadata_copy_from_volume_to_volume(
        self, context: Any, source_id: str, volume_id: str
    ) -> None:
        self._glance_metadata[volume_id] = dict(self._glance_metadata.get(source_id, {}))

    @repeats("cinder.db.api", "volume_glance_metadata_delete_by_volume")
    def volume_glance_metadata_delete_by_volume(self, context: Any, volume_id: str) -> None:
        self._glance_metadata.pop(volume_id, None)

    def volume_admin_metadata_update(self, *_: Any) -> None: ...

    def volume_metadata_update(
        self, context: Any, volume_id: str, metadata: dict[str, str], delete: bool
    ) -> None:
        volume = self.volumes[volume_id]
        kept = {pair["key"]: pair["value"] for pair in volume.volume_metadata} | metadata
        volume.volume_metadata = [{"key": key, "value": value} for key, value in kept.items()]

    @repeats("cinder.db.api", "volume_update_status_based_on_attachment")
    def volume_update_status_based_on_attachment(self, context: Any, volume_id: str) -> None:
        self.volumes[volume_id].status = "available"  # attachments are not simulated


def _number(volume: Volume) -> int:
    return volume.number


def _uses(entry: Entry) -> int:
    uses: int = entry["uses"]
    return uses
