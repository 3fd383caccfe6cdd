"""Reads what is new in Cinder's database since the last reading, in one read-only snapshot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from cinder.objects import fields
from sqlalchemy import exc

from sim.importers import database_tables as tables
from sim.importers.database_schema import Schema, reflect
from sim.importers.database_url import Database
from sim.inputs.problems import BadInput, Problems
from sim.live import statements
from sim.live.state import CLONE, DOWNLOAD, Cache, Kind, Place, Seconds, State

OVERLAP_KEYS = 2_000  # keys that are read again: transactions may end in another order than their keys
OVERLAP = timedelta(minutes=5)  # deletes that are read again: clocks of nodes differ
BATCH_KEYS = 200_000  # keys of one statement
LOOKED_AT_KEYS = 100_000  # newest keys in which a first reading looks for a download
SCAN_EVERY = timedelta(minutes=5)  # all image-volumes that were deleted: see `Reader._gone`
VOLUMES_EVERY = timedelta(minutes=5)  # volumes of each host: the one statement that grows with the cloud
# From the end of a fill to its entry: until then its image-volume is no orphan.
GRACE = timedelta(minutes=2)
GIVEN_UP = timedelta(days=1)  # a create that has not ended by then does not end
CHUNK = 500  # values of one IN (…)
HANGS = {
    # A server that is gone without a word must not stop the watch for hours.
    "pymysql": {"read_timeout": "600", "write_timeout": "60"},
    "psycopg2": {"keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3"},
}
# How a clone was made, as far as the settings tell: of a pool, and whether the volume is encrypted.
Cloned = Callable[[Place, bool], str]


def place_of(host: str) -> Place:
    """The parts of Cinder's host `host@backend#pool`; those that it lacks are empty."""
    service, _, pool = host.partition("#")
    node, _, backend = service.partition("@")
    return Place(node, backend, pool)


def hanging_up(database: Database) -> Database:
    """The same database with timeouts, for those that its URL does not set."""
    given = HANGS.get(database.engine.dialect.driver, {})
    more = {name: value for name, value in given.items() if name not in database.url.query}
    return Database(database.url.update_query_dict(more)) if more else database


def utc_now() -> datetime:
    """Now as Cinder stores times."""
    return datetime.now(UTC).replace(tzinfo=None)


class Reader:
    """Reads a database again and again. `state` is what the last reading that worked has found.

    `since`: what ended before is not counted (naive UTC; None: everything that the database has counts).
    `tenant`: the cache's project, or None: the one that owns what is cached. `cloned` says how a clone was
    made. `with_volumes`: volumes of each host are counted, too.
    """

    def __init__(
        self,
        database: Database,
        since: datetime | None,
        tenant: str | None,
        cloned: Cloned,
        with_volumes: bool,
    ) -> None:
        self.database, self.since = database, since
        self.cloned, self.with_volumes = cloned, with_volumes
        self.state = State(tenant=tenant)
        self.rows = 0
        self._schema: Schema | None = None
        self._types: dict[str | None, str] = {}
        self._begun = False
        self._volumes_at: datetime | None = None

    def read(self, now: datetime) -> State:
        """Read what is new, at a time of this machine (naive UTC).

        Raises BadInput if the database is not Cinder's, SQLAlchemyError or ValueError if it cannot be read.
        `state` is then as before.
        """
        try:
            with self.database.snapshot(whole=False) as connection:
                state = self._read(connection, now)
        except (BadInput, exc.SQLAlchemyError, ValueError):
            self._schema = None  # it may be another one when it comes back
            raise
        self.state, self._begun = state, True
        return state

    def _read(self, connection: sa.Connection, now: datetime) -> State:
        schema = self._schema = self._schema or self._reflected(connection)
        state = deepcopy(self.state)
        schema.tenant = state.tenant = state.tenant or tables.find_tenant(connection, schema, [])
        if not self._begun:
            self._begin(connection, schema, state)
        for rows in self._creates(connection, schema, state):
            self._count(connection, schema, state, rows, now)
            state.counted = {key for key in state.counted if key > state.key - OVERLAP_KEYS}
        self._read_caches(connection, schema, state, now)
        self._read_quotas(connection, schema, state)
        if self.with_volumes and (self._volumes_at is None or now - self._volumes_at >= VOLUMES_EVERY):
            state.volumes = self._volumes(connection, schema)
            self._volumes_at = now
        for place in {kind.place for kind in state.creates} | set(state.volumes):
            state.caches.setdefault(place, Cache())
        return state

    def _reflected(self, connection: sa.Connection) -> Schema:
        problems = Problems()
        schema = reflect(connection, self.database.shown, problems)
        problems.raise_any()
        assert schema is not None
        self._types = tables.volume_types(connection, schema)[1]
        return schema

    def _all(self, connection: sa.Connection, statement: sa.Select[Any]) -> list[Any]:
        rows = list(connection.execute(statement))
        self.rows += len(rows)
        return rows

    def _begin(self, connection: sa.Connection, schema: Schema, state: State) -> None:
        """Where the first reading begins."""
        newest = connection.scalar(statements.newest(schema)) or 0
        state.tells = connection.scalar(schema.any_download(newest - LOOKED_AT_KEYS)) is not None
        state.deletes = self.since
        if self.since is not None:
            state.key = self._first_key(connection, schema, self.since, newest) - 1

    def _first_key(self, connection: sa.Connection, schema: Schema, since: datetime, newest: int) -> int:
        """The first key whose row is not older than a time: keys and times rise together."""
        low, high = 1, newest + 1
        while low < high:
            middle = (low + high) // 2
            found = connection.execute(statements.at_or_after(schema, middle)).first()
            if found is None or (found.created_at is not None and found.created_at >= since):
                high = middle
            else:
                low = found.id + 1
        return low

    def _creates(self, connection: sa.Connection, schema: Schema, state: State) -> Iterator[list[Any]]:
        """Rows of creates that are new, or had not ended, some at a time."""
        waiting = list(state.waiting)
        state.waiting = {}
        for first in range(0, len(waiting), CHUNK):
            yield self._all(connection, statements.pending(schema, waiting[first : first + CHUNK]))
        newest = connection.scalar(statements.newest(schema)) or 0
        after = max(0, state.key - OVERLAP_KEYS)
        while after < newest:
            until = min(after + BATCH_KEYS, newest)
            state.key = max(state.key, until)
            yield self._all(connection, statements.creates(schema, after, until))
            after = until

    def _count(
        self, connection: sa.Connection, schema: Schema, state: State, rows: list[Any], now: datetime
    ) -> None:
        for row in rows:
            if row.key in state.counted or (self.since is not None and row.written < self.since):
                continue
            if row.launched_at is None:
                failed = row.deleted or str(row.status or "").startswith(str(fields.VolumeStatus.ERROR))
                if not failed and row.written > now - GIVEN_UP:
                    state.waiting[row.id] = row.written
                continue
            state.counted.add(row.key)
            state.tells |= bool(row.downloaded)
            place = place_of(row.host)
            if row.type_id not in self._types:
                self._types = tables.volume_types(connection, schema)[1]
                self._types.setdefault(row.type_id, row.type_id)
            source = DOWNLOAD if row.downloaded else self.cloned(place, bool(row.encrypted))
            kind = Kind(place, self._types[row.type_id], source)
            state.creates[kind] += 1
            if row.created_at is not None and row.launched_at >= row.created_at:
                took = (row.launched_at - row.created_at).total_seconds()
                state.seconds.setdefault(way(kind), Seconds()).add(took)

    def _read_caches(self, connection: sa.Connection, schema: Schema, state: State, now: datetime) -> None:
        entries = self._all(connection, statements.entries(schema))
        cached = {row.volume_id for row in entries}
        state.caches = caches = {place: Cache() for place in state.caches}
        images = Counter((row.host, row.image_id) for row in entries)
        for row in entries:
            cache = caches.setdefault(place_of(row.host), Cache())
            cache.entries += 1
            cache.gib += row.size
            cache.used_at = min(row.last_used, cache.used_at or row.last_used)
        for (host, _), times in images.items():
            caches[place_of(host)].duplicates += times - 1
        here = self._all(connection, statements.image_volumes(schema, sa.false()))
        scans = state.scanned is None or now - state.scanned >= SCAN_EVERY
        gone = self._gone(connection, schema, state, {row.id for row in here}, scans)
        known = set(state.filled)
        for row in (*here, *gone):
            self._count_fill(state, row, row.id in cached, row.id in known, now)
        for row in here:
            place = place_of(row.host)
            if (
                row.id not in cached
                and row.id in state.evicted
                and row.status != fields.VolumeStatus.DELETING
            ):
                caches.setdefault(place, Cache()).orphans += 1
                caches[place].orphan_gib += row.size
        if scans:
            self._scanned(state, gone, now)

    def _gone(
        self, connection: sa.Connection, schema: Schema, state: State, here: set[str], scans: bool
    ) -> list[Any]:
        """Image-volumes that were deleted: those that were here before, or (`scans`) all of late.

        A scan finds what was made and deleted between two readings. It reads the rows of all image-volumes
        that were ever deleted, up to the next purge, so it is made from time to time only.
        """
        if not scans:
            lost = [name for name, at in state.filled.items() if at is None and name not in here]
            return [
                row
                for first in range(0, len(lost), CHUNK)
                for row in self._all(
                    connection,
                    statements.image_volumes(schema, sa.true(), volumes=lost[first : first + CHUNK]),
                )
            ]
        after = None if state.deletes is None else state.deletes - OVERLAP
        return self._all(connection, statements.image_volumes(schema, sa.true(), after))

    def _scanned(self, state: State, gone: list[Any], now: datetime) -> None:
        """Note the time of a scan, and forget what none will find again."""
        state.scanned = now
        last = max((row.deleted_at for row in gone), default=None)
        state.deletes = max(filter(None, (state.deletes, last)), default=None)
        if state.deletes is not None:
            keep = state.deletes - OVERLAP
            for seen in (state.filled, state.evicted):
                for name in [name for name, at in seen.items() if at is not None and at < keep]:
                    del seen[name]

    def _count_fill(self, state: State, row: Any, cached: bool, known: bool, now: datetime) -> None:
        """Count a fill, and its eviction: Cinder drops the entry first, and deletes the volume then."""
        if row.launched_at is None:
            return  # it is not whole yet
        place = place_of(row.host)
        if row.id not in state.filled:
            state.fills[place] += self._counts(row.launched_at)
        state.filled[row.id] = row.deleted_at
        lost = row.asked or row.deleted_at
        if cached or not (lost or row.launched_at < now - GRACE):
            return
        if row.id not in state.evicted:
            state.evictions[place] += self._counts(lost) or (lost is None and known)
        state.evicted[row.id] = row.deleted_at

    def _counts(self, at: datetime | None) -> bool:
        """Whether what ended then is counted."""
        return self.since is None or (at is not None and at >= self.since)

    def _volumes(self, connection: sa.Connection, schema: Schema) -> Counter[Place]:
        """How many volumes each pool has; those of a cluster's nodes are in one pool."""
        there = bool(schema.columns["services"])
        named = self._all(connection, statements.clusters(schema)) if there else []
        clusters = {row.host: row.cluster for row in named}
        found: Counter[Place] = Counter()
        for row in self._all(connection, statements.volumes_of_hosts(schema)):
            if row.host:
                service, mark, pool = row.host.partition("#")
                found[place_of(f"{clusters.get(service, service)}{mark}{pool}")] += int(row.volumes)
        return found

    def _read_quotas(self, connection: sa.Connection, schema: Schema, state: State) -> None:
        used = self._all(connection, statements.quota_use(schema))
        state.quota_used = {name: int(number) for name, number in used}
        state.quotas, state.default_quotas = (
            {name: limit for name, limit in self._all(connection, each) if limit is not None}
            for each in statements.quota_limits(schema)
        )


def way(kind: Kind) -> Kind:
    """The kind of a create's histogram, which tells downloads and clones apart, and no more."""
    return kind if kind.source == DOWNLOAD else kind._replace(source=CLONE)
