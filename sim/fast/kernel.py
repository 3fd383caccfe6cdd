"""The main loop: the trace's events, deletes, reports, and what was scheduled."""

from __future__ import annotations

import math

from sim.fast.arrays import begin_delete, create, end_delete, find, write
from sim.fast.cache import add_entry
from sim.fast.create import ATTEMPT, go_on, schedule
from sim.fast.events import (
    BEGIN_DELETE,
    BEGIN_IMAGE_DELETE,
    END_DELETE,
    END_IMAGE_DELETE,
    GRANT,
    RESUME,
    SCHEDULE,
    USER_DELETES,
    cast,
    drop_first,
    grant_stream,
    later,
    read_clock,
)
from sim.fast.jit import compiled, entry, state_of
from sim.fast.scheduler import report
from sim.fast.state import (
    BUSY,
    CACHE,
    CREATE,
    DELETE,
    IMAGE_GONE,
    IMAGE_TOO_LARGE,
    NONE,
    STORE,
    UPDATE_IMAGE,
    USER,
    VIRTUAL_TOO_LARGE,
    Array,
    State,
)
from sim.fast.usage import orphan, pass_edges

# Why `advance` returns: all is over; it needs more of the trace; some array is nearly full; a pause.
OVER, MORE_EVENTS, MORE_ROOM, PAUSE = range(4)
PLACED = 8  # numbers of a volume that exists at time 0
MARGIN = 16  # what one event may use of an array, evictions and locations apart


@entry
def advance(table: Array, more: bool, budget: int, locations: int) -> int:
    """Let up to `budget` events happen. `more`: another stretch of the trace follows this one.

    `locations` is the most image-volumes that one image has in the Cinder store.
    """
    s = state_of(table)
    w = s.world[0]
    count = s.trace_time.size
    while budget > 0:
        budget -= 1
        if w.position == count and more:
            return MORE_EVENTS
        if crowded(s, locations):
            return MORE_ROOM
        next_trace = s.trace_time[w.position] if w.position < count else math.inf
        next_event = s.events[0].time if w.events > 0 else math.inf
        if w.casts > 0:
            next_event = w.now
        upcoming = min(next_trace, next_event)
        if w.next_edge < upcoming:
            pass_edges(s, upcoming)
        if w.report_at <= upcoming and w.report_at < math.inf:
            w.now = w.report_at
            report_all(s, upcoming)
        elif upcoming == math.inf:
            return OVER
        elif next_trace <= next_event:
            w.now = next_trace
            happen(s, w.position)
            w.position += 1
        elif w.events > 0 and s.events[0].time <= next_event:
            event = s.events[0]
            w.now = event.time
            what, who, pool = event.what, event.who, event.pool
            drop_first(s)
            run(s, what, who, pool)
        else:
            event = s.casts[w.first_cast]
            what, who, pool = event.what, event.who, event.pool
            w.first_cast = (w.first_cast + 1) & (s.casts.size - 1)
            w.casts -= 1
            run(s, what, who, pool)
    return PAUSE


@entry
def put_all(table: Array, placed: Array) -> None:
    """Put volumes in place that exist at time 0: a row each, of shape (volumes, PLACED), as `put` has it."""
    s = state_of(table)
    for row in range(len(placed)):
        code, pool, tier, kind = placed[row, 0], placed[row, 1], placed[row, 2], placed[row, 3]
        size_gib, image, file, used_us = placed[row, 4], placed[row, 5], placed[row, 6], placed[row, 7]
        put(s, code, pool, tier, kind, size_gib, image, file != 0, used_us)


@compiled
def put(
    s: State,
    code: int,
    pool: int,
    tier: int,
    kind: int,
    size_gib: int,
    image: int,
    file: bool,
    used_us: int,
) -> None:
    """Put a volume in place that exists at time 0.

    `image`: whose content it holds (`file`: whose file), or NONE; `used_us`: when its entry was last used.
    """
    v = NONE
    if kind == USER:
        v = new_volume(s)
        s.by_code[code] = v
        r = s.volumes[v]
        r.code, r.row, r.image, r.pool, r.tier = code, NONE, NONE, pool, tier
        r.asked_gib = r.size_gib = size_gib
        r.under_way = False
    create(s, v, pool, size_gib, kind, tier)
    slot = s.world[0].made
    s.pools[pool].allocated += size_gib
    s.pools[pool].rows += 1
    if image != NONE:
        write(s, slot, image, file, 0)
    if kind == STORE:
        last = s.images[image].first_location
        if last == NONE:
            s.images[image].first_location = slot
            return
        while s.slots[last].next != NONE:
            last = s.slots[last].next
        s.slots[last].next = slot
    elif kind == CACHE:
        s.world[0].quota_volumes += 1
        s.world[0].quota_gigabytes += size_gib
        add_entry(s, pool, image, 0, slot, size_gib, used_us)


@compiled
def crowded(s: State, locations: int) -> bool:
    """Whether the next event may not find room."""
    w = s.world[0]
    burst = w.entries + locations + MARGIN
    return (
        w.events + MARGIN > s.events.size
        or w.casts + burst > s.casts.size
        or w.cache_events + burst > s.cache_events.size
        or w.used_volumes + MARGIN > s.volumes.size
        or w.used_slots + MARGIN > s.slots.size
        or w.used_lineages + MARGIN > s.lineages.size
        or w.used_entries + MARGIN > s.entries.size
        or w.begun - w.flushed + 1 > s.rows.size
    )


@compiled
def report_all(s: State, upcoming: float) -> None:
    """Every backend reports; of the reports before the next event the last is all that is ever seen."""
    w = s.world[0]
    for backend in range(s.backends.size):
        report(s, backend)
    w.report_at = math.inf
    if upcoming < math.inf:
        interval = s.options[0].polling_interval
        w.report_index = max(w.report_index + 1, float(math.floor(upcoming / interval)))
        w.report_at = w.report_index * interval


@compiled
def run(s: State, what: int, who: int, pool: int) -> None:
    """What was scheduled happens."""
    if what == RESUME:
        go_on(s, who)
    elif what == BEGIN_DELETE:
        begin_user_delete(s, who)
    elif what == END_DELETE:
        end_user_delete(s, who)
    elif what == BEGIN_IMAGE_DELETE:
        begin_image_delete(s, who)
    elif what == END_IMAGE_DELETE:
        end_image_delete(s, who)
    elif what == USER_DELETES:
        user_deletes(s, who)
    elif what == SCHEDULE:
        schedule(s, who)
    elif what == GRANT:
        if pool == NONE:
            grant_stream(s, s.world[0], s.options[0].streams)
        else:
            grant_stream(s, s.backends[pool], s.backends[pool].write_streams)
    else:
        end_leftover_delete(s, who, pool)


# -- the trace ---------------------------------------------------------------------------------------


@compiled
def happen(s: State, at: int) -> None:
    """An event of the trace."""
    s.world[0].happened += 1
    event = s.trace_event[at]
    if event == CREATE:
        ask(s, at)
    elif event == DELETE:
        v = s.by_code[s.trace_code[at]]
        if v != NONE:  # else the API refused its create
            if s.volumes[v].under_way:
                s.volumes[v].delete_wanted = True
            else:
                user_deletes(s, v)
    elif not s.images[s.trace_image[at]].deleted:
        if event == UPDATE_IMAGE:
            read_clock(s)
            s.images[s.trace_image[at]].version += 1
        else:
            delete_image(s, s.trace_image[at])


@compiled
def delete_image(s: State, image: int) -> None:
    """The volumes that it has in the Cinder store are deleted (`volume.API.delete`)."""
    i = s.images[image]
    i.deleted = True
    slot = i.first_location
    while slot != NONE:
        read_clock(s)
        cast(s, BEGIN_IMAGE_DELETE, slot, NONE)
        slot = s.slots[slot].next


@compiled
def ask(s: State, at: int) -> None:
    """A user's create: the API's check, then the scheduler, or the backend of its host."""
    w = s.world[0]
    image, size_gib, code = s.trace_image[at], s.trace_size_gib[at], s.trace_code[at]
    row = NONE
    if image != NONE:
        row = w.begun
        w.begun += 1
        s.rows[row & (s.rows.size - 1)].done = False
        error = refusal(s, image, size_gib, s.trace_project[at])
        if error != 0:
            s.by_code[code] = NONE
            refuse(s, row, size_gib, error)
            return
    v = new_volume(s)
    s.by_code[code] = v
    r = s.volumes[v]
    r.code, r.row, r.image, r.tier, r.pool = code, row, image, s.trace_tier[at], s.trace_pool[at]
    r.asked_gib = r.size_gib = size_gib
    r.encrypted, r.pinned, r.under_way = s.trace_encrypted[at], r.pool != NONE, True
    w.under_way += 1
    if r.pinned:
        s.pools[r.pool].rows += 1
        r.phase = ATTEMPT
        go_on(s, v)
    else:
        schedule(s, v)


@compiled
def refusal(s: State, image: int, size_gib: int, project: int) -> int:
    """`ExtractVolumeRequestTask._get_image_metadata`: why the API refuses a create, or 0."""
    i = s.images[image]
    if i.deleted or (i.owner != NONE and i.owner != project):
        return IMAGE_GONE
    if i.size_gib > size_gib:
        return IMAGE_TOO_LARGE
    return VIRTUAL_TOO_LARGE if i.virtual_gib > size_gib else 0


@compiled
def refuse(s: State, row: int, size_gib: int, error: int) -> None:
    """The row of a create that the API refuses."""
    r = s.rows[row & (s.rows.size - 1)]
    r.end, r.host, r.attempts, r.available, r.done = s.world[0].now, NONE, 0, False, True
    r.lock_wait_s = r.stream_wait_s = 0.0
    r.source, r.cache_held, r.unplaced = 0, 0, False
    r.error, r.error_pool, r.error_gib = error, NONE, size_gib


@compiled
def new_volume(s: State) -> int:
    """A blank row for a volume."""
    w = s.world[0]
    v = w.free_volume
    if v == NONE:
        v = w.used_volumes
        w.used_volumes += 1
    else:
        w.free_volume = s.volumes[v].next
    r = s.volumes[v]
    r.first_slot = r.last_pool = r.fill = r.next = r.error_pool = NONE
    r.delete_wanted = r.fills = r.locks = r.failed = False
    r.kept = True
    r.source = r.error = 0
    r.attempts = r.tries = r.deletes = 0
    r.error_gib = r.lock_wait_s = r.stream_wait_s = 0.0
    r.cache_held = 0
    return v


# -- deletes -----------------------------------------------------------------------------------------


@compiled
def user_deletes(s: State, v: int) -> None:
    """`volume.API.delete`: at once where no backend has it, else a cast to its backend."""
    if s.volumes[v].pool == NONE:
        forget(s, v)
        return
    read_clock(s)
    cast(s, BEGIN_DELETE, v, NONE)


@compiled
def begin_user_delete(s: State, v: int) -> None:
    """`VolumeManager.delete_volume` of a user's volume; a busy one stays, and nothing tries again."""
    slot = find(s, v, s.pools[s.volumes[v].pool].backend)
    seconds = begin_delete(s, slot)
    if seconds == -BUSY:
        forget(s, v)
    elif seconds > 0:
        later(s, seconds, END_DELETE, v, NONE)
    else:
        end_user_delete(s, v)


@compiled
def end_user_delete(s: State, v: int) -> None:
    r = s.volumes[v]
    backend = s.pools[r.pool].backend
    end_delete(s, find(s, v, backend))
    s.pools[r.pool].allocated -= r.size_gib
    s.pools[r.pool].rows -= 1
    report(s, backend)
    forget(s, v)


@compiled
def begin_image_delete(s: State, slot: int) -> None:
    """`VolumeManager.delete_volume` of an image-volume; one that stays busy is an orphan."""
    d = s.slots[slot]
    seconds = begin_delete(s, slot)
    if seconds == -BUSY:
        if d.kind == CACHE:
            orphan(s, d.pool, d.tier)
    elif seconds > 0:
        later(s, seconds, END_IMAGE_DELETE, slot, NONE)
    else:
        end_image_delete(s, slot)


@compiled
def end_image_delete(s: State, slot: int) -> None:
    d, w = s.slots[slot], s.world[0]
    pool, size_gib = d.pool, d.size_gib
    if d.kind == CACHE:
        w.quota_volumes -= 1
        w.quota_gigabytes -= size_gib
    end_delete(s, slot)
    s.pools[pool].allocated -= size_gib
    s.pools[pool].rows -= 1
    report(s, s.pools[pool].backend)


@compiled
def end_leftover_delete(s: State, v: int, pool: int) -> None:
    """The end of `OnFailureRescheduleTask._post_reschedule`."""
    r = s.volumes[v]
    end_delete(s, find(s, v, s.pools[pool].backend))
    s.pools[pool].allocated -= r.size_gib
    r.deletes -= 1
    if not r.kept and r.deletes == 0:
        free(s, v)


@compiled
def forget(s: State, v: int) -> None:
    """A volume that nothing will ask for again."""
    if s.by_code[s.volumes[v].code] == v:  # else the code is another volume's by now
        s.by_code[s.volumes[v].code] = NONE
    s.volumes[v].kept = False
    if s.volumes[v].deletes == 0:
        free(s, v)


@compiled
def free(s: State, v: int) -> None:
    """Its row may be used again; what arrays still hold of it has no owner any more."""
    r = s.volumes[v]
    slot = r.first_slot
    while slot != NONE:
        s.slots[slot].owner = NONE
        slot = s.slots[slot].next
    r.next = s.world[0].free_volume
    s.world[0].free_volume = v
