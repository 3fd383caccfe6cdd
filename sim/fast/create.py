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
from sim.fast.cache import (
    add_location,
    create_entry,
    delete_cached_volume,
    ensure_space,
    location,
    look_up,
    note,
    slot_of,
)
from sim.fast.events import (
    BEGIN_IMAGE_DELETE,
    BEGIN_UPLOAD,
    END_LEFTOVER_DELETE,
    SCHEDULE,
    USER_DELETES,
    acquire_lock,
    cast,
    give_stream_back,
    later,
    next_phase,
    read_clock,
    release_lock,
    take_stream,
)
from sim.fast.fill import clone_image_volume
from sim.fast.jit import compiled
from sim.fast.scheduler import choose
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
    NO_SOURCE,
    NONE,
    REFUSED,
    SKIPPED,
    STORE,
    USER,
    State,
)
from sim.fast.upload import UPLOAD, upload_step

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
    if phase >= UPLOAD:
        return upload_step(s, v)
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
        return next_phase(s, v, UNLOCK, 0.0)
    elif phase == CACHE_CLONED:
        r.source = FROM_CACHE
        return next_phase(s, v, UNLOCK, 0.0)
    return finish(s, v)


@compiled
def schedule(s: State, v: int) -> None:
    """`ScheduleCreateVolumeTask`: place a volume and start the attempt, or end the create."""
    r = s.volumes[v]
    o = s.options[0]
    if o.max_attempts > 1:  # `FilterScheduler._populate_retry`
        r.tries += 1
    if r.tries <= o.max_attempts and not o.scheduler_breaks:
        pool = choose(s, v)
        if pool != NONE:
            read_clock(s)  # `volume_update_db`
            r.pool = pool
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
    if s.options[0].uses_store and not r.encrypted:
        return next_phase(s, v, STORE_LOOK, 0.0)
    return next_phase(s, v, CACHE_LOCK, 0.0)


@compiled
def clone_from_store(s: State, v: int) -> bool:
    """`_clone_image_volume`: an image-volume of the Cinder store in the same pool; failures pass."""
    r = s.volumes[v]
    slot = location(s, v)
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
    if not caches(s, v):
        return next_phase(s, v, LOOK, 0.0)
    r.locks = True
    r.phase = LOCKED
    r.since = s.world[0].now
    return acquire_lock(s, v, s.backends[s.pools[r.pool].backend].node)


@compiled
def caches(s: State, v: int) -> bool:
    """Whether a miss is to leave an image-volume: in the cache, or, on demand, in the store."""
    r = s.volumes[v]
    if s.options[0].on_demand:
        return s.images[r.image].raw and s.images[r.image].bare and not r.encrypted
    return s.backends[s.pools[r.pool].backend].cache and not r.encrypted


@compiled
def found(s: State, v: int) -> bool:
    """`get_entry`: whether there is an image-volume to clone from."""
    return (location(s, v) if s.options[0].on_demand else look_up(s, v)) != NONE


@compiled
def locked(s: State, v: int) -> bool:
    """`_prepare_image_cache_entry`: with an entry the lock is given up at once, else kept for the fill."""
    r = s.volumes[v]
    r.lock_wait_s += s.world[0].now - r.since
    if found(s, v):
        r.locks = False
        release_lock(s, v, s.backends[s.pools[r.pool].backend].node)
    else:
        r.fills = True
    return next_phase(s, v, LOOK, 0.0)


@compiled
def clone_from_cache(s: State, v: int) -> bool:
    """`_create_from_image_cache_or_download`: `_create_from_image_cache`, or the start of a download."""
    r = s.volumes[v]
    if caches(s, v):
        entry = NONE if s.options[0].on_demand else look_up(s, v)
        slot = location(s, v) if s.options[0].on_demand else slot_of(s, entry)
        if slot != NONE:
            seconds = clone(s, slot, v, r.pool, r.size_gib, USER, r.tier)
            if seconds >= 0:
                return next_phase(s, v, STORE_CLONED if entry == NONE else CACHE_CLONED, seconds)
            refused(s, v)
            if entry != NONE and -seconds == CLONE_LIMIT:
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
    b, o = s.backends[backend], s.options[0]
    give_stream_back(s, b, b.write_streams, backend)
    r.source = DOWNLOAD
    if not r.fills or found(s, v):
        return next_phase(s, v, EXTEND, 0.0)
    if not o.on_demand and not ensure_space(s, v):
        return not_filled(s, v, REFUSED)
    seconds = clone_image_volume(s, v, STORE if o.on_demand else CACHE, True)
    if seconds < 0:
        return not_filled(s, v, int(-seconds))
    r.fill = s.world[0].made
    return next_phase(s, v, FILLED, seconds)


@compiled
def not_filled(s: State, v: int, reason: int) -> bool:
    r = s.volumes[v]
    note(s, v, r.image, SKIPPED, r.size_gib, reason)
    return next_phase(s, v, EXTEND, 0.0)


@compiled
def filled(s: State, v: int) -> bool:
    """The image-volume is there (`CreateVolumeOnFinishTask`): enter it."""
    r = s.volumes[v]
    read_clock(s)
    if not s.options[0].on_demand:
        create_entry(s, v, r.fill)
    elif not s.images[r.image].deleted:
        add_location(s, r.image, r.fill)
    else:  # its location is refused
        read_clock(s)
        cast(s, BEGIN_IMAGE_DELETE, r.fill, NONE)
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
    r.ready = available
    if r.upload != NONE:
        cast(s, BEGIN_UPLOAD, v, NONE)
    elif r.delete_wanted:
        cast(s, USER_DELETES, v, NONE)
