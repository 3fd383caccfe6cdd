"""Users' snapshots (see sim/cinder/snapshots.py): what the API accepts, and the service's steps."""

from __future__ import annotations

from sim.fast.arrays import begin_delete, end_delete, find, snapshot
from sim.fast.events import (
    DELETE_SNAPSHOT,
    DROP,
    MAKE_SNAPSHOT,
    SNAPSHOT_GONE,
    SNAPSHOT_MADE,
    USER_DELETES,
    cast,
    later,
)
from sim.fast.jit import compiled
from sim.fast.state import NONE, State
from sim.fast.threads import give_thread, take_thread
from sim.model.repeats import repeats


@repeats("cinder.volume.api:API", "create_snapshot", "_create_snapshot", "create_snapshot_in_db")
@repeats("cinder.volume.api:API", "_create_snapshot_in_db_validate")
@compiled
def take_snapshot(s: State, k: int, v: int) -> None:
    """The API's `create_snapshot`: of a volume that is available."""
    if v == NONE:
        return
    r, t = s.volumes[v], s.snapshots[k]
    if r.pool == NONE or r.under_way or not r.ready or r.upload != NONE:
        return
    t.volume, t.slot = v, NONE
    r.snapshots += 1
    begin(s, k, MAKE_SNAPSHOT)


@repeats("cinder.volume.api:API", "delete_snapshot")
@compiled
def drop(s: State, k: int) -> None:
    """The API's `delete_snapshot`, when the create of the snapshot has ended."""
    t = s.snapshots[k]
    if t.volume == NONE:
        return
    if t.running:
        t.delete_wanted = True
    else:
        begin(s, k, DELETE_SNAPSHOT)


@compiled
def begin(s: State, k: int, what: int) -> None:
    t = s.snapshots[k]
    t.running = True
    s.volumes[t.volume].running += 1
    cast(s, what, k, NONE)


@compiled
def snapshot_step(s: State, what: int, k: int, granted: bool) -> None:
    """Run a step of a snapshot, as the volume service does, in one of its threads."""
    if what == DROP:
        drop(s, k)
    elif what == SNAPSHOT_MADE:
        over(s, k)
    elif what in (MAKE_SNAPSHOT, DELETE_SNAPSHOT):
        r = s.volumes[s.snapshots[k].volume]
        if granted or take_thread(s, r.pool, r.node, what, k):
            if what == MAKE_SNAPSHOT:
                make(s, k)
            else:
                delete(s, k)
    else:
        gone(s, k)


@repeats("cinder.volume.manager:VolumeManager", "create_snapshot")
@compiled
def make(s: State, k: int) -> None:
    """`create_snapshot`: one that the array refuses stays, in error."""
    t = s.snapshots[k]
    error, seconds = snapshot(s, find(s, t.volume, s.pools[s.volumes[t.volume].pool].backend))
    if error == 0:
        t.slot = s.world[0].made
        if t.slot != NONE:
            s.slots[t.slot].code = t.code
    if error == 0 and seconds > 0:
        later(s, seconds, SNAPSHOT_MADE, k, NONE)
    else:
        over(s, k)


@repeats("cinder.volume.manager:VolumeManager", "delete_snapshot")
@compiled
def delete(s: State, k: int) -> None:
    t = s.snapshots[k]
    b = s.backends[s.pools[s.volumes[t.volume].pool].backend]
    seconds = 0.0
    if not b.snapshots:
        seconds = b.delete_s
    elif t.slot != NONE:
        seconds = begin_delete(s, t.slot)[1]
    if seconds > 0:
        later(s, seconds, SNAPSHOT_GONE, k, NONE)
    else:
        gone(s, k)


@compiled
def gone(s: State, k: int) -> None:
    t = s.snapshots[k]
    if t.slot != NONE:
        end_delete(s, t.slot)
    s.volumes[t.volume].snapshots -= 1
    over(s, k)
    t.volume = NONE


@compiled
def over(s: State, k: int) -> None:
    """A step has ended: start the deletes that waited for it, of the snapshot and of its volume."""
    t = s.snapshots[k]
    v = t.volume
    r = s.volumes[v]
    give_thread(s, r.pool, r.node)
    t.running = False
    r.running -= 1
    if t.delete_wanted:
        t.delete_wanted = False
        cast(s, DROP, k, NONE)
    if r.running == 0 and r.delete_wanted and r.upload == NONE:
        r.delete_wanted = False
        cast(s, USER_DELETES, v, NONE)
