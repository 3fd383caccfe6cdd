"""Sources with values that no cloud has: each is refused with its file and place, or left out and counted."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from pydantic import TypeAdapter
from sqlalchemy.engine import URL

from sim.importers import configuration, image_files, notifications, pool_files, volume_files
from sim.importers.database_url import parse_url
from sim.importers.database_values import LEAST, MOST
from sim.importers.names import places
from sim.inputs.problems import SHOWN, BadInput, Problems
from sim.inputs.spec import Host, HostPart, Hosts
from tests.importers import rows
from tests.importers.reading import read, refused, text
from tests.importers.test_accepted import imported, run, sent
from tests.importers.test_dump import load, small
from tests.importers.test_listings import CONF, POOLS, VOLUMES, pool, volume, written
from tests.importers.test_notification_files import SENT, VOLUME, notification

pytestmark = pytest.mark.filterwarnings("ignore")  # Cinder's code and its libraries warn of each other
HALF = "\ud800"  # of a character: JSON can escape it, no file can hold it


def lines(reader: Any, *arguments: Any) -> list[str]:
    """What a reader refuses, as a user sees it."""
    problems = Problems()
    assert reader(*arguments, problems) is None
    shown = BadInput(problems.lines()).problems
    assert shown and all(line.isprintable() and len(line) < 400 for line in shown)
    return shown


def change(url: URL, *statements: str) -> None:
    connection = sqlite3.connect(str(url.database))
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def few(url: URL) -> None:
    with rows.writing(url) as made:
        made.from_image(1, "golden")
        made.delete(3, made.volume(2))
        made.fill(1.05, "golden")


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE volumes SET launched_at = 'soon'", "launched_at is not a time from 1970 to 2199: 'soon'"),
        ("UPDATE volumes SET created_at = '0001-01-01 00:00:00.000000'", "created_at is not a time"),
        ("UPDATE volumes SET deleted_at = '9999-12-31 23:59:59.999999'", "deleted_at is not a time"),
        ("UPDATE volumes SET terminated_at = '2026-02-30 00:00:00'", "terminated_at is not a time"),
        ("UPDATE volumes SET created_at = 5", "created_at is not a time from 1970 to 2199: '5'"),
        ("UPDATE volumes SET id = x'ff00'", r"id is not text: '\\xff\x00'"),
        ("UPDATE volumes SET host = CAST(x'633140ff' AS TEXT)", r"host is not text: 'c1@\\xff'"),
        ("UPDATE volumes SET project_id = 'a' || char(0)", "project_id is not text"),
        ("UPDATE volumes SET size = 'big'", "to 2147483647: 'big'"),
        ("UPDATE volumes SET size = 1.5", "to 2147483647: '1.5'"),
        ("UPDATE volumes SET size = 9223372036854775807", "to 2147483647: '9223372036854775807'"),
        ("UPDATE volumes SET size = -2147483649", "-2147483648 to 2147483647: '-2147483649'"),
        ("UPDATE image_volume_cache_entries SET size = 2147483648", "size is not a whole number"),
        ("UPDATE volumes SET deleted = 'maybe'", "deleted is not a whole number"),
        ("UPDATE volume_glance_metadata SET value = x'00'", "_metadata, row 1: value is not text"),
        ("UPDATE image_volume_cache_entries SET last_used = 'x'", "last_used is not a time"),
    ],
)  # fmt: skip
def test_values_that_sqlite_keeps(statement: str, told: str, sqlite: URL) -> None:
    few(sqlite)
    change(sqlite, statement.replace("UPDATE", "UPDATE OR IGNORE"))
    lines = refused(sqlite)
    assert told in lines[0] and ": table " in lines[0] and ", row " in lines[0]


def test_every_damaged_row_counts(sqlite: URL) -> None:
    with rows.writing(sqlite) as made:
        for number in range(SHOWN + 5):
            made.volume(1 + number / 100)
    change(sqlite, "UPDATE volumes SET size = 'x'", "UPDATE volumes SET launched_at = 'y' WHERE rowid = 3")
    lines = refused(sqlite)
    assert sum("size is not a whole number" in line and ", row " in line for line in lines) == SHOWN
    assert (
        f"{text(sqlite)}: and 5 more: table volumes: size is not a whole number, {LEAST} to {MOST}" in lines
    )
    assert sum("row 3: launched_at" in line for line in lines) == 1


def test_volumes_twice_in_a_dump(tmp_path: Path) -> None:
    from sim.importers import database

    path = tmp_path / "dump"
    whole = small()
    insert = next(line for line in whole.splitlines() if line.startswith("INSERT INTO `volumes`"))
    path.write_text(whole.replace(insert, f"{insert}\n{insert}"))
    loaded, problems, _ = load(path, tmp_path / "sqlite")
    assert problems == []
    (line,) = lines(database.read_database, loaded, None, None, None)
    assert line == f"{path}: table volumes, id 'v': is there several times: 2 rows"


def test_a_dump_without_ids(tmp_path: Path) -> None:
    from sim.importers import database

    path = tmp_path / "dump"
    path.write_text(small().replace("('v',", "(NULL,"))
    loaded, _, _ = load(path, tmp_path / "sqlite")
    (line,) = lines(database.read_database, loaded, None, None, None)
    assert line == f"{path}: table volumes, row 1: id is not text: NULL"


def test_a_damaged_file(sqlite: URL, tmp_path: Path) -> None:
    few(sqlite)
    whole = Path(str(sqlite.database)).read_bytes()
    for name, data in {
        "cut": whole[: len(whole) // 2],
        "zeros": whole[:4096] + bytes(len(whole) - 4096),
        "only a head": whole[:100],
    }.items():
        path = tmp_path / name
        path.write_bytes(data)
        assert all(str(path) in line for line in refused(f"sqlite:///{path}"))


def test_rows_that_the_schema_allows_are_left_out(sqlite: URL, tmp_path: Path) -> None:
    """A size of nothing, no time, no host, nothing at all: import tells how many, and validate agrees."""
    with rows.writing(sqlite) as made:
        kept = made.from_image(1, "golden")
        for size in (0, -1):
            made.delete(3, made.from_image(2, "golden", size=size))
        made.volume(2, host=None)
        made.volume(2, host="@")
        made.volume(2.5)
    where = f"WHERE id != '{kept.id}'"
    last = "rowid = (SELECT max(rowid) FROM volumes)"
    change(sqlite, f"UPDATE volumes SET created_at = NULL WHERE {last}")
    told = imported(tmp_path / "out", "--db", text(sqlite))
    assert "2 volumes have no size of 1 GiB or more" in told
    assert "1 volumes have no time at which they were created" in told
    assert "1 creates from images, 1 of other volumes, 0 deletes" in told
    columns = (
        "size",
        "host",
        "project_id",
        "status",
        "launched_at",
        "display_name",
        "attach_status",
        "deleted",
    )
    change(sqlite, *(f"UPDATE volumes SET {column} = NULL {where}" for column in columns))
    change(sqlite, "UPDATE volume_types SET name = NULL")
    assert "1 creates from images" in imported(tmp_path / "nulls", "--db", text(sqlite))


def test_metadata_that_users_may_change(sqlite: URL, tmp_path: Path) -> None:
    few(sqlite)
    change(
        sqlite,
        "UPDATE volume_glance_metadata SET value = '1e999' WHERE key = 'size'",
        "UPDATE volume_glance_metadata SET value = '=a b' WHERE key = 'disk_format'",
        "UPDATE volume_glance_metadata SET value = 'a' || char(13) || '\"=1' WHERE key = 'image_name'",
    )
    told = imported(tmp_path / "out", "--db", text(sqlite))
    assert "format of 1 of 1 images: raw in bare is used" in told and "size of 1 of 1 images" in told


def test_types_with_odd_names(sqlite: URL, tmp_path: Path) -> None:
    few(sqlite)
    for number, name in enumerate(
        ("\U0001f600", "a: b # c", "'\"\\", "\x1b[31m\x7f\x85\u2028", "=1+1", "null")
    ):
        change(sqlite, "UPDATE volume_types SET name = " + " || ".join(f"char({ord(one)})" for one in name))
        imported(tmp_path / str(number), "--db", text(sqlite))


# Notifications


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("size", 2**31, "'size' 2147483648"),
        ("size", 1e999, "inf is not a whole number"),
        ("size", "big", "'big' is not a whole number"),
        ("size", [5], "[5] is not a whole number"),
        ("created_at", "0001-01-01T00:00:00", "is not a time from 1970 to 2199"),
        ("created_at", "9999-12-31T23:59:59-23:59", "is not a time in ISO 8601"),
        ("launched_at", "0001-01-01T00:00:00+23:59", "is not a time in ISO 8601"),
        ("volume_id", HALF, "has half of a character"),
        ("volume_id", "", "volume_id is empty"),
        ("host", HALF, "has half of a character"),
        ("host", 5, "5 is not text"),
        ("volume_type", HALF, "has half of a character"),
        ("glance_metadata", 5, "TypeError"),
        ("glance_metadata", [{"key": "image_id", "value": HALF}], "has half of a character"),
    ],
)  # fmt: skip
def test_notifications(key: str, value: Any, told: str, tmp_path: Path) -> None:
    message = notification("volume.create.end", 5, {**VOLUME, key: value})
    path = tmp_path / "n"
    path.write_text("".join(json.dumps(one) + "\n" for one in (SENT[0], message)))
    (line,) = lines(notifications.read, [path], None, None, None)
    assert line.startswith(f"{path}: line 2: volume.create.end does not have the form")
    assert told.replace("'size' ", "") in line


def test_a_notification_of_year_1(tmp_path: Path) -> None:
    path = sent(tmp_path / "n", [{**SENT[0], "timestamp": "0001-01-01 00:00:00"}])
    assert "is not a time from 1970" in lines(notifications.read, [path], None, None, None)[0]


def test_notified_volumes_without_a_size(tmp_path: Path) -> None:
    """They are left out, as those of a database."""
    other = {**VOLUME, "volume_id": "w", "size": 0}
    unsized = [notification("volume.create.end", 6, other), notification("volume.delete.start", 7, other)]
    told = imported(tmp_path / "out", "--notifications", sent(tmp_path / "n", [*SENT, *unsized]))
    assert "1 volumes have no size of 1 GiB or more" in told and "1 creates from images" in told


def test_a_delete_before_its_create(tmp_path: Path) -> None:
    late = {**VOLUME, "created_at": "2026-03-01T00:00:30", "launched_at": "2026-03-01T00:00:40"}
    messages = [notification("volume.create.end", 45, late), notification("volume.delete.start", 9, late)]
    assert "1 deletes" in imported(tmp_path / "out", "--notifications", sent(tmp_path / "n", messages))


# Hosts


@pytest.mark.parametrize(
    "host",
    [
        "",
        "@",
        "#",
        "@#",
        "a@",
        "@b",
        "a@b#",
        "#@",
        "a@b@c#d#e",
        "a@b#c/d e",
        "a;b@c;d#e;f",
        "\x1b[31m@\0#\u2028",
        "h" * 300,
    ],
)
def test_hosts_make_names(host: str) -> None:
    place = places([host])[host]
    for name in (place.backend, place.pool):
        TypeAdapter(HostPart).validate_python(name)
    TypeAdapter(Host).validate_python(place.host)
    assert TypeAdapter(Hosts).validate_python(tuple(f"{place.host};x#y".split(";"))) == (place.host, "x#y")
    assert place.node and place.host.isprintable()


def test_long_hosts_keep_different_names() -> None:
    """Cinder has at most 255 characters; a listing may have any."""
    hosts = [f"c1@{'b' * 300}{one}#{'p' * 300}{two}" for one in "xyz" for two in "xyz"]
    found = [place.host for place in places(hosts).values()]
    assert len(set(found)) == len(hosts)
    assert TypeAdapter(Hosts).validate_python(tuple(found)) == tuple(found)
    for host in found:
        for name in host.split("#"):
            TypeAdapter(HostPart).validate_python(name)


# Listings


@pytest.mark.parametrize(
    "content", [None, 5, "x", [[1]], [None], {"a": 1}, [[[[]]]], "[" * 5000, "9" * 5000, "[NaN"]
)
@pytest.mark.parametrize("reader", [pool_files, image_files, volume_files])
def test_listings_of_other_shapes(reader: Any, content: Any, tmp_path: Path) -> None:
    path = tmp_path / "listing"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    more = ["internal"] if reader is volume_files else []
    assert all(line.startswith(f"{path}: ") for line in lines(reader.read, path, *more))


@pytest.mark.parametrize(
    ("reader", "row", "told"),
    [
        (image_files, {"id": "i", "disk_format": "raw", "size": float("nan")}, "nan is not a whole number"),
        (image_files, {"id": "i", "disk_format": "raw", "size": 1e999}, "inf is not a whole number"),
        (image_files, {"id": "i", "disk_format": "raw", "size": 2**80}, "is above"),
        (image_files, {"id": "i", "disk_format": "raw", "size": True}, "True is not a whole number"),
        (image_files, {"id": "i", "disk_format": ["raw"], "size": 1}, "['raw'] is not text"),
        (image_files, {"id": "i", "disk_format": "raw", "size": 1, "updated_at": "0001-01"}, "is not a time"),
        (image_files, {"id": "i", "disk_format": "raw", "size": 1, "name": HALF}, "has half of a character"),
        (volume_files, volume(1, size=2**31), "2147483648 is above 2147483647"),
        (volume_files, volume(1, created_at=5), "5 is not a time"),
        (volume_files, {"Name": "v"}, "it has no id"),
        (volume_files, {"id": "v"}, "it has no size"),
        (pool_files, pool("c1@a#p", total_capacity_gb=float("nan")), "nan is not a number"),
        (pool_files, pool("c1@a#p", total_capacity_gb=-1), "-1 is not from 0"),
        (pool_files, pool("c1@a#p", reserved_percentage=1e999), "inf is not a number"),
        (pool_files, pool("c1@a#p", reserved_percentage="infinite"), "'infinite' is not from 0 to 100"),
        (pool_files, pool("c1@a#p", max_over_subscription_ratio=0.5), "0.5 is not from 1"),
    ],
)  # fmt: skip
def test_listings_with_other_values(reader: Any, row: Any, told: str, tmp_path: Path) -> None:
    more = ["internal"] if reader is volume_files else []
    (line,) = lines(reader.read, written(tmp_path / "listing", [row]), *more)
    assert line.startswith(f"{tmp_path}/listing: entry 1") and told in line


def test_listings_that_validate_would_refuse(tmp_path: Path) -> None:
    """A volume twice (on two pages), one without a size, and one of the tenant that is not of the cache."""
    conf = written(tmp_path / "cinder.conf", CONF)
    internal = {"os-vol-tenant-attr:tenant_id": "internal"}
    more = [
        volume(1),
        volume(8, size=0),
        volume(9, name="other", created_at="2026-02-01T00:00:00", **internal),
    ]
    listing = written(tmp_path / "v", [*VOLUMES, *more])
    told = imported(tmp_path / "out", "--conf", conf, "--volumes", listing, "--since", "2026-03-01T00:01:30")
    assert "1 volumes have no size" in told and "1 volumes of the cache's tenant do not belong" in told
    silent = written(tmp_path / "p", [pool("c1@a#real", total_capacity_gb=0), POOLS[1]])
    assert "c1@a#real: report a capacity of 0" in imported(tmp_path / "silent", "--pools", silent)


# Files


@pytest.mark.parametrize(
    "option", ["conf", "service", "dump", "images", "pools", "volumes", "notifications", "db"]
)
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/full", "pipe"])
def test_what_never_ends(option: str, device: str, tmp_path: Path) -> None:
    path = device
    if device == "pipe":
        os.mkfifo(path := str(tmp_path / "pipe"))
    shown = f"sqlite:///{path}" if option == "db" else path
    result: Result = run("import", "--out", tmp_path / "out", f"--{option}", shown)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    if device == "pipe" or option == "db":
        assert line.startswith(f"{shown}: is a device or a pipe, which may never end")
    else:  # as every command tells it
        assert line == f"--{option}: {device} is a device, not a file"


def test_packed_files_that_are_damaged(tmp_path: Path) -> None:
    packed = gzip.compress(json.dumps({"volumes": VOLUMES}).encode())
    for data in (packed[:-9], packed[:40] + bytes(20) + packed[60:], packed[:3]):
        path = tmp_path / "packed"
        path.write_bytes(data)
        assert "cannot be unpacked" in lines(volume_files.read, path, None)[0]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[DEFAULT]\nhost = \xff\n", "line 2: invalid UTF-8"),
        (b"[DEFAULT]\nhost = a\0b\n", "line 2: NUL byte"),
        (b"[DEFAULT\nhost = x\n", "line 1, Invalid section"),
        (b"[DEFAULT]\nhost\n", "line 2"),
        (CONF.encode() + b"reserved_percentage = 999\n", "[b] reserved_percentage"),
        (CONF.encode() + b"max_over_subscription_ratio = 0.5\n", "[b] max_over_subscription_ratio: "),
        (CONF.encode() + b"image_volume_cache_max_count = 10000000000\n", "[b] image_volume_cache_max_c"),
        (CONF.encode() + b"reserved_percentage = $nothing\n", "[b] reserved_percentage"),
        (CONF.encode() + b"[DEFAULT]\nscheduler_max_attempts = 9999999999\n", "[DEFAULT] scheduler_m"),
    ],
)  # fmt: skip
def test_conf(content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "cinder.conf"
    path.write_bytes(content)
    assert told.replace("line 1, ", "line 1: ") in lines(_conf, path)[0]


def _conf(path: Path, problems: Problems) -> object:
    return configuration.read([path], problems)


# Options


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql://u:s3cret@h/c?foo=bar", "PyMySQL has no option 'foo'"),
        ("mysql://u:s3cret@h/c?connect_timeout=soon", "a value that cannot be used, among 'connect_timeout'"),
        ("mysql://u:s3cret@h:99999/c", "cannot be parsed"),
        ("mysql://u:s3cret@h:x/c", "cannot be parsed"),
        (f"mysql://u:s3cret@h{HALF}/c", "cannot be parsed"),
        ("mysql://u:s3cret@h\0/c", "cannot be parsed"),
        ("mysql://u:s3cret@[::1/c", "cannot be parsed"),
        ("postgresql://u:s3cret@/c?host=a:1,b&port=5", "among 'host', 'port'"),
        ("sqlite:///" + __file__ + "?mode=rwc", "leave 'mode' out"),
    ],
)
def test_urls(url: str, told: str) -> None:
    (line,) = lines(parse_url, url)
    assert told in line and "s3cret" not in line


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:s3cret@127.0.0.1:1/c?foo=s3cret",
        "mysql://u:s3cret@127.0.0.1:1/c?unix_socket=/a&unix_socket=/b",
        f"mysql://u:s3cret@{'h' * 300}/c",
        "mysql://u:x@127.0.0.1:1/c?passwd=s3cret",
    ],
)
def test_urls_that_lead_nowhere(url: str) -> None:
    assert all("s3cret" not in line for line in refused(url))


@pytest.mark.parametrize(
    "time",
    [
        "0001-01-01",
        "0001-01-01T00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "1969-12-31",
        "2200-01-01",
        "x" * 999,
    ],
)
def test_since(time: str, tmp_path: Path) -> None:
    pools = written(tmp_path / "pools", POOLS)
    result = run("import", "--out", tmp_path / "out", "--pools", pools, "--since", time)
    assert result.exit_code == 2 and result.stderr.startswith("--since: ") and result.stderr.count("\n") == 1


def test_the_first_and_last_times_are_accepted(sqlite: URL) -> None:
    few(sqlite)
    change(sqlite, "UPDATE volumes SET created_at = '1970-01-01 00:00:00.000000' WHERE rowid = 1")
    assert read(sqlite).since.year == 1970
