"""Rows for volumes and for what goes on in phases as they do."""

from __future__ import annotations

from sim.fast.jit import compiled
from sim.fast.state import NONE, State


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
    w.stamp += 1
    r.made = w.stamp
    r.holds = r.awaited_by = r.awaits = NONE
    r.snapshots = r.running = 0
    r.read = r.first_slot = r.first_pool = r.last_pool = r.fill = r.next = r.error_pool = r.upload = NONE
    r.clone_lock = NONE
    r.turns = r.fill_error = 0
    r.ready = r.keyless = r.verified = r.hashes = False
    r.delete_wanted = r.fills = r.locks = r.failed = r.retried = False
    r.kept = True
    r.source = r.error = r.node = 0
    r.attempts = r.tries = r.deletes = 0
    r.error_gib = r.lock_wait_s = r.stream_wait_s = 0.0
    r.thread_wait_s = r.clone_wait_s = r.write_wait_s = 0.0
    r.cache_held = 0
    return v
