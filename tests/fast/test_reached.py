"""What drawn cases seldom come to: small cases in which it happens, on both engines.

`make coverage` runs them uncompiled, and with them tests reach every line of engine `fast`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numba
import numpy as np
import pandas as pd
import pytest
from cinder.scheduler.weights.capacity import CapacityWeigher
from properties.cases import case_of, create, image, one_pool

from sim.analysis.streaming import stream
from sim.analysis.verification import difference
from sim.cinder import engine as cinder
from sim.fast import build, scheduler
from sim.fast import engine as fast
from sim.fast.jit import INTERPRETED, state_of, table_of
from sim.fast.linking import WholeCompiler
from sim.fast.state import DIMENSIONS, TYPES, State
from sim.inputs.scenario import Case
from sim.inputs.trace import write_trace
from sim.model.records import Records

FLASH = {"volume_type": "flash", "pools": {"p0": {}}}
SLOW = {"stream_mib_s": 100}  # Glance sends one GiB in 10.24 s


def same(case: Case, strategy: str) -> Records:
    """The tables that both engines make of a case."""
    records = fast.run(case, strategy)
    assert difference(cinder.run(case, strategy), records) is None
    return records


def blank(time: float, volume_id: str, host: str = "a#p0", **more: Any) -> dict[str, Any]:
    """A create without an image."""
    return create(time, volume_id, "", host, **more)


def delete(time: float, volume_id: str) -> dict[str, Any]:
    return {"time": time, "event": "delete", "volume_id": volume_id}


def of_image(time: float, event: str, image_id: str) -> dict[str, Any]:
    """An image is updated, released or deleted."""
    return {"time": time, "event": event, "image_id": image_id}


def upload(time: float, volume_id: str, image_id: str) -> dict[str, Any]:
    return {"time": time, "event": "upload", "volume_id": volume_id, "image_id": image_id}


def sources(records: Records) -> list[str]:
    return records.requests["source"].tolist()


# -- what failed attempts leave ----------------------------------------------------------------------


@pytest.mark.parametrize("deleted_at", [240, 280])
def test_leftovers_on_two_arrays(deleted_at: float) -> None:
    """A volume fails on `a` at 53.2 s, on `b` at 104.4 s, and is made on `c`.

    `a` and `b` have room for the image but not for the size asked for, as the scheduler does not know of the
    large volumes yet. What is left there goes after 200 s each: the user deletes the volume on `c` before
    both are gone, or between.
    """
    full = FLASH | {"pools": {"p0": {"capacity_gib": 100}}, "max_over_subscription_ratio": 1}
    scenario = {
        "glance": {"stream_mib_s": 20},  # one GiB in 51.2 s
        "cinder": {"backend_stats_polling_interval": 20},
        "backends": {
            "a": full | {"delete_s": 200},
            "b": full | {"delete_s": 200},
            "c": full | {"pools": {"p0": {"capacity_gib": 50}}},
        },
    }
    events = [
        blank(1, "large-a", size_gib=95),
        create(2, "v", "i", "", first_host="a#p0"),
        blank(70, "large-b", "b#p0", size_gib=95),
        delete(deleted_at, "v"),
        create(400, "w", "i", "c#p0"),
    ]
    records = same(case_of(scenario, [image("i")], events), "cache-only")
    assert records.requests["attempts"].tolist() == [3, 1]
    assert records.requests["host"].tolist() == ["c#p0", "c#p0"]
    volumes = records.volumes[records.volumes["kind"] == "user"]
    assert volumes["volume_id"].tolist() == ["large-a", "large-b", "w"]


def test_a_leftovers_delete_takes_the_next_attempts_volume() -> None:
    """All three attempts are on one array: the second finds the first one's volume still there.

    The delete that the second began ends while the third makes its volume, which is not there to be written.
    """
    pools = {"p0": {"capacity_gib": 100}, "p1": {"capacity_gib": 50}}
    scenario = one_pool(create_s=8, delete_s=15, pools=pools, max_over_subscription_ratio=1)
    scenario |= {"glance": SLOW, "cinder": {"backend_stats_polling_interval": 20}}
    events = [blank(1, "large", size_gib=95), create(2, "v", "i", "")]
    records = same(case_of(scenario, [image("i")], events), "cache-only")
    assert records.requests["attempts"].tolist() == [3]
    assert records.requests["error"][0].endswith("volume v is not on a")


# -- evictions for users -----------------------------------------------------------------------------


def evicting(**more: Any) -> dict[str, Any]:
    """Caches that give places back to users, in ten seconds."""
    backend = {"delete_s": 10, **more}
    return {**one_pool(**backend), "what_if": {"evict_for_users": True}, "glance": SLOW}


def test_a_source_goes_while_its_clone_waits_for_a_place() -> None:
    """A hit waits twice: for a place of the array, then for one of its pool, which another create took.

    Meanwhile its entry becomes stale and is deleted; the create downloads.
    """
    scenario = evicting(pools={"p0": {"max_volumes": 5}, "p1": {}}, max_volumes=6)
    events = [
        create(0, "u0", "i1", "a#p1"),
        create(20, "u1", "i0"),
        create(40, "u2", "i2"),
        delete(55, "u0"),
        create(60, "hit", "i0"),
        blank(66, "taker"),
        of_image(66.5, "update_image", "i0"),
        create(67, "newer", "i0"),
    ]
    records = same(case_of(scenario, [image(f"i{n}") for n in range(3)], events), "cache-only")
    assert sources(records)[-2:] == ["download", "download"]
    waited = records.cache_events[records.cache_events["volume_id"] == "hit"]
    assert waited["time"].tolist() == [60, 70]
    assert waited["image_id"].tolist() == ["i1", "i2"]


@pytest.mark.parametrize("busy", [False, True])
def test_the_clone_limit_of_an_entry_that_has_gone(busy: bool) -> None:
    """Two hits wait for places, and the entry that they clone becomes stale.

    The first takes the image-volume's last clone, the second meets the limit. The image-volume is being
    deleted, or (`busy`) has lost its entry but stays, as it has a clone: then the second has it deleted.
    """
    scenario = evicting(
        pools={"p0": {"max_volumes": 6 + busy}},
        max_clones_per_volume=1 + busy,
        delete_with_clones="busy" if busy else "allowed",
    )
    events = [
        *(create(20 * n, f"u{n}", f"i{n}") for n in range(3)),
        *([create(55, "clone", "i0")] if busy else []),
        create(60, "first", "i0"),
        create(60.5, "second", "i0"),
        of_image(61, "update_image", "i0"),
        create(62, "newer", "i0"),
    ]
    records = same(case_of(scenario, [image(f"i{n}") for n in range(3)], events), "cache-only")
    second = records.requests.set_index("volume_id").loc["second"]
    assert sources(records)[-3] == "cache"
    assert second["source"] == ("none" if busy else "download")
    assert second["error"].startswith("SnapshotLimitReached") == busy


# -- images that go --------------------------------------------------------------------------------


@pytest.mark.parametrize("time", [5.0, 10.5])
def test_an_image_goes_while_it_is_put_into_the_store(time: float) -> None:
    """It is deleted while the first create downloads it, or clones it for the store; another create waits."""
    events = [create(0, "v0", "i"), create(1, "v1", "i"), of_image(time, "delete_image", "i")]
    scenario = one_pool(clone_s=1) | {"glance": SLOW}
    records = same(case_of(scenario, [image("i")], events), "on-demand-store")
    assert sources(records) == ["download", "download"]


def test_a_busy_image_volume_of_the_store_stays() -> None:
    """An image is deleted, but a volume was cloned from its image-volume: it stays, and is no orphan."""
    events = [create(0, "v", "i"), of_image(1, "delete_image", "i")]
    scenario = one_pool(delete_with_clones="busy") | {"store": {"home": "a#p0"}}
    records = same(case_of(scenario, [image("i")], events), "store-only")
    assert sources(records) == ["store"]
    assert records.volumes["kind"].tolist() == ["store", "user"]


def test_the_scheduler_prefers_no_pool_for_an_image_that_is_gone() -> None:
    """It is deleted during the first attempt, which fails as the pool is full; no pool can clone it then."""
    pools = {"p0": {"capacity_gib": 100}}
    scenario = one_pool(pools=pools, max_over_subscription_ratio=1)
    scenario |= {"glance": SLOW, "what_if": {"prefer_clones": True}}
    events = [
        blank(0, "large", size_gib=95),
        create(1, "v", "i", ""),
        of_image(2, "delete_image", "i"),
    ]
    records = same(case_of(scenario, [image("i")], events), "cache-only")
    assert records.requests["attempts"].tolist() == [3]
    assert records.requests["error"].tolist() == [
        "NoValidBackend: ImageNotFound: Image i could not be found."
    ]


def test_the_oldest_version_goes_first() -> None:
    """An array that deduplicates holds three versions of an image; the first of them goes first."""
    events: list[dict[str, Any]] = []
    for version in range(3):
        events += [create(version, f"v{version}", "i"), of_image(version + 0.5, "update_image", "i")]
    events += [delete(5 + version, f"v{version}") for version in range(3)]
    records = same(case_of(one_pool(dedupe=True), [image("i")], events), "none")
    usage = records.usage.set_index(["scope", "kind"])["physical_gib_peak"]
    assert usage["pool", "user"] == 3
    assert not records.volumes.size


@pytest.mark.parametrize(
    ("strategy", "container", "cloned"),
    [
        ("cache-only", "bare", "cache"),
        ("on-demand-store", "bare", "store"),
        ("on-demand-store", "ovf", "download"),
    ],
)
def test_releases(strategy: str, container: str, cloned: str) -> None:
    """By itself a release changes nothing; prefetched, the image is where it may be before a user asks."""
    events = [of_image(0, "release", "i"), create(100, "v", "i")]
    for prefetch in (False, True):
        scenario = one_pool() | {"what_if": {"prefetch": prefetch}}
        records = same(case_of(scenario, [image("i", container_format=container)], events), strategy)
        assert sources(records) == [cloned if prefetch else "download"]


# -- uploads -----------------------------------------------------------------------------------------


def test_an_image_goes_while_its_raw_twin_is_cloned() -> None:
    """Nothing holds the twin's location any more: the twin is deleted."""
    events = [blank(0, "v"), upload(1, "v", "new"), of_image(3, "delete_image", "new")]
    scenario = one_pool(clone_s=5) | {"upload": "raw-twin-location"}
    records = same(case_of(scenario, [image("new", fmt="qcow2")], events), "none")
    assert records.uploads["status"].tolist() == ["active"]
    assert records.uploads["end"].tolist() == [6]
    assert records.volumes["kind"].tolist() == ["user"]


@pytest.mark.parametrize("capacity_gib", [20, 0.4])
def test_an_upload_to_two_pools_of_the_store(capacity_gib: float) -> None:
    """The image-volumes are on both pools, or, where one has no space for its data, on none."""
    pools = {"p0": {}, "p1": {}, "p2": {"capacity_gib": capacity_gib}}
    events = [blank(0, "v"), upload(1, "v", "new"), create(2, "w", "new", "a#p1")]
    new = image("new", store_hosts="a#p1;a#p2")
    records = same(case_of(one_pool(pools=pools), [new], events), "replicated-store")
    fits = capacity_gib > 1
    assert records.uploads["error"].tolist() == ["" if fits else "VolumeBackendAPIException"]
    stored = records.volumes[records.volumes["kind"] == "store"]
    assert set(stored["host"]) == ({"a#p0", "a#p1", "a#p2"} if fits else set())


def test_an_upload_too_large_for_the_cache() -> None:
    events = [blank(0, "v"), upload(1, "v", "new")]
    scenario = one_pool(image_volume_cache_max_size_gb=1) | {"upload": "raw-twin-cache"}
    records = same(case_of(scenario, [image("new", 2, fmt="qcow2")], events), "cache-only")
    assert records.cache_events["reason"].tolist() == ["larger than image_volume_cache_max_size_gb"]


# -- numbers -----------------------------------------------------------------------------------------


def test_seconds_that_the_clock_does_not_show() -> None:
    """A step that takes less than the last bit of the time now is over at once, but after all of this now."""
    events = [create(3e6, "v0", "i"), create(3e6, "v1", "i")]
    records = same(case_of(one_pool(create_s=1e-12), [image("i")], events), "none")
    assert records.requests["end"].tolist() == [3e6, 3e6]


@pytest.mark.parametrize("capacity_gib", [33.337, 2e9])
def test_the_scheduler_rounds_capacities(capacity_gib: float) -> None:
    """Four creates on two pools whose free space differs by less than the scheduler's two decimals."""
    pools = {"p0": {"capacity_gib": capacity_gib}, "p1": {"capacity_gib": capacity_gib + 0.003}}
    events = [create(time, f"v{time}", "i", "") for time in range(4)]
    scenario = one_pool(pools=pools)
    records = same(case_of(scenario, [image("i")], events), "none")
    assert records.requests["status"].eq("available").all()


# -- engine `fast` alone -----------------------------------------------------------------------------


@pytest.mark.parametrize("start", [32, 128])
def test_progress_and_arrays_that_grow(start: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """More creates at once than arrays have records: they grow. Progress is told all events at the end."""
    monkeypatch.setattr(build, "START", start)
    events = [create(number, f"v{number}", "i") for number in range(start + 2)]
    case = case_of(one_pool(create_s=1000), [image("i")], events)
    told: list[int] = []
    records = fast.run(case, "none", told.append)
    assert difference(cinder.run(case, "none"), records) is None
    assert told[-1] == len(events)


def test_what_exists_is_placed_once_for_runs_of_other_limits() -> None:
    """A second run, with another limit of the cache, finds what was there at the start unchanged."""
    initial = [
        {"kind": "cache", "volume_id": "", "image_id": "i0", "size_gib": 1, "host": "a#p0", "last_used": -1.0}
    ]
    events = [create(0, "v0", "i1"), create(1, "v1", "i0")]
    case = case_of(one_pool(), [image("i0"), image("i1")], events, initial)
    prepared = fast.Prepared(case, starts=1)
    one = case.scenario.varied({("backends", "a", "image_volume_cache_max_count"): 1})
    entries = []
    for scenario in (case.scenario, one):
        s, _, _ = prepared.play(scenario, "cache-only")
        entries.append(int(s.world[0]["entries"]))
        cache = cinder.run(replace(case, scenario=scenario), "cache-only").cache
        assert entries[-1] == len(cache)
    assert entries == [2, 1]


def test_a_trace_in_stretches_uses_numbers_again(tmp_path: Path) -> None:
    """A volume's delete lasts; the next stretch of the trace has its number for another volume."""
    events = [create(0, "v0", "i"), delete(1, "v0"), create(2, "v1", "i"), delete(30, "v1")]
    case = case_of(one_pool(delete_s=10), [image("i")], events)
    expected = same(case, "none").requests
    write_trace(case.trace, tmp_path / "trace.parquet")
    on_disk = replace(
        case, trace=replace(case.trace, events=case.trace.events.iloc[:0], path=tmp_path / "trace.parquet")
    )
    written = stream(on_disk, "none", tmp_path, "parquet", batch=2)
    pd.testing.assert_frame_equal(pd.read_parquet(written.requests), expected, check_exact=True)


def test_a_create_that_never_ends_is_an_error() -> None:
    case = case_of(one_pool(), [image("i")], [create(0, "v", "i")])
    s, _, _ = fast.Prepared(case).play(case.scenario, "none")
    s.world[0]["under_way"] = 1
    with pytest.raises(RuntimeError, match="1 creates never ended"):
        fast.play(s, table_of(s), None, 1)


def free_capacity(table: Any) -> float:
    return scheduler.free_capacity(state_of(table), 0)


@pytest.mark.parametrize("thin", [True, False])
@pytest.mark.parametrize("free_gib", [55.5, 12.345, 3.0])
@pytest.mark.parametrize("reserved", [0, 15])
def test_free_capacity_is_cinders(thin: bool, free_gib: float, reserved: int) -> None:
    """Also where a thick pool has less free space than it has not provisioned, as no simulated one does."""
    s = State(*(np.zeros((1,) * DIMENSIONS.get(name, 1), TYPES[name]) for name in State._fields))
    pool, backend = s.pools[0], s.backends[0]
    pool["capacity"], pool["seen_free"], pool["seen_provisioned"] = 100.337, free_gib, 60
    backend["thin"], pool["available"] = thin, scheduler.available_gib(100.337, reserved, 1.5, thin)
    free = free_capacity if INTERPRETED else numba.njit(pipeline_class=WholeCompiler)(free_capacity)
    mine = free(table_of(s))
    seen = SimpleNamespace(
        total_capacity_gb=100.337,
        free_capacity_gb=free_gib,
        provisioned_capacity_gb=60,
        thin_provisioning_support=thin,
        max_over_subscription_ratio=1.5,
        reserved_percentage=reserved,
    )
    assert mine == CapacityWeigher()._weigh_object(seen, {})
