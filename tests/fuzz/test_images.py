"""Image lists (CSV), read with the scenario that names them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from sim.cli.shared import checked
from tests.fuzz import seeds
from tests.fuzz.frame import Target
from tests.fuzz.tables import csvs


def _validate(path: Path) -> object:
    return checked(path.with_name("scenario.yaml"), None, [])


def _rows() -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(seeds.written("images.csv").decode())))


LIST = Target(
    "images CSV", lambda: csvs(_rows(), [seeds.written("images.csv")]), "images.csv", _validate, seeds.beside
)


def test_images() -> None:
    LIST.check(150, 1)
