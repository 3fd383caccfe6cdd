"""Databases for the tests of importers: real servers, started once for all tests of a process."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from tests.importers import servers
from tests.whole.process import connected


@pytest.fixture(scope="session")
def mariadb() -> Iterator[servers.Server]:
    with servers.mariadb() as server:
        yield server


@pytest.fixture(scope="session")
def postgresql() -> Iterator[servers.Server]:
    with servers.postgresql() as server:
        yield server


@pytest.fixture(params=["sqlite", "mariadb", "postgresql"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[URL]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        yield URL.create("sqlite", database=str(tmp_path / "cinder.sqlite"))
        return
    with request.getfixturevalue(request.param).database() as url:
        yield url


@pytest.fixture(scope="session")
def tables_of_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with Cinder's tables."""
    path = tmp_path_factory.mktemp("empty") / "cinder.sqlite"
    with connected(f"sqlite:///{path}"):
        return path


@pytest.fixture
def sqlite(tables_of_sqlite: Path, tmp_path: Path) -> URL:
    path = tmp_path / "cinder.sqlite"
    shutil.copy(tables_of_sqlite, path)
    return URL.create("sqlite", database=str(path))
