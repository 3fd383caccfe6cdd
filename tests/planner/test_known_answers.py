"""Plans against every limit that there is: of each kind of bound, the plan is the enumerated best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.planner.checking import check, most_hits, planned, rules, shown
from tests.planner.enumerated import (
    Everything,
    all_of,
    cell_of,
    cheapest,
    everything,
    good,
    options,
    said,
    simulated,
)

APART = [
    ({"hit_rate": {"": 0.5}}, ()),
    ({"hit_rate": {"": 0.7}}, ()),
    ({"hit_rate": {"": 0.88}}, ()),
    ({"hit_rate": {"flash": 0.6}}, ("disk-a",)),
    ({"hit_rate": {"disk": 0.5}}, ("flash-a", "flash-b")),
    ({"hit_rate": {"flash": 0.7, "disk": 0.9}}, ()),
    ({"hit_rate": {"": 0.75, "flash": 0.6}}, ()),
    ({"p95_s": {"disk": 5.0}}, ("flash-a", "flash-b")),
    ({"p95_s": {"flash": 15.0}}, ("disk-a",)),
    ({"p95_s": {"": 15.0}}, ()),
    ({"p95_s": {"disk": 5.0}, "hit_rate": {"flash": 0.55}}, ()),
    ({"hit_rate": {"": 0.55}, "space_gib": {"flash": 5.0}}, ()),
    ({"hit_rate": {"flash": 0.55}, "space_gib": {"": 8.0}}, ("disk-a",)),
    ({"hit_rate": {"": 0.5}, "price_month": {"": 2.0}}, ()),
    ({"hit_rate": {"flash": 0.5}, "price_month": {"flash": 2.2}, "space_gib": {"flash": 8.0}}, ("disk-a",)),
]


@pytest.mark.parametrize(("bounds", "kept"), APART, ids=str)
def test_the_cheapest_limits_from_which_all_larger_ones_reach_the_goals(
    apart: Everything, bounds: dict[str, dict[str, float]], kept: Sequence[str]
) -> None:
    fine = good(apart, apart.today(kept), *rules(apart, **bounds))
    assert 0 < fine.sum() < apart.today(kept).sum()
    check(apart, planned(apart, **bounds), cheapest(apart, fine))


@pytest.mark.parametrize(
    ("bounds", "kept"),
    [
        ({"space_gib": {"flash": 4.0}}, ("disk-a",)),
        ({"space_gib": {"flash": 6.0}}, ("disk-a",)),
        ({"space_gib": {"": 5.0}}, ()),
        ({"space_gib": {"flash": 5.0, "disk": 0.5}}, ()),
        ({"price_month": {"": 1.5}}, ()),
        ({"price_month": {"flash": 2.5}}, ("disk-a",)),
        ({"price_month": {"": 2.0}, "space_gib": {"flash": 6.0}}, ()),
        ({}, ()),
    ],
    ids=str,
)
def test_the_most_hits_that_budgets_allow(
    apart: Everything, bounds: dict[str, dict[str, float]], kept: Sequence[str]
) -> None:
    _, budgets = rules(apart, **bounds)
    check(apart, planned(apart, **bounds), most_hits(apart, apart.today(kept) & all_of(budgets, apart.cells)))


def test_half_as_much_load_again(full: Everything) -> None:
    """The users' volumes alone fill the array then: hits cost more creates."""
    grown = everything(full.case.path, growth=1.5, strategies=["none", "cache-only"])
    errors = "all errors"
    assert grown.cells[errors].min() > full.cells[errors].min()
    for bounds in ({"hit_rate": {"flash": 0.3}, "errors": {"": float(grown.cells[errors].max())}}, {}):
        look = grown.today(["wide"] if bounds else [])
        goals, budgets = rules(grown, **bounds)
        fine = good(grown, look, goals, budgets)
        assert 0 < fine.sum() < len(fine)
        document = planned(grown, growth=1.5, **bounds)
        check(grown, document, cheapest(grown, fine) if goals else most_hits(grown, fine))
        assert document["tiers"]["all"]["creates"] == pytest.approx(
            1.5 * full.cells["all creates"][0], rel=0.02
        )


# -- an array that fills up ----------------------------------------------------------------------------


@pytest.mark.parametrize("errors", [{"": 0.0}, {"": 2.0}, {"": 3.0}, {"": 5.0}, {"flash": 8.0}, {}], ids=str)
def test_hits_that_cost_no_creates(full: Everything, errors: dict[str, float]) -> None:
    bounds = {"errors": errors} if errors else {}
    _, budgets = rules(full, **bounds)
    kept = ["wide"] if "flash" in errors else []
    fine = full.today(kept) & all_of(budgets, full.cells)
    document = planned(full, **bounds)
    if fine.any():
        assert full.cells["all errors"].max() > full.cells["all errors"][fine].max()
        check(full, document, most_hits(full, fine))
    else:
        lacking = [each for each in document["targets"] if not each["met"]]
        assert document["met"] is False and [each["constraint"] for each in lacking] == ["errors"]
        assert document["tiers"]["all"]["errors"] == full.cells["all errors"].min()


@pytest.mark.parametrize("errors", [3.0, 5.0, 8.0])
def test_a_hit_rate_with_few_errors(full: Everything, errors: float) -> None:
    bounds = {"errors": {"": errors}, "hit_rate": {"flash": 0.3}}
    fine = good(full, full.today(["wide"]), *rules(full, **bounds))
    assert fine.any()
    check(full, planned(full, **bounds), cheapest(full, fine))


@pytest.mark.parametrize("spare", [2, 3])
def test_places_that_stay_free(roomy: Everything, spare: int) -> None:
    """Places stay free if nothing changes when the array lacks them."""
    taken = roomy.case.scenario.backends["tight"].max_volumes
    assert taken is not None
    fine = roomy.today([])
    for row in np.flatnonzero(fine):
        chosen = {name: roomy.cells[name][row] for name in roomy.case.scenario.backends}
        strategy = roomy.cells["strategy"][row]
        fewer = {("backends", "tight", "max_volumes"): taken - spare}
        whole, tighter = (simulated(roomy.case, strategy, chosen, each)[1] for each in ({}, fewer))
        same = whole.requests.equals(tighter.requests) and whole.cache_events.equals(tighter.cache_events)
        fine[row] = same
    assert 0 < fine.sum() < len(fine)
    document = planned(roomy, spare_volumes=spare)
    check(roomy, document, most_hits(roomy, fine & all_of(rules(roomy)[1], roomy.cells)))
    assert document["backends"]["tight"]["volumes_peak"] <= taken - spare


def test_places_that_users_take_cannot_stay_free(roomy: Everything) -> None:
    taken = roomy.case.scenario.backends["tight"].max_volumes
    document = planned(roomy, spare_volumes=taken)
    lacking = [(each["constraint"], each["where"]) for each in document["targets"] if not each["met"]]
    assert document["met"] is False and lacking == [("spare_volumes", "tight")]
    assert said(document["backends"]["tight"]) is None  # what takes the fewest places


# -- strategies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", [0.45, 0.55, 0.7, 0.8, 0.92, 0.96])
def test_the_cheapest_strategy(stored: Everything, bound: float) -> None:
    goals, budgets = rules(stored, hit_rate={"": bound})
    check(
        stored,
        planned(stored, hit_rate={"": bound}),
        cheapest(stored, good(stored, stored.today([]), goals, budgets)),
    )


@pytest.mark.parametrize(
    ("bounds", "strategy"),
    [
        ({"hit_rate": {"flash": 0.65}}, "cache-only"),
        ({"hit_rate": {"flash": 0.65}, "p95_s": {"flash": 12.0}}, "store-only"),
        ({"hit_rate": {"flash": 0.95}}, "combined"),
    ],
    ids=str,
)
def test_strategies_win_where_they_should(
    stored: Everything, bounds: dict[str, dict[str, float]], strategy: str
) -> None:
    document = planned(stored, **bounds)
    assert document["strategy"] == strategy
    check(
        stored, document, cheapest(stored, good(stored, stored.today(["disk-a"]), *rules(stored, **bounds)))
    )


# -- caches that are worse though larger, and targets out of reach -------------------------------------


def test_the_lucky_small_cache_is_not_taken(lucky: Everything) -> None:
    rate = dict(zip(lucky.cells["one"], lucky.cells["all hit_rate"], strict=True))
    assert rate[(5, 2)] > 0.6 > rate[(10, 3)]  # the cache of today is lucky
    for bound in (0.2, 0.4, 0.6, 0.9):
        fine = good(lucky, lucky.today([]), *rules(lucky, hit_rate={"": bound}))
        check(lucky, planned(lucky, hit_rate={"": bound}), cheapest(lucky, fine))
    assert said(planned(lucky, hit_rate={"": 0.6})["backends"]["one"]) == (11, 3)


def test_without_room_for_larger_ones_the_lucky_one_is_taken(lucky: Everything) -> None:
    bounds = {"hit_rate": {"": 0.6}, "space_gib": {"": 5.0}}
    fine = good(lucky, lucky.today([]), *rules(lucky, **bounds))
    document = planned(lucky, **bounds)
    check(lucky, document, cheapest(lucky, fine))
    assert said(document["backends"]["one"]) == (5, 2)


def test_todays_limits_may_be_lucky_too(lucky: Everything) -> None:
    """Today's 5 GiB reach the goal, larger ones that one can pay for do not: nothing is sure to."""
    prices = lucky.cells["all price_month"]
    whole = prices[lucky.cells["one"] == (11, 3)]
    bounds = {"hit_rate": {"": 0.6}, "price_month": {"": float(whole.iloc[0]) - 0.01}}
    goals, budgets = rules(lucky, **bounds)
    today = cell_of(lucky, {"strategy": "cache-only", "backends": {"one": options((5, 2))}})
    assert all_of([*goals, *budgets], lucky.cells)[today]
    assert not good(lucky, lucky.today([]), goals, budgets).any()
    assert planned(lucky, **bounds)["met"] is False


@pytest.mark.parametrize(
    ("bounds", "kept", "lacks"),
    [
        ({"hit_rate": {"flash": 0.99}}, ("disk-a",), ("hit_rate", "flash")),
        ({"hit_rate": {"": 0.99}}, (), ("hit_rate", "all")),
        ({"hit_rate": {"flash": 0.9}, "space_gib": {"flash": 6.0}}, ("disk-a",), ("hit_rate", "flash")),
        ({"hit_rate": {"": 0.9}, "price_month": {"": 2.0}}, (), ("hit_rate", "all")),
    ],
    ids=str,
)
def test_the_nearest_where_a_target_is_out_of_reach(
    apart: Everything, bounds: dict[str, Any], kept: Sequence[str], lacks: tuple[str, str]
) -> None:
    ((tier, bound),) = bounds["hit_rate"].items()
    _, budgets = rules(apart, **bounds)
    fine = apart.today(kept) & all_of(budgets, apart.cells)
    rate = apart.cells[f"{tier or 'all'} hit_rate"].to_numpy()
    sure = np.where(apart.larger() & fine[None, :], rate[None, :], np.inf).min(axis=1)
    nearest = np.where(fine, sure, -np.inf).max()
    assert nearest < bound
    document = planned(apart, **bounds)
    assert document["met"] is False
    assert [(each["constraint"], each["where"]) for each in document["targets"] if not each["met"]] == [lacks]
    row = cell_of(apart, document)
    assert cheapest(apart, fine & (sure >= nearest - 1e-9))[row], shown(apart, row)
    told = [each for each in document["binding"] if "cannot be kept" in each["text"]]
    assert [(each["constraint"], each["where"]) for each in told] == [lacks]
    others = {each["constraint"] for each in document["binding"]}
    assert set(bounds) <= others  # the budget that keeps the target out of reach is named, too
