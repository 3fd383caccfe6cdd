"""What-if `prefer_clones`: what it changes in hits and in balance."""

from __future__ import annotations

from typing import Any

import pytest
from properties.cases import case_of, create, image
from pydantic import ValidationError

from sim.cinder import engine as cinder
from sim.fast import engine as fast
from sim.results import Records
from sim.scenario import Scenario

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
