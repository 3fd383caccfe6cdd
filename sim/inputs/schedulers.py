"""The filters and weighers of Cinder's scheduler, by the names of their classes."""

from __future__ import annotations

from functools import cache, partial
from importlib.metadata import entry_points
from typing import Annotated

from pydantic import AfterValidator, Field

from sim.inputs.problems import quoted
from sim.inputs.spec import Name, once

# Cinder's defaults (scheduler/host_manager.py), in their order.
FILTERS = ("AvailabilityZoneFilter", "CapacityFilter", "CapabilitiesFilter")
WEIGHERS = ("CapacityWeigher",)
# They act only on hints of a request (different_host, same_host, query), which no trace has.
ON_HINTS = frozenset({"DifferentBackendFilter", "SameBackendFilter", "JsonFilter"})
DEFAULTS = {"filters": FILTERS, "weights": WEIGHERS}
NEEDS_NOVA = "InstanceLocalityFilter"


@cache
def shipped(kind: str) -> tuple[str, ...]:
    """The classes that Cinder finds for `kind` (`filters` or `weights`): its own, and those of plugins.

    Cinder loads them by stevedore from these entry points, and knows them by the names of their classes.
    """
    found = {entry.attr for entry in entry_points(group=f"cinder.scheduler.{kind}")}
    return tuple(sorted(found - {NEEDS_NOVA}))


def _known(kind: str, names: tuple[str, ...]) -> tuple[str, ...]:
    if NEEDS_NOVA in names:
        raise ValueError(f"{NEEDS_NOVA} asks Nova where a server is: there is no Nova in a simulation")
    common = DEFAULTS[kind]  # they need no look at what is installed
    unknown = [name for name in names if name not in common and name not in shipped(kind)]
    if unknown:
        given, known = ", ".join(map(quoted, unknown)), ", ".join(shipped(kind))
        raise ValueError(f"Cinder has no {given}: must be of {known}")
    return names


Names = Annotated[tuple[Name, ...], Field(strict=False), AfterValidator(once)]
Filters = Annotated[Names, AfterValidator(partial(_known, "filters"))]
Weighers = Annotated[Names, AfterValidator(partial(_known, "weights"))]
