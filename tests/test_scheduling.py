"""Filters and weighers of Cinder's scheduler: which there are, what they do, and which engine runs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from handmade import scenario_file
from properties.cases import case_of, create, image
from pydantic import ValidationError
from typer.testing import CliRunner

import sim
from sim.analysis.verification import difference
from sim.cinder import engine as cinder
from sim.cli import app
from sim.fast.build import WEIGHERS as COMPILED
from sim.inputs.problems import BadInput
from sim.inputs.scenario import Case, Scenario
from sim.inputs.schedulers import FILTERS, shipped
from sim.run import COMPILED_WEIGHERS, engine_of, run

ATTEMPTED = [*FILTERS, "IgnoreAttemptedHostsFilter"]
BACKENDS = {
    "a": {"volume_type": "flash", "pools": {"p0": {"capacity_gib": 300}}, "thin": False},
    "b": {"volume_type": "flash", "pools": {"p0": {"capacity_gib": 200}}, "thin": False},
}


def two(options: dict[str, Any], sizes: tuple[int, ...] = (5, 25, 5), **functions: str) -> Case:
    """Creates far apart, on two pools of which the first is larger. `functions`: KEY of b."""
    scenario = {"cinder": options, "backends": BACKENDS | {"b": {**BACKENDS["b"], **functions}}}
    events = [create(60.0 * n, f"v{n}", "", "", size_gib=size) for n, size in enumerate(sizes)]
    return case_of(scenario, [image("i0")], events)


def hosts(case: Case) -> list[str]:
    return list(cinder.run(case, "none").others["host"])


def test_there_are_those_that_cinder_ships() -> None:
    """Its setup.cfg names them; the scheduler knows them by their classes' names."""
    assert {*ATTEMPTED, "DriverFilter", "JsonFilter", "SameBackendFilter"} <= set(shipped("filters"))
    assert shipped("weights") == (
        *("AllocatedCapacityWeigher", "CapacityWeigher", "ChanceWeigher", "GoodnessWeigher"),
        "VolumeNumberWeigher",
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"scheduler_default_filters": ["RetryFilter"]}, ("RetryFilter", "IgnoreAttemptedHostsFilter")),
        ({"scheduler_default_weighers": ["CapacityFilter"]}, ("CapacityFilter", "GoodnessWeigher")),
        ({"scheduler_default_filters": ["InstanceLocalityFilter"]}, ("no Nova",)),
        ({"scheduler_default_filters": ["JsonFilter", "JsonFilter"]}, ("given twice",)),
    ],
)
def test_others_are_refused_with_those_there_are(options: dict[str, Any], told: tuple[str, ...]) -> None:
    raw = {"tiers": {"flash": {}}, "backends": BACKENDS, "workload": {"trace": "t"}, "cinder": options}
    with pytest.raises(ValidationError) as refused:
        Scenario.model_validate(raw)
    assert all(part in str(refused.value) for part in told)


def test_a_filter_function_decides() -> None:
    """It is b's: a passes always; without the filter it is not evaluated, and one with an error is false."""
    driver = {"scheduler_default_filters": [*FILTERS, "DriverFilter"], "capacity_weight_multiplier": -1.0}
    assert hosts(two(driver, filter_function="volume.size < 20")) == ["b#p0", "a#p0", "b#p0"]
    assert hosts(two(driver, filter_function="volume.nothing < 20")) == ["a#p0"] * 3
    plain = {**driver, "scheduler_default_filters": list(FILTERS)}
    assert hosts(two(plain, filter_function="volume.size < 20")) == ["b#p0"] * 3


def test_a_goodness_function_decides() -> None:
    """Volumes above 20 GiB are good on b; of equals the first pool is taken."""
    rated = {"scheduler_default_weighers": ["GoodnessWeigher"]}
    assert hosts(two(rated, goodness_function="(volume.size > 20) ? 100 : 0")) == ["a#p0", "b#p0", "a#p0"]
    assert hosts(two(rated, goodness_function="volume.size * 10")) == ["b#p0", "a#p0", "b#p0"]  # 250 is 0


def test_capabilities_decide_only_if_they_are_asked() -> None:
    tiers = {"flash": {}, "disk": {}}
    backends = {**BACKENDS, "a": {**BACKENDS["a"], "volume_type": "disk"}}
    for filters, host in ((FILTERS, "b#p0"), (FILTERS[:2], "a#p0")):
        options = {"scheduler_default_filters": filters}
        scenario = {"tiers": tiers, "backends": backends, "cinder": options}
        assert hosts(case_of(scenario, [image("i0")], [create(0, "v", "", "")])) == [host]


# -- which engine --------------------------------------------------------------------------------------


def test_engine_fast_has_compiled_what_the_rule_says() -> None:
    assert set(COMPILED_WEIGHERS) == set(COMPILED)


@pytest.mark.parametrize(
    ("options", "functions", "engine"),
    [
        ({}, {}, "fast"),
        ({"scheduler_default_filters": [*FILTERS, "DriverFilter", "JsonFilter"]}, {}, "fast"),
        ({"scheduler_default_weighers": ["GoodnessWeigher", "VolumeNumberWeigher"]}, {}, "fast"),
        ({}, {"filter_function": "1 > 0", "goodness_function": "7"}, "fast"),
        ({"scheduler_default_filters": [*FILTERS, "DriverFilter"]}, {"filter_function": "1 > 0"}, "cinder"),
        ({"scheduler_default_weighers": ["GoodnessWeigher"]}, {"goodness_function": "7"}, "cinder"),
        ({"scheduler_default_filters": ATTEMPTED}, {}, "cinder"),
        ({"scheduler_default_filters": FILTERS[:2]}, {}, "cinder"),
    ],
)
def test_only_what_acts_needs_engine_cinder(
    options: dict[str, Any], functions: dict[str, str], engine: str
) -> None:
    case = two(options, **functions)
    assert engine_of(case.scenario, "fast") == engine
    assert engine_of(case.scenario, "cinder") == "cinder"
    assert difference(run(case, "none", "fast"), run(case, "none", "cinder")) is None
    if engine == "cinder":
        with pytest.raises(BadInput, match="engine fast cannot run this"):
            sim.verify(case, ["none"])


def test_a_run_says_which_engine_ran(tmp_path: Path) -> None:
    path = scenario_file(tmp_path, cinder={"scheduler_default_filters": ATTEMPTED})
    out = tmp_path / "out"
    arguments = ["run", str(path), "--strategy", "none", "--engine", "fast", "--out", str(out)]
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 0
    what = "cinder.scheduler_default_filters: " + ", ".join(ATTEMPTED)
    assert f"engine fast cannot run {what}. Engine cinder runs instead." in found.stderr
    assert json.loads((out / "none" / "manifest.json").read_text())["engine"] == "cinder"
    found = CliRunner().invoke(app, ["verify", str(path)])
    assert (found.exit_code, found.stderr.count("engine fast cannot run this")) == (2, 1)
