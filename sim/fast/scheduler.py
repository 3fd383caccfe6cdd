"""Placement: Cinder's `FilterScheduler` with `CapacityFilter` and `CapacityWeigher`.

The scheduler's picture of a pool is its backend's last report, less what was placed since
(`HostManager`, `BackendState.consume_from_volume`).
"""

from __future__ import annotations

import math

from sim.fast.events import read_clock
from sim.fast.jit import compiled
from sim.fast.state import NONE, State

INFINITE = -1.0  # what CapacityWeigher gives a pool without a capacity


@compiled
def report(s: State, backend: int) -> None:
    """`VolumeManager.publish_service_capabilities`."""
    b = s.backends[backend]
    b.reported_us = read_clock(s)
    if not s.options[0].schedules:
        return
    for pool in range(b.first_pool, b.first_pool + b.pools):
        p = s.pools[pool]
        p.reported_physical = p.physical
        p.reported_provisioned = p.provisioned
        p.reported_allocated = p.allocated


@compiled
def choose(s: State, v: int) -> int:
    """`FilterScheduler._schedule`: the pool for a volume, already counted there; NONE if none passes."""
    r = s.volumes[v]
    if r.last_pool != NONE:  # `HostManager.revert_volume_consumed_capacity`
        consume(s, r.last_pool, -r.asked_gib)
    first, end = s.tier_start[r.tier], s.tier_start[r.tier + 1]
    low, high, passing = math.inf, -math.inf, 0
    for place in range(first, end):
        pool = s.tier_pools[place]
        refresh(s, pool)
        s.weights[place] = math.nan
        if passes(s, pool, r.asked_gib):
            weight = weigh(s, pool)
            s.weights[place] = weight
            low, high = min(low, weight), max(high, weight)
            passing += 1
    if passing == 0:
        return NONE
    chosen, best = NONE, -math.inf
    for place in range(first, end):  # `base_weight.normalize`; the first of equals wins
        if math.isnan(s.weights[place]):
            continue
        weight = 0.0 if low == high else (s.weights[place] - low) / (high - low)
        if weight > best:
            chosen, best = s.tier_pools[place], weight
    consume(s, chosen, r.asked_gib)
    s.pools[chosen].seen_us = read_clock(s)
    return chosen


@compiled
def consume(s: State, pool: int, size_gib: int) -> None:
    """`BackendState.consume_from_volume`: a volume's full size, thin or not."""
    p = s.pools[pool]
    p.seen_allocated += size_gib
    p.seen_provisioned += size_gib
    p.seen_free -= size_gib


@compiled
def refresh(s: State, pool: int) -> None:
    """`PoolState.update_from_volume_capability`: the last report, unless something was placed since."""
    p = s.pools[pool]
    reported_us = s.backends[p.backend].reported_us
    if p.seen_us > reported_us:
        return
    p.seen_us = reported_us
    p.seen_free = p.capacity - p.reported_physical
    p.seen_provisioned = p.reported_provisioned
    p.seen_allocated = p.reported_allocated


@compiled
def passes(s: State, pool: int, size_gib: int) -> bool:
    """`CapacityFilter.backend_passes`."""
    p = s.pools[pool]
    if p.capacity == math.inf:
        return True
    b = s.backends[p.backend]
    if b.thin and (p.seen_provisioned + size_gib) / two_decimals(available(s, pool)) > b.ratio:
        return False
    return weigh(s, pool) >= size_gib


@compiled
def weigh(s: State, pool: int) -> float:
    """`CapacityWeigher._weigh_object`: the pool's virtual free capacity."""
    p = s.pools[pool]
    if p.capacity == math.inf:
        return INFINITE
    free = available(s, pool) - p.seen_provisioned
    if not s.backends[p.backend].thin and p.seen_free < free:
        free = p.seen_free
    return two_decimals(free)


@compiled
def available(s: State, pool: int) -> float:
    """`total_available_capacity` of `sched_utils.calculate_capacity_factors`."""
    p = s.pools[pool]
    b = s.backends[p.backend]
    unreserved = p.capacity - math.floor(p.capacity * (b.reserved / 100))
    return unreserved * b.ratio if b.thin else unreserved


@compiled
def two_decimals(x: float) -> float:
    """Python's `round(x, 2)`, which rounds the exact binary value, halves to even."""
    product = x * 100.0
    if abs(product) >= 2.0**52:
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
