"""Advice: each action's gain afresh, known answers, one pool, and refused options."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import yaml
from scipy import stats
from typer.testing import CliRunner

from sim import api
from sim.analysis.metrics import summary
from sim.analysis.statistics import FEWEST, Sample
from sim.cli import app
from sim.inputs.limits import ENABLED, todays
from sim.planner.advise import _hurts
from sim.planner.advise_ground import BEFORE_S, in_one_pool, joined, one_pool, with_releases
from sim.planner.lines import needed_quotas
from sim.planner.simulator import PlanOptions, Simulator, load_of
from sim.planner.targets import Targets
from sim.report.display_advise import hurt_text
from sim.run import run
from sim.sweep.varying import Point
from tests.fuzz.test_import_databases import whole
from tests.interrupted import CONF

GIB = 2**30
DAY_S = 86_400
MIB_S = 100
DOWNLOAD_S = 10 * 1024 / MIB_S + 10 * 1024 / 200 + 1  # send, write, create


def scenario(folder: Path, backends: dict[str, Any], rows: list[str], **more: Any) -> Path:
    """Two raw images of 10 GiB; a scenario whose trace has `rows`."""
    images = [
        {
            "image_id": name,
            "name": name,
            "disk_format": "raw",
            "container_format": "bare",
            "size_bytes": 10 * GIB,
            "virtual_size_bytes": 10 * GIB,
        }
        for name in ("i", "j")
    ]
    base = {"create_s": 1, "clone_s": 2, "delete_s": 2, "write_mib_s": 200}
    raw = {
        "glance": {"streams": 4, "stream_mib_s": MIB_S},
        "tiers": {"t": {"price_gib_month": 0.1}},
        "backends": {
            name: {"volume_type": "t", "pools": {"p": {}}, **base, **keys} for name, keys in backends.items()
        },
        "images": images,
        "workload": {"trace": "trace.csv"},
        **more,
    }
    (folder / "trace.csv").write_text(
        "\n".join(["time,event,volume_id,image_id,size_gib,volume_type,host", *rows]) + "\n"
    )
    path = folder / "scenario.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


def daily(days: int, each: int, host: str = "") -> list[str]:
    """Creates of an image every day, an hour apart; each lives for half an hour."""
    rows = []
    for day in range(days):
        for n in range(each):
            at, name = day * DAY_S + n * 3600 + 7200, f"v{day}-{n}"
            rows += [f"{at},create,{name},i,10,t,{host}", f"{at + 1800},delete,{name},,,,"]
    return rows


def advise(path: Path, out: Path, *options: str) -> dict[str, Any]:
    result = CliRunner().invoke(
        app, ["advise", str(path), "--out", str(out), "--workers", "1", "--json", *options]
    )
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_a_cache_that_is_off_is_turned_on(tmp_path: Path) -> None:
    """All downloads but the first become clones: the hours saved are known."""
    path = scenario(
        tmp_path,
        {"a": {"image_volume_cache_enabled": False}},
        daily(12, 5),
        strategies=["none", "cache-only"],
    )
    found = advise(path, tmp_path / "out")
    first = found["actions"][0]
    assert (first["lever"], first["effort"]) == ("cache on: every backend", "a setting")
    assert first["gain"]["all"]["hit_rate"] == pytest.approx(59 / 60)
    # A fill clones after the download: its create takes 2 s more; all others take 2 s.
    saved_s = 59 * (DOWNLOAD_S - 2) - 2
    months = (11 * DAY_S + 4 * 3600 + 7200) / (30 * DAY_S)
    assert -first["gain"]["all"]["waited_h_month"] == pytest.approx(saved_s / 3600 / months, rel=1e-3)
    assert first["gain"]["all"]["errors"] == 0
    assert first["hurts"] == []
    page = (tmp_path / "out" / "report.html").read_text()
    opening = html.unescape(page[page.index('<section id="answer"') : page.index("</section>")])
    told = [f"{each['action'][0].upper()}{each['action'][1:]}." for each in found["actions"]]
    assert re.findall(r"<li><strong>(.*?)</strong>", opening) == told
    hits = found["with_all"]["tiers"]["all"]["hit_rate"]
    assert f"{100 * hits:.1f} % of the creates are clones (today 0.0 %)" in opening
    assert (tmp_path / "out" / "deploy" / "cinder.conf").read_text().strip() in opening


def test_every_gain_is_what_its_scenario_shows(tmp_path: Path) -> None:
    """The difference between the scenarios of an action and of the one before, run afresh."""
    rows = [row.replace(",i,", f",{'ij'[n // 2 % 2]},") for n, row in enumerate(daily(12, 6))]
    quota = {"internal_tenant_quota_volumes": 1}
    path = scenario(tmp_path, {"a": {"image_volume_cache_enabled": False}, "b": {}}, rows, cinder=quota)
    found = advise(path, tmp_path / "out", "--one-array")
    assert len(found["actions"]) > 1
    files = [found["today"], *found["actions"]]
    shown = []
    for each in files:
        case = api.load(tmp_path / "out" / each["scenario"])
        assert case.scenario.todays_strategy() == each["strategy"]
        table = summary(run(case, each["strategy"], "fast"), case, each["strategy"])
        shown.append(table.set_index("tier"))
    for number, action in enumerate(found["actions"], start=1):
        for tier, gain in action["gain"].items():
            new, old = (table.loc[tier] for table in (shown[number], shown[number - 1]))
            for name, column in (
                ("hit_rate", "clone_hit_rate"),
                ("p95_s", "create_s_p95"),
                ("price_month", "price_month"),
            ):
                assert gain[name] == pytest.approx(new[column] - old[column], abs=1e-9), (number, tier, name)
            failed = [
                table.loc[tier, ["errors", "other_errors"]].sum()
                for table in (shown[number], shown[number - 1])
            ]
            assert gain["errors"] == failed[0] - failed[1]


def test_nothing_is_worth_doing_where_nothing_can_be_gained(tmp_path: Path) -> None:
    rows = ["10,create,v,i,10,t,", "2000,create,w,j,10,t,"]
    path = scenario(tmp_path, {"a": {"image_volume_cache_enabled": False}}, rows)
    found = advise(path, tmp_path / "out")
    assert found["actions"] == []
    result = CliRunner().invoke(app, ["advise", str(path), "--out", str(tmp_path / "o"), "--workers", "1"])
    assert "Nothing is worth doing" in result.output


def test_one_create_is_no_evidence(tmp_path: Path) -> None:
    """A prefetch would have made the one download a clone: one day says nothing about others."""
    path = scenario(tmp_path, {"a": {}}, ["9000,create,v,i,10,t,"])
    found = advise(path, tmp_path / "out")
    assert found["actions"] == [] and not any(each["worth_it"] for each in found["tried"])
    first = found["undecided"][0]
    assert first["lever"] == "prefetch" and first["rests_on"] == first["of"] == 9000 / DAY_S
    assert first["needed"] == FEWEST
    saved = 10 * (DOWNLOAD_S - 2) / 3600 * 30 * DAY_S / 9000
    assert first["saves_month"] == pytest.approx(saved, rel=0.01)  # less the price of an earlier image-volume
    result = CliRunner().invoke(app, ["advise", str(path), "--out", str(tmp_path / "o"), "--workers", "1"])
    text = " ".join(result.output.split())
    assert "Nothing is worth doing" in text and "Too little history to tell" in text
    assert "about 6 days would tell" in text


@pytest.mark.parametrize(("days", "told"), [(5, False), (7, True)])
def test_few_days_are_no_evidence_although_all_are_alike(days: int, told: bool, tmp_path: Path) -> None:
    """A create every two hours: each block of the history saves the same, so the interval is narrow."""
    rows = [
        row
        for n in range(12 * days)
        for row in (f"{7200 * n},create,v{n},i,10,t,", f"{7200 * n + 1800},delete,v{n},,,,")
    ]
    path = scenario(tmp_path, {"a": {"image_volume_cache_enabled": False}}, rows)
    found = advise(path, tmp_path / "out")
    (cache,) = (each for each in found["tried"] if each["lever"] == "cache on: every backend")
    assert cache["saves_month_low"] > 0
    assert cache["worth_it"] == told and bool(found["actions"]) == told
    assert cache["rests_on"] == cache["of"] == pytest.approx(days, rel=0.02)
    assert told or found["undecided"][0]["lever"] == "cache on: every backend"


def test_one_of_many_figures_that_looks_worse_may_be_chance() -> None:
    """Holm: of three figures, the smallest p-value counts three times, and the next one twice."""
    sample = Sample.of_replications(8)
    noise = np.array([1.0, -1, 1, -1, 1, -1, 1, -1])
    changes = {"sure": 9.0 + noise, "unsure": 0.95 + noise, "same": 0.2 * noise}
    p_values = {name: stats.ttest_1samp(of, 0).pvalue for name, of in changes.items()}
    assert p_values["sure"] < 0.05 / 3 and 0.05 / 2 < p_values["unsure"] < 0.05 < p_values["same"]

    def shown(units: dict[str, npt.NDArray[np.float64]]) -> Any:
        gains = {name: {"errors": sample.mean(of)} for name, of in units.items()}
        return SimpleNamespace(gains=gains, units={name: {"errors": of} for name, of in units.items()})

    before = shown({name: np.zeros(8) for name in changes})
    trials: Any = SimpleNamespace(sample=sample, rests_on=lambda new, old: np.count_nonzero(new != old))
    found = _hurts(shown(changes), before, trials)
    assert [(each["tier"], each["sure"]) for each in found] == [("sure", True), ("unsure", False)]
    few = _hurts(shown({**changes, "sure": 9.0 * (np.arange(8) < 5)}), before, trials)
    assert [(each["tier"], each["sure"]) for each in few] == [("sure", False), ("unsure", False)]
    assert "may hurt unsure" in hurt_text(found[1]) and "It hurts sure" in hurt_text(found[0])


def test_a_saving_whose_interval_has_zero_in_it_is_no_action(tmp_path: Path) -> None:
    """All failures come in a storm on one of twelve days: they may never come again."""
    storm = [f"{5 * DAY_S + n},create,s{n},i,10,t," for n in range(9)]
    ends = [f"{6 * DAY_S + n},delete,s{n},,,," for n in range(5)]
    rows = sorted([*daily(12, 2), *storm, *ends], key=lambda row: float(row.split(",")[0]))
    path = scenario(tmp_path, {"a": {"pools": {"p": {"max_volumes": 6}}}}, rows)
    found = advise(path, tmp_path / "out")
    # Beside the image-volume, five of the nine have a place; then the two of that day have none.
    assert found["today"]["tiers"]["all"]["errors"] == 4 + 2
    (places,) = (each for each in found["undecided"] if each["lever"] == "places")
    assert places["saves_month_low"] < 0 < places["saves_month"] and not places["worth_it"]
    assert places["largest"] == pytest.approx(1.0, abs=0.01)
    assert found["actions"] == []


def test_a_quota_that_binds_is_found_and_one_that_is_not_set_is_not_tried(tmp_path: Path) -> None:
    rows = [row.replace(",i,", f",{'ij'[n // 2 % 2]},") for n, row in enumerate(daily(12, 6))]
    path = scenario(tmp_path, {"a": {}}, rows, cinder={"internal_tenant_quota_volumes": 1})
    found = advise(path, tmp_path / "out")
    assert found["actions"][0]["lever"] == "quota"
    without = scenario(tmp_path, {"a": {}}, rows)
    assert "quota" not in {each["lever"] for each in advise(without, tmp_path / "o")["tried"]}


def test_the_quota_has_room_for_limits_and_for_caches_without_any(tmp_path: Path) -> None:
    """Five entries at most in one cache, and the two images of the other: no run has all seven at once."""
    rows = ["10,create,v,i,10,t,", "20,create,w,i,10,s,", "4000,create,x,j,10,s,"]
    path = scenario(
        tmp_path,
        {"a": {"image_volume_cache_max_count": 5}, "b": {"volume_type": "s"}},
        rows,
        cinder={"internal_tenant_quota_volumes": 6, "internal_tenant_quotas": {"volumes_s": 1}},
        tiers={"t": {}, "s": {}},
    )
    load = load_of(path, {}, 1, 0.0)
    simulator = Simulator(load, Targets(), PlanOptions(folder=tmp_path / "plan", workers=1))
    (runs,) = simulator.run([Point((("cinder.internal_tenant_quotas.volumes_s", None),), "cache-only")])
    now = load.case.scenario
    limits = {name: todays(each) for name, each in now.backends.items()}
    assert needed_quotas(now, now, limits, runs) == {"volumes": 5 + 2, "gigabytes": None, "volumes_s": 2}


def test_one_pool_has_the_space_and_the_limits_of_all(tmp_path: Path) -> None:
    pools = {"p": {"capacity_gib": 100, "max_volumes": 5}, "q": {"capacity_gib": 50, "max_volumes": 7}}
    limits = {"image_volume_cache_max_count": 3, "image_volume_cache_max_size_gb": 40}
    path = scenario(
        tmp_path,
        {"a": {"pools": pools, **limits}, "b": {"pools": {"p": pools["p"]}, "node": "c2", **limits}},
        [*daily(1, 2, "a#q"), f"{DAY_S},create,w,i,10,t,b#p"],
        store={"home": "b#p"},
    )
    alone = one_pool(path, tmp_path / "alone", one_array=False)
    both = one_pool(path, tmp_path / "both", one_array=True)
    assert alone is not None and both is not None
    a = api.load(alone).scenario.backends
    assert list(a) == ["a", "b"] and a["b"] == api.load(path).scenario.backends["b"]
    assert a["a"].pools["p"].model_dump() == {"capacity_gib": 150, "max_volumes": 12}
    joint = api.load(both)
    (only,) = joint.scenario.backends.values()
    assert only.pools["p"].model_dump() == {"capacity_gib": 250, "max_volumes": 17}
    assert only.node_names == ("c1", "c2")
    assert (only.image_volume_cache_max_count, only.image_volume_cache_max_size_gb) == (9, 120)
    assert set(joint.trace.events["host"]) <= {"", "a#p"}
    assert joint.scenario.store is not None and joint.scenario.store.home == "a#p"


def test_one_pool_has_the_space_of_backends_that_a_change_made_unlike(tmp_path: Path) -> None:
    limits = {"image_volume_cache_max_count": 3, "image_volume_cache_max_size_gb": 40}
    pools = {"p": {"capacity_gib": 100, "max_volumes": 5}}
    path = scenario(tmp_path, {name: {"pools": pools, **limits} for name in "ab"}, daily(1, 2))
    before = api.load(path).scenario
    joint = one_pool(path, tmp_path / "both", one_array=True)
    assert joint is not None
    ground, names = api.load(joint).scenario, joined(before, one_array=True)
    off = {name: before.varied({("backends", name, ENABLED): False}) for name in "ab"}
    for changed in off.values():
        assert joined(changed, one_array=True) != names
        (one,) = ground.varied(keys(in_one_pool(changed, ground, names))).backends.values()
        assert one.pools["p"].model_dump() == {"capacity_gib": 200, "max_volumes": 10}
        assert one.image_volume_cache_enabled
        assert (one.image_volume_cache_max_count, one.image_volume_cache_max_size_gb) == (3, 40)
    both = off["a"].varied({("backends", "b", ENABLED): False})
    assert in_one_pool(both, ground, names) == {f"backends.a.{ENABLED}": False}


def keys(values: dict[str, Any]) -> dict[tuple[str, ...], Any]:
    return {tuple(key.split(".")): value for key, value in values.items()}


def test_without_creates_from_an_image_there_is_no_advice(tmp_path: Path) -> None:
    path = scenario(tmp_path, {"a": {}}, ["5,create,v,,10,t,"])
    result = CliRunner().invoke(app, ["advise", str(path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2 and "no creates from an image" in result.output


def test_image_volumes_of_a_tier_without_creates_have_their_price(tmp_path: Path) -> None:
    path = scenario(
        tmp_path,
        {"a": {}, "s": {"volume_type": "kept"}},
        daily(2, 2),
        tiers={"t": {"price_gib_month": 0.1}, "kept": {"price_gib_month": 1.0}},
        store={"home": "s#p"},
        today="store-only",
        strategies=["store-only"],
    )
    figures = advise(path, tmp_path / "out")["today"]["tiers"]["all"]
    # Two raw images of 10 GiB, each in the store for the whole time.
    assert figures["price_month"] == pytest.approx(20.0)


def test_pools_of_which_one_has_no_limit_stay(tmp_path: Path) -> None:
    path = scenario(tmp_path, {"a": {"pools": {"p": {"max_volumes": 5}, "q": {}}}}, daily(1, 1))
    assert joined(api.load(path).scenario, one_array=True) == {"a#p": "a#p", "a#q": "a#q"}
    assert one_pool(path, tmp_path / "new", one_array=True) is None


def test_releases_come_an_hour_before_and_change_nothing(tmp_path: Path) -> None:
    path = scenario(
        tmp_path, {"a": {}}, ["10,create,v,i,10,t,", *(f"{t},create,v{t},j,10,t," for t in (9000, 9999))]
    )
    new = with_releases(path, tmp_path / "base")
    events = api.load(new).trace.events
    released = events[events["event"] == "release"]
    assert list(zip(released["image_id"], released["time"], strict=True)) == [("j", 9000 - BEFORE_S)]
    before, after = (run(api.load(each), "cache-only", "fast").requests for each in (path, new))
    assert np.array_equal(before["end"], after["end"])
    assert with_releases(new, tmp_path / "again") == new


def test_targets_come_before_cost(tmp_path: Path) -> None:
    """Without room for an image-volume, hits are not asked for at any price."""
    path = scenario(tmp_path, {"a": {"image_volume_cache_enabled": False}}, daily(12, 5))
    found = advise(path, tmp_path / "out", "--budget-gib", "5")
    assert all(each["lever"] != "cache on: every backend" for each in found["actions"])
    assert advise(path, tmp_path / "o", "--target-hit-rate", "0.9")["met"]


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        ([], ["give a scenario, or the sources"]),
        (["scenarios/smallest.yaml", "--conf", "cinder.conf"], ["not both"]),
        (
            ["missing.yaml", "--target-hit-rate", "2", "--warm-up", "x", "--workers", "0"],
            ["missing.yaml", "--target-hit-rate", "--warm-up", "--workers"],
        ),
        (["--conf", "no.conf", "--since", "x", "--max-p95-s", "y"], ["no.conf", "--since", "--max-p95-s"]),
    ],
)
def test_every_problem_at_once(arguments: list[str], texts: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["advise", *arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert all(text in result.output for text in texts), result.output
    assert not (tmp_path / "out").exists()


def test_from_the_sources_of_a_cloud_to_what_to_deploy(tmp_path: Path) -> None:
    (tmp_path / "cinder.sqlite").write_bytes(whole())
    tenant = "cinder_internal_tenant_project_id = abc\ncinder_internal_tenant_user_id = def\n"
    (tmp_path / "cinder.conf").write_text(CONF.replace("[DEFAULT]\n", f"[DEFAULT]\n{tenant}"))
    out = tmp_path / "out"
    sources = ["--db", f"sqlite:///{tmp_path}/cinder.sqlite", "--conf", str(tmp_path / "cinder.conf")]
    result = CliRunner().invoke(app, ["advise", *sources, "--out", str(out), "--workers", "1"])
    assert result.exit_code == 0, result.output
    assert (out / "import" / "calibrated.yaml").exists()
    assert (out / "deploy" / "README.md").exists()
    told = json.loads((out / "import" / "import.json").read_text())["cinder_conf"]
    assert (told["project"], told["user"]) == ("abc", "def")
    assert {told["sections"][name] for name in ("a", "b")} == {"a", "b"}
    again = CliRunner().invoke(app, ["advise", *sources, "--out", str(out)])
    assert again.exit_code == 2 and "an import overwrites nothing" in again.output
