"""Real database servers for tests: each in a temporary folder, on a port of its own of the loopback."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import URL

PASSWORD = "s3cret@/pa:ss%?#&"  # what a URL has to quote
START_S = 60
PLACES = (*os.environ.get("PATH", "").split(os.pathsep), "/usr/sbin", "/usr/local/sbin")


@dataclass(frozen=True)
class Server:
    """A server that runs; `url` names no database."""

    url: URL

    @contextlib.contextmanager
    def database(self) -> Iterator[URL]:
        """An empty database, for as long as it is needed."""
        name = f"cinder_{uuid.uuid4().hex}"
        engine = sa.create_engine(self.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        force = " WITH (FORCE)" if self.url.get_backend_name() == "postgresql" else ""
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
            try:
                yield self.url.set(database=name)
            finally:
                connection.exec_driver_sql(f"DROP DATABASE {name}{force}")


def binary(name: str, package: str) -> str:
    """The path of a server's program: Debian keeps some outside of PATH."""
    places = [*PLACES, *sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)]
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        missing = f"no {name}: the test needs the Debian package {package}"
        if os.environ.get("REQUIRE_SERVERS"):
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)
    return found


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def mariadb(*more: str) -> Iterator[Server]:
    """MariaDB as Debian has it, with more options. Root may run it as root."""
    install, serve = binary("mariadb-install-db", "mariadb-server"), binary("mariadbd", "mariadb-server")
    user = ["--user=root"] if os.geteuid() == 0 else []
    with _folder("mariadb-") as folder:
        data = folder / "data"
        start = folder / "start.sql"
        quoted = PASSWORD.replace("'", "''")
        start.write_text(
            f"CREATE USER cinder@'%' IDENTIFIED BY '{quoted}';\nGRANT ALL ON *.* TO cinder@'%';\n"
        )
        options = ["--no-defaults", *user, f"--datadir={data}"]
        _run([install, *options, "--auth-root-authentication-method=normal", "--skip-test-db"])
        port = free_port()
        command = [
            *(serve, *options, f"--port={port}", "--bind-address=127.0.0.1", f"--socket={folder}/socket"),
            *(f"--pid-file={folder}/pid", f"--init-file={start}", "--skip-name-resolve"),
            # Not in /tmp: a server that starts deletes what is there of others.
            f"--tmpdir={folder}",
            *("--innodb-flush-log-at-trx-commit=0", "--innodb-flush-method=nosync", "--innodb-doublewrite=0"),
            *more,
        ]
        url = URL.create("mysql+pymysql", "cinder", PASSWORD, "127.0.0.1", port)
        with _running(command, folder, url):
            yield Server(url)


@contextlib.contextmanager
def postgresql() -> Iterator[Server]:
    """PostgreSQL as Debian has it. It refuses to run as root: then user postgres runs it."""
    init, serve = binary("initdb", "postgresql"), binary("postgres", "postgresql")
    other = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    with _folder("postgresql-") as folder:
        secret = folder / "password"
        secret.write_text(PASSWORD)
        if other:
            for path in (folder, secret):
                shutil.chown(path, "postgres")
        data = folder / "data"
        _run(
            [
                *(*other, init, f"--pgdata={data}", "--username=cinder", f"--pwfile={secret}"),
                *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"),
            ]
        )
        port = free_port()
        command = [
            *(*other, serve, "-D", str(data), "-p", str(port), "-c", "listen_addresses=127.0.0.1"),
            *("-c", f"unix_socket_directories={folder}", "-c", "fsync=off"),
        ]
        url = URL.create("postgresql+psycopg2", "cinder", PASSWORD, "127.0.0.1", port, "postgres")
        with _running(command, folder, url):
            yield Server(url)


@contextlib.contextmanager
def _folder(prefix: str) -> Iterator[Path]:
    """Not below pytest's, which other users cannot enter."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd="/")
    if done.returncode:
        pytest.fail(f"{command[0]} failed:\n{done.stdout}{done.stderr}", pytrace=False)


@contextlib.contextmanager
def _running(command: list[str], folder: Path, url: URL) -> Iterator[None]:
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd="/")
    try:
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        end = time.monotonic() + START_S
        while True:
            try:
                engine.connect().close()
                break
            except exc.OperationalError as error:
                if process.poll() is not None or time.monotonic() > end:
                    pytest.fail(f"{command[0]} does not start: {error}\n{log.read_text()}", pytrace=False)
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        try:
            process.wait(START_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
