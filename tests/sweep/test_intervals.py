"""Intervals of a sweep: of replications the textbook's, of one history those of its blocks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from typer.testing import CliRunner

import sim
from sim.analysis.statistics import Sample
from sim.cli import app
from sim.sweep.intervals import MEASURES, intervals
from sim.sweep.sweep import sweep, tidy
from sim.sweep.varying import Point

SCENARIOS = Path(__file__).parents[2] / "scenarios"
COUNT = "backends.*.image_volume_cache_max_count"
POINTS = [Point(((COUNT, 2),), "cache-only"), Point(((COUNT, 8),), "cache-only")]


def test_of_replications() -> None:
    case = sim.load(SCENARIOS / "generated.yaml")
    results = sweep(case, POINTS, replications=3, workers=1)
    found, table = intervals(case, results), tidy(results)
    assert len(found) == len(table) / 3
    assert set(found["of"]) == {"replications"} and set(found["units"]) == {3}
    for key, rows in table.groupby([COUNT, "scope", "name"]):
        (row,) = found[(found[[COUNT, "scope", "name"]] == list(key)).all(axis=1)].to_dict("records")
        for measure in MEASURES:
            values = rows[measure].to_numpy(float)
            half = stats.t.ppf(0.975, 2) * values.std(ddof=1) / np.sqrt(3)
            expected = [values.mean(), values.mean() - half, values.mean() + half]
            assert [row[measure], row[f"{measure}_low"], row[f"{measure}_high"]] == pytest.approx(
                expected, nan_ok=True
            )


def test_of_one_history() -> None:
    case = sim.load(SCENARIOS / "two_tiers.yaml")
    prices = (*POINTS, Point((("tiers.disk.price_gib_month", 2.0),), "combined"))
    results = sweep(case, prices, workers=1)
    found = intervals(case, results)
    for table in (found, tidy(results)):  # a point has NaN for what another varies
        assert set(table[table["strategy"] == "cache-only"][COUNT]) == {2, 8}
        assert table[table["strategy"] == "combined"][COUNT].isna().all()
        assert set(table[table["strategy"] == "combined"]["tiers.disk.price_gib_month"]) == {2.0}
    assert set(found["of"]) == {"blocks"} and set(found["scope"]) == {"tier", "backend", "all"}
    sample = Sample.of_blocks(int(found["units"].iloc[0]), seed=case.scenario.seed)
    told = [row for result in results for row in result.rows.values() if row.blocks]
    assert len(told) == len(found)
    for row, own in zip(found.to_dict("records"), told, strict=True):
        blocks = own.blocks
        rate = sample.interval(sample.ratio(blocks["clones"], blocks["creates"]))
        assert (row["clone_hit_rate"], row["clone_hit_rate_low"]) == pytest.approx((rate.mean, rate.low))
        errors = sample.interval(sample.total(blocks["errors"]))
        assert (row["errors"], row["errors_high"]) == pytest.approx((errors.mean, errors.high))
        for measure in MEASURES:
            assert row[measure] == pytest.approx(own.figures[measure], nan_ok=True)
            asked = measure in ("create_s_mean", "create_s_p95")
            assert np.isnan(row[f"{measure}_low"]) == (asked or np.isnan(own.figures[measure]))
        if own.scope == "tier":
            spec = case.scenario.tiers[own.name]
            dear = own.name == "disk" and row["strategy"] == "combined"
            gib = 2.0 if dear else spec.price_gib_month
            price = gib * np.array(blocks["image_physical_gib"])
            price += spec.price_volume_month * np.array(blocks["image_volumes"])
            half = float(sample.half_widths(sample.mean(price)))
            assert row["price_month_high"] - row["price_month"] == pytest.approx(half)


def test_failed_cells_are_left_out() -> None:
    case = sim.load(SCENARIOS / "generated.yaml")
    results = sweep(case, POINTS[:1], replications=3, workers=1)
    failed = [replace(results[0], rows={}, error="RuntimeError: no"), *results[1:]]
    assert set(intervals(case, failed)["units"]) == {2}
    (one,) = (
        intervals(case, [*failed[:2], replace(results[2], rows={})])
        .query("scope == 'all'")
        .to_dict("records")
    )
    assert (one["of"], one["units"]) == ("replications", 1)
    assert one["clone_hit_rate"] == results[1].rows["all", ""].figures["clone_hit_rate"]
    assert np.isnan([one[f"{measure}_{end}"] for measure in MEASURES for end in ("low", "high")]).all()
    assert intervals(case, [replace(one, rows={}) for one in results]).empty


def test_replications_are_shown_as_means(tmp_path: Path) -> None:
    scenario = str(SCENARIOS / "generated.yaml")
    vary = ("--vary", f"{COUNT}=2,8", "--vary", "strategy=store-only,cache-only", "--workers", "1")
    result = CliRunner().invoke(
        app, ["sweep", scenario, *vary, "--replications", "3", "--out", str(tmp_path)], env={"COLUMNS": "80"}
    )
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "means of 3 replications (± at 95 %)" and max(map(len, lines)) <= 80
    shown = [line for line in lines if line.startswith(("store-only ", "cache-only "))]
    assert len(shown) == 4
    table = pd.read_csv(tmp_path / "intervals.csv").query("scope == 'all'")
    for line, rate in zip(shown, table["clone_hit_rate"], strict=True):
        assert f" {100 * rate:.1f}±" in line


def test_command(tmp_path: Path) -> None:
    scenario = str(SCENARIOS / "two_tiers.yaml")
    vary = ("--vary", f"{COUNT}=2,8", "--workers", "1", "--out", str(tmp_path))
    assert CliRunner().invoke(app, ["sweep", scenario, *vary]).exit_code == 0
    table = pd.read_csv(tmp_path / "intervals.csv")
    assert len(table) == 2 * 4 * 7  # values, strategies; two tiers, four backends and all
    assert (table["clone_hit_rate_low"] <= table["clone_hit_rate_high"]).all()
