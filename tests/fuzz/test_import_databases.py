"""What `import` reads of databases: sqlite with damaged bytes and with damaged rows, and dumps."""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import sqlalchemy as sa
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from sqlalchemy.engine import URL

from sim.importers import database, dump
from sim.importers.database_schema import TABLES
from sim.importers.database_url import Database
from sim.inputs.problems import Problems
from tests.fuzz.damage import binaries, texts
from tests.fuzz.frame import Target
from tests.fuzz.test_import_files import OUR_OWN, accepted
from tests.importers import rows, test_dump

# What a cell has after damage.
CELLS: tuple[Any, ...] = (
    *(
        "x",
        "",
        None,
        0,
        -1,
        1,
        2**31,
        2**63 - 1,
        1.5,
        b"\xff\xfe",
        "\0",
        "a\0b",
        "\u2028",
        "\U0001f600",
        "=1+1",
    ),
    *("0001-01-01 00:00:00.000000", "9999-12-31 23:59:59.999999", "2026-02-30 00:00:00", "2026-03-01", "now"),
    *("2026-03-01 00:30:00", "1969-12-31 23:59:59.000000", "@", "#", "a@b@c#d#e", "c1@", "@a", "c1@a#"),
    *("x" * 300, "\x1b[31m", "a;b", "'\"\r\n", "image-", "IMAGE-x", "RAW ", "1e999", "deleting", "error"),
    *("creating", "target:x", "migration src for x", "True", "image_id"),
)
WAYS = ("set", "set", "set", "set", "set all", "copy", "delete", "double", "rename", "drop")
Change = tuple[str, int, int, int, Any]


@functools.cache
def whole() -> bytes:
    """A database of Cinder's, written by its own code, with what import reads of it."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "cinder.sqlite"
        with rows.writing(URL.create("sqlite", database=str(path))) as written:
            rows.everything(written)
        with contextlib.closing(sqlite3.connect(path)) as connection:
            for kind, name in connection.execute(
                "SELECT type, name FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type"
            ).fetchall():
                if kind == "index" or (name not in TABLES and not name.startswith("sqlite_")):
                    connection.execute(f'DROP {kind} "{name}"')
            connection.commit()
            connection.executescript("PRAGMA page_size = 512; VACUUM")
        return path.read_bytes()


def changed(changes: list[Change]) -> bytes:
    """The database after changes to rows, columns and tables; what sqlite refuses stays."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(whole())
        for each in changes:
            with contextlib.suppress(sqlite3.Error):
                _change(connection, *each)
        connection.commit()
        return connection.serialize()


def _change(connection: sqlite3.Connection, way: str, table: int, column: int, row: int, cell: Any) -> None:
    # Most damage is to volumes, of which the importer reads most.
    names = [*sorted(TABLES), *["volumes"] * len(TABLES)]
    name = names[table % len(names)]
    columns = [each[1] for each in connection.execute(f"PRAGMA table_info({name})")]
    if not columns:
        return  # the table is dropped
    chosen = columns[column % len(columns)]
    (count,) = connection.execute(f"SELECT count(*) FROM {name}").fetchone()
    which = f"WHERE rowid IN (SELECT rowid FROM {name} LIMIT 1 OFFSET {row % max(1, count)})"
    if way in ("set", "set all"):
        where = which if way == "set" else ""
        connection.execute(f"UPDATE OR IGNORE {name} SET {chosen} = ? {where}", (cell,))
    elif way == "copy":
        connection.execute(f"UPDATE OR IGNORE {name} SET {chosen} = (SELECT {chosen} FROM {name}) {which}")
    elif way == "delete":
        connection.execute(f"DELETE FROM {name} {which}")
    elif way == "double":
        connection.execute(f"INSERT INTO {name} SELECT * FROM {name} {which}")
    elif way == "rename":
        connection.execute(f"ALTER TABLE {name} RENAME COLUMN {chosen} TO other")
    else:
        connection.execute(f"DROP TABLE {name}")


def _rows() -> SearchStrategy[bytes]:
    place = st.integers(0, 2**16)
    change = st.tuples(st.sampled_from(WAYS), place, place, place, st.sampled_from(CELLS))
    return st.lists(change, min_size=1, max_size=20).map(changed)


def _consumed(found: database.History | None, problems: Problems) -> None:
    problems.raise_any()
    assert found is not None
    for batch in found.batches():
        assert len(batch)


@functools.cache
def _engine() -> sa.Engine:
    engine = sa.create_engine("sqlite://")
    with engine.connect():  # which tells its dialect of sqlite's version
        return engine


@contextlib.contextmanager
def compiled() -> Iterator[None]:
    """All databases share the statements that SQLAlchemy has compiled: most of what a small one costs."""
    make = Database._engine

    def engine(self: Database) -> sa.Engine:
        made = make(self)
        if made.dialect.name == "sqlite":
            made.dialect, made._compiled_cache = _engine().dialect, _engine()._compiled_cache
        return made

    with patch.object(Database, "_engine", engine):
        yield


@compiled()
def _sqlite(path: Path) -> None:
    url, problems = f"sqlite:///{path}", Problems()
    _consumed(database.read(url, None, None, None, problems), problems)
    accepted(path, db=url)


@compiled()
def _dump(path: Path) -> None:
    problems = Problems()
    with tempfile.TemporaryDirectory() as folder:
        loaded = dump.load(path, Path(folder), problems, [])
        problems.raise_any()
        assert loaded is not None
        _consumed(database.read_database(loaded, None, None, None, problems), problems)
    accepted(path, dump=path)


def _dumps() -> SearchStrategy[bytes]:
    mysql = test_dump.small()
    words = [
        "\\N",
        "\\.",
        "NULL",
        "'",
        "(",
        ")",
        ");",
        "),",
        "`",
        "--",
        "/*!",
        "COPY volumes (id) FROM stdin;\n",
    ]
    return texts([mysql.encode(), postgresql(mysql).encode()], [word.encode() for word in words])


def postgresql(mysql: str) -> str:
    """The same rows as pg_dump writes them."""
    made, copied = [], []
    for line in mysql.splitlines():
        if line.startswith("INSERT INTO"):
            table, _, cells = line.partition(" VALUES (")
            name = table.split("`")[1]
            for row in cells.removesuffix(");").split("),("):
                told = row.replace("NULL", "\\N").replace("'", "").replace(",", "\t")
                copied.append(
                    f"COPY public.{name} ({', '.join(_columns(mysql, name))}) FROM stdin;\n{told}\n\\.\n"
                )
        elif "MySQL dump" not in line and not line.startswith("-- Dump"):
            made.append(line.replace("`", "").replace(" ENGINE=InnoDB", ""))
    return "--\n-- PostgreSQL database dump\n" + "\n".join(
        [*made, *copied, "-- PostgreSQL database dump complete\n"]
    )


def _columns(mysql: str, table: str) -> list[str]:
    inside = mysql.partition(f"CREATE TABLE `{table}` (")[2].partition(") ENGINE")[0]
    return [line.split("`")[1] for line in inside.splitlines() if line.startswith("  `")]


BYTES = Target(
    "import sqlite bytes", lambda: binaries([whole()]), "cinder.sqlite", _sqlite,
    named=("cinder.sqlite", *OUR_OWN),
)  # fmt: skip
ROWS = Target("import sqlite rows", _rows, "cinder.sqlite", _sqlite, named=("cinder.sqlite", *OUR_OWN))
DUMP = Target("import dump", _dumps, "cinder.sql", _dump, named=("cinder.sql", *OUR_OWN))


def test_the_seeds_are_accepted() -> None:
    """Else nothing behind the first check would be reached."""
    with tempfile.TemporaryDirectory() as folder:
        for name, data, read in (
            ("cinder.sqlite", whole(), _sqlite),
            ("mysql", test_dump.small().encode(), _dump),
            ("postgresql", postgresql(test_dump.small()).encode(), _dump),
        ):
            path = Path(folder) / name
            path.write_bytes(data)
            read(path)


def test_sqlite() -> None:
    BYTES.check(15, 1)
    ROWS.check(25, 1)


def test_dumps() -> None:
    DUMP.check(25, 1)
