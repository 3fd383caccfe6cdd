"""Curves of hits against the cache's limits: the engine's hits, and what users see of them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from handmade import scenario_file
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from properties.cases import GIB, case_of, create, gib_of, image, one_pool
from typer.testing import CliRunner, Result

import sim
from sim.analysis.curves import curve
from sim.analysis.statistics import Sample
from sim.cinder.engine import run
from sim.cli import app
from sim.inputs.limits import MAX_COUNT, MAX_SIZE
from sim.inputs.scenario import Case

TIERS = {"flash": {}, "disk": {}}


def limited(case: Case, **limits: int) -> Case:
    """The case with other limits on every backend."""
    backends = {name: each.model_copy(update=limits) for name, each in case.scenario.backends.items()}
    return replace(case, scenario=case.scenario.model_copy(update={"backends": backends}))


def rows(table: pd.DataFrame, name: str, limit: str) -> pd.DataFrame:
    """One curve by value."""
    return table[(table["name"] == name) & (table["limit"] == limit)].set_index("value")


# -- the engine's hits ---------------------------------------------------------------------------------

IMAGES = st.builds(
    lambda gib, fmt, container, whose: image("", gib, fmt, container_format=container, **whose),
    st.sampled_from((1, 2, 0.6, 3.5, 6)),
    st.sampled_from(("raw", "qcow2")),
    st.sampled_from(("bare", "bare", "ovf")),
    st.sampled_from(
        (
            *({}, {}, {}),
            *({"owner": owner} for owner in ("alice", "project")),
            {"owner": "alice", "visibility": "public", "image_owner": "admin"},
            {"owner": "alice", "visibility": "shared", "members": ["bob"]},
        )
    ),
)
CREATES = st.fixed_dictionaries(
    {
        "host": st.sampled_from(("a#p0", "a#p0", "a#p0", "")),
        "volume_type": st.sampled_from(("flash", "disk")),
        "size_gib": st.sampled_from((8, 8, 8, 3)),
        "project": st.sampled_from(("", "alice", "bob")),
        "encrypted": st.sampled_from((False,) * 7 + (True,)),
    }
)
EVENTS = st.tuples(st.sampled_from(("create",) * 12 + ("update_image",) * 2 + ("delete_image",)), CREATES)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """One pool on which nothing takes time, with entries at the start, now and then a store."""
    images = draw(st.lists(IMAGES, min_size=1, max_size=5))
    for number, each in enumerate(images):
        each["image_id"] = f"i{number}"
    ids = st.sampled_from([each["image_id"] for each in images])
    events = [
        create(float(time), f"v{time}", image_id, **more)
        if event == "create"
        else {"time": float(time), "event": event, "image_id": image_id}
        for time, ((event, more), image_id) in enumerate(
            draw(st.lists(st.tuples(EVENTS, ids), min_size=1, max_size=40))
        )
    ]
    initial = [
        {
            "kind": "cache",
            "volume_id": "",
            "image_id": each,
            "size_gib": next(-int(-i["virtual_size_bytes"] // GIB) for i in images if i["image_id"] == each),
            "host": "a#p0",
            "last_used": -float(age),
        }
        for age, each in enumerate(draw(st.lists(ids, max_size=2, unique=True)))
    ]
    more = one_pool(
        volume_type=["flash", "disk"], driver_clones_raw=draw(st.sampled_from((False,) * 4 + (True,)))
    )
    return case_of({**more, "tiers": TIERS, "store": {"home": "a#p0"}}, images, events, initial)


def check(case: Case, strategy: str, table: pd.DataFrame, limit: str, value: int) -> None:
    """A value of the curve is what the engine finds with that limit."""
    requests = run(limited(case, **{limit: value}), strategy).requests
    asked = set(case.trace.events.loc[~case.trace.events["encrypted"], "volume_id"])
    requests = requests[requests["volume_id"].isin(asked) & (requests["attempts"] > 0)]
    looked_up = requests[requests["source"].isin(["cache", "download"])]
    for name, of_name in {
        "a#p0": looked_up,
        **{tier: looked_up[looked_up["volume_type"] == tier] for tier in TIERS},
    }.items():
        found = rows(table, name, limit).loc[value]
        hits = of_name[of_name["source"] == "cache"]
        assert (found["requests"], found["hits"]) == (len(of_name), len(hits))
        saved = sum(case.images[image_id].size_bytes for image_id in hits["image_id"])
        assert found["byte_hits"] * GIB == saved
        total = sum(case.images[image_id].size_bytes for image_id in of_name["image_id"])
        if total:
            assert found["hit_rate"] == len(hits) / len(of_name)
            assert found["byte_hit_rate"] == saved / total
        else:
            assert np.isnan(found["hit_rate"]) and np.isnan(found["byte_hit_rate"])


# Without hypothesis's explanations of a failure, which trace every line of Cinder that runs.
@settings(max_examples=15, deadline=None, phases=[phase for phase in Phase if phase != Phase.explain])
@given(cases(), st.sampled_from(("cache-only", "combined")))
def test_the_engine_has_the_same_hits(case: Case, strategy: str) -> None:
    """At every limit that holds what exists at the start."""
    at_start = [gib_of(case.images[each]) for each in case.initial["image_id"]]
    sizes = (1, 2, 3, 5, 7, 11)
    table, working_set = curve(case, strategy, sizes)
    images = int(working_set["images"].iloc[0])
    for count in range(max(1, len(at_start)), images + 1):
        check(case, strategy, table, MAX_COUNT, count)
    for size in sizes:
        if size >= sum(at_start):
            check(case, strategy, table, MAX_SIZE, size)
    assert not rows(table, "a#p0", MAX_COUNT).loc[0, "hits"]
    check_working_set(case, strategy, working_set.iloc[0])


def check_working_set(case: Case, strategy: str, found: pd.Series[Any]) -> None:
    """Nothing is given up with limits as large; with smaller ones something is, when an image comes in."""

    def given_up(**limits: int) -> int:
        events = run(limited(case, **limits), strategy).cache_events
        return int(events["event"].isin(["evict", "skip"]).sum())

    images, gib = int(found["images"]), int(found["gib"])
    if images:
        assert not given_up(**{MAX_COUNT: images, MAX_SIZE: gib})
    if images > max(1, len(case.initial)):
        assert given_up(**{MAX_COUNT: images - 1})
        assert given_up(**{MAX_SIZE: gib - 1})


def test_what_exists_at_the_start_is_cut_to_the_limit() -> None:
    """Of two entries a cache of one has the one that was used last."""
    row = {"kind": "cache", "volume_id": "", "size_gib": 1, "host": "a#p0"}
    initial = [{**row, "image_id": name, "last_used": -age} for name, age in (("new", 1.0), ("old", 2.0))]
    events = [create(0, "v0", "old"), create(1, "v1", "new")]
    case = case_of(one_pool(), [image("new"), image("old")], events, initial)
    hits = rows(curve(case).curve, "a#p0", MAX_COUNT)["hits"]
    assert hits.to_dict() == {0: 0, 1: 0, 2: 2}
    hits = rows(
        curve(replace(case, trace=replace(case.trace, events=case.trace.events[1:]))).curve, "a#p0", MAX_COUNT
    )
    assert hits["hits"].to_dict() == {0: 0, 1: 1, 2: 1}


# -- pools and tiers, by hand --------------------------------------------------------------------------


@pytest.fixture
def case() -> Case:
    """Backend `a` serves both tiers on p0, `b` flash alone, `c` nobody asks; each image is a GiB longer."""
    room = {"capacity_gib": 1_000}
    scenario = {
        "tiers": TIERS,
        "backends": {
            "a": {"volume_type": ["flash", "disk"], "pools": {"p0": room}, MAX_COUNT: 1, MAX_SIZE: 2},
            "b": {"volume_type": "flash", "pools": {"p0": room}, "image_volume_cache_enabled": False},
            "c": {"volume_type": "disk", "pools": {"p0": {}}},
        },
    }
    asked = [
        *(("i1", "flash", "a#p0"), ("i1", "disk", "a#p0"), ("i2", "disk", "a#p0"), ("i1", "flash", "a#p0")),
        *(("i2", "flash", "b#p0"), ("i3", "flash", "b#p0"), ("i2", "flash", "b#p0"), ("i3", "flash", "b#p0")),
        ("i3", "flash", "b#p0"),
    ]
    events = [
        create(float(time), f"v{time}", name, host, volume_type=tier)
        for time, (name, tier, host) in enumerate(asked)
    ]
    return case_of(scenario, [image(f"i{gib}", gib) for gib in (1, 2, 3)], events)


def test_pools_and_tiers(case: Case) -> None:
    table = curve(case).curve
    by_count = {name: rows(table, name, MAX_COUNT)["hits"].to_list() for name in table["name"].unique()}
    assert by_count == {
        "a#p0": [0, 1, 2],
        "b#p0": [0, 1, 3],  # as if its cache were on
        "c#p0": [0],
        "flash": [0, 1, 4],
        "disk": [0, 1, 1],
    }
    by_size = {name: rows(table, name, MAX_SIZE)["hits"].to_dict() for name in table["name"].unique()}
    assert by_size["a#p0"] == {1: 2, 2: 1, 3: 2, 4: 2, 5: 2}
    assert by_size["b#p0"] == {1: 0, 2: 1, 3: 1, 4: 1, 5: 3}
    assert by_size["flash"] == {1: 1, 2: 1, 3: 2, 4: 2, 5: 4}
    assert by_size["disk"] == {1: 1, 2: 1, 3: 1, 4: 1, 5: 1}
    last = rows(table, "flash", MAX_COUNT).loc[2]
    assert (last["requests"], last["byte_hits"], last["hit_rate"]) == (7, 1 + 2 + 3 + 3, 4 / 7)
    assert last["byte_hit_rate"] == 9 / (1 + 1 + 2 + 3 + 2 + 3 + 3)


def test_working_sets_and_the_present_limits(case: Case) -> None:
    found = curve(case).working_set.set_index("host")
    assert found[["requests", "images", "gib", MAX_COUNT, MAX_SIZE, "hits"]].to_numpy().tolist() == [
        [4, 2, 3, 1, 2, 1],
        [5, 2, 5, 0, 0, 0],  # off, though nothing would limit it
        [0, 0, 0, 0, 0, 0],
    ]
    assert found["image_volume_cache_enabled"].to_list() == [True, False, True]
    assert found.loc["a#p0", "volume_type"] == "flash;disk"
    assert found.loc["a#p0", "byte_hit_rate"] == 1 / 5
    assert np.isnan(found.loc["c#p0", "hit_rate"])


def test_creates_without_a_host_are_where_a_run_puts_them(case: Case) -> None:
    events = case.trace.events.assign(host="", volume_type="flash")
    case = replace(case, trace=replace(case.trace, events=events))
    hosts = run(case, "cache-only").requests["host"]
    assert set(hosts) == {"a#p0", "b#p0"}
    found = curve(case).working_set.set_index("host")["requests"]
    assert found.to_dict() == {**hosts.value_counts().to_dict(), "c#p0": 0}


def test_intervals_are_those_of_days() -> None:
    """Two days of hits and eight of misses only: the share of either day says little of the other's."""
    events = [
        create(86_400.0 * day + at, f"v{day}-{at}", "i0" if day < 2 else f"j{day}{at}")
        for day in range(10)
        for at in (0, 10, 20, 30)
    ]
    names = dict.fromkeys(event["image_id"] for event in events)
    found = rows(curve(case_of(one_pool(), [image(name) for name in names], events)).curve, "a#p0", MAX_COUNT)
    assert found.loc[0, ["hits", "hit_rate_low", "hit_rate_high"]].tolist() == [0, 0, 0]
    hits = np.array([3, 4] + [0] * 8)
    sample = Sample.of_blocks(10, seed=7)
    half = float(sample.half_widths(sample.ratio(hits, np.full(10, 4))))
    assert 0.1 < half < 0.3
    ends = found.loc[5, ["hit_rate_low", "hit_rate", "hit_rate_high"]].tolist()
    assert ends == pytest.approx([max(7 / 40 - half, 0), 7 / 40, 7 / 40 + half], rel=1e-12)


def test_the_grid_of_sizes() -> None:
    """About 200 values from the smallest image to the working set, with the limits there are now."""
    scenario = one_pool(**{MAX_SIZE: 777})
    names = [f"i{gib}" for gib in range(3, 60)]
    events = [create(float(time), f"v{time}", name, size_gib=99) for time, name in enumerate(names)]
    case = case_of(scenario, [image(name, int(name[1:])) for name in names], events)
    values = rows(curve(case).curve, "a#p0", MAX_SIZE).index
    assert (values[0], values[-1]) == (3, sum(range(3, 60)))
    assert 777 in values and 150 < len(values) <= 203
    events = [create(float(gib), f"v{gib}", f"i{gib}") for gib in (3, 8)]
    small = case_of(one_pool(), [image("i3", 3), image("i8", 8)], events)
    assert rows(curve(small).curve, "a#p0", MAX_SIZE).index.to_list() == list(range(3, 12))
    assert rows(curve(small, sizes_gib=[9, 4, 9]).curve, "a#p0", MAX_SIZE).index.to_list() == [4, 9]


def test_every_problem_at_once(case: Case) -> None:
    sieve = case.scenario.model_validate(
        case.scenario.model_dump(by_alias=True) | {"what_if": {"eviction": "sieve"}}
    )
    with pytest.raises(sim.BadInput) as error:
        curve(replace(case, scenario=sieve), "store-only", [0, 3])
    assert [line.partition(": ")[0] for line in error.value.problems] == [
        "strategy",
        "scenario.yaml",
        "sizes_gib",
    ]
    for bad in ([], [1.5], [2**31]):
        with pytest.raises(sim.BadInput, match="sizes_gib"):
            curve(case, sizes_gib=bad)
    with pytest.raises(sim.BadInput, match="warp"):
        sim.curve(case, engine="warp")


def test_the_api_is_a_function_whatever_was_imported(case: Case) -> None:
    for _ in range(2):
        assert len(sim.curve(case).working_set) == 3


# -- the command ---------------------------------------------------------------------------------------


def cinder_cache(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


PINNED = """time,event,volume_id,image_id,size_gib,volume_type,host
0,create,1,007,40,flash,fast#p0
1,create,2,007,40,flash,fast#p0
2,create,3,qcow,40,flash,fast#p0
3,create,4,huge,40,flash,fast#p0
4,create,5,qcow,40,flash,fast#p0
5,create,6,qcow,40,disk,slow#p0
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    return scenario_file(tmp_path, trace=PINNED)


class TestCommand:
    def test_the_tables_are_right_at_80_columns(self, scenario: Path) -> None:
        result = cinder_cache("curve", scenario)
        assert (result.exit_code, result.stderr) == (0, "")
        assert max(map(len, result.stdout.splitlines())) <= 80
        lines = result.stdout.splitlines()
        assert "fast#p0: 5 look-ups, now 40.0 % hits (2 entries and 20 GiB)" in lines
        assert "fast#p1: 0 look-ups (2 entries and 20 GiB)" in lines
        assert "slow#p0: 1 look-up, now 0.0 % hits (unlimited)" in lines
        assert "flash: 5 look-ups in 3 pools" in lines
        start = lines.index("fast#p0: 5 look-ups, now 40.0 % hits (2 entries and 20 GiB)")
        table = [line.split() for line in lines[start + 3 : start + 6]]
        assert table == [
            ["1", "20.0", "4.3", "2", "20.0", "4.3"],
            ["2", "40.0", "6.5", "now", "3", "20.0", "4.3"],
            ["3", "40.0", "6.5", "all", "4", "40.0", "6.5"],
        ]

    def test_a_tier_of_one_pool_is_shown_once(self, tmp_path: Path) -> None:
        backends = {"fast": {"volume_type": "flash", "pools": {"p0": {}}}}
        trace = "".join(PINNED.splitlines(keepends=True)[:-1])
        path = scenario_file(tmp_path, trace=trace, tiers={"flash": {}}, backends=backends)
        result = cinder_cache("curve", path)
        assert result.stdout.count("look-ups") == 1
        path = scenario_file(
            tmp_path, trace=trace, backends={"fast": {"volume_type": ["flash", "disk"], "pools": {"p0": {}}}}
        )
        assert "flash: 5 look-ups in 1 pool\n" in cinder_cache("curve", path).stdout

    def test_json_and_files(self, scenario: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        result = cinder_cache("curve", scenario, "--json", "--out", out, "--format", "parquet")
        assert (result.exit_code, result.stderr) == (0, f"curve: written to {out}\n")
        document = json.loads(result.stdout, parse_constant=pytest.fail)
        assert list(document) == ["scenario", "curve", "working_set"]
        tables = curve(sim.load(scenario))
        assert len(document["curve"]) == len(tables.curve)
        assert document["working_set"][1]["hit_rate"] is None
        assert sorted(path.name for path in out.iterdir()) == [
            *("curve.parquet", "manifest.json", "working_set.parquet")
        ]
        pd.testing.assert_frame_equal(pd.read_parquet(out / "curve.parquet"), tables.curve)
        manifest = json.loads((out / "manifest.json").read_text())
        assert list(manifest) == ["scenario", "strategy", "engine", "versions", "sha256"]

    def test_the_same_bytes_again(self, scenario: Path, tmp_path: Path) -> None:
        for name in ("a", "b"):
            assert cinder_cache("curve", scenario, "--out", tmp_path / name).exit_code == 0
        for name in ("curve.csv", "working_set.csv", "manifest.json"):
            assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()

    def test_bad_usage(self, scenario: Path, tmp_path: Path) -> None:
        result = cinder_cache("curve", scenario, "--engine", "warp", "--format", "csv")
        assert (result.exit_code, result.stdout) == (2, "")
        assert "'warp'" in result.stderr and "--format" in result.stderr
        sieve = scenario_file(tmp_path, trace=PINNED, what_if={"eviction": "sieve"})
        result = cinder_cache("curve", sieve)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "what_if.eviction" in result.stderr
        together = scenario_file(tmp_path, trace=PINNED, what_if={"limits_per_backend": True})
        assert "what_if.limits_per_backend" in cinder_cache("curve", together).stderr

    def test_what_cannot_be_written_fails(self, scenario: Path, tmp_path: Path) -> None:
        (tmp_path / "out" / "curve.csv").mkdir(parents=True)
        result = cinder_cache("curve", scenario, "--out", tmp_path / "out")
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.count("\n") == 1

    def test_cinder_is_not_needed_where_all_creates_have_a_host(self, scenario: Path) -> None:
        code = (
            "import sys; from sim.cli import app\n"
            "app([*sys.argv[1:]], standalone_mode=False)\n"
            "print([name for name in ('cinder', 'simpy') if name in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, "curve", str(scenario)], capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "[]"
