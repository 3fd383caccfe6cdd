"""The phases of a create (see sim/fast/create.py), and how one fails."""

from __future__ import annotations

from sim.fast.arrays import find
from sim.fast.jit import compiled
from sim.fast.state import NONE, State

PLACE = -1  # the scheduler is to place it; no step of a create that is noted
# In groups: it looks for a source; it makes an empty volume or a clone, and ends; a download; a copy.
ATTEMPT, HANDLE, STORE_LOOK, CACHE_LOCK, LOCKED, LOOK = range(6)
CREATE_BLANK, CLONE_BESIDE, DRIVER_CLONED, CLONE_STORED, STORE_CLONED = range(6, 11)
CLONE_CACHED, CACHE_CLONED, UNLOCK, FINISH = range(11, 15)
FETCHING, ATTACHING, HASHING, HASHED, FETCHED, CREATE_TO_WRITE, CREATED = range(15, 22)
WRITING, CONVERTED, WRITTEN, FILLING, FILLED, EXTEND, EXTENDED = range(22, 29)
CLONE_IMAGE, TO_COPY, COPYING, COPIED = range(29, 33)


@compiled
def fails_with(s: State, v: int, error: int) -> None:
    """Let the attempt fail with this error. A later error (from `finally`) takes its place."""
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
