"""Quotas of projects, as `openstack quota set` names them, and who owns what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sim.inputs.problems import Problems, printable

PROJECT = "project"  # the project of creates and volumes that name none
DEFAULT = "default"  # the quota class of projects without quotas of their own
PER_VOLUME = "per_volume_gigabytes"
COUNTED = ("gigabytes", "volumes")  # what a volume takes of its project, in all and of its volume type

Limits = Mapping[str, int | None]  # by resource; None: unlimited


def by_type(tiers: Iterable[str]) -> list[str]:
    """The resources of volume types: `gigabytes_TYPE` and `volumes_TYPE`."""
    return [f"{resource}_{tier}" for tier in tiers for resource in COUNTED]


def limits_of(quotas: Mapping[str, Limits], project: str) -> dict[str, int]:
    """What limits a user's project: its own quotas, and those of the default class for all else."""
    limits = {**quotas.get(DEFAULT, {}), **quotas.get(project, {})}
    return {resource: limit for resource, limit in limits.items() if limit is not None}


def check_quotas(
    path: Path, raw: Mapping[Any, Any], tiers: frozenset[str] | None, problems: Problems
) -> None:
    """Note resources that no quota has, of the scenario as it was read."""
    cinder = raw.get("cinder")
    if tiers is None or not isinstance(cinder, dict):
        return
    of_types = frozenset(by_type(tiers))
    quotas = cinder.get("quotas")
    classes = quotas if isinstance(quotas, dict) else {}
    parts = [("internal_tenant_quotas", cinder.get("internal_tenant_quotas"), of_types)]
    parts += [
        (f"quotas.{project}", limits, of_types | {*COUNTED, PER_VOLUME})
        for project, limits in classes.items()
    ]
    for where, limits, known in parts:
        for resource in limits if isinstance(limits, dict) else ():
            if resource not in known:
                what = f"no such quota: must be one of {', '.join(sorted(known))}"
                problems.add(path, printable(f"cinder.{where}.{resource}"), what)
