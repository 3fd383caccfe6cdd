"""The watch itself: each check notices when what it checks is broken on purpose."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from cinder import exception
from cinder.image.cache import ImageVolumeCache

from sim.cinder import api, locks
from sim.cinder.database import Database
from sim.cinder.driver import Driver
from sim.cinder.quotas import QuotaTables
from sim.cinder.watch.books import Watch
from sim.cinder.watch.parts import watched_run
from sim.cinder.watch.tables import check
from sim.inputs.scenario import Case
from sim.model import arrays

from .cases import case_of, create, image, one_pool

SIZES = (1, 1, 1, 3)
SLOW = {"create_s": 1.0, "clone_s": 2.0, "extend_s": 0.5, "delete_s": 1.0}


def creates(which: str, **backend: Any) -> Case:
    """Creates of images i0, i1, i2 (1 GiB) and i3 (3 GiB), each long after the one before it.

    `*0`: encrypted; `&0`: together with the one before; `!0`: an update of i0; `-0`: a delete of volume v0.
    """
    events: list[dict[str, Any]] = []
    time = 0
    for number, (mark, name) in enumerate((each[:-1], each[-1]) for each in which.split()):
        time += 0 if mark == "&" else 100
        if mark == "!":
            events.append({"time": time, "event": "update_image", "image_id": f"i{name}"})
        elif mark == "-":
            events.append({"time": time, "event": "delete", "volume_id": f"v{name}"})
        else:
            events.append(create(time, f"v{number}", f"i{name}", encrypted=mark == "*"))
    quota = backend.pop("quota", None)
    scenario = one_pool(**SLOW, **backend) | {"cinder": {"internal_tenant_quota_volumes": quota}}
    return case_of(scenario, [image(f"i{n}", gib) for n, gib in enumerate(SIZES)], events)


def watched(case: Case, strategy: str = "cache-only") -> Watch:
    return watched_run(case, strategy)[1]


def evict_nothing(cache: Any, context: Any, volume: Any) -> bool:
    return True


def evict_one_too_many(cache: Any, context: Any, volume: Any) -> bool:
    cache.max_cache_size_count -= 1
    try:
        return ENSURE_SPACE(cache, context, volume)
    finally:
        cache.max_cache_size_count += 1


def evict_all(cache: Any, context: Any, volume: Any) -> bool:
    for entry in cache.db.image_volume_cache_get_all(context, volume.host):
        cache.delete_cached_volume(context, entry, "")
    return volume.size < 3


def keep_the_entry(cache: Any, context: Any, entry: Any, msg: str) -> None:
    cache.volume_api.volume_rpcapi.delete_volume(context, cache.db.volumes[entry["volume_id"]])


def most_recent_last(db: Any, context: Any, host: str) -> list[Any]:
    return list(db._used.get(host, {}).values())


def forget_orphans(driver: Any, volume: Any) -> None:
    try:
        driver._clock.sleep(driver.array.begin_delete(volume.id))
    except arrays.Busy:
        raise exception.VolumeIsBusy(volume_name=volume.id) from None
    driver.array.end_delete(volume.id)


def no_limits(tables: Any, *_: Any) -> dict[str, int]:
    unlimited: dict[str, int] = tables._unlimited
    return unlimited


def without_a_limit(array: Any, *args: Any) -> float:
    limit, array._max_clones = array._max_clones, math.inf
    try:
        return CLONE(array, *args)
    finally:
        array._max_clones = limit


def do_nothing(*_: Any, **__: Any) -> None: ...


ENSURE_SPACE, CLONE = ImageVolumeCache.ensure_space, arrays.Array.clone

BREAKS: list[tuple[str, Any, str, Callable[..., Any] | None, Case]] = [
    ("I1", ImageVolumeCache, "ensure_space", evict_nothing,
     creates("0 1 2", image_volume_cache_max_count=2)),
    ("I1", ImageVolumeCache, "ensure_space", evict_nothing,
     creates("0 3 1", image_volume_cache_max_size_gb=3)),
    ("I2", ImageVolumeCache, "ensure_space", evict_nothing,
     creates("0 1 &2", image_volume_cache_max_count=1)),
    ("I3", ImageVolumeCache, "ensure_space", evict_one_too_many,
     creates("0 1 2", image_volume_cache_max_count=2)),
    ("I3", Database, "image_volume_cache_get_all", most_recent_last,
     creates("0 1 2", image_volume_cache_max_count=2)),
    ("I4", ImageVolumeCache, "ensure_space", evict_all, creates("0 3", image_volume_cache_max_size_gb=2)),
    ("I5", ImageVolumeCache, "ensure_space", evict_all, creates("0 1")),
    ("I6", ImageVolumeCache, "_should_update_entry", lambda *_: False, creates("0 !0 0")),
    ("I7", ImageVolumeCache, "delete_cached_volume", keep_the_entry, creates("0 !0 0")),
    ("I7", Driver, "delete_volume", forget_orphans, creates("0 0 !0 0", delete_with_clones="busy")),
    ("I8", arrays.Array, "_check_count", do_nothing, creates("0 0", pools={"p0": {"max_volumes": 2}})),
    ("I8", arrays.Array, "_check_space", do_nothing,
     creates("0 1", thin=False, pools={"p0": {"capacity_gib": 12}})),
    ("I8", arrays.Array, "_release", do_nothing, creates("0 -0", image_volume_cache_enabled=False)),
    ("I9", api.CreateRequest, "key", do_nothing, creates("0 *0")),
    ("I16", arrays.Array, "clone", without_a_limit, creates("0 0 0", max_clones_per_volume=1)),
    ("I17", QuotaTables, "quota_get_all_by_project", no_limits, creates("0 1", quota=1)),
    ("I24", Driver, "extend_volume", do_nothing, creates("0")),
    ("I25", locks.Lock, "acquire", lambda *_: True, creates("0 &0")),
]  # fmt: skip


@pytest.mark.parametrize(("invariant", "where", "name", "broken", "case"), BREAKS)
def test_a_break_is_noticed(
    invariant: str, where: Any, name: str, broken: Any, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not watched(case).broken
    monkeypatch.setattr(where, name, broken)
    if name == "acquire":
        monkeypatch.setattr(where, "release", do_nothing)
    assert invariant in watched(case).broken


def test_overshoot_is_as_large_as_the_fills_under_way() -> None:
    """Six fills at once leave six entries in a cache of two; the next one leaves two."""
    images = [image(f"i{number}") for number in range(7)]
    at_once = [create(0, f"v{number}", f"i{number}") for number in range(6)]
    scenario = one_pool(**SLOW, image_volume_cache_max_count=2)
    records, watch = watched_run(case_of(scenario, images, at_once), "cache-only")
    assert (len(records.cache), watch.served["overshoot"], watch.broken) == (6, 4, {})
    later = [*at_once, create(50, "v6", "i6")]
    records, watch = watched_run(case_of(scenario, images, later), "cache-only")
    assert (len(records.cache), watch.broken) == (2, {})


@pytest.mark.parametrize(
    ("invariant", "table", "column", "value"),
    [
        ("I11", "requests", "source", "none"),
        ("I15", "requests", "time", 1.5),
        ("I18", "requests", "end", -1.0),
        ("I18", "requests", "lock_wait_s", 1e9),
        ("I19", "requests", "attempts", 2),
        ("I19", "requests", "host", "a#p1"),
        ("I21", "requests", "source", "store"),
        ("I22", "cache_events", "event", "evict"),
        ("I22", "cache", "image_id", "i2"),
        ("I23", "usage", "provisioned_gib_mean", 1e9),
        ("I24", "requests", "size_gib", 9),
    ],
)
def test_a_wrong_table_is_noticed(invariant: str, table: str, column: str, value: object) -> None:
    records, watch = watched_run(creates("0 1 0"), "cache-only")
    assert not watch.broken
    getattr(records, table).loc[0, column] = value
    check(watch, records)
    assert invariant in watch.broken
