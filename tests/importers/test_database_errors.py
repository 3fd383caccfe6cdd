"""Databases that cannot be read: what is told, and that passwords never are."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import URL

from sim.cinder.release import models
from sim.importers.database_url import parse_url
from sim.inputs.problems import BadInput, Problems
from tests.importers.reading import read, refused, text
from tests.importers.rows import at, writing
from tests.importers.servers import PASSWORD, Server, free_port

pytestmark = pytest.mark.filterwarnings("ignore")  # Cinder's code and its libraries warn of each other


@pytest.fixture(params=["mariadb", "postgresql"])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(request.param)
    return found


def secret_parts(password: str) -> list[str]:
    return [password, quote(password, safe=""), quote_plus(password)]


@pytest.fixture
def nothing_told(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., None]]:
    """Checks that a password is nowhere in what was written or logged, nor in the lines given."""
    caplog.set_level("DEBUG")

    def check(password: str, *lines: str) -> None:
        out, err = capfd.readouterr()
        told = "\n".join([*lines, out, err, caplog.text])
        for part in secret_parts(password):
            assert part not in told

    yield check


def test_a_wrong_password(server: Server, nothing_told: Callable[..., None]) -> None:
    wrong = "wr0ng@/:#%?&word"
    lines = refused(server.url.set(password=wrong, database="cinder"))
    assert len(lines) == 1
    assert "***" in lines[0]
    assert "Access denied" in lines[0] or "password authentication failed" in lines[0]
    nothing_told(wrong, *lines)


def test_a_database_that_is_not_there(server: Server, nothing_told: Callable[..., None]) -> None:
    (line,) = refused(server.url.set(database="nothing"))
    assert "nothing" in line
    assert "Unknown database" in line or "does not exist" in line
    nothing_told(PASSWORD, line)


def test_an_empty_database(empty_database: URL, nothing_told: Callable[..., None]) -> None:
    if empty_database.database and empty_database.get_backend_name() == "sqlite":
        sqlite3.connect(empty_database.database).execute("VACUUM")
    (line,) = refused(empty_database)
    assert "has none of Cinder's tables" in line
    nothing_told(PASSWORD, line)


@pytest.mark.parametrize("kind", ["mysql", "postgresql"])
def test_a_server_that_is_not_there(kind: str, nothing_told: Callable[..., None]) -> None:
    url = URL.create(kind, "cinder", PASSWORD, "127.0.0.1", free_port(), "cinder")
    (line,) = refused(url)
    assert "refused" in line
    nothing_told(PASSWORD, line)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://cinder:s3cret@tail@host/cinder",
        "mysql://cinder@host:s3cret/cinder",
        "mysql://cinder/s3cret@host/cinder",
        "s3cret",
        "mysql+nodriver://cinder:s3cret@host/cinder",
        "oracle://cinder:s3cret@host/cinder",
        "mysql+pymysql://cinder:x@127.0.0.1:1/cinder?password=s3cret",
    ],
)
def test_urls_that_cannot_be_used(url: str, nothing_told: Callable[..., None]) -> None:
    nothing_told("s3cret", *refused(url))


def test_a_driver_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, nothing_told: Callable[..., None]
) -> None:
    monkeypatch.setitem(sys.modules, "pymysql", None)
    (line,) = refused("mysql://cinder:s3cret@host/cinder")
    assert "pip install 'cinder-cache-planner[db]'" in line
    nothing_told("s3cret", line)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "nothing.sqlite"
    assert "No such file" in refused(f"sqlite:///{path}")[0]
    assert not path.exists()
    assert "names no file" in refused("sqlite://")[0]


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "text.sqlite"
    path.write_text("not a database, " * 1000)
    assert "not a database" in refused(f"sqlite:///{path}")[0]


def test_tables_that_are_missing(sqlite: URL) -> None:
    with sa.create_engine(sqlite).begin() as connection:
        connection.exec_driver_sql("DROP TABLE image_volume_cache_entries")
        connection.exec_driver_sql("ALTER TABLE volume_glance_metadata RENAME COLUMN value TO said")
    lines = refused(sqlite)
    assert ["image_volume_cache_entries" in lines[0], "column value is missing" in lines[1]] == [True, True]


def test_no_volumes(sqlite: URL) -> None:
    assert "is empty" in refused(sqlite)[0]


def test_periods_with_nothing_in_them(sqlite: URL) -> None:
    with writing(sqlite) as rows:
        rows.delete(3, rows.volume(1))
    assert "no volume existed" in refused(sqlite, since=at(4), until=at(5))[0]
    assert "not before" in refused(sqlite, since=at(5))[0]
    assert "not before" in refused(sqlite, since=at(2), until=at(2))[0]


def test_nothing_is_written(empty_database: URL) -> None:
    with writing(empty_database) as rows:
        rows.volume(1)
    opened = parse_url(text(empty_database), Problems())
    assert opened is not None
    with opened.snapshot() as connection, pytest.raises(exc.DBAPIError, match=r"(?i)read.?only"):
        connection.exec_driver_sql("DELETE FROM volumes")


def test_one_snapshot(server: Server) -> None:
    with server.database() as url, writing(url) as rows:
        rows.volume(1)
        opened = parse_url(text(url), Problems())
        assert opened is not None
        count = sa.select(sa.func.count()).select_from(models.Volume.__table__)
        with opened.snapshot() as connection:
            assert connection.scalar(count) == 1
            rows.volume(2)
            assert connection.scalar(count) == 1


def test_an_error_while_reading_the_events(sqlite: URL) -> None:
    with writing(sqlite) as rows:
        rows.volume(1)
    history = read(sqlite)
    Path(str(sqlite.database)).write_text("gone")
    with pytest.raises(BadInput) as failed:
        list(history.batches())
    assert len(failed.value.problems) == 1


def test_a_file_in_a_folder_that_may_not_be_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stat(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", stat)
    problems = Problems()
    assert parse_url(f"sqlite:///{tmp_path}/cinder.sqlite", problems) is None
    assert problems.lines() == [f"sqlite:///{tmp_path}/cinder.sqlite: Permission denied"]
