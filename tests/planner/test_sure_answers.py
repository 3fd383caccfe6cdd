"""Plans with intervals, of backends that share something, and however they are run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import sim
from sim.planner.targets import Targets
from tests.planner.checking import check, planned, rules, shown
from tests.planner.enumerated import (
    DAY_S,
    Everything,
    Rule,
    all_of,
    cell_of,
    cheapest,
    figures_of,
    good,
    said,
    simulated,
)

# -- sure of it ----------------------------------------------------------------------------------------


def test_the_lower_end_keeps_the_target(alone: Everything, tmp_path: Path) -> None:
    target = 0.55
    made = sim.plan(alone.case.path, Targets(hit_rate={"": target}), workers=1)
    its = made.document["backends"]["one"]
    assert made.document["met"] and its["hit_rate_low"] >= target
    chosen = said(its)
    lows = {cache: low_of(alone, {"one": cache}) for cache in set(alone.cells["one"]) - {None}}
    assert its["hit_rate_low"] == pytest.approx(
        lows[chosen], abs=0.1 * (its["hit_rate"] - its["hit_rate_low"])
    )
    made.write(tmp_path)
    table = made.candidates[made.candidates["strategy"] == made.document["strategy"]]
    told = {said(row): row["hit_rate_low"] for row in table.to_dict("records")}
    assert told.keys() == set(alone.cells["one"])
    sure = {cache for cache in told if all(told[each] >= target for each in told if covers(each, cache))}
    assert chosen in sure
    assert not [cache for cache in sure if cache != chosen and covers(chosen, cache)]
    on_the_mean = said(planned(alone, hit_rate={"": target})["backends"]["one"])
    assert covers(chosen, on_the_mean) and chosen != on_the_mean


def covers(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return other is None
    return all((a or np.inf) >= (b or np.inf) for a, b in zip(one, other, strict=True))


def low_of(of: Everything, chosen: dict[str, Any], tier: str = "flash") -> float:
    """The lower end of the hit rate's 95 % interval: days drawn again, by draws of our own."""
    _, records = simulated(of.case, "cache-only", chosen)
    requests = records.requests[records.requests["volume_type"] == tier]
    count = round(of.case.trace.events["time"].iloc[-1] / DAY_S)
    assert count >= 10
    day = np.minimum((requests["time"] // DAY_S).astype(int), count - 1).to_numpy()
    hit = (requests["source"] == "cache").to_numpy()
    creates, hits = np.bincount(day, minlength=count), np.bincount(day, weights=hit, minlength=count)
    drawn = np.random.default_rng(99).integers(0, count, size=(20_000, count))
    rates = hits[drawn].sum(axis=1) / creates[drawn].sum(axis=1)
    error = rates.std(ddof=1) * np.sqrt(count / (count - 1))
    return float(hit.mean()) - float(stats.t.ppf(0.975, count - 1)) * error


def test_the_cheapest_limits_that_are_sure(apart: Everything) -> None:
    """Two backends of a tier: the lower end is that of both together."""
    look = apart.today(["disk-a"]) & (apart.cells["strategy"] == "cache-only").to_numpy()
    low = np.full(len(apart.cells), np.nan)
    for row in np.flatnonzero(look):
        low[row] = low_of(apart, {name: apart.cells[name][row] for name in apart.case.scenario.backends})
    ends = np.unique(low[look].round(6))
    middle = ends[(ends > 0.3) & (ends < 0.8)]
    gap = int(np.argmax(np.diff(middle)))  # between two ends that draws do not mistake for each other
    target = float(middle[gap : gap + 2].mean())
    _, budgets = rules(apart)
    sure: list[Rule] = [lambda cells: pd.Series(low >= target, cells.index)]
    fine = good(apart, look, sure, budgets)
    document = planned(apart, confidence=0.95, hit_rate={"flash": target})
    check(apart, document, cheapest(apart, fine))
    assert document["tiers"]["flash"]["hit_rate_low"] >= target


@pytest.mark.parametrize(
    ("bounds", "worse"),
    [({"p95_s": {"": 22.0}}, "p95_s_high"), ({"price_month": {"": 1.6}}, "price_month_high")],
    ids=str,
)
def test_the_upper_end_keeps_a_bound(alone: Everything, bounds: dict[str, Any], worse: str) -> None:
    document = planned(alone, confidence=0.95, **bounds)
    ((bound,),) = (of.values() for of in bounds.values())
    assert document["met"] is True and 0 < document["tiers"]["all"][worse] <= bound


# -- backends that share ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bounds",
    [{"hit_rate": {"": 0.6}}, {"p95_s": {"": 57.0}}, {"hit_rate": {"flash": 0.6, "disk": 0.4}}],
    ids=str,
)
def test_promises_hold_and_no_step_down_does(
    together: Everything, bounds: dict[str, dict[str, float]]
) -> None:
    of_flash = together.cells.groupby(together.cells["flash-a"].astype(str))["flash p95_s"]
    assert of_flash.nunique().max() > 1  # the limits of disk-a matter to flash-a
    goals, budgets = rules(together, **bounds)
    document = planned(together, **bounds)
    assert document["met"] is True and document["checked_by_cinder"]["equal"]
    row = cell_of(together, document)
    kept = all_of([*goals, *budgets], together.cells)
    assert kept[row]
    chosen = {name: said(its) for name, its in document["backends"].items()}
    afresh = figures_of(together.case, document["strategy"], chosen)
    for tier, its in document["tiers"].items():
        assert its["hit_rate"] == afresh[f"{tier} hit_rate"] and its["errors"] == afresh[f"{tier} errors"]
    fine = good(together, together.today([]), goals, budgets)
    cost = together.cells["all cost"].to_numpy()
    smaller = together.larger()[:, row] & (np.arange(len(cost)) != row)
    one_apart = sum(
        np.array([cache != chosen[name] for cache in together.cells[name]], dtype=int) for name in chosen
    )
    steps = smaller & (one_apart == 1) & fine & (cost <= cost[row])
    assert not steps.any(), [shown(together, row), *(shown(together, each) for each in np.flatnonzero(steps))]


# -- the same however it is run ------------------------------------------------------------------------


@pytest.fixture
def cluster() -> Iterator[str]:
    """The address of a Dask scheduler with two workers."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as local:
        yield local.scheduler_address


def test_the_same_bytes_however_it_is_run(together: Everything, cluster: str, tmp_path: Path) -> None:
    path, targets = together.case.path, Targets(hit_rate={"flash": 0.5}, space_gib={"": 6.0})
    first, *others = (
        sim.plan(path, targets, **how)
        for how in ({"workers": 1}, {"workers": 2}, {"dask": cluster}, {"workers": 1, "folder": tmp_path})
    )
    first.write(tmp_path / "1")
    for each in others:
        assert json.dumps(each.document) == json.dumps(first.document)
        each.write(tmp_path / "2")
        for name in ("plan.json", "candidates.csv", "frontier.csv"):
            assert (tmp_path / "2" / name).read_bytes() == (tmp_path / "1" / name).read_bytes()
    again = sim.plan(path, targets, workers=1, folder=tmp_path)  # of cells that are there already
    assert json.dumps(again.document) == json.dumps(first.document)
