"""What an operator can change: each lever with its settings, its effort, and the file for it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sim.inputs.limits import ENABLED, Limits, todays
from sim.inputs.scenario import Case, Scenario
from sim.inputs.strategies import STRATEGIES
from sim.model.prefetch import RELEASES
from sim.planner import storm_levers

SETTING, SCRIPT, PLUGIN = "a setting", "a script", "a plugin"
LIMIT, PATCH = "an array's limit", "a patch to Cinder"
CONF, QUOTAS, PREFETCH, README = "cinder.conf", "quotas.sh", "prefetch.sh", "README.md"
UNCACHED = {"none": "cache-only", "store-only": "combined"}  # and the strategy that also has the cache
STORED = {"none": "store-only", "cache-only": "combined"}  # and the strategy that also has the store
FACTORS = (1.25, 1.5, 2, 4)  # of a number today
SCALES = (0.5, 0.75, 1.5, 2.0, 4.0)  # of the limits of all caches
MOST_BACKENDS = 8  # that are tried one by one

# Levers of a storm that help every day, too: their effort.
_SHARED = {
    "streams": SETTING,
    "convert_on_import": SETTING,
    "threads": SETTING,
    "image_conversion_gib": SETTING,
    "places": LIMIT,
    "capacity": LIMIT,
    "max_clones_per_volume": LIMIT,
    "clone_family_limit": LIMIT,
    "lock_per_pool": PATCH,
    "refused_without_lock": PATCH,
}


@dataclass(frozen=True)
class Option:
    """One setting of a lever: in words, values by key of the scenario, and what else it changes.

    - strategy: the strategy with it; None: as before.
    - one_pool: whether several pools become one.
    """

    words: str
    values: Mapping[str, Any] = field(default_factory=dict)
    strategy: str | None = None
    one_pool: bool = False


@dataclass(frozen=True)
class Lever:
    """A change that can be made once: the options from the least to the most, its effort, its file in
    `deploy/`.

    `least`: the first option that brings nearly as much as the best is taken, because more costs something
    that no price says.
    """

    name: str
    effort: str
    file: str
    options: Sequence[Option]
    least: bool = False


@dataclass(frozen=True)
class Known:
    """What levers need to know beside the scenario: the case as it is today, limits that the plan found, and
    how several pools become one, in words ('': they cannot)."""

    case: Case
    limits: Sequence[Mapping[str, Limits]]
    one_pool: str


def levers_of(scenario: Scenario, strategy: str, known: Known) -> list[Lever]:
    """The levers that apply to a scenario under a strategy."""
    found = [*_caches(scenario, strategy), *_stores(scenario, strategy, known.case)]
    cinder = scenario.cinder
    if STRATEGIES[strategy].image_volume_cache_enabled:
        found += _limits(scenario, known)
        found += _quota(scenario)
        if known.case.trace.events["event"].isin(RELEASES).any() and not scenario.what_if.prefetch:
            words = "fill every cache when an image is released"
            found.append(Lever("prefetch", SCRIPT, PREFETCH, [Option(words, {"what_if.prefetch": True})]))
    if known.one_pool:
        found.append(Lever("one pool", SETTING, README, [Option(known.one_pool, one_pool=True)]))
    if cinder.lock_scope == "node" and _several_nodes(scenario):
        words = "give all nodes one [coordination] backend_url"
        found.append(Lever("coordination", SETTING, CONF, [Option(words, {"cinder.lock_scope": "cloud"})]))
    several = any(len(scenario.hosts_of(tier)) > 1 for tier in scenario.tiers)
    ordered = cinder.scheduler_weight_handler == "OrderedHostWeightHandler"
    if several and ordered and not scenario.what_if.prefer_clones and strategy != "none":
        words = "install the weigher that prefers pools which can clone the image"
        found.append(Lever("weigher", PLUGIN, README, [Option(words, {"what_if.prefer_clones": True})]))
    return found + list(_shared(scenario, strategy, known.case))


def _caches(scenario: Scenario, strategy: str) -> Iterator[Lever]:
    """The cache on or off: everywhere, and for each backend (for each tier if there are many backends)."""
    cached = STRATEGIES[strategy].image_volume_cache_enabled
    to = strategy if cached else UNCACHED.get(strategy)
    if to is None:
        return
    backends = scenario.backends
    on = [name for name, each in backends.items() if cached and each.image_volume_cache_enabled]
    off = [name for name in backends if name not in on]
    parts = [[name] for name in backends]
    if len(backends) > MOST_BACKENDS:
        parts = [[n for n, each in backends.items() if tier in each.volume_types] for tier in scenario.tiers]
    for enabled, names in ((True, off), (False, on)):
        word = "on" if enabled else "off"
        options = {tuple(part): None for part in ([n for n in part if n in names] for part in parts) if part}
        for part in [*options, *([tuple(names)] if len(options) > 1 else [])]:
            # Where today's strategy has no cache, the other backends stay without one.
            values = {} if cached else {f"backends.{name}.{ENABLED}": name in part for name in backends}
            values |= {f"backends.{name}.{ENABLED}": enabled for name in part}
            where = ", ".join(part) if len(part) < len(backends) else "every backend"
            option = Option(f"turn the cache {word} on {where}", values, to)
            yield Lever(f"cache {word}: {where}", SETTING, CONF, [option])


def _stores(scenario: Scenario, strategy: str, case: Case) -> Iterator[Lever]:
    """The Cinder store on or off."""
    if strategy in STORED and (scenario.store or any(image.store_hosts for image in case.images.values())):
        option = Option("keep images in a Cinder store of Glance, and clone them", {}, STORED[strategy])
        yield Lever("store on", SETTING, CONF, [option])
    for without, strategy_with in STORED.items():
        if strategy == strategy_with:
            option = Option("keep no images in a Cinder store of Glance", {}, without)
            yield Lever("store off", SETTING, CONF, [option])


def _limits(scenario: Scenario, known: Known) -> Iterator[Lever]:
    """The limits that a plan found, and today's and these times SCALES."""
    now = {name: todays(each) for name, each in scenario.backends.items()}
    found = [each for each in known.limits if set(each) == set(now)]
    found += [scaled(each, factor) for each in (*found, now) for factor in SCALES]
    options = {
        repr(each): Option(f"change the limits of the caches: {_told(each, now)}", _values(each, now))
        for each in found
        if each != now
    }
    if options:
        yield Lever("limits", SETTING, CONF, list(options.values()))


def scaled(limits: Mapping[str, Limits], factor: float) -> dict[str, Limits]:
    """All limits times a factor; no limit stays none."""
    return {
        name: Limits(each.enabled, _times(each.max_size_gb, factor), _times(each.max_count, factor))
        for name, each in limits.items()
    }


def _times(limit: int, factor: float) -> int:
    return max(1, round(limit * factor)) if limit else 0


def _values(limits: Mapping[str, Limits], now: Mapping[str, Limits]) -> dict[str, Any]:
    return {
        key: value
        for name, each in limits.items()
        if each != now[name]
        for key, value in each.values(name).items()
    }


def _told(limits: Mapping[str, Limits], now: Mapping[str, Limits]) -> str:
    return "; ".join(f"{name} {told(each)}" for name, each in limits.items() if each != now[name])


def told(limits: Limits) -> str:
    """The limits of a cache in words."""
    if not limits.enabled:
        return "off"
    size = f"{limits.max_size_gb:,} GiB" if limits.max_size_gb else "no limit of GiB"
    count = f"{limits.max_count:,} entries" if limits.max_count else "no limit of entries"
    return f"{size} and {count}"


def _quota(scenario: Scenario) -> Iterator[Lever]:
    if limits := scenario.cinder.tenant_limits():
        values: dict[str, Any] = {
            f"cinder.internal_tenant_quota{'s.' if '_' in name else '_'}{name}": None for name in limits
        }
        option = Option("give the cache's project a quota that does not bind", values)
        yield Lever("quota", SCRIPT, QUOTAS, [option])


def _several_nodes(scenario: Scenario) -> bool:
    return len({node for each in scenario.backends.values() for node in each.node_names}) > 1


def _shared(scenario: Scenario, strategy: str, case: Case) -> Iterator[Lever]:
    """The levers of a storm that help every day, too."""
    raw = all(image.disk_format == "raw" for image in case.images.values())
    for lever in storm_levers.levers_of(scenario, strategy):
        effort = _SHARED.get(lever.name)
        if effort is None or (lever.name == "convert_on_import" and raw):
            continue
        if lever.least is None:
            options = [Option(lever.words, lever.values(None))]
        else:
            least = max(1, lever.least)
            numbers = sorted({math.ceil(least * factor) for factor in FACTORS} - {least})
            if lever.name == "capacity":
                numbers = [2, 4]
            options = [Option(f"{lever.words}: {n:,}", lever.values(n)) for n in numbers]
        yield Lever(lever.name, effort, README, options, least=len(options) > 1)
    limited = any(
        each.max_volumes or any(p.max_volumes for p in each.pools.values())
        for each in scenario.backends.values()
    )
    if limited and STRATEGIES[strategy].image_volume_cache_enabled and not scenario.what_if.evict_for_users:
        words = "let the cache give way to users on a full array"
        option = Option(words, {"what_if.evict_for_users": True})
        yield Lever("evict_for_users", PATCH, README, [option])
