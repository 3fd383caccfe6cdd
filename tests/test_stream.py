"""Traces that stay on disk: what is written is what a run in memory gives."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import sim
from sim import cli
from sim.analysis.findings import findings
from sim.analysis.metrics import PERCENTILES, percentiles_of_many, pools_table, summary
from sim.analysis.results import read
from sim.analysis.streaming import stream
from sim.fast.engine import run
from sim.inputs.scenario import Case
from sim.inputs.trace import write_trace

SCENARIOS = Path(__file__).parent.parent / "scenarios"


@pytest.fixture(scope="module")
def case() -> Case:
    return sim.load(SCENARIOS / "two_tiers.yaml")


def on_disk(case: Case, path: Path) -> Case:
    """The same case with its trace left in a Parquet file."""
    write_trace(case.trace, path)
    return replace(case, trace=replace(case.trace, events=case.trace.events.iloc[:0], path=path))


@pytest.mark.parametrize("batch", [999, 5000])
@pytest.mark.parametrize("fmt", ["parquet", "csv"])
def test_stretches_give_what_the_whole_gives(case: Case, batch: int, fmt: str, tmp_path: Path) -> None:
    whole = run(case, "combined")
    written = stream(on_disk(case, tmp_path / "trace.parquet"), "combined", tmp_path, fmt, batch=batch)
    assert written.creates == len(whole.requests)
    for path, table in ((written.requests, whole.requests), (written.cache_events, whole.cache_events)):
        if fmt == "csv":
            assert path.read_text() == table.to_csv(index=False, lineterminator="\n")
        else:
            pd.testing.assert_frame_equal(pd.read_parquet(path), table, check_exact=True)
    pd.testing.assert_frame_equal(written.cache, whole.cache, check_exact=True)
    pd.testing.assert_frame_equal(written.pools, pools_table(whole, case), check_exact=True)
    # Sums of seconds and GiB are made in parts: they may differ in their last bits.
    pd.testing.assert_frame_equal(written.summary, summary(whole, case, "combined"), rtol=1e-12)


# What findings say only of a run in memory.
IN_MEMORY = re.compile(
    r"downloaded on one node while|because their cache entry is on another|space for image conversion, though"
    r"|stayed after the delete"
)
ENOUGH = re.compile(r"; (with them it asks at once|more than [0-9.,]+ GiB would have been enough).*")


def troubled(case: Case) -> Case:
    """The same cloud with slow downloads counted late, tiny caches and few clones of an entry."""
    small: dict[str, Any] = {"image_volume_cache_max_size_gb": 60, "image_volume_cache_max_count": 3}
    small |= {"max_clones_per_volume": 20}
    spec = case.scenario
    backends = {name: backend.model_copy(update=small) for name, backend in spec.backends.items()}
    return replace(case, scenario=spec.model_copy(update={"backends": backends, "boot_timeout_s": 30.0}))


def refused(case: Case) -> Case:
    """The same cloud with small quotas."""
    quotas = {"default": {"volumes": 40, "per_volume_gigabytes": 60}}
    cinder = case.scenario.cinder.model_copy(update={"quotas": quotas})
    return replace(case, scenario=case.scenario.model_copy(update={"cinder": cinder}))


CLOUDS = ["two_tiers", "full_arrays", "placement", "rbd", "sharing", "three_nodes"]


@pytest.mark.parametrize(("name", "make"), [*((name, troubled) for name in CLOUDS), ("two_tiers", refused)])
def test_findings_are_those_of_the_whole(name: str, make: Callable[[Case], Case], tmp_path: Path) -> None:
    case = make(sim.load(SCENARIOS / f"{name}.yaml"))
    lines = findings(run(case, "combined"), case, "combined")
    whole = [ENOUGH.sub("", line) for line in lines if not IN_MEMORY.search(line)]
    streamed = stream(on_disk(case, tmp_path / "trace.parquet"), "combined", tmp_path, "parquet", batch=999)
    assert streamed.findings == whole
    assert len(whole) > 2


def without_images(case: Case) -> Case:
    """The same with every fourth create from no image, on arrays that take few volumes."""
    events = case.trace.events.copy()
    creates = events.index[events["event"] == "create"][::4]
    events.loc[creates, "image_id"] = ""
    backends = {
        name: backend.model_copy(update={"max_volumes": 40})
        for name, backend in case.scenario.backends.items()
    }
    scenario = case.scenario.model_copy(update={"backends": backends})
    return replace(case, scenario=scenario, trace=replace(case.trace, events=events))


@pytest.mark.parametrize("fmt", ["parquet", "csv"])
def test_creates_without_an_image_have_a_table_of_their_own(case: Case, fmt: str, tmp_path: Path) -> None:
    mixed = without_images(case)
    whole = run(mixed, "cache-only")
    failed = (whole.others["status"] == "error").sum()
    assert 0 < failed < len(whole.others)
    written = stream(on_disk(mixed, tmp_path / "trace.parquet"), "cache-only", tmp_path, fmt, batch=999)
    assert written.creates == len(whole.requests)
    for path, table in ((written.requests, whole.requests), (written.others, whole.others)):
        if fmt == "csv":
            assert path.read_text() == table.to_csv(index=False, lineterminator="\n")
        else:
            pd.testing.assert_frame_equal(pd.read_parquet(path), table, check_exact=True)
    pd.testing.assert_frame_equal(written.pools, pools_table(whole, mixed), check_exact=True)
    expected = summary(whole, mixed, "cache-only")
    assert expected["other_errors"].iloc[-1] == failed
    pd.testing.assert_frame_equal(written.summary, expected, rtol=1e-12)


def test_a_create_that_outlasts_the_trace_is_in_the_means(case: Case, tmp_path: Path) -> None:
    """Its end, not the last change on an array, is the end of the run."""
    events = case.trace.events
    first = replace(
        case, trace=replace(case.trace, events=events[: events["event"].eq("create").argmax() + 1])
    )
    whole = run(first, "cache-only")
    assert whole.requests["end"].max() > first.trace.events["time"].iloc[-1]
    written = stream(on_disk(first, tmp_path / "trace.parquet"), "cache-only", tmp_path, "parquet")
    pd.testing.assert_frame_equal(written.pools, pools_table(whole, first), check_exact=True)


def test_creates_that_wait_for_long_keep_their_rows(case: Case, tmp_path: Path) -> None:
    """More creates are under way than the window of rows has places: it grows."""
    slow = case.scenario.glance.model_copy(update={"streams": 1, "stream_mib_s": 2.0})
    case = replace(case, scenario=case.scenario.model_copy(update={"glance": slow}))
    requests = run(case, "none").requests
    times, ends = (np.sort(requests[name].to_numpy()) for name in ("time", "end"))
    under_way = np.arange(1, len(times) + 1) - np.searchsorted(ends, times)
    assert under_way.max() > 4 * 200  # the window has a place for each event of a part, and some more
    written = stream(on_disk(case, tmp_path / "trace.parquet"), "none", tmp_path, "parquet", batch=200)
    pd.testing.assert_frame_equal(pd.read_parquet(written.requests), requests, check_exact=True)


def test_a_volume_that_is_not_there_is_told_with_its_row(case: Case, tmp_path: Path) -> None:
    events = case.trace.events.copy()
    gone = events.index[events["event"] == "delete"][1000]
    events.loc[gone, "volume_id"] = "nobody"
    bad = replace(case, trace=replace(case.trace, events=events))
    with pytest.raises(sim.BadInput) as raised:
        stream(on_disk(bad, tmp_path / "trace.parquet"), "none", tmp_path, "parquet", batch=500)
    assert raised.value.problems == [
        f"{tmp_path}/trace.parquet: row {gone + 1}: delete of volume nobody, which does not exist"
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["trace.parquet"]


def test_the_command_leaves_a_large_trace_on_disk(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in SCENARIOS.glob("two_tiers*"):
        (tmp_path / path.name).symlink_to(path)
    write_trace(case.trace, tmp_path / "trace.parquet")
    text = (SCENARIOS / "two_tiers.yaml").read_text()
    given = next(line for line in text.splitlines() if line.startswith("workload"))
    (tmp_path / "large.yaml").write_text(text.replace(given, "workload: {trace: trace.parquet}"))
    runner = CliRunner()
    tables = {}
    for most in (10, 10**9):
        monkeypatch.setattr("sim.cli.jobs.MOST_EVENTS", most)
        command = ["run", "large.yaml", "--strategy", "cache-only", "--engine", "fast", "--out", f"out{most}"]
        monkeypatch.chdir(tmp_path)
        assert runner.invoke(cli.app, command).exit_code == 0
        tables[most], manifest = read(f"out{most}/cache-only")
        assert manifest["creates"] == len(tables[most]["requests"])
    for name, table in tables[10].items():
        pd.testing.assert_frame_equal(table, tables[10**9][name], rtol=1e-12)


SECONDS = st.lists(st.floats(0, 1e6, allow_subnormal=False), min_size=1, max_size=60)


@settings(deadline=None, max_examples=30)
@given(SECONDS, st.integers(1, 7))
def test_percentiles_in_passes_are_numpys(seconds: list[float], parts: int) -> None:
    values = np.array(seconds) + 0.0
    others = values[values > np.median(values)]  # perhaps none

    def passes() -> Iterator[dict[str, npt.NDArray[np.float64]]]:
        for some in np.array_split(values, parts):
            yield {"all": some, "others": some[some > np.median(values)]}

    found = percentiles_of_many(passes, {"all": len(values), "others": len(others)})
    assert found["all"] == np.percentile(values, PERCENTILES).tolist()
    if len(others):
        assert found["others"] == np.percentile(others, PERCENTILES).tolist()
    else:
        assert np.isnan(found["others"]).all()
