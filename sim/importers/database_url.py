"""Opens a database by its URL: read-only, in one snapshot; errors never show the password."""

from __future__ import annotations

import contextlib
import inspect
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import URL, make_url

from sim.importers.source_files import unusable
from sim.importers.values import encodable
from sim.inputs.problems import Problems, quoted

DRIVERS = {"mysql": "mysql+pymysql", "mariadb": "mariadb+pymysql", "postgresql": "postgresql+psycopg2"}
CONNECT_TIMEOUT_S = 10
LAST_PORT = 2**16 - 1
EXAMPLES = "mysql://user:password@host/cinder, postgresql://user:password@host/cinder or sqlite:////path"


class Database:
    """A database that can only be read. `shown` is its URL without the password, or its other name."""

    def __init__(self, url: URL, shown: str | None = None) -> None:
        self.url = url
        self.shown = shown or url.set(query={}).render_as_string(hide_password=True)
        self.engine = self._engine()

    def _engine(self) -> sa.Engine:
        if self.url.get_backend_name() == "sqlite":
            # A sqlite URI in read-only mode: opening must never create a missing file.
            file = f"file:{quote(str(Path(self.url.database or '')))}?mode=ro"
            return sa.create_engine(
                "sqlite://", creator=lambda: sqlite3.connect(file, uri=True), poolclass=sa.NullPool
            )
        timeout = {"connect_timeout": CONNECT_TIMEOUT_S} if "connect_timeout" not in self.url.query else {}
        return sa.create_engine(self.url, connect_args=timeout, poolclass=sa.NullPool)

    @contextlib.contextmanager
    def snapshot(self, whole: bool = True) -> Iterator[sa.Connection]:
        """One read-only transaction that sees the database as it is at its first statement.

        `whole`: it reads whole tables; False: a few rows, by their indexes. Raises SQLAlchemyError.
        """
        try:
            connected = self.engine.connect()
        except (TypeError, ValueError, OverflowError) as error:  # of an option's value, or a host's name
            raise exc.SQLAlchemyError(f"no connection: {error}") from None
        with connected as connection:
            backend = connection.dialect.name
            if backend == "sqlite":
                connection.exec_driver_sql("BEGIN")
            elif backend == "postgresql":
                connection = connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
                if whole:
                    # The importer reads all rows; by default the planner optimises for the first tenth.
                    connection.exec_driver_sql("SET LOCAL cursor_tuple_fraction = 1")
                    # The planner underestimates the number of rows and would search a whole table for each.
                    connection.exec_driver_sql("SET LOCAL enable_nestloop = off")
            else:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
                connection.exec_driver_sql("COMMIT")
                connection.exec_driver_sql("START TRANSACTION READ ONLY")
            try:
                yield connection
            except UnicodeDecodeError as error:  # sqlite's driver, of names and types in a damaged file
                raise exc.SQLAlchemyError(f"has text that is not UTF-8: {error}") from None

    def reason(self, error: exc.SQLAlchemyError) -> str:
        """A driver's message on one line, without the password in any spelling."""
        said = getattr(error, "orig", None)
        args = getattr(said, "args", ())
        # PyMySQL: a number, then the text.
        text = " ".join(str(args[-1] if args else said or error).split())
        return _hidden(self.url, text)


def _hidden(url: URL, text: str) -> str:
    """A text without the passwords of a URL in any spelling."""
    options = [value for name, value in url.query.items() if "pass" in name.lower()]
    for secret in map(str, (url.password or "", *options)):
        for written in sorted({secret, quote(secret, safe=""), quote_plus(secret)}, key=len):
            text = text.replace(written, "***") if written else text
    return text


def parse_url(url: str, problems: Problems) -> Database | None:
    """The database of a URL, not yet connected; None, with a problem noted, if it cannot be used.

    PyMySQL or psycopg2 read it if the URL names no driver. A URL that cannot be parsed is not shown: it may
    have the password anywhere.
    """
    try:
        parsed = make_url(url)
        parts = (parsed.username, parsed.password, parsed.host, parsed.database, *parsed.normalized_query)
        for part in parts:
            encodable(str(part or ""))
        # A password with an unquoted '@' or '/' puts its end into the host or the database.
        broken = "@" in (parsed.host or "") + ("" if parsed.host is None else parsed.database or "")
        broken = broken or (parsed.port or 0) > LAST_PORT or any("\0" in str(part) for part in parts)
    except (exc.ArgumentError, ValueError):
        broken = True
    if broken:
        what = f"cannot be parsed: must be like {EXAMPLES}, with special characters as %XX"
        problems.add("database URL", "", what)
        return None
    backend = parsed.drivername.partition("+")[0]
    if backend not in (*DRIVERS, "sqlite"):
        what = f"cannot read a database of kind {quoted(backend)}: must be like {EXAMPLES}"
        problems.add("database URL", "", what)
        return None
    shown = parsed.set(query={}).render_as_string(hide_password=True)
    if "plugin" in parsed.query:
        # SQLAlchemy would load and run plugins, and one that counts statements writes.
        plugins = ", ".join(parsed.normalized_query["plugin"])
        what = f"names the plugin {plugins}, which import does not load: leave plugin=… out of the URL"
        problems.add(shown, "", _hidden(parsed, what))
        return None
    if backend == "sqlite":
        what = unusable(Path(parsed.database)) if parsed.database else "names no file"
        if parsed.query and not what:
            what = f"has options that are not used: leave {_options(parsed.query)} out of the URL"
        if what:
            problems.add(shown, "", _hidden(parsed, what))
            return None
    parsed = parsed.set(drivername=DRIVERS.get(parsed.drivername, parsed.drivername))
    try:
        database = Database(parsed)
        what = _unknown_options(database.engine, parsed)
        if not what:
            return database
    except ModuleNotFoundError as error:
        what = f"needs the Python module {error.name}: pip install 'cinder-cache-planner[db]'"
    except exc.NoSuchModuleError:
        what = f"there is no driver {parsed.drivername!r}: leave out the '+' and what follows it"
    except (exc.SQLAlchemyError, ValueError, TypeError):
        # What it says may have the password in it.
        what = f"has an option with a value that cannot be used, among {_options(parsed.query)}"
    problems.add(shown, "", _hidden(parsed, what))
    return None


def _unknown_options(engine: sa.Engine, url: URL) -> str:
    """Options of the URL that its driver does not have ('' if there are none).

    PyMySQL's are the arguments of its connection, which SQLAlchemy makes of them; libpq, which has its own
    names and files with more, tells its own when it connects.
    """
    _, options = engine.dialect.create_connect_args(url)
    if engine.dialect.driver != "pymysql":
        return ""
    known = inspect.signature(engine.dialect.loaded_dbapi.connections.Connection.__init__).parameters
    unknown = [name for name in options if name not in known]
    return f"PyMySQL has no option {_options(unknown)}: leave it out of the URL" if unknown else ""


def _options(names: Iterable[str]) -> str:
    return ", ".join(quoted(name) for name in names)
