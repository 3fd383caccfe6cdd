"""A sweep's measures are those of the tables that a run makes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn import drawn_case

import sim
from sim.analysis.comparison import counted
from sim.analysis.metrics import pools_table, summary
from sim.analysis.statistics import DAY_S, Blocks
from sim.cinder import engine as cinder
from sim.fast.engine import Prepared
from sim.fast.tally import COUNTS
from sim.inputs.scenario import Case
from sim.model.usage import UsageMeter
from sim.sweep.measures import Measurer
from sim.sweep.results import Rows

SCENARIO = Path(__file__).parents[2] / "scenarios" / "two_tiers.yaml"


@pytest.fixture(scope="module")
def case() -> Case:
    return sim.load(SCENARIO)


@pytest.fixture(scope="module")
def prepared(case: Case) -> Prepared:
    return Prepared(case)


@pytest.mark.parametrize("strategy", ["none", "store-only", "cache-only", "combined"])
def test_same_as_the_tables(case: Case, prepared: Prepared, strategy: str) -> None:
    measurer = Measurer(prepared)
    state, _ = measurer.play(case.scenario, strategy)
    rows = pd.DataFrame([row.flat() for row in measurer.rows(state, case.scenario).values()])
    records = sim.run(case, strategy, "fast")

    expected = summary(records, case, strategy).drop(columns=["tier", "strategy"])
    mine = rows[rows["scope"].isin(["tier", "all"])][list(expected.columns)].reset_index(drop=True)
    pd.testing.assert_frame_equal(mine, expected, check_dtype=False, rtol=1e-12)

    pools = pools_table(records, case).set_index("host")
    mine = rows[rows["scope"] == "pool"].set_index("name")
    assert mine["creates"].tolist() == pools["requests"].tolist()
    assert (mine["errors"]).tolist() == pools["errors"].tolist()
    for kind in ("user", "cache", "store"):
        for column in (f"{kind}_volumes_peak", f"{kind}_physical_gib_mean", f"{kind}_provisioned_gib_peak"):
            assert mine[column].tolist() == pools[column].tolist()

    backends = rows[rows["scope"] == "backend"].set_index("name")
    of_pools = mine.groupby(mine.index.str.partition("#").get_level_values(0), sort=False)
    assert backends["creates"].tolist() == of_pools["creates"].sum().tolist()
    assert backends["cache_volumes_mean"].tolist() == pytest.approx(
        of_pools["cache_volumes_mean"].sum().tolist()
    )


@pytest.fixture(scope="module")
def mixed() -> Case:
    """Twelve days on an array of two pools and two tiers, one of one tier, and one that holds the store."""
    rng = np.random.default_rng(7)
    count = 600
    tier = rng.choice(["flash", "disk"], count)
    host = np.where(rng.random(count) < 0.3, np.where(tier == "disk", "both#p1", "flash#p0"), "")
    array = {"create_s": 1, "clone_s": 2, "write_mib_s": 50, "delete_s": 4}
    array |= {"image_volume_cache_max_size_gb": 50, "image_volume_cache_max_count": 3}
    return drawn_case(
        np.sort(rng.uniform(0, 12 * DAY_S, count)),
        rng.integers(0, 9, count),
        rng.exponential(DAY_S / 2, count),
        host=host,
        tier=tier,
        tiers={"flash": {}, "disk": {}, "cold": {}},
        glance={"stream_mib_s": 30},
        backends={
            "both": array | {"volume_type": ["disk", "flash"], "pools": {"p0": {}, "p1": {}}},
            "flash": array
            | {"volume_type": "flash", "pools": {"p0": {}}, "max_volumes": 8, "write_mib_s": 200},
            "vault": array | {"volume_type": "cold", "pools": {"p0": {}}},
        },
        store={"home": "vault#p0"},
    )


def played(case: Case, strategy: str, *args: Any) -> tuple[Measurer, Rows]:
    """A measurer and the rows that it makes of a run, by scope and name."""
    measurer = Measurer(Prepared(case), *args)
    state, _ = measurer.play(case.scenario, strategy)
    return measurer, measurer.rows(state, case.scenario)


@pytest.mark.parametrize("strategy", ["combined", "none"])
def test_both_engines_are_measured_alike(mixed: Case, strategy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep hands over to engine `cinder` what `fast` has not compiled."""
    _, compiled = played(mixed, strategy, 1.3 * DAY_S)
    monkeypatch.setattr("sim.sweep.played.engine_of", lambda scenario, engine: "cinder")
    _, handed_over = played(mixed, strategy, 1.3 * DAY_S)
    assert repr(handed_over) == repr(compiled)


@pytest.mark.parametrize("warm_up_s", [0.0, 1.3 * DAY_S, 5.2 * DAY_S, 20 * DAY_S])
def test_blocks_add_up(mixed: Case, warm_up_s: float) -> None:
    _, rows = played(mixed, "combined", warm_up_s, {"flash": 25.0, "": 50.0})
    for (scope, _), row in rows.items():
        if scope == "pool":
            assert row.blocks == row.tiers == {}
            continue
        total = {measure: sum(row.blocks[measure]) for measure in COUNTS}
        creates, errors = row.figures["creates"], row.figures["errors"]
        hits = creates * row.figures["clone_hit_rate"] if creates else 0
        assert (total["creates"], total["errors"]) == (creates, errors)
        assert total["made"] == creates - errors
        assert total["clones"] == pytest.approx(hits)
    whole = rows["all", ""].blocks
    for measure in COUNTS:
        tiers = [row.blocks[measure] for (scope, _), row in rows.items() if scope == "tier"]
        assert np.sum(tiers, axis=0).tolist() == whole[measure]
        both = rows["backend", "both"]
        assert list(both.tiers) == ["flash", "disk"]
        split = [of_tier[measure] for of_tier in both.tiers.values()]
        assert np.sum(split, axis=0).tolist() == both.blocks[measure]
        assert rows["backend", "flash"].tiers == rows["backend", "vault"].tiers == {}
    assert rows["all", ""].figures["creates"] == (mixed_asked(mixed) >= warm_up_s).sum()


@pytest.mark.parametrize("warm_up_s", [0.0, 5.2 * DAY_S])
def test_creates_without_an_image_count_as_other_errors_alone(mixed: Case, warm_up_s: float) -> None:
    events = mixed.trace.events.copy()
    events.loc[events.index[events["event"] == "create"][::3], "image_id"] = ""
    case = replace(mixed, trace=replace(mixed.trace, events=events))
    _, rows = played(case, "cache-only", warm_up_s)
    records = counted(sim.run(case, "cache-only", "fast"), warm_up_s)
    table = summary(records, case, "cache-only").set_index("tier")
    assert table["other_errors"]["all"] > 0
    for tier in ("flash", "disk", "cold", "all"):
        row = rows["all", ""] if tier == "all" else rows["tier", tier]
        if made := sum(row.blocks["made"]):
            assert row.figures["create_s_mean"] == pytest.approx(sum(row.blocks["made_s"]) / made)
        assert row.figures["other_errors"] == sum(row.blocks["other_errors"]) == table["other_errors"][tier]
        assert (row.figures["creates"], row.figures["errors"]) == (
            table["creates"][tier],
            table["errors"][tier],
        )
        assert row.figures["clone_hit_rate"] == pytest.approx(table["clone_hit_rate"][tier], nan_ok=True)
        assert row.figures["create_s_p95"] == pytest.approx(table["create_s_p95"][tier], nan_ok=True)
    pools = pools_table(records, case)
    assert [rows["pool", host].figures["other_errors"] for host in pools["host"]] == pools[
        "other_errors"
    ].tolist()


def mixed_asked(case: Case) -> Any:
    events = case.trace.events
    return events.loc[events["event"] == "create", "time"]


def test_slow_creates_recounted(mixed: Case) -> None:
    warm_up_s, slow_s = 1.5 * DAY_S, {"flash": 25.0, "": 50.0}
    measurer, rows = played(mixed, "cache-only", warm_up_s, slow_s)
    requests = sim.run(mixed, "cache-only", "fast").requests
    requests = requests[requests["time"] >= warm_up_s]
    block = ((requests["time"] - warm_up_s) // measurer.block_s).clip(upper=measurer.blocks - 1).astype(int)
    seconds = (requests["end"] - requests["time"]).where(requests["status"] == "available")
    backend = requests["host"].str.partition("#")[0]
    slow = {
        "slow": seconds > requests["volume_type"].map(slow_s).fillna(np.inf),
        "slow_all": seconds > slow_s[""],
    }
    for measure, these in slow.items():
        for scope, of in (("tier", requests["volume_type"]), ("backend", backend)):
            for (_, name), row in ((of_row, row) for of_row, row in rows.items() if of_row[0] == scope):
                chosen = block[these & (of == name)]
                assert row.blocks[measure] == np.bincount(chosen, minlength=measurer.blocks).tolist()
        of_disk = block[these & (backend == "both") & (requests["volume_type"] == "disk")]
        split = rows["backend", "both"].tiers["disk"][measure]
        assert split == np.bincount(of_disk, minlength=measurer.blocks).tolist()
        expected = np.bincount(block[these], minlength=measurer.blocks)
        assert rows["all", ""].blocks[measure] == expected.tolist()
        assert 0 < expected.sum() < len(requests)


Changes = pd.DataFrame  # time, host, tier, kind, volumes, provisioned_gib, physical_gib


@pytest.fixture
def changes(mixed: Case, monkeypatch: pytest.MonkeyPatch) -> Changes:
    """Every change of space in a run of engine `cinder`."""
    rows: list[tuple[Any, ...]] = []
    add = UsageMeter.add

    def note(meter: UsageMeter, *change: Any) -> None:
        add(meter, *change)
        rows.append((meter.last, *change))

    monkeypatch.setattr(UsageMeter, "add", note)
    cinder.run(mixed, "combined")
    noted = ["time", "host", "tier", "kind", "volumes", "provisioned_gib", "physical_gib"]
    table = pd.DataFrame(rows, columns=noted)
    table["backend"] = table["host"].str.partition("#")[0]
    return table[table["kind"] != "orphan"]  # told apart: their volumes are counted already


def test_volumes_peak_recounted(mixed: Case, changes: Changes) -> None:
    _, rows = played(mixed, "combined")
    for scope, of in (("pool", "host"), ("backend", "backend")):
        peaks = changes.groupby(of)["volumes"].agg(lambda change: change.cumsum().max())
        mine = {name: row.volumes_peak for (its, name), row in rows.items() if its == scope}
        assert mine == peaks.to_dict()
    assert rows["backend", "vault"].volumes_peak == 9  # all there from the start
    pools = [row.volumes_peak for (scope, name), row in rows.items() if name.startswith("both#")]
    assert len(pools) == 2 and rows["backend", "both"].volumes_peak < sum(pools)
    assert rows["tier", "flash"].volumes_peak is None and rows["all", ""].volumes_peak is None


@pytest.mark.parametrize("warm_up_s", [0.0, 3.4 * DAY_S])
def test_block_means_recounted(mixed: Case, changes: Changes, warm_up_s: float) -> None:
    measurer, rows = played(mixed, "combined", warm_up_s)
    requests = sim.run(mixed, "combined", "fast").requests
    end = max(measurer.last_event, requests["end"].max(), changes["time"].max())
    edges = np.append(warm_up_s + measurer.block_s * np.arange(measurer.blocks), end)
    images = changes[changes["kind"] != "user"]
    assert images["backend"].nunique() == 3 and (images["volumes"] < 0).any()
    for (scope, name), row in rows.items():
        if scope == "pool":
            continue
        its = images if scope == "all" else images[images[scope] == name]
        held = np.maximum(0.0, edges[:, np.newaxis] - its["time"].to_numpy())
        for quantity in ("volumes", "provisioned_gib", "physical_gib"):
            means = np.diff(held @ its[quantity].to_numpy(float)) / np.diff(edges)
            assert row.blocks[f"image_{quantity}"] == pytest.approx(means.tolist(), rel=1e-9, abs=1e-9)
            if warm_up_s == 0:
                mean = np.average(row.blocks[f"image_{quantity}"], weights=np.diff(edges))
                assert mean == pytest.approx(row.figures[f"image_{quantity}_mean"], rel=1e-9)


@pytest.mark.parametrize(
    ("days", "length_s", "count"),
    [(5.0, DAY_S / 2, 10), (9.9, 0.99 * DAY_S, 10), (10.4, DAY_S, 10), (10.6, DAY_S, 11), (0.0, 0.0, 10)],
)
def test_blocks_of_a_history(days: float, length_s: float, count: int) -> None:
    start_s = 1000.0
    blocks = Blocks.between(start_s, start_s + days * DAY_S)
    assert (blocks.length_s, blocks.count) == (pytest.approx(length_s), count)
    times = start_s + np.array([0.0, days / 2, days, days + 3]) * DAY_S
    assert blocks.of(times)[[0, 2, 3]].tolist() == [0 if days else count - 1, count - 1, count - 1]


def test_runs_after_one_another_are_alike(mixed: Case) -> None:
    """What a run leaves for the next changes nothing: lengths of arrays, and what is there at the start."""
    measurer = Measurer(Prepared(mixed, starts=2))
    many = mixed.scenario.varied({("backends", "both", "image_volume_cache_max_count"): 9})
    elsewhere = mixed.scenario.varied({("store", "home"): "both#p1"})
    for scenario in (mixed.scenario, many, elsewhere, mixed.scenario):
        for strategy in ("combined", "cache-only"):
            fresh = Measurer(Prepared(mixed))
            again = measurer.rows(measurer.play(scenario, strategy)[0], scenario)
            assert repr(again) == repr(fresh.rows(fresh.play(scenario, strategy)[0], scenario))


def test_warm_up_is_left_out(case: Case, prepared: Prepared) -> None:
    half = float(case.trace.events["time"].iloc[-1]) / 2
    measurer = Measurer(prepared, half)
    state, _ = measurer.play(case.scenario, "cache-only")
    late = measurer.rows(state, case.scenario)["all", ""].figures
    requests = sim.run(case, "cache-only", "fast").requests
    counted = requests[requests["time"] >= half]
    assert late["creates"] == len(counted) > 0
    assert late["clone_hit_rate"] == (counted["source"] == "cache").mean()
