"""Whose volumes are, as numbers, and the arrays of quotas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sim.fast.state import ALL_GIGABYTES, ALL_VOLUMES, INTERNAL, NO_LIMIT, OF_TYPES, PER_VOLUME, Array, State
from sim.inputs.quotas import PROJECT, limits_of
from sim.inputs.scenario import Scenario
from sim.model.repeats import repeats


def codes_of(column: pd.Series[Any]) -> tuple[npt.NDArray[np.integer[Any]], pd.Index[Any]]:
    """A number for each value, -1 for none, and the values behind the numbers."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.codes.to_numpy(), column.cat.categories
    return pd.factorize(column)


class Tenants:
    """The internal tenant and users' projects by number, in the order in which they come up."""

    def __init__(self) -> None:
        self.numbers = {PROJECT: INTERNAL + 1}

    def of(self, projects: pd.Series[Any]) -> npt.NDArray[np.int64]:
        """The number of each project; '' is `PROJECT`. A new project gets the next number."""
        codes, names = codes_of(projects)
        numbers = [self.number(str(name)) for name in names]
        return np.array([*numbers, self.numbers[PROJECT]], np.int64)[codes]

    def number(self, project: str) -> int:
        """The number of a project."""
        return self.numbers.setdefault(project or PROJECT, INTERNAL + 1 + len(self.numbers))

    def limits(self, scenario: Scenario) -> Array:
        """`State.quota_limits` of all tenants so far."""
        cinder, tiers = scenario.cinder, list(scenario.tiers)
        limits = np.tile(_row(limits_of(cinder.quotas, ""), tiers), (INTERNAL + 1 + len(self.numbers), 1))
        for project in cinder.quotas:
            if project in self.numbers:
                limits[self.numbers[project]] = _row(limits_of(cinder.quotas, project), tiers)
        limits[INTERNAL] = _row(cinder.tenant_limits(), tiers)
        return limits


@repeats("cinder.quota:DbQuotaDriver", "_get_quotas", "get_project_quotas", "get_defaults")
@repeats("cinder.quota:VolumeTypeQuotaEngine", "resources")
def _row(limits: Mapping[str, int], tiers: list[str]) -> Array:
    """A project's row of `State.quota_limits`."""
    columns = {"per_volume_gigabytes": PER_VOLUME, "gigabytes": ALL_GIGABYTES, "volumes": ALL_VOLUMES}
    for tier, name in enumerate(tiers):
        columns |= {f"gigabytes_{name}": OF_TYPES + 2 * tier, f"volumes_{name}": OF_TYPES + 2 * tier + 1}
    row = np.full(len(columns), NO_LIMIT, np.int64)
    for resource, limit in limits.items():
        row[columns[resource]] = limit
    return row


def with_tenants(s: State, scenario: Scenario, tenants: Tenants) -> State:
    """The same state, with quotas for all tenants so far."""
    limits = tenants.limits(scenario)
    used = np.zeros_like(limits)
    used[: len(s.quota_used)] = s.quota_used
    s.options["quotas"] = (limits != NO_LIMIT).any()
    return s._replace(quota_limits=limits, quota_used=used)
