"""A sweep's measures are those of the tables that a run makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sim
from sim.fast.engine import Prepared
from sim.metrics import summary
from sim.results import pools_table
from sim.scenario import Case
from sim.sweep.measures import Measurer

SCENARIO = Path(__file__).parents[2] / "scenarios" / "two_tiers.yaml"


@pytest.fixture(scope="module")
def case() -> Case:
    return sim.load(SCENARIO)


@pytest.fixture(scope="module")
def prepared(case: Case) -> Prepared:
    return Prepared(case)


@pytest.mark.parametrize("strategy", ["none", "store-only", "cache-only", "combined"])
def test_same_as_the_tables(case: Case, prepared: Prepared, strategy: str) -> None:
    state, _, _ = prepared.play(case.scenario, strategy)
    rows = pd.DataFrame(Measurer(prepared).rows(state, case.scenario))
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


def test_days_add_up(case: Case, prepared: Prepared) -> None:
    state, _, _ = prepared.play(case.scenario, "combined")
    rows = pd.DataFrame(Measurer(prepared).rows(state, case.scenario))
    assert rows["daily_creates"].map(sum).tolist() == rows["creates"].tolist()
    hits = (rows["clone_hit_rate"].fillna(0) * rows["creates"]).round().astype(int)
    assert rows["daily_clones"].map(sum).tolist() == hits.tolist()
    tiers = rows[rows["scope"] == "tier"]["daily_creates"].tolist()
    assert np.sum(tiers, axis=0).tolist() == rows["daily_creates"].iloc[-1]


def test_warm_up_is_left_out(case: Case, prepared: Prepared) -> None:
    state, _, _ = prepared.play(case.scenario, "cache-only")
    half = float(case.trace.events["time"].iloc[-1]) / 2
    late = Measurer(prepared, half).rows(state, case.scenario)[-1]
    requests = sim.run(case, "cache-only", "fast").requests
    counted = requests[requests["time"] >= half]
    assert late["creates"] == len(counted) > 0
    assert late["clone_hit_rate"] == (counted["source"] == "cache").mean()
