"""When a clone may begin, and how long it lasts.

It waits for the lock of its source, then for a stream of the array (see sim/cinder/turns.py). It lasts its
seconds, then the full copy: over the array's shared link, if it has one, and on a write stream, if a node
copies. Then its turns go to others.
"""

from __future__ import annotations

from sim.fast.events import RESUME, cast, give_stream_back, next_phase, take_stream
from sim.fast.jit import compiled, inlined
from sim.fast.links import carry
from sim.fast.phases import COPIED, COPYING, TO_COPY
from sim.fast.state import NO_LIMIT, NONE, State

BEFORE, LOCKED, TAKEN = range(3)  # what a clone has of its turns


@inlined
def may_clone(s: State, v: int, source: int) -> bool:
    """Whether a request may clone the volume in slot `source` now; else it is resumed when it may.

    A clone of what the array does not have needs no turn: it fails at once.
    """
    b = s.backends[s.pools[s.volumes[v].pool].backend]
    return not (b.clone_lock or b.clone_streams != NO_LIMIT) or has_turns(s, v, source)


@compiled
def has_turns(s: State, v: int, source: int) -> bool:
    """The same on an array that lets not all clones begin."""
    r = s.volumes[v]
    backend = s.pools[r.pool].backend
    b = s.backends[backend]
    if r.turns == BEFORE:
        if source == NONE or s.pools[s.slots[source].pool].backend != backend:
            return True
        r.turns, r.since = LOCKED, s.world[0].now
        if b.clone_lock:
            r.clone_lock = lock_of(s, source)
            if not take_turn_of(s, v, r.clone_lock, 1):
                return False
    return has_stream(s, v)


@compiled
def may_clone_from_glance(s: State, v: int) -> bool:
    """The same for a clone without a volume as its source: it needs a stream alone."""
    r = s.volumes[v]
    if s.backends[s.pools[r.pool].backend].clone_streams == NO_LIMIT:
        return True
    if r.turns == BEFORE:
        r.turns, r.since = LOCKED, s.world[0].now
    return has_stream(s, v)


@compiled
def has_stream(s: State, v: int) -> bool:
    r = s.volumes[v]
    if r.turns != TAKEN:
        r.turns = TAKEN
        backend = s.pools[r.pool].backend
        limit = s.backends[backend].clone_streams
        if limit != NO_LIMIT and not take_turn_of(s, v, backend, limit):
            return False
    r.clone_wait_s += s.world[0].now - r.since
    return True


@inlined
def clone_lasts(s: State, v: int, after: int, seconds: float) -> bool:
    """Go to the phase `after` when the clone that has just begun is there."""
    r = s.volumes[v]
    r.copy_mib = s.world[0].copy_mib
    if r.copy_mib == 0 and r.turns == BEFORE:
        return next_phase(s, v, after, seconds)
    return goes_on(s, v, after, seconds)


@compiled
def goes_on(s: State, v: int, after: int, seconds: float) -> bool:
    """The same for a clone that copies, or has turns to give back."""
    r = s.volumes[v]
    r.after = after
    if r.copy_mib == 0:
        return next_phase(s, v, COPIED, seconds)
    by_node = s.backends[s.pools[r.pool].backend].copied_by_node
    return next_phase(s, v, TO_COPY if by_node else COPYING, seconds)


@compiled
def to_copy(s: State, v: int) -> bool:
    """A node copies the source's data, on a write stream."""
    r = s.volumes[v]
    b = s.backends[s.pools[r.pool].backend]
    r.phase = COPYING
    r.since = s.world[0].now
    return take_stream(s, b, b.write_streams, v)


@compiled
def copy(s: State, v: int) -> bool:
    """Copy the source's data."""
    r = s.volumes[v]
    b = s.backends[s.pools[r.pool].backend]
    if b.copied_by_node:
        r.write_wait_s += s.world[0].now - r.since
    if b.route == NONE:
        return next_phase(s, v, COPIED, r.copy_mib / b.copy_mib_s)
    return carry(s, v, COPIED, r.copy_mib, b.copy_mib_s, b.route)


@compiled
def copied(s: State, v: int) -> bool:
    """The clone is there."""
    r = s.volumes[v]
    backend = s.pools[r.pool].backend
    if r.copy_mib > 0 and s.backends[backend].copied_by_node:
        give_stream_back(s, s.backends[backend], s.backends[backend].write_streams, backend)
    clone_over(s, v)
    r.phase = r.after
    return True


@compiled
def clone_over(s: State, v: int) -> None:
    """A clone is there, or the array refused it: give its turns to others."""
    if s.volumes[v].turns != BEFORE:
        give_turns(s, v)


@compiled
def give_turns(s: State, v: int) -> None:
    """Give back the turns of a clone."""
    r = s.volumes[v]
    r.turns = BEFORE
    backend = s.pools[r.pool].backend
    if s.backends[backend].clone_streams != NO_LIMIT:
        give_turn(s, backend)
    if r.clone_lock != NONE:
        give_turn(s, r.clone_lock)
        if s.turns[r.clone_lock].in_use == 0:
            forget_lock(s, r.clone_lock)
        r.clone_lock = NONE


# -- turns: those of the backends' streams, then those of locks, as they are needed ---------------------


@compiled
def take_turn_of(s: State, v: int, number: int, limit: int) -> bool:
    """Take a turn, or queue for one."""
    t = s.turns[number]
    if t.in_use == 0:
        t.first = NONE
    if t.in_use < limit:
        t.in_use += 1
        return True
    s.volumes[v].next = NONE
    if t.first == NONE:
        t.first = v
    else:
        s.volumes[t.last].next = v
    t.last = v
    return False


@compiled
def give_turn(s: State, number: int) -> None:
    """Hand a turn to whoever waits longest."""
    t = s.turns[number]
    if t.first == NONE:
        t.in_use -= 1
        return
    cast(s, RESUME, t.first, NONE)
    t.first = s.volumes[t.first].next


@compiled
def lock_of(s: State, slot: int) -> int:
    """The lock of the volume in a slot: its turn, made if nobody has or wants it."""
    d, w = s.slots[slot], s.world[0]
    if d.clone_lock != NONE:
        return d.clone_lock
    number = w.free_turn
    if number == NONE:
        number = w.used_turns
        w.used_turns += 1
    else:
        w.free_turn = s.turns[number].next
    t = s.turns[number]
    t.in_use, t.slot, t.serial = 0, slot, d.serial
    d.clone_lock = number
    return number


@compiled
def forget_lock(s: State, number: int) -> None:
    """Nobody has or wants a lock any more. Its volume's slot may be another's by now."""
    t, w = s.turns[number], s.world[0]
    if s.slots[t.slot].serial == t.serial:
        s.slots[t.slot].clone_lock = NONE
    t.next = w.free_turn
    w.free_turn = number
