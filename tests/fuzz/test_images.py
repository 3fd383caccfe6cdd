"""Image lists (CSV), read with the scenario that names them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from sim.inputs.images import read_images
from sim.inputs.problems import Problems
from tests.fuzz import seeds
from tests.fuzz.frame import Target
from tests.fuzz.seeds import with_scenario
from tests.fuzz.tables import csvs


def _read(path: Path) -> None:
    problems = Problems()
    read_images(path, frozenset(["flash-a#p0"]), problems)
    problems.raise_any()
    with_scenario(path)


def _rows() -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(seeds.written("images.csv").decode())))


LIST = Target(
    "images CSV", lambda: csvs(_rows(), [seeds.written("images.csv")]), "images.csv", _read, seeds.beside
)


def test_images() -> None:
    LIST.check(60, 1)
