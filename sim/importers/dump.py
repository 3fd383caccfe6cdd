"""Loads a dump of Cinder's database into a private sqlite database for `sim.importers.database`.

No server runs, and no statement of the dump is executed: a hostile dump can only write rows.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL

from sim.cinder.release import models
from sim.importers.database_schema import TABLES
from sim.importers.database_url import Database
from sim.importers.dump_text import Batch, DumpText
from sim.importers.notes import Note
from sim.importers.values import whole
from sim.inputs.problems import Problems

WHOLE = ("volumes", "volume_glance_metadata")  # tables that every Cinder database has
CINDER = "cinder"
Converter = Callable[[str | None], Any]
LONGEST_TIME = len("2026-01-01 00:00:00.000000")


def load(path: Path, folder: Path, problems: Problems, notes: list[Note]) -> Database | None:
    """Cinder's database from a dump, in a file of `folder`; None, with problems noted, if there is none.

    Only the tables that the importer reads are loaded, unchanged. Problems name the database by the dump's
    name.
    """
    before = len(problems.lines())
    text = DumpText(path, TABLES, problems)
    stores: dict[str, _Store] = {}
    try:
        for batch in text.batches():
            name = batch.database
            if name not in stores:
                stores[name] = _Store(folder / f"{len(stores)}.sqlite", path, problems)
            stores[name].add(batch)
        for (name, table), columns in text.columns.items():
            if table in TABLES and (name in stores or table in WHOLE):
                if name not in stores:
                    stores[name] = _Store(folder / f"{len(stores)}.sqlite", path, problems)
                stores[name].table(table, columns)
        for store in stores.values():
            store.finish()
    except sqlite3.Error as error:
        problems.add(path, "", f"cannot be loaded into {folder}: {error}; set TMPDIR to use another folder")
    if len(problems.lines()) > before:
        return None
    found = _cinders(path, stores, problems)
    if found is None:
        return None
    counted = sum(found.rows.values())
    notes.append(Note("read", f"{path}: {counted:,} rows of {len(found.rows)} tables of Cinder's database"))
    if not text.finished:
        what = "its last line does not say that it is complete: rows may be missing; check the dump"
        notes.append(Note("unknown", f"{path}: {what}"))
    return found.database


def _cinders(path: Path, stores: dict[str, _Store], problems: Problems) -> _Store | None:
    """Cinder's database among those of a dump."""
    found = [name for name, store in stores.items() if all(table in store.columns for table in WHOLE)]
    if CINDER in found or len(found) == 1:
        return stores[CINDER if CINDER in found else found[0]]
    if found:
        what = f"has several databases with Cinder's tables ({', '.join(sorted(found))}): dump one of them"
    else:
        what = f"has no table {' and no table '.join(WHOLE)}: it is not a dump of Cinder's database"
    problems.add(path, "", what)
    return None


class _Store:
    """A sqlite file with tables of Cinder's. `rows`: how many each has."""

    def __init__(self, file: Path, path: Path, problems: Problems) -> None:
        self.path, self.problems = path, problems
        self.database = Database(URL.create("sqlite", database=str(file)), str(path))
        self.columns: dict[str, tuple[str, ...]] = {}
        self.rows: Counter[str] = Counter()
        self._connection = sqlite3.connect(file, isolation_level=None)
        self._connection.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; BEGIN")

    def table(self, name: str, columns: tuple[str, ...]) -> None:
        """Make a table with the columns that Cinder has, if it does not exist."""
        if name in self.columns:
            return
        known = models.BASE.metadata.tables[name].columns
        self.columns[name] = tuple(column for column in columns if column in known)
        if not self.columns[name]:
            self.problems.add(self.path, f"table {name}", "has none of Cinder's columns")
            return
        made = [sa.Column(column, known[column].type) for column in self.columns[name]]
        table = sa.Table(name, sa.MetaData(), *made)
        self._connection.execute(
            str(sa.schema.CreateTable(table).compile(dialect=self.database.engine.dialect))
        )

    def add(self, batch: Batch) -> None:
        self.table(batch.table, batch.columns)
        known = models.BASE.metadata.tables[batch.table].columns
        kept = [
            (at, _converter(known[name].type))
            for at, name in enumerate(batch.columns)
            if name in self.columns[batch.table]
        ]
        names = [batch.columns[at] for at, _ in kept]
        if not names:
            return
        try:
            columns = [[convert(row[at]) for row in batch.rows] for at, convert in kept]
        except ValueError:
            self._tell(batch, kept)
            return
        quoted = ", ".join(f'"{name}"' for name in names)
        marks = ", ".join("?" * len(names))
        statement = f'INSERT INTO "{batch.table}" ({quoted}) VALUES ({marks})'
        self._connection.executemany(statement, zip(*columns, strict=True))
        self.rows[batch.table] += len(batch.rows)

    def _tell(self, batch: Batch, kept: list[tuple[int, Converter]]) -> None:
        """Note the values of a batch that do not fit."""
        what = "has a value that does not fit its column"
        for number, row in enumerate(batch.rows, self.rows[batch.table] + 1):
            for at, convert in kept:
                try:
                    convert(row[at])
                except ValueError as error:
                    where = f"table {batch.table}, row {number}"
                    self.problems.add(self.path, where, f"{what}: {batch.columns[at]} {error}", what)

    def finish(self) -> None:
        """Make the indexes for the joins, and end the writing."""
        for table, columns in self.columns.items():
            for column in {"id", "volume_id"} & set(columns):
                self._connection.execute(f'CREATE INDEX "{table}_{column}" ON "{table}" ("{column}")')
        self._connection.execute("COMMIT")
        self._connection.close()


def _converter(kind: Any) -> Converter:
    """A function from the dump's text to the value that sqlite stores in a column of this SQLAlchemy type."""
    if isinstance(kind, sa.DateTime):
        return _time
    if isinstance(kind, sa.Boolean):
        return _boolean
    if isinstance(kind, sa.Integer):
        return _integer
    return _text


def _time(text: str | None) -> str | None:
    """A time in SQLAlchemy's format for sqlite, which compares times as texts."""
    if text is None or text.startswith("0000"):  # MySQL's zero date
        return None
    if len(text) == LONGEST_TIME:
        return text
    whole, _, fraction = text.partition(".")
    if len(whole) != LONGEST_TIME - 7 or not (fraction or "0").isdigit():
        raise ValueError(f"{text[:40]!r} is not a time")
    return f"{whole}.{fraction[:6]:0<6}"


def _boolean(text: str | None) -> int | None:
    if text is None:
        return None
    return _BOOLEANS[text.lower()] if text.lower() in _BOOLEANS else int(whole(text) != 0)


_BOOLEANS = {"t": 1, "true": 1, "f": 0, "false": 0}


def _integer(text: str | None) -> int | None:
    return None if text is None else whole(text)


def _text(text: str | None) -> str | None:
    return text
