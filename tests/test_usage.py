"""Time-weighted means and peaks of volumes and space."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.model import usage
from sim.model.usage import KINDS, QUANTITIES, UsageMeter

HOSTS = ("a#p0", "a#p1", "b#p0")
TIERS = ("flash", "disk")
Change = tuple[float, str, str, str, int, float, float]


def table_of(changes: list[Change], end: float) -> pd.DataFrame:
    """What the meter says, by scope, name and kind, of (time, host, tier, kind, volumes, GiB, GiB)."""
    clock = [0.0]
    meter = UsageMeter(lambda: clock[0], HOSTS, TIERS)
    for time, *change in changes:
        clock[0] = time
        meter.add(*change)
    assert meter.last == clock[0]
    return meter.table(end).set_index(["scope", "name", "kind"])


def of(table: pd.DataFrame, *key: str) -> dict[str, Any]:
    return table.loc[key].to_dict()


def test_means_are_weighted_by_time_and_peaks_are_not() -> None:
    table = table_of(
        [
            (2.0, "a#p0", "flash", "user", 1, 10, 4.0),
            (4.0, "a#p0", "flash", "user", 1, 20, 0.0),
            (5.0, "a#p0", "flash", "user", -1, -10, -1.0),
        ],
        10.0,
    )
    assert of(table, "pool", "a#p0", "user") == {
        "volumes_mean": (2 * 1 + 1 * 2 + 5 * 1) / 10,
        "volumes_peak": 2,
        "provisioned_gib_mean": (2 * 10 + 1 * 30 + 5 * 20) / 10,
        "provisioned_gib_peak": 30,
        "physical_gib_mean": (2 * 4 + 1 * 4 + 5 * 3) / 10,
        "physical_gib_peak": 4,
        "volumes_end": 1,
        "provisioned_gib_end": 20,
        "physical_gib_end": 3,
    }


def test_what_exists_at_the_start_counts_from_the_start() -> None:
    table = table_of([(0.0, "a#p0", "flash", "cache", 1, 10, 4.0)], 8.0)
    assert of(table, "all", "", "cache")["volumes_mean"] == 1
    assert of(table, "all", "", "cache")["physical_gib_mean"] == 4


def test_changes_of_one_instant_add_to_the_peak_but_not_to_the_mean() -> None:
    changes: list[Change] = [
        (3.0, "a#p0", "flash", "user", 1, 1, 1.0),
        (3.0, "a#p0", "flash", "user", -1, -1, -1.0),
    ]
    row = of(table_of(changes, 10.0), "all", "", "user")
    assert (row["volumes_mean"], row["volumes_peak"], row["volumes_end"]) == (0, 1, 0)


def test_a_run_without_duration_has_its_last_level_as_mean() -> None:
    row = of(table_of([(0.0, "a#p0", "flash", "user", 2, 6, 1.5)], 0.0), "all", "", "user")
    assert (row["volumes_mean"], row["provisioned_gib_mean"], row["physical_gib_mean"]) == (2, 6, 1.5)


def test_image_is_cache_and_store_and_its_peak_is_of_their_sum() -> None:
    table = table_of(
        [
            (0.0, "a#p0", "flash", "store", 1, 4, 4.0),
            (5.0, "a#p0", "flash", "store", -1, -4, -4.0),
            (5.0, "a#p0", "flash", "cache", 1, 3, 3.0),
        ],
        10.0,
    )
    row = of(table, "all", "", "image")
    assert (row["provisioned_gib_mean"], row["provisioned_gib_peak"]) == (3.5, 4)


def test_orphans_are_counted_beside_the_cache() -> None:
    changes: list[Change] = [
        (0.0, "a#p0", "flash", "cache", 1, 4, 4.0),
        (6.0, "a#p0", "flash", "orphan", 1, 0, 0.0),
    ]
    table = table_of(changes, 8.0)
    assert of(table, "pool", "a#p0", "orphan")["volumes_mean"] == 0.25
    assert of(table, "pool", "a#p0", "orphan")["volumes_end"] == 1
    assert of(table, "pool", "a#p0", "cache")["volumes_end"] == 1
    assert of(table, "pool", "a#p0", "image")["volumes_peak"] == 1


def test_there_is_a_row_for_everything_even_if_nothing_happened() -> None:
    table = table_of([], 5.0)
    assert len(table) == (len(HOSTS) + len(TIERS) + 1) * len(KINDS)
    assert not table.to_numpy().any()


AMOUNTS = st.integers(-50, 90).map(lambda tenths: tenths / 10)  # sums of which depend on their order
CHANGES = st.lists(
    st.tuples(
        st.sampled_from((0.0, 0.0, 0.25, 3.3, 100.1)),
        st.sampled_from(HOSTS),
        st.sampled_from(TIERS),
        st.sampled_from(("user", "cache", "store", "orphan")),
        st.integers(-1, 1),
        AMOUNTS,
        AMOUNTS,
    ),
    max_size=25,
).map(lambda rows: [(sum(row[0] for row in rows[: n + 1]), *row[1:]) for n, row in enumerate(rows)])


def naive(changes: list[Change], end: float, chosen: Any) -> list[float]:
    """Means and peaks, then what it is at the end, step by step."""
    level, area, peak, since = np.zeros(3), np.zeros(3), np.zeros(3), 0.0
    for time, *where, volumes, provisioned, physical in changes:
        if chosen(*where):
            area, since = area + level * (time - since), time
            level = level + np.array([volumes, provisioned, physical])
            peak = np.maximum(peak, level)
    mean = (area + level * (end - since)) / end if end > 0 else level
    return [each for pair in zip(mean, peak, strict=True) for each in pair] + list(level)


@settings(max_examples=30)
@given(changes=CHANGES, more=st.sampled_from((0.0, 7.5)), chunk=st.integers(1, 6))
def test_folding_in_chunks_is_folding_at_once(changes: list[Change], more: float, chunk: int) -> None:
    """And both are what a step-by-step account says, to the last bit."""
    end = (changes[-1][0] if changes else 0.0) + more
    once = table_of(changes, end)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(usage, "FOLD_AT", chunk)
        chunks = table_of(changes, end)
    pd.testing.assert_frame_equal(once, chunks, check_exact=True)
    columns = [f"{quantity}_{stat}" for quantity in QUANTITIES for stat in ("mean", "peak")]
    columns += [f"{quantity}_end" for quantity in QUANTITIES]
    for (scope, name, kind), row in once.iterrows():
        kinds = ("cache", "store") if kind == "image" else (kind,)
        expected = naive(
            changes,
            end,
            lambda host, tier, is_kind, scope=scope, name=name, kinds=kinds: (
                is_kind in kinds and name == {"pool": host, "tier": tier, "all": ""}[scope]
            ),
        )
        assert list(row[columns]) == expected


@pytest.mark.parametrize("fold_at", [1, 2, 100])
def test_levels_are_noted_after_what_happens_at_their_time(
    fold_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "FOLD_AT", fold_at)
    clock = [0.0]
    meter = UsageMeter(lambda: clock[0], HOSTS, TIERS, np.array([0.0, 2.0, 3.0, 9.0]))
    changes: list[Change] = [
        (1.0, "a#p0", "flash", "user", 1, 10, 4.0),
        (2.0, "a#p0", "flash", "user", 1, 20, 0.5),
        (2.0, "a#p0", "disk", "cache", 1, 2, 1.0),
        (2.5, "b#p0", "disk", "store", 1, 7, 7.0),
        (3.0, "a#p0", "flash", "user", -1, -10, 0.0),
        (9.5, "a#p0", "flash", "user", 1, 99, 99.0),
    ]
    for time, *change in changes:
        clock[0] = time
        meter.add(*change)
    table = meter.space().set_index(["host", "time"])
    assert list(table.index) == [(host, time) for host in HOSTS for time in (0.0, 2.0, 3.0, 9.0)]
    here = table.loc["a#p0"]
    assert here["user_volumes"].tolist() == [0, 2, 1, 1]
    assert here["user_provisioned_gib"].tolist() == [0, 30, 20, 20]
    assert here["user_physical_gib"].tolist() == [0, 4.5, 4.5, 4.5]
    assert here["cache_volumes"].tolist() == [0, 1, 1, 1]
    assert table.loc["b#p0", "store_physical_gib"].tolist() == [0, 0, 7, 7]
    assert not table.loc["a#p1"].any(axis=None)


def test_levels_are_noted_from_the_start_to_the_last_event() -> None:
    times = usage.instants(1000.0)
    assert (times[0], times[-1], len(times)) == (0.0, 1000.0, usage.POINTS)
    assert usage.instants(0.0).tolist() == [0.0]
