"""The rows of a comparison (today's settings among them), and what it recommends, per backend."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from handmade import SCENARIO, case_of, scenario_file
from typer.testing import CliRunner

import sim
from sim.analysis.recommend import Advice, advice, recommended, to_raise
from sim.analysis.rows import Row, rows_of, with_caches
from sim.cli import app
from sim.report.comparison import told_of

TWO_TIERS = Path(__file__).parents[1] / "scenarios" / "two_tiers.yaml"


def backends(**enabled: bool) -> dict[str, Any]:
    """The backends of the handmade scenario, some with image_volume_cache_enabled."""
    return {
        name: backend | ({"image_volume_cache_enabled": enabled[name]} if name in enabled else {})
        for name, backend in SCENARIO["backends"].items()
    }


@pytest.mark.parametrize(
    ("today", "asked", "expected"),
    [
        (None, ["none", "cache-only"], ["none", "cache-only"]),
        ("none", ["none", "cache-only"], ["none", "cache-only"]),
        ("none", ["cache-only", "combined"], ["today", "cache-only", "combined"]),
        ("combined", ["cache-only"], ["today", "cache-only"]),
    ],
)
def test_today_comes_first_unless_it_is_asked_for(
    today: str | None, asked: list[str], expected: list[str], tmp_path: Path
) -> None:
    case = case_of(tmp_path, **({} if today is None else {"today": today}))
    rows = rows_of(case, asked)
    assert [row.name for row in rows] == expected
    assert [row.strategy for row in rows] == [today if name == "today" else name for name in expected]


def test_without_a_cache_today_a_strategy_with_one_has_it_on_every_backend(tmp_path: Path) -> None:
    """As `import` writes a cloud whose backends have no cache: `today: none`, and nothing of the option."""
    case = case_of(tmp_path, today="none", strategies=["none", "cache-only"])
    table = sim.compare(case).set_index(["strategy", "tier"])
    assert list(dict.fromkeys(table.index.get_level_values("strategy"))) == ["none", "cache-only"]
    assert table.loc[("none", "all"), "clone_hit_rate"] == 0
    assert table.loc[("cache-only", "all"), "clone_hit_rate"] > 0


def test_where_some_backends_have_no_cache_a_row_has_one_everywhere(tmp_path: Path) -> None:
    """`cache-only` has one on `slow` alone, as today; the last row shows what `fast` misses."""
    case = case_of(tmp_path, today="cache-only", backends=backends(fast=False, slow=True))
    rows = rows_of(case, ["none", "cache-only"])
    assert [(row.name, row.strategy) for row in rows[2:]] == [("cache-everywhere", "cache-only")]
    everywhere = rows[2].case.scenario.backends
    assert all(backend.image_volume_cache_enabled for backend in everywhere.values())
    assert everywhere["fast"].image_volume_cache_max_count == 2  # at the limits that are written
    hits = sim.compare(case, ["none", "cache-only"]).query("tier == 'flash'").set_index("strategy")
    assert hits["clone_hit_rate"]["cache-everywhere"] > hits["clone_hit_rate"]["cache-only"]


def test_a_strategy_whose_caches_are_all_off_says_so(tmp_path: Path) -> None:
    case = case_of(tmp_path, backends=backends(fast=False, slow=False))
    result = CliRunner().invoke(app, ["compare", str(case.path), "--strategies", "cache-only"])
    assert "no backend has a cache: image_volume_cache_enabled is false everywhere" in " ".join(
        result.stdout.split()
    )


def test_the_command_shows_and_writes_the_row_today(tmp_path: Path) -> None:
    path = scenario_file(tmp_path, today="none", strategies=["cache-only"])
    arguments = ["compare", str(path), "--json", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert [run["strategy"] for run in document["runs"]] == ["today", "cache-only"]
    assert document["runs"][0]["manifest"]["strategy"] == "none"
    assert document["recommendation"]["row"] in ("today", "cache-only")
    assert document["recommendation"]["cinder_conf"].startswith("[DEFAULT]")
    summary = pd.read_csv(tmp_path / "out" / "today" / "summary.csv")
    assert set(summary["strategy"]) == {"today"}


def test_replications_have_the_row_too(tmp_path: Path) -> None:
    workload = {"generate": {"duration": "2d", "creates_per_day": 40, "tiers": {"flash": 1}}}
    path = scenario_file(tmp_path, today="none", strategies=["cache-only"], workload=workload)
    arguments = ["compare", str(path), "--engine", "fast", "--replications", "2", "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    measures = json.loads(result.stdout)["replications"]["measures"]
    assert {row["strategy"] for row in measures} == {"today", "cache-only"}


def summaries(**rows: dict[str, float]) -> pd.DataFrame:
    """Summaries of strategies, the same in each tier; what a row leaves out is 0."""
    columns = ("clone_hit_rate", "create_s_p95", "errors", "other_errors", "price_month")
    return pd.DataFrame(
        [
            {
                "tier": tier,
                "strategy": name.replace("_", "-"),
                "creates": 1000,
                "image_provisioned_gib_mean": 0.0,
                **dict.fromkeys(columns, 0.0),
                **row,
            }
            for name, row in rows.items()
            for tier in ("flash", "disk", "all")
        ]
    )


def test_failed_creates_weigh_more_than_the_price() -> None:
    table = summaries(
        none={},
        cache_only={"clone_hit_rate": 0.9, "errors": 40, "price_month": 1},
        combined={"clone_hit_rate": 0.9, "other_errors": 2, "price_month": 9},
    )
    assert recommended(table, None) == "combined"


def test_a_tier_that_is_worse_off_waits(tmp_path: Path) -> None:
    """`flash` is served by both backends, `disk` by one of them, which keeps its cache for `disk`."""
    scenario = case_of(tmp_path).scenario
    table = summaries(none={"create_s_p95": 100}, cache_only={"clone_hit_rate": 0.9, "create_s_p95": 10})
    flash = (table["strategy"] == "cache-only") & (table["tier"] == "flash")
    table.loc[flash, ["create_s_p95", "other_errors"]] = (233, 5)
    found = advice(table, None, scenario, {"cache-only": "cache-only"})
    assert (found.row, found.wait) == ("cache-only", {"flash": ["fast"]})
    assert found.why == {
        "flash": "flash is worse off with cache-only than with none: p95 100 -> 233 s, failed creates 0 -> 5"
    }


def test_two_tiers_is_told_what_to_raise_before_flash_gets_a_cache() -> None:
    """Flash has a higher p95 and more failed creates with the cache, for want of room and of places."""
    case = sim.load(TWO_TIERS)
    table = sim.compare(case, ["none", "cache-only"], "fast")
    found = advice(table, None, case.scenario, {"cache-only": "cache-only"})
    assert found.backends == ["flash-a", "flash-b"]
    raised = to_raise(sim.run(case, "cache-only", "fast"), case)
    largest = max(image.virtual_gib for image in case.images.values())
    assert raised["flash"][0].startswith(f"image_volume_cache_max_size_gb of flash-b to {largest} ")
    assert sum(text.startswith("max_volumes of flash-") for text in raised["flash"]) == 2
    assert not any("disk" in text for text in raised["flash"])


def test_a_quota_that_stops_the_cache_is_raised_first(tmp_path: Path) -> None:
    """The internal tenant may have one volume: every other fill is refused, and its create waited in vain."""
    case = case_of(tmp_path, cinder={"internal_tenant_quota_volumes": 1})
    raised = to_raise(sim.run(case, "cache-only"), case)
    assert any(text.startswith("the internal tenant's quota (it refused ") for text in raised["flash"])


def test_where_the_cache_waits_everywhere_the_strategy_without_it_is_recommended(tmp_path: Path) -> None:
    case = case_of(tmp_path)
    off = with_caches(case, dict.fromkeys(case.scenario.backends, False))
    table = summaries(none={}, combined={"clone_hit_rate": 0.9})
    found = Advice("combined", {"flash": ["fast", "slow"]}, {"flash": "flash is worse off"})
    told = told_of(Row("combined", "combined", off), found, table, {}, None)
    assert told.lines[0].startswith("Recommended: store-only for now, and combined once the limits below are")
    assert "allowed_direct_url_schemes = cinder" in told.conf
    assert "image_volume_cache_enabled = true" not in told.conf
