"""What the pages say of files that nothing else checks; links and code are checked by `make docs`."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

import sim
from docs.figures import consoles, given, pages, tables
from sim.cli import app
from sim.inputs import trace

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
EXAMPLE = "cinder-cache compare scenarios/two_tiers.yaml --engine fast"


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


def test_what_the_first_example_shows_is_what_it_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    scenario = str(ROOT / "scenarios/two_tiers.yaml")
    printed = CliRunner().invoke(app, ["compare", scenario, "--engine", "fast"]).output
    text = (DOCS / "example.md").read_text()
    assert consoles.consoles(text, {EXAMPLE: printed}.get) == (text, [])
    assert text.count(EXAMPLE) == 3


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


def test_every_number_of_a_page_is_a_figure_of_a_file_or_is_given() -> None:
    known = given.listed()
    assert set(known["kind"]) <= set(given.KINDS)
    assert set(known["page"]) <= {page.name for page in pages.PAGES}
    assert [each for page in pages.PAGES for each in given.problems(page.name, page.read_text(), known)] == []


def test_a_number_that_nobody_makes_is_found() -> None:
    text = "# 2 Two\n\nCinder 24 to 29: 7 %<!-- runs a b --> and 8 % of\n`9`, 1,234.5 s (95 %\ninterval).\n"
    known = pd.DataFrame({"page": "a.md", "kind": "rule", "words": ["8 % of `9`", "no such words"]})
    assert given.problems("a.md", text, known[:0]) == [
        "a.md:3: no file has 8, and given.csv does not list it",
        "a.md:4: no file has 1,234.5, and given.csv does not list it",
    ]
    assert given.problems("a.md", text, known) == [
        "a.md:4: no file has 1,234.5, and given.csv does not list it",
        "a.md: listed in vain: no such words",
    ]
    assert given.problems("a.md", text, known.assign(words="# 2 Two")) == []


def test_what_a_command_printed_that_is_not_run_is_found() -> None:
    text = "```console\n$ cinder-cache watch --once\nup 1\n```\n\n```console\n$ make compare\nhits 2\n```\n"
    assert given.problems("a.md", text, given.listed()[:0]) == [
        "a.md:2: no file has cinder-cache watch --once, and given.csv does not list it"
    ]


def test_what_pages_say_in_words_is_so() -> None:
    hits = pd.read_csv(DOCS / "upgrade.csv")["clone hits %"].str.split(" → ", expand=True).astype(float)
    assert "Clone hits stay within half a point." in (DOCS / "upgrade.md").read_text()
    assert (hits[1] - hits[0]).abs().max() < 0.5
    rates = pd.read_csv(ROOT / "lab/results/compared.csv").query("measure == 'hit_rate'").set_index("run")
    told = "within two points of the prediction in all runs but one (`baseline`)"
    assert told in " ".join((DOCS / "is-it-true.md").read_text().split())
    assert list(rates.index[(rates["predicted"] - rates["measured"]).abs() > 0.02]) == ["baseline"]


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
    made, problems = consoles.consoles(text, {"say": "first\nhits  12.5 %\n"}.get)
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
