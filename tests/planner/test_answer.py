"""What `plan` says: keys that stay, figures that a fresh simulation gives, lines that Cinder reads."""

from __future__ import annotations

import configparser
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import sim
from sim import api
from sim.analysis.metrics import summary
from sim.cli import app
from sim.inputs.limits import OF_CACHE
from sim.planner.sensitivity import FACTORS, changes
from sim.planner.targets import Targets
from sim.sweep.sweep import sweep, tidy
from sim.sweep.varying import Point, apply
from tests.whole.build import Builder
from tests.whole.registry import small

SCENARIO = """
name: small
glance: {streams: 4, stream_mib_s: 100}
cinder: {internal_tenant_quota_volumes: 3, internal_tenant_quota_gigabytes: 1000}
tiers: {flash: {price_gib_month: 0.125}, disk: {price_gib_month: 0.045}}
backends:
  flash-a: &flash {volume_type: flash, pools: {p0: {capacity_gib: 900, max_volumes: 60}}, create_s: 1,
    clone_s: 2, delete_s: 2, write_mib_s: 400,
    image_volume_cache_max_size_gb: 4, image_volume_cache_max_count: 2}
  flash-b: {<<: *flash, pools: {p0: {}}, node: c2}
  disk-a: {<<: *flash, pools: {p0: {}, p1: {}}, volume_type: disk}
images: images.csv
store: {home: flash-b#p0}
workload: {trace: trace.csv}
"""
HOSTS = {"flash": ["flash-a#p0", "flash-b#p0"], "disk": ["disk-a#p0", "disk-a#p1"]}
TARGET = ["--target-hit-rate", "0.6"]


def write(folder: Path) -> Path:
    """Twelve days of some 400 creates of seven images, with hosts."""
    rng = np.random.default_rng(5)
    weights = 1 / np.arange(1, 8)
    rows = []
    for number, time in enumerate(np.sort(rng.uniform(0, 12 * 86_400, 400)).tolist()):
        tier = str(rng.choice(["flash", "disk"]))
        image, host = f"image-{rng.choice(7, p=weights / weights.sum())}", str(rng.choice(HOSTS[tier]))
        rows.append((time, "create", f"v{number}", image, 5, tier, host))
        rows.append((time + rng.exponential(40_000), "delete", f"v{number}", "", "", tier, host))
    columns = ["time", "event", "volume_id", "image_id", "size_gib", "volume_type", "host"]
    pd.DataFrame(rows, columns=columns).sort_values("time").to_csv(folder / "trace.csv", index=False)
    pd.DataFrame(
        [
            (
                f"image-{n}",
                f"i{n}",
                "raw" if n % 3 == 0 else "qcow2",
                "bare",
                (n % 4 + 1) * 2**29,
                (n % 4 + 1) * 2**30,
            )
            for n in range(7)
        ],
        columns=["image_id", "name", "disk_format", "container_format", "size_bytes", "virtual_size_bytes"],
    ).to_csv(folder / "images.csv", index=False)
    (folder / "small.yaml").write_text(SCENARIO)
    return folder / "small.yaml"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def planned(path: Path) -> dict[str, Any]:
    """A plan for a target, made by the command."""
    out = path.parent / "plan"
    result = CliRunner().invoke(
        app, ["plan", str(path), *TARGET, "--out", str(out), "--workers", "1", "--json"]
    )
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    assert json.loads((out / "plan.json").read_text()) == found
    return found


def test_the_files_of_a_plan_come_with_its_page(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page takes seconds: a plan that ends before it is made leaves the older files, none of them new."""
    out = path.parent / "older"
    out.mkdir()
    (out / "plan.json").write_text("{}")

    def ends(*_: object) -> str:
        raise OSError("the page")

    monkeypatch.setattr("sim.report.planned.plan_page", ends)
    command = ["plan", str(path), *TARGET, "--out", str(out), "--workers", "1"]
    assert CliRunner().invoke(app, command).exit_code != 0
    assert [file.name for file in out.iterdir() if not file.name.startswith("cells")] == ["plan.json"]
    assert (out / "plan.json").read_text() == "{}"


def test_the_document_has_the_keys_that_scripts_rely_on(planned: dict[str, Any]) -> None:
    assert {"strategy", "backends", "today", "binding", "met"} <= planned.keys()
    assert planned["met"] is True
    of_backend = {
        "image_volume_cache_max_size_gb", "image_volume_cache_max_count", "hit_rate", "hit_rate_low",
        "hit_rate_high", "p95_s", "space_gib_mean", "space_gib_peak", "volumes_peak", "price_month",
    }  # fmt: skip
    for said in (planned, planned["today"]):
        assert list(said["backends"]) == ["flash-a", "flash-b", "disk-a"]
        for each in said["backends"].values():
            assert of_backend <= each.keys()
    assert planned["checked_by_cinder"]["equal"] and planned["requests_simulated"] > 400


def test_on_two_processes_it_says_the_same(path: Path, planned: dict[str, Any]) -> None:
    """One of them runs Cinder's own code, while the other changes inputs."""
    document = sim.plan(path, Targets(hit_rate={"": 0.6}), workers=2).document
    assert json.dumps(document) == json.dumps(planned)


def test_what_is_drawn_beside_has_all_but_checks_and_other_inputs(
    path: Path, planned: dict[str, Any]
) -> None:
    answer = api.plan(path, Targets(hit_rate={"": 0.6}), workers=1, draw=lambda early: early.document)
    later = {"checked_by_cinder", "sensitivity", "cells", "requests_simulated"}
    assert answer.drawn == {key: of for key, of in planned.items() if key not in later}
    assert answer.document == planned


def test_what_it_promises_is_what_a_fresh_simulation_gives(path: Path, planned: dict[str, Any]) -> None:
    case = sim.load(path)
    options = ("image_volume_cache_enabled", "image_volume_cache_max_size_gb", "image_volume_cache_max_count")
    limits = {
        f"backends.{name}.{key}": of[key] for name, of in planned["backends"].items() for key in options
    }
    quota = {"cinder.internal_tenant_quota_volumes": None, "cinder.internal_tenant_quota_gigabytes": None}
    afresh = replace(case, scenario=apply(case.scenario, {**limits, **quota}))
    records = sim.run(afresh, planned["strategy"])
    found = summary(records, afresh, planned["strategy"]).set_index("tier")
    for tier, said in planned["tiers"].items():
        assert said["hit_rate"] == found.loc[tier, "clone_hit_rate"]
        assert said["p95_s"] == found.loc[tier, "create_s_p95"]
        assert said["errors"] == found.loc[tier, "errors"]
        assert said["space_gib_mean"] == pytest.approx(found.loc[tier, "image_provisioned_gib_mean"])
        assert said["price_month"] == pytest.approx(found.loc[tier, "price_month"])
        assert said["hit_rate_low"] < said["hit_rate"] < said["hit_rate_high"]
        assert said["p95_s_low"] <= said["p95_s"] <= said["p95_s_high"]
    assert planned["tiers"]["all"]["hit_rate_low"] >= 0.6
    today = summary(sim.run(case, "cache-only"), case, "cache-only").set_index("tier")
    assert planned["today"]["tiers"]["all"]["hit_rate"] == today.loc["all", "clone_hit_rate"]
    assert planned["today"]["strategy"] == "cache-only"


def test_cinder_can_read_the_lines(planned: dict[str, Any]) -> None:
    conf = configparser.ConfigParser()
    conf.read_string(planned["cinder_conf"])
    for name, said in planned["backends"].items():
        assert conf.getboolean(name, "image_volume_cache_enabled") is said["image_volume_cache_enabled"]
        if said["image_volume_cache_enabled"]:
            for option in ("image_volume_cache_max_size_gb", "image_volume_cache_max_count"):
                assert conf.getint(name, option) == said[option]
    stored = conf["DEFAULT"].get("allowed_direct_url_schemes", "") == "cinder"
    assert stored == (planned["strategy"] in ("store-only", "combined"))


def test_a_quota_that_is_too_small_is_raised(planned: dict[str, Any]) -> None:
    counts = [of["image_volume_cache_max_count"] for of in planned["backends"].values()]
    needed = counts[0] + counts[1] + 2 * counts[2]  # a limit counts per pool
    assert planned["quota"]["volumes"] == needed > 3 and planned["quota"]["gigabytes"] is None
    (command,) = planned["quota"]["commands"]
    assert command.startswith(f"openstack quota set --volumes {needed} ")
    assert any(each["constraint"] == "internal_tenant_quota_volumes" for each in planned["binding"])


def test_the_reason_is_the_target(planned: dict[str, Any]) -> None:
    assert any(each["constraint"] == "hit_rate" and "smaller" in each["text"] for each in planned["binding"])
    strategies = {"none", "store-only", "cache-only", "combined"}
    assert {each["strategy"] for each in planned["runners_up"]} == strategies - {planned["strategy"]}


def test_the_text_is_right_at_80_columns(path: Path) -> None:
    out = path.parent / "plan"
    result = CliRunner().invoke(app, ["plan", str(path), *TARGET, "--out", str(out), "--workers", "1"])
    assert result.exit_code == 0 and "everything asked for is kept" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    order = [
        "strategy:",
        "against today",
        "\nwhy",
        "\nand not",
        "\nwhat if",
        "\ncinder.conf",
        "$ openstack quota set",
    ]
    places = [result.stdout.index(each) for each in order]
    assert places == sorted(places)


def test_the_frontier_is_written(path: Path, planned: dict[str, Any]) -> None:
    candidates = pd.read_csv(path.parent / "plan" / "candidates.csv")
    frontier = pd.read_csv(path.parent / "plan" / "frontier.csv")
    assert len(candidates) > len(frontier) > 4
    for _, of in frontier.groupby(["strategy", "backend"]):
        assert of["hit_rate"].is_monotonic_increasing and of["space_gib_mean"].is_monotonic_increasing
    assert list(frontier.columns) == list(candidates.columns)


def test_growth_needs_room(path: Path) -> None:
    targets = Targets(hit_rate={"flash": 0.6}, confidence=0)
    grown = sim.plan(path, targets, growth=2.0, workers=1).document
    plain = sim.plan(path, targets, workers=1).document
    assert grown["tiers"]["flash"]["creates"] == pytest.approx(2 * plain["tiers"]["flash"]["creates"])
    assert grown["backends"]["disk-a"]["image_volume_cache_max_count"] == 2  # no target: as today


def test_a_back_test_is_of_the_rest(path: Path) -> None:
    case = sim.load(path)
    document = sim.plan(path, Targets(hit_rate={"": 0.6}), train=0.7, workers=1).document
    cut_s = 0.7 * case.last_create_s
    promised, mine, hindsight, today = document["back_test"]
    times = case.trace.events.query("event == 'create'")["time"]
    assert promised["creates"] == (times < cut_s).sum() and mine["creates"] == (times >= cut_s).sum()
    assert promised["hit_rate"] == document["tiers"]["all"]["hit_rate"]
    assert {mine["creates"], hindsight["creates"], today["creates"]} == {mine["creates"]}
    records = sim.run(case, "cache-only").requests
    rest = records[records["time"] >= cut_s]
    assert today["hit_rate"] == (rest["source"] == "cache").mean()


def test_sensitivity_begins_with_the_plan_itself(planned: dict[str, Any]) -> None:
    first, *others = planned["sensitivity"]
    assert first["hit_rate"] == planned["tiers"]["all"]["hit_rate"] and first["met"]
    assert first["limits_factor"] is None
    assert len(others) == 5 and len({each["hit_rate"] for each in planned["sensitivity"]}) > 1


def test_other_inputs_need_the_least_factor_from_which_on_all_reach_the_goal(path: Path) -> None:
    """Of all factors, each simulated: the search leaves out those that can be none."""
    asked = 0.6
    document = sim.plan(path, Targets(hit_rate={"": asked}, confidence=0), workers=1).document
    case, found = sim.load(path), {}
    for row in document["sensitivity"][1:]:
        other = {**changes(case.scenario)[row["change"]], "cinder.internal_tenant_quota_volumes": None}
        points = []
        for factor in FACTORS:
            limits = {
                f"backends.{name}.{option}": max(1, round(of[option] * factor))
                if "max" in option
                else of[option]
                for name, of in document["backends"].items()
                for option in OF_CACHE
            }
            points.append(Point(tuple({**limits, **other}.items()), document["strategy"]))
        told = tidy(sweep(case, points, workers=1))
        rates = told.loc[told["scope"] == "all", "clone_hit_rate"].to_numpy()
        enough = [factor for at, factor in enumerate(FACTORS) if (rates[at:] >= asked).all()]
        found[row["change"]] = row["limits_factor"]
        assert row["limits_factor"] == min(enough, default=None), row["change"]
    assert min(found.values()) < 1 < max(found.values())


def test_what_cannot_be_kept_is_named(path: Path) -> None:
    targets = Targets(hit_rate={"flash": 0.99}, space_gib={"flash": 6}, confidence=0)
    document = sim.plan(path, targets, workers=1).document
    assert document["met"] is False
    lacking = [each for each in document["targets"] if not each["met"]]
    assert [(each["constraint"], each["where"]) for each in lacking] == [("hit_rate", "flash")]
    assert sum(document["backends"][name]["space_gib_peak"] for name in ("flash-a", "flash-b")) <= 6
    texts = [each["text"] for each in document["binding"]]
    assert any("cannot be kept: the hit rate of flash" in text for text in texts)
    assert any("GiB" in text or "space" in text for text in texts[1:])


def test_users_that_no_array_takes_count_for_the_limits_that_fill_them(tmp_path: Path) -> None:
    """Creates without a host fail on no backend when all arrays of the tier are full."""
    path = write(tmp_path)
    full = (
        path.read_text()
        .replace("max_volumes: 60", "max_volumes: 9")
        .replace("p0: {}", "p0: {max_volumes: 9}", 1)
    )
    path.write_text(full)
    trace = pd.read_csv(tmp_path / "trace.csv", keep_default_na=False)
    trace.loc[trace["volume_type"] == "flash", "host"] = ""
    trace.to_csv(tmp_path / "trace.csv", index=False)
    document = sim.plan(path, Targets(hit_rate={"flash": 0.1}, confidence=0), workers=1).document
    case = sim.load(path)
    assert (sim.run(case, "none", "fast").requests["host"] == "").any()  # else nothing is tried
    flash = document["tiers"]["flash"]
    errors = {
        name: summary(sim.run(case, name, "fast"), case, name).set_index("tier").loc["flash", "errors"]
        for name in ("none", "cache-only")
    }
    assert document["met"] and flash["hit_rate"] >= 0.1
    assert flash["errors"] <= max(errors.values())


def test_bad_usage_is_told_at_once(path: Path) -> None:
    command = [
        *("plan", str(path), "--target-hit-rate", "1.5", "--target-hit-rate", "flash=x", "--workers", "0"),
        *("--confidence", "1", "--train", "2", "--max-errors", "-1"),
    ]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2 and "Traceback" not in result.output
    for told in ("'1.5'", "'flash=x'", "--workers", "--confidence", "--train", "--max-errors"):
        assert told in result.stderr
    for wrong, told in (
        (["--target-hit-rate", "gold=0.5"], "'gold'"),
        (["--replications", "3"], "one history"),
    ):
        result = CliRunner().invoke(app, ["plan", str(path), *wrong, "--out", str(path.parent / "x")])
        assert result.exit_code == 2 and told in result.stderr


def test_creates_without_an_image_pay_for_a_cache_that_is_too_large(tmp_path: Path) -> None:
    """Four places: three images, each asked for twice, then three volumes without an image at once."""
    b = Builder(*small(3)).backend("a", pools={"p0": {"max_volumes": 4}}, delete_s=0)
    for number in range(6):
        time = 1000 * number
        b.create(time, f"i{number // 2}").delete(time + 900, f"v{number}")
    for _ in range(3):
        b.create(9000, "")
    path = b.case(tmp_path).path
    found = sim.plan(path, Targets(errors={"": 0}), workers=1).document
    today, planned = found["today"]["tiers"]["all"], found["tiers"]["all"]
    assert (today["errors"], today["other_errors"]) == (2, 2)  # three image-volumes leave one place
    assert (planned["errors"], planned["other_errors"], planned["hit_rate"]) == (0, 0, 0.5)
    assert found["met"]
    assert found["strategy"] == "cache-only"
    limits = found["backends"]["a"]
    assert 1 in (limits["image_volume_cache_max_count"], limits["image_volume_cache_max_size_gb"])


@pytest.mark.parametrize(
    ("total_mib_s", "p95_s", "strategy"), [(None, 10.24, "none"), (100, 40.96, "cache-only")]
)
def test_a_plan_respects_shared_rates(
    tmp_path: Path, total_mib_s: int | None, p95_s: float, strategy: str
) -> None:
    """Four downloads of 1 GiB at once: each has 100 MiB/s, or a quarter of them. 15 s are asked for."""
    image = {"image_id": "i", "name": "i", "disk_format": "raw", "container_format": "bare"}
    scenario = {
        "glance": {"streams": None, "stream_mib_s": 100, "total_mib_s": total_mib_s},
        "tiers": {"t": {"price_gib_month": 1}},
        "backends": {"a": {"volume_type": "t", "pools": {"p": {}}, "clone_s": 2}},
        "images": [image | {"size_bytes": 2**30, "virtual_size_bytes": 2**30}],
        "workload": {"trace": "trace.csv"},
        "strategies": ["none", "cache-only"],
    }
    (tmp_path / "s.yaml").write_text(json.dumps(scenario))
    rows = [f"{number // 4 * 1000},create,v{number},i,1,t," for number in range(120)]
    header = "time,event,volume_id,image_id,size_gib,volume_type,host"
    (tmp_path / "trace.csv").write_text("\n".join((header, *rows)) + "\n")
    without = summary(sim.run(sim.load(tmp_path / "s.yaml"), "none"), sim.load(tmp_path / "s.yaml"), "none")
    assert without.set_index("tier").loc["all", "create_s_p95"] == pytest.approx(p95_s)
    document = api.plan(tmp_path / "s.yaml", Targets(p95_s={"": 15.0}), workers=1).document
    assert document["met"] and document["strategy"] == strategy
    assert document["tiers"]["all"]["p95_s"] <= 15.0
