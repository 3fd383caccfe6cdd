"""The table of branches that no case takes is about Cinder's code; `make branches` checks that it is true."""

from __future__ import annotations

import csv
from importlib.metadata import version
from pathlib import Path

import pytest

from sim.inputs.cinders import SUPPORTED

from . import branches
from .scenarios import CASES


@pytest.mark.skipif(version("cinder") != SUPPORTED[-1], reason="the table is of the newest release")
def test_the_table_names_what_there_is() -> None:
    """Functions that count, with lines that they have; each branch once, and each with a reason."""
    text = {
        function: [
            line.strip() for line in (branches.root() / name).read_text().splitlines()[first - 1 : last]
        ]
        for name in branches.FUNCTIONS
        for first, last, function in branches.spans(name)
    }
    with branches.TABLE.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    for row in rows:
        assert row["line"] in text[row["function"]], row
        assert row["to"] == branches.END or row["to"] in text[row["function"]], row
        assert row["possible"] in ("yes", "no") and row["why"], row
    assert len(branches.read()) == len(rows)


def test_the_chosen_cases_are_there() -> None:
    assert set(branches.CHOSEN) <= set(CASES)


def test_the_functions_that_are_left_out_are_there() -> None:
    known = {function for name in branches.FUNCTIONS for _, _, function in branches.spans(name)}
    assert {name for names in branches.LEFT_OUT.values() for name in names} <= known


def test_the_page_lists_what_is_not_taken() -> None:
    page = (Path(__file__).parents[2] / "docs" / "model.md").read_text(encoding="utf-8")
    assert "\n".join(branches.summary()) in page
