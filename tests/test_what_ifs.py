"""What each switch of `what_if` does: its effect where it can be counted by hand, and what holds always."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from properties.cases import asking, case_of, cases, create, image, what_ifs
from pydantic import ValidationError

import sim
from sim.analysis.verification import difference
from sim.inputs.scenario import Case, WhatIf
from sim.model.initial import misfits
from sim.model.records import Records

PATIENT = settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
ENGINES = ("cinder", "fast")
Row = dict[str, Any]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def run(
    engine: str,
    backends: Row,
    rows: list[Row],
    images: list[Row],
    initial: list[Row] | None = None,
    glance: Row | None = None,
    **switches: bool,
) -> Records:
    """A run of `cache-only` with these switches on."""
    scenario = {
        "tiers": {"flash": {}, "disk": {}},
        "backends": backends,
        "glance": glance or {},
        "what_if": switches,
    }
    return sim.run(case_of(scenario, images, rows, initial), "cache-only", engine)


def backend(**more: Any) -> Row:
    return {"volume_type": "flash", "pools": {"p0": {}}, **more}


def storm(count: int, image_id: str = "i0", time: float = 0.0, host: str = "a#p0", **more: Any) -> list[Row]:
    """Creates at once, named by where they go."""
    return [
        create(time, f"{time}-{host}-{image_id}-{number}", image_id, host, **more) for number in range(count)
    ]


def column(records: Records, name: str) -> list[Any]:
    found: list[Any] = records.requests[name].tolist()
    return found


def test_what_is_off_is_cinders_own() -> None:
    from cinder.volume import manager
    from cinder.volume.flows.manager import create_volume

    from sim.cinder import policies, uploads, what_if

    off = WhatIf()
    assert what_if.create_task(off) is create_volume.CreateVolumeFromSpecTask
    assert what_if.fill(off) is manager.VolumeManager._create_image_cache_volume_entry
    assert policies.CACHES[off.eviction] is policies.ObservedCache
    plain = case_of({"backends": {"a": backend()}}, [image("i0")], [create(0, "v", "i0")])
    assert uploads.twin(plain.scenario) is None
    for name in ("lock_per_pool", "refused_without_lock", "retry_clone_limit"):
        on = WhatIf.model_validate({name: True})
        assert what_if.create_task(on) is not create_volume.CreateVolumeFromSpecTask
    on = WhatIf.model_validate({"fill_lock": True})
    assert what_if.fill(on) is not manager.VolumeManager._create_image_cache_volume_entry


@pytest.mark.parametrize(
    ("switch", "where", "part"),
    [
        ("evict_for_users", "sim.cinder.manager", "PlaceMaker"),
        ("prefer_clones", "sim.cinder.scheduler", "CloneWeigher"),
        ("limits_per_backend", "sim.cinder.parts", "BackendCache"),
        ("prefetch", "sim.model.prefetch", "prefetches"),
    ],
)
def test_what_is_off_takes_no_part(
    switch: str, where: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run is the same without the class or function that the switch brings in; with it on, it is needed."""
    rows = [create(0, "v", "i0", ""), {"time": 50, "event": "update_image", "image_id": "i0"}]
    given = [{"a": backend()}, rows, [image("i0")]]
    whole = run("cinder", *given)
    monkeypatch.setattr(f"{where}.{part}", None)
    assert difference(whole, run("cinder", *given)) is None
    with pytest.raises((TypeError, AttributeError)):
        run("cinder", *given, **{switch: True})


# -- lock_per_pool ---------------------------------------------------------------------------------------


def test_a_lock_per_pool_lets_two_tiers_download_at_once(engine: str) -> None:
    """A GiB takes 10 s to download and nothing else takes time: one tier waits for the other, or not."""
    backends = {"a": backend(), "b": backend(volume_type="disk")}
    rows = [*storm(3), *storm(2, host="b#p0", volume_type="disk")]
    glance = {"streams": None, "stream_mib_s": 102.4}
    waits = {}
    for on in (False, True):
        records = run(engine, backends, rows, [image("i0")], glance=glance, lock_per_pool=on)
        assert column(records, "source") == ["download", "cache", "cache", "download", "cache"]
        waits[on] = column(records, "lock_wait_s"), column(records, "end")
    assert waits[False] == ([0, 10, 10, 10, 20], [10, 10, 10, 20, 20])
    assert waits[True] == ([0, 10, 10, 0, 10], [10, 10, 10, 10, 10])


def test_pools_of_one_array_wait_for_themselves_only(engine: str) -> None:
    backends = {"a": backend(pools={"p0": {}, "p1": {}})}
    glance = {"streams": None, "stream_mib_s": 102.4}
    rows = [*storm(2), *storm(2, host="a#p1")]
    records = run(engine, backends, rows, [image("i0")], glance=glance, lock_per_pool=True)
    assert column(records, "lock_wait_s") == [0, 10, 0, 10]


# -- refused_without_lock --------------------------------------------------------------------------------


def test_a_cache_too_small_for_an_image_is_no_worse_than_none(engine: str) -> None:
    """Without the lock the creates end as if there were no cache: nobody waits, nothing is extended."""
    backends = {"a": backend(extend_s=3, image_volume_cache_max_size_gb=1)}
    glance = {"streams": None, "stream_mib_s": 204.8}
    ends = {}
    for on in (False, True):
        records = run(engine, backends, storm(3), [image("i0", 2)], glance=glance, refused_without_lock=on)
        assert column(records, "source") == ["download"] * 3
        ends[on] = column(records, "end")
        assert len(records.cache_events) == (0 if on else 3)  # each is told to be skipped
    assert ends == {False: [13, 26, 39], True: [10, 10, 10]}
    none = {"a": backend(extend_s=3, image_volume_cache_enabled=False)}
    assert column(run(engine, none, storm(3), [image("i0", 2)], glance=glance), "end") == ends[True]


def test_what_fits_the_cache_is_locked_still(engine: str) -> None:
    backends = {"a": backend(image_volume_cache_max_size_gb=2)}
    glance = {"streams": None, "stream_mib_s": 204.8}
    records = run(engine, backends, storm(2), [image("i0", 2)], glance=glance, refused_without_lock=True)
    assert column(records, "source") == ["download", "cache"]
    assert column(records, "lock_wait_s") == [0, 10]


# -- retry_clone_limit -----------------------------------------------------------------------------------


def test_a_create_at_the_clone_limit_is_tried_again_and_fills_the_cache_anew(engine: str) -> None:
    """The create that meets the limit of one clone gives the entry up, waits 1 s and downloads for 10."""
    backends = {"a": backend(max_clones_per_volume=2)}
    glance = {"streams": None, "stream_mib_s": 102.4}
    rows = [create(100.0 * number, f"v{number}", "i0") for number in range(5)]
    limit = "SnapshotLimitReached: Exceeded the configured limit of 2 snapshots per volume."
    asis = run(engine, backends, rows, [image("i0")], glance=glance)
    assert column(asis, "source") == ["download", "cache", "cache", "none", "download"]
    assert column(asis, "error") == ["", "", "", limit, ""]
    records = run(engine, backends, rows, [image("i0")], glance=glance, retry_clone_limit=True)
    assert column(records, "source") == ["download", "cache", "cache", "download", "cache"]
    assert column(records, "end") == [10, 100, 200, 311, 400]
    assert column(records, "error") == [""] * 5


def test_a_create_is_tried_again_only_once(engine: str) -> None:
    """Each image-volume has one clone: of six every third meets the limit, and of two that wait one again."""
    backends = {"a": backend(max_clones_per_volume=1)}
    rows = [*storm(2), *storm(6, time=50.0)]
    records = run(engine, backends, rows, [image("i0")], retry_clone_limit=True)
    later = ["none", "download", "cache", "download", "download", "cache"]
    assert column(records, "source") == ["download", "cache", *later]
    assert column(records, "end") == [0, 0, 51, 50, 50, 51, 50, 50]
    events = records.cache_events
    assert events["time"][events["event"] == "clone_limit"].tolist() == [50, 50, 51]


# -- limits_per_backend ----------------------------------------------------------------------------------


def test_limits_of_a_backend_bound_its_pools_together(engine: str) -> None:
    """Two entries for two pools: the third gives up what was used least recently, in whatever pool."""
    backends = {"a": backend(pools={"p0": {}, "p1": {}}, image_volume_cache_max_count=2)}
    images = [image("i0"), image("i1")]
    places = [("i0", "a#p0"), ("i0", "a#p1"), ("i0", "a#p0"), ("i1", "a#p0"), ("i0", "a#p1")]
    rows = [create(100.0 * n, f"v{n}", image_id, host) for n, (image_id, host) in enumerate(places)]
    asis = run(engine, backends, rows, images)
    assert column(asis, "source") == ["download", "download", "cache", "download", "cache"]
    records = run(engine, backends, rows, images, limits_per_backend=True)
    assert column(records, "source") == ["download", "download", "cache", "download", "download"]
    evicted = records.cache_events[records.cache_events["event"] == "evict"]
    assert list(zip(evicted["host"], evicted["image_id"], evicted["volume_id"], strict=True)) == [
        ("a#p1", "i0", "v3"),
        ("a#p0", "i0", "v4"),
    ]


def test_limits_of_a_backend_go_with_cinders_own_policy_only() -> None:
    with pytest.raises(ValidationError, match="limits_per_backend needs eviction lru, not sieve"):
        WhatIf.model_validate({"eviction": "sieve", "limits_per_backend": True})


# -- fill_lock -------------------------------------------------------------------------------------------


def test_fills_at_the_same_time_keep_the_limits(engine: str) -> None:
    """Two images are there at once, and their clones for the cache take 5 s: two entries, or one."""
    backends = {"a": backend(clone_s=5, image_volume_cache_max_count=1)}
    images = [image("i0"), image("i1")]
    rows = [*storm(1), *storm(1, "i1")]
    asis = run(engine, backends, rows, images)
    assert (asis.cache["image_id"].tolist(), column(asis, "end")) == (["i0", "i1"], [5, 5])
    records = run(engine, backends, rows, images, fill_lock=True)
    assert (records.cache["image_id"].tolist(), column(records, "end")) == (["i1"], [5, 10])
    assert column(records, "lock_wait_s") == [0, 5]


@PATIENT
@given(
    case=cases(whole=True),
    what_if=what_ifs("lru"),
    strategy=st.sampled_from(("cache-only", "combined")),
    upload=st.sampled_from(("copy", "raw-twin-cache")),
)
def test_limits_hold_whenever_an_entry_is_made(
    case: Case, what_if: WhatIf, strategy: str, upload: str
) -> None:
    """By a fill, or by an upload's twin."""
    case = replace(case, scenario=case.scenario.model_copy(update={"upload": upload}))
    assume(not misfits(case, [strategy]))
    what_if = what_if.model_copy(update={"fill_lock": True})
    records = sim.run(asking(case, what_if), strategy, "fast")
    held: dict[str, dict[tuple[str, str], int]] = defaultdict(dict)

    def of(host: str) -> str:
        return host.partition("#")[0] if what_if.limits_per_backend else host

    for row in case.initial[case.initial["kind"] == "cache"].itertuples():
        held[of(row.host)][row.host, row.image_id] = row.size_gib
    for row in records.cache_events.itertuples():
        entries = held[of(row.host)]
        if row.event == "create":
            entries[row.host, row.image_id] = row.size_gib
            spec = case.scenario.backends[row.host.partition("#")[0]]
            assert len(entries) <= (spec.image_volume_cache_max_count or math.inf)
            assert sum(entries.values()) <= (spec.image_volume_cache_max_size_gb or math.inf)
        elif row.event != "skip":
            del entries[row.host, row.image_id]


# -- prefetch --------------------------------------------------------------------------------------------


def test_a_release_fills_every_cache_that_keeps_the_image(engine: str) -> None:
    """A GiB takes 10 s. Two caches keep i0, one after the other (its lock); c's refuses it, d has none."""
    backends = {
        "a": backend(),
        "b": backend(volume_type="disk"),
        "c": backend(image_volume_cache_max_size_gb=1),
        "d": backend(image_volume_cache_enabled=False),
    }
    glance = {"streams": None, "stream_mib_s": 102.4}
    rows: list[Row] = [{"time": 5.0, "event": "release", "image_id": "i0"}]
    for n, host in enumerate(("a#p0", "b#p0", "c#p0", "d#p0")):
        kind = "disk" if host == "b#p0" else "flash"
        rows.append(create(100.0 + 50 * n, f"v{n}", "i0", host, volume_type=kind))
    asis = run(engine, backends, rows, [image("i0", 2)], glance=glance)
    assert column(asis, "source") == ["download"] * 4
    records = run(engine, backends, rows, [image("i0", 2)], glance=glance, prefetch=True)
    assert column(records, "volume_id") == ["v0", "v1", "v2", "v3"]
    assert column(records, "source") == ["cache", "cache", "download", "download"]
    made = records.cache_events[records.cache_events["event"] == "create"]
    assert list(zip(made["time"], made["host"], made["volume_id"], strict=True)) == [
        (25, "a#p0", ""),
        (45, "b#p0", ""),
    ]
    assert len(records.volumes[records.volumes["kind"] == "user"]) == 4  # what was made to fill is deleted


def test_an_update_fetches_the_new_version_of_the_owner(engine: str) -> None:
    rows = [
        create(0.0, "v0", "i0", project="alice"),
        {"time": 50.0, "event": "update_image", "image_id": "i0"},
        create(100.0, "v1", "i0", project="alice"),
        {"time": 150.0, "event": "delete_image", "image_id": "i0"},
        {"time": 150.0, "event": "release", "image_id": "i0"},  # too late: nothing comes of it
    ]
    for on, source in ((False, "download"), (True, "cache")):
        records = run(engine, {"a": backend()}, rows, [image("i0", owner="alice")], prefetch=on)
        assert column(records, "source") == ["download", source]
        assert records.cache_events["event"].tolist() == ["create", "stale", "create"]
        assert set(records.volumes["volume_id"]) >= {"v0", "v1"}


@pytest.mark.parametrize("strategy", ("none", "store-only", "replicated-store"))
def test_without_a_cache_nothing_is_fetched_before(engine: str, strategy: str) -> None:
    rows = [{"time": 0.0, "event": "release", "image_id": "i0"}, create(100.0, "v", "i0")]
    case = case_of({"backends": {"a": backend()}}, [image("i0", fmt="qcow2")], rows)
    records = sim.run(asking(case, WhatIf(prefetch=True)), strategy, engine)
    usage = records.usage.set_index(["scope", "kind"])
    assert usage.loc[("all", "user"), "volumes_peak"] == 1


def test_a_release_changes_nothing_in_cinder(engine: str) -> None:
    rows = [create(0.0, "v0", "i0"), create(100.0, "v1", "i0")]
    release = {"time": 50.0, "event": "release", "image_id": "i0"}
    with_release = run(engine, {"a": backend()}, [rows[0], release, rows[1]], [image("i0")])
    without = run(engine, {"a": backend()}, rows, [image("i0")])
    pd.testing.assert_frame_equal(with_release.requests, without.requests)
    pd.testing.assert_frame_equal(with_release.usage, without.usage)


# -- evict_for_users -------------------------------------------------------------------------------------

FULL = "VolumeBackendAPIException: Bad or unexpected response from the storage volume backend API: "


READY = {
    "delete_with_clones": "allowed",
    "delete_s": 0.0,
    "clone_s": 0.0,
    "clone_mib_s": None,
    "image_volume_cache_enabled": True,
}


def evictions(records: Records) -> list[tuple[float, str, str]]:
    events = records.cache_events[records.cache_events["reason"] == "place for a user's volume"]
    assert set(events["event"]) <= {"evict"}
    return list(zip(events["time"], events["image_id"], events["volume_id"], strict=True))


def test_a_create_at_the_volume_limit_evicts_what_was_used_least_recently(engine: str) -> None:
    """Four places: two users' volumes and two entries. The third user's waits 7 s for i0's to go."""
    backends = {"a": backend(pools={"p0": {"max_volumes": 4}}, delete_s=7, clone_s=1)}
    images = [image("i0"), image("i1")]
    rows = [create(100.0 * n, f"v{n}", name) for n, name in enumerate(("i0", "i1", "i1", "i1"))]
    asis = run(engine, backends, rows, images)
    assert column(asis, "error") == ["", "", *[f"{FULL}a#p0 is at its limit of 4 volumes"] * 2]
    records = run(engine, backends, rows, images, evict_for_users=True)
    assert column(records, "source") == ["download", "download", "cache", "download"]
    assert column(records, "end") == [1, 101, 208, 307]
    assert evictions(records) == [(200, "i0", "v2"), (300, "i1", "v3")]


def test_an_array_at_its_limit_evicts_from_any_pool_and_a_pool_from_its_own(engine: str) -> None:
    backends = {"a": backend(pools={"p0": {}, "p1": {"max_volumes": 2}}, max_volumes=4)}
    images = [image("i0"), image("i1")]
    rows = [
        create(0.0, "v0", "i0"),
        create(100.0, "v1", "i1", "a#p1"),
        create(200.0, "v2", "", "a#p1"),  # of the pool, i1's
        create(300.0, "v3", "", "a#p0"),
        create(400.0, "v4", "", "a#p0"),  # of the array, i0's
        create(500.0, "v5", "i0", "a#p0", size_gib=1),
    ]
    records = run(engine, backends, rows, images, evict_for_users=True)
    assert evictions(records) == [(200, "i1", "v2"), (300, "i0", "v3")]
    assert column(records, "error") == ["", "", f"{FULL}a is at its limit of 4 volumes"]


def test_an_image_volume_goes_on_its_node_and_the_create_goes_on_where_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Five places: v0's image-volume, which n1 made, goes for v3, which n2 makes."""
    from sim.cinder.clock import current_process
    from sim.cinder.driver import Driver

    steps: list[tuple[str, str]] = []

    def noted(name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*args: Any) -> Any:
            steps.append((name, current_process().node))
            return step(*args)

        return noting

    for name in ("create_cloned_volume", "delete_volume"):
        monkeypatch.setattr(Driver, name, noted(name, getattr(Driver, name)))
    backends = {"a": backend(nodes=["n1", "n2"], pools={"p0": {"max_volumes": 5}})}
    rows = [create(100.0 * n, f"v{n}", name) for n, name in enumerate(("i0", "i1", "", "i1"))]
    records = run("cinder", backends, rows, [image("i0"), image("i1")], evict_for_users=True)
    assert evictions(records) == [(300, "i0", "v3")]
    fills = [("create_cloned_volume", "n1"), ("create_cloned_volume", "n2")]
    again = ("create_cloned_volume", "n2")
    assert steps == [*fills, again, ("delete_volume", "n1"), again]


def test_a_busy_image_volume_ends_the_tries(engine: str) -> None:
    """It has a clone and stays, without its entry."""
    backends = {"a": backend(pools={"p0": {"max_volumes": 4}}, delete_with_clones="busy")}
    rows = [*storm(2), create(50.0, "v", "i1"), create(60.0, "w", "i1")]
    records = run(engine, backends, rows, [image("i0"), image("i1")], evict_for_users=True)
    assert column(records, "source") == ["download", "cache", "download", "none"]
    assert evictions(records) == [(60, "i0", "w")]


def test_a_fill_evicts_nothing_at_the_volume_limit(engine: str) -> None:
    backends = {"a": backend(pools={"p0": {"max_volumes": 3}})}
    rows = [*storm(1), create(50.0, "v", "i1")]
    records = run(engine, backends, rows, [image("i0"), image("i1")], evict_for_users=True)
    assert evictions(records) == []
    assert records.cache["image_id"].tolist() == ["i0"]


@PATIENT
@given(case=cases(whole=True), what_if=what_ifs("lru"), strategy=st.sampled_from(("cache-only", "combined")))
def test_no_create_fails_at_the_volume_limit_while_an_entry_can_go(
    case: Case, what_if: WhatIf, strategy: str
) -> None:
    """Where an image-volume is either cached or gone: clones and deletes take no time, and none is busy."""
    assume(not misfits(case, [strategy]))
    what_if = what_if.model_copy(update={"evict_for_users": True})
    backends = {name: spec.model_copy(update=READY) for name, spec in case.scenario.backends.items()}
    scenario = case.scenario.model_copy(update={"backends": backends})
    case = asking(replace(case, scenario=scenario), what_if)
    records = sim.run(case, strategy, "fast")
    failed = records.requests["error"].str.contains("at its limit of")
    assert not records.requests["cache_held"][failed].any()
