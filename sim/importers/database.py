"""Reads Cinder's database: creates and deletes as a trace, and everything else the scenario needs.

The tables are those of Cinder's `models` (`sim.cinder.release`). Nothing is ever written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import exc

from sim.importers import database_tables as tables
from sim.importers.database_notes import count
from sim.importers.database_schema import Schema, reflect
from sim.importers.database_span import naive, period, span, stamp
from sim.importers.database_url import Database, parse_url
from sim.importers.database_values import check
from sim.importers.notes import Note
from sim.inputs.problems import BadInput, Problems
from sim.inputs.trace import EVENTS


@dataclass(frozen=True)
class History:
    """The content of a database for [since, until). Hosts are Cinder's (`node@backend#pool`, '' = none).

    `images`: image_id, name, disk_format, container_format, size_bytes (Int64, NA = unknown), virtual_gib
    (from fills; NaN), smallest_gib (smallest volume made from it; NaN), store_hosts (a list), creates.
    `volume_types`: volume_type, volume_backend_name ('' = any), encrypted, thick, multiattach,
    image_service_store_id ('' = Glance's default store). `placements`: host, volume_type, volumes (how many).
    `clusters`: host and cluster of each host that belongs to one.
    `services`: those of cinder-volume today: host, cluster, why ('' = it takes creates).
    `initial`: rows of an initial state, with project, last_used as a time.
    `quotas`: the internal tenant's own hard limits by resource (`volumes`, `gigabytes_TYPE`, …);
    `user_quotas`: those of each other project that has some; `default_quotas`: those of the default class.
    A limit that the database lacks is absent. `stored`:
    image-volumes of the Cinder store that existed in the period: image_id, host, volume_type. `zones`: the
    availability zone of each host. `fills`: the internal tenant's image-volumes made in the period:
    volume_id, host, image_id, created_at, deleted_at (NaT = never), size_gib. `entries`: today's cache: host,
    image_id, size_gib, last_used.
    """

    since: datetime
    until: datetime
    images: pd.DataFrame
    volume_types: pd.DataFrame
    placements: pd.DataFrame
    clusters: pd.DataFrame
    services: pd.DataFrame
    initial: pd.DataFrame
    quotas: dict[str, int]
    user_quotas: dict[str, dict[str, int]]
    default_quotas: dict[str, int]
    stored: pd.DataFrame
    zones: dict[str, str]
    fills: pd.DataFrame
    entries: pd.DataFrame
    notes: list[Note]
    _database: Database = field(repr=False)
    _schema: Schema = field(repr=False)
    _types: Mapping[str | None, str] = field(repr=False)
    _tells_downloads: bool = field(repr=False)

    def batches(self, rows: int = 100_000) -> Iterator[pd.DataFrame]:
        """The events by time, `rows` at once: the trace's columns, `time` as a time, and two more.

        `create_s` is how long a create took. `downloaded` is 1.0 for a download and 0.0 for a clone. Both are
        NaN if not known. Memory is bounded by one batch. Raises BadInput if the database can no longer be
        read.
        """
        statement = self._schema.events(naive(self.since), naive(self.until))
        for part in self._partitions(statement, rows):
            yield _events(part, self._types, self._tells_downloads)

    def usage(self, rows: int = 100_000) -> pd.DataFrame:
        """Users' volumes of the period, those from its start too: what counts against projects' quotas.

        project, host, volume_type (categories), size_gib, made, gone (NaT = still exists). Raises BadInput if
        the database can no longer be read.
        """
        statement = tables.usage(self._schema, naive(self.since), naive(self.until))
        known: dict[str, dict[str, int]] = {name: {} for name in ("project", "host", "volume_type")}
        parts = [_used(part, self._types, known) for part in self._partitions(statement, rows)]
        found = pd.concat([_used([], self._types, known), *parts], ignore_index=True)
        for name, codes in known.items():
            found[name] = pd.Categorical.from_codes(
                found[name].to_numpy(), pd.Index(list(codes), dtype="str")
            )
        return found

    def _partitions(self, statement: sa.Select[Any], rows: int) -> Iterator[Any]:
        try:
            with self._database.snapshot() as connection:
                yield from connection.execution_options(yield_per=rows).execute(statement).partitions()
        except exc.SQLAlchemyError as error:
            raise BadInput([f"{self._database.shown}: {self._database.reason(error)}"]) from None


def read(
    url: str,
    since: datetime | None,
    until: datetime | None,
    internal_tenant: str | None,
    problems: Problems,
) -> History | None:
    """Read a database by SQLAlchemy's URL; None, with problems noted, if it cannot be used.

    `since`: by default the time from which the history is whole. `until`: by default the last change in it.
    `internal_tenant`: the cache's project; None: the one that owns what is cached now.
    """
    database = parse_url(url, problems)
    return None if database is None else read_database(database, since, until, internal_tenant, problems)


def read_database(
    database: Database,
    since: datetime | None,
    until: datetime | None,
    internal_tenant: str | None,
    problems: Problems,
) -> History | None:
    """As `read`, for an opened database."""
    try:
        with database.snapshot() as connection:
            schema = reflect(connection, database.shown, problems)
            if schema is None or not check(connection, schema, database.shown, problems):
                return None
            return _read(connection, database, schema, since, until, internal_tenant, problems)
    except exc.SQLAlchemyError as error:
        problems.add(database.shown, "", f"cannot be read: {database.reason(error)}")
        return None


def _read(
    connection: sa.Connection,
    database: Database,
    schema: Schema,
    since: datetime | None,
    until: datetime | None,
    internal_tenant: str | None,
    problems: Problems,
) -> History | None:
    notes: list[Note] = []
    schema.tenant = internal_tenant or tables.find_tenant(connection, schema, notes)
    whole = span(connection, schema)
    if whole is None:
        problems.add(database.shown, "table volumes", "is empty: there is nothing to import")
        return None
    found = period(whole, since, until, database.shown, problems, notes)
    if found is None or problems:
        return None
    types, names = tables.volume_types(connection, schema)
    asked = tables.Asked(connection, schema, *found, names, whole)
    images = tables.images(asked)
    if not count(asked, int(images["late"].sum()), notes):
        what = f"no volume existed from {stamp(found[0])} to {stamp(found[1])}: there is nothing to import"
        problems.add(database.shown, "", what)
        return None
    initial = tables.initial(asked, notes)
    cached = initial.loc[initial["kind"] == "cache", "image_id"]
    stored = tables.stored(asked)
    own_quotas, default_quotas = tables.quotas(asked)
    return History(
        since=found[0].replace(tzinfo=UTC),
        until=found[1].replace(tzinfo=UTC),
        images=tables.with_metadata(asked, images, cached, stored),
        volume_types=types,
        placements=tables.placements(asked),
        clusters=tables.clusters(asked),
        services=tables.services(asked),
        initial=initial,
        quotas=own_quotas.pop(schema.tenant or "", {}),
        user_quotas=own_quotas,
        default_quotas=default_quotas,
        stored=stored,
        zones=tables.zones(asked),
        fills=tables.fills(asked),
        entries=tables.entries(asked),
        notes=notes,
        _database=database,
        _schema=schema,
        _types=names,
        _tells_downloads=connection.scalar(schema.any_download()) is not None,
    )


def _events(part: Any, types: Mapping[str | None, str], tells_downloads: bool) -> pd.DataFrame:
    """Rows of `Schema.events` as events of a trace."""
    columns = tuple(zip(*part, strict=True))
    time, delete, volume, image, size, type_id, host, project, encrypted, ready, downloaded, zone = columns
    at, done = (pa.array(each, pa.timestamp("us")).to_numpy(zero_copy_only=False) for each in (time, ready))
    gone = np.array(delete, dtype=bool)
    tier = [types.get(each, each) for each in type_id]
    return pd.DataFrame(
        {
            "time": pd.DatetimeIndex(at, tz="UTC"),
            "event": pd.Categorical(np.where(gone, "delete", "create"), list(EVENTS)),
            "volume_id": pd.Series(volume, dtype="str"),
            "image_id": pd.Series(image, dtype="str"),
            "size_gib": np.array(size, dtype=np.int64),
            "volume_type": pd.Categorical(np.where(gone, "", tier)),
            "host": pd.Categorical(host),
            "project": pd.Categorical(project),
            "encrypted": np.array(encrypted, dtype=bool),
            "availability_zone": pd.Categorical(zone),
            "create_s": (done - at) / np.timedelta64(1, "s"),
            "downloaded": np.where(gone | (not tells_downloads), np.nan, np.array(downloaded, dtype=float)),
        }
    )


def _used(part: Any, types: Mapping[str | None, str], known: dict[str, dict[str, int]]) -> pd.DataFrame:
    """Rows of `tables.usage`, with numbers for names: `known` gets those that are new."""
    columns = tuple(zip(*part, strict=True)) or ((),) * 6
    project, host, type_id, size, made, gone = columns
    named = {"project": project, "host": host, "volume_type": [types.get(each, each) for each in type_id]}
    codes = {
        name: np.array([known[name].setdefault(value, len(known[name])) for value in values], dtype=np.int32)
        for name, values in named.items()
    }
    at, end = (pa.array(each, pa.timestamp("us")).to_numpy(zero_copy_only=False) for each in (made, gone))
    times = {"made": pd.DatetimeIndex(at, tz="UTC"), "gone": pd.DatetimeIndex(end, tz="UTC")}
    return pd.DataFrame({**codes, "size_gib": np.array(size, dtype=np.int64), **times})
