"""One create, step by step: `VolumeManager.create_volume` and `CreateVolumeFromSpecTask`.

A request is in a phase; `go_on` runs phases until one takes time or waits. Each function of a phase returns
whether the request goes on at once. What Cinder does in nested calls and `finally` clauses is here the order
of the phases:

    ATTEMPT  the driver's own clone, else STORE, else CACHE (the image's lock), LOCKED, LOOK (clone or
    DOWNLOAD), FETCHING (on Glance's stream), FETCHED, CREATED, WRITING, WRITTEN, FILLED, EXTEND (to the size
    asked for), UNLOCK, FINISH; a failure ends the attempt, perhaps to be scheduled again.
"""

from __future__ import annotations

from sim.fast.arrays import (
    begin_delete,
    cached,
    clone,
    clone_from_glance,
    create,
    end_delete,
    extend,
    find,
    has_place,
    write,
)
from sim.fast.cache import create_entry, delete_cached_volume, ensure_space, look_up, note
from sim.fast.events import (
    END_LEFTOVER_DELETE,
    RESUME,
    SCHEDULE,
    USER_DELETES,
    acquire_lock,
    cast,
    give_stream_back,
    later,
    read_clock,
    release_lock,
    take_stream,
)
from sim.fast.jit import compiled
from sim.fast.scheduler import BREAKS, choose, report
from sim.fast.state import (
    AT_CLONE_LIMIT,
    BROKEN,
    CACHE,
    CLONE_LIMIT,
    COPY,
    DOWNLOAD,
    FROM_CACHE,
    FROM_DRIVER,
    FROM_STORE,
    IMAGE_GONE,
    NO_MAXIMUM,
    NO_SOURCE,
    NONE,
    OVER_QUOTA,
    REFUSED,
    SKIPPED,
    USER,
    State,
)

ATTEMPT, DRIVER_CLONED, STORE_LOOK, STORE_CLONED, CACHE_LOCK, LOCKED, LOOK, CACHE_CLONED = range(8)
FETCHING, FETCHED, CREATED, WRITING, WRITTEN, FILLED, EXTEND, EXTENDED, UNLOCK, FINISH = range(8, 18)


@compiled
def go_on(s: State, v: int) -> None:
    """Run a request until it waits or is over."""
    while step(s, v):
        pass


@compiled
def step(s: State, v: int) -> bool:
    r = s.volumes[v]
    phase = r.phase
    if phase == ATTEMPT:
        return attempt(s, v)
    if phase == STORE_LOOK:
        return clone_from_store(s, v)
    if phase == CACHE_LOCK:
        return lock(s, v)
    if phase == LOCKED:
        return locked(s, v)
    if phase == LOOK:
        return clone_from_cache(s, v)
    if phase == FETCHING:
        return fetch(s, v)
    if phase == FETCHED:
        return fetched(s, v)
    if phase == CREATED:
        return copy_image(s, v)
    if phase == WRITING:
        return write_image(s, v)
    if phase == WRITTEN:
        return written(s, v)
    if phase == FILLED:
        return filled(s, v)
    if phase == EXTEND:
        return extend_back(s, v)
    if phase == EXTENDED:
        r.size_gib = r.asked_gib
        return next_phase(s, v, UNLOCK, 0.0)
    if phase == UNLOCK:
        return unlock(s, v)
    if phase == DRIVER_CLONED:
        r.source = FROM_DRIVER
    elif phase == STORE_CLONED:
        r.source = FROM_STORE
    elif phase == CACHE_CLONED:
        r.source = FROM_CACHE
        return next_phase(s, v, UNLOCK, 0.0)
    return finish(s, v)


@compiled
def next_phase(s: State, v: int, phase: int, seconds: float) -> bool:
    """Go to a phase: at once, or when `seconds` have passed."""
    s.volumes[v].phase = phase
    if seconds > 0:
        later(s, seconds, RESUME, v, NONE)
        return False
    return True


@compiled
def schedule(s: State, v: int) -> None:
    """`ScheduleCreateVolumeTask`: place a volume and start the attempt, or end the create."""
    r = s.volumes[v]
    o = s.options[0]
    if o.max_attempts > 1:  # `FilterScheduler._populate_retry`
        r.tries += 1
    if r.tries <= o.max_attempts and not o.scheduler_breaks:
        pool = choose(s, v)
        if pool == BREAKS:
            r.error = NO_MAXIMUM
        elif pool != NONE:
            read_clock(s)  # `volume_update_db`
            r.pool = pool
            s.pools[pool].rows += 1
            if o.max_attempts > 1:
                r.last_pool = pool
            r.phase = ATTEMPT
            go_on(s, v)
            return
    if o.scheduler_breaks:
        r.error = BROKEN
    end(s, v, False)


@compiled
def attempt(s: State, v: int) -> bool:
    """`VolumeManager.create_volume`, `ExtractVolumeSpecTask` and the start of `_create_from_image`."""
    r = s.volumes[v]
    r.attempts += 1
    r.failed = False
    p = s.pools[r.pool]
    b = s.backends[p.backend]
    p.allocated += r.size_gib
    if r.image == NONE:  # `_create_raw_volume`
        seconds = create(s, v, r.pool, r.size_gib, USER, r.tier)
        if seconds < 0:
            return fail(s, v, int(-seconds))
        return next_phase(s, v, FINISH, seconds)
    i = s.images[r.image]
    if i.deleted:
        fails_with(s, v, IMAGE_GONE)
        return give_up(s, v)
    r.version = i.version
    if b.driver_clones_raw and i.raw and not r.encrypted:  # `driver.clone_image`
        seconds = clone_from_glance(s, v, r.pool, r.size_gib, r.tier, r.image, r.version)
        if seconds < 0:
            return fail(s, v, int(-seconds))
        return next_phase(s, v, DRIVER_CLONED, seconds)
    if s.options[0].uses_store and i.raw and i.bare and not r.encrypted:
        return next_phase(s, v, STORE_LOOK, 0.0)
    return next_phase(s, v, CACHE_LOCK, 0.0)


@compiled
def clone_from_store(s: State, v: int) -> bool:
    """`_clone_image_volume`: an image-volume of the Cinder store in the same pool; failures pass."""
    r = s.volumes[v]
    slot = s.images[r.image].first_location
    while slot != NONE and not (s.slots[slot].there and s.slots[slot].pool == r.pool):
        slot = s.slots[slot].next
    if slot != NONE:
        seconds = clone(s, slot, v, r.pool, r.size_gib, USER, r.tier)
        if seconds >= 0:
            return next_phase(s, v, STORE_CLONED, seconds)
        refused(s, v)
    return next_phase(s, v, CACHE_LOCK, 0.0)


@compiled
def lock(s: State, v: int) -> bool:
    """`_create_from_image`: with a cache, `_prepare_image_cache_entry` first, under the image's lock."""
    r = s.volumes[v]
    r.fills = r.locks = False
    b = s.backends[s.pools[r.pool].backend]
    if not b.cache or r.encrypted:
        return next_phase(s, v, LOOK, 0.0)
    r.locks = True
    r.phase = LOCKED
    r.since = s.world[0].now
    return acquire_lock(s, v, b.node)


@compiled
def locked(s: State, v: int) -> bool:
    """`_prepare_image_cache_entry`: with an entry the lock is given up at once, else kept for the fill."""
    r = s.volumes[v]
    r.lock_wait_s += s.world[0].now - r.since
    if look_up(s, v) != NONE:
        r.locks = False
        release_lock(s, v, s.backends[s.pools[r.pool].backend].node)
    else:
        r.fills = True
    return next_phase(s, v, LOOK, 0.0)


@compiled
def clone_from_cache(s: State, v: int) -> bool:
    """`_create_from_image_cache_or_download`: `_create_from_image_cache`, or the start of a download."""
    r = s.volumes[v]
    b = s.backends[s.pools[r.pool].backend]
    if b.cache and not r.encrypted:
        entry = look_up(s, v)
        if entry != NONE:
            seconds = clone(s, s.entries[entry].slot, v, r.pool, r.size_gib, USER, r.tier)
            if seconds >= 0:
                return next_phase(s, v, CACHE_CLONED, seconds)
            refused(s, v)
            if -seconds == CLONE_LIMIT:
                delete_cached_volume(s, v, entry, AT_CLONE_LIMIT)
                fails_with(s, v, CLONE_LIMIT)
                return next_phase(s, v, UNLOCK, 0.0)
    r.phase = FETCHING  # `TemporaryImages.fetch`
    r.since = s.world[0].now
    if s.images[r.image].fetch_s < 0:
        return next_phase(s, v, FETCHED, 0.0)
    return take_stream(s, s.world[0], s.options[0].streams, v)


@compiled
def fetch(s: State, v: int) -> bool:
    """On one of Glance's streams."""
    r = s.volumes[v]
    r.stream_wait_s += s.world[0].now - r.since
    return next_phase(s, v, FETCHED, s.images[r.image].fetch_s)


@compiled
def fetched(s: State, v: int) -> bool:
    """`_create_from_image_download`: the volume, to fill the cache at the image's minimal size."""
    r = s.volumes[v]
    if s.images[r.image].fetch_s >= 0:
        give_stream_back(s, s.world[0], s.options[0].streams, NONE)
    if r.fills:
        r.size_gib = s.images[r.image].virtual_gib
    seconds = create(s, v, r.pool, r.size_gib, USER, r.tier)
    if seconds < 0:
        refused(s, v)
        fails_with(s, v, int(-seconds))
        return next_phase(s, v, EXTEND, 0.0)
    return next_phase(s, v, CREATED, seconds)


@compiled
def copy_image(s: State, v: int) -> bool:
    """`copy_image_to_volume`: take the space and one of the backend's write streams."""
    r = s.volumes[v]
    backend = s.pools[r.pool].backend
    seconds = write(s, find(s, v, backend), r.image, False, r.version)
    if seconds < 0:
        refused(s, v)
        fails_with(s, v, int(COPY - seconds))
        return next_phase(s, v, EXTEND, 0.0)
    r.phase = WRITING
    return take_stream(s, s.backends[backend], s.backends[backend].write_streams, v)


@compiled
def write_image(s: State, v: int) -> bool:
    """Convert and write."""
    r = s.volumes[v]
    return next_phase(s, v, WRITTEN, s.write_s[r.image, s.pools[r.pool].backend])


@compiled
def written(s: State, v: int) -> bool:
    """`_create_image_cache_volume_entry`: room, quota, and a clone of the user's new volume."""
    r = s.volumes[v]
    backend = s.pools[r.pool].backend
    b, w, o = s.backends[backend], s.world[0], s.options[0]
    give_stream_back(s, b, b.write_streams, backend)
    r.source = DOWNLOAD
    if not r.fills or look_up(s, v) != NONE:
        return next_phase(s, v, EXTEND, 0.0)
    if not ensure_space(s, v):
        return not_filled(s, v, REFUSED)
    if w.quota_volumes + 1 > o.quota_volumes or w.quota_gigabytes + r.size_gib > o.quota_gigabytes:
        return not_filled(s, v, OVER_QUOTA)
    w.quota_volumes += 1
    w.quota_gigabytes += r.size_gib
    s.pools[r.pool].allocated += r.size_gib
    s.pools[r.pool].rows += 1
    seconds = clone(s, find(s, v, backend), NONE, r.pool, r.size_gib, CACHE, r.tier)
    if seconds < 0:  # its row is deleted again, as if it were a volume
        w.quota_volumes -= 1
        w.quota_gigabytes -= r.size_gib
        s.pools[r.pool].allocated -= r.size_gib
        s.pools[r.pool].rows -= 1
        report(s, backend)
        return not_filled(s, v, int(-seconds))
    r.fill = w.made
    return next_phase(s, v, FILLED, seconds)


@compiled
def not_filled(s: State, v: int, reason: int) -> bool:
    r = s.volumes[v]
    note(s, v, r.image, SKIPPED, r.size_gib, reason)
    return next_phase(s, v, EXTEND, 0.0)


@compiled
def filled(s: State, v: int) -> bool:
    """The image-volume is there (`CreateVolumeOnFinishTask`): enter it."""
    read_clock(s)
    create_entry(s, v, s.volumes[v].fill)
    return next_phase(s, v, EXTEND, 0.0)


@compiled
def extend_back(s: State, v: int) -> bool:
    """The `finally` of `_create_from_image_cache_or_download`: the size asked for, on failures too."""
    r = s.volumes[v]
    if r.size_gib == r.asked_gib:
        return next_phase(s, v, UNLOCK, 0.0)
    seconds = extend(s, v, r.pool, r.asked_gib)
    if seconds < 0:
        refused(s, v)
        fails_with(s, v, int(-seconds))
    return next_phase(s, v, EXTENDED, seconds)


@compiled
def unlock(s: State, v: int) -> bool:
    """The end of `_prepare_image_cache_entry`, or of a create without it."""
    r = s.volumes[v]
    if r.locks:
        r.locks = False
        release_lock(s, v, s.backends[s.pools[r.pool].backend].node)
    if r.failed:
        return give_up(s, v)
    return next_phase(s, v, FINISH, 0.0)


@compiled
def finish(s: State, v: int) -> bool:
    """`CreateVolumeOnFinishTask`."""
    read_clock(s)
    end(s, v, True)
    return False


# -- failures ----------------------------------------------------------------------------------------


@compiled
def refused(s: State, v: int) -> None:
    """The array refused a step on the user's volume: note whether the cache holds places (for findings)."""
    r = s.volumes[v]
    r.cache_held = 0 if has_place(s, r.pool) else cached(s, r.pool)


@compiled
def fails_with(s: State, v: int, error: int) -> None:
    """The attempt fails with this error; a later one (from `finally`) takes its place."""
    r = s.volumes[v]
    r.failed = True
    r.error = error
    r.error_pool = r.pool
    r.error_gib = r.size_gib
    if r.phase == EXTEND:
        slot = find(s, v, s.pools[r.pool].backend)
        if slot != NONE:  # an earlier attempt may have left it in another pool of the array
            r.error_pool = s.slots[slot].pool
            r.error_gib = r.asked_gib - s.slots[slot].size_gib


@compiled
def fail(s: State, v: int, error: int) -> bool:
    """The array's refusal ends the attempt at once."""
    refused(s, v)
    fails_with(s, v, error)
    return give_up(s, v)


@compiled
def give_up(s: State, v: int) -> bool:
    """`OnFailureRescheduleTask.revert`: schedule again, unless pinned or the error is final."""
    r = s.volumes[v]
    if r.pinned or s.options[0].max_attempts == 1 or r.error >= COPY:
        end(s, v, False)
        return False
    read_clock(s)
    pool = r.pool
    s.pools[pool].rows -= 1
    r.pool = NONE
    cast(s, SCHEDULE, v, NONE)
    # `_post_reschedule`: whatever is left of the volume is deleted, while it is made elsewhere.
    slot = find(s, v, s.pools[pool].backend)
    seconds = begin_delete(s, slot)
    if seconds > 0:
        r.deletes += 1
        later(s, seconds, END_LEFTOVER_DELETE, v, pool)
        return False
    if seconds == 0:
        end_delete(s, slot)
    s.pools[pool].allocated -= r.size_gib
    return False


@compiled
def end(s: State, v: int, available: bool) -> None:
    """A create is over: its row, and the delete that waited for it."""
    r, w = s.volumes[v], s.world[0]
    r.under_way = False
    w.under_way -= 1
    if r.row != NONE:
        row = s.rows[r.row & (s.rows.size - 1)]
        row.end, row.host, row.attempts, row.available = w.now, r.pool, r.attempts, available
        row.lock_wait_s, row.stream_wait_s = r.lock_wait_s, r.stream_wait_s
        row.source = r.source if available else NO_SOURCE
        row.cache_held = 0 if available else r.cache_held
        row.error = 0 if available else r.error
        row.error_pool, row.error_gib = r.error_pool, r.error_gib
        row.unplaced = r.pool == NONE
        row.done = True
    if r.delete_wanted:
        cast(s, USER_DELETES, v, NONE)
