from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest
from handmade import FAILED, case_of, records_of
from hypothesis import given
from hypothesis import strategies as st

from sim.analysis.metrics import pools_table, summary
from sim.inputs.scenario import Case


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return case_of(tmp_path_factory.mktemp("case"), boot_timeout_s=15)


def row(table: pd.DataFrame, tier: str) -> dict[str, Any]:
    (found,) = table[table["tier"] == tier].to_dict("records")
    return {str(name): value for name, value in found.items()}


def test_hit_rates_count_errors_against_them(case: Case) -> None:
    sources: list[dict[str, Any]] = [{"source": name} for name in ("driver", "store", "cache")]
    table = summary(records_of([*sources, {}, FAILED]), case, "combined")
    flash = row(table, "flash")
    assert flash["creates"] == 5
    assert flash["errors"] == 1
    assert flash["clone_hit_rate"] == 3 / 5
    assert flash["driver_hit_rate"] == flash["store_hit_rate"] == flash["cache_hit_rate"] == 1 / 5


def test_creates_without_an_image_count_as_other_errors_alone(case: Case) -> None:
    others: list[dict[str, Any]] = [FAILED, FAILED | {"volume_type": "disk"}, FAILED | {"host": ""}, {}]
    records = records_of([{}, FAILED], others=others)
    table = summary(records, case, "none")
    assert list(table["other_errors"]) == [2, 1, 3]
    assert list(table["errors"]) == [1, 0, 1]
    assert list(table["creates"]) == [2, 0, 2]
    pools = pools_table(records, case)
    assert dict(zip(pools["host"], pools["other_errors"], strict=True))["fast#p0"] == 2


def test_rows_are_the_tiers_in_order_then_all(case: Case) -> None:
    table = summary(records_of([{}, {"volume_type": "disk"}]), case, "none")
    assert list(table["tier"]) == ["flash", "disk", "all"]
    assert list(table["creates"]) == [1, 1, 2]
    assert set(table["strategy"]) == {"none"}


def test_create_seconds_are_of_those_that_succeed(case: Case) -> None:
    ends = [{"time": 5.0, "end": 5.0 + seconds} for seconds in (10.0, 20.0, 30.0)]
    flash = row(summary(records_of([*ends, FAILED | {"end": 1e6}]), case, "none"), "flash")
    assert flash["create_s_mean"] == flash["create_s_p50"] == 20
    assert flash["create_s_p95"] == pytest.approx(29)  # linear between 20 and 30
    assert flash["create_s_p99"] == pytest.approx(29.8)
    assert flash["boot_timeout_share"] == 2 / 4


def test_without_creates_or_successes_there_is_no_rate(case: Case) -> None:
    table = summary(records_of([FAILED]), case, "none")
    disk, flash = row(table, "disk"), row(table, "flash")
    assert disk["creates"] == 0
    for name in ("clone_hit_rate", "create_s_p50", "boot_timeout_share", "gib_per_point"):
        assert math.isnan(disk[name]), name
    assert flash["clone_hit_rate"] == flash["boot_timeout_share"] == 0
    assert math.isnan(flash["create_s_mean"])
    assert math.isnan(flash["gib_per_point"])


def test_downloaded_gib_is_the_images_bytes(case: Case) -> None:
    rows: list[dict[str, Any]] = [{}, {"image_id": "qcow"}, {"source": "cache"}, FAILED]
    assert row(summary(records_of(rows), case, "none"), "all")["downloaded_gib"] == 2 + 1


def test_space_and_price(case: Case) -> None:
    usage = [
        ("tier", "flash", "image", 3.0, 5.0, 30.0, 50.0, 10.0, 20.0, 3),
        ("tier", "flash", "cache", 2.0, 4.0, 20.0, 40.0, 8.0, 16.0, 2),
        ("tier", "flash", "store", 1.0, 1.0, 10.0, 10.0, 2.0, 4.0, 1),
        ("tier", "flash", "user", 99.0, 99.0, 99.0, 99.0, 99.0, 99.0, 9),
        ("tier", "disk", "image", 1.0, 1.0, 7.0, 8.0, 4.0, 4.0, 1),
        ("all", "", "image", 4.0, 6.0, 37.0, 57.0, 14.0, 23.0, 4),
    ]
    requests: list[dict[str, Any]] = [{"source": "cache"}, {}]
    table = summary(records_of(requests, usage=usage), case, "combined")
    flash, disk, whole = row(table, "flash"), row(table, "disk"), row(table, "all")
    assert flash["image_volumes_mean"] == 3
    assert flash["image_provisioned_gib_peak"] == 50
    assert flash["cache_physical_gib_mean"] == 8
    assert flash["store_physical_gib_peak"] == 4
    assert disk["store_volumes_peak"] == 0  # a tier without a store's rows
    assert flash["price_month"] == 10 * 0.5 + 3 * 2.0
    assert disk["price_month"] == 4 * 0.25
    assert whole["price_month"] == flash["price_month"] + disk["price_month"]
    assert whole["image_provisioned_gib_peak"] == 57  # peaks do not add up
    assert flash["gib_per_point"] == 30 / 50


@pytest.mark.parametrize("wrong", [{"source": "elsewhere"}, FAILED | {"source": "cache"}])
def test_creates_must_be_the_sum_of_their_sources(case: Case, wrong: dict[str, Any]) -> None:
    with pytest.raises(RuntimeError, match="1 creates"):
        summary(records_of([wrong]), case, "none")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["driver", "store", "cache", "download", "none"]),
            st.sampled_from(["flash", "disk"]),
            st.floats(0, 1e6),
        )
    )
)
def test_all_is_the_tiers_together(case: Case, creates: list[tuple[str, str, float]]) -> None:
    rows = [
        {"source": source, "volume_type": tier, "end": end}
        | ({"status": "error"} if source == "none" else {})
        for source, tier, end in creates
    ]
    table = summary(records_of(rows), case, "combined").set_index("tier")
    for name in ("creates", "errors", "downloaded_gib"):
        assert table.loc["all", name] == table.loc[["flash", "disk"], name].sum()
    hits = (table["clone_hit_rate"] * table["creates"]).fillna(0)
    assert hits["all"] == pytest.approx(hits["flash"] + hits["disk"])
    rates = table[["driver_hit_rate", "store_hit_rate", "cache_hit_rate"]].sum(axis=1)
    assert rates.to_list() == pytest.approx(table["clone_hit_rate"].fillna(0).to_list())
