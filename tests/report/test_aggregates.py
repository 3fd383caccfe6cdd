"""What is counted of a run's tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from handmade import records_of, scenario_file

import sim
from sim.analysis.comparison import counted
from sim.analysis.create_seconds import BINS_S, create_seconds
from sim.inputs.scenario import Case
from sim.report.aggregates import DAY_S, aggregates, early_evictions, evictions, images_of, waits

HOUR_S = 3600.0


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return sim.load(scenario_file(tmp_path))


def event(time: float, what: str, image: str = "007", size: int = 2) -> dict[str, object]:
    return {"time": time, "event": what, "image_id": image, "size_gib": size, "host": "fast#p0"}


def create(
    time: float, end: float, source: str, image: str = "007", wait_s: float = 0.0
) -> dict[str, object]:
    status = "error" if source == "none" else "available"
    return {
        "time": time, "end": end, "source": source, "image_id": image, "status": status,
        "host": "fast#p0", "lock_wait_s": wait_s,
    }  # fmt: skip


def test_creates_are_counted_by_source_wait_and_step() -> None:
    records = records_of(
        [
            create(0, 2, "cache"),
            create(0, 2.1, "cache"),
            create(0, 60, "cache", wait_s=50),
            create(0, 60, "download"),
            create(0, 5, "none"),
        ]
    )
    table = create_seconds(records.requests)
    some = table[table["creates"] > 0].set_index(["source", "waited"])
    assert some["creates"].to_dict() == {("cache", False): 2, ("cache", True): 1, ("download", False): 1}
    assert (some["from_s"] <= [2, 60, 60]).all() and (some["to_s"] > [2.1, 60, 60]).all()
    assert table.groupby(["source", "waited"]).size().nunique() == 1  # the same steps for all


@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_what_is_beyond_the_steps_is_in_the_last(seconds: float) -> None:
    table = create_seconds(records_of([create(0, seconds, "download")]).requests)
    assert table["creates"].tolist() == [1]
    assert table["from_s"].iloc[0] in (BINS_S[0], BINS_S[-2])


def test_waits_are_told_apart() -> None:
    table = waits(records_of([create(0, 2, "cache"), create(0, 62, "cache", wait_s=60)]).requests)
    (row,) = table.to_dict("records")
    assert row == {
        "source": "cache", "creates": 2, "create_s_mean": 32.0, "waited": 1,
        "wait_s_mean": 60.0, "wait_s_p95": 60.0, "wait_s_max": 60.0,
    }  # fmt: skip


def test_no_creates_give_empty_tables() -> None:
    requests = records_of([]).requests
    assert create_seconds(requests).empty and waits(requests).empty


def test_an_eviction_knows_the_next_download_there(case: Case) -> None:
    records = records_of(
        [
            create(10, 20, "download"),  # before
            create(HOUR_S, HOUR_S + 9, "cache"),  # no download
            create(2 * HOUR_S, 2 * HOUR_S + 9, "download", image="qcow"),  # another image
            create(100 + HOUR_S, 9000, "download"),
            create(9000, 9001, "download"),
        ],
        [event(100, "evict"), event(9000, "evict"), event(9000, "stale")],
    )
    found = evictions(records)
    assert found["evicted_s"].tolist() == [100, 9000]
    np.testing.assert_array_equal(found["again_s"], [HOUR_S, np.nan])
    early = early_evictions(found, case)
    assert early[["name", "again_s"]].values.tolist() == [["[b]raw[/b]", HOUR_S]]


def test_an_image_is_held_from_its_fill_to_its_end(case: Case) -> None:
    records = records_of(
        [create(0, 1, "download"), create(5, 6, "cache"), create(DAY_S, 10 * DAY_S, "cache", image="qcow")],
        [
            event(DAY_S, "create"),
            event(2 * DAY_S, "create", "qcow", 4),
            event(3 * DAY_S, "evict"),
            event(4 * DAY_S, "create"),
            event(5 * DAY_S, "stale"),
        ],
    )
    table = images_of(records, case, evictions(records)).set_index("image_id")
    assert table["gib_days"].to_dict() == pytest.approx({"007": 2 * (2 + 1), "qcow": 4 * 8})
    assert table["hits"].to_dict() == {"007": 1, "qcow": 1}
    assert table["downloads"].to_dict() == {"007": 1, "qcow": 0}
    assert table["evictions"].to_dict() == {"007": 1, "qcow": 0}
    assert table.index.tolist() == ["qcow", "007"]  # who holds most comes first


def test_of_many_images_those_are_kept_that_tell_most_and_all_are_counted(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is held for a short time and used a lot earns most."""
    monkeypatch.setattr("sim.report.aggregates.MOST", 3)
    names = [f"image-{number}" for number in range(20)]
    requests = [create(number, number + 1, "cache", names[0]) for number in range(50)]
    requests.append(create(21 * DAY_S, 22 * DAY_S, "download", names[5]))
    events = [event(0, "create", name) for name in names]
    events += [event((number + 1) * DAY_S, "evict", name) for number, name in enumerate(names)]
    records = records_of(requests, events)
    found = aggregates(records, case)
    assert set(found.images["image_id"]) == {names[0], names[19]}  # which also earned least
    assert found.counts == {"images": 20, "unused": 19, "evictions": 20, "evicted_early": 0}


def test_what_comes_before_the_warm_ups_end_is_neither_hit_nor_held(case: Case) -> None:
    records = records_of(
        [create(0, 1, "download"), create(2 * DAY_S, 4 * DAY_S, "cache")],
        [event(0, "create"), event(0.5 * DAY_S, "evict"), event(DAY_S, "create"), event(3 * DAY_S, "evict")],
    )
    found = aggregates(counted(records, 2 * DAY_S), case, 2 * DAY_S).images
    (row,) = found.to_dict("records")
    assert (row["gib_days"], row["hits"], row["evictions"]) == (2.0, 1, 1)


def test_what_is_there_at_the_start_is_held_from_it(tmp_path: Path) -> None:
    initial = "kind,volume_id,image_id,size_gib,host,last_used\ncache,,007,2,fast#p0,-5\n"
    case = sim.load(
        scenario_file(tmp_path, initial=initial, workload={"trace": "trace.csv", "initial": "initial.csv"})
    )
    records = records_of([create(0, 2 * DAY_S, "cache")], [event(DAY_S, "evict")])
    table = images_of(records, case, evictions(records))
    assert table["gib_days"].tolist() == pytest.approx([2.0])
