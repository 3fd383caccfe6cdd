"""What the pages say of files that nothing else checks; links and code are checked by `make docs`."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

import sim
from docs.figures import pages, tables
from sim.cli import app
from sim.inputs import trace

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


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


@pytest.mark.parametrize("page", ["README.md", "docs/example.md"])
def test_what_pages_show_of_the_first_example_is_what_it_prints(
    page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / page).read_text()
    blocks = [block.split("```")[0] for block in text.split("```console\n")[1:]]
    shown = [line for block in blocks if "import" not in block for line in block.splitlines()]
    monkeypatch.setenv("COLUMNS", "80")
    scenario = str(ROOT / "scenarios/two_tiers.yaml")
    result = CliRunner().invoke(app, ["compare", scenario, "--engine", "fast"])
    printed = iter(result.output.splitlines())
    for line in shown:
        assert line == "…" or line.startswith("$ ") or line in printed, line


def test_the_citation_has_the_version_of_the_package() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])


def test_every_figure_of_a_page_is_that_of_its_file() -> None:
    files = pages.figures()
    for page in pages.PAGES:
        text = page.read_text()
        made, problems = pages.rewritten(text, files)
        assert not problems, page
        for shown, right in zip(text.splitlines(), made.splitlines(), strict=True):
            assert shown == right, page


@pytest.mark.parametrize("name", sorted(tables.tables(tables.runs())))
def test_a_table_of_figures_is_made_of_what_was_simulated(name: str) -> None:
    made = tables.tables(tables.runs())[name].to_csv(index=False, lineterminator="\n")
    assert (DOCS / f"figures/{name}.csv").read_text() == made


def test_a_figure_in_a_page_keeps_its_decimals() -> None:
    files = {"runs": pd.DataFrame({"hit_rate": [0.9617], "gib": [1234.5]}, index=["a/b"])}
    text = "1.0 %<!-- runs a/b hit_rate --> and 7<!-- runs a/b gib --> and 5<!-- runs a/c gib -->"
    made, problems = pages.rewritten(text, files)
    assert made == text.replace("1.0 %", "96.2 %").replace("7<", "1,234<")
    assert problems == ["runs has no figure gib of a/c"]


def test_a_console_takes_numbers_and_nothing_else_from_its_command() -> None:
    text = "```console\n$ say\n…\nhits   9.5 %\nno such line 1\n```\n"
    made, problems = pages.consoles(text, {"say": "first\nhits  12.5 %\n"}.get)
    assert made == text.replace("hits   9.5 %", "hits  12.5 %")
    assert problems == ["is not printed: no such line 1"]


def test_a_figure_that_left_its_interval_is_shown() -> None:
    before = pd.DataFrame(
        {"hits": [0.5, 0.5], "hits_low": [0.4, 0.4], "hits_high": [0.6, 0.6], "n": 3}, ["a", "b"]
    )
    after = before.assign(hits=[0.59, 0.61])
    assert pages.moved(before, after) == ["look at b hits: 0.5 (0.4 to 0.6) is now 0.61"]
    assert pages.moved(before, before.assign(n=4)) == [
        f"look at {row} n: 3 (3 to 3) is now 4" for row in "ab"
    ]
