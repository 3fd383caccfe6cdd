"""The settings of a scenario as results keep them, so that two results can be compared later."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from sim.inputs.conf import conf_of
from sim.inputs.limits import ENABLED, MAX_COUNT, MAX_SIZE, OFF, Limits
from sim.inputs.scenario import Scenario
from sim.inputs.strategies import STRATEGIES

LEFT_OUT = {"name", "images", "strategies"}  # these change no figure, or are a file with a hash


def kept(scenario: Scenario) -> dict[str, Any]:
    """The keys of a scenario that are not at their defaults, as JSON can hold them."""
    return scenario.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=LEFT_OUT)


def keys_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Each key with its value, such as `backends.flash-a.write_mib_s`; with defaults, if this version knows
    all of the keys."""
    try:
        whole = Scenario.model_validate(settings).model_dump(mode="json", by_alias=True, exclude=LEFT_OUT)
    except ValidationError:
        whole = dict(settings)
    return dict(_flat("", whole))


def _flat(before: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from _flat(f"{before}.{key}" if before else str(key), each)
    elif isinstance(value, list | dict):
        yield before, json.dumps(value) if value else None
    else:
        yield before, value


def limits_kept(backends: Mapping[str, Mapping[str, Any]], strategy: str) -> dict[str, Limits]:
    """The limits of each backend's cache under a strategy, from options that results keep."""
    cached = STRATEGIES[strategy].image_volume_cache_enabled
    return {
        name: Limits(True, int(of.get(MAX_SIZE, 0)), int(of.get(MAX_COUNT, 0)))
        if cached and of.get(ENABLED, True)
        else OFF
        for name, of in backends.items()
    }


def options_of(strategy: str, backends: Mapping[str, Limits]) -> dict[tuple[str, str], str]:
    """The lines of `cinder.conf` by section and option; comments are left out."""
    found, section = {}, ""
    for line in conf_of(strategy, backends).splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            option, _, value = line.partition(" = ")
            found[section, option] = value
    return found
