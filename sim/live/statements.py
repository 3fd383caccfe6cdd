"""The queries of a watch. Each uses an index that Cinder's own migrations make.

Cinder has no index on `created_at` or `updated_at`. But `volume_glance_metadata` has an ascending key, and
every create from an image writes rows there when it ends. So the newest keys lead to the newest creates.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from sim.cinder.release import models
from sim.importers.database_schema import FILL, Schema


def newest(schema: Schema) -> sa.Select[Any]:
    """The last key of image metadata."""
    return sa.select(sa.func.max(schema.glance.c.id))


def at_or_after(schema: Schema, key: int) -> sa.Select[Any]:
    """The first row of image metadata from a key on: its key and its time."""
    row = schema.glance.c
    return sa.select(row.id, row.created_at).where(row.id >= key).order_by(row.id).limit(1)


def creates(schema: Schema, after: int, until: int) -> sa.Select[Any]:
    """Users' volumes from images whose metadata has a key in (after, until]: made, or being made."""
    image = schema.images
    return _creates(schema, image).where(image.c.id > after, image.c.id <= until)


def pending(schema: Schema, volumes: Iterable[str]) -> sa.Select[Any]:
    """The same for volumes by their ids."""
    image = schema.images
    return _creates(schema, image).where(image.c.volume_id.in_(list(volumes)))


def _creates(schema: Schema, image: sa.Subquery) -> sa.Select[Any]:
    """key, id, written, host, type_id, created_at, launched_at, deleted, status, encrypted, downloaded.

    Unlike a time of the import, `created_at` of a volume that Cinder migrated is that of its last copy.
    """
    v = schema.volumes
    nothing = sa.and_(v.c.source_volid.is_(None), v.c.snapshot_id.is_(None))
    return (
        sa.select(
            image.c.id.label("key"),
            v.c.id,
            image.c.written,
            place(schema, v).label("host"),
            v.c.volume_type_id.label("type_id"),
            v.c.created_at,
            v.c.launched_at,
            v.c.deleted,
            v.c.status,
            schema.column(v, "encryption_key_id").is_not(None).label("encrypted"),
            schema.downloaded(v.c.id, v.c.launched_at).label("downloaded"),
        )
        .select_from(image.join(v, v.c.id == image.c.volume_id))
        .where(nothing, *schema.of_users(), sa.or_(v.c.launched_at.is_(None), _by_launch(image, v)))
    )


def _by_launch(image: sa.Subquery, volumes: sa.Table) -> sa.ColumnElement[bool]:
    """As `Schema.with_image`: metadata that is written later comes from a reimage or from a user."""
    written: sa.ColumnElement[bool] = image.c.written <= volumes.c.launched_at
    return written


def image_volumes(
    schema: Schema,
    deleted: sa.ColumnElement[bool],
    since: datetime | None = None,
    volumes: Iterable[str] | None = None,
) -> sa.Select[Any]:
    """The cache's image-volumes: those that exist, or those deleted since a time (None: ever).

    `volumes`: of these ids only.

    id, host, image_id, size, status, launched_at, asked (to be deleted), deleted_at.
    """
    v = schema.volumes
    statement = sa.select(
        v.c.id,
        place(schema, v).label("host"),
        sa.func.substr(v.c.display_name, len(FILL) + 1).label("image_id"),
        v.c.size,
        v.c.status,
        v.c.launched_at,
        schema.column(v, "terminated_at").label("asked"),
        v.c.deleted_at,
    ).where(
        # `= true`, not `IS true`: MariaDB uses the index of (deleted, project_id) only for the first.
        v.c.deleted == deleted,
        v.c.project_id == (schema.tenant or ""),
        schema.named_as_image,
        v.c.display_name != FILL,
        schema.lasting,
        sa.not_(schema.in_store),
        schema.launched,
        schema.sized,
    )
    if volumes is not None:
        return statement.where(v.c.id.in_(list(volumes)))
    return statement if since is None else statement.where(v.c.deleted_at >= since)


def entries(schema: Schema) -> sa.Select[Any]:
    """Today's entries: a table of some thousand rows at most."""
    e = schema.entries
    return sa.select(place(schema, e).label("host"), e.c.image_id, e.c.volume_id, e.c.size, e.c.last_used)


def volumes_of_hosts(schema: Schema) -> sa.Select[Any]:
    """How many volumes each host has, from the index of (deleted, host) alone."""
    v = schema.volumes
    counted: sa.Select[Any] = sa.select(v.c.host, sa.func.count().label("volumes"))
    return counted.where(v.c.deleted == sa.false()).group_by(v.c.host)


def clusters(schema: Schema) -> sa.Select[Any]:
    """The cluster of each cinder-volume service that is in one: a small table."""
    s = schema.services
    cluster = schema.column(s, "cluster_name")
    named = sa.select(s.c.host, cluster.label("cluster"))
    return named.where(s.c.deleted == sa.false(), s.c.binary == "cinder-volume", cluster.is_not(None))


def quota_use(schema: Schema) -> sa.Select[Any]:
    """What the internal tenant has of each resource; Cinder may keep several rows of a resource."""
    used = models.BASE.metadata.tables["quota_usages"].c
    total = sa.func.max(used.in_use + used.reserved)
    statement = sa.select(used.resource, total).where(used.project_id == (schema.tenant or ""))
    return statement.where(used.deleted == sa.false()).group_by(used.resource)


def quota_limits(schema: Schema) -> tuple[sa.Select[Any], sa.Select[Any]]:
    """The internal tenant's own limits, and those of the default class: resource and limit."""
    own, classes = schema.quotas.c, schema.quota_classes.c
    return (
        sa.select(own.resource, own.hard_limit).where(
            own.project_id == (schema.tenant or ""), own.deleted == sa.false()
        ),
        sa.select(classes.resource, classes.hard_limit).where(
            classes.class_name == "default", classes.deleted == sa.false()
        ),
    )


def place(schema: Schema, table: sa.Table) -> sa.ColumnElement[str]:
    """Where Cinder looks for entries: the cluster, else the host (`ImageVolumeCache._get_query_filters`)."""
    cluster = schema.column(table, "cluster_name")
    return sa.func.coalesce(sa.func.nullif(cluster, ""), table.c.host, "")
