"""Simulated time: events to come, queues for locks and streams, and Cinder's reading of the clock.

An instant's events run as in sim/cinder/clock.py: reports, the trace's, then the others in the order in
which they were scheduled.
"""

from __future__ import annotations

from typing import Any

from sim.fast.chance import drawn
from sim.fast.jit import compiled
from sim.fast.state import NO_LIMIT, NONE, State
from sim.model.repeats import repeats

# Events: a request goes on; deletes begin and end; streams are granted; snapshots; a transfer over shared
# links may end; an image-volume is extended.
RESUME, USER_DELETES, BEGIN_DELETE, END_DELETE, BEGIN_IMAGE_DELETE, END_IMAGE_DELETE = range(6)
END_LEFTOVER_DELETE, GRANT, BEGIN_UPLOAD = range(6, 9)
MAKE_SNAPSHOT, SNAPSHOT_MADE, DROP, DELETE_SNAPSHOT, SNAPSHOT_GONE = range(9, 14)
TRANSFER = 14
SCHEDULE_EXTENSION, EXTEND_VOLUME, VOLUME_EXTENDED = range(15, 18)
OF_TRACE = 18  # the next one of the trace, which is never scheduled


@compiled
def later(s: State, seconds: float, what: int, who: int, pool: int) -> None:
    """Schedule an event: on the heap, or, in this instant, after all that is scheduled for it."""
    at_time(s, s.world[0].now + seconds, what, who, pool)


@compiled
def at_time(s: State, time: float, what: int, who: int, pool: int) -> None:
    """Schedule an event for a time."""
    w = s.world[0]
    if time <= w.now:
        cast(s, what, who, pool)
        return
    w.sequence += 1
    heap = s.events
    place = w.events
    w.events += 1
    while place > 0:
        parent = (place - 1) >> 1
        if heap[parent].time <= time:  # what is older goes first among equals
            break
        move(heap[place], heap[parent])
        place = parent
    event = heap[place]
    event.time, event.sequence, event.what, event.who, event.pool = time, w.sequence, what, who, pool


@compiled
def cast(s: State, what: int, who: int, pool: int) -> None:
    """Schedule an event for later in this instant (an RPC cast, SimPy's `succeed`)."""
    w = s.world[0]
    event = s.casts[(w.first_cast + w.casts) & (len(s.casts) - 1)]
    event.what, event.who, event.pool = what, who, pool
    w.casts += 1


@compiled
def next_phase(s: State, v: int, phase: int, seconds: float) -> bool:
    """Go to a phase: at once, or when `seconds` have passed."""
    s.volumes[v].phase = phase
    if seconds > 0:
        later(s, seconds, RESUME, v, NONE)
        return False
    return True


@compiled
def drop_first(s: State) -> None:
    """Take the first event off the heap."""
    w, heap = s.world[0], s.events
    w.events -= 1
    count = w.events
    if count == 0:
        return
    last = heap[count]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= count:
            break
        right = child + 1
        if right < count and (
            heap[right].time < heap[child].time
            or (heap[right].time == heap[child].time and heap[right].sequence < heap[child].sequence)
        ):
            child = right
        if last.time < heap[child].time or (
            last.time == heap[child].time and last.sequence < heap[child].sequence
        ):
            break
        move(heap[place], heap[child])
        place = child
    move(heap[place], last)


@compiled
def move(to: Any, event: Any) -> None:
    """Copy an event, a record of `EVENTS`: Numba copies records byte by byte."""
    to.time, to.sequence, to.who, to.pool, to.what = (
        event.time,
        event.sequence,
        event.who,
        event.pool,
        event.what,
    )


@compiled
def read_clock(s: State) -> int:
    """`oslo_utils.timeutils.utcnow`: microseconds from the start, each reading later than the last.

    The time is rounded as Python's `timedelta(seconds=now)` does: to the nearest, halves to even.
    """
    w = s.world[0]
    if w.now == w.read_at:  # the reading before was of this instant too
        w.reading_us += 1
        return w.reading_us
    w.read_at = w.now
    whole = int(w.now)
    w.reading_us = max(whole * 1_000_000 + round((w.now - whole) * 1e6), w.reading_us + 1)
    return w.reading_us


# -- waiting: locks, and streams as SimPy's Resource grants them -----------------------------------


@repeats("cinder.coordination", "synchronized")
@compiled
def acquire_lock(s: State, v: int, lock: Any) -> bool:
    """Take a lock, a record of `LOCKS`, or queue for it (`coordination.synchronized`)."""
    if not lock.held:
        lock.held = True
        lock.first = lock.last = NONE
        return True
    s.volumes[v].next = NONE
    if lock.first == NONE:
        lock.first = v
    else:
        s.volumes[lock.last].next = v
    lock.last = v
    return False


@compiled
def release_lock(s: State, lock: Any) -> None:
    """Hand a lock to whoever waits longest, or to anybody (`lock_order`)."""
    if lock.first == NONE:
        lock.held = False
        return
    before, chosen = NONE, lock.first
    if s.options[0].locks_by_chance:
        before, chosen = drawn_by_lot(s, lock.first)
    following = s.volumes[chosen].next
    if before == NONE:
        lock.first = following
    else:
        s.volumes[before].next = following
    if chosen == lock.last:
        lock.last = before
    cast(s, RESUME, chosen, NONE)


@compiled
def drawn_by_lot(s: State, first: int) -> tuple[int, int]:
    """One of those who wait, and who waits before it."""
    waiting, v = 0, first
    while v != NONE:
        waiting += 1
        v = s.volumes[v].next
    w = s.world[0]
    w.locks_lottery, number = drawn(w.locks_lottery)
    before, chosen = NONE, first
    for _ in range(int(number * waiting)):
        before, chosen = chosen, s.volumes[chosen].next
    return before, chosen


@compiled
def take_stream(s: State, streams: Any, limit: int, v: int) -> bool:
    """Take a stream, or queue for one; `streams` is a Glance node or a backend (writes).

    As with SimPy, whoever comes while others wait may see the first of them served, but goes to the end.
    """
    if limit == NO_LIMIT:
        return True
    if streams.first == NONE and streams.in_use < limit:
        streams.in_use += 1
        return True
    r = s.volumes[v]
    r.next = NONE
    r.since = s.world[0].now
    if streams.first == NONE:
        streams.first = v
    else:
        s.volumes[streams.last].next = v
    streams.last = v
    grant_stream(s, streams, limit)
    return False


@compiled
def grant_stream(s: State, streams: Any, limit: int) -> None:
    """Give a free stream to whoever waits longest: one at a time, as `simpy.Resource` does."""
    if streams.first != NONE and streams.in_use < limit:
        streams.in_use += 1
        cast(s, RESUME, streams.first, NONE)
        streams.first = s.volumes[streams.first].next


@compiled
def give_stream_back(s: State, streams: Any, limit: int, backend: int) -> None:
    """End the use of a stream. SimPy grants it to whoever waits later in this instant."""
    if limit != NO_LIMIT:
        streams.in_use -= 1
        cast(s, GRANT, NONE, backend)


@compiled
def take_glance(s: State, v: int) -> bool:
    """Take a stream of the Glance node whose turn it is, or queue; a transfer in no time needs none."""
    o, w = s.options[0], s.world[0]
    if not o.glance_takes_time:
        return True
    s.volumes[v].glance = w.next_glance
    w.next_glance += 1
    if w.next_glance == len(s.glances):
        w.next_glance = 0
    return take_stream(s, s.glances[s.volumes[v].glance], o.streams, v)


@compiled
def give_glance(s: State, v: int) -> None:
    """End the use of a Glance node's stream."""
    o, number = s.options[0], s.volumes[v].glance
    if o.glance_takes_time and o.streams != NO_LIMIT:
        s.glances[number].in_use -= 1
        cast(s, GRANT, number, NONE)
