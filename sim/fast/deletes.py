"""Deletes: of users' volumes, of image-volumes, of what failed creates left, and of images."""

from __future__ import annotations

from sim.fast.arrays import begin_delete, end_delete, find
from sim.fast.events import (
    BEGIN_DELETE,
    BEGIN_IMAGE_DELETE,
    END_DELETE,
    cast,
    later,
    read_clock,
)
from sim.fast.jit import compiled, inlined
from sim.fast.nodes import allocate, count_row
from sim.fast.quotas import give_back
from sim.fast.reports import report
from sim.fast.state import NONE, State
from sim.fast.threads import give_thread, take_thread
from sim.model.repeats import repeats
from sim.model.rules import BUSY


@repeats("cinder.volume.api:API", "delete")
@compiled
def delete_image(s: State, image: int) -> None:
    """Delete an image and its volumes in the Cinder store (`volume.API.delete`).

    Cinder refuses to delete a volume that is attached: the image stays with it and those after it.
    """
    i = s.images[image]
    slot = i.first_location
    while slot != NONE and not s.slots[slot].attached:
        read_clock(s)
        s.slots[slot].deleting = True
        cast(s, BEGIN_IMAGE_DELETE, slot, NONE)
        slot = s.slots[slot].next
    i.first_location = slot
    i.deleted = slot == NONE


@repeats("cinder.volume.api:API", "delete")
@inlined
def user_deletes(s: State, v: int) -> None:
    """`volume.API.delete`: at once if no backend has the volume, else a cast to its backend.

    It waits while snapshots are made or deleted, and is refused for a volume that has some.
    """
    r = s.volumes[v]
    if r.pool == NONE:
        give_back(s, r.tenant, r.tier, r.size_gib)
        forget(s, v)
    elif r.running > 0:
        r.delete_wanted = True
    else:
        read_clock(s)
        if r.snapshots == 0:
            cast(s, BEGIN_DELETE, v, NONE)


@repeats("cinder.volume.manager:VolumeManager", "delete_volume")
@compiled
def begin_user_delete(s: State, v: int, granted: bool) -> bool:
    """`VolumeManager.delete_volume` of a user's volume; a busy one stays, and nothing tries again.

    Returns whether the delete ends at once.
    """
    pool, node = s.volumes[v].pool, s.volumes[v].node
    if not granted and not take_thread(s, pool, node, BEGIN_DELETE, v):
        return False
    slot = find(s, v, s.pools[pool].backend)
    error, seconds = begin_delete(s, slot)
    if error == BUSY:
        forget(s, v)
        give_thread(s, pool, node)
    elif seconds > 0:
        later(s, seconds, END_DELETE, v, NONE)
    return error != BUSY and seconds == 0


@repeats("cinder.volume.manager:VolumeManager", "delete_volume", "_update_allocated_capacity")
@compiled
def end_user_delete(s: State, v: int) -> None:
    r = s.volumes[v]
    pool, node = r.pool, r.node
    backend = s.pools[pool].backend
    end_delete(s, find(s, v, backend))
    give_back(s, r.tenant, r.tier, r.size_gib)
    allocate(s, pool, node, -r.size_gib)
    count_row(s, pool, node, -1)
    report(s, backend, node)
    forget(s, v)
    give_thread(s, pool, node)


@repeats("cinder.volume.flows.manager.create_volume:OnFailureRescheduleTask", "_post_reschedule")
@compiled
def end_leftover_delete(s: State, v: int, place: int) -> None:
    """The end of `OnFailureRescheduleTask._post_reschedule`; the `place` is pool * nodes + node."""
    r = s.volumes[v]
    pool, node = place // s.options[0].nodes, place % s.options[0].nodes
    end_delete(s, find(s, v, s.pools[pool].backend))
    allocate(s, pool, node, -r.size_gib)
    give_thread(s, pool, node)
    r.deletes -= 1
    if not r.kept and r.deletes == 0:
        free(s, v)


@compiled
def forget(s: State, v: int) -> None:
    """Forget a volume that nothing will ask for again."""
    if s.by_code[s.volumes[v].code] == v:  # else the code is another volume's by now
        s.by_code[s.volumes[v].code] = NONE
    leave(s, v)


@compiled
def leave(s: State, v: int) -> None:
    """Free a volume's row, now or when the deletes that are under way have ended."""
    s.volumes[v].kept = False
    if s.volumes[v].deletes == 0:
        free(s, v)


@compiled
def free(s: State, v: int) -> None:
    """Free a volume's row. What arrays still hold of the volume has no owner any more."""
    r = s.volumes[v]
    slot = r.first_slot
    while slot != NONE:
        s.slots[slot].owner = NONE
        slot = s.slots[slot].next
    r.next = s.world[0].free_volume
    s.world[0].free_volume = v
