"""A watch recommends other limits when they are much better, says why, and asks a process of its own."""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy.engine import URL

from sim.analysis.statistics import Sample
from sim.importers.importing import Given
from sim.live.again import Asking, Recommendation
from sim.live.promise import Promise
from sim.planner.again import HALF_LIFE_DAYS, LARGE, again
from tests.importers.reading import text
from tests.importers.rows import at, writing
from tests.importers.test_watch import exposed, watching

pytestmark = pytest.mark.filterwarnings("ignore")  # Cinder's code and its libraries warn of each other

DAYS = 10
CONF = """
[DEFAULT]
enabled_backends = a
host = c1
cinder_internal_tenant_project_id = internal
cinder_internal_tenant_user_id = internal-user
[a]
volume_driver = cinder.volume.drivers.lvm.LVMVolumeDriver
image_volume_cache_enabled = true
image_volume_cache_max_count = {}
"""


@pytest.fixture(scope="module")
def cloud(tables_of_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> URL:
    """Two images in turn, each download three minutes long: a cache of one entry keeps neither."""
    path = tmp_path_factory.mktemp("cloud") / "cinder.sqlite"
    path.write_bytes(tables_of_sqlite.read_bytes())
    url = URL.create("sqlite", database=str(path))
    with writing(url) as rows:
        for number in range(4 * DAYS):
            rows.download(6 * number, "ij"[number % 2])
    return url


def asked(url: URL, folder: Path, count: int, promise: Promise | None = None) -> dict[str, Any]:
    conf = folder / "cinder.conf"
    conf.write_text(CONF.format(count))
    return again(Given(conf=[conf], db=text(url), until=at(24 * DAYS)), promise)


def test_limits_that_keep_neither_image_are_too_small(cloud: URL, tmp_path: Path) -> None:
    promise = Promise({"a": {"image_volume_cache_max_count": 5}}, load={"all": {"creates_per_day": 1.0}})
    found = asked(cloud, tmp_path, 1, promise)
    assert found["large"] and found["saves_month_low"] > 0
    assert found["saves_month"] >= LARGE * found["costs_month"]
    limits = found["backends"]["a"]
    assert limits["image_volume_cache_enabled"] and limits["image_volume_cache_max_count"] != 1
    assert found["why"][0] == "[a] image_volume_cache_max_count is 1, and not 5 as promised"
    assert "4.1 volumes from images a day, and not 1" in found["why"][1]  # 39 intervals of six hours


def test_limits_that_keep_both_images_are_large_enough(cloud: URL, tmp_path: Path) -> None:
    assert not asked(cloud, tmp_path, 2)["large"]


DOCUMENT = {
    "at": "2026-03-11T00:00:00+00:00",
    "days": 10.0,
    "large": True,
    "action": "change the limits",
    "backends": {
        "a": {
            "image_volume_cache_enabled": True,
            "image_volume_cache_max_size_gb": 0,
            "image_volume_cache_max_count": 2,
        }
    },
    "costs_month": 300.0,
    "saves_month": 200.0,
    "saves_month_low": 150.0,
    "saves_month_high": 250.0,
    "why": ["more load"],
}
ANSWERS = """
import json, os, sys
answer = json.loads(sys.stdin.readline())["answer"]
if answer:
    answer |= {"why": [f"priority {os.nice(0)}"]}
print(json.dumps(answer))
"""


def test_the_answer_of_a_process_becomes_metrics(sqlite: URL) -> None:
    watch = watching(sqlite)
    watch.asking = Asking([sys.executable, "-c", ANSWERS], {"answer": DOCUMENT}, every_s=3600.0)
    assert not watch.recommended() and "recommends" not in exposed(watch)
    deadline = time.monotonic() + 60
    while watch.asking.found is None and time.monotonic() < deadline:
        watch.asking.poll()
        time.sleep(0.02)
    assert watch.recommended() == [
        "recommended: change the limits; it saves 200 (150 to 250) of 300 a month: priority 19"
    ]
    shown = exposed(watch)
    assert shown["recommends"] == {(): 1.0} and shown["recommended_saving"] == {(): 200.0}
    assert shown["recommended_entries"] == {("a",): 2.0} and shown["recommended_gib"] == {("a",): np.inf}
    told = datetime.fromisoformat(str(DOCUMENT["at"])).timestamp()
    assert shown["recommended_timestamp_seconds"] == {(): told}


@pytest.mark.parametrize(
    ("answer", "failed"),
    [
        ({"problems": ["cinder.conf: is not there"]}, "no recommendation: cinder.conf: is not there"),
        (None, "no recommendation: the planner ended with 0"),
    ],
)
def test_a_process_that_fails_is_told(answer: Any, failed: str, sqlite: URL) -> None:
    watch = watching(sqlite)
    watch.asking = Asking([sys.executable, "-c", ANSWERS], {"answer": answer}, every_s=3600.0)
    watch.asking.wait()
    assert watch.recommended() == [failed]


@pytest.mark.parametrize(
    ("command", "failed"),
    [
        (["/no/such/planner"], "no recommendation: no process for the planner: No such file or directory"),
        ([sys.executable, "-S", "-c", "raise SystemExit(3)"], "no recommendation: the planner ended with 3"),
    ],
)
def test_a_planner_that_does_not_run_stops_nothing(command: list[str], failed: str, sqlite: URL) -> None:
    watch = watching(sqlite)
    watch.asking = Asking(command, {"much": "x" * 1_000_000}, every_s=3600.0)
    watch.asking.wait()
    assert watch.recommended() == [failed]


def test_an_answer_that_is_not_large_recommends_nothing() -> None:
    found = Recommendation.of(json.loads(json.dumps({**DOCUMENT, "large": False})))
    assert not found.large and not found.backends and not found.text


def test_older_days_count_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """The weighted mean times the days; without differences between days there is no width."""
    from types import SimpleNamespace

    from sim.planner.advise_trials import Trials

    days = 2 * HALF_LIFE_DAYS
    case = SimpleNamespace(last_create_s=days * 86_400.0)
    ground = SimpleNamespace(
        simulator=SimpleNamespace(load=SimpleNamespace(warm_up_s=0.0, case=case)),
        task=SimpleNamespace(sample=Sample.of_blocks(days)),
    )
    trials = Trials({False: ground}, None, False, HALF_LIFE_DAYS)  # type: ignore[dict-item, arg-type]
    weights = 2.0 ** -(np.arange(days)[::-1] / HALF_LIFE_DAYS)
    values = np.arange(days, dtype=float)
    assert float(trials.total(values).point) == pytest.approx(days * np.average(values, weights=weights))
    assert weights[-1] == 2 * weights[-1 - HALF_LIFE_DAYS]
    same = trials.total(np.full(days, 3.0))
    assert float(same.point) == pytest.approx(3.0 * days)
    assert np.linalg.norm(same.deviations) == pytest.approx(0.0, abs=1e-9)
