"""Values that Cinder never writes: what damage, a bad clock or a foreign program left in its tables.

Every server checks the types of its columns, but sqlite, in which dumps are loaded too, keeps any value in
any column, and all of them keep times that no cloud has.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from sim.importers.database_schema import Schema
from sim.importers.values import EARLIEST, LATEST, YEARS
from sim.inputs.problems import SHOWN, Problems, quoted

FORMAT = "%Y-%m-%d %H:%M:%S"  # of times in sqlite, which may have six digits more
SIX_DIGITS = ".[0-9][0-9][0-9][0-9][0-9][0-9]"
LEAST, MOST = -(2**31), 2**31 - 1  # of whole numbers in the columns of a server
ASCII = "*[^\x01-~]*"


def check(connection: sa.Connection, schema: Schema, shown: str, problems: Problems) -> bool:
    """Whether all values can be read; notes every column with others, and the first rows of each."""
    sqlite = connection.dialect.name == "sqlite"
    if sqlite:
        driver: Any = connection.connection.driver_connection
        driver.create_function("readable", 1, _readable, deterministic=True)
    good = True
    for columns in schema.read():
        conditions = [(column, _wrong(column, sqlite)) for column in columns]
        wrong = [(column, which) for column, which in conditions if which is not None]
        if not wrong:
            continue
        sums = [sa.func.sum(sa.case((which, 1), else_=0)) for _, which in wrong]
        for (column, which), count in zip(wrong, connection.execute(sa.select(*sums)).one(), strict=True):
            if count:
                good = False
                _tell(_rows(connection, column, which, sqlite), column, int(count), shown, problems)
    return _once(connection, schema, shown, problems) and good if sqlite else good


def _tell(
    rows: list[tuple[str, str]], column: sa.Column[Any], count: int, shown: str, problems: Problems
) -> None:
    """Note a column's first `rows`, and how many more there are."""
    what = f"{column.name} {_what(column)}"
    kind = f"table {column.table.name}: {what}"
    for where, value in rows:
        problems.add(shown, f"table {column.table.name}, {where}", f"{what}{value}", kind)
    if not rows:  # an index of a damaged file tells of rows that the table does not have
        problems.add(shown, f"table {column.table.name}", f"{what}: {count} rows", kind)
    problems.add_uncounted(shown, kind, max(0, count - SHOWN))


def _what(column: sa.Column[Any]) -> str:
    if isinstance(column.type, sa.DateTime):
        return f"is not {YEARS}"
    if isinstance(column.type, sa.Integer | sa.Boolean):
        return f"is not a whole number, {LEAST} to {MOST}"
    return "is not text"


def _wrong(column: sa.Column[Any], sqlite: bool) -> sa.ColumnElement[bool] | None:
    """Whether a value cannot be read; None if the database itself sees to that."""
    timed = isinstance(column.type, sa.DateTime)
    if not sqlite:
        first, last = (bound.replace(tzinfo=None) for bound in (EARLIEST, LATEST))
        return sa.or_(column < first, column >= last) if timed else None
    value = sa.type_coerce(column, sa.Text)
    kind, is_id = sa.func.typeof(value), column.name == "id"
    absent = sa.false() if is_id else value.is_(None)
    if isinstance(column.type, sa.Integer | sa.Boolean):
        number = sa.type_coerce(column, sa.BigInteger)
        return sa.not_(sa.or_(absent, sa.and_(kind == "integer", number.between(LEAST, MOST))))
    if timed:
        whole = sa.func.substr(value, 1, 19)
        dated = sa.and_(
            kind == "text",
            value.between(EARLIEST.strftime(FORMAT), LATEST.strftime(FORMAT)),
            sa.func.coalesce(sa.func.strftime(FORMAT, whole, "+0 days"), "") == whole,  # 30 February too
            sa.or_(sa.func.length(value) == 19, sa.func.substr(value, 20).bool_op("GLOB")(SIX_DIGITS)),
        )
        return sa.not_(sa.or_(absent, dated))
    # A function of ours is slow: it sees only what is not plain ASCII.
    data = sa.cast(value, sa.LargeBinary)
    plain = sa.and_(sa.not_(value.bool_op("GLOB")(ASCII)), sa.func.length(data) == sa.func.length(value))
    told = sa.func.length(value) > 0 if is_id else sa.true()
    readable = sa.and_(kind == "text", told, sa.or_(plain, sa.func.readable(data) == 1))
    return sa.not_(sa.or_(absent, readable))


def _readable(data: bytes | None) -> bool:
    try:
        return data is not None and b"\0" not in data and data.decode() is not None
    except UnicodeDecodeError:
        return False


def _rows(
    connection: sa.Connection, column: sa.Column[Any], wrong: sa.ColumnElement[bool], sqlite: bool
) -> list[tuple[str, str]]:
    """The first rows with a wrong value, and the value where the driver can give it."""
    if not sqlite:
        key = column.table.c["id" if "id" in column.table.c else "volume_id"]
        rows = connection.execute(sa.select(key).where(wrong).limit(SHOWN))
        return [(f"{key.name} {quoted(one)}", "") for (one,) in rows]
    value = sa.cast(sa.type_coerce(column, sa.Text), sa.LargeBinary)
    number = sa.literal_column("rowid", sa.Integer)
    found = connection.execute(sa.select(number, sa.func.substr(value, 1, 60)).where(wrong).limit(SHOWN))
    return [
        (f"row {row}", ": NULL" if data is None else f": {quoted(data.decode(errors='backslashreplace'))}")
        for row, data in found
    ]


def _once(connection: sa.Connection, schema: Schema, shown: str, problems: Problems) -> bool:
    """Whether each volume is there once; a dump may have been written twice into one file."""
    key = schema.volumes.c.id
    several = sa.select(key, sa.func.count()).group_by(key).having(sa.func.count() > 1)
    found = connection.execute(several.order_by(key).limit(SHOWN)).all()
    for name, times in found:
        what = "is there several times"
        problems.add(shown, f"table volumes, id {quoted(name)}", f"{what}: {times} rows", what)
    return not found
