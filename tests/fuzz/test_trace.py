"""Traces: CSV, Parquet in memory, and Parquet read in parts as larger ones are."""

from __future__ import annotations

from pathlib import Path

from hypothesis.strategies import SearchStrategy

from sim.inputs.problems import Problems
from sim.inputs.tables import count_rows
from sim.inputs.trace import Known, check_volumes, empty_initial, last_time_s, parse_trace, read_batches
from tests.fuzz import seeds
from tests.fuzz.frame import Target
from tests.fuzz.seeds import with_scenario
from tests.fuzz.tables import csv_of, csvs, parquet_of, parquets

TIERS = frozenset(["flash"])
KNOWN = Known(frozenset(["debian", "ubuntu"]), TIERS, {"flash-a#p0": TIERS})


def _read(path: Path) -> None:
    problems = Problems()
    found = parse_trace(path, KNOWN, problems)
    if found is not None:
        check_volumes(*found, empty_initial())
    problems.raise_any()
    with_scenario(path)


def _in_parts(path: Path) -> None:
    """What `sim.analysis.streaming` does with a trace that it does not hold."""
    count_rows(path)
    last_time_s(path, 4)
    for _ in read_batches(path, KNOWN, 4):
        pass


def _named(folder: Path) -> None:
    seeds.beside(folder)
    tree = seeds.smallest()
    seeds.scenario_beside(folder, tree | {"workload": tree["workload"] | {"trace": "trace.parquet"}})


def _csv() -> SearchStrategy[bytes]:
    rows = seeds.trace_rows()
    dated = [row | {"time": f"2024-03-31T00:{number:02}:00+01:00"} for number, row in enumerate(rows)]
    return csvs(rows, [seeds.written("trace.csv"), csv_of(dated)])


def _parquet() -> SearchStrategy[bytes]:
    return parquets(seeds.trace_rows(), [parquet_of(seeds.trace_rows())])


CSV = Target("trace CSV", _csv, "trace.csv", _read, seeds.beside)
PARQUET = Target("trace Parquet", _parquet, "trace.parquet", _read, _named)
PARTS = Target("trace Parquet in parts", _parquet, "trace.parquet", _in_parts, _named)


def test_csv() -> None:
    CSV.check(60, 1)


def test_parquet() -> None:
    PARQUET.check(60, 1)


def test_parts() -> None:
    PARTS.check(60, 1)
