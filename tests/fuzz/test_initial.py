"""What exists at the start (CSV), read with the scenario that names it."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from sim.inputs.problems import Problems
from sim.inputs.trace import Known, parse_initial
from tests.fuzz import seeds
from tests.fuzz.frame import Target
from tests.fuzz.seeds import with_scenario
from tests.fuzz.tables import csvs

KNOWN = Known(frozenset(["debian", "ubuntu"]), None, {"flash-a#p0": frozenset(["flash"])})


def _read(path: Path) -> None:
    problems = Problems()
    parse_initial(path, KNOWN, None, problems)
    problems.raise_any()
    with_scenario(path)


def _rows() -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(seeds.written("initial.csv").decode())))


LIST = Target(
    "initial CSV",
    lambda: csvs(_rows(), [seeds.written("initial.csv")]),
    "initial.csv",
    _read,
    seeds.beside,
)


def test_initial() -> None:
    LIST.check(60, 1)
