"""From when a database is complete: what was purged, and where only half the rows are left."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import sqlalchemy as sa
from scipy import stats

from sim.importers.database_schema import Schema
from sim.importers.notes import Note
from sim.inputs.problems import Problems

# Confidence that rows are really missing and not only numbers skipped.
SIGNIFICANT = 0.01
EXAMPLES = 3


@dataclass(frozen=True)
class Damage:
    """Rows whose other half is missing, deleted until `last` (naive UTC)."""

    what: str
    rows: int
    examples: list[str]
    last: datetime


@dataclass(frozen=True)
class Span:
    """The extent of the data. `first`, `last`: of all volumes' times; `oldest_deleted`: of those not purged.

    `purged`: whether deleted rows were removed. `missing`: how many numbers of metadata rows are unused.
    `reimaged`: volumes that got another image.
    """

    first: datetime
    last: datetime
    oldest_deleted: datetime | None
    purged: bool
    missing: int
    damages: list[Damage]
    reimaged: int


def span(connection: sa.Connection, schema: Schema) -> Span | None:
    """The extent of a database's data; None if it has no volumes."""
    volumes = schema.volumes
    names = ("created_at", "updated_at", "launched_at", "terminated_at", "deleted_at")
    latest = [sa.func.max(schema.column(volumes, name)) for name in names]
    oldest = sa.func.min(volumes.c.deleted_at)
    found = connection.execute(sa.select(sa.func.min(volumes.c.created_at), oldest, *latest)).one()
    if found[0] is None:
        return None
    missing, purged = _purged(connection, schema, found[1])
    damages, reimaged = _orphans(connection, schema)
    if missing:
        damages = _damages(connection, schema) + damages
    last = max(time for time in found[2:] if time is not None)
    return Span(found[0], last, found[1], purged, missing, damages, reimaged)


def _purged(connection: sa.Connection, schema: Schema, horizon: datetime | None) -> tuple[int, bool]:
    """Numbers of metadata rows that are not used, and whether that is because rows were purged.

    `cinder-manage db purge` removes rows that were deleted before some time (`purge_deleted_rows`), from this
    table too. All rows made after that time stay. Database clusters and failed transactions leave numbers
    unused as well, but as often after that time as before. `horizon`: that time, or later.
    """
    table = schema.glance
    late = table.c.created_at >= horizon if horizon is not None else sa.false()
    rows, last, late_rows, late_first = connection.execute(
        sa.select(
            sa.func.count(),
            sa.func.max(table.c.id),
            sa.func.sum(sa.case((late, 1), else_=0)),
            sa.func.min(sa.case((late, table.c.id))),
        )
    ).one()
    if not rows:
        return 0, False
    begin = last + 1 if late_first is None else late_first  # unused numbers since then
    late_rows = int(late_rows)
    early_missing = begin - 1 - (rows - late_rows)
    late_missing = last + 1 - begin - late_rows
    counts = np.array([[rows - late_rows, early_missing], [late_rows, late_missing]])
    if early_missing <= 0:
        return max(late_missing, 0), False
    chance = stats.fisher_exact(counts, alternative="less").pvalue if late_rows else 0.0
    return early_missing + late_missing, chance < SIGNIFICANT


def _damages(connection: sa.Connection, schema: Schema) -> list[Damage]:
    """Deleted volumes that were made from images and have lost their metadata.

    The purge goes table by table, children first; one that fails has removed the metadata but not the
    volumes. Only volumes deleted before all those with metadata count: users may mark any volume as bootable,
    and such a volume has no metadata.
    """
    table, volumes = schema.glance, schema.users()
    first_whole = connection.scalar(
        sa.select(sa.func.min(table.c.deleted_at)).where(table.c.volume_id.is_not(None))
    )
    lost = [
        volumes.c.deleted.is_(True),
        volumes.c.bootable.is_(True),
        volumes.c.from_nothing,
        ~sa.exists().where(table.c.volume_id == volumes.c.id),
    ]
    if first_whole is not None:
        lost.append(volumes.c.deleted_at < first_whole)
    rows, last = connection.execute(
        sa.select(sa.func.count(), sa.func.max(volumes.c.deleted_at)).where(*lost)
    ).one()
    if not rows:
        return []
    latest = sa.select(volumes.c.id).where(*lost).order_by(volumes.c.deleted_at.desc(), volumes.c.id)
    what = f"volumes: {rows} deleted ones were bootable and have lost their image metadata"
    return [Damage(what, rows, list(connection.scalars(latest.limit(EXAMPLES))), last)]


def _orphans(connection: sa.Connection, schema: Schema) -> tuple[list[Damage], int]:
    """Soft-deleted metadata of volumes that are not in the database; and how many volumes got another image.

    The volume manager's `reimage` writes the metadata anew, long after the volume was launched.
    """
    table, volumes = schema.glance, schema.volumes
    both = table.outerjoin(volumes, volumes.c.id == table.c.volume_id)
    image = sa.and_(table.c.key == "image_id", table.c.volume_id.is_not(None))
    lost = sa.and_(volumes.c.id.is_(None), table.c.deleted_at.is_not(None))
    rows, last, reimaged = connection.execute(
        sa.select(
            sa.func.sum(sa.case((lost, 1), else_=0)),
            sa.func.max(sa.case((lost, table.c.deleted_at))),
            sa.func.count(sa.case((table.c.created_at > volumes.c.launched_at, volumes.c.id)).distinct()),
        )
        .select_from(both)
        .where(image)
    ).one()
    if not rows:
        return [], reimaged
    latest = sa.select(table.c.volume_id).select_from(both).where(image, lost)
    latest = latest.order_by(table.c.deleted_at.desc(), table.c.volume_id).limit(EXAMPLES)
    what = f"volume_glance_metadata: {rows} rows belong to volumes that are not in the database"
    return [Damage(what, int(rows), list(connection.scalars(latest)), last)], reimaged


def period(
    whole: Span,
    since: datetime | None,
    until: datetime | None,
    shown: str,
    problems: Problems,
    notes: list[Note],
) -> tuple[datetime, datetime] | None:
    """The period [since, until) to read, naive UTC; None, with problems noted, if it cannot be read.

    By default from when the history is complete to the second after the last change.
    """
    horizon = whole.oldest_deleted if whole.purged else None
    end = naive(until) if until is not None else next_second(whole.last)
    begin = naive(since) if since is not None else horizon or whole.first.replace(microsecond=0)
    if begin >= end:
        what = f"{stamp(begin)} is not before {stamp(end)}, the end of the period"
        problems.add(shown, "--since", what)
        return None
    _check_whole(whole, begin, end, shown, problems)
    _note_purge(whole, since is not None, begin, notes)
    return begin, end


def _check_whole(whole: Span, begin: datetime, end: datetime, shown: str, problems: Problems) -> None:
    for damage in whole.damages:
        if damage.last < begin:
            continue
        those = ", ".join(damage.examples) + (", …" if damage.rows > len(damage.examples) else "")
        safe = next_second(damage.last)
        way = f": the history is complete from --since {stamp(safe)} on" if safe < end else ""
        problems.add(shown, "", f"{damage.what} ({those}): a purge stopped halfway{way}")


def _note_purge(whole: Span, asked: bool, begin: datetime, notes: list[Note]) -> None:
    if not whole.purged:
        return
    if whole.oldest_deleted is None:
        text = (
            "all deleted volumes were purged from the database: the period has only volumes that still "
            "exist; import more often than 'cinder-manage db purge' runs"
        )
        notes.append(Note("unknown", text))
    elif not asked:
        text = (
            f"the period begins at {stamp(begin)}: volumes deleted earlier were purged from the database "
            f"({whole.missing:,} rows of image metadata are missing)"
        )
        notes.append(Note("assumed", text))
    elif begin < whole.oldest_deleted:
        text = (
            f"before {stamp(whole.oldest_deleted)} the period has only volumes that still exist: deleted "
            "ones were purged from the database; give --since that time to leave the incomplete part out"
        )
        notes.append(Note("unknown", text))


def naive(time: datetime) -> datetime:
    """A time as Cinder stores it: UTC without a time zone. A time without one is taken as UTC."""
    return time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)


def next_second(time: datetime) -> datetime:
    return time.replace(microsecond=0) + timedelta(seconds=1)


def stamp(time: datetime) -> str:
    """A naive UTC time as `--since` takes it."""
    return f"{time.isoformat()}Z"
