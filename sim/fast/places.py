"""Places on an array that image-volumes give back: deletes, and evictions for a user's volume."""

from __future__ import annotations

from sim.fast.arrays import begin_delete, cached, end_delete, has_place
from sim.fast.cache import drop_entry, least_used
from sim.fast.events import BEGIN_IMAGE_DELETE, END_IMAGE_DELETE, later
from sim.fast.jit import compiled
from sim.fast.nodes import allocate, count_row
from sim.fast.quotas import give_back
from sim.fast.reports import report
from sim.fast.state import CACHE, FOR_USER, NONE, State, Step
from sim.fast.threads import GRANTED, give_thread, take_thread
from sim.fast.usage import orphan
from sim.model.repeats import repeats
from sim.model.rules import ARRAY_FULL, BUSY, POOL_FULL


@compiled
def make_place(s: State, v: int, error: int) -> tuple[bool, float]:
    """Evict for a user's create that an array refused with `error` (`what_if.evict_for_users`).

    Whether an entry was evicted, so that the step is tried again, and the seconds until its volume is gone.
    """
    note_cache_held(s, v)
    r = s.volumes[v]
    b = s.backends[s.pools[r.pool].backend]
    users = s.options[0].evict_for_users and r.holds == NONE  # not the store's
    if not users or not b.cache or (error != POOL_FULL and error != ARRAY_FULL):
        return False, 0.0
    first, last = r.pool, r.pool
    if error == ARRAY_FULL:
        first, last = b.first_pool, b.first_pool + b.pools - 1
    entry = least_used(s, first, last, cloned(s, v))
    if entry == NONE:
        return False, 0.0
    slot = s.entries[entry].slot
    drop_entry(s, v, entry, FOR_USER)
    error, seconds = begin_image_delete(s, slot, NONE)
    return error == 0, seconds


@compiled
def note_cache_held(s: State, v: int) -> None:
    """The array refused a step on the user's volume: note whether the cache holds places (for findings)."""
    r = s.volumes[v]
    r.cache_held = 0 if has_place(s, r.pool) else cached(s, r.pool)


@compiled
def cloned(s: State, v: int) -> int:
    """The slot of the volume that a create is cloned from. NONE if there is none, or if it is gone."""
    r = s.volumes[v]
    if r.cloned == NONE or not s.slots[r.cloned].there or s.slots[r.cloned].serial != r.cloned_serial:
        return NONE
    return r.cloned


@compiled
def image_delete_message(s: State, slot: int, granted: bool) -> None:
    """A message to delete an image-volume, which waits for a thread."""
    pool, node = s.slots[slot].pool, s.slots[slot].node
    if granted or take_thread(s, pool, node, BEGIN_IMAGE_DELETE, slot):
        error, seconds = begin_image_delete(s, slot, GRANTED)
        if error != 0 or seconds == 0:
            give_thread(s, pool, node)


@compiled
def image_delete_over(s: State, slot: int, thread: int) -> None:
    """The time of a delete has passed; `thread`: GRANTED, or NONE if a create deletes it by itself."""
    pool, node = s.slots[slot].pool, s.slots[slot].node
    end_image_delete(s, slot)
    if thread == GRANTED:
        give_thread(s, pool, node)


@repeats("cinder.volume.manager:VolumeManager", "delete_volume")
@compiled
def begin_image_delete(s: State, slot: int, thread: int) -> Step:
    """`VolumeManager.delete_volume` of an image-volume. A busy one stays; one of the cache is an orphan."""
    error, seconds = begin_delete(s, slot)
    if error == BUSY:
        d = s.slots[slot]
        d.deleting = False
        if d.kind == CACHE:
            orphan(s, d.pool, d.tier)
    elif seconds > 0:
        later(s, seconds, END_IMAGE_DELETE, slot, thread)
    else:
        end_image_delete(s, slot)
    return error, seconds


@repeats("cinder.volume.manager:VolumeManager", "delete_volume", "_update_allocated_capacity")
@compiled
def end_image_delete(s: State, slot: int) -> None:
    d = s.slots[slot]
    pool, node, size_gib = d.pool, d.node, d.size_gib
    give_back(s, d.tenant, d.tier, size_gib)
    end_delete(s, slot)
    allocate(s, pool, node, -size_gib)
    count_row(s, pool, node, -1)
    report(s, s.pools[pool].backend, node)
