"""Engine `cinder` against the whole of Cinder, and the whole of Cinder against known facts."""

from __future__ import annotations

import datetime
from pathlib import Path

import pandas as pd
import pytest
from oslo_config import cfg
from oslo_utils import timeutils

from .reference import Result, run_whole
from .scenarios import CASES, STRATEGIES

pytestmark = [pytest.mark.whole, pytest.mark.filterwarnings("ignore")]

DECISIONS = [*("volume_id", "image_id", "volume_type", "host", "size_gib", "source", "status", "attempts")]
UPLOADED = ["volume_id", "image_id", "host", "status", "error"]
ENTRY = ["host", "image_id", "size_gib"]


@pytest.mark.parametrize(
    ("name", "strategy"),
    [(name, strategy) for name in CASES for strategy in STRATEGIES[name]],
)
def test_engine_agrees_with_whole_cinder(name: str, strategy: str, tmp_path: Path) -> None:
    engine = pytest.importorskip("sim.cinder.engine")
    case = CASES[name](tmp_path)
    whole, light = run_whole(case, strategy), engine.run(case, strategy)
    for ours, theirs, decided in (
        (light.requests, whole.requests, DECISIONS),
        (light.uploads, whole.uploads, UPLOADED),
    ):
        pd.testing.assert_frame_equal(ours[decided].astype(str), theirs[decided].astype(str))
        times = ["time", "end"]
        pd.testing.assert_frame_equal(
            ours[times].astype(float), theirs[times].astype(float), rtol=0, atol=1e-6
        )
    ours, theirs = (
        frame.sort_values([*ENTRY, "last_used"], ignore_index=True) for frame in (light.cache, whole.cache)
    )
    pd.testing.assert_frame_equal(ours[ENTRY].astype(str), theirs[ENTRY].astype(str))
    # Every reading of the clock takes a microsecond, and whole Cinder reads it far more often.
    pd.testing.assert_series_equal(
        ours.last_used.astype(float), theirs.last_used.astype(float), rtol=0, atol=5e-3
    )


def run(name: str, folder: Path, strategy: str = "cache-only") -> Result:
    return run_whole(CASES[name](folder), strategy)


# What CINDER.md says of whole Cinder, so that the reference itself is not taken on trust


def test_an_undersized_cache_makes_a_convoy(tmp_path: Path) -> None:
    cached = run("refused_image", tmp_path / "cached").requests.end[:4].round(2)
    plain = run("refused_image", tmp_path / "plain", "none").requests.end[:4].round(2)
    assert list(cached) == [41.0, 82.0, 123.0, 164.0]
    assert list(plain) == [41.0] * 4


def test_fills_at_once_overshoot_the_limit(tmp_path: Path) -> None:
    case = CASES["overshoot"](tmp_path)
    events = case.trace.events
    at_once = type(case.trace)(events[events.time == 0], case.trace.start, case.trace.path)
    whole = run_whole(type(case)(case.path, case.scenario, case.images, at_once, case.initial), "cache-only")
    assert len(whole.cache) == 6  # max_count is 2


def test_the_clone_limit_fails_a_request_and_drops_the_entry(tmp_path: Path) -> None:
    requests = run("clone_limit", tmp_path).requests
    assert list(requests.source[:6]) == ["download", *["cache"] * 3, "none", "download"]
    assert requests.error[4].startswith("SnapshotLimitReached")


def test_busy_arrays_leave_orphans(tmp_path: Path) -> None:
    whole = run("busy_deletes", tmp_path)
    assert len(whole.orphans) > 1
    assert len(whole.cache) == 1


def test_a_larger_cache_can_have_fewer_hits(tmp_path: Path) -> None:
    assert "cache" not in set(run("larger_cache_fewer_hits", tmp_path).requests.source)


def test_waiters_are_served_what_they_read(tmp_path: Path) -> None:
    requests = run("update_during_a_fill", tmp_path).requests
    assert list(requests.source[:3]) == ["download", "cache", "cache"]


def test_a_run_leaves_nothing_behind(tmp_path: Path) -> None:
    first = run("lru_by_count", tmp_path / "a")
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    assert abs(timeutils.utcnow() - now) < datetime.timedelta(minutes=1)
    assert not cfg.CONF.allowed_direct_url_schemes
    assert cfg.CONF.cinder_internal_tenant_project_id is None
    again = run("lru_by_count", tmp_path / "b")
    pd.testing.assert_frame_equal(first.requests, again.requests)
