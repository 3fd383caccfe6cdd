"""Notes for an operator on a period of the database."""

from __future__ import annotations

from typing import Any, Literal

import sqlalchemy as sa

from sim.importers.database_tables import Asked
from sim.importers.names import NO_TYPE
from sim.importers.notes import Note

Kind = Literal["read", "assumed", "unknown"]
UNSIZED = "volumes have no size of 1 GiB or more, as while Cinder manages one: they are left out"
OTHERS = (
    "volumes of the cache's tenant do not belong to the cache: they are left out; give the cache a project "
    "of its own"
)
# One note for each count that is not 0, in this order; {} is the count.
TEXTS: dict[str, tuple[Kind, str]] = {
    "failed": (
        "unknown",
        "{} creates failed. Cinder does not keep their images, so they are not in the trace; "
        "notifications have them (--notifications)",
    ),
    "unfinished": (
        "unknown",
        "{} creates had not ended when the database was read: they are not in the trace; import again later",
    ),
    "stuck": (
        "read",
        "{} volumes could not be deleted (error_deleting): they take space until the end; delete them "
        "with --force or reset their state",
    ),
    "moved": (
        "read",
        "{} volumes were migrated by Cinder: their first host and times come from the rows that it kept",
    ),
    "relocated": (
        "unknown",
        "{} volumes were migrated after their create: the trace has their host of today",
    ),
    "remade": (
        "unknown",
        "{} volumes were migrated and their old rows purged: they seem to be made when and where "
        "they were copied to",
    ),
    "untyped": (
        "assumed",
        f"{{}} volumes have no type: they get the type {NO_TYPE}, as Cinder would give them now",
    ),
    "internal": ("read", f"{{}} {OTHERS}"),
    "unsized": ("unknown", f"{{}} {UNSIZED}"),
    "undated": ("unknown", "{} volumes have no time at which they were created: they are left out"),
    "reimaged": (
        "read",
        "{} volumes got another image after their create: the trace has the first one and not the "
        "later writes",
    ),
    "transferred": (
        "unknown",
        "{} volumes were transferred to another project: the trace has their project of today",
    ),
}
ALWAYS = (
    "sizes and types are those of today: Cinder does not keep the values from before an extend or a retype, "
    "nor whether a volume was created or managed (brought in)"
)


def count(asked: Asked, remade: int, notes: list[Note]) -> int:
    """Notes what is special in the period; returns how many volumes existed in it."""
    counts = _users(asked) | _unmade(asked)
    others = asked.schema.others()
    counts["internal"] = _number(asked, sa.select(sa.func.count()).where(asked.there(others)))
    counts |= {
        name: _number(asked, sa.select(sa.func.count()).select_from(rows))
        for name, rows in (("unsized", asked.schema.unsized()), ("undated", asked.schema.undated()))
    }
    counts["transferred"] = _number(asked, _transferred(asked))
    counts |= {"remade": remade, "reimaged": asked.whole.reimaged}
    for name, (kind, text) in TEXTS.items():
        if counts[name]:
            notes.append(Note(kind, text.format(f"{counts[name]:,}")))
    notes.append(Note("unknown", ALWAYS))
    return counts["volumes"]


def _users(asked: Asked) -> dict[str, int]:
    """Counts of users' volumes that existed in the period."""
    volumes = asked.schema.users()
    elsewhere = sa.and_(volumes.c.migration_status == "success", sa.not_(volumes.c.found_origin))
    special = {
        "stuck": volumes.c.status == "error_deleting",
        "moved": volumes.c.found_origin,
        "relocated": elsewhere,
        "untyped": volumes.c.type_id.is_(None),
    }
    sums = [sa.func.sum(sa.case((which, 1), else_=0)).label(name) for name, which in special.items()]
    statement = sa.select(sa.func.count().label("volumes"), *sums).where(asked.there(volumes))
    return {
        name: int(value or 0) for name, value in asked.connection.execute(statement).one()._mapping.items()
    }


def _unmade(asked: Asked) -> dict[str, int]:
    """Counts of creates that were requested in the period and made no volume."""
    volumes = asked.schema.failed()
    ended = sa.or_(volumes.c.deleted.is_(True), volumes.c.status.like("error%"))
    failed = sa.func.sum(sa.case((ended, 1), else_=0))
    statement = sa.select(sa.func.count(), failed).where(
        volumes.c.made >= asked.since, volumes.c.made < asked.until
    )
    every, over = asked.connection.execute(statement).one()
    return {"failed": int(over or 0), "unfinished": every - int(over or 0)}


def _transferred(asked: Asked) -> sa.Select[Any]:
    """Volumes whose transfer was accepted (`transfer_accept`)."""
    transfers, volumes = asked.schema.transfers, asked.schema.users()
    accepted = asked.schema.column(transfers, "accepted")
    return (
        sa.select(sa.func.count(transfers.c.volume_id.distinct()))
        .join(volumes, volumes.c.id == transfers.c.volume_id)
        .where(accepted.is_(True), asked.there(volumes))
    )


def _number(asked: Asked, statement: sa.Select[Any]) -> int:
    return int(asked.connection.scalar(statement) or 0)
