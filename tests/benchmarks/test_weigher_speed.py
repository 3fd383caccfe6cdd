"""What the plugin `clone-first` costs the scheduler: one request, with many entries in the cache of a cloud.

`make bench`. Measured is all that the weigher does for a request over eight pools, but for Glance, whose
answer it keeps. Printed is how the database finds the entries. With the benchmarks disabled there are few.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from sqlalchemy import create_engine, insert
from sqlalchemy.engine import URL

from sim.cinder.release import models
from tests.plugins.conftest import (  # noqa: F401
    clone_first,
    empty_database,
    mariadb,
    postgresql,
    target,
)
from tests.whole.process import admin, connected

pytestmark = pytest.mark.filterwarnings("ignore")  # of Cinder's migrations
POOLS, MANY, FEW = 8, 100_000, 80
NOW = datetime(2026, 1, 1)


def entries(count: int) -> list[dict[str, Any]]:
    """Each image on all pools."""
    images = [str(uuid.uuid5(uuid.NAMESPACE_URL, str(number))) for number in range(count // POOLS)]
    of_all = {"cluster_name": None, "image_updated_at": NOW, "last_used": NOW, "size": 1}
    return [
        {**of_all, "host": f"node@array#p{pool}", "image_id": image, "volume_id": image}
        for image in images
        for pool in range(POOLS)
    ]


def test_one_request(benchmark: BenchmarkFixture, clone_first: Any, empty_database: URL) -> None:  # noqa: F811
    rows = entries(MANY if benchmark.enabled else FEW)
    image_id = rows[len(rows) // 2]["image_id"]
    pools = [
        SimpleNamespace(host=host, cluster_name=None, backend_id=host)
        for host in (f"node@array#p{pool}" for pool in range(POOLS))
    ]
    weighed = [SimpleNamespace(obj=pool) for pool in pools]
    volume = {"project_id": "alice", "encryption_key_id": None}
    asked = {"context": admin(), "request_spec": {"image_id": image_id, "volume_properties": volume}}
    known = clone_first.Image(True, NOW, ())
    with connected(empty_database.render_as_string(hide_password=False)):
        engine = create_engine(empty_database)
        with engine.begin() as connection:
            connection.execute(insert(models.ImageVolumeCacheEntry), rows)
        with engine.connect() as connection:
            explain = "EXPLAIN QUERY PLAN" if engine.name == "sqlite" else "EXPLAIN"
            query = (
                f"SELECT * FROM image_volume_cache_entries WHERE image_id = '{image_id}' ORDER BY last_used"
            )
            for line in connection.exec_driver_sql(f"{explain} {query}"):
                print(*line)
        engine.dispose()
        with mock.patch.object(clone_first, "_image", lambda *_: known):
            found = benchmark(lambda: clone_first.PreferClonesWeigher().weigh_objects(weighed, asked))
    assert found == [1.0] * POOLS
