"""What the pages say of files that nothing else checks; links and code are checked by `make docs`."""

from __future__ import annotations

from pathlib import Path

import sim
from sim.inputs import trace

DOCS = Path(__file__).parent.parent / "docs"


def test_the_smallest_scenario_is_one() -> None:
    assert len(sim.load(DOCS / "smallest.yaml").trace.events)


def test_every_column_and_event_of_the_files_is_told() -> None:
    text = (DOCS / "scenario.md").read_text()
    of_trace = text[text.index("## The trace") : text.index("## The initial state")]
    of_initial = text[text.index("## The initial state") : text.index("## A complete scenario")]
    for part, names in (
        (of_trace, (*trace.REQUIRED, *trace.OPTIONAL, *trace.GIVEN)),
        (of_initial, (*trace.INITIAL_REQUIRED, *trace.INITIAL_OPTIONAL)),
    ):
        told = [line.split("`")[1] for line in part.splitlines() if line.startswith("| `")]
        assert sorted(told) == sorted(names)
