"""Pictures: on the Axes that is given, and nothing else is changed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import sim
from sim import plots
from sim.model.records import directories_table
from sim.model.usage import space_table
from sim.plots.storms import BY_STATE

CURVE = pd.DataFrame(
    {
        "limit": "image_volume_cache_max_count",
        "value": [0, 1, 2, 4],
        "hit_rate": [0, 0.3, 0.5, 0.6],
        "byte_hit_rate": [0, 0.2, 0.5, 0.7],
        "hit_rate_low": [0, 0.2, 0.4, 0.5],
        "hit_rate_high": [0, 0.4, 0.6, 0.7],
    }
)
ROWS = pd.DataFrame(
    {
        "strategy": ["none", "cheap", "dear", "bad"],
        "clone_hit_rate": [0.0, 0.8, 0.9, 0.5],
        "price_month": [0.0, 1.0, 5.0, 6.0],
        "create_s_mean": [80.0, 20.0, 15.0, np.nan],
    }
)
SWEPT = pd.DataFrame(
    {
        "strategy": ["a", "a", "b", "b"],
        "limit": [1, 2, 1, 2],
        "clone_hit_rate": [0.2, 0.4, 0.3, 0.6],
        "clone_hit_rate_low": [0.1, 0.3, 0.2, 0.5],
        "clone_hit_rate_high": [0.3, 0.5, 0.4, 0.7],
    }
)
SECONDS = pd.DataFrame(
    {
        "source": ["cache", "cache", "download"],
        "waited": [False, True, False],
        "from_s": [1.0, 10.0, 10.0],
        "to_s": [2.0, 20.0, 20.0],
        "creates": [5, 2, 3],
    }
)
IMAGES = pd.DataFrame({"gib_days": [0.5, 20.0, 3.0], "hits": [9, 0, 100], "evicted_early": [0, 1, 0]})
SPACE = space_table(np.array([0.0, 86_400.0]), ["a#p0"], np.arange(18.0).reshape(1, 2, 3, 3))
DIRECTORY = directories_table(
    ["c1"], np.array([0.0, 86_400.0]), np.array([[0.0, 2**30]]), np.array([[0.0, 2**31]])
)

STATES = pd.DataFrame({"time_s": [0.0, 5.0, 9.0]} | {name: [1, 0, 2] for name in BY_STATE})
BANDS = pd.DataFrame(
    {
        "resource": ["write streams", "write streams", "lock of the image"],
        "where": ["a", "a", None],
        "time_s": [0.0, 4.0, 2.0],
        "in_use": [1, 2, 1],
        "limit": [2, 2, 1],
        "waiting": [0, 3, 5],
    }
)

DRAWN: dict[str, tuple[Callable[..., Axes], tuple[Any, ...], dict[str, Any]]] = {
    "hit_rate_by_limit": (
        plots.hit_rate_by_limit,
        (CURVE,),
        {"today": 2, "recommended": 1, "working_set": 4},
    ),
    "by_value": (plots.by_value, (SWEPT, "limit", "clone_hit_rate"), {}),
    "by_strategy": (plots.by_strategy, (ROWS, "create_s_mean"), {}),
    "pareto": (plots.pareto, (ROWS,), {}),
    "space_over_time": (
        plots.space_over_time,
        (SPACE, "volumes"),
        {"limits": {"max_volumes": 20, "far": 200, "none": None}},
    ),
    "conversion_over_time": (plots.conversion_over_time, (DIRECTORY,), {"limit": 3.0}),
    "create_seconds": (plots.create_seconds, (SECONDS,), {"limit_s": 15.0}),
    "images_worth": (plots.images_worth, (IMAGES,), {}),
    "storm_states": (plots.storm_states, (STATES,), {"within_s": 6.0}),
    "storm_bands": (plots.storm_bands, (BANDS,), {"end_s": 9.0}),
}


def drawn(name: str) -> Axes:
    plot, data, options = DRAWN[name]
    return plot(*data, Figure().add_subplot(), **options)


def test_all_that_is_exported_is_drawn_here() -> None:
    assert set(plots.__all__) == {*DRAWN, "storm"}  # which is a figure of two: tests/planner/test_storm.py
    assert sim.plots is plots


@pytest.mark.parametrize("name", DRAWN)
def test_the_axes_come_back_and_no_setting_changes(name: str) -> None:
    import matplotlib.pyplot as plt

    plot, data, options = DRAWN[name]
    before, copies = dict(mpl.rcParams), [each.copy() if hasattr(each, "copy") else each for each in data]
    figure = Figure()
    axes = figure.add_subplot()
    assert plot(*data, axes, **options) is axes
    figure.draw_without_rendering()
    assert figure.axes == [axes]
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []
    for one, other in zip(data, copies, strict=True):
        assert one.equals(other) if isinstance(one, pd.DataFrame) else one == other


def test_limits_are_marked_where_they_are() -> None:
    axes = drawn("hit_rate_by_limit")
    assert {line.get_label(): line.get_xdata()[0] for line in axes.lines[-3:]} == {
        "working set: 4": 4,
        "today: 2": 2,
        "recommended: 1": 1,
    }


def test_no_limit_is_not_drawn() -> None:
    axes = plots.hit_rate_by_limit(CURVE, Figure().add_subplot(), today=0)
    assert len(axes.lines) == 2


def test_the_front_is_what_nothing_is_both_cheaper_and_better_than() -> None:
    axes = drawn("pareto")
    points = {line.get_label(): list(line.get_xdata()) for line in axes.lines}
    assert points["on the front"] == [0.0, 1.0, 5.0]
    assert points["another is better"] == [6.0]
    assert {text.get_text() for text in axes.texts} == set(ROWS["strategy"])


def test_names_are_not_written_on_one_another() -> None:
    rows = pd.DataFrame(
        {
            "strategy": [
                *("none", "store-only", "cache-only", "combined"),
                "replicated-store",
                "on-demand-store",
            ],
            "price_month": [0, 1.72, 5.48, 8.17, 5.71, 3.25],
            "clone_hit_rate": [0, 0.154, 0.648, 0.654, 0.244, 0.243],
        }
    )
    figure = Figure(figsize=(4.3, 2.8))
    axes = plots.pareto(rows, figure.add_subplot())
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not [(a, b) for a, b in itertools.combinations(boxes, 2) if a.overlaps(b)]


def test_ticks_of_many_powers_of_ten_are_apart() -> None:
    images = IMAGES.assign(gib_days=[0.004, 20.0, 300.0])
    figure = Figure(figsize=(4.3, 2.8))
    axes = plots.images_worth(images, figure.add_subplot())
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()]
    assert not [(a, b) for a, b in itertools.combinations(boxes, 2) if a.overlaps(b)]


def test_an_axis_has_its_unit_without_a_curve() -> None:
    simulated = SWEPT.set_axis(["strategy", "value", "hit_rate", "hit_rate_low", "hit_rate_high"], axis=1)
    limit = "image_volume_cache_max_count"
    axes = plots.hit_rate_by_limit(CURVE[:0], Figure().add_subplot(), simulated=simulated, limit=limit)
    assert axes.get_xlabel() == "entries"


def test_what_is_on_a_pool_is_stacked_up_to_its_sum() -> None:
    axes = drawn("space_over_time")
    volumes = SPACE[["user_volumes", "cache_volumes", "store_volumes"]].sum(axis=1)
    tops = [float(path.vertices[:, 1].max()) for of in axes.collections for path in of.get_paths()]
    assert max(tops) == volumes.max()
    assert [float(line.get_ydata()[0]) for line in axes.lines] == [20.0]  # 200 is out of reach


def test_waits_have_a_row_of_their_own() -> None:
    axes = drawn("create_seconds")
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels == ["cache:\n5", "cache after\na wait: 2", "download:\n3"]
    assert [bar.get_hatch() for bar in axes.patches] == [None, "/////", None]


def test_a_strategy_without_a_figure_says_so() -> None:
    assert [text.get_text() for text in drawn("by_strategy").texts] == ["80", "20", "15", "-"]


def test_long_numbers_are_short_at_the_ticks_of_bars_too() -> None:
    figure = Figure(figsize=(4.3, 2.8))
    axes = plots.by_strategy(ROWS.assign(errors=[821_000, 0, 5, 9]), "errors", figure.add_subplot())
    figure.draw_without_rendering()
    assert max(len(label.get_text()) for label in axes.get_xticklabels()) <= 5


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.004, "0"),
        (0.5, "0.5"),
        (7.05, "7.05"),
        (99.96, "100"),
        (1234.4, "1,234"),
        (60_000, "60k"),
        (2.5e6, "2.5M"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert plots.frame.number(value) == text
