"""The image-volume cache: look-ups, staleness, making room, and which entry goes.

Repeats `ImageVolumeCache` (cinder/image/cache.py) over the database calls that it makes. The policies but
LRU are what-ifs; sim/cinder/policies.py has them as changes to Cinder's class.
"""

from __future__ import annotations

from typing import Any

from sim.fast.events import BEGIN_IMAGE_DELETE, cast, read_clock
from sim.fast.jit import compiled, inlined
from sim.fast.rules import cache_refuses
from sim.fast.state import BELADY, EVICTED, GDSF, LRU, MADE, NONE, SIEVE, STALE, State
from sim.model.repeats import repeats

NEVER = 2**62
UNLIMITED = 2**62  # what Cinder's limit 0 means


@repeats("cinder.image.cache:ImageVolumeCache", "get_entry", "_get_query_filters", "_should_update_entry")
@repeats("cinder.db.api", "image_volume_cache_get_and_update_last_used")
@compiled
def look_up_or_drop(s: State, v: int, across: bool) -> int:
    """`get_entry`: the slot of the image-volume to clone from, or NONE. A stale entry is dropped.

    `across`: the look-up is on all pools of the cloud, if the driver clones across pools.

    On demand, image-volumes are locations in the store, and there are no entries.
    """
    r = s.volumes[v]
    if s.options[0].on_demand:
        return location(s, r.image, r.pool, r.project, False)
    cache_across = s.backends[s.pools[r.pool].backend].cache_across
    entry = last_used(s, r.pool, r.image, across and cache_across)
    if entry == NONE:
        return NONE
    e = s.entries[entry]
    e.last_used_us = read_clock(s)
    if s.pools[e.pool].last_used == entry:
        count_use(s, entry)
    else:
        leave_uses(s, entry)
        join_uses(s, entry)
    if e.version != r.version:
        delete_cached_volume(s, v, entry, STALE)
        return NONE
    e.visited = True
    e.look_ups += 1
    if s.options[0].eviction == GDSF:
        e.priority = priority_of(s, entry)
    return e.slot


@repeats("cinder.image.cache:ImageVolumeCache", "_get_query_filters")
@repeats("cinder.db.api", "image_volume_cache_get_and_update_last_used")
@compiled
def last_used(s: State, pool: int, image: int, across: bool) -> int:
    """The entry of an image that was used last, in a pool or `across` all pools, or NONE."""
    entry = s.entry_of[pool, image]
    if across:
        for each in range(len(s.pools)):
            other = s.entry_of[each, image]
            if other != NONE and (entry == NONE or s.entries[other].uses > s.entries[entry].uses):
                entry = other
    return entry


@repeats("cinder.image.cache:ImageVolumeCache", "delete_cached_volume")
@compiled
def delete_cached_volume(s: State, v: int, entry: int, event: int) -> None:
    """`delete_cached_volume`: drop the entry at once (`volume.API.delete`); its volume's delete follows."""
    slot = s.entries[entry].slot
    drop_entry(s, v, entry, event)
    cast(s, BEGIN_IMAGE_DELETE, slot, NONE)


@repeats("cinder.volume.api:API", "delete")
@repeats("cinder.image.cache:ImageVolumeCache", "get_by_image_volume", "evict")
@repeats("cinder.db.api", "image_volume_cache_delete")
@compiled
def drop_entry(s: State, v: int, entry: int, event: int) -> None:
    """`volume.API.delete` of an entry's image-volume, without the cast to the volume service."""
    read_clock(s)
    e = s.entries[entry]
    note(s, v, e.pool, e.image, event, e.size_gib, 0)
    s.slots[e.slot].deleting = True
    p = s.pools[e.pool]
    if p.hand == entry:
        p.hand = e.newer
    leave_uses(s, entry)
    leave_ages(s, entry)
    leave_same(s, entry)
    p.entries -= 1
    p.cache_gib -= e.size_gib
    s.world[0].entries -= 1
    e.older = s.world[0].free_entry
    s.world[0].free_entry = entry


@repeats("cinder.image.cache:ImageVolumeCache", "__init__", "ensure_space")
@repeats("cinder.db.api", "image_volume_cache_get_all")
@compiled
def ensure_space(s: State, v: int) -> bool:
    """`ensure_space`: make room for a volume of the request's present size. Returns whether it fits."""
    r = s.volumes[v]
    b = s.backends[s.pools[r.pool].backend]
    if b.max_size_gb == 0 and b.max_count == 0:
        b.size_from = b.count_from = UNLIMITED
        return True
    if refuses(b, r.size_gib):
        return False
    first, last = r.pool, r.pool
    if s.options[0].limits_per_backend:
        first, last = b.first_pool, b.first_pool + b.pools - 1
    count = cache_gib = 0
    for pool in range(first, last + 1):
        count += s.pools[pool].entries
        cache_gib += s.pools[pool].cache_gib
    while count > 0 and over(b, cache_gib + r.size_gib, count + 1):
        entry = victim(s, r.pool) if first == last else least_used(s, first, last, NONE)
        count -= 1
        cache_gib -= s.entries[entry].size_gib
        delete_cached_volume(s, v, entry, EVICTED)
    return True


@repeats("cinder.image.cache:ImageVolumeCache", "ensure_space")
@compiled
def over(b: Any, cache_gib: int, count: int) -> bool:
    """Whether a cache is over its limits.

    All that a run asks of its limits is whether they are below something: here, and in `refuses`. So a run
    with other limits is the same, step by step, if every answer is. That holds for sizes of `size_from` and
    more, but less than `size_below`, with counts that are so too.
    """
    if b.max_count > 0 and count > b.max_count:
        b.count_below = min(b.count_below, count)
        return True
    if b.max_size_gb > 0 and cache_gib > b.max_size_gb:
        b.size_below = min(b.size_below, cache_gib)
        return True
    b.size_from = max(b.size_from, cache_gib)
    b.count_from = max(b.count_from, count)
    return False


@compiled
def refuses(b: Any, size_gib: int) -> bool:
    """`cache_refuses` with a backend's limit of size."""
    if cache_refuses(size_gib, b.max_size_gb):
        b.size_below = min(b.size_below, size_gib)
        return True
    b.size_from = max(b.size_from, size_gib)
    return False


@repeats("cinder.image.cache:ImageVolumeCache", "create_cache_entry")
@repeats("cinder.db.api", "image_volume_cache_create")
@compiled
def create_entry(s: State, v: int, slot: int) -> None:
    """`create_cache_entry`: the volume in `slot` is what later creates are cloned from."""
    r = s.volumes[v]
    add_entry(s, r.pool, r.image, r.version, slot, r.size_gib, read_clock(s))
    note(s, v, r.pool, r.image, MADE, r.size_gib, 0)


@compiled
def add_entry(s: State, pool: int, image: int, version: int, slot: int, size_gib: int, used_us: int) -> None:
    """Add an entry, as the last used of its host."""
    w, p = s.world[0], s.pools[pool]
    entry = w.free_entry
    if entry == NONE:
        entry = w.used_entries
        w.used_entries += 1
    else:
        w.free_entry = s.entries[entry].older
    e = s.entries[entry]
    e.pool, e.image, e.version, e.slot, e.size_gib = pool, image, version, slot, size_gib
    e.last_used_us, e.visited, e.look_ups = used_us, False, 0
    e.priority = priority_of(s, entry)
    e.same = s.entry_of[pool, image]
    s.entry_of[pool, image] = entry
    join_uses(s, entry)
    e.older, e.newer = p.newest, NONE
    if p.newest == NONE:
        p.oldest = entry
    else:
        s.entries[p.newest].newer = entry
    p.newest = entry
    p.entries += 1
    p.cache_gib += size_gib
    w.entries += 1
    if p.first_entry == NONE:
        w.stamp += 1
        p.first_entry = w.stamp


@compiled
def note(s: State, v: int, pool: int, image: int, event: int, size_gib: int, reason: int) -> None:
    """Note an event of the cache that happened during a request."""
    w = s.world[0]
    row = s.cache_events[w.cache_events]
    row.time, row.row, row.pool, row.image = w.now, s.volumes[v].row, pool, image
    row.size_gib, row.event, row.reason = size_gib, event, reason
    w.cache_events += 1


# -- locations in the Cinder store ------------------------------------------------------------------


@compiled
def add_location(s: State, image: int, slot: int) -> None:
    """Make the volume in a slot the last of an image's locations."""
    s.world[0].stamp += 1
    s.slots[slot].located = s.world[0].stamp
    last = s.images[image].first_location
    if last == NONE:
        s.images[image].first_location = slot
        return
    while s.slots[last].next != NONE:
        last = s.slots[last].next
    s.slots[last].next = slot


@repeats(
    "cinder.volume.flows.manager.create_volume:CreateVolumeFromSpecTask",
    "_clone_image_volume",
    "_extract_cinder_ids",
)
@repeats("cinder.db.api", "volume_get_all")
@inlined
def location(s: State, image: int, pool: int, project: int, across: bool) -> int:
    """The slot of an image's newest raw location that a project may clone, or NONE.

    It is in a pool or, `across`, in any.
    """
    i = s.images[image]
    newest = NONE
    if i.deleted:
        return newest
    raw = i.raw and i.bare
    slot = i.first_location
    while slot != NONE:
        d = s.slots[slot]
        mine = not d.foreign or (project == i.owner and project != NONE)
        may = d.there and (across or d.pool == pool) and (raw or d.marked) and mine
        if may and (newest == NONE or d.made > s.slots[newest].made):
            newest = slot
        slot = d.next
    return newest


@repeats("cinder.volume.flows.manager.create_volume:CreateVolumeFromSpecTask", "_create_from_image")
@compiled
def caches(s: State, v: int) -> bool:
    """Whether a miss is to leave an image-volume: in the cache, or, on demand, in the store."""
    r = s.volumes[v]
    if s.options[0].on_demand:
        return s.images[r.image].raw and s.images[r.image].bare and not r.encrypted
    return s.backends[s.pools[r.pool].backend].cache and not r.encrypted


# -- entries by use and by age -----------------------------------------------------------------------


@compiled
def join_uses(s: State, entry: int) -> None:
    e = s.entries[entry]
    p = s.pools[e.pool]
    count_use(s, entry)
    e.less_used, e.more_used = p.last_used, NONE
    if p.last_used == NONE:
        p.least_used = entry
    else:
        s.entries[p.last_used].more_used = entry
    p.last_used = entry


@compiled
def count_use(s: State, entry: int) -> None:
    s.world[0].stamp += 1
    s.entries[entry].uses = s.world[0].stamp


@compiled
def leave_uses(s: State, entry: int) -> None:
    e = s.entries[entry]
    p = s.pools[e.pool]
    if e.less_used == NONE:
        p.least_used = e.more_used
    else:
        s.entries[e.less_used].more_used = e.more_used
    if e.more_used == NONE:
        p.last_used = e.less_used
    else:
        s.entries[e.more_used].less_used = e.less_used


@compiled
def leave_same(s: State, entry: int) -> None:
    """Take an entry off the list of its image's entries in its pool."""
    e = s.entries[entry]
    before = s.entry_of[e.pool, e.image]
    if before == entry:
        s.entry_of[e.pool, e.image] = e.same
        return
    while s.entries[before].same != entry:
        before = s.entries[before].same
    s.entries[before].same = e.same


@compiled
def leave_ages(s: State, entry: int) -> None:
    e = s.entries[entry]
    p = s.pools[e.pool]
    if e.older == NONE:
        p.oldest = e.newer
    else:
        s.entries[e.older].newer = e.newer
    if e.newer == NONE:
        p.newest = e.older
    else:
        s.entries[e.newer].older = e.older


# -- which entry goes --------------------------------------------------------------------------------


@repeats("cinder.image.cache:ImageVolumeCache", "ensure_space")
@compiled
def victim(s: State, pool: int) -> int:
    """The entry that `ensure_space` gives up next."""
    eviction = s.options[0].eviction
    if eviction == LRU:
        return s.pools[pool].least_used
    if eviction == SIEVE:
        return unvisited(s, pool)
    return farthest(s, pool) if eviction == BELADY else cheapest(s, pool)


@compiled
def farthest(s: State, pool: int) -> int:
    """Belady: the entry whose image is next asked for last; among equals, the least recently used."""
    chosen = entry = s.pools[pool].least_used
    latest = -1
    while entry != NONE:
        use = next_use(s, pool, s.entries[entry].image)
        if use > latest:
            chosen, latest = entry, use
        entry = s.entries[entry].more_used
    return chosen


@compiled
def cheapest(s: State, pool: int) -> int:
    """GDSF: the entry of the lowest priority; among equals, the least recently used."""
    chosen = entry = s.pools[pool].least_used
    while entry != NONE:
        if s.entries[entry].priority < s.entries[chosen].priority:
            chosen = entry
        entry = s.entries[entry].more_used
    s.pools[pool].inflation = s.entries[chosen].priority
    return chosen


@compiled
def least_used(s: State, first: int, last: int, but: int) -> int:
    """The least recently used entry of some pools, or NONE. Among equals, the last pool's.

    The entry of slot `but` is spared.
    """
    chosen = NONE
    for pool in range(first, last + 1):
        entry = s.pools[pool].least_used
        if entry != NONE and s.entries[entry].slot == but:
            entry = s.entries[entry].more_used
        if entry != NONE and (
            chosen == NONE or s.entries[entry].last_used_us <= s.entries[chosen].last_used_us
        ):
            chosen = entry
    return chosen


@compiled
def unvisited(s: State, pool: int) -> int:
    """SIEVE (Zhang et al., NSDI 2024): from the hand on, the first that was not looked up since."""
    p = s.pools[pool]
    entry = p.oldest if p.hand == NONE else p.hand
    while s.entries[entry].visited:
        s.entries[entry].visited = False
        entry = s.entries[entry].newer
        if entry == NONE:
            entry = p.oldest
    p.hand = s.entries[entry].newer
    return entry


@compiled
def priority_of(s: State, entry: int) -> float:
    """GDSF (Cherkasova, HPL-98-69) with equal costs: a create that hits looks up twice."""
    e = s.entries[entry]
    return s.pools[e.pool].inflation + (1.0 + e.look_ups / 2.0) * 1e6 / e.size_gib


@compiled
def next_use(s: State, pool: int, image: int) -> int:
    """The next position in the trace at which a create of the image runs on the host or may; else NEVER."""
    images, pools, zones = len(s.images), s.options[0].pools, len(s.zone_breaks)
    first = next_of(s, pool * images + image)
    for tier in range(s.options[0].tiers):
        if s.serves[s.pools[pool].backend, tier]:
            place = pools + tier * zones + s.pools[pool].zone
            first = min(first, next_of(s, place * images + image))
    return first


@compiled
def next_of(s: State, key: int) -> int:
    """The first use under a key that has not happened yet."""
    use = s.next_use[key]
    while use < s.use_start[key + 1] and s.uses[use] < s.world[0].happened:
        use += 1
    s.next_use[key] = use
    return s.uses[use] if use < s.use_start[key + 1] else NEVER
