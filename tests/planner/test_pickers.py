"""Pickers as pure functions on a table of candidates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.analysis.pareto import frontier
from sim.inputs.limits import Limits
from sim.planner.pickers import larger, limits_of, smallest, worst_larger

OPTIONS = ["image_volume_cache_enabled", "image_volume_cache_max_size_gb", "image_volume_cache_max_count"]
LIMITS = st.tuples(st.booleans(), st.integers(0, 2), st.integers(0, 2)).map(
    lambda drawn: drawn if drawn[0] else (False, 0, 0)
)
SHARES = st.integers(0, 8).map(lambda eighths: eighths / 8)


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Candidates of one backend: some limits, each once, with figures of which some are equal."""
    limits = draw(st.lists(LIMITS, min_size=1, max_size=14, unique=True))
    figures = [(draw(SHARES), draw(SHARES), float(draw(st.integers(0, 2)))) for _ in limits]
    columns = [*OPTIONS, "hit_rate", "hit_rate_low", "space_gib_mean"]
    rows = [(*limit, *figure) for limit, figure in zip(limits, figures, strict=True)]
    return pd.DataFrame(rows, columns=columns)


def at_least(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Whether one cache holds whatever the other may: it is on, and each limit is none, or as large."""
    if not other[0]:
        return True
    pairs = zip(one[1:], other[1:], strict=True)
    return bool(one[0]) and all(a == 0 or (b != 0 and a >= b) for a, b in pairs)


def rows_of(table: pd.DataFrame) -> list[tuple[Any, ...]]:
    return list(table[OPTIONS].itertuples(index=False, name=None))


@given(tables())
def test_larger_is_larger_in_both_ways(table: pd.DataFrame) -> None:
    limits, rows = limits_of(table), rows_of(table)
    expected = [[at_least(other, one) for other in rows] for one in rows]
    assert larger(limits).tolist() == expected
    assert [[other.covers(one) for other in limits] for one in limits] == expected


@given(tables(), st.data())
def test_limits_are_worth_what_the_worst_larger_ones_are(table: pd.DataFrame, data: st.DataObject) -> None:
    rows, worth = rows_of(table), table["hit_rate"].to_numpy()
    allowed = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))))
    for number, worst in enumerate(worst_larger(limits_of(table), worth, allowed)):
        beyond = [
            other for other, row in enumerate(rows) if allowed[other] and at_least(row, rows[number])
        ] or [number]
        assert worst in beyond and worth[worst] == min(worth[beyond])


@given(tables(), SHARES, st.sampled_from(["hit_rate", "hit_rate_low"]))
def test_smallest_is_the_cheapest_from_which_all_are_good(
    table: pd.DataFrame, least: float, column: str
) -> None:
    rows, worth = rows_of(table), table[column].tolist()
    good = [
        number
        for number, row in enumerate(rows)
        if all(value >= least for value, other in zip(worth, rows, strict=True) if at_least(other, row))
    ]
    found = smallest(table, least, column)
    if found is None:
        assert not good
        return
    chosen = rows.index(tuple(found[OPTIONS]))
    spaces = table["space_gib_mean"]
    assert chosen in good and spaces[chosen] == spaces[good].min()
    alike = [rows[other] for other in good if spaces[other] == spaces[chosen]]
    assert not [row for row in alike if row != rows[chosen] and at_least(rows[chosen], row)]


@given(tables())
def test_the_frontier_has_what_no_other_beats(table: pd.DataFrame) -> None:
    found = frontier(table)
    cost, worth = table["space_gib_mean"], table["hit_rate"]

    def beaten(row: int, by: int) -> bool:
        no_worse = cost[by] <= cost[row] and worth[by] >= worth[row]
        return bool(no_worse and (cost[by] < cost[row] or worth[by] > worth[row]))

    for row in found.index:
        assert not [by for by in table.index if beaten(row, by)]
    left_out = table.index.difference(found.index)
    for row in left_out:
        assert [by for by in found.index if cost[by] <= cost[row] and worth[by] >= worth[row]]
    pd.testing.assert_frame_equal(table.loc[found.index], found)  # whole rows, as they were
    assert found["space_gib_mean"].is_monotonic_increasing and found["hit_rate"].is_monotonic_increasing


def test_no_limit_is_larger_than_any() -> None:
    table = pd.DataFrame([(True, 0, 0), (True, 2, 2), (True, 2, 0)], columns=OPTIONS)
    found = smallest(table.assign(hit_rate_low=0.9, space_gib_mean=3.0), 0.5)
    assert found is not None and tuple(found[OPTIONS]) == (True, 2, 2)


def test_the_frontier_is_of_the_columns_one_asks_for() -> None:
    table = pd.DataFrame({"price": [1.0, 2.0, 3.0], "p95_s": [-9.0, -4.0, -6.0], "hit_rate": [0.1, 0.1, 0.1]})
    assert frontier(table, cost="price", worth="p95_s").index.tolist() == [0, 1]


@pytest.mark.parametrize("lows", [[0.5, 0.7, 0.6, 0.9], [0.9, 0.7, 0.6, 0.5]])
def test_a_larger_cache_with_fewer_hits_counts_for_smaller_ones(lows: list[float]) -> None:
    table = pd.DataFrame([(True, size, 1) for size in (1, 2, 3, 4)], columns=OPTIONS)
    table = table.assign(hit_rate_low=lows, space_gib_mean=[1.0, 2.0, 3.0, 4.0])
    found = smallest(table, 0.65)
    if lows[-1] < 0.65:
        assert found is None
    else:
        assert found is not None and found[OPTIONS[1]] == 4
    assert Limits(True, 4, 1) == limits_of(table)[3]
