"""What a watch costs the database of a million volumes, and by which indexes.

`make bench`. The rows are those of test_import_speed.py, and the cache's image-volumes, most of them deleted.
With the benchmarks disabled, a small sqlite is read, to see that it still runs.
"""

from __future__ import annotations

import time
import uuid
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from pytest_benchmark.fixture import BenchmarkFixture
from sqlalchemy.engine import URL

from sim.cinder.release import models
from sim.importers.database_url import parse_url
from sim.inputs.problems import Problems
from sim.live.reader import Reader
from tests.benchmarks.test_import_speed import FEW, MILLION, START, STEP_S, empty, fill

pytestmark = pytest.mark.filterwarnings("ignore")  # Cinder and its libraries warn of each other

DELETED, CACHED = 29_000, 1_000
# Steps that read all of a table which grows with the cloud.
WHOLE = {
    "mysql": lambda step: step["type"] == "ALL" and step["table"] in GROWING,
    "postgresql": lambda step: any(f"Seq Scan on {table}" in step["QUERY PLAN"] for table in GROWING),
}
STATISTICS = {"mysql": "ANALYZE TABLE volumes, volume_glance_metadata", "postgresql": "ANALYZE"}
GROWING = ("volumes", "volume_glance_metadata")


def image_volumes(url: URL, deleted: int, cached: int) -> None:
    """Image-volumes of the internal tenant, and the entries of those that exist."""
    engine = sa.create_engine(url)
    volumes, entries = [], []
    with engine.connect() as connection:
        type_id = connection.scalar(sa.select(models.VolumeType.__table__.c.id))
    for number in range(deleted + cached):
        made = START + timedelta(seconds=number * STEP_S)
        gone = number < deleted
        image, volume = str(uuid.uuid5(uuid.NAMESPACE_URL, f"cached {number}")), str(uuid.uuid4())
        volumes.append(
            {
                "id": volume,
                "created_at": made,
                "launched_at": made + timedelta(seconds=60),
                "deleted": gone,
                "deleted_at": made + timedelta(hours=9) if gone else None,
                "terminated_at": made + timedelta(hours=9) if gone else None,
                "status": "deleted" if gone else "available",
                "size": 5,
                "host": f"c1@array-{number % 20}#pool",
                "project_id": "internal",
                "volume_type_id": type_id,
                "display_name": f"image-{image}",
                "use_quota": True,
            }
        )
        if not gone:
            entries.append(
                {
                    "host": volumes[-1]["host"],
                    "image_id": image,
                    "image_updated_at": START,
                    "volume_id": volume,
                    "size": 5,
                    "last_used": made,
                }
            )
    with engine.begin() as connection:
        connection.execute(sa.insert(models.Volume.__table__), volumes)
        connection.execute(sa.insert(models.ImageVolumeCacheEntry.__table__), entries)
        if statistics := STATISTICS.get(url.get_backend_name()):  # as a server makes them by itself, soon
            connection.exec_driver_sql(statistics)
    engine.dispose()


@pytest.mark.parametrize("kind", ["sqlite", "mariadb", "postgresql"])
def test_watch(kind: str, benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    if benchmark.disabled and kind != "sqlite":
        pytest.skip("a server is read in tests/importers, and measured by make bench")
    small = benchmark.disabled
    volumes = FEW if small else MILLION
    with empty(kind, tmp_path) as url:
        fill(url, volumes)
        image_volumes(url, DELETED // 1000 if small else DELETED, CACHED // 100 if small else CACHED)
        database = parse_url(url.render_as_string(hide_password=False), Problems())
        assert database is not None
        asked: list[tuple[str, object]] = []
        sa.event.listen(
            database.engine, "before_cursor_execute", lambda *given: asked.append((given[2], given[3]))
        )
        now = START + timedelta(seconds=volumes * STEP_S)
        reader = Reader(database, now, "internal", lambda place, encrypted: "cache", with_volumes=True)
        took, first = [], 0
        for number in range(3):  # the first, one of those between, and one that scans what was deleted
            begun = time.perf_counter()
            reader.read(now + timedelta(minutes=4 * number))
            took.append(time.perf_counter() - begun)
            first = first or len(asked)
        rows = reader.rows
        assert sum(cache.entries for cache in reader.state.caches.values()) == (10 if small else CACHED)
        with database.engine.connect() as connection:
            plans = [explained(connection, *one) for one in asked[first:]]

        def read() -> None:
            reader.read(now + timedelta(minutes=9))

        benchmark.pedantic(read, rounds=1 if small else 10, iterations=1)
    if not small:
        print(
            f"\n{kind}: {volumes:,} volumes: the first reading {took[0]:.2f} s, then {took[1]:.2f} s and "
            f"{took[2]:.2f} s; {rows:,} rows; {len(plans)} statements explained"
        )
        assert [plan for plan in plans if plan] == []


def explained(connection: sa.Connection, statement: str, values: object) -> list[str]:
    """The steps of a statement's plan that read all of a table which grows with the cloud."""
    whole = WHOLE.get(connection.dialect.name)
    if whole is None or not statement.lstrip().upper().startswith("SELECT"):
        return []
    steps = connection.exec_driver_sql(f"EXPLAIN {statement}", values).mappings()
    return [f"{statement}: {dict(step)}" for step in steps if whole(step)]
