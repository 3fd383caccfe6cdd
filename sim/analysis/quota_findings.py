"""Findings on quotas: creates that they refuse, and what would be enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sim.analysis.names import among
from sim.analysis.wording import Finding, by, count, lost_s
from sim.inputs.problems import printable
from sim.inputs.quotas import DEFAULT, PER_VOLUME, PROJECT, limits_of
from sim.model.records import Records

if TYPE_CHECKING:
    from sim.inputs.scenario import Case

# The quota in the texts of VolumeLimitExceeded and VolumeSizeExceedsAvailableQuota (cinder/exception.py).
NAMED = (
    r"^Volume(?:Limit|Size)Exceed.*?(?:for quota '(?P<count>.*)'\.|allowed (?P<size>.*) quota\. Requested)"
)
TOO_LARGE = "VolumeSizeExceedsLimit:"


def refused_by_quotas(records: Records, case: Case) -> list[Finding]:
    """A line for each quota of each project that refused creates."""
    columns = ["volume_id", "size_gib", "error", "attempts", "status", "time", "end"]
    tables = (records.requests, records.others)
    failed = pd.concat([table.loc[table["status"] == "error", columns] for table in tables])
    error = failed["error"].astype(str)
    named = error.str.extract(NAMED)
    quota = named["count"].fillna(named["size"]).mask(error.str.startswith(TOO_LARGE), PER_VOLUME)
    refused = failed.assign(quota=quota)[quota.notna()]
    if refused.empty:
        return []
    asked = _asked(case)
    never = failed[(failed["attempts"] == 0) & quota.isna() & ~error.str.startswith("NoValidBackend")]
    asked = asked[
        ~among(asked["volume_id"], never["volume_id"])
    ]  # the API refuses them, whatever the quota is
    projects = asked.groupby("volume_id")["project"].first()
    refused = refused.assign(project=refused["volume_id"].map(projects))
    return [
        _line(case, project, resource, chosen, asked)
        for project, of_project in by(refused, "project")
        for resource, chosen in by(of_project, "quota")
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


def _line(case: Case, project: str, resource: str, refused: pd.DataFrame, asked: pd.DataFrame) -> Finding:
    quotas = case.scenario.cinder.quotas
    limit = limits_of(quotas, project)[resource]
    whose = "" if resource in quotas.get(project, {}) else f", by the class {DEFAULT}"
    if resource == PER_VOLUME:
        needed, why = int(refused["size_gib"].max()), "the largest of them asks for"
    else:
        needed, why = _at_once(case, project, resource, asked), "with them it asks at once for up to"
    told = f"project {printable(project)}{whose}: the quota {resource} ({limit:,}) refused"
    line = f"{told} {count(len(refused), 'create')}; {why} {needed:,} {_unit(resource)}"
    return Finding(line, resource.partition("_")[2] if resource != PER_VOLUME else "", lost_s(refused, case))


def _unit(resource: str) -> str:
    return "volumes" if resource.startswith("volumes") else "GiB"


def _of_type(resource: str) -> str:
    _, _, tier = resource.partition("_")
    return f" of {printable(tier)}" if tier else ""


def _asked(case: Case) -> pd.DataFrame:
    """The volumes that users ask for (`sign` 1) and give up again (-1), in the order of `time`.

    A volume counts until its delete could have ended, if the delete waits for nothing.
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
    return pd.concat([made, gone]).sort_values(["time", "sign"], kind="stable")


def _at_once(case: Case, project: str, resource: str, asked: pd.DataFrame) -> int:
    of_project = asked[asked["project"] == project]
    tier = resource.partition("_")[2]
    if tier:
        of_project = of_project[of_project["volume_type"] == tier]
    each = 1 if resource.startswith("volumes") else of_project["size_gib"]
    return int((of_project["sign"] * each).cumsum().max())
