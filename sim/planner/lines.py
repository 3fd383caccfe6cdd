"""Text for an operator to paste: the lines of `cinder.conf`, and the internal tenant's quota."""

from __future__ import annotations

import math
from collections.abc import Mapping
from shlex import quote
from typing import Any

from sim.inputs.conf import conf_of
from sim.inputs.limits import Limits
from sim.inputs.scenario import Scenario
from sim.planner.figures import EVERY
from sim.planner.measured import Runs
from sim.planner.search import Plan
from sim.sweep.results import ALL, Scope

# By quantity: the peak of the cache, and the limit of each pool's cache.
PEAKS = {"volumes": "cache_volumes_peak", "gigabytes": "cache_provisioned_gib_peak"}
LIMITS = {"volumes": "max_count", "gigabytes": "max_size_gb"}
PROJECT = "CINDER_INTERNAL_TENANT_PROJECT_ID"  # where its id is not known


def conf_lines(plan: Plan) -> str:
    """The lines of `cinder.conf` for a plan."""
    return conf_of(plan.best.choice.strategy, plan.best.choice.backends)


def quotas(plan: Plan) -> dict[str, int | None]:
    """The quotas that the internal tenant needs under a plan; see `needed_quotas`."""
    scenario = plan.load.case.scenario
    return needed_quotas(scenario, scenario, plan.best.choice.backends, plan.best.runs)


def needed_quotas(
    today: Scenario, scenario: Scenario, limits: Mapping[str, Limits], runs: Runs
) -> dict[str, int | None]:
    """The quotas that the internal tenant needs: all caches at their limits, or their peaks if there is none.

    It is at least the peak of all together. None: today's quota is unlimited or large enough. Those of volume
    types (`volumes_TYPE`) are there only if the scenario of today has them.
    """
    now = today.cinder.tenant_limits()
    found: dict[str, int | None] = {}
    for name in dict.fromkeys((*PEAKS, *now)):
        quantity, _, tier = name.partition("_")
        full = [
            getattr(each, LIMITS[quantity]) * len(scenario.backends[backend].pools)
            or _peak(runs, ("backend", backend), quantity)
            for backend, each in limits.items()
            if not tier or tier in scenario.backends[backend].volume_types
        ]
        needed = max(_peak(runs, ("tier", tier) if tier else ("all", ALL), quantity), sum(full))
        found[name] = needed if name in now and now[name] < needed else None
    return found


def _peak(runs: Runs, row: tuple[Scope, str], quantity: str) -> int:
    """The most that the caches of a row had in any replication."""
    return max(math.ceil(result.rows[row].figures[PEAKS[quantity]]) for result in runs)


def quota_commands(quota: Mapping[str, int | None], project: str = PROJECT) -> list[str]:
    """The commands that set the internal tenant's quotas, one for all volume types together first."""
    of_tier: dict[str, list[str]] = {}
    for name, value in quota.items():
        quantity, _, tier = name.partition("_")
        if value is not None:
            of_tier.setdefault(tier, []).append(f"--{quantity} {value}")
    return [
        " ".join(
            [
                "openstack quota set",
                *options,
                *([f"--volume-type {quote(tier)}"] if tier else []),
                quote(project),
            ]
        )
        for tier, options in of_tier.items()
    ]


def quota_binds(plan: Plan, quota: dict[str, int | None]) -> list[dict[str, Any]]:
    """A reason for each quota that is too small."""
    today = plan.load.case.scenario.cinder.tenant_limits()
    return [
        {
            "constraint": f"internal_tenant_quota{'s.' if '_' in name else '_'}{name}",
            "where": EVERY,
            "text": f"the internal tenant has {today[name]:,} {name}, and needs {value:,}",
        }
        for name, value in quota.items()
        if value is not None
    ]
