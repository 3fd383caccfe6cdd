"""The quotas of users' projects out of Cinder's database, as the scenario's `cinder.quotas` has them.

They are today's. What the history shows was accepted, under an older quota or before it was lowered: such
creates must not be refused, so a limit is never less than the most that its project had.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from sim.importers import tiers
from sim.importers.cloud import Cloud
from sim.importers.notes import Note, shortened
from sim.inputs.quotas import COUNTED, DEFAULT, PER_VOLUME, PROJECT, by_type

# A simulated delete may end later than the real one, and gives its quota back only then.
DELETE = pd.Timedelta(hours=1)
OPTIONS = {"volumes": "quota_volumes", "gigabytes": "quota_gigabytes", PER_VOLUME: "per_volume_size_limit"}
REMEDY = "remove `cinder.quotas` from the scenario to ask for loads that are larger than your quotas"


def place(cloud: Cloud) -> Iterator[Note]:
    """Give the cloud the quotas of its trace's projects; notes on them.

    Raises BadInput as `History.usage` does.
    """
    history = cloud.sources.history
    if history is None:
        return
    known = [*COUNTED, PER_VOLUME, *by_type(cloud.tiers)]
    default = {name: limit for name, limit in _default(cloud).items() if name in known and limit >= 0}
    own = {
        project or PROJECT: {name: limit for name, limit in limits.items() if name in known}
        for project, limits in history.user_quotas.items()
    }
    if not default and not any(limit >= 0 for limits in own.values() for limit in limits.values()):
        return
    most = peaks(cloud)
    found: dict[str, dict[str, int | None]] = {}
    raised = []
    for project, taken in most.items():
        mine = own.get(project, {})
        limits, over = _limits(default, mine, taken)
        if limits:
            found[project] = limits
        if over:
            raised.append(project)
    if default:
        found = {DEFAULT: {**default, **found.pop(DEFAULT, {})}, **found}
    if not found:
        return
    cloud.quotas = found
    several = len(set(found) - {DEFAULT})
    yield Note("read", f"users' quotas: the default class, and {several:,} projects with others; {REMEDY}")
    if raised:
        what = "had more than their quotas of today allow"
        rule = (
            "the scenario raises each such quota to the most that the project had (a deleted volume counts "
            f"for {DELETE.total_seconds() / 60:.0f} minutes more), so that it refuses none of their creates"
        )
        yield Note("assumed", f"{len(raised):,} projects {what}: {rule}: {shortened(raised)}")


def _default(cloud: Cloud) -> dict[str, int]:
    """The limits of a project without own ones: `cinder.quota.DbQuotaDriver.get_defaults`."""
    history, configuration = cloud.sources.history, cloud.sources.configuration
    assert history is not None
    found = {}
    if configuration is not None:
        found = {resource: int(configuration.whole[option]) for resource, option in OPTIONS.items()}
    if configuration is None or configuration.whole["use_default_quota_class"]:
        found |= history.default_quotas
    return found


def _limits(
    default: Mapping[str, int], own: Mapping[str, int], taken: Mapping[str, int]
) -> tuple[dict[str, int | None], bool]:
    """What a project has that differs from the default, and whether a limit was raised."""
    found: dict[str, int | None] = {}
    over = False
    for name in dict.fromkeys([*default, *own]):
        limit = own.get(name, default.get(name, -1))
        most = taken.get(name, 0)
        over |= 0 <= limit < most
        true = None if limit < 0 else max(limit, most)
        if true != default.get(name):
            found[name] = true
    return found, over


def peaks(cloud: Cloud) -> dict[str, dict[str, int]]:
    """The most that each project of the trace had of each resource at once, by project.

    A volume that exists at the start counts in the first volume type of its backend, as in a simulation.
    """
    history = cloud.sources.history
    assert history is not None
    usage = history.usage()
    first = {
        raw: tiers.names(cloud.backends[where.backend].volume_types)[0] for raw, where in cloud.places.items()
    }
    before = usage["made"] < pd.Timestamp(history.since)
    kind = usage["volume_type"].astype("str").where(~before, usage["host"].astype("str").map(first))
    usage = usage.assign(
        project=usage["project"].astype("str").replace("", PROJECT).astype("category"),
        volume_type=kind.astype("category"),
        volumes=1,
    ).rename(columns={"size_gib": "gigabytes"})
    found: dict[str, dict[str, int]] = {str(project): {} for project in usage["project"].cat.categories}
    largest = usage[~before].groupby("project", observed=True)["gigabytes"].max().to_dict()
    for project, most in largest.items():
        found[str(project)][PER_VOLUME] = int(most)
    for resource in COUNTED:
        for (project,), most in _most(usage, ["project"], resource):
            found[project][resource] = most
        for (project, tier), most in _most(usage, ["project", "volume_type"], resource):
            found[project][f"{resource}_{tier}"] = most
    return found


def _most(usage: pd.DataFrame, keys: list[str], resource: str) -> Iterator[tuple[tuple[str, ...], int]]:
    """The highest sum of a column over what exists at once, by keys; creates come before deletes."""
    gone = usage[usage["gone"].notna()]
    came = usage[keys].assign(at=usage["made"], change=usage[resource], later=False)
    went = gone[keys].assign(at=gone["gone"] + DELETE, change=-gone[resource], later=True)
    changes = pd.concat([came, went]).sort_values([*keys, "at", "later"], kind="stable", ignore_index=True)
    changes["total"] = changes.groupby(keys, observed=True)["change"].cumsum()
    most = changes.groupby(keys, observed=True)["total"].max().reset_index()
    for row in most.itertuples(index=False):
        yield tuple(map(str, row[:-1])), int(row[-1])
