"""Lines of `cinder.conf` for a strategy and the limits of its caches."""

from __future__ import annotations

from collections.abc import Mapping

from sim.inputs.limits import ENABLED, MAX_COUNT, MAX_SIZE, OFF, Limits, todays
from sim.inputs.scenario import Scenario
from sim.inputs.strategies import STRATEGIES


def conf_of_scenario(scenario: Scenario, strategy: str) -> str:
    """The lines of `cinder.conf` for a strategy with the limits that a scenario has."""
    return conf_of(strategy, limits_of(scenario, strategy))


def limits_of(scenario: Scenario, strategy: str) -> dict[str, Limits]:
    """The limits of each backend's cache under a strategy, as a scenario has them."""
    cached = STRATEGIES[strategy].image_volume_cache_enabled
    return {name: todays(each) if cached else OFF for name, each in scenario.backends.items()}


def conf_of(strategy: str, backends: Mapping[str, Limits]) -> str:
    """The lines of `cinder.conf`, a section for each backend."""
    schemes = ",".join(STRATEGIES[strategy].allowed_direct_url_schemes)
    without = "# allowed_direct_url_schemes without cinder"  # the operator's other schemes may stay
    lines = ["[DEFAULT]", f"allowed_direct_url_schemes = {schemes}" if schemes else without]
    if STRATEGIES[strategy].replicated or STRATEGIES[strategy].on_demand:
        lines.append(f"# {strategy} is a proposal: nothing in Cinder puts its image-volumes there.")
    if any(limits.enabled for limits in backends.values()):
        lines.append("# The cache needs cinder_internal_tenant_project_id and ..._user_id here too.")
    for name, limits in backends.items():
        lines += ["", f"[{name}]", f"{ENABLED} = {str(limits.enabled).lower()}"]
        if limits.enabled:
            lines += [f"{MAX_SIZE} = {limits.max_size_gb}", f"{MAX_COUNT} = {limits.max_count}"]
    return "\n".join(lines)
