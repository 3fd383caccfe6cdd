"""Storms: closed forms, both engines, what runs out first, the smallest values, and refused options."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from matplotlib.colors import to_rgb
from typer.testing import CliRunner

from sim import api, plots
from sim.cli import app
from sim.inputs.problems import BadInput
from sim.inputs.scenario import Case
from sim.planner.storm import LEAD_S, Ask, Storms, storm_case
from sim.planner.storm_answer import StormAnswer
from sim.planner.storm_levers import SHORTENS, levers_of
from sim.planner.storm_shares import STATES
from sim.plots.frame import LIMIT

GIB = 2**30
CLONE_S, CREATE_S = 3.0, 1.0
FETCH_S, CONVERT_S, WRITE_S = 1024 / 100, 4096 / 512, 4096 / 256
FIRST_S = FETCH_S + CREATE_S + CONVERT_S + WRITE_S + CLONE_S  # a download that fills the cache


def scenario(tmp_path: Path, **changes: object) -> Case:
    """One pool, one qcow2 image of 1 GiB (4 GiB virtual), all times known."""
    backend = {
        "volume_type": "t",
        "pools": {"p": {}},
        "create_s": CREATE_S,
        "clone_s": CLONE_S,
        "convert_mib_s": 512,
        "write_mib_s": 256,
        **{key: value for key, value in changes.items() if key not in ("glance", "nodes", "backends")},
    }
    image = {
        "image_id": "i",
        "name": "i",
        "disk_format": "qcow2",
        "container_format": "bare",
        "size_bytes": GIB,
        "virtual_size_bytes": 4 * GIB,
    }
    raw = {
        "glance": {"streams": 4, "stream_mib_s": 100, **changes.get("glance", {})},  # type: ignore[dict-item]
        "nodes": changes.get("nodes", {}),
        "tiers": {"t": {}},
        "backends": changes.get("backends", {"a": backend}),
        "images": [image],
        "workload": {"trace": "trace.csv"},
        "strategies": ["none", "cache-only"],
    }
    lines = ["time,event,volume_id,image_id,size_gib,volume_type,host"]
    lines += [f"{time},create,v{time},i,4,t," for time in (10, 4000, 4100, 9000)]
    (tmp_path / "trace.csv").write_text("\n".join(lines) + "\n")
    path = tmp_path / "scenario.yaml"
    path.write_text(yaml.safe_dump(raw))
    return api.load(path)


def storm(case: Case, creates: int, strategy: str = "cache-only", **asked: object) -> StormAnswer:
    return api.storm(case, Ask(creates, **asked), strategy)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "rounds"),
    [
        ({}, lambda n: 1),
        ({"clone_lock": "source"}, lambda n: n - 1),
        ({"clone_streams": 4}, lambda n: math.ceil((n - 1) / 4)),
        ({"clone_streams": 4, "clone_lock": "source"}, lambda n: n - 1),
    ],
)
@pytest.mark.parametrize("creates", [1, 2, 9, 10, 23])
def test_cold_creates_take_one_download_and_then_rounds_of_clones(
    changes: dict[str, object], rounds: object, creates: int, tmp_path: Path
) -> None:
    case = scenario(tmp_path, **changes)
    up_s = Storms(case, Ask(creates)).play("cache-only", {}).up_s
    more = CLONE_S * rounds(creates) if creates > 1 else 0.0  # type: ignore[operator]
    assert up_s.max() == pytest.approx(FIRST_S + more, abs=1e-3)
    assert up_s.min() == pytest.approx(FIRST_S, abs=1e-3)


def test_without_a_cache_downloads_take_turns_on_the_streams(tmp_path: Path) -> None:
    up_s = np.sort(Storms(scenario(tmp_path), Ask(10)).play("none", {}).up_s)
    turns = 1 + np.arange(10) // 4
    assert up_s == pytest.approx(turns * FETCH_S + CREATE_S + CONVERT_S + WRITE_S, abs=1e-3)


def test_what_is_shared_is_busy_as_long_as_theory_says(tmp_path: Path) -> None:
    found = storm(scenario(tmp_path), 10, "none")
    assert found.shares is not None
    row = found.shares.table.set_index("resource").loc["Glance's streams"]
    end_s = 3 * FETCH_S + CREATE_S + CONVERT_S + WRITE_S
    assert row["peak"] == 4
    assert row["longest_queue"] == 6
    assert row["busy"] == pytest.approx(10 * FETCH_S / (4 * end_s), rel=1e-4)
    assert row["waited_s"] == pytest.approx((4 * 1 + 2 * 2) * FETCH_S, rel=1e-4)


@pytest.mark.parametrize("key", ["total_mib_s", "array_mib_s", "node"])
def test_links_carry_all_bytes(key: str, tmp_path: Path) -> None:
    changes: dict[str, dict[str, object]] = {
        "total_mib_s": {"glance": {"total_mib_s": 150}},
        "array_mib_s": {"array_mib_s": 300},
        "node": {"nodes": {"c1": {"total_mib_s": 120}}},
    }
    found = storm(scenario(tmp_path, **changes[key]), 10, "none")
    assert found.shares is not None
    links = {"total_mib_s": "Glance's link", "array_mib_s": "array link", "node": "node link"}
    row = found.shares.table.set_index("resource").loc[links[key]]
    carried = row["busy"] * row["limit"] * found.shares.end_s
    assert carried == pytest.approx(10 * (4096 if key == "array_mib_s" else 1024), rel=1e-4)
    assert row["peak"] <= row["limit"] + 1e-6


def test_every_server_is_in_one_state(tmp_path: Path) -> None:
    found = storm(scenario(tmp_path, max_volumes=9), 12)
    assert found.states is not None
    assert found.states[list(STATES)].sum(axis=1).to_numpy() == pytest.approx(12.0)
    assert found.states["up"].iloc[-1] == 12 - found.times["failed"].iloc[0]


@pytest.mark.parametrize("asked", [{}, {"warm": True}, {"beside": True}, {"beside": True, "warm": False}])
def test_both_engines_agree(asked: dict[str, object], tmp_path: Path) -> None:
    case = scenario(tmp_path, max_volumes=20, clone_streams=2, max_clones_per_volume=6)
    ask = Ask(12, retries=1, **asked)  # type: ignore[arg-type]
    for strategy in ("none", "cache-only"):
        outcomes = [Storms(case, ask, engine).play(strategy, {}) for engine in ("fast", "cinder")]
        assert list(outcomes[0].up_s) == list(outcomes[1].up_s)
        assert outcomes[0].creates == outcomes[1].creates


def test_warm_creates_only_clone(tmp_path: Path) -> None:
    up_s = Storms(scenario(tmp_path), Ask(9, warm=True)).play("cache-only", {}).up_s
    assert up_s == pytest.approx(CLONE_S, abs=1e-3)


def test_a_storm_comes_in_the_busiest_hour(tmp_path: Path) -> None:
    case = scenario(tmp_path)
    found = storm(case, 5, beside=True)
    assert found.at_s == 3600
    events = storm_case(case, found.ask, None).trace.events
    assert list(events["time"]) == [10, *[LEAD_S] * 5, 4000, 4100, 9000]


def test_volumes_of_the_scenario_may_have_the_names_of_a_storm(tmp_path: Path) -> None:
    case = scenario(tmp_path)
    events = case.trace.events
    names = events["volume_id"].astype("str").replace({"v10": "storm 0 0", "v4000": "storm of a user"})
    taken = replace(case, trace=replace(case.trace, events=events.assign(volume_id=names)))
    ask = Ask(5, beside=True)
    mine, other = (Storms(each, ask).play("cache-only", {}) for each in (taken, case))
    assert list(mine.up_s) == list(other.up_s) and mine.name == "~storm "


@pytest.mark.parametrize(
    ("changes", "resource", "lever", "within_s"),
    [
        ({"max_volumes": 9}, "places", "more places", 60),
        ({"clone_streams": 2}, "clone streams", "more clone streams", 50),
        ({"clone_lock": "source"}, "lock of the source", "clones of one volume at once", 50),
    ],
)
def test_what_runs_out_first_is_what_shortens_the_storm_most(
    changes: dict[str, object], resource: str, lever: str, within_s: float, tmp_path: Path
) -> None:
    found = storm(scenario(tmp_path, **changes), 20, within_s=within_s)
    first = found.runs_out
    assert first is not None
    assert first["resource"] == resource
    rows = found.helps.table.set_index("lever")
    assert rows.loc[lever, "effect"] == SHORTENS
    assert rows.loc[lever, "enough"]


@pytest.mark.parametrize(
    ("changes", "lever", "strategy", "least"),
    [
        ({"max_volumes": 9}, "places", "cache-only", 20 + 1),  # and the entry
        ({"clone_streams": 2}, "clone_streams", "cache-only", math.ceil(19 / 3)),  # three rounds fit
        ({}, "streams", "none", math.ceil(20 / 2)),  # two rounds fit
    ],
)
def test_one_less_than_the_smallest_value_is_not_enough(
    changes: dict[str, object], lever: str, strategy: str, least: int, tmp_path: Path
) -> None:
    case = scenario(tmp_path, **changes)
    slack = {"cache-only": FIRST_S + 3 * CLONE_S, "none": 2 * FETCH_S + CREATE_S + CONVERT_S + WRITE_S}
    ask = Ask(20, within_s=slack[strategy] + 0.5)
    found = api.storm(case, ask, strategy)
    of = {each.name: each for each in levers_of(case.scenario, strategy)}[lever]
    smallest = int(found.helps.table.set_index("lever").loc[of.words, "smallest"])
    assert smallest == least
    storms = Storms(case, ask)
    assert storms.play(strategy, of.values(smallest)).late == 0
    assert storms.play(strategy, of.values(smallest - 1)).late > 0


def test_the_best_lever_comes_first(tmp_path: Path) -> None:
    found = storm(scenario(tmp_path, clone_streams=1), 30, within_s=45)
    rows = found.helps.table
    assert list(zip(rows["late"], rows["failed"], strict=True)) == sorted(
        zip(rows["late"], rows["failed"], strict=True)
    )
    order = {effect: number for number, effect in enumerate((SHORTENS, "changes nothing", "makes it worse"))}
    assert list(rows["effect"].map(order)) == sorted(rows["effect"].map(order))


def test_nova_looks_every_interval_and_sleeps_once_more() -> None:
    ask = Ask(1)
    end = np.array([180.0, 180.5, 1.0, 500.0])
    given_up = ask.gives_up_s(end, np.array([True, True, False, False]))
    assert list(given_up) == [math.inf, 183.0, 3.0, 183.0]
    few = replace(ask, block_device_allocate_retries=0)
    assert list(few.gives_up_s(np.array([0.0, 0.1]), np.array([True, True]))) == [math.inf, 3.0]


def test_servers_that_nova_gave_up_come_again(tmp_path: Path) -> None:
    case = scenario(tmp_path, clone_lock="source")
    ask = Ask(10, block_device_allocate_retries=15, retries=1)  # 45 s: not for all ten
    outcome = Storms(case, ask).play("cache-only", {})
    first = FIRST_S + CLONE_S * np.arange(10)
    gone = int((first > 45).sum())
    assert 0 < gone < 10
    assert outcome.creates == 10 + gone
    assert (outcome.up_s[: 10 - gone] <= 45).all()
    assert ((outcome.up_s > 48) | (outcome.up_s <= 45)).all()


def test_the_picture_shows_every_server_and_every_wait(tmp_path: Path) -> None:
    found = storm(scenario(tmp_path, clone_streams=2), 12)
    assert found.states is not None
    assert found.shares is not None
    figure = plots.storm(found.states, found.shares.bands, within_s=40)
    above, below = figure.axes
    assert above.get_ylim()[1] == 12
    names = [label.get_text() for label in below.get_yticklabels()]
    assert names == ["lock of the image\ni", "Glance's streams", "clone streams\na"]
    red = [area for area in below.collections if area.get_facecolor()[0][:3] == pytest.approx(to_rgb(LIMIT))]
    ends = [area.get_paths()[0].vertices[:, 0].max() for area in red]
    assert max(ends) == pytest.approx(found.shares.end_s)


def test_every_problem_of_the_options_at_once(tmp_path: Path) -> None:
    case = scenario(tmp_path)
    asked = [
        "storm",
        str(case.path),
        "--creates",
        "0",
        "--within",
        "soon",
        "--images",
        "0",
        "--retries",
        "99",
    ]
    asked += ["--strategy", "best", "--engine", "slow", "--format", "csv"]
    asked += ["--block-device-allocate-retries-interval", "0", "--image", "i"]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 2
    for option in (
        "--creates",
        "--within",
        "--images",
        "--retries",
        "strategy",
        "engine",
        "--format",
        "interval",
    ):
        assert option in result.stderr


def test_names_that_the_scenario_lacks(tmp_path: Path) -> None:
    case = scenario(tmp_path)
    asked = ["storm", str(case.path), "--creates", "5", "--tier", "gold", "--image", "none"]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 2
    assert "--tier" in result.stderr
    assert "--image" in result.stderr


def test_a_folder_has_the_tables_and_json_says_the_same(tmp_path: Path) -> None:
    case, out = scenario(tmp_path), tmp_path / "out"
    result = CliRunner().invoke(app, ["storm", str(case.path), "--creates", "5", "--out", str(out), "--json"])
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["storm"]["creates"] == 5
    assert {"times.csv", "levers.csv", "servers.csv", "shares.csv", "states.csv", "bands.csv"} <= {
        path.name for path in out.iterdir()
    }
    assert json.loads((out / "manifest.json").read_text())["storm"] == told["storm"]


def test_images_that_are_deleted_later_are_there_in_a_storm_on_an_empty_cloud(tmp_path: Path) -> None:
    scenario(tmp_path)
    with (tmp_path / "trace.csv").open("a") as trace:
        trace.write("9500,delete_image,,i,,,\n")
    case = api.load(tmp_path / "scenario.yaml")
    assert storm(case, 2).images == ["i"]
    with pytest.raises(BadInput, match="--images: there are only 0"):
        storm(case, 2, beside=True)
    with pytest.raises(BadInput, match="--images: there are only 1"):
        storm(case, 2, images=2)


def test_a_load_without_creates_has_no_busiest_hour(tmp_path: Path) -> None:
    scenario(tmp_path)
    (tmp_path / "trace.csv").write_text(
        "time,event,volume_id,image_id,size_gib,volume_type,host\n5,update_image,,i,,,\n"
    )
    with pytest.raises(BadInput, match="--beside: the scenario has no creates"):
        storm(api.load(tmp_path / "scenario.yaml"), 2, beside=True)
