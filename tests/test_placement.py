"""What-if `prefer_clones`: what it changes in hits and in balance."""

from __future__ import annotations

from typing import Any

import pytest
from properties.cases import case_of, create, image
from pydantic import ValidationError

from sim.cinder import engine as cinder
from sim.fast import engine as fast
from sim.inputs.scenario import Scenario
from sim.model.records import Records

ENGINES = pytest.mark.parametrize("engine", (cinder, fast), ids=("cinder", "fast"))
BACKEND = {"volume_type": "flash", "pools": {"p0": {"capacity_gib": 100}}, "clone_s": 1.0}


def run(engine: Any, prefer: bool, encrypted: bool = False) -> Records:
    """Six creates of one image, apart, on two equal pools."""
    scenario = {"backends": {"a": BACKEND, "b": BACKEND}, "what_if": {"prefer_clones": prefer}}
    events = [create(60.0 * n, f"v{n}", "i0", "", encrypted=encrypted) for n in range(6)]
    return engine.run(case_of(scenario, [image("i0")], events), "cache-only")


@ENGINES
def test_clones_are_preferred_to_balance(engine: Any) -> None:
    plain, preferring = (run(engine, prefer).requests for prefer in (False, True))
    assert list(plain.source) == ["download"] * 2 + ["cache"] * 4
    assert sorted(plain.host) == ["a#p0"] * 3 + ["b#p0"] * 3
    assert list(preferring.source) == ["download"] + ["cache"] * 5
    assert set(preferring.host) == {"a#p0"}


@ENGINES
def test_encrypted_volumes_have_no_preference(engine: Any) -> None:
    plain, preferring = (run(engine, prefer, encrypted=True).requests for prefer in (False, True))
    assert list(plain.host) == list(preferring.host)
    assert len(set(preferring.host)) == 2


@ENGINES
def test_what_a_project_may_not_clone_is_not_preferred(engine: Any) -> None:
    """Of the store only the owner, whose project alone the image-volume on the fuller pool is good for."""
    scenario = {
        "backends": {"a": BACKEND, "b": {**BACKEND, "pools": {"p0": {"capacity_gib": 1000}}}},
        "what_if": {"prefer_clones": True},
    }
    shared = image("i0", owner="alice", visibility="public", image_owner="admin", store_hosts="a#p0")
    events = [create(60.0 * n, f"v{n}", "i0", "", project=who) for n, who in enumerate(("bob", "alice"))]
    found = engine.run(case_of(scenario, [shared], events), "store-only").requests
    assert list(zip(found.host, found.source, strict=True)) == [("b#p0", "download"), ("a#p0", "store")]


@ENGINES
def test_pools_whose_driver_clones_are_preferred(engine: Any) -> None:
    large = {**BACKEND, "pools": {"p0": {"capacity_gib": 1000}}}
    scenario = {
        "backends": {"a": {**BACKEND, "driver_clones_raw": True}, "b": large},
        "what_if": {"prefer_clones": True},
    }
    events = [create(60.0 * n, f"v{n}", f"i{n}", "") for n in range(2)]
    images = [image("i0"), image("i1", disk_format="qcow2")]
    found = engine.run(case_of(scenario, images, events), "none").requests
    assert list(zip(found.host, found.source, strict=True)) == [("a#p0", "driver"), ("b#p0", "download")]


def test_a_lottery_has_no_preference() -> None:
    raw = {
        "tiers": {"flash": {}},
        "backends": {"a": BACKEND},
        "workload": {"trace": "t.csv"},
        "what_if": {"prefer_clones": True},
        "cinder": {"scheduler_weight_handler": "StochasticHostWeightHandler"},
    }
    with pytest.raises(ValidationError, match="prefer_clones needs OrderedHostWeightHandler"):
        Scenario.model_validate(raw)
