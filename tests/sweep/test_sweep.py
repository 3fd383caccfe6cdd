"""Sweeps: the same however they are run, nothing lost on the way, failures told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner
from whole.build import Builder, image

import sim
from sim.cli import app
from sim.inputs.problems import BadInput
from sim.inputs.scenario import Case
from sim.model.sources import modules_of
from sim.sweep import sweep as sweep_module
from sim.sweep.sweep import sweep, tidy
from sim.sweep.varying import apply, grid

SCENARIO = Path(__file__).parents[2] / "scenarios" / "two_tiers.yaml"
COUNT = "backends.*.image_volume_cache_max_count"


@pytest.fixture(scope="module")
def case() -> Case:
    return sim.load(SCENARIO)


@pytest.fixture(scope="module")
def alone(case: Case) -> pd.DataFrame:
    """Twelve cells, by one process."""
    return tidy(sweep(case, grid({COUNT: [1, 5, 9]}, case.scenario.strategies), workers=1))


@pytest.fixture
def cluster() -> Iterator[tuple[str, list[int]]]:
    """The address of a Dask scheduler, and the process ids of its two workers."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as local:
        yield local.scheduler_address, [worker.pid for worker in local.workers.values()]


def test_a_cell_is_a_run(case: Case, alone: pd.DataFrame) -> None:
    from sim.analysis.metrics import summary

    changed = Case(case.path, apply(case.scenario, {COUNT: 5}), case.images, case.trace, case.initial)
    expected = summary(sim.run(changed, "combined", "fast"), changed, "combined")
    mine = alone[
        (alone["strategy"] == "combined") & (alone[COUNT] == 5) & alone["scope"].isin(["tier", "all"])
    ]
    for column in ("creates", "clone_hit_rate", "create_s_p95", "errors", "image_provisioned_gib_peak"):
        assert mine[column].tolist() == expected[column].tolist()


def test_space_to_convert_images_varies(tmp_path: Path) -> None:
    """Twelve downloads of 1 GiB at once: each needs more free space than its file is large."""
    b = Builder(image("i0", 1), glance={"streams": None, "stream_mib_s": 100}, nodes={"c1": {}})
    case = b.backend("a").storm(0, 12, "i0").case(tmp_path)
    cells = tidy(sweep(case, grid({"nodes.c1.image_conversion_gib": [1, 5, 13]}, ("none",)), workers=1))
    assert cells.loc[cells["scope"] == "all", "errors"].tolist() == [12, 8, 0]


def test_two_workers_give_the_same(case: Case, alone: pd.DataFrame) -> None:
    both = tidy(sweep(case, grid({COUNT: [1, 5, 9]}, case.scenario.strategies), workers=2))
    assert both.to_csv() == alone.to_csv()


def test_no_process_gets_the_cells_of_the_others(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """However short they are: the cells of one strategy come eight at a time, for all processes together."""
    told = []

    def noted(function: Callable[..., Any], arguments: Iterable[Any], at_once: int) -> Iterator[Any]:
        calls = list(arguments)
        told.append((len(calls), at_once))
        return (function(*each) for each in calls)

    monkeypatch.setattr(sweep_module, "results", noted)
    monkeypatch.setattr(sweep_module, "MESSAGE_S", float("inf"))
    sweep(case, grid({COUNT: list(range(1, 40))}, ["cache-only"]), workers=2)
    assert told[:2] == [(8, 1), (8, 4)]


@pytest.mark.parametrize("short_s, done", [(1.0, [0, 23]), (0.0, [0, 40])])
def test_two_waves_run_beside_each_other_at_the_end_of_one(
    short_s: float, done: list[int], case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes with eight cells at a time: the next forty begin with the result that leaves sixteen, or
    when none is left.
    """
    began: list[int] = []
    told: list[int] = [0]

    def noted(function: Callable[..., Any], arguments: Iterable[Any], at_once: int) -> Iterator[Any]:
        calls = list(arguments)
        assert len(calls) == 40
        began.append(told[-1])
        return (function(*each) for each in calls)

    monkeypatch.setattr(sweep_module, "results", noted)
    monkeypatch.setattr(sweep_module, "MESSAGE_S", float("inf"))
    monkeypatch.setattr(sweep_module, "SHORT_S", short_s)
    sweep(case, grid({"glance.stream_mib_s": list(range(1, 81))}, ["none"]), workers=2, progress=told.append)
    assert began == done


def test_a_sweep_that_fails_says_nothing_else(tmp_path: Path) -> None:
    """Wherever it is, with one wave or two under way: no thread of joblib fails for itself."""
    code = f"""
import sim
from sim.sweep.sweep import sweep
from sim.sweep.varying import grid

def stop(done):
    if done >= last:
        raise OSError("no place")

case = sim.load({str(SCENARIO.with_name("smallest.yaml"))!r})
for last in (5, 30, 36, 39, 41, 60):
    try:
        sweep(case, grid({{"glance.stream_mib_s": list(range(1, 81))}}, ["none"]), workers=2, progress=stop)
    except OSError as error:
        print(last, error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stderr == "" and done.stdout.count("no place") == 6


def test_dask_gives_the_same_though_a_worker_dies(
    case: Case, alone: pd.DataFrame, cluster: tuple[str, list[int]]
) -> None:
    address, workers = cluster
    killed = []

    def kill(done: int) -> None:
        if done >= 2 and not killed:
            os.kill(workers[0], signal.SIGKILL)
            killed.append(done)

    found = sweep(case, grid({COUNT: [1, 5, 9]}, case.scenario.strategies), dask=address, progress=kill)
    assert killed
    assert tidy(found).to_csv() == alone.to_csv()


def test_killed_and_run_again_it_finishes_the_rest(tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "sim", "sweep", str(SCENARIO), "--out", str(tmp_path), "--workers", "1"),
        *("--vary", f"{COUNT}=1..60", "--vary", "strategy=combined"),
    ]
    cells = tmp_path / "cells"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(cells.glob("*.json"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.wait()
    done = {path: path.stat().st_mtime_ns for path in cells.glob("*.json")}
    assert 3 <= len(done) < 60 and not (tmp_path / "sweep.csv").exists()
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "60 cells" in finished.stdout
    for path, written in done.items():
        assert path.stat().st_mtime_ns == written  # not run a second time
    table = pd.read_csv(tmp_path / "sweep.csv")
    assert len(table[table["scope"] == "all"]) == 60 and table["error"].isna().all()


def test_another_trace_is_another_cell(case: Case, tmp_path: Path) -> None:
    for name in ("two_tiers.yaml", "two_tiers/trace.csv", "two_tiers/images.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((SCENARIO.parent / name).read_bytes())
    points = grid({COUNT: [5]}, ["cache-only"])
    (first,) = sweep(sim.load(tmp_path / "two_tiers.yaml"), points, workers=1)
    trace = tmp_path / "two_tiers/trace.csv"
    trace.write_text("".join(trace.read_text().splitlines(keepends=True)[:-1]))
    (second,) = sweep(sim.load(tmp_path / "two_tiers.yaml"), points, workers=1)
    assert first.digest != second.digest
    assert second.requests in (first.requests, first.requests - 1) and not second.error
    events = len(sim.load(tmp_path / "two_tiers.yaml").trace.events)
    assert events == len(case.trace.events) - 1
    (renamed,) = sweep(case, points, workers=1)
    assert renamed.digest == first.digest  # the same files, elsewhere


def test_files_that_change_under_a_sweep_fail_its_cells(case: Case, tmp_path: Path) -> None:
    changed = replace(case, scenario=apply(case.scenario, {"glance.stream_mib_s": 1.0}))
    (cell,) = sweep(changed, grid({COUNT: [5]}, ["none"]), workers=1)
    assert "is not what the sweep began with" in cell.error


def test_a_broken_cell_is_run_again(case: Case, tmp_path: Path) -> None:
    points = grid({COUNT: [5]}, ["none"])
    (first,) = sweep(case, points, folder=tmp_path, workers=1)
    (path,) = (tmp_path / "cells").iterdir()
    for text in ('{"dig', "", '{"digest": "x"}', "[]"):
        path.write_text(text)
        (again,) = sweep(case, points, folder=tmp_path, workers=1)
        assert tidy([again]).to_csv() == tidy([first]).to_csv()


def test_failed_cells_stay_as_rows(tmp_path: Path) -> None:
    # One place: the store's image-volumes do not fit, which only its strategies find.
    command = [
        "sweep",
        str(SCENARIO),
        "--vary",
        "backends.flash-a.pools.p0.max_volumes=1",
        "--out",
        str(tmp_path),
    ]
    result = CliRunner().invoke(
        app, [*command, "--vary", "strategy=none,store-only", "--workers", "1", "--json"]
    )
    assert result.exit_code == 1, result.output
    assert "store-only backends.flash-a.pools.p0.max_volumes=1 failed: BadInput" in result.stderr
    cells = pd.DataFrame(json.loads(result.stdout)["cells"])
    assert cells.loc[cells["strategy"] == "none", "error"].eq("").all()
    assert cells.loc[cells["strategy"] == "store-only", "error"].str.startswith("BadInput").all()
    assert len(list((tmp_path / "cells").iterdir())) == 1  # a failed one is run again next time


def test_a_trace_has_no_replications(case: Case) -> None:
    with pytest.raises(BadInput, match="one history"):
        sweep(case, grid({COUNT: [1]}, ["none"]), replications=2)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "--vary, --list: give one of them"),
        (["--vary", "seed=x"], "--vary: seed: 'x'"),
        (["--vary", "tiers.gold.price_gib_month=1"], "is no key"),
        (["--list", "/nowhere.csv"], "cannot be read"),
        (["--vary", "seed=1", "--workers", "0"], "--workers"),
        (["--vary", "workload.trace=x.csv"], "cannot be varied"),
        (["--vary", "glance.streams=0..999999999"], "more than"),
        (["--vary", "seed=1", "--out", str(SCENARIO)], "--out"),
    ],
)
def test_bad_usage(options: list[str], told: str) -> None:
    result = CliRunner().invoke(app, ["sweep", str(SCENARIO), *options])
    assert result.exit_code == 2 and told in result.stderr and "Traceback" not in result.output


def test_a_generated_workload_is_drawn_anew_where_it_varies(tmp_path: Path) -> None:
    path = SCENARIO.with_name("generated.yaml")
    case = sim.load(path)
    points = grid({"workload.generate.creates_per_day": [100.0, 200.0]}, ["cache-only"])
    cells = tidy(sweep(case, points, replications=2, workers=1)).query("scope == 'all'")
    few, many = cells["creates"].tolist()[:2], cells["creates"].tolist()[2:]
    assert len(set(few)) == 2  # replications are draws of their own
    assert sum(many) == pytest.approx(2 * sum(few), rel=0.3)
    again = sweep(case, points[:1], replications=1, workers=1)
    expected = sim.run(sim.load(path), "cache-only", "fast").requests
    (default,) = sweep(
        case, grid({"glance.streams": [case.scenario.glance.streams]}, ["cache-only"]), workers=1
    )
    assert default.requests == len(expected) and again[0].requests == few[0]


def test_of_many_keys_only_what_differs_is_shown(tmp_path: Path) -> None:
    scenario = tmp_path / "short.yaml"
    text = SCENARIO.with_name("full_arrays.yaml").read_text().replace("until: 3d", "until: 2h")
    scenario.write_text(text.replace("two_tiers/", f"{SCENARIO.parent}/two_tiers/"))
    listed = tmp_path / "cells.csv"
    listed.write_text(
        "strategy,what_if.prefer_clones,what_if.lock_per_pool,what_if.prefetch,seed\n"
        "cache-only,false,false,false,7\n"
        "cache-only,true,false,false,7\n"
        "cache-only,true,true,false,8\n"
    )
    result = CliRunner().invoke(
        app, ["sweep", str(scenario), "--list", str(listed), "--out", str(tmp_path / "out"), "--workers", "1"]
    )
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line for line in lines if line.startswith("cache-only")]
    assert [row[10:30].strip().rstrip(" .0123456789") for row in rows] == [
        "no prefer_clones",
        "",
        "lock_per_pool",
    ]
    assert lines[lines.index(rows[2]) + 1].split()[0] == "seed=8"
    assert "else: prefer_clones, no lock_per_pool, no prefetch, seed=7" in lines


def test_keys_alike_are_told_apart(tmp_path: Path) -> None:
    scenario = tmp_path / "short.yaml"
    text = SCENARIO.with_name("full_arrays.yaml").read_text().replace("until: 3d", "until: 2h")
    scenario.write_text(text.replace("two_tiers/", f"{SCENARIO.parent}/two_tiers/"))
    vary = [f"--vary=backends.{name}.max_volumes=70" for name in ("flash-a", "flash-b")]
    result = CliRunner().invoke(
        app,
        ["sweep", str(scenario), *vary, "--vary=seed=1", "--out", str(tmp_path / "out"), "--workers", "1"],
    )
    heads = [line.split() for line in result.stdout.splitlines()]
    assert any(line[:2] == ["flash-a", "flash-b"] for line in heads), result.stdout
    assert any(line[:3] == ["max_volumes", "max_volumes", "seed"] for line in heads), result.stdout


def test_only_what_simulates_makes_cells_outdated() -> None:
    """An edit of a command, a report or the planner keeps finished cells."""
    counted = set(modules_of("sim.sweep.sweep", "sim"))
    assert {"sim.fast.kernel", "sim.model.lottery", "sim.workload.loading", "sim.sweep.measures"} <= counted
    assert "sim.cinder.engine" in counted  # it runs the cells that engine fast cannot
    others = ("sim.cli", "sim.report", "sim.plots", "sim.api", "sim.planner", "sim.importers")
    assert not [name for name in counted if name.startswith(others)]
