"""How fast a database of a million volumes is read, and in how much memory.

`make bench`. The schema is Cinder's own, the rows are written in bulk. A process of its own reads; its peak
memory is shown. With the benchmarks disabled a small one is read, to see that it still runs.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from pytest_benchmark.fixture import BenchmarkFixture
from sqlalchemy.engine import URL

from sim.cinder.release import models
from sim.importers.database_schema import reflect
from sim.importers.database_url import parse_url
from sim.inputs.problems import Problems
from tests.importers import servers
from tests.whole.process import connected

pytestmark = pytest.mark.filterwarnings("ignore")  # Cinder and its libraries warn of each other

MILLION, FEW = 1_000_000, 300  # volumes
CHUNK = 20_000
IMAGES, HOSTS, STEP_S = 500, 20, 10
MIGRATED = 20  # of so many volumes one was moved
START = datetime(2026, 1, 1)
READ = """
import json, resource, sys, time
from sim.importers import database
from sim.inputs.problems import Problems
problems, start = Problems(), time.perf_counter()
history = database.read(sys.argv[1], None, None, "internal", problems)
problems.raise_any()
looked, rows, last = time.perf_counter(), 0, None
for batch in history.batches():
    assert batch["time"].is_monotonic_increasing and (last is None or last <= batch["time"].iloc[0])
    rows, last = rows + len(batch), batch["time"].iloc[-1]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"rows": rows, "read_s": looked - start, "batches_s": time.perf_counter() - looked,
                  "images": len(history.images), "peak_mib": peak / 1024}))
"""


def fill(url: URL, volumes: int) -> int:
    """Writes so many volumes, each from an image; gives how many events they are."""
    rng = np.random.default_rng(1)
    image_ids = [str(uuid.uuid5(uuid.NAMESPACE_URL, f"image {number}")) for number in range(IMAGES)]
    engine = sa.create_engine(url)
    events = 0
    with connected(url.render_as_string(hide_password=False)), engine.begin() as connection:
        type_id = connection.scalar(sa.select(models.VolumeType.__table__.c.id))
        for first in range(0, volumes, CHUNK):
            count = min(CHUNK, volumes - first)
            image = rng.zipf(1.3, count) % IMAGES
            life = rng.exponential(STEP_S * volumes / 4, count)
            rows, metadata = [], []
            for number in range(count):
                made = START + timedelta(seconds=(first + number) * STEP_S)
                gone = made + timedelta(seconds=int(life[number]))
                deleted = gone < START + timedelta(seconds=volumes * STEP_S)
                events += 1 + deleted
                volume_id = str(uuid.UUID(bytes=rng.bytes(16)))
                rows.append(
                    {
                        "id": volume_id,
                        "created_at": made,
                        "launched_at": made + timedelta(seconds=3),
                        "deleted": deleted,
                        "deleted_at": gone + timedelta(seconds=2) if deleted else None,
                        "terminated_at": gone if deleted else None,
                        "status": "deleted" if deleted else "in-use",
                        "size": 20,
                        "host": f"c1@array-{number % HOSTS}#pool",
                        "project_id": f"project-{number % 100}",
                        "volume_type_id": type_id,
                        "display_name": f"root disk {number}",
                        "display_description": None,
                        "bootable": True,
                        "use_quota": True,
                    }
                )
                if number % MIGRATED == 0:
                    rows.append(_left_behind(rows[-1], str(uuid.UUID(bytes=rng.bytes(16)))))
                metadata += [
                    {
                        "volume_id": volume_id,
                        "key": key,
                        "value": value,
                        "created_at": made,
                        "deleted": deleted,
                        "deleted_at": gone + timedelta(seconds=2) if deleted else None,
                    }
                    for key, value in (
                        ("image_id", image_ids[image[number]]),
                        ("disk_format", "qcow2"),
                        ("container_format", "bare"),
                        ("size", "1073741824"),
                    )
                ]
            connection.execute(sa.insert(models.Volume.__table__), rows)
            connection.execute(sa.insert(models.VolumeGlanceMetadata.__table__), metadata)
    engine.dispose()
    return events


def _left_behind(volume: dict[str, Any], volume_id: str) -> dict[str, Any]:
    """What Cinder keeps of a volume at its old place."""
    gone = volume["launched_at"] + timedelta(seconds=60)
    told = {"display_description": f"migration src for {volume['id']}", "use_quota": False}
    deleted = {"deleted": True, "status": "deleted", "deleted_at": gone, "terminated_at": None}
    return {**volume, **told, **deleted, "id": volume_id}


@contextlib.contextmanager
def empty(kind: str, folder: Path) -> Iterator[URL]:
    if kind == "sqlite":
        yield URL.create("sqlite", database=str(folder / "cinder.sqlite"))
        return
    with getattr(servers, kind)() as server, server.database() as url:
        yield url


@pytest.mark.parametrize("kind", ["sqlite", "mariadb", "postgresql"])
def test_import(kind: str, benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    if benchmark.disabled and kind != "sqlite":
        pytest.skip("a server is read in tests/importers, and measured by make bench")
    volumes = FEW if benchmark.disabled else MILLION
    found: list[dict[str, Any]] = []
    with empty(kind, tmp_path) as url:
        events = fill(url, volumes)
        command = [sys.executable, "-c", READ, url.render_as_string(hide_password=False)]

        def read() -> None:
            done = subprocess.run(command, capture_output=True, text=True)
            assert not done.returncode, done.stderr
            found.append(json.loads(done.stdout))

        benchmark.pedantic(read, rounds=1, iterations=1)
    one = found[0]
    assert one["rows"] == events
    if benchmark.stats is not None:
        benchmark.extra_info.update(one)
        print(
            f"\n{kind}: {volumes:,} volumes: read in {one['read_s']:.1f} s, {events:,} events in "
            f"{one['batches_s']:.1f} s ({events / one['batches_s']:,.0f}/s), peak {one['peak_mib']:.0f} MiB"
        )


def slow_steps(connection: sa.Connection, statement: str) -> list[str]:
    """The steps of a plan in which each row is compared with all of another table."""
    how = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
    explained = sa.text(f"{how} {statement}".replace(":", "\\:"))
    plan = [str(step) for step in connection.execute(explained).mappings()]
    assert len(plan) > 3
    if connection.dialect.name == "sqlite":
        joins = [step for step in plan if "LEFT-JOIN" in step]
        assert len(joins) > 1
        return [join for join in joins if not re.search(r"\bSEARCH\b.*\bvolume_id=", join)]
    return [step for step in plan if "join buffer" in step or "Nested Loop" in step]


@pytest.mark.parametrize("kind", ["sqlite", "mariadb", "postgresql"])
def test_no_statement_compares_all_rows_with_all(kind: str, tmp_path: Path) -> None:
    """As databases do where they find no index, or think that there are few rows: a million take hours."""
    until = START + timedelta(days=1)
    with empty(kind, tmp_path) as url:
        fill(url, 2_000)
        database = parse_url(url.render_as_string(hide_password=False), Problems())
        assert database is not None
        with database.snapshot() as connection:
            schema = reflect(connection, "", Problems())
            assert schema is not None
            schema.tenant = "internal"
            for statement in (schema.events(START, until), sa.select(schema.with_image(schema.users()))):
                text = str(statement.compile(connection, compile_kwargs={"literal_binds": True}))
                assert slow_steps(connection, text) == []
