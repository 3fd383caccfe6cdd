"""An image-volume that grows while Glance writes it, because Cinder does not tell the size of an upload."""

from __future__ import annotations

from sim.fast.arrays import extend
from sim.fast.events import (
    BEGIN_IMAGE_DELETE,
    EXTEND_VOLUME,
    SCHEDULE_EXTENSION,
    VOLUME_EXTENDED,
    cast,
    later,
    read_clock,
)
from sim.fast.jit import compiled
from sim.fast.nodes import allocate
from sim.fast.quotas import count, reserve_gib
from sim.fast.scheduler import BREAKS, may_extend
from sim.fast.state import NONE, State
from sim.fast.threads import give_thread, take_thread
from sim.model.repeats import repeats

# What became of the last extension of a volume: none was asked for, or it runs; it has 1 GiB more; Cinder's
# quota refused it; the scheduler or the array did. While it runs the volume cannot be deleted.
UNDER_WAY, DONE, OVER, FULL = range(1, 5)


@repeats("cinder.volume.api:API", "_extend")
@compiled
def ask_to_extend(s: State, slot: int) -> None:
    """`volume.API.extend` of an image-volume by 1 GiB."""
    d = s.slots[slot]
    if reserve_gib(s, d.tenant, d.tier, 1):
        d.extension = UNDER_WAY
        cast(s, SCHEDULE_EXTENSION, slot, NONE)
    else:
        d.extension = OVER


@compiled
def extension_step(s: State, what: int, slot: int, granted: bool) -> None:
    """A message about an extension, or its end."""
    if what == SCHEDULE_EXTENSION:
        schedule_extension(s, slot)
    elif what == EXTEND_VOLUME:
        extend_volume(s, slot, granted)
    else:
        volume_extended(s, slot)


@repeats("cinder.scheduler.manager:SchedulerManager", "extend_volume")
@compiled
def schedule_extension(s: State, slot: int) -> None:
    """`SchedulerManager.extend_volume`. If a filter or a weigher raises, the volume stays as it is."""
    d = s.slots[slot]
    pool = may_extend(s, d.pool, d.tier, 1)
    if pool == NONE:
        refuse(s, slot)
    elif pool != BREAKS:
        cast(s, EXTEND_VOLUME, slot, NONE)


@repeats("cinder.volume.manager:VolumeManager", "extend_volume")
@compiled
def extend_volume(s: State, slot: int, granted: bool) -> None:
    """`VolumeManager.extend_volume`, which waits for a thread."""
    d = s.slots[slot]
    if not granted and not take_thread(s, d.pool, d.node, EXTEND_VOLUME, slot):
        return
    error, seconds = extend(s, slot, d.size_gib + 1)
    if error != 0:
        refuse(s, slot)
        give_thread(s, d.pool, d.node)
    elif seconds > 0:
        later(s, seconds, VOLUME_EXTENDED, slot, NONE)
    else:
        volume_extended(s, slot)


@repeats("cinder.volume.manager:VolumeManager", "extend_volume_completion")
@compiled
def volume_extended(s: State, slot: int) -> None:
    """`extend_volume_completion` without an error."""
    d = s.slots[slot]
    d.extension = DONE
    allocate(s, d.pool, d.node, 1)
    give_thread(s, d.pool, d.node)


@repeats("cinder.volume.manager:VolumeManager", "extend_volume_completion")
@repeats("cinder.quota:QuotaEngine", "rollback")
@repeats("cinder.quota:DbQuotaDriver", "rollback")
@compiled
def refuse(s: State, slot: int) -> None:
    """Give the quota back that the API took."""
    d = s.slots[slot]
    d.extension = FULL
    count(s, d.tenant, d.tier, 0, -1)


@repeats("cinder.volume.api:API", "delete")
@compiled
def glance_deletes(s: State, slot: int) -> None:
    """glance_store deletes a volume that it cannot fill; Cinder refuses it while the volume is extended."""
    read_clock(s)
    if s.slots[slot].extension != UNDER_WAY:
        cast(s, BEGIN_IMAGE_DELETE, slot, NONE)
