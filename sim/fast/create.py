"""One create, step by step: `VolumeManager.create_volume` and `CreateVolumeFromSpecTask`.

A request is in a phase; `go_on` runs phases until one takes time or waits. Each function of a phase returns
whether the request goes on at once. What Cinder does in nested calls and `finally` clauses is here the order
of the phases:

    ATTEMPT  the driver's own clone, else STORE, else CACHE (the image's lock), LOCKED, LOOK (clone or
    DOWNLOAD), FETCHING (on Glance's stream), ATTACHING, FETCHED, CREATED, WRITING, WRITTEN, FILLING, FILLED,
    EXTEND (to the size asked for), UNLOCK, FINISH; a failure ends the attempt, perhaps to be scheduled again.
"""

from __future__ import annotations

from sim.fast.arrays import begin_delete, clone_from_glance, create, end_delete, find
from sim.fast.cache import caches, location, look_up_or_drop, refuses
from sim.fast.clone_turns import clone_lasts, clone_over, copied, copy, may_clone_from_glance, to_copy
from sim.fast.cloning import clone_cached, clone_from_cache, clone_from_store, clone_stored
from sim.fast.download import download_step
from sim.fast.events import (
    BEGIN_UPLOAD,
    END_LEFTOVER_DELETE,
    RESUME,
    USER_DELETES,
    acquire_lock,
    cast,
    later,
    next_phase,
    read_clock,
    release_lock,
)
from sim.fast.fill import clone_to_fill
from sim.fast.jit import compiled, inlined
from sim.fast.nodes import allocate, count_row, lock_row, set_host, take_turn
from sim.fast.phases import (
    ATTEMPT,
    CACHE_CLONED,
    CACHE_LOCK,
    CLONE_BESIDE,
    CLONE_CACHED,
    CLONE_IMAGE,
    CLONE_STORED,
    COPYING,
    CREATE_BLANK,
    DRIVER_CLONED,
    FETCHING,
    FINISH,
    HANDLE,
    LOCKED,
    LOOK,
    PLACE,
    STORE_CLONED,
    STORE_LOOK,
    TO_COPY,
    UNLOCK,
    fails_with,
)
from sim.fast.places import make_place
from sim.fast.scheduler import BREAKS, choose, refresh, take
from sim.fast.state import (
    BROKEN,
    COPY,
    DISK_FULL,
    FROM_CACHE,
    FROM_DRIVER,
    FROM_STORE,
    IMAGE_GONE,
    NO_MAXIMUM,
    NO_SOURCE,
    NONE,
    NOT_ATTACHED,
    NOT_ATTACHED_SHOWN,
    STORE,
    USER,
    VIRTUAL_TOO_LARGE,
    State,
)
from sim.fast.steps import note_step
from sim.fast.storing import CREATED_TO_STORE, store_step, tell
from sim.fast.threads import give_thread, take_thread
from sim.fast.upload import UPLOAD, make_image, upload_step
from sim.model.repeats import repeats
from sim.model.rules import CLONE_LIMIT, FAMILY_LIMIT

RETRY_S = 1.0  # `cinder.utils.retry`: before a second try


@inlined
def go_on(s: State, v: int) -> None:
    """Run a request until it waits or is over."""
    r = s.volumes[v]
    goes_on = r.phase != PLACE or schedule(s, v)
    while goes_on:
        phase = r.phase
        if s.options[0].noted:
            note_step(s, v)
        if phase >= FETCHING:
            goes_on = other_step(s, v, phase)
        elif phase == ATTEMPT:
            goes_on = attempt(s, v)
        elif phase == HANDLE:
            goes_on = handle(s, v) if r.under_way else make_image(s, v)
        elif phase == STORE_LOOK:
            goes_on = clone_from_store(s, v)
        elif phase == CLONE_STORED:
            goes_on = clone_stored(s, v)
        elif phase == CACHE_LOCK:
            goes_on = lock(s, v)
        elif phase == LOCKED:
            goes_on = locked(s, v)
        elif phase == LOOK:
            goes_on = clone_from_cache(s, v)
        elif phase == CLONE_CACHED:
            goes_on = clone_cached(s, v)
        elif phase in (STORE_CLONED, CACHE_CLONED):
            r.source, r.phase = FROM_STORE if phase == STORE_CLONED else FROM_CACHE, UNLOCK
        elif phase == UNLOCK:
            goes_on = unlock(s, v)
        elif phase == CREATE_BLANK:
            goes_on = create_blank(s, v)
        elif phase == CLONE_BESIDE:
            goes_on = clone_beside(s, v)
        elif phase == DRIVER_CLONED:
            r.source, r.phase = FROM_DRIVER, FINISH
        else:
            finish(s, v)
            goes_on = False


@inlined
def other_step(s: State, v: int, phase: int) -> bool:
    """Run a phase of a download, a copy, an upload or an image-volume. Returns whether it goes on at once."""
    if phase < CLONE_IMAGE:
        return download_step(s, v, phase)
    if phase < UPLOAD:
        return clone_step(s, v, phase)
    return upload_step(s, v) if phase < CREATED_TO_STORE else store_step(s, v)


@inlined
def clone_step(s: State, v: int, phase: int) -> bool:
    """Run a phase of an image-volume that is made of a user's, and of copies."""
    if phase == CLONE_IMAGE:
        return clone_to_fill(s, v)
    if phase == TO_COPY:
        return to_copy(s, v)
    return copy(s, v) if phase == COPYING else copied(s, v)


@repeats("cinder.scheduler.flows.create_volume:ScheduleCreateVolumeTask", "execute", "_handle_failure")
@repeats(
    "cinder.scheduler.filter_scheduler:FilterScheduler",
    "schedule_create_volume",
    "populate_filter_properties",
    "_populate_retry",
    "_max_attempts",
    "_post_select_populate_filter_properties",
    "_add_retry_backend",
)
@repeats("cinder.scheduler.driver", "volume_update_db")
@compiled
def schedule(s: State, v: int) -> bool:
    """`ScheduleCreateVolumeTask`: place a volume for an attempt, or end the create. Returns which."""
    r = s.volumes[v]
    o = s.options[0]
    if o.max_attempts > 1:  # `FilterScheduler._populate_retry`
        r.tries += 1
    first, r.first_pool = r.first_pool, NONE  # named by the trace, for the first attempt alone
    breaks = s.zone_breaks[r.zone]
    if first != NONE or (r.tries <= o.max_attempts and not breaks):
        pool = first
        if first == NONE:
            pool = choose(s, v)
        else:
            refresh(s, first)
        if pool == BREAKS:
            r.error = NO_MAXIMUM
        elif pool != NONE:
            take(s, v, pool)
            read_clock(s)  # `volume_update_db`
            r.pool = pool
            s.pools[pool].rows += 1
            if o.max_attempts > 1:
                r.last_pool = pool
            r.phase = ATTEMPT
            return True
    if breaks:
        r.error = BROKEN
    end(s, v, False)
    return False


@compiled
def attempt(s: State, v: int) -> bool:
    """A message to the next node of the pool's backend, which waits there for a thread."""
    r = s.volumes[v]
    r.attempts += 1
    take_turn(s, v)
    r.phase, r.since = HANDLE, s.world[0].now
    return take_thread(s, r.pool, r.node, RESUME, v)


@repeats("cinder.volume.manager:VolumeManager", "create_volume", "_update_allocated_capacity")
@repeats("cinder.volume.flows.manager.create_volume", "get_flow")
@repeats("cinder.volume.flows.manager.create_volume:ExtractVolumeSpecTask", "execute")
@repeats(
    "cinder.volume.flows.manager.create_volume:CreateVolumeFromSpecTask",
    "execute",
    "_create_from_image",
    "_handle_bootable_volume_glance_meta",
    "_capture_volume_image_metadata",
)
@compiled
def handle(s: State, v: int) -> bool:
    """`VolumeManager.create_volume`, `ExtractVolumeSpecTask` and the start of `_create_from_image`."""
    r = s.volumes[v]
    r.thread_wait_s += s.world[0].now - r.since
    r.failed = r.retried = False
    b = s.backends[s.pools[r.pool].backend]
    set_host(s, v)
    allocate(s, r.pool, r.node, r.size_gib)
    r.cloned = NONE
    if r.image == NONE:
        return next_phase(s, v, CREATE_BLANK, 0.0)
    i = s.images[r.image]
    if i.deleted:
        return fail(s, v, IMAGE_GONE)
    r.version = i.version
    if b.driver_clones_raw and i.raw and not r.encrypted:
        return next_phase(s, v, CLONE_BESIDE, 0.0)
    r.stored = NONE
    if s.options[0].uses_store and not r.encrypted:
        r.stored = location(s, r.image, r.pool, r.project, b.store_across)
        if r.stored != NONE:
            r.stored_serial = s.slots[r.stored].serial
    return next_phase(s, v, STORE_LOOK, 0.0)


@repeats("cinder.volume.flows.manager.create_volume:CreateVolumeFromSpecTask", "_create_raw_volume")
@compiled
def create_blank(s: State, v: int) -> bool:
    """`_create_raw_volume`."""
    r = s.volumes[v]
    error, seconds = create(s, v, r.pool, r.size_gib, USER if r.holds == NONE else STORE, r.tier)
    if error == 0:
        s.slots[s.world[0].made].tenant = r.tenant
        return next_phase(s, v, FINISH, seconds)
    evicts, seconds = make_place(s, v, error)
    return next_phase(s, v, r.phase, seconds) if evicts else fail(s, v, error)


@repeats("cinder.volume.flows.manager.create_volume:CreateVolumeFromSpecTask", "_create_from_image")
@compiled
def clone_beside(s: State, v: int) -> bool:
    """`driver.clone_image`."""
    r = s.volumes[v]
    if not may_clone_from_glance(s, v):
        return False
    error, seconds = clone_from_glance(s, v, r.pool, r.size_gib, r.tier, r.image, r.version)
    if error == 0:
        return clone_lasts(s, v, DRIVER_CLONED, seconds)
    clone_over(s, v)
    evicts, seconds = make_place(s, v, error)
    return next_phase(s, v, r.phase, seconds) if evicts else fail(s, v, error)


@repeats(
    "cinder.volume.flows.manager.create_volume:CreateVolumeFromSpecTask",
    "_create_from_image",
    "_prepare_image_cache_entry",
)
@repeats("cinder.coordination", "synchronized")
@compiled
def lock(s: State, v: int) -> bool:
    """`_create_from_image`: with a cache, `_prepare_image_cache_entry` first, under the image's lock."""
    r = s.volumes[v]
    r.fills = r.locks = False
    b = s.backends[s.pools[r.pool].backend]
    i = s.images[r.image]
    unlocked = s.options[0].refused_without_lock and b.cache and i.known
    if not caches(s, v) or (unlocked and refuses(b, i.virtual_gib)):
        return next_phase(s, v, LOOK, 0.0)
    r.locks = True
    r.phase = LOCKED
    r.since = s.world[0].now
    return acquire_lock(s, v, s.locks[lock_row(s, v), r.image])


@repeats("cinder.volume.flows.manager.create_volume:CreateVolumeFromSpecTask", "_prepare_image_cache_entry")
@compiled
def locked(s: State, v: int) -> bool:
    """`_prepare_image_cache_entry`: with an entry, give the lock up at once; else keep it for the fill."""
    r = s.volumes[v]
    r.lock_wait_s += s.world[0].now - r.since
    if look_up_or_drop(s, v, True) != NONE:
        r.locks = False
        release_lock(s, s.locks[lock_row(s, v), r.image])
    else:
        r.fills = True
    return next_phase(s, v, LOOK, 0.0)


@repeats(
    "cinder.volume.flows.manager.create_volume:CreateVolumeFromSpecTask",
    "_create_from_image",
    "_prepare_image_cache_entry",
)
@repeats("cinder.utils", "retry")
@compiled
def unlock(s: State, v: int) -> bool:
    """The end of `_prepare_image_cache_entry`, or of a create without it."""
    r = s.volumes[v]
    if r.locks:
        r.locks = False
        release_lock(s, s.locks[lock_row(s, v), r.image])
    if not r.failed:
        return next_phase(s, v, FINISH, 0.0)
    limited = r.error in (CLONE_LIMIT, FAMILY_LIMIT)
    if limited and s.options[0].retry_clone_limit and not r.retried:
        r.retried, r.failed = True, False
        return next_phase(s, v, STORE_LOOK, RETRY_S)
    return end_attempt(s, v)


@repeats("cinder.volume.flows.manager.create_volume:CreateVolumeOnFinishTask", "execute")
@inlined
def finish(s: State, v: int) -> None:
    """`CreateVolumeOnFinishTask`."""
    r = s.volumes[v]
    read_clock(s)
    end(s, v, True)
    give_thread(s, r.pool, r.node)


# -- failures ----------------------------------------------------------------------------------------


@compiled
def fail(s: State, v: int, error: int) -> bool:
    """End the attempt at once with this error."""
    fails_with(s, v, error)
    return end_attempt(s, v)


@repeats(
    "cinder.volume.flows.manager.create_volume:OnFailureRescheduleTask",
    "__init__",
    "revert",
    "_pre_reschedule",
    "_reschedule",
    "_post_reschedule",
)
@repeats("cinder.volume.manager:VolumeManager", "driver_delete_volume")
@repeats("cinder.volume.flows.common", "error_out")
@compiled
def end_attempt(s: State, v: int) -> bool:
    """`OnFailureRescheduleTask.revert`: schedule again, unless pinned or the error is final."""
    r = s.volumes[v]
    of_copy = r.error >= COPY and r.error not in (NOT_ATTACHED, NOT_ATTACHED_SHOWN, DISK_FULL)
    final = of_copy or r.error == VIRTUAL_TOO_LARGE
    if r.pinned or s.options[0].max_attempts == 1 or final:
        end(s, v, False)
        give_thread(s, r.pool, r.node)
        return False
    read_clock(s)
    pool, node = r.pool, r.node
    count_row(s, pool, node, -1)
    r.pool = NONE
    r.phase = PLACE
    cast(s, RESUME, v, NONE)
    # `_post_reschedule`: whatever is left of the volume is deleted, while it is made elsewhere.
    slot = find(s, v, s.pools[pool].backend)
    error, seconds = begin_delete(s, slot)
    if seconds > 0:
        r.deletes += 1
        later(s, seconds, END_LEFTOVER_DELETE, v, pool * s.options[0].nodes + node)
        return False
    if error == 0:
        end_delete(s, slot)
    allocate(s, pool, node, -r.size_gib)
    give_thread(s, pool, node)
    return False


@inlined
def end(s: State, v: int, available: bool) -> None:
    """End a create: write its row, and start the upload or the delete that waits for it."""
    r, w = s.volumes[v], s.world[0]
    r.under_way = False
    w.under_way -= 1
    if r.row != NONE:
        row = s.rows[r.row & (len(s.rows) - 1)]
        row.end, row.host, row.attempts, row.available = w.now, r.pool, r.attempts, available
        row.lock_wait_s, row.stream_wait_s = r.lock_wait_s, r.stream_wait_s
        q = s.queued[r.row & (len(s.queued) - 1)]
        q.thread_wait_s, q.clone_wait_s, q.write_wait_s = r.thread_wait_s, r.clone_wait_s, r.write_wait_s
        row.source = r.source if available else NO_SOURCE
        row.cache_held = 0 if available else r.cache_held
        row.error = 0 if available else r.error
        row.error_pool, row.error_gib = r.error_pool, r.error_gib
        row.unplaced = r.pool == NONE
        row.done = True
    r.ready = available
    if r.holds != NONE:
        tell(s, v)
        r.phase = CREATED_TO_STORE
        cast(s, RESUME, v, NONE)
    elif r.upload != NONE:
        cast(s, BEGIN_UPLOAD, v, NONE)
    elif r.delete_wanted:
        cast(s, USER_DELETES, v, NONE)
