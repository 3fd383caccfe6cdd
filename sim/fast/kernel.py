"""The main loop: the trace's events, deletes, reports, and what was scheduled."""

from __future__ import annotations

import math
from typing import Any

from sim.fast.arrays import create, write
from sim.fast.cache import add_entry, add_location, refuses
from sim.fast.create import go_on
from sim.fast.deletes import (
    begin_user_delete,
    delete_image,
    end_leftover_delete,
    end_user_delete,
    user_deletes,
)
from sim.fast.events import (
    BEGIN_DELETE,
    BEGIN_IMAGE_DELETE,
    BEGIN_UPLOAD,
    END_DELETE,
    END_IMAGE_DELETE,
    GRANT,
    MAKE_SNAPSHOT,
    OF_TRACE,
    RESUME,
    SCHEDULE_EXTENSION,
    TRANSFER,
    USER_DELETES,
    cast,
    drop_first,
    grant_stream,
    read_clock,
)
from sim.fast.extending import extension_step
from sim.fast.jit import compiled, entry, inlined, state_of
from sim.fast.links import carried
from sim.fast.nodes import allocate
from sim.fast.phases import ATTEMPT, PLACE
from sim.fast.places import image_delete_message, image_delete_over
from sim.fast.quotas import exceeded, reserve_new, take
from sim.fast.reports import report_all
from sim.fast.snapshots import drop, snapshot_step, take_snapshot
from sim.fast.state import (
    BELOW_MINIMUM,
    CACHE,
    CREATE,
    DELETE,
    DELETE_IMAGE,
    DROP_SNAPSHOT,
    IMAGE_GONE,
    IMAGE_TOO_LARGE,
    INVALID_ZONE,
    NONE,
    NOT_ACTIVE,
    PREFETCH,
    RELEASE,
    STORE,
    STORE_IMAGE,
    TAKE_SNAPSHOT,
    UPDATE_IMAGE,
    UPLOAD_VOLUME,
    USER,
    VIRTUAL_TOO_LARGE,
    Array,
    State,
)
from sim.fast.steps import STEPS_MARGIN
from sim.fast.storing import ask_for_volume
from sim.fast.threads import GRANTED
from sim.fast.upload import begin_upload
from sim.fast.usage import pass_edges
from sim.fast.volumes import new_volume
from sim.model.repeats import repeats

# Why `advance` returns: all is over; it needs more of the trace; some array is nearly full; a pause.
OVER, MORE_EVENTS, MORE_ROOM, PAUSE = range(4)
MARGIN = 16  # what one event may use of an array, evictions and locations apart
AHEAD = 16  # for so many events at once it is seen whether there is room


@entry
def advance(table: Array, more: bool, budget: int, locations: int) -> int:
    """Let `budget` events happen, or a few more. `more`: another stretch of the trace follows this one.

    `locations` is the most image-volumes that one image has in the Cinder store.
    """
    s = state_of(table)
    while budget > 0:
        ahead = events_ahead(s, locations)
        if ahead <= 0:
            return MORE_ROOM
        budget -= ahead
        for _ in range(ahead):
            why = one_event(s, more)
            if why != PAUSE:
                return why
    return PAUSE


@inlined
def one_event(s: State, more: bool) -> int:
    """Let the next event happen. Returns PAUSE, or why there is none."""
    w = s.world[0]
    next_trace = math.inf
    if w.position < len(s.trace_time):
        next_trace = s.trace_time[w.position]
    elif more:
        return MORE_EVENTS
    next_event = s.events[0].time if w.events > 0 else math.inf
    if w.casts > 0 and w.now < next_trace and w.now < next_event:
        event = s.casts[w.first_cast]
        what, who, pool = event.what, event.who, event.pool
        w.casts -= 1
        # from the start again, in memory that was used just now, when none is left
        w.first_cast = (w.first_cast + 1) & (len(s.casts) - 1) if w.casts > 0 else 0
    else:
        upcoming = min(next_trace, next_event)
        if w.next_edge < upcoming:
            pass_edges(s, upcoming)
        if w.report_at <= upcoming and w.report_at < math.inf:
            report_all(s, upcoming)
        if upcoming == math.inf:
            return OVER
        if next_trace <= next_event:
            w.now = next_trace
            what, who, pool = OF_TRACE, w.position, NONE
            w.position += 1
        else:
            event = s.events[0]
            w.now = next_event
            what, who, pool = event.what, event.who, event.pool
            drop_first(s)
    v = run(s, what, who, pool)
    if v != NONE:
        go_on(s, v)
    return PAUSE


@entry
def put_all(table: Array) -> None:
    """Put the volumes in place that exist at time 0."""
    s = state_of(table)
    for number in range(len(s.placed)):
        put(s, s.placed[number])


@compiled
def put(s: State, placed: Any) -> None:
    """Put a volume in place, a record of `PLACED`."""
    v, pool, kind, size_gib = NONE, placed.pool, placed.kind, placed.size_gib
    if kind == USER:
        v = new_volume(s)
        s.by_code[placed.code] = v
        r = s.volumes[v]
        r.code, r.row, r.image, r.pool, r.tier = placed.code, NONE, NONE, pool, placed.tier
        r.asked_gib = r.size_gib = size_gib
        r.under_way, r.ready, r.tenant = False, True, placed.tenant
    take(s, placed.tenant, placed.tier, size_gib)
    create(s, v, pool, size_gib, kind, placed.tier)
    slot = s.world[0].made
    for node in range(s.backends[s.pools[pool].backend].nodes):
        allocate(s, pool, node, size_gib)
    s.pools[pool].rows += 1
    if placed.image != NONE:
        write(s, slot, placed.image, placed.file, 0)
    if kind == STORE:
        s.slots[slot].code, s.slots[slot].foreign = placed.code, s.images[placed.image].foreign
        s.slots[slot].tenant = placed.tenant
        add_location(s, placed.image, slot)
        s.images[placed.image].stored_first = True
    elif kind == CACHE:
        s.slots[slot].tenant = placed.tenant
        add_entry(s, pool, placed.image, 0, slot, size_gib, placed.used_us)


@compiled
def events_ahead(s: State, locations: int) -> int:
    """For how many events there surely is room: at most `AHEAD`."""
    w = s.world[0]
    few, some = AHEAD * MARGIN, AHEAD * (locations + MARGIN)
    most = w.entries + some  # each entry is evicted once at most
    if (
        w.events + few > len(s.events)
        or w.used_volumes + few > len(s.volumes)
        or w.used_slots + some > len(s.slots)
        or w.used_messages + few > len(s.messages)
        or w.used_turns + few > len(s.turns)
        or w.used_families + some > len(s.families)
        or w.used_lineages + some > len(s.lineages)
        or w.used_entries + few > len(s.entries)
        or w.flows + few > len(s.flows)
        or w.steps + AHEAD * STEPS_MARGIN > len(s.steps)
        or w.casts + most > len(s.casts)
        or w.cache_events + most > len(s.cache_events)
    ):
        return 0
    return min(AHEAD, len(s.rows) - w.begun + w.flushed)


@compiled
def run(s: State, what: int, who: int, pool: int) -> int:
    """Let an event happen. Returns the request that goes on now, or NONE: so `go_on` has one caller."""
    if what == RESUME:
        return who
    if what == OF_TRACE:
        return happen(s, who)
    if what == END_DELETE or (what == BEGIN_DELETE and begin_user_delete(s, who, pool == GRANTED)):
        end_user_delete(s, who)
    elif what == BEGIN_DELETE:
        pass
    elif what == BEGIN_IMAGE_DELETE:
        image_delete_message(s, who, pool == GRANTED)
    elif what == END_IMAGE_DELETE:
        image_delete_over(s, who, pool)
    elif what == USER_DELETES:
        user_deletes(s, who)
    elif what == BEGIN_UPLOAD:
        if begin_upload(s, s.volumes[who].upload, who):
            cast(s, RESUME, who, NONE)
    elif what == GRANT:
        if pool == NONE:
            grant_stream(s, s.glances[who], s.options[0].streams)
        else:
            grant_stream(s, s.backends[pool], s.backends[pool].write_streams)
    elif what == TRANSFER:
        return carried(s, who)
    elif what >= SCHEDULE_EXTENSION:
        extension_step(s, what, who, pool == GRANTED)
    elif what >= MAKE_SNAPSHOT:
        snapshot_step(s, what, who, pool == GRANTED)
    else:
        end_leftover_delete(s, who, pool)
    return NONE


# -- the trace ---------------------------------------------------------------------------------------


@compiled
def happen(s: State, at: int) -> int:
    """Let an event of the trace happen. Returns the request that goes on now, or NONE."""
    s.world[0].happened += 1
    event = s.trace_event[at]
    if event == CREATE or (
        event == PREFETCH and wanted(s, s.trace_image[at], s.terms[s.trace_terms[at]].pool)
    ):
        return ask(s, at)
    if event == DELETE:
        v = s.by_code[s.trace_code[at]]
        if v != NONE:  # else the API refused its create
            if s.volumes[v].under_way or s.volumes[v].upload != NONE:
                s.volumes[v].delete_wanted = True
            else:
                user_deletes(s, v)
    elif event in (RELEASE, PREFETCH):
        pass
    elif event == UPLOAD_VOLUME:
        user_uploads(s, s.by_code[s.trace_code[at]])
    elif event == STORE_IMAGE:
        return store_image(s, at)
    elif event == TAKE_SNAPSHOT:
        take_snapshot(s, s.trace_snapshot[at], s.by_code[s.trace_code[at]])
    elif event == DROP_SNAPSHOT:
        drop(s, s.trace_snapshot[at])
    elif event == DELETE_IMAGE and s.images[s.trace_image[at]].saving:
        s.images[s.trace_image[at]].delete_wanted = True
    elif not s.images[s.trace_image[at]].deleted:
        if event == UPDATE_IMAGE:
            read_clock(s)
            s.images[s.trace_image[at]].version += 1
        else:
            delete_image(s, s.trace_image[at])
    return NONE


@compiled
def user_uploads(s: State, v: int) -> None:
    """Start an upload when its volume is there. Refuse it while another of the volume waits or runs."""
    u = s.world[0].uploads
    s.world[0].uploads += 1
    if v != NONE and s.volumes[v].under_way and s.volumes[v].upload == NONE:
        s.volumes[v].upload = u
        s.images[s.uploads[u].image].saving = True  # not there yet, but a delete of it waits
    elif begin_upload(s, u, v):
        cast(s, RESUME, v, NONE)


@compiled
def wanted(s: State, image: int, pool: int) -> bool:
    """Whether a pool's cache, or the on-demand store, would keep an image."""
    if s.options[0].on_demand:
        return s.images[image].raw and s.images[image].bare
    b = s.backends[s.pools[pool].backend]
    return b.cache and not refuses(b, s.images[image].virtual_gib)


@repeats(
    "cinder.volume.flows.api.create_volume:ExtractVolumeRequestTask", "execute", "_extract_availability_zones"
)
@compiled
def ask(s: State, at: int) -> int:
    """Start a create: the API's checks, then the scheduler or the host's backend. A prefetch has no row.

    Returns the request that goes on now, or NONE.
    """
    w = s.world[0]
    image, size_gib, code = s.trace_image[at], s.trace_size_gib[at], s.trace_code[at]
    terms = s.terms[s.trace_terms[at]]
    tenant, tier = terms.tenant, terms.tier
    row = NONE
    if s.trace_event[at] == CREATE:
        row = w.begun
        w.begun += 1
        s.rows[row & (len(s.rows) - 1)].done = False
    error = 0 if image == NONE else refusal(s, image, size_gib, terms.project)
    if error == 0 and terms.zone == NONE:
        error = INVALID_ZONE
    if error != 0 and row != NONE:
        refuse(s, row, error, NONE, size_gib)
    if error == 0:
        error = reserve_new(s, tenant, tier, size_gib)
        if error != 0 and row != NONE:
            limit, used = exceeded(s, error, tenant, tier)
            refuse(s, row, error, limit, used)
    if error != 0:
        s.by_code[code] = NONE
        return NONE
    v = new_volume(s)
    s.by_code[code] = v
    r = s.volumes[v]
    r.code, r.row, r.image, r.tier, r.pool = code, row, image, tier, terms.pool
    r.asked_gib = r.size_gib = size_gib
    r.first_pool = terms.first
    r.project, r.zone, r.tenant = terms.project, terms.zone, tenant
    r.encrypted = terms.encrypted
    return begin(s, v)


@compiled
def store_image(s: State, at: int) -> int:
    """Start the create of an image-volume for an image's file (see sim/cinder/storing.py)."""
    image, terms = s.trace_image[at], s.terms[s.trace_terms[at]]
    i, o = s.images[image], s.options[0]
    if i.deleted or i.saving or not o.stores_later:
        return NONE
    read_clock(s)
    i.version += 1
    tier = terms.tier
    if tier == NONE:
        tier = s.backends[s.pools[terms.pool].backend].tier
    v = ask_for_volume(s, image, max(1, i.size_gib), tier, terms.zone)
    if v == NONE:  # the API refuses it
        read_clock(s)
        i.version += 1
        return NONE
    s.volumes[v].pool, s.volumes[v].first_pool = terms.pool, terms.first
    return begin(s, v)


@compiled
def begin(s: State, v: int) -> int:
    """Have a volume made: by its pool's backend, or else where the scheduler places it. Returns it."""
    r = s.volumes[v]
    r.pinned, r.under_way = r.pool != NONE, True
    s.world[0].under_way += 1
    r.phase = PLACE
    if r.pinned:
        s.pools[r.pool].rows += 1
        r.phase = ATTEMPT
    return v


@repeats("cinder.volume.flows.api.create_volume:ExtractVolumeRequestTask", "_get_image_metadata")
@repeats("cinder.volume.volume_utils", "check_image_metadata")
@repeats("cinder.image.image_utils", "check_virtual_size")
@compiled
def refusal(s: State, image: int, size_gib: int, project: int) -> int:
    """`ExtractVolumeRequestTask._get_image_metadata`: why the API refuses a create, or 0."""
    i = s.images[image]
    others = s.may_use.shape[1] - 1
    if i.deleted or not s.may_use[image, others if project == NONE else project]:
        return IMAGE_GONE
    if i.saving:
        return NOT_ACTIVE
    if i.size_gib > size_gib:
        return IMAGE_TOO_LARGE
    if i.min_gib > size_gib:
        return BELOW_MINIMUM
    return VIRTUAL_TOO_LARGE if i.known and i.virtual_gib > size_gib else 0


@compiled
def refuse(s: State, row: int, error: int, limit: int, gib: float) -> None:
    """Write the row of a create that the API refuses. `limit`: the quota that it exceeds, else NONE."""
    r = s.rows[row & (len(s.rows) - 1)]
    r.end, r.host, r.attempts, r.available, r.done = s.world[0].now, NONE, 0, False, True
    r.lock_wait_s = r.stream_wait_s = 0.0
    q = s.queued[row & (len(s.queued) - 1)]
    q.thread_wait_s = q.clone_wait_s = q.write_wait_s = 0.0
    r.source, r.cache_held, r.unplaced = 0, 0, False
    r.error, r.error_pool, r.error_gib = error, limit, gib
