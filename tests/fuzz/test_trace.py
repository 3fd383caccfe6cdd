"""Traces: CSV, Parquet in memory, and Parquet read in parts as larger ones are."""

from __future__ import annotations

from pathlib import Path

from hypothesis.strategies import SearchStrategy

from sim.cli.shared import checked
from sim.inputs.trace import last_time_s, read_batches
from tests.fuzz import seeds
from tests.fuzz.frame import Target
from tests.fuzz.tables import csv_of, csvs, parquet_of, parquets


def _validate(path: Path) -> object:
    return checked(path.with_name("scenario.yaml"), None, [])


def _in_parts(path: Path) -> None:
    """What `sim.analysis.streaming` does with a trace that it does not hold."""
    case = checked(path.with_name("scenario.yaml"), None, [], most_events=1)
    last_time_s(path, 3)
    for _ in read_batches(path, case.known, 3):
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


CSV = Target("trace CSV", _csv, "trace.csv", _validate, seeds.beside)
PARQUET = Target("trace Parquet", _parquet, "trace.parquet", _validate, _named)
PARTS = Target("trace Parquet in parts", _parquet, "trace.parquet", _in_parts, _named)


def test_csv() -> None:
    CSV.check(150, 1)
