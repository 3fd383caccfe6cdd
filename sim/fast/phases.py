"""The phases of a create (see sim/fast/create.py), and how one fails."""

from __future__ import annotations

from sim.fast.arrays import find
from sim.fast.jit import compiled
from sim.fast.state import NONE, State

ATTEMPT, DRIVER_CLONED, STORE_LOOK, STORE_CLONED, CACHE_LOCK, LOCKED, LOOK, CACHE_CLONED = range(8)
FETCHING, FETCHED, CREATED, WRITING, WRITTEN, FILLED, EXTEND, EXTENDED, UNLOCK, FINISH = range(8, 18)
FILLING, CREATE_BLANK, CLONE_BESIDE, CLONE_STORED, CLONE_CACHED, CREATE_TO_WRITE = range(18, 24)
CONVERTED, COPYING, COPIED, CLONE_IMAGE, HANDLE, ATTACHING, HASHING, HASHED = range(24, 32)
TO_COPY = 32


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
