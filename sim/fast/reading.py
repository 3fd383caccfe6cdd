"""Glance reads an image from the Cinder store: it attaches an image-volume (see sim/cinder/attachments.py).

A download that has its stream is in ATTACHING until glance_store's tries have an end.
"""

from __future__ import annotations

from sim.fast.deletes import leave
from sim.fast.directories import keep_file
from sim.fast.events import RESUME, cast, give_glance, next_phase, read_clock
from sim.fast.jit import compiled
from sim.fast.links import carry
from sim.fast.phases import ATTACHING, FETCHED, HASHED, HASHING, UNLOCK, fails_with
from sim.fast.rules import attach_wait_s
from sim.fast.state import DISK_FULL, DISK_FULL_SHOWN, NONE, NOT_ATTACHED, NOT_ATTACHED_SHOWN, State
from sim.fast.volumes import new_volume
from sim.model.repeats import repeats
from sim.model.rules import ATTACH_TRIES


@compiled
def read(s: State, v: int) -> bool:
    """Begin to read an image; without an attachment unless it is in the Cinder store alone."""
    r = s.volumes[v]
    i = s.images[r.image]
    r.read, r.newest = NONE, s.world[0].stamp
    if i.deleted or not i.stored_first:
        return send(s, v)
    return try_next(s, v, -1)


@compiled
def try_next(s: State, v: int, tried: int) -> bool:
    """Try the location after the one `tried` (see `SLOTS.located`): one of those that Glance knows."""
    r = s.volumes[v]
    i = s.images[r.image]
    slot = NONE if i.deleted else i.first_location
    while slot != NONE and s.slots[slot].located <= tried:
        slot = s.slots[slot].next
    if slot == NONE or s.slots[slot].located > r.newest:
        r.read = NONE
        if r.hashes:
            return next_phase(s, v, HASHED, 0.0)
        give_glance(s, v)
        return not_fetched(s, v, NOT_ATTACHED_SHOWN if r.verified else NOT_ATTACHED)
    r.read, r.read_serial, r.read_located, r.refused = slot, s.slots[slot].serial, s.slots[slot].located, 0
    return next_phase(s, v, ATTACHING, 0.0)


@repeats("cinder.volume.api:API", "_attachment_reserve")
@compiled
def attach(s: State, v: int) -> bool:
    """One of glance_store's tries."""
    r = s.volumes[v]
    d = s.slots[r.read]
    there = d.there and d.serial == r.read_serial
    if there and not d.deleting and not d.attached:
        d.attached = s.one_at_a_time[d.tier]
        return send(s, v)
    r.refused += 1
    if there and r.refused < ATTACH_TRIES:
        return next_phase(s, v, ATTACHING, attach_wait_s(r.refused))
    return try_next(s, v, r.read_located)


@compiled
def send(s: State, v: int) -> bool:
    """Send the image, over shared links if there are any, unless the node's disk is full; or hash it."""
    r = s.volumes[v]
    if r.hashes:
        return next_phase(s, v, HASHED, s.images[r.image].fetch_s)
    if not keep_file(s, v):
        if s.options[0].glance_takes_time:
            detach(s, v)
            give_glance(s, v)
        return not_fetched(s, v, DISK_FULL_SHOWN if r.verified else DISK_FULL)
    i, route = s.images[r.image], s.glance_routes[r.pool, r.node]
    if route != NONE:
        return carry(s, v, FETCHED, i.size_mib, s.options[0].stream_mib_s, route)
    return next_phase(s, v, FETCHED, i.fetch_s)


@repeats(
    "cinder.volume.flows.manager.create_volume:CreateVolumeFromSpecTask",
    "_create_from_image_cache_or_download",
)
@compiled
def not_fetched(s: State, v: int, error: int) -> bool:
    """A download fails before its end: Cinder deletes the metadata of an earlier one, if there is any."""
    fails_with(s, v, error)
    s.volumes[v].verified = False
    return next_phase(s, v, UNLOCK, 0.0)


@compiled
def detach(s: State, v: int) -> None:
    """The image is read."""
    r = s.volumes[v]
    if r.read != NONE and s.slots[r.read].serial == r.read_serial:
        s.slots[r.read].attached = False
    r.read = NONE


@compiled
def hash_image(s: State, image: int) -> None:
    """Glance's task: it reads an image that has just got its first location, on no stream, to hash it."""
    v = new_volume(s)
    r = s.volumes[v]
    r.image, r.pool, r.phase, r.hashes = image, NONE, HASHING, True
    cast(s, RESUME, v, NONE)


@compiled
def hashed(s: State, v: int) -> bool:
    """The hash is there, or the image could not be read: Glance saves the image."""
    detach(s, v)
    i = s.images[s.volumes[v].image]
    if not i.deleted:
        read_clock(s)
        i.version += 1
    leave(s, v)
    return False
