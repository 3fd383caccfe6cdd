"""Keys and values of a sweep: what is understood, and every mistake at once."""

from __future__ import annotations

from pathlib import Path

import pytest

import sim
from sim.inputs.problems import BadInput
from sim.inputs.scenario import Scenario
from sim.sweep.varying import Point, apply, check, grid, listed, parse, paths_of, sample

SCENARIO = Path(__file__).parents[2] / "scenarios" / "two_tiers.yaml"
COUNT = "image_volume_cache_max_count"


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return sim.load(SCENARIO).scenario


def test_values() -> None:
    assert parse(["a=1,2.5,x,null,true"])["a"] == [1, 2.5, "x", None, True]
    assert parse(["a=0..10:5,3..4"])["a"] == [0, 5, 10, 3, 4]
    with pytest.raises(BadInput) as caught:
        parse(["a", "b=", "c=5..1", "d=1", "d=2", "e=[", "=3"])
    assert len(caught.value.problems) == 6


def test_grid_is_every_combination_under_every_strategy() -> None:
    points = grid({"a": [1, 2], "b": [3, 4]}, ["none", "combined"])
    assert len(points) == len(set(points)) == 8
    assert points[1] == Point((("a", 1), ("b", 4)), "none")
    assert {point.strategy for point in grid({"strategy": ["cache-only"], "a": [1]}, ["none"])} == {
        "cache-only"
    }


def test_latin_hypercube_takes_every_value_equally_often() -> None:
    values = {"a": list(range(10)), "b": list(range(10, 20))}
    points = sample(values, ["none"], 10, latin=True, seed=3)
    assert sorted(dict(point.values)["a"] for point in points) == values["a"]
    assert sorted(dict(point.values)["b"] for point in points) == values["b"]
    assert points == sample(values, ["none"], 10, latin=True, seed=3)
    loose = sample(values, ["none"], 50, latin=False, seed=3)
    assert 0 < len(loose) <= 50 and loose != sample(values, ["none"], 50, latin=False, seed=4)


def test_a_star_is_every_name(scenario: Scenario) -> None:
    changed = apply(scenario, {f"backends.*.{COUNT}": 3})
    assert {backend.image_volume_cache_max_count for backend in changed.backends.values()} == {3}
    begun = apply(scenario, {f"backends.flash-*.{COUNT}": 3}).backends
    counts = {name: backend.image_volume_cache_max_count for name, backend in begun.items()}
    assert counts == {"flash-a": 3, "flash-b": 3, "disk-a": 50, "disk-b": 50}
    one = apply(scenario, {f"backends.disk-a.{COUNT}": 4})
    assert one.backends["disk-a"].image_volume_cache_max_count == 4
    assert one.backends["flash-a"] == scenario.backends["flash-a"]
    assert apply(scenario, {"glance.streams": None}).glance.streams is None


def test_names_may_have_dots_and_stars() -> None:
    raw = {"a": {"x.y": {"z": 1}, "x": {"y": 2}, "*": {"z": 3}, "[x]": {"z": 4}}, "none": None}
    assert paths_of("a.x.y.z", raw) == [("a", "x.y", "z")]
    assert paths_of("a.x.y", raw) == [("a", "x.y"), ("a", "x", "y")]
    assert paths_of("a.*.z", raw) == [("a", "x.y", "z"), ("a", "*", "z"), ("a", "[x]", "z")]
    assert paths_of("a.[x].z", raw) == [("a", "[x]", "z")]
    assert paths_of("none.a", raw) == paths_of("b", raw) == []


def test_every_mistake_at_once(scenario: Scenario) -> None:
    points = grid({f"backends.none.{COUNT}": [1, 2], "glance.streams": [4, 0, "x"], "seed": [-1]}, ["lru"])
    with pytest.raises(BadInput) as caught:
        check(scenario, points)
    text = str(caught.value)
    assert len(caught.value.problems) == 5
    for part in ("no 'lru'", f"backends.none.{COUNT}: is no key", "glance.streams: 0", "'x'", "seed: -1"):
        assert part in text


def test_list(tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    path.write_text(f"strategy,glance.streams,backends.*.{COUNT}\nnone,4,5\ncombined,,7\n")
    assert listed(path, ["x"]) == [
        Point((("glance.streams", 4), (f"backends.*.{COUNT}", 5)), "none"),
        Point((("glance.streams", None), (f"backends.*.{COUNT}", 7)), "combined"),
    ]
    path.write_text("glance.streams\n")
    with pytest.raises(BadInput, match="has no rows"):
        listed(path, ["x"])
    with pytest.raises(BadInput, match="cannot be read"):
        listed(tmp_path / "none.csv", ["x"])
