"""Placement: Cinder's `FilterScheduler` with `CapacityFilter`, its weighers and weight handlers.

The scheduler's picture of a pool is its backend's last report, less what was placed since
(`HostManager`, `BackendState.consume_from_volume`).
"""

from __future__ import annotations

import math

from sim.fast.cache import last_used, location
from sim.fast.chance import drawn
from sim.fast.events import read_clock
from sim.fast.jit import compiled, inlined
from sim.fast.reports import keep_report
from sim.fast.state import BY_ALLOCATED, BY_CAPACITY, BY_NUMBER, NONE, State
from sim.model.repeats import repeats

BREAKS = -2
# Of cinder/scheduler/weights/capacity.py: what it gives pools without a capacity.
NO_CAPACITY = -1.0
OFFSET_MIN, OFFSET_MULT = 10000, 100


@repeats(
    "cinder.scheduler.filter_scheduler:FilterScheduler",
    "_schedule",
    "_get_weighted_candidates",
    "_choose_top_backend",
)
@repeats(
    "cinder.scheduler.host_manager:HostManager",
    "_choose_backend_filters",
    "get_filtered_backends",
    "get_weighed_backends",
    "get_all_backend_states",
    "revert_volume_consumed_capacity",
)
@repeats("cinder.scheduler.base_filter:BaseFilterHandler", "get_filtered_objects")
@repeats("cinder.scheduler.base_filter:BaseFilter", "filter_all", "run_filter_for_index")
@repeats("cinder.scheduler.filters:BaseBackendFilter", "_filter_one")
@repeats("cinder.scheduler.filters.availability_zone_filter:AvailabilityZoneFilter", "backend_passes")
@compiled
def choose(s: State, v: int) -> int:
    """`FilterScheduler._schedule`: the pool for a volume; NONE if none passes, BREAKS if a weigher raises."""
    r = s.volumes[v]
    if r.last_pool != NONE:  # `HostManager.revert_volume_consumed_capacity`
        consume(s, r.last_pool, -r.asked_gib)
    first, end = s.tier_start[r.tier], s.tier_start[r.tier + 1]
    passing = 0
    for place in range(first, end):
        pool = s.tier_pools[place]
        refresh(s, pool)
        if s.pools[pool].zone == r.zone and passes(s, pool, r.asked_gib):
            s.passing[passing], s.weights[passing] = pool, 0.0
            passing += 1
    if passing == 0:
        return NONE
    for number in range(len(s.weighers)):
        if not weigh_all(s, v, s.weighers[number], passing):
            return BREAKS
    return lottery(s, passing) if s.options[0].stochastic else heaviest(s, passing)


@repeats("cinder.scheduler.filter_scheduler:FilterScheduler", "backend_passes_filters")
@repeats("cinder.scheduler.manager:SchedulerManager", "extend_volume")
@compiled
def may_extend(s: State, pool: int, tier: int, gib: int) -> int:
    """`backend_passes_filters`: the pool, with the GiB counted there, NONE if it does not pass, or BREAKS.

    No zone is asked for, and the pools that pass are weighed, though nothing depends on it.
    """
    for zone in range(len(s.zone_breaks)):
        if s.zone_breaks[zone]:
            return BREAKS
    passing, finite, found = 0, False, NONE
    for place in range(s.tier_start[tier], s.tier_start[tier + 1]):
        each = s.tier_pools[place]
        refresh(s, each)
        if passes(s, each, gib):
            passing += 1
            finite = finite or s.pools[each].capacity < math.inf
            if each == pool:
                found = pool
    if passing == 0:
        return NONE
    for number in range(len(s.weighers)):
        if s.weighers[number] == BY_CAPACITY and not finite and s.options[0].capacity_multiplier <= 0:
            return BREAKS
    if s.options[0].stochastic:
        s.world[0].lottery, _ = drawn(s.world[0].lottery)
    if found != NONE:
        consume(s, pool, gib)
        s.pools[pool].seen_us = read_clock(s)
    return found


@repeats("cinder.scheduler.filter_scheduler:FilterScheduler", "_choose_top_backend")
@inlined
def take(s: State, v: int, pool: int) -> None:
    """Count a volume on a pool: the one that was chosen, or that a trace names for the first attempt."""
    consume(s, pool, s.volumes[v].asked_gib)
    s.pools[pool].seen_us = read_clock(s)


@repeats("cinder.scheduler.base_weight:BaseWeightHandler", "get_weighed_objects")
@repeats("cinder.scheduler.base_weight:BaseWeigher", "weigh_objects")
@repeats("cinder.scheduler.base_weight", "normalize")
@repeats("cinder.scheduler.weights.capacity:CapacityWeigher", "weigh_objects")
@repeats("cinder.scheduler.weights.stochastic:StochasticHostWeightHandler", "get_weighed_objects")
@compiled
def weigh_all(s: State, v: int, weigher: int, passing: int) -> bool:
    """`BaseWeightHandler.get_weighed_objects`: add a weigher's weights of the pools that passed.

    False if `CapacityWeigher` finds no capacity that is finite, and raises. The stochastic handler does
    not normalize.
    """
    low, high, finite = math.inf, -math.inf, -math.inf
    for place in range(passing):
        raw = weigh_by(s, v, weigher, s.passing[place])
        s.raw_weights[place] = raw
        low, high = min(low, raw), max(high, raw)
        if raw < math.inf:
            finite = max(finite, raw)
    if high == math.inf:  # `CapacityWeigher.weigh_objects`
        if low == math.inf:
            return False
        offset = (finite - low) * OFFSET_MULT
        high = finite + (OFFSET_MIN if offset == 0.0 else offset)
    multiplier, stochastic = multiplier_of(s, weigher), s.options[0].stochastic
    for place in range(passing):
        weight = min(s.raw_weights[place], high)
        if not stochastic:  # `base_weight.normalize`
            weight = 0.0 if low == high else (weight - low) / (high - low)
        s.weights[place] += multiplier * weight
    return True


@repeats("cinder.scheduler.weights.capacity:CapacityWeigher", "_weigh_object")
@repeats("cinder.scheduler.weights.capacity:AllocatedCapacityWeigher", "_weigh_object")
@repeats("cinder.scheduler.weights.volume_number:VolumeNumberWeigher", "_weigh_object")
@repeats("cinder.db.api", "volume_data_get_for_host")
@compiled
def weigh_by(s: State, v: int, weigher: int, pool: int) -> float:
    """`_weigh_object` of one weigher."""
    if weigher == BY_CAPACITY:
        if s.pools[pool].capacity == math.inf:
            return NO_CAPACITY if s.options[0].capacity_multiplier > 0 else math.inf
        return s.pools[pool].free
    if weigher == BY_ALLOCATED:
        return float(s.pools[pool].seen_allocated)
    if weigher == BY_NUMBER:
        return float(s.pools[pool].rows)
    return 1.0 if can_clone(s, v, pool) else 0.0


@repeats("cinder.scheduler.weights.capacity:CapacityWeigher", "weight_multiplier")
@repeats("cinder.scheduler.weights.capacity:AllocatedCapacityWeigher", "weight_multiplier")
@repeats("cinder.scheduler.weights.volume_number:VolumeNumberWeigher", "weight_multiplier")
@compiled
def multiplier_of(s: State, weigher: int) -> float:
    """`weight_multiplier` of one weigher."""
    o = s.options[0]
    if weigher == BY_CAPACITY:
        return o.capacity_multiplier
    if weigher == BY_ALLOCATED:
        return o.allocated_multiplier
    return o.number_multiplier if weigher == BY_NUMBER else o.preference


@compiled
def can_clone(s: State, v: int, pool: int) -> bool:
    """What-if `prefer_clones`: whether a pool can clone the image now (see `Clones` of engine `cinder`)."""
    r = s.volumes[v]
    if r.image == NONE or r.encrypted:
        return False
    i = s.images[r.image]
    if i.deleted:
        return False
    b = s.backends[s.pools[pool].backend]
    if b.driver_clones_raw and i.raw:
        return True
    if s.options[0].uses_store:
        slot = location(s, r.image, pool, r.project, b.store_across)
        if slot != NONE and s.pools[s.slots[slot].pool].backend == s.pools[pool].backend:
            return True
    entry = last_used(s, pool, r.image, b.cache_across)
    if not b.cache or entry == NONE or s.entries[entry].version != i.version:
        return False
    return s.pools[s.entries[entry].pool].backend == s.pools[pool].backend


@repeats("cinder.scheduler.base_weight:BaseWeightHandler", "get_weighed_objects")
@repeats("cinder.scheduler.filter_scheduler:FilterScheduler", "_choose_top_backend")
@compiled
def heaviest(s: State, passing: int) -> int:
    """`OrderedHostWeightHandler`: the first of equals wins."""
    chosen, best = 0, s.weights[0]
    for place in range(1, passing):
        weight = s.weights[place]
        chosen, best = (place, weight) if weight > best else (chosen, best)
    return s.passing[chosen]


@repeats("cinder.scheduler.weights.stochastic:StochasticHostWeightHandler", "get_weighed_objects")
@compiled
def lottery(s: State, passing: int) -> int:
    """`StochasticHostWeightHandler`: the first whose sum passes the number drawn, or the first of all."""
    total = 0.0
    for place in range(passing):
        total += s.weights[place]
    w = s.world[0]
    w.lottery, number = drawn(w.lottery)
    winning = number * total
    upto = 0.0
    for place in range(passing):
        upto += s.weights[place]
        if upto > winning:
            return s.passing[place]
    return s.passing[0]


@repeats("cinder.scheduler.host_manager:BackendState", "consume_from_volume")
@compiled
def consume(s: State, pool: int, size_gib: int) -> None:
    """`BackendState.consume_from_volume`: a volume's full size, thin or not."""
    p = s.pools[pool]
    p.seen_allocated += size_gib
    p.seen_provisioned += size_gib
    p.seen_free -= size_gib


@repeats(
    "cinder.scheduler.host_manager:BackendState",
    "update_backend",
    "update_capabilities",
    "update_from_volume_capability",
    "update_pools",
    "_append_backend_info",
)
@repeats("cinder.scheduler.host_manager:PoolState", "update_from_volume_capability")
@repeats(
    "cinder.scheduler.host_manager:HostManager", "update_service_capabilities", "_update_backend_state_map"
)
@compiled
def refresh(s: State, pool: int) -> None:
    """`PoolState.update_from_volume_capability`: the last report, unless something was placed since."""
    keep_report(s, pool)
    p = s.pools[pool]
    reported_us = s.backends[p.backend].reported_us
    if p.seen_us > reported_us:
        return
    p.seen_us = reported_us
    p.seen_free = p.capacity - p.reported_physical
    p.seen_provisioned = p.reported_provisioned
    p.seen_allocated = p.reported_allocated


@repeats("cinder.scheduler.filters.capacity_filter:CapacityFilter", "backend_passes")
@repeats("cinder.scheduler.sched_utils", "calculate_max_over_subscription_ratio")
@inlined
def passes(s: State, pool: int, size_gib: int) -> bool:
    """`CapacityFilter.backend_passes`."""
    p = s.pools[pool]
    if p.capacity == math.inf:
        return True
    b = s.backends[p.backend]
    if b.thin and (p.seen_provisioned + size_gib) / p.available_rounded > b.ratio:
        return False
    p.free = free_capacity(s, pool)
    return p.free >= size_gib


@repeats("cinder.scheduler.sched_utils", "calculate_virtual_free_capacity")
@compiled
def free_capacity(s: State, pool: int) -> float:
    """`sched_utils.calculate_virtual_free_capacity` of a pool whose capacity is finite."""
    p = s.pools[pool]
    free = p.available - p.seen_provisioned
    if not s.backends[p.backend].thin and p.seen_free < free:
        free = p.seen_free
    return two_decimals(free)


@repeats("cinder.scheduler.sched_utils", "calculate_capacity_factors")
def available_gib(capacity_gib: float, reserved: int, ratio: float, thin: bool) -> float:
    """`total_available_capacity` of `sched_utils.calculate_capacity_factors`; `reserved` is a percentage."""
    unreserved = capacity_gib - math.floor(capacity_gib * (reserved / 100))
    return unreserved * ratio if thin else unreserved


@compiled
def two_decimals(x: float) -> float:
    """Python's `round(x, 2)`, which rounds the exact binary value, halves to even."""
    product = x * 100.0
    if abs(product) >= 2.0**52 or x == int(x):
        return x
    # 100 x is exactly product + rest (Dekker 1971): the parts of x times 100 are exact.
    split = x * 134217729.0
    high = split - (split - x)
    rest = (high * 100.0 - product) + (x - high) * 100.0
    whole = math.floor(product)
    above = (product - whole) - 0.5
    if above + rest > 0 or (above + rest == 0 and whole % 2 == 1):
        whole += 1
    return whole / 100.0
