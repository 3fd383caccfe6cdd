"""What the pages say of files that nothing else checks; links and code are checked by `make docs`."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import sim
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
