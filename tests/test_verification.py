"""What `verify` finds: every alteration of every table, and first what came first."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from handmade import FAILED, SCENARIO, records_of, scenario_file
from typer.testing import CliRunner

import sim
from sim.analysis import verification
from sim.analysis.verification import TABLES, WIDTH, Verdict, difference
from sim.cinder import engine, release
from sim.cli import app
from sim.inputs.scenario import Case
from sim.model.records import Records, directories_table, links_table, nodes_table, uploads_table
from sim.workload.loading import load

# Creates v0, v1 and v2, of which the last is refused; v1 evicts what v0 put into the cache.
RECORDS = records_of(
    [
        {"volume_id": "v0", "time": 0.0, "end": 10.0},
        {"volume_id": "v1", "time": 5.0, "end": 20.0, "cache_held": 2},
        FAILED | {"volume_id": "v2", "time": 6.0, "end": 15.0},
    ],
    [
        {"volume_id": "v0", "time": 9.0},
        {"volume_id": "v1", "time": 18.0, "event": "evict", "reason": "room for another image"},
        {"volume_id": "v1", "time": 19.0, "image_id": "qcow"},
    ],
    [("pool", "fast#p0", "cache", 1.5, 2.0, 15.0, 20.0, 0.5, 4.0, 1)],
    [{"volume_id": "w0", "time": 7.0, "end": 8.0}],
)
RECORDS = replace(
    RECORDS,
    uploads=uploads_table([("v0", "new", "fast#p0", 30.0, 40.0, "")]),
    nodes=nodes_table({"c1": 10.0}, [(1e9, 2e9, 3e9, 1)]),
    directories=directories_table(
        ["c1"], np.array([0.0, 7.0]), np.array([[0.0, 1e9]]), np.array([[0.0, 2e9]])
    ),
    links=links_table(
        [("array", "fast")], 30.0, total_mib_s=[9.0], transfers=[2], asked_mib=[3.0], carried_mib=[3.0]
    ),
)


def other(value: Any) -> Any:
    """Another value of the same type; a float is the next one."""
    if isinstance(value, str):
        return value + "x"
    return np.nextafter(value, np.inf) if isinstance(value, float) else value + 1


def altered(table: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Records:
    """The records with one table changed."""
    changes: dict[str, Any] = {table: change(getattr(RECORDS, table).copy())}
    return replace(RECORDS, **changes)


def with_cell(table: str, column: str, row: int) -> Records:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[row, column] = other(frame.loc[row, column])
        return frame

    return altered(table, change)


def told(second: Records) -> str:
    """What `difference` says of the records and altered ones; the same both ways, but for the sides."""
    text, back = difference(RECORDS, second), difference(second, RECORDS)
    assert text is not None and back is not None
    assert text.splitlines()[0] == back.splitlines()[0]
    assert max(map(len, text.splitlines())) <= WIDTH
    return text


CELLS = [
    (table, column, row)
    for table in TABLES
    for column in getattr(RECORDS, table)
    for row in range(len(getattr(RECORDS, table)))
]


def test_every_table_is_compared() -> None:
    assert {field.name for field in fields(Records)} == {*TABLES, "engine_s", "broken"}


def test_the_same_is_no_difference() -> None:
    copies: dict[str, Any] = {name: getattr(RECORDS, name).copy() for name in TABLES}
    assert difference(RECORDS, replace(RECORDS, engine_s=99.0, **copies)) is None


@pytest.mark.parametrize(("table", "column", "row"), CELLS)
def test_a_value_is_missed_nowhere(table: str, column: str, row: int) -> None:
    text = told(with_cell(table, column, row))
    assert text.startswith(f"rows that differ: 1 of {table}\n")
    stars = [line for line in text.splitlines() if line.startswith("* ")]
    if table == "cache_events":  # told as a line of the create's story, or missing there
        assert all(line.startswith("* event ") for line in stars) and stars
    else:
        assert [line.split()[1] for line in stars] == [column]


@pytest.mark.parametrize("table", TABLES)
def test_a_row_is_missed_nowhere(table: str) -> None:
    assert f"1 of {table}" in told(altered(table, lambda frame: frame.iloc[:-1]))
    assert f"of {table}" in told(altered(table, lambda frame: frame.iloc[1:].reset_index(drop=True)))


def test_the_order_of_events_counts() -> None:
    swapped = altered("cache_events", lambda frame: frame.iloc[[1, 0, 2]].reset_index(drop=True))
    assert "first the create of v0:" in told(swapped)


def test_the_first_in_time_is_told_and_not_the_first_in_the_table() -> None:
    second = altered("requests", lambda frame: frame.assign(stream_wait_s=[0.5, 0.0, 0.5]))
    assert "2 of requests\nfirst the create of v0:" in told(second)
    second = altered("requests", lambda frame: frame.assign(stream_wait_s=[0.0, 0.5, 0.5]))
    assert "2 of requests\nfirst the create of v2:" in told(second)


def test_a_request_that_ends_earlier_in_one_counts_from_there() -> None:
    """v2 ends at 15; v1 at 20, and at 14 in the other."""
    second = altered("requests", lambda frame: frame.assign(end=[10.0, 14.0, 16.0]))
    assert "first the create of v1:" in told(second)


def test_an_event_tells_of_its_create() -> None:
    """The create ends as before; what the cache did meanwhile is what differs."""
    second = with_cell("cache_events", "image_id", 1)
    text = told(second)
    assert "first the create of v1:" in text
    assert "event 1" in text and "event 2" in text
    assert "evict 007x" in text and "* event 1" in text and "* event 2" not in text
    late = altered("requests", lambda frame: frame.assign(cache_held=[0, 2, 7]))
    both = replace(second, requests=late.requests)
    assert "first the create of v2:" in told(both)  # at 15, before the event at 18


def test_a_create_that_only_one_has() -> None:
    assert "(no such row)" in told(altered("requests", lambda frame: frame.iloc[:2]))


def test_an_event_of_no_create() -> None:
    """A delete of a user's volume never touches the cache; still, nothing may go unseen."""
    text = told(altered("cache_events", lambda frame: frame.assign(volume_id=["v0", "v1", ""])))
    assert "1 of cache_events" in text
    records = replace(RECORDS, cache_events=RECORDS.cache_events.assign(volume_id=""))
    second = replace(records, cache_events=records.cache_events.assign(size_gib=3))
    assert "first row 0 of cache_events:" in (difference(records, second) or "")


@pytest.mark.parametrize(("one", "another"), [(0.0, -0.0), (0.1 + 0.2, 0.3)])
def test_floats_are_equal_to_the_last_bit(one: float, another: float) -> None:
    first, second = (
        altered("requests", lambda frame, wait=wait: frame.assign(lock_wait_s=wait))
        for wait in (one, another)
    )
    assert f"* lock_wait_s    {one!r} " in (difference(first, second) or "")
    nan = altered("requests", lambda frame: frame.assign(lock_wait_s=np.nan))
    assert difference(nan, nan) is None


def test_columns_and_their_types_count() -> None:
    more = altered("cache", lambda frame: frame.assign(more=1))
    assert (difference(RECORDS, more) or "").startswith("columns of cache: host, ")
    floats = altered("requests", lambda frame: frame.astype({"attempts": float}))
    assert difference(RECORDS, floats) == "columns of requests: attempts: int64 / float64"
    empty = replace(RECORDS, cache=RECORDS.cache.iloc[:0])
    assert difference(empty, replace(empty, cache=empty.cache.astype(object))) is None


def test_names_are_printable_and_no_markup() -> None:
    second = altered("cache", lambda frame: frame.assign(image_id="[b]\x1b[2J"))
    assert "[b]\\x1b[2J" in told(second)


def test_long_values_are_folded() -> None:
    second = altered("requests", lambda frame: frame.assign(error="x" * 500))
    assert told(second).count("x") >= 500


EVICTING = """time,event,volume_id,image_id,size_gib,volume_type,host
0,create,1,007,40,flash,fast#p0
100,create,2,qcow,40,flash,fast#p0
200,delete,1,,,,
"""

# -- verify --------------------------------------------------------------------------------------------


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str]]]:
    """Engine `fast` is engine `cinder`, but for cache-only, where an end differs; gives what was run."""
    ran: list[tuple[str, str]] = []

    def run(case: Case, strategy: str, name: str, *, progress: Any = None) -> Records:
        ran.append((strategy, name))
        records = engine.run(case, strategy)
        if progress is not None:
            progress(len(case.trace.events))
        if (strategy, name) != ("cache-only", "fast"):
            return records
        return replace(records, requests=records.requests.assign(end=records.requests["end"] + 1))

    monkeypatch.setattr(verification, "run", run)
    yield ran


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    fast = SCENARIO["backends"]["fast"] | {"image_volume_cache_max_count": 1}
    return scenario_file(
        tmp_path,
        trace=EVICTING,
        backends=SCENARIO["backends"] | {"fast": fast},
        strategies=["combined", "cache-only"],
    )


def test_verify_runs_both_engines(scenario: Path, engines: list[tuple[str, str]]) -> None:
    same, another = sim.verify(load(scenario))
    assert engines == [(name, one) for name in ("combined", "cache-only") for one in ("cinder", "fast")]
    assert same == Verdict("combined", 2, 1, None)
    assert str(same) == "combined: equal: 2 requests, 1 evictions"
    assert another.difference is not None and "2 of requests" in another.difference
    assert [one.strategy for one in sim.verify(load(scenario), ["none", "none"])] == ["none"]
    with pytest.raises(sim.BadInput, match="'best'"):
        sim.verify(load(scenario), ["best"])


def test_progress_is_that_of_both_runs(scenario: Path, engines: list[tuple[str, str]]) -> None:
    done: list[int] = []
    verification.verdict(load(scenario), "none", done.append)
    assert done == [3, 6]


@pytest.mark.usefixtures("engines")
class TestCommand:
    def test_equal(self, scenario: Path) -> None:
        result = CliRunner().invoke(app, ["verify", str(scenario), "--strategies", "combined, none"])
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout == (
            "combined: equal: 2 requests, 1 evictions\nnone: equal: 2 requests, 0 evictions\n"
        )

    def test_different(self, scenario: Path) -> None:
        result = CliRunner().invoke(app, ["verify", str(scenario)])
        assert (result.exit_code, result.stderr) == (1, "")
        lines = result.stdout.splitlines()
        assert lines[0].startswith("combined: equal: ")
        assert lines[1:3] == ["cache-only: differs", "rows that differ: 2 of requests"]
        assert max(map(len, lines)) <= WIDTH

    def test_a_run_that_fails(self, scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

        def fail(*_: Any, **__: Any) -> Records:
            raise RuntimeError("creates never ended")

        monkeypatch.setattr(verification, "run", fail)
        result = CliRunner().invoke(app, ["verify", str(scenario), "--strategies", "none"])
        assert (result.exit_code, result.stdout) == (1, "")
        said = re.fullmatch(
            r"strategy none failed: RuntimeError: creates never ended \(traceback: (.*), or -v\)\n",
            result.stderr,
        )
        assert said is not None
        assert "in fail" in Path(said[1]).read_text()

    def test_bad_input(self, scenario: Path, engines: list[tuple[str, str]]) -> None:
        result = CliRunner().invoke(app, ["verify", str(scenario), "--strategies", "best"])
        assert (result.exit_code, result.stdout) == (2, "")
        assert "there is no 'best'" in result.stderr and not engines

    @pytest.mark.parametrize(("installed", "warned"), [("24.0.0", True), ("26.1.1", True), ("27.0.0", False)])
    def test_an_older_cinder(
        self, scenario: Path, monkeypatch: pytest.MonkeyPatch, installed: str, warned: bool
    ) -> None:
        monkeypatch.setattr(release, "version", lambda _: installed)
        result = CliRunner().invoke(app, ["verify", str(scenario), "--strategies", "none"])
        assert result.exit_code == 0
        assert (f"Cinder {installed} decides" in result.stderr) == warned
        assert all(len(line) <= WIDTH for line in result.stderr.splitlines())
