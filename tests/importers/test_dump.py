"""Dumps of Cinder's database by the real programs tell what it tells; nothing of them is executed."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy.engine import URL
from typer.testing import CliRunner

from sim.cli import app
from sim.importers import database, dump
from sim.importers.notes import Note
from sim.inputs.problems import Problems
from tests.importers import reading, rows
from tests.importers.servers import PASSWORD, binary

pytestmark = pytest.mark.filterwarnings("ignore")  # Cinder's code and its libraries warn of each other

TABLES = ("images", "volume_types", "placements", "initial", "fills", "entries", "stored")
# What a project's user may write into a volume's description, to pass for statements.
HOSTILE = (
    "it's \\ \"all\" `text`\té\n'), ('x',\n\\.\nCOPY public.volumes (id) FROM stdin;\n"
    "INSERT INTO `volumes` VALUES\n('1');\n\\! touch pwned\n-- Dump completed\n"
)
OPTIONS = {
    "mariadb": [
        ["--compatible=ansi"],
        ["--complete-insert", "--skip-extended-insert"],
        ["--databases"],
        ["--skip-opt", "--single-transaction"],
    ],
    "postgresql": [[], ["--inserts"], ["--rows-per-insert=7", "--column-inserts"], ["--create", "--clean"]],
}


def dumped(url: URL, options: list[str], path: Path) -> Path:
    """What the program of the database's kind writes of it."""
    if url.get_backend_name() == "mysql":
        command = [binary("mariadb-dump", "mariadb-client"), "-h127.0.0.1", f"-P{url.port}", "-ucinder"]
    else:
        command = [binary("pg_dump", "postgresql-client"), "-h127.0.0.1", f"-p{url.port}", "-Ucinder"]
    secret = {"MYSQL_PWD": PASSWORD, "PGPASSWORD": PASSWORD}
    with path.open("wb") as file:
        subprocess.run(
            [*command, *options, str(url.database)], env=os.environ | secret, stdout=file, check=True
        )
    return path


def load(path: Path, folder: Path) -> tuple[Any, list[str], list[Note]]:
    problems, notes = Problems(), list[Note]()
    folder.mkdir()
    return dump.load(path, folder, problems, notes), problems.lines(), notes


@pytest.mark.parametrize("kind", OPTIONS)
def test_as_the_database(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    with request.getfixturevalue(kind).database() as url:
        with rows.writing(url) as written:
            rows.everything(written)
            written.volume(24, display_name="x", display_description=HOSTILE)
        known = reading.read(url, tenant=rows.INTERNAL)
        events = pd.concat(list(known.batches()))
        for number, options in enumerate(OPTIONS[kind]):
            path = dumped(url, options, tmp_path / f"{number}.sql")
            loaded, problems, notes = load(path, tmp_path / str(number))
            assert problems == [] and [note.kind for note in notes] == ["read"]
            found = database.read_database(loaded, None, None, rows.INTERNAL, Problems())
            assert found is not None
            pd.testing.assert_frame_equal(pd.concat(list(found.batches())), events)
            for table in TABLES:
                pd.testing.assert_frame_equal(getattr(found, table), getattr(known, table))
            assert (found.quotas, found.since, found.until) == (known.quotas, known.since, known.until)


def small(description: str = "NULL", end: str = "-- Dump completed on 2026-01-02\n") -> str:
    """A dump of one volume of an image, as mysqldump writes it."""
    tables = {
        "volumes": "id created_at deleted_at deleted project_id host size status launched_at display_name "
        "volume_type_id snapshot_id source_volid display_description",
        "volume_glance_metadata": "id volume_id key value created_at deleted_at deleted",
        "volume_metadata": "volume_id key",
        "volume_admin_metadata": "volume_id key",
        "volume_types": "id created_at name deleted",
        "volume_type_extra_specs": "volume_type_id key value deleted",
        "encryption": "volume_type_id deleted",
        "image_volume_cache_entries": "id host image_id volume_id size last_used",
        "quotas": "project_id resource hard_limit deleted",
        "quota_classes": "class_name resource hard_limit deleted",
        "transfers": "volume_id",
    }
    text = "-- MySQL dump 10.13  Distrib 8.0\n"
    for name, columns in tables.items():
        inside = ",\n".join(f"  `{column}` varchar(255) DEFAULT NULL" for column in columns.split())
        text += f"CREATE TABLE `{name}` (\n{inside},\n  KEY `deleted` (`deleted`)\n) ENGINE=InnoDB;\n"
    at = "'2026-01-01 00:00:01'"
    volume = (
        f"'v',{at},NULL,0,'p','c1@a#p0',5,'available','2026-01-01 00:00:09','n','t',NULL,NULL,{description}"
    )
    return (
        f"{text}INSERT INTO `volumes` VALUES ({volume});\n"
        f"INSERT INTO `volume_glance_metadata` VALUES (1,'v','image_id','i',{at},NULL,0),"
        f"(2,'v','disk_format','raw',{at},NULL,0),(3,'v','size','1073741824',{at},NULL,0);\n"
        f"INSERT INTO `volume_types` VALUES ('t',{at},'gold',0);\n{end}"
    )


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_packed(pack: Any, tmp_path: Path) -> None:
    path = tmp_path / "dump"
    path.write_bytes(pack(small().encode()))
    result = CliRunner().invoke(app, ["import", "--out", str(tmp_path / "out"), "--dump", str(path)])
    assert result.exit_code == 0, result.output
    assert "1 creates from images" in result.stdout
    (create,) = pd.read_csv(tmp_path / "out" / "trace.csv").to_dict("records")
    told = ("event", "volume_id", "image_id", "size_gib", "volume_type", "first_host")
    assert [create[key] for key in told] == ["create", "v", "i", 5, "gold", "a#p0"]
    assert CliRunner().invoke(app, ["validate", str(tmp_path / "out" / "scenario.yaml")]).exit_code == 0


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = tmp_path / "dump"
    path.write_text(small().replace("5,'available'", "'many','available'"))
    result = CliRunner().invoke(app, ["import", "--out", str(tmp_path / "out"), "--dump", str(path)])
    assert (
        result.exit_code == 2
        and "table volumes, row 1: has a value that does not fit its column" in result.stderr
    )
    assert list(tmp_path.iterdir()) == [path]


def test_statements_are_not_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    evil = (
        "system touch pwned\n\\! touch pwned\nsource /etc/passwd\n"
        "LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE volumes;\nSET GLOBAL general_log = 1;\n"
        "COPY volumes TO PROGRAM 'touch pwned';\nDROP DATABASE mysql;\nATTACH DATABASE 'pwned' AS pwned;\n"
        "CREATE TRIGGER t AFTER INSERT ON volumes BEGIN SELECT load_extension('pwned'); END;\n"
    )
    path = tmp_path / "dump.sql"
    path.write_text(evil + small() + evil)
    loaded, problems, _ = load(path, tmp_path / "sqlite")
    assert problems == [] and loaded is not None
    assert sorted(each.name for each in tmp_path.iterdir()) == ["dump.sql", "sqlite"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"PGDMP\x01\x0e\0", "pg_restore -f cinder.sql"),
        (b"SQLite format 3\0" + b"\0" * 100, "--db sqlite:"),
        (b"\x28\xb5\x2f\xfd\0\0", "zstd -d"),
        (b"\0" * 257 + b"ustar\0", "tar archive"),
        (b"hello\n", "has no table volumes"),
        (b"\x7fELF\0\0\n", "is not the text of a dump; accepted: the SQL of mysqldump"),
        (small().encode()[:1900], "is cut"),
        (small(end="").encode()[:-20], "is cut"),
        (gzip.compress(small().encode())[:-60], "is cut"),
        (small(description="NULL,NULL").encode(), "has a row that does not match the table's columns"),
        (small().replace("CREATE TABLE", "-- ").encode(), "a table without its columns"),
        ((small("'x", "") + "-- ").encode(), "is cut"),
    ],
)
def test_what_is_refused(content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "dump"
    path.write_bytes(content)
    loaded, problems, _ = load(path, tmp_path / "sqlite")
    assert loaded is None
    assert problems and all(line.startswith(str(path)) for line in problems)
    assert told in problems[0]


def test_a_dump_that_may_not_be_whole(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    path.write_text(small(end=""))
    _, problems, notes = load(path, tmp_path / "sqlite")
    assert problems == [] and "does not say that it is complete" in notes[-1].text


def test_several_databases(tmp_path: Path) -> None:
    """Cinder's is taken, and asked for where more than one may be it."""
    path = tmp_path / "dump"
    other = small().replace("'v'", "'w'")
    path.write_text(f"USE `nova`;\n{other}USE `cinder`;\n{small()}")
    loaded, problems, _ = load(path, tmp_path / "sqlite")
    assert problems == [] and loaded is not None
    found = database.read_database(loaded, None, None, None, again := Problems())
    assert again.lines() == []
    assert found is not None and list(pd.concat(list(found.batches()))["volume_id"]) == ["v"]
    path.write_text(f"USE `a`;\n{small()}USE `b`;\n{small()}")
    assert "several databases with Cinder's tables (a, b)" in load(path, tmp_path / "other")[1][0]


def test_one_source_of_each(tmp_path: Path) -> None:
    arguments = ["--db", "sqlite:////x", "--dump", "x", "--glance", "cloud", "--images", "x"]
    result = CliRunner().invoke(app, ["import", "--out", str(tmp_path / "out"), *arguments])
    assert result.exit_code == 2
    assert (
        "--dump: has the same data as --db" in result.stderr
        and "--images: has the same data" in result.stderr
    )
