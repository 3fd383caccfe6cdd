"""Cinder's tables as the importer reads them: which rows are users' volumes, fills or the store's.

Times are naive UTC as Cinder stores them. The rules come from Cinder's own files.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from cinder.objects import fields
from sqlalchemy import exc

from sim.cinder.release import models
from sim.inputs.problems import Problems

TABLES = {
    "volumes": "id created_at deleted_at deleted project_id host size status launched_at display_name "
    "volume_type_id snapshot_id source_volid",
    "volume_glance_metadata": "id volume_id key value created_at deleted_at",
    "volume_metadata": "volume_id key",
    "volume_admin_metadata": "volume_id key",
    "volume_types": "id name created_at deleted",
    "volume_type_extra_specs": "volume_type_id key value deleted",
    "encryption": "volume_type_id deleted",
    "image_volume_cache_entries": "id host image_id volume_id size last_used",
    "quotas": "project_id resource hard_limit deleted",
    "quota_classes": "class_name resource hard_limit deleted",
    "transfers": "volume_id",
    "services": "id host binary deleted disabled updated_at",
}
MAY_LACK = frozenset({"services"})  # tables that a dump of some tables may leave out
# Columns that some releases lack and the importer then does without.
OPTIONAL = {
    "volumes": "updated_at terminated_at use_quota cluster_name migration_status bootable "
    "display_description encryption_key_id availability_zone",
    "image_volume_cache_entries": "cluster_name",
    "transfers": "accepted",
    "services": "cluster_name",
}
# Manager: `finish_volume_migration` gives this description to the volume left at the old place.
MIGRATED = "migration src for "
FILL = "image-"
VERIFIED = "signature_verified"
ID_LENGTH = 36
# A volume in such a status that was never launched does not exist yet, or never will.
NOT_THERE = (
    fields.VolumeStatus.CREATING,
    fields.VolumeStatus.DOWNLOADING,
    fields.VolumeStatus.ERROR,
    fields.VolumeStatus.ERROR_DELETING,
    fields.VolumeStatus.DELETING,
    fields.VolumeStatus.ERROR_MANAGING,
    fields.VolumeStatus.MANAGING,
)


def reflect(connection: sa.Connection, shown: str, problems: Problems) -> Schema | None:
    """The schema that a database really has; None, with problems noted, if it is not Cinder's."""
    inspector = sa.inspect(connection)
    there = set(inspector.get_table_names())
    lacking = [name for name in TABLES if name not in there | MAY_LACK]
    if len(lacking) == len(TABLES) - len(MAY_LACK):
        what = "has none of Cinder's tables: it is another database, or an empty one"
        problems.add(shown, "", f"{what} (it has {len(there)} tables)")
        return None
    for name in lacking:
        problems.add(shown, f"table {name}", "is missing: this is not a complete Cinder database")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", exc.SAWarning)  # of types that only this database has
        columns = {
            name: {column["name"] for column in inspector.get_columns(name)}
            for name in TABLES
            if name in there
        }
    for name, found in columns.items():
        for column in sorted(set(TABLES[name].split()) - found):
            problems.add(shown, f"table {name}", f"column {column} is missing")
            lacking.append(name)
    return None if lacking else Schema({name: columns.get(name, set()) for name in TABLES})


class Schema:
    """Cinder's tables, of any release: columns that are missing are null.

    `tenant` is the internal tenant's project, if known.
    """

    def __init__(self, columns: Mapping[str, set[str]], tenant: str | None = None) -> None:
        self.columns, self.tenant = columns, tenant
        tables = models.BASE.metadata.tables
        self.volumes: sa.Table = tables["volumes"]
        self.glance: sa.Table = tables["volume_glance_metadata"]
        self.types: sa.Table = tables["volume_types"]
        self.specs: sa.Table = tables["volume_type_extra_specs"]
        self.encryption: sa.Table = tables["encryption"]
        self.entries: sa.Table = tables["image_volume_cache_entries"]
        self.quotas: sa.Table = tables["quotas"]
        self.quota_classes: sa.Table = tables["quota_classes"]
        self.transfers: sa.Table = tables["transfers"]
        self.services: sa.Table = tables["services"]
        self._metadata: sa.Table = tables["volume_metadata"]
        self._admin_metadata: sa.Table = tables["volume_admin_metadata"]

    def column(self, table: Any, name: str) -> sa.ColumnElement[Any]:
        """A column of a table or its alias, or a null of the column's type if this database lacks it."""
        if name in self.columns[getattr(table, "element", table).name]:
            return table.c[name]  # type: ignore[no-any-return]
        return sa.cast(sa.null(), table.c[name].type)

    def read(self) -> Iterator[list[sa.Column[Any]]]:
        """For each table, those of its columns that the importer reads and this database has."""
        for name, required in TABLES.items():
            names = [*required.split(), *OPTIONAL.get(name, "").split()]
            columns = models.BASE.metadata.tables[name].c
            yield [columns[column] for column in names if column in self.columns[name]]

    @cached_property
    def _origins(self) -> sa.Subquery:
        """Original place and time of volumes that were later copied to another place.

        `Volume.finish_volume_migration` swaps nearly all fields of the two rows: the volume's own row gets
        the copy's times, and the deleted row keeps those of the volume.
        """
        old = self.volumes.alias("old")
        text = self.column(old, "display_description")
        # Cast to an id's type: MariaDB cannot index longer text and sqlite indexes only text,
        # so both would compare all rows with all.
        of = sa.cast(sa.func.substr(text, len(MIGRATED) + 1), sa.String(ID_LENGTH))
        order = sa.func.row_number().over(partition_by=of, order_by=(old.c.created_at, old.c.id))
        every = (
            sa.select(of.label("volume_id"), old.c.created_at, old.c.launched_at, old.c.host)
            .add_columns(order.label("number"))
            .where(text.like(f"{MIGRATED}%"), self._temporary(old))
            .subquery("migrated")
        )
        # Not `== 1`: sqlite would look rows up by that, and then search all of them for a volume.
        return sa.select(every).where(every.c.number < 2).subquery("origin")

    def _temporary(self, volumes: sa.FromClause) -> sa.ColumnElement[bool]:
        """Volumes that Cinder made for itself (always true before Yoga, which cannot show it)."""
        counted = self.column(volumes, "use_quota")
        return sa.not_(counted) if "use_quota" in self.columns["volumes"] else sa.true()

    def _rows(self, *where: sa.ColumnElement[bool]) -> sa.Subquery:
        """Volumes as the importer sees them: `made`, `gone` (delete requested; null = still exists), …"""
        v, origin = self.volumes, self._origins
        made = sa.func.coalesce(origin.c.created_at, v.c.created_at)
        asked = self.column(v, "terminated_at")  # API.delete sets it if the volume has a host
        gone = sa.case(
            (
                v.c.deleted.is_(True),
                sa.case(
                    (asked.between(made, v.c.deleted_at), asked),
                    (v.c.deleted_at >= made, v.c.deleted_at),
                    else_=made,
                ),
            )
        )
        nothing = sa.and_(v.c.source_volid.is_(None), v.c.snapshot_id.is_(None))
        return (
            sa.select(
                v.c.id,
                made.label("made"),
                gone.label("gone"),
                asked.label("asked"),
                v.c.launched_at.label("launched"),
                sa.func.coalesce(origin.c.launched_at, v.c.launched_at).label("ready"),
                sa.func.coalesce(origin.c.host, v.c.host, "").label("host"),
                sa.func.coalesce(v.c.size, 0).label("size"),
                v.c.volume_type_id.label("type_id"),
                sa.func.coalesce(v.c.project_id, "").label("project"),
                self.column(v, "encryption_key_id").is_not(None).label("encrypted"),
                nothing.label("from_nothing"),
                sa.func.coalesce(self.column(v, "availability_zone"), "").label("zone"),
                v.c.display_name,
                v.c.deleted,
                v.c.deleted_at,
                v.c.status,
                origin.c.volume_id.is_not(None).label("found_origin"),
                self.column(v, "migration_status").label("migration_status"),
                self.column(v, "bootable").label("bootable"),
            )
            .select_from(v.outerjoin(origin, origin.c.volume_id == v.c.id))
            .where(*where)
            .subquery("volume")
        )

    @property
    def launched(self) -> sa.ColumnElement[bool]:
        """Volumes that an array has or had: each has a host."""
        v = self.volumes
        status = sa.func.coalesce(v.c.status, "")
        never = sa.or_(v.c.deleted.is_(True), status.in_([str(status) for status in NOT_THERE]))
        placed = sa.func.coalesce(v.c.host, "") != ""
        return sa.and_(placed, sa.or_(v.c.launched_at.is_not(None), sa.not_(never)))

    @property
    def sized(self) -> sa.ColumnElement[bool]:
        return sa.func.coalesce(self.volumes.c.size, 0) > 0

    @property
    def in_store(self) -> sa.ColumnElement[bool]:
        """Image-volumes of the Cinder store.

        Made by glance_store's cinder driver, or by `VolumeManager._clone_image_volume_and_add_location`.
        """
        v, key = self.volumes, self._metadata
        marked = sa.exists().where(key.c.volume_id == v.c.id, key.c.key == "glance_image_id")
        return sa.and_(self.named_as_image, marked)

    @property
    def named_as_image(self) -> sa.ColumnElement[bool]:
        return sa.func.coalesce(self.volumes.c.display_name, "").like(f"{FILL}%")

    @property
    def lasting(self) -> sa.ColumnElement[bool]:
        """Volumes other than those that Cinder makes for a while, to migrate, revert or back up."""
        v, key = self.volumes, self._admin_metadata
        target = sa.func.coalesce(self.column(v, "migration_status"), "").like("target:%")
        if "use_quota" in self.columns["volumes"]:
            return sa.and_(sa.not_(target), sa.func.coalesce(v.c.use_quota, sa.true()))
        marked = sa.exists().where(key.c.volume_id == v.c.id, key.c.key == "temporary")  # before Yoga
        left = sa.func.coalesce(self.column(v, "display_description"), "").like(f"{MIGRATED}%")
        return sa.not_(sa.or_(target, left, marked))

    @property
    def internal(self) -> sa.ColumnElement[bool]:
        return sa.func.coalesce(self.volumes.c.project_id, "") == (self.tenant or "")

    def of_users(self) -> list[sa.ColumnElement[bool]]:
        found = [self.lasting, sa.not_(self.in_store), self.sized]
        return [*found, sa.not_(self.internal)] if self.tenant else found

    def users(self) -> sa.Subquery:
        """Users' volumes that were made: the rows of a trace."""
        return self._rows(*self.of_users(), self.launched)

    def failed(self) -> sa.Subquery:
        """Users' volumes whose create failed; Cinder does not keep their image."""
        return self._rows(*self.of_users(), sa.not_(self.launched))

    def fills(self) -> sa.Subquery:
        """Image-volumes of the cache, evicted ones included (`VolumeManager._clone_image_volume`)."""
        internal = self.internal if self.tenant else sa.false()
        named = self.named_as_image
        # A name of the prefix alone is not that of an image.
        named = sa.and_(named, self.volumes.c.display_name != FILL)
        made = self.lasting, sa.not_(self.in_store), self.launched, self.sized
        return self._rows(internal, named, *made)

    def others(self) -> sa.Subquery:
        """The internal tenant's other volumes."""
        internal = self.internal if self.tenant else sa.false()
        named = self.named_as_image
        return self._rows(internal, self.lasting, sa.not_(named), self.launched, self.sized)

    def stored(self) -> sa.Subquery:
        """Image-volumes of the Cinder store."""
        return self._rows(self.in_store, self.lasting, self.launched, self.sized)

    def unsized(self) -> sa.Subquery:
        """Volumes without a size that a volume can have."""
        return self._plain(self.lasting, self.launched, sa.not_(self.sized))

    def undated(self) -> sa.Subquery:
        """Volumes of which it is not known when they were made."""
        return self._plain(self.lasting, self.launched, self.volumes.c.created_at.is_(None))

    def _plain(self, *where: sa.ColumnElement[bool]) -> sa.Subquery:
        return sa.select(self.volumes.c.id).where(*where).subquery()

    @cached_property
    def images(self) -> sa.Subquery:
        """The image that each volume was made from: `id` (of the row), `volume_id`, `image_id`, `written`.

        The oldest row counts, soft-deleted or not: `VolumeManager.reimage` deletes it and writes another.
        """
        row, older = self.glance.alias("row"), self.glance.alias("older")
        before = sa.exists().where(
            older.c.volume_id == row.c.volume_id, older.c.key == "image_id", older.c.id < row.c.id
        )
        return (
            sa.select(
                row.c.id, row.c.volume_id, row.c.value.label("image_id"), row.c.created_at.label("written")
            )
            .where(row.c.key == "image_id", row.c.volume_id.is_not(None), sa.not_(before))
            .subquery("image")
        )

    def with_image(self, volumes: sa.Subquery) -> sa.Join:
        """Volumes, each with the image from which it was made, if any.

        Clones have copies of their source's metadata. Metadata written after the volume was ready comes from
        a reimage or from a user.
        """
        image = self.images
        return volumes.outerjoin(
            image,
            sa.and_(
                image.c.volume_id == volumes.c.id,
                volumes.c.from_nothing,
                image.c.written <= volumes.c.launched,
            ),
        )

    def downloaded(
        self, volume_id: sa.ColumnElement[str], launched: sa.ColumnElement[datetime]
    ) -> sa.ColumnElement[bool]:
        """Whether a volume was downloaded: only then Cinder records whether it verified the signature.

        `CreateVolumeFromSpecTask._create_from_image_cache_or_download`, unless `verify_glance_signatures` is
        disabled. What an attempt wrote that failed on another backend before does not count: the task deletes
        its rows then, before the volume is launched.
        """
        row = self.glance.alias("signature")
        kept = sa.or_(row.c.deleted_at.is_(None), row.c.deleted_at >= launched)
        return sa.exists().where(row.c.volume_id == volume_id, row.c.key == VERIFIED, kept)

    def any_download(self, after: int = 0) -> sa.Select[Any]:
        """A row that only a download writes, among the rows of image metadata after a key."""
        row = self.glance.c
        return sa.select(row.id).where(row.id > after, row.key == VERIFIED).limit(1)

    def events(self, since: datetime, until: datetime) -> sa.Select[Any]:
        """All events in [since, until), ordered: by time, creates before deletes, by id."""
        made, gone = self.users(), self.users()
        image_id = sa.func.coalesce(self.images.c.image_id, "").label("image_id")
        downloaded = self.downloaded(made.c.id, made.c.launched).label("downloaded")
        creates = (
            sa.select(made.c.made.label("time"), sa.literal(0).label("delete"), made.c.id, image_id)
            .add_columns(made.c.size, made.c.type_id, made.c.host, made.c.project, made.c.encrypted)
            .add_columns(made.c.ready, downloaded, made.c.zone)
            .select_from(self.with_image(made))
            .where(made.c.made >= since, made.c.made < until)
        )
        blank = sa.literal("")
        deletes = (
            sa.select(gone.c.gone, sa.literal(1), gone.c.id, blank, sa.literal(0), blank, blank, blank)
            .add_columns(sa.false(), sa.null(), sa.false(), blank)
            .where(gone.c.gone >= since, gone.c.gone < until)
        )
        both = sa.union_all(creates, deletes).subquery("event")
        return sa.select(both).order_by(both.c.time, both.c.delete, both.c.id)
