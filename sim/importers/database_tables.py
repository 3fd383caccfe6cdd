"""Tables of a database's period that fit in memory: everything except its events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import pandas as pd
import sqlalchemy as sa

from sim.importers.database_schema import FILL, Schema
from sim.importers.database_span import Span
from sim.importers.names import NO_TYPE
from sim.importers.notes import Note
from sim.importers.values import file_bytes

IMAGE_KEYS = {
    "image_name": "name",
    "disk_format": "disk_format",
    "container_format": "container_format",
    "size": "size_bytes",
}
INITIAL = {
    "kind": "category",
    "volume_id": "str",
    "image_id": "str",
    "size_gib": "int64",
    "host": "category",
    "last_used": "datetime64[us, UTC]",
    "project": "category",
}
SILENT = timedelta(days=1)
CHUNK = 500  # values of one IN (…)


@dataclass(frozen=True)
class Asked:
    """The period [since, until) to read (naive UTC) over a connection; `types`: names by id.

    `whole`: the extent of all the data.
    """

    connection: sa.Connection
    schema: Schema
    since: datetime
    until: datetime
    types: Mapping[str | None, str]
    whole: Span

    def there(self, volumes: sa.Subquery) -> sa.ColumnElement[bool]:
        """Made before the end of the period and not deleted before its start."""
        gone = volumes.c.gone
        return sa.and_(volumes.c.made < self.until, sa.or_(gone.is_(None), gone >= self.since))

    def at_start(self, volumes: sa.Subquery) -> sa.ColumnElement[bool]:
        """Existing when the period begins."""
        return sa.and_(self.there(volumes), volumes.c.made < self.since)

    @cached_property
    def fills(self) -> pd.DataFrame:
        """All fills of the cache, in the order in which they were made."""
        volumes = self.schema.fills()
        statement = sa.select(
            volumes.c.id.label("volume_id"),
            volumes.c.host,
            sa.func.substr(volumes.c.display_name, len(FILL) + 1).label("image_id"),
            volumes.c.made.label("created_at"),
            volumes.c.gone.label("deleted_at"),
            volumes.c.asked.label("asked"),
            volumes.c.size.label("size_gib"),
        ).order_by(volumes.c.made, volumes.c.id)
        return self.frame(statement, ("created_at", "deleted_at", "asked"))

    def frame(self, statement: sa.Select[Any], times: Iterable[str] = ()) -> pd.DataFrame:
        """The rows as a table; `times` become times in UTC."""
        result = self.connection.execute(statement)
        table = pd.DataFrame(result.all(), columns=list(result.keys()))
        for name in times:
            table[name] = pd.to_datetime(table[name].astype("datetime64[us]"), utc=True)
        return table


def find_tenant(connection: sa.Connection, schema: Schema, notes: list[Note]) -> str | None:
    """The project that owns most of the cache entries that exist now."""
    volumes, entries = schema.volumes, schema.entries
    owners = connection.execute(
        sa.select(volumes.c.project_id, sa.func.count().label("owned"))
        .join(entries, entries.c.volume_id == volumes.c.id)
        .group_by(volumes.c.project_id)
        .order_by(sa.desc("owned"), volumes.c.project_id)
    ).all()
    if not owners:
        text = (
            "the cache's tenant: the database has no cache entry that shows it, so former image-volumes of "
            "the cache count as users' volumes; cinder.conf names the tenant (--conf)"
        )
        notes.append(Note("unknown", text))
        return None
    text = f"the cache's tenant is project {owners[0][0]}, which owns the cached image-volumes"
    notes.append(Note("read", text))
    return str(owners[0][0])


def volume_types(connection: sa.Connection, schema: Schema) -> tuple[pd.DataFrame, dict[str | None, str]]:
    """The types, deleted ones too, and their names by id. If several share a name, the live one counts."""
    types, encryption = schema.types, schema.encryption
    backends = _specs(connection, schema, "volume_backend_name", "capabilities:volume_backend_name")
    provisioned = _specs(connection, schema, "provisioning:type")
    attached = _specs(connection, schema, "multiattach")
    stores = _specs(connection, schema, "image_service:store_id")
    encrypted = set(
        connection.scalars(sa.select(encryption.c.volume_type_id).where(encryption.c.deleted.is_not(True)))
    )
    rows = connection.execute(
        sa.select(types.c.id, types.c.name).order_by(types.c.deleted.is_(True).desc(), types.c.created_at)
    ).all()
    names: dict[str | None, str] = {key: name or key for key, name in rows}
    named = {
        name: (
            name,
            backends.get(key) or "",
            key in encrypted,
            provisioned.get(key) == "thick",
            attached.get(key) == "<is> True",
            stores.get(key) or "",
        )
        for key, name in names.items()
    }
    names |= {None: NO_TYPE, "": NO_TYPE}
    columns = ["volume_type", "volume_backend_name", "encrypted", "thick", "multiattach"]
    columns.append("image_service_store_id")
    return pd.DataFrame(sorted(named.values()), columns=columns), names


def _specs(connection: sa.Connection, schema: Schema, *keys: str) -> dict[str | None, str]:
    """The value of an extra spec by volume type: deleted specs count of deleted types only."""
    types, specs = schema.types, schema.specs
    found = connection.execute(
        sa.select(specs.c.volume_type_id, specs.c.value)
        .join(types, types.c.id == specs.c.volume_type_id)
        .where(
            specs.c.key.in_(keys),
            sa.or_(specs.c.deleted.is_not(True), types.c.deleted.is_(True)),
        )
        .order_by(specs.c.deleted.is_(True).desc())
    )
    return {row[0]: row[1] for row in found}


def images(asked: Asked) -> pd.DataFrame:
    """Images of volumes in the period or at its start: `newest` is the newest metadata row of each."""
    schema, volumes = asked.schema, asked.schema.users()
    image = schema.images
    made = sa.case((volumes.c.made >= asked.since, 1), else_=0)
    return asked.frame(
        sa.select(
            image.c.image_id,
            sa.func.min(volumes.c.size).label("smallest_gib"),
            sa.func.sum(made).label("creates"),
            sa.func.max(image.c.id).label("newest"),
            sa.func.sum(sa.case((image.c.written < volumes.c.made, 1), else_=0)).label("late"),
        )
        .select_from(schema.with_image(volumes))
        .where(asked.there(volumes), image.c.image_id.is_not(None))
        .group_by(image.c.image_id)
        .order_by(image.c.image_id)
    )


def with_metadata(
    asked: Asked, found: pd.DataFrame, cached: Iterable[str], stored: pd.DataFrame
) -> pd.DataFrame:
    """The images with names, formats and sizes from their newest volumes, and virtual sizes from fills.

    `cached`: images of cache entries at the start, which may have no volume of their own in the period.
    """
    table = asked.schema.glance
    newest = dict(zip(found["image_id"], found["newest"].astype(int), strict=True))
    others = sorted(set(cached) - set(newest))
    for some in _chunks(others):
        newest |= dict(
            asked.connection.execute(
                sa.select(table.c.value, sa.func.max(table.c.id))
                .where(table.c.key == "image_id", table.c.value.in_(some), table.c.volume_id.is_not(None))
                .group_by(table.c.value)
            ).all()
        )
    extra = pd.DataFrame({"image_id": others, "creates": 0})
    images = pd.concat([found, extra], ignore_index=True).sort_values("image_id", ignore_index=True)
    told = _metadata(asked, newest)
    for key, name in IMAGE_KEYS.items():
        images[name] = [told.get(image, {}).get(key, "") for image in images["image_id"]]
    images["size_bytes"] = pd.Series(map(file_bytes, images["size_bytes"]), dtype="Int64")
    virtual = asked.fills.groupby("image_id")["size_gib"].min().to_dict()
    images["virtual_gib"] = images["image_id"].map(virtual).astype(float)
    images["smallest_gib"] = images["smallest_gib"].astype(float)
    images["creates"] = images["creates"].astype("int64")
    hosts = {image: list(dict.fromkeys(of)) for image, of in stored.groupby("image_id")["host"]}
    images["store_hosts"] = [hosts.get(image, []) for image in images["image_id"]]
    columns = ["image_id", *IMAGE_KEYS.values(), "virtual_gib", "smallest_gib", "store_hosts", "creates"]
    return images[columns]


def _chunks(values: list[Any]) -> Iterator[list[Any]]:
    for first in range(0, len(values), CHUNK):
        yield values[first : first + CHUNK]


def _metadata(asked: Asked, rows: Mapping[str, int]) -> dict[str, dict[str, str]]:
    """Glance's metadata of images at the time of the create: by image, from numbers of metadata rows."""
    row, other = asked.schema.glance.alias("row"), asked.schema.glance.alias("other")
    found: dict[str, dict[str, str]] = {}
    for some in _chunks(list(rows.values())):
        statement = (
            sa.select(row.c.value, other.c.key, other.c.value)
            .join(other, other.c.volume_id == row.c.volume_id)
            .where(row.c.id.in_(some), other.c.key.in_(list(IMAGE_KEYS)))
            .order_by(other.c.id.desc())  # a reimaged volume keeps its first image
        )
        for image, key, value in asked.connection.execute(statement):
            found.setdefault(image, {})[key] = value
    return found


def stored(asked: Asked) -> pd.DataFrame:
    """Image-volumes of the Cinder store: image, host and volume type of each."""
    volumes = asked.schema.stored()
    found = asked.frame(
        sa.select(volumes.c.display_name, volumes.c.host, volumes.c.type_id)
        .where(asked.there(volumes), volumes.c.host != "")
        .distinct()
        .order_by(volumes.c.display_name, volumes.c.host)
    )
    found["image_id"] = [name[len(FILL) :] for name in found["display_name"]]
    found["volume_type"] = [asked.types.get(key, key) for key in found["type_id"]]
    return found[["image_id", "host", "volume_type"]]


def fills(asked: Asked) -> pd.DataFrame:
    """The cache's fills in the period."""
    made = asked.fills["created_at"]
    in_period = (made >= pd.Timestamp(asked.since, tz="UTC")) & (made < pd.Timestamp(asked.until, tz="UTC"))
    return asked.fills[in_period].drop(columns="asked").reset_index(drop=True)


def entries(asked: Asked) -> pd.DataFrame:
    """Today's entries of the cache."""
    table = asked.schema.entries
    return asked.frame(
        sa.select(
            sa.func.coalesce(table.c.host, "").label("host"),
            sa.func.coalesce(table.c.image_id, "").label("image_id"),
            table.c.size.label("size_gib"),
            table.c.last_used,
            table.c.volume_id,
        ).order_by(table.c.host, table.c.image_id, table.c.id),
        ("last_used",),
    )


def placements(asked: Asked) -> pd.DataFrame:
    """How many volumes of each type were on each host."""
    volumes = asked.schema.users()
    keys = volumes.c.host, volumes.c.type_id
    found = asked.frame(
        sa.select(*keys, sa.func.count().label("volumes"))
        .where(asked.there(volumes), volumes.c.host != "")
        .group_by(*keys)
    )
    found["volume_type"] = [asked.types.get(key, key) for key in found["type_id"]]
    return found.groupby(["host", "volume_type"], as_index=False).agg({"volumes": "sum"})


def clusters(asked: Asked) -> pd.DataFrame:
    """The cluster of each host that has or had a volume or a cache entry in one.

    `VolumeManager._set_resource_host` gives a clustered volume the host of the node that made it.
    """
    found = []
    for table in (asked.schema.volumes, asked.schema.entries):
        cluster = asked.schema.column(table, "cluster_name")
        statement = sa.select(table.c.host, cluster.label("cluster")).distinct()
        found.append(asked.frame(statement.where(cluster != "", table.c.host != "")))
    every = pd.concat(found).drop_duplicates()
    return every.astype("str").sort_values(["host", "cluster"], ignore_index=True)


def services(asked: Asked) -> pd.DataFrame:
    """The services of cinder-volume: host, cluster ('' = none), why ('' = it takes creates).

    A day without a heartbeat is measured from the newest one of all services. `objects.Service.is_up` waits
    for a minute, which a restart takes too.
    """
    table, schema = asked.schema.services, asked.schema
    if not schema.columns["services"]:
        return pd.DataFrame(columns=["host", "cluster", "why"], dtype="str")
    cluster, beat = schema.column(table, "cluster_name"), table.c.updated_at
    disabled = sa.func.coalesce(table.c.disabled, sa.false())
    last = asked.connection.scalar(sa.select(sa.func.max(beat)))
    silent = sa.false() if last is None else sa.func.coalesce(beat, last) < last - SILENT
    statement = sa.select(table.c.host, sa.func.coalesce(cluster, "").label("cluster")).where(
        table.c.binary == "cinder-volume", table.c.deleted.is_not(True), table.c.host != ""
    )
    why = sa.case((disabled, "disabled"), (silent, "not heard of for a day"), else_="")
    found = asked.frame(statement.add_columns(why.label("why")).order_by(table.c.host, table.c.id))
    return found.drop_duplicates("host", keep="last").astype("str").reset_index(drop=True)


def zones(asked: Asked) -> dict[str, str]:
    """The availability zone of each host: the one that most volumes there have."""
    volumes = asked.schema.users()
    found = sa.select(volumes.c.host, volumes.c.zone).where(asked.there(volumes), volumes.c.zone != "")
    counted = found.add_columns(sa.func.count().label("volumes")).group_by(volumes.c.host, volumes.c.zone)
    ordered = counted.order_by("volumes", volumes.c.zone)
    return {host: zone for host, zone, _ in asked.connection.execute(ordered)}


def quotas(asked: Asked) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
    """Limits by resource: the own ones of each project, and those of the default class."""
    own, classes = asked.schema.quotas, asked.schema.quota_classes
    found: dict[str, dict[str, int]] = {}
    for project, resource, limit in _limits(asked, own, own.c.project_id):
        found.setdefault(project or "", {})[resource] = int(limit)
    default = _limits(asked, classes, classes.c.class_name)
    return found, {resource: int(limit) for name, resource, limit in default if name == "default"}


def _limits(asked: Asked, table: sa.Table, owner: sa.ColumnElement[Any]) -> Iterable[Any]:
    return asked.connection.execute(
        sa.select(owner, table.c.resource, table.c.hard_limit)
        .where(table.c.deleted.is_not(True), table.c.hard_limit.is_not(None), table.c.resource != "")
        .order_by(owner, table.c.resource)
    )


def usage(schema: Schema, since: datetime, until: datetime) -> sa.Select[Any]:
    """Users' volumes in the period: project, host, type_id, size_gib, made, gone (null: still exists)."""
    volumes = schema.users()
    columns = (
        volumes.c.project,
        volumes.c.host,
        volumes.c.type_id,
        volumes.c.size,
        volumes.c.made,
        volumes.c.gone,
    )
    return sa.select(*columns).where(
        volumes.c.made < until, sa.or_(volumes.c.gone.is_(None), volumes.c.gone >= since)
    )


def initial(asked: Asked, notes: list[Note]) -> pd.DataFrame:
    """Volumes and cache entries that exist when the period begins."""
    if asked.since <= asked.whole.first:
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in INITIAL.items()})
    volumes = asked.schema.users()
    users = asked.frame(
        sa.select(
            sa.literal("volume").label("kind"),
            volumes.c.id.label("volume_id"),
            sa.func.coalesce(asked.schema.images.c.image_id, "").label("image_id"),
            volumes.c.size.label("size_gib"),
            volumes.c.host,
            volumes.c.project,
        )
        .select_from(asked.schema.with_image(volumes))
        .where(asked.at_start(volumes))
        .order_by(volumes.c.made, volumes.c.id)
    )
    cached, orphans = _cached(asked)
    if len(orphans):
        text = (
            f"{len(orphans)} image-volumes were evicted before the period but remain on their arrays: they "
            "take space as volumes; delete those that no longer have clones"
        )
        notes.append(Note("read", text))
    table = pd.concat([users, orphans, cached], ignore_index=True)
    return table[list(INITIAL)].astype(INITIAL)


def _cached(asked: Asked) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cache entries at the start of the period, and image-volumes that no longer had an entry."""
    begin = pd.Timestamp(asked.since, tz="UTC")
    found = asked.fills.merge(entries(asked)[["volume_id", "last_used"]], on="volume_id", how="left")
    found = found.assign(project=asked.schema.tenant or "")
    found = found[(found["created_at"] < begin) & ~(found["deleted_at"] < begin)]
    evicted = (found["asked"] < begin) & found["last_used"].isna()
    orphans = found[evicted].assign(kind="volume", image_id="")
    live = found[~evicted].assign(kind="cache").drop_duplicates(["host", "image_id"], keep="last")
    live = live.merge(_last_creates(asked), on=["host", "image_id"], how="left")
    guessed = live["last"].where(live["last"] > live["created_at"], live["created_at"])
    live["last_used"] = live["last_used"].where(live["last_used"] < begin, guessed)
    columns = ["kind", "volume_id", "image_id", "size_gib", "host", "last_used", "project"]
    return live[columns].sort_values(["last_used", "host", "image_id"]), orphans[columns]


def _last_creates(asked: Asked) -> pd.DataFrame:
    """The last create of each image on each host before the period; encrypted volumes use no cache."""
    volumes = asked.schema.users()
    image = asked.schema.images
    return asked.frame(
        sa.select(volumes.c.host, image.c.image_id, sa.func.max(volumes.c.made).label("last"))
        .select_from(asked.schema.with_image(volumes))
        .where(volumes.c.made < asked.since, sa.not_(volumes.c.encrypted), image.c.image_id.is_not(None))
        .group_by(volumes.c.host, image.c.image_id),
        ("last",),
    )
