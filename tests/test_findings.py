from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from handmade import FAILED, case_of, findings, records_of

import sim
from sim.analysis.findings import most, overshoot
from sim.inputs.scenario import Case, Store, WhatIf
from sim.model.records import Records

REFUSED = {"event": "skip", "reason": "larger than image_volume_cache_max_size_gb"}


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return case_of(tmp_path_factory.mktemp("case"))


def fill(time: float, **changes: Any) -> dict[str, Any]:
    return {"time": time, "volume_id": f"v{time}"} | changes


def evict(time: float, **changes: Any) -> dict[str, Any]:
    return fill(time, event="evict", **changes)


def asking(case: Case, switch: str) -> Case:
    what_if = WhatIf.model_validate({switch: True})
    return replace(case, scenario=case.scenario.model_copy(update={"what_if": what_if}))


def only(records: Records, case: Case, strategy: str = "cache-only") -> str:
    (line,) = findings(records, case, strategy)
    return line


def test_silent_when_nothing_stands_out(case: Case) -> None:
    quiet = records_of([{}, {"source": "cache"}], [fill(0), fill(5), evict(9), fill(9)])
    assert findings(quiet, case, "cache-only") == []
    assert findings(records_of([]), case, "none") == []


def test_failed_creates_by_exception(case: Case) -> None:
    spread = FAILED | {"error": "NoValidBackend: VolumeBackendAPIException: Bad response: full"}
    lost = FAILED | {"error": "NoValidBackend: No valid backend was found"}
    line = only(records_of([FAILED, FAILED, FAILED, spread, spread, lost, {}]), case)
    assert line == (
        "flash: 6 creates of 7 failed:"
        " NoSpace 3, NoValidBackend after VolumeBackendAPIException 2, NoValidBackend 1"
    )


def test_failed_creates_without_an_image(case: Case) -> None:
    held = FAILED | {"image_id": "", "cache_held": 2}
    lines = findings(records_of([{}], others=[held, held | {"cache_held": 3}, {}]), case, "cache-only")
    assert lines == [
        "flash: 2 creates without an image of 3 failed: NoSpace 2",
        "flash: 2 creates without an image failed at the array's volume limit while up to 3 cached"
        " image-volumes, which never give way to users, held places: lower image_volume_cache_max_count"
        " or raise max_volumes",
    ]


def test_refused_images(case: Case) -> None:
    events = [
        fill(1, image_id="huge", size_gib=40, **REFUSED),
        fill(2, image_id="huge", size_gib=40, **REFUSED),
        fill(3, image_id="007", size_gib=30, **REFUSED),
    ]
    line = only(records_of([{}], events), case)
    assert line == (
        "fast#p0: the cache refuses [b]raw[/b] (30 GiB), huge (40 GiB), larger than"
        " image_volume_cache_max_size_gb (20); 3 creates of them downloaded one after another"
        " inside the image's lock, which is worse than no cache"
    )
    twin = fill(4, image_id="huge", size_gib=40, **REFUSED) | {"volume_id": ""}  # of an upload
    assert only(records_of([{}], [twin]), case) == (
        "fast#p0: the cache refuses huge (40 GiB), larger than image_volume_cache_max_size_gb (20)"
    )


def test_waits_behind_a_fill(case: Case) -> None:
    waits = [{"lock_wait_s": wait} for wait in (0.0, 10.0, 20.0, 30.0)]
    line = only(records_of(waits), case)
    assert line == (
        "flash: 3 creates of 4 waited for their image's lock, behind another create's fill:"
        " p95 29 s, at most 30 s"
    )


def test_slow_creates(case: Case) -> None:
    line = only(records_of([{"end": 180.0}, {"end": 181.0}, {"end": 500.0}]), case)
    assert line == (
        "flash: 2 creates of 3 took longer than boot_timeout_s (180 s), the longest 500 s:"
        " a boot would have given up"
    )
    assert findings(records_of([FAILED | {"end": 500.0}]), case, "none") == [
        "flash: 1 create of 1 failed: NoSpace 1"
    ]


def test_fills_that_failed_after_evicting(case: Case) -> None:
    reason = "fill failed: VolumeBackendAPIException"
    events = [
        *(fill(time, image_id=f"i{time}") for time in (0, 1)),
        evict(5, volume_id="a"),
        fill(6, event="skip", volume_id="a", reason=reason),
        evict(7, volume_id="b"),  # b's fill failed, then another attempt's succeeded
        fill(8, event="skip", volume_id="b", reason=reason),
        fill(9, volume_id="b"),
        fill(9, event="skip", volume_id="c", reason="fill failed: OverQuota", host="fast#p1"),
    ]
    limited = {("cinder", "internal_tenant_quota_volumes"): 10}
    case = replace(case, scenario=case.scenario.varied(limited))
    assert findings(records_of([{}], events), case, "cache-only") == [
        "fast#p0: 2 cache fills failed (VolumeBackendAPIException 2) and cached nothing;"
        " 1 entry evicted to make room, which nothing replaced",
        "fast#p1: 1 cache fill failed (OverQuota 1) and cached nothing;"
        " OverQuota is the internal tenant's quota (10 volumes), which caps the caches of all backends"
        " together: raise it with openstack quota set",
    ]


def test_entries_lost_to_the_clone_limit(case: Case) -> None:
    events = [fill(0), fill(5, event="clone_limit", reason="SnapshotLimitReached")]
    line = only(records_of([{}], events), case)
    assert line.startswith("fast#p0: 1 cache entry lost to the array's clone limit")
    assert "(max_clones_per_volume 32)" in line


def test_orphans_that_stay(case: Case) -> None:
    usage = [
        ("pool", "fast#p0", "orphan", 1.0, 4.0, 0.0, 0.0, 0.0, 0.0, 3),
        ("pool", "fast#p1", "orphan", 1.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0),
        ("tier", "flash", "orphan", 1.0, 4.0, 0.0, 0.0, 0.0, 0.0, 3),
        ("pool", "fast#p1", "cache", 1.0, 4.0, 0.0, 0.0, 0.0, 0.0, 3),
    ]
    line = only(records_of([{}], usage=usage), case)
    assert line == (
        "fast#p0: orphans, 3 image-volumes without a cache entry (at most 4 at once):"
        " nothing reclaims them, delete them by hand"
    )


def test_users_refused_while_the_cache_held_places(case: Case) -> None:
    rows = [FAILED | {"cache_held": held} for held in (0, 2, 5)]
    _, line = findings(records_of(rows), case, "cache-only")
    assert line == (
        "flash: 2 creates failed at the array's volume limit while up to 5 cached image-volumes,"
        " which never give way to users, held places: lower image_volume_cache_max_count or raise"
        " max_volumes"
    )
    _, line = findings(records_of(rows), asking(case, "evict_for_users"), "cache-only")
    assert line == (
        "flash: 2 creates failed at the array's volume limit while up to 5 cached image-volumes"
        " held places: lower image_volume_cache_max_count or raise max_volumes"
    )


def test_a_store_without_images(case: Case) -> None:
    line = only(records_of([{}]), case, "store-only")
    assert line.startswith("no image is in the Cinder store")
    assert findings(records_of([{}]), case, "cache-only") == []


def test_store_images_that_are_not_cloned(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("store")
    case = case_of(folder, store={"home": "fast#p0"})
    cloned = {"source": "store"}
    rows: list[dict[str, Any]] = [{"image_id": "qcow"}, cloned, {"host": "fast#p1"}, FAILED | {"host": ""}]
    assert findings(records_of(rows), case, "combined")[1:] == [
        "1 of 3 images of the Cinder store are not raw and bare: they take 1 GiB there and are"
        " never cloned; 1 create asked for them",
        "1 of 2 creates of raw images of the Cinder store ran on pools without an image-volume of"
        " theirs, and only the same pool can clone it",
    ]


def test_what_a_finding_costs(case: Case) -> None:
    """Seconds of the creates that it names; a failed one counts boot_timeout_s, 180 s. Waits count too."""
    slow, waited = {"end": 500.0, "volume_type": "disk"}, {"lock_wait_s": 7.0, "end": 30.0}
    found = findings(records_of([FAILED, FAILED, slow, waited, waited, {}]), case, "cache-only")
    told = [(line.tier, line.lost_s, line.split(" create")[0]) for line in most(found, 9)]
    assert told == [("disk", 500, "disk: 1"), ("flash", 360, "flash: 2"), ("flash", 14, "flash: 2")]
    assert most(found, 1) == most(found, 9)[:1]


class TestOvershoot:
    """Limits of fast: 2 entries, 20 GiB."""

    def test_of_the_count(self, case: Case) -> None:
        events = [fill(10), fill(10), fill(10), fill(15), evict(20), evict(20), fill(30)]
        records = records_of([{"end": 100.0}], events)
        (found,) = overshoot(records, case).to_dict("records")
        assert found == {
            "host": "fast#p0",
            "limit": "image_volume_cache_max_count",
            "allowed": 2,
            "peak": 4,
            # Three, then four from 10 to 20; two until 30; three until the trace's end at 1000.
            "over_s": 10 + 970,
        }
        assert only(records, case) == (
            "fast#p0: the cache held up to 4 entries, though image_volume_cache_max_count is 2:"
            " fills at once each found room; above it for 980 s in all"
        )

    def test_of_the_size(self, case: Case) -> None:
        events = [fill(0, size_gib=15), fill(1, size_gib=6), evict(4, size_gib=15)]
        (found,) = overshoot(records_of([{}], events), case).to_dict("records")
        assert (found["limit"], found["peak"]) == ("image_volume_cache_max_size_gb", 21)
        assert found["over_s"] == 3

    def test_no_time_is_no_overshoot(self, case: Case) -> None:
        events = [fill(0), fill(1), fill(2), evict(2)]
        assert overshoot(records_of([{}], events), case).empty

    def test_other_pools_and_no_limit(self, case: Case) -> None:
        events = [fill(0, host=host) for host in ("fast#p0", "fast#p1") for _ in range(2)]
        unlimited = [fill(1, host="slow#p0", size_gib=500) for _ in range(9)]
        assert overshoot(records_of([{}], events + unlimited), case).empty
        (found,) = overshoot(records_of([{}], events), asking(case, "limits_per_backend")).to_dict("records")
        assert (found["host"], found["peak"]) == ("fast", 4)

    def test_what_existed_counts_from_the_first_fill_on(
        self, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        initial = "kind,volume_id,image_id,size_gib,host,last_used\n" + "".join(
            f"cache,,{image},2,fast#p0,-{index}\n" for index, image in enumerate(("007", "qcow", "huge"))
        )
        case = case_of(tmp_path_factory.mktemp("initial"), initial=initial)
        fills = [evict(9), evict(9), fill(10, image_id="new")]
        assert overshoot(records_of([{}], fills), case).empty
        late = [evict(9), fill(10), evict(10.5), evict(11), fill(11), fill(990)]
        (found,) = overshoot(records_of([{}], late), case).to_dict("records")
        assert (found["peak"], found["over_s"]) == (3, 0.5 + 10)


def test_store_images_of_another_project() -> None:
    case = sim.load("scenarios/sharing.yaml")
    requests = sim.run(case, "store-only", "fast").requests
    foreign = requests["image_id"].isin(["debian-12", "ubuntu-18.04"])
    assert set(requests["source"][foreign]) == {"download"}
    lines = findings(sim.run(case, "store-only", "fast"), case, "store-only")
    assert [line for line in lines if "(image_owner)" in line] == [
        "the Cinder store's image-volumes of debian-12 (virt-builder), ubuntu-18.04-server-cloudimg-amd64.img"
        " name a project (image_owner) that does not own the image:"
        f" {foreign.sum()} creates beside them did not clone them;"
        " upload images as the project that owns them"
    ]


@pytest.mark.parametrize("strategy", ["none", "store-only", "cache-only", "combined"])
def test_lines_are_plain_text_in_one_line(case: Case, strategy: str) -> None:
    events = [fill(time, image_id="huge", **REFUSED) for time in range(3)]
    for line in findings(records_of([FAILED], events), case, strategy):
        assert line.isprintable()


def test_downloads_that_could_not_attach_are_counted(tmp_path: Path) -> None:
    case = case_of(tmp_path)
    tiers = {
        name: tier.model_copy(update={"multiattach": False}) for name, tier in case.scenario.tiers.items()
    }
    home = Store(home=next(iter(case.scenario.pools())))
    case = replace(case, scenario=case.scenario.model_copy(update={"tiers": tiers, "store": home}))
    error = {"status": "error", "source": "none", "error": "NoValidBackend: GlanceMetadataNotFound: x"}
    lasts = {"lock_wait_s": 0.0, "stream_wait_s": 0.0, "attempts": 1, "time": 5.0}
    tried, full = (
        {**error, **lasts, "end": 29.0},
        {**error, **lasts, "end": 5.0},
    )  # 24 s, or a directory is full
    found = findings(records_of([tried, full, {}]), case, "store-only")
    assert any(line.startswith("1 create failed because Glance could not attach") for line in found)
