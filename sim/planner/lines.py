"""Text for an operator to paste: the lines of `cinder.conf`, and the internal tenant's quota."""

from __future__ import annotations

from typing import Any

from sim.inputs.conf import conf_of
from sim.planner.figures import EVERY
from sim.planner.search import Plan
from sim.sweep.results import ALL

QUOTAS = {"volumes": "internal_tenant_quota_volumes", "gigabytes": "internal_tenant_quota_gigabytes"}


def conf_lines(plan: Plan) -> str:
    """The lines of `cinder.conf` for a plan."""
    return conf_of(plan.best.choice.strategy, plan.best.choice.backends)


def quotas(plan: Plan) -> dict[str, int | None]:
    """The quotas that the internal tenant needs: all caches at their limits, or their peak if it is more.

    None: today's quota is unlimited or large enough.
    """
    scenario, limits = plan.load.case.scenario, plan.best.choice.backends
    rows = [result.rows["all", ALL].figures for result in plan.best.runs]
    found: dict[str, int | None] = {}
    for name, quantity, limit in (
        ("volumes", "cache_volumes_peak", "max_count"),
        ("gigabytes", "cache_provisioned_gib_peak", "max_size_gb"),
    ):
        peak = max(int(row[quantity]) for row in rows)
        full = [
            getattr(each, limit) * len(scenario.backends[backend].pools) for backend, each in limits.items()
        ]
        needed = max(peak, sum(full))
        today = getattr(scenario.cinder, QUOTAS[name])
        found[name] = needed if today is not None and today < needed else None
    return found


def quota_commands(plan: Plan, quota: dict[str, int | None]) -> list[str]:
    """The command that raises the internal tenant's quota."""
    options = [f"--{name} {value}" for name, value in quota.items() if value is not None]
    return [f"openstack quota set {' '.join(options)} CINDER_INTERNAL_TENANT_PROJECT_ID"] if options else []


def quota_binds(plan: Plan, quota: dict[str, int | None]) -> list[dict[str, Any]]:
    """A reason for each quota that is too small."""
    options = plan.load.case.scenario.cinder
    return [
        {
            "constraint": QUOTAS[name],
            "where": EVERY,
            "text": f"the internal tenant has {getattr(options, QUOTAS[name]):,} {name}, and needs {value:,}",
        }
        for name, value in quota.items()
        if value is not None
    ]
