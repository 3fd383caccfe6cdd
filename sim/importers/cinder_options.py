"""The scenario's key `cinder`: locks, the scheduler and the internal tenant's quota."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from sim.importers.assumptions import Assumed
from sim.importers.cloud import Cloud
from sim.importers.configuration_notes import HANDLERS
from sim.importers.notes import Note
from sim.importers.settings import MULTIPLIERS, Configuration
from sim.inputs.backend import NOVA
from sim.inputs.quotas import by_type
from sim.inputs.scenario import MOST_ATTEMPTS
from sim.inputs.schedulers import shipped

DEFAULT = "Cinder's default, because no source sets it; Cinder's database may"


def options(cloud: Cloud) -> dict[str, Any]:
    """Values by the scenario's key, `Assumed` where no source gives them."""
    configuration, history = cloud.sources.configuration, cloud.sources.history
    found: dict[str, Any] = {} if configuration is None else _scheduling(configuration)
    zone = default_zone(cloud)
    if zone != NOVA:
        found["default_availability_zone"] = zone
    if configuration is not None or (history is not None and (history.quotas or history.default_quotas)):
        for resource in ("volumes", "gigabytes"):
            found[f"internal_tenant_quota_{resource}"] = _quota(cloud, resource)
    if by_type := _by_type(cloud):
        found["internal_tenant_quotas"] = by_type
    if cloud.quotas:
        found["quotas"] = cloud.quotas
    return found


def default_zone(cloud: Cloud) -> str | Assumed:
    """The zone of a create that asks for none: `ExtractVolumeRequestTask._extract_availability_zones`."""
    configuration = cloud.sources.configuration
    whole = {} if configuration is None else configuration.whole
    zone = whole.get("default_availability_zone") or whole.get("storage_availability_zone") or NOVA
    zones = [backend.keys.get("availability_zone", NOVA) for backend in cloud.backends.values()]
    if zone in zones or not zones:
        return str(zone)
    return Assumed(zones[0], f"no backend is in {zone}; Cinder's API may have another default")


def _scheduling(configuration: Configuration) -> dict[str, Any]:
    """Options that differ from the defaults, and three that are always written."""
    whole = configuration.whole
    found: dict[str, Any] = {"lock_scope": configuration.lock_scope}
    found["scheduler_max_attempts"] = min(whole["scheduler_max_attempts"], MOST_ATTEMPTS)
    found["backend_stats_polling_interval"] = whole["backend_stats_polling_interval"]
    if whole["image_conversion_disable"]:
        found["image_conversion_disable"] = True
    for name, kind in (("scheduler_default_filters", "filters"), ("scheduler_default_weighers", "weights")):
        known = [one for one in dict.fromkeys(whole[name]) if one in shipped(kind)]
        if name in configuration.told and (known or not whole[name]):
            found[name] = known
    for name in MULTIPLIERS:
        if name in configuration.told:
            found[name] = whole[name]
    handler = whole["scheduler_weight_handler"].rpartition(".")[2]
    if "scheduler_weight_handler" in configuration.told and handler in HANDLERS:
        found["scheduler_weight_handler"] = handler
    if any(section.image_upload_use_internal_tenant for section in configuration.sections.values()):
        found["image_upload_use_internal_tenant"] = True
    return found


def _quota(cloud: Cloud, resource: str) -> int | Assumed | None:
    """The internal tenant's hard limit ('volumes' or 'gigabytes'); None: unlimited or not known.

    The order is that of `cinder.quota.DbQuotaDriver.get_project_quotas`: the project's own limit, else that
    of the default class (unless `use_default_quota_class` is off), else that of cinder.conf.
    """
    history, configuration = cloud.sources.history, cloud.sources.configuration
    limit: float | None = None
    if history is not None:
        limit = history.quotas.get(resource)
        if limit is None and (configuration is None or configuration.whole["use_default_quota_class"]):
            limit = history.default_quotas.get(resource)
    assumed = False
    if limit is None and configuration is not None:
        limit = configuration.whole[f"quota_{resource}"]
        assumed = f"quota_{resource}" not in configuration.told
    if limit is None or limit < 0 or math.isnan(limit):
        return None
    return Assumed(int(limit), DEFAULT) if assumed else int(limit)


def _by_type(cloud: Cloud) -> dict[str, int]:
    """The internal tenant's quotas of the scenario's volume types, such as volumes_flash, by name."""
    history, configuration = cloud.sources.history, cloud.sources.configuration
    if history is None:
        return {}
    by_class = configuration is None or configuration.whole["use_default_quota_class"]
    limits = (history.default_quotas if by_class else {}) | history.quotas
    known = set(by_type(cloud.tiers))
    return {name: limit for name, limit in sorted(limits.items()) if name in known and limit >= 0}


def notes(cloud: Cloud) -> Iterator[Note]:
    """Notes on what the quota means for the cache."""
    told, assumed = [], []
    for resource, unit in (("volumes", "volumes"), ("gigabytes", "GiB")):
        limit = _quota(cloud, resource)
        if isinstance(limit, Assumed):
            assumed.append(f"{limit.value:,} {unit}")
        elif limit is not None:
            told.append(f"{limit:,} {unit}")
    what = "quota of the cache's project"
    means = "all caches together never hold more; raise it with `openstack quota set` for this project"
    if told:
        yield Note("read", f"{what}: {' and '.join(told)}: {means}")
    if assumed:
        yield Note("assumed", f"{what}: {' and '.join(assumed)} ({DEFAULT}, --db): {means}")
    if of_types := _by_type(cloud):
        every = ", ".join(f"{name} {limit:,}" for name, limit in of_types.items())
        yield Note("read", f"{every}: quotas of volume types also apply to the cache's project")
