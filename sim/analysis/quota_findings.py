"""Findings on quotas: creates that they refuse, and what would be enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sim.analysis.adding import Counts, Kind, Part, costs, failures
from sim.analysis.names import among
from sim.analysis.wording import Finding, count, lost, number, parts_of
from sim.inputs.problems import printable
from sim.inputs.quotas import DEFAULT, PER_VOLUME, PROJECT, limits_of
from sim.inputs.strategies import Strategy
from sim.model.records import Records

if TYPE_CHECKING:
    from sim.inputs.scenario import Case

# The quota in the texts of VolumeLimitExceeded and VolumeSizeExceedsAvailableQuota (cinder/exception.py).
NAMED = (
    r"^Volume(?:Limit|Size)Exceed.*?(?:for quota '(?P<count>.*)'\.|allowed (?P<size>.*) quota\. Requested)"
)
TOO_LARGE = "VolumeSizeExceedsLimit:"


def _quota_of(failed: pd.DataFrame) -> pd.Series[Any]:
    """The quota that refused each failed create, NA if none did."""
    error = failed["error"].astype(str)
    named = error.str.extract(NAMED)
    return named["count"].fillna(named["size"]).mask(error.str.startswith(TOO_LARGE), PER_VOLUME)


def _refused(part: Part, case: Case, strategy: Strategy) -> pd.DataFrame | None:
    if not case.scenario.cinder.quotas:
        return None
    refused = part.failed.assign(quota=_quota_of(part.failed)).dropna(subset="quota")
    asked = part.events[among(part.events["volume_id"], refused["volume_id"])]
    asked = asked[asked["event"] == "create"]
    projects = dict(zip(asked["volume_id"], asked["project"], strict=True))
    named = [projects[volume_id] or PROJECT for volume_id in refused["volume_id"]]
    rows = costs(refused, case, "quota")
    return rows.assign(size_gib_max=refused["size_gib"], project=pd.Series(named, rows.index, "str"))


KINDS = {"quotas": Kind(("project", "quota"), _refused)}


def refused_by_quotas(counts: Counts, case: Case, records: Records | None) -> list[Finding]:
    """A line for each quota of each project that refused creates.

    `records`: None if they are not in memory. Then nothing is said of what would be enough.
    """
    if "quotas" not in counts:
        return []
    asked = None if records is None else _asked(case, records)
    return [
        _line(case, project, resource, rows, asked)
        for project, of_project in parts_of(counts["quotas"], "project")
        for resource, rows in parts_of(of_project, "quota")
    ]


def tenant_quotas(case: Case) -> str:
    """The internal tenant's quotas, for findings on what they refused."""
    limits = case.scenario.cinder.tenant_limits()
    listed = ", ".join(
        f"{limit:,} {_unit(resource)}{_of_type(resource)}" for resource, limit in limits.items()
    )
    return (
        f"OverQuota is the internal tenant's quota ({listed}), which caps the caches of all backends"
        " together: raise it with openstack quota set"
    )


def _line(
    case: Case, project: str, resource: str, refused: pd.DataFrame, asked: pd.DataFrame | None
) -> Finding:
    quotas = case.scenario.cinder.quotas
    limit = limits_of(quotas, project)[resource]
    whose = "" if resource in quotas.get(project, {}) else f", by the class {DEFAULT}"
    line = (
        f"project {printable(project)}{whose}: the quota {resource} ({limit:,}) refused"
        f" {count(number(refused), 'create')}"
    )
    if resource == PER_VOLUME:
        line += f"; the largest of them asks for {refused['size_gib_max'].max():,} GiB"
    elif asked is not None:
        needed = _at_once(case, project, resource, asked)
        line += f"; with them it asks at once for up to {needed:,} {_unit(resource)}"
    tier = resource.partition("_")[2] if resource != PER_VOLUME else ""
    return Finding(line, tier, lost(refused))


def _unit(resource: str) -> str:
    return "volumes" if resource.startswith("volumes") else "GiB"


def _of_type(resource: str) -> str:
    _, _, tier = resource.partition("_")
    return f" of {printable(tier)}" if tier else ""


def _asked(case: Case, records: Records) -> pd.DataFrame:
    """The volumes that users ask for (`sign` 1) and give up again (-1), in the order of `time`.

    A volume counts until its delete could have ended, if the delete waits for nothing. Those that the API
    refuses whatever the quota is do not count.
    """
    events, backends = case.trace.events, case.scenario.backends
    creates = events.loc[
        events["event"] == "create", ["time", "volume_id", "project", "volume_type", "size_gib"]
    ]
    before = case.initial[case.initial["kind"] == "volume"]
    of_type = before["host"].map(lambda host: case.scenario.backend_at(host).volume_types[0])
    there = before[["volume_id", "project", "size_gib"]].assign(time=-np.inf, volume_type=of_type)
    made = pd.concat([there, creates.astype({"project": str, "volume_type": str})]).assign(sign=1)
    made["project"] = made["project"].replace("", PROJECT)
    deletes = events.loc[events["event"] == "delete", ["time", "volume_id"]]
    deletes["time"] += max(backend.delete_s for backend in backends.values())
    gone = made.drop(columns="time").merge(deletes, on="volume_id").assign(sign=-1)
    failed = failures(records)
    no_host = failed["error"].str.startswith("NoValidBackend")
    never = failed[(failed["attempts"] == 0) & _quota_of(failed).isna() & ~no_host]
    both = pd.concat([made, gone]).sort_values(["time", "sign"], kind="stable")
    return both[~among(both["volume_id"], never["volume_id"])]


def _at_once(case: Case, project: str, resource: str, asked: pd.DataFrame) -> int:
    of_project = asked[asked["project"] == project]
    tier = resource.partition("_")[2]
    if tier:
        of_project = of_project[of_project["volume_type"] == tier]
    each = 1 if resource.startswith("volumes") else of_project["size_gib"]
    return int((of_project["sign"] * each).cumsum().max())
