"""Images that come into the Cinder store (see sim/cinder/storing.py): Glance asks for a volume.

CREATED_TO_STORE, after its create: glance_store sees the end of the create at one of its looks (WRITE_FILE),
and sends the file on one of Glance's streams (SENDING_FILE, SENT_FILE). Of an upload, sim/fast/upload.py does
that.
"""

from __future__ import annotations

import math

from sim.fast.arrays import find, write
from sim.fast.cache import add_location
from sim.fast.deletes import leave
from sim.fast.events import (
    BEGIN_IMAGE_DELETE,
    cast,
    give_glance,
    next_phase,
    read_clock,
    take_glance,
)
from sim.fast.jit import compiled
from sim.fast.links import carry
from sim.fast.phases import PLACE
from sim.fast.quotas import reserve_new
from sim.fast.rules import polled_s
from sim.fast.state import INTERNAL, NONE, State
from sim.fast.volumes import new_volume
from sim.model.rules import CLOCK_S

CREATED_TO_STORE, WRITE_FILE, SENDING_FILE, SENT_FILE = range(49, 53)
GIVEN_UP = -2  # the upload that asked for a volume waits no more


@compiled
def ask_for_volume(s: State, image: int, size_gib: int, tier: int, zone: int) -> int:
    """A volume for an image's file, which the scheduler is to place; NONE: the API refuses it."""
    tenant = INTERNAL if s.options[0].tenant_owns_store else NONE
    if zone == NONE or reserve_new(s, tenant, tier, size_gib) != 0:
        return NONE
    v = new_volume(s)
    r = s.volumes[v]
    r.code = r.row = r.image = r.project = r.pool = NONE
    r.holds, r.asked_s, r.tenant, r.tier, r.zone = image, s.world[0].now, tenant, tier, zone
    r.asked_gib = r.size_gib = size_gib
    r.encrypted, r.phase = False, PLACE
    return v


@compiled
def store_step(s: State, v: int) -> bool:
    """Run a phase of an image-volume. Returns whether it goes on at once."""
    r = s.volumes[v]
    if r.phase == CREATED_TO_STORE:
        if r.awaited_by != NONE:  # the rest is the upload's
            leave(s, v)
            return False
        elapsed_s = s.world[0].now - r.asked_s
        seen_s = polled_s(elapsed_s)
        if seen_s == math.inf:
            return over(s, v)
        return next_phase(s, v, WRITE_FILE, seen_s - elapsed_s)
    if r.phase == WRITE_FILE:
        return write_file(s, v)
    if r.phase == SENDING_FILE:
        o, i = s.options[0], s.images[r.holds]
        if o.of_glance != NONE:
            return carry(s, v, SENT_FILE, i.size_mib, o.stream_mib_s, o.of_glance)
        return next_phase(s, v, SENT_FILE, i.fetch_s)
    sent_file(s, v)
    return over(s, v)


@compiled
def write_file(s: State, v: int) -> bool:
    """Take the space of the file; without it, glance_store deletes the volume."""
    r = s.volumes[v]
    i = s.images[r.holds]
    if not r.ready:  # it stays as it is
        return over(s, v)
    slot = find(s, v, s.pools[r.pool].backend)
    if write(s, slot, r.holds, True, i.version)[0] != 0:
        read_clock(s)
        cast(s, BEGIN_IMAGE_DELETE, slot, NONE)
        return over(s, v)
    r.phase = SENDING_FILE
    return take_glance(s, v)


@compiled
def sent_file(s: State, v: int) -> None:
    """Register the location; if the image is gone, delete the volume."""
    r = s.volumes[v]
    give_glance(s, v)
    i = s.images[r.holds]
    slot = find(s, v, s.pools[r.pool].backend)
    if i.deleted:
        read_clock(s)
        cast(s, BEGIN_IMAGE_DELETE, slot, NONE)
    else:
        s.slots[slot].foreign = i.foreign
        add_location(s, r.holds, slot)


@compiled
def over(s: State, v: int) -> bool:
    """End it, well or not: Glance saves the image."""
    i = s.images[s.volumes[v].holds]
    if not i.deleted:
        read_clock(s)
        i.version += 1
    leave(s, v)
    return False


# -- for an upload: `v` is its volume, `s.volumes[v].awaits` the image-volume that it waits for -------------


@compiled
def tell(s: State, v: int) -> None:
    """The create of this volume has ended: an upload that waits for it will find it at its next look."""
    r = s.volumes[v]
    if r.awaited_by >= 0:
        u = s.volumes[r.awaited_by]
        u.awaits = NONE
        u.fill = find(s, v, s.pools[r.pool].backend) if r.ready else NONE


@compiled
def next_look_s(s: State, v: int) -> float:
    """Seconds until glance_store looks at the volume that an upload asked for; infinity: it gives up."""
    r = s.volumes[v]
    elapsed_s = s.world[0].now - r.asked_s
    return polled_s(elapsed_s + 2 * CLOCK_S) - elapsed_s


@compiled
def fits(s: State, v: int) -> bool:
    """Take the space of an upload's file; without it, glance_store deletes the volume."""
    r = s.volumes[v]
    if write(s, r.fill, r.image, True, s.images[r.image].version)[0] == 0:
        return True
    read_clock(s)
    cast(s, BEGIN_IMAGE_DELETE, r.fill, NONE)
    return False
