"""Every scenario in the repository is valid and runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import sim
from sim.analysis.metrics import ALL, pools_table, summary
from sim.cli import app

SCENARIOS = sorted((Path(__file__).parents[1] / "scenarios").glob("*.yaml"))


@pytest.fixture(params=SCENARIOS, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    assert isinstance(request.param, Path)
    return request.param


def test_says_what_it_shows(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# ")


def test_is_valid(path: Path) -> None:
    result = CliRunner().invoke(app, ["validate", str(path)])
    assert (result.exit_code, result.stderr) == (0, "")


def test_runs(path: Path) -> None:
    case = sim.load(path)
    events = case.trace.events
    creates = ((events["event"] == "create") & (events["image_id"] != "")).sum()
    strategies = case.scenario.strategies
    for strategy in dict.fromkeys((strategies[0], strategies[-1])):
        records = sim.run(case, strategy)
        of_all = summary(records, case, strategy).set_index("tier").loc[ALL]
        pools = pools_table(records, case)
        assert of_all["creates"] == creates == len(records.requests)
        # Every create that succeeded is on a pool.
        made = pools[["store_clones", "cache_clones", "driver_clones", "downloads"]].sum().sum()
        assert made == creates - of_all["errors"]
        assert (records.requests["end"] >= records.requests["time"]).all()
