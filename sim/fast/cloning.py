"""Clones of image-volumes: a create tries the Cinder store first, then the cache."""

from __future__ import annotations

from sim.fast.arrays import clone
from sim.fast.cache import caches, delete_cached_volume, look_up_or_drop
from sim.fast.clone_turns import clone_lasts, clone_over, may_clone
from sim.fast.directories import directory_row, has_space
from sim.fast.download import download
from sim.fast.events import BEGIN_IMAGE_DELETE, cast, next_phase, read_clock
from sim.fast.jit import compiled
from sim.fast.phases import (
    CACHE_CLONED,
    CACHE_LOCK,
    CLONE_CACHED,
    CLONE_STORED,
    STORE_CLONED,
    UNLOCK,
    fails_with,
)
from sim.fast.places import cloned, make_place
from sim.fast.state import AT_CLONE_LIMIT, NO_FREE_SPACE, NONE, USER, State
from sim.model.repeats import repeats
from sim.model.rules import CLONE_LIMIT, FAMILY_LIMIT


@repeats("cinder.volume.flows.manager.create_volume:CreateVolumeFromSpecTask", "_clone_image_volume")
@compiled
def clone_from_store(s: State, v: int) -> bool:
    """`_clone_image_volume`: an image-volume of the Cinder store, if there is one that it may look at."""
    r = s.volumes[v]
    r.cloned, r.cloned_serial = r.stored, r.stored_serial
    return next_phase(s, v, CACHE_LOCK if cloned(s, v) == NONE else CLONE_STORED, 0.0)


@repeats("cinder.volume.flows.manager.create_volume:CreateVolumeFromSpecTask", "_clone_image_volume")
@compiled
def clone_stored(s: State, v: int) -> bool:
    """The clone of `_clone_image_volume`. If it fails, the create goes on with the cache."""
    r = s.volumes[v]
    slot = cloned(s, v)
    if not may_clone(s, v, slot):
        return False
    error, seconds = clone(s, slot, v, r.pool, r.size_gib, USER, r.tier)
    if error == 0:
        return clone_lasts(s, v, STORE_CLONED, seconds)
    clone_over(s, v)
    evicts, seconds = make_place(s, v, error)
    if evicts:
        return next_phase(s, v, r.phase, seconds)
    return next_phase(s, v, CACHE_LOCK, 0.0)


@repeats(
    "cinder.volume.flows.manager.create_volume:CreateVolumeFromSpecTask",
    "_create_from_image_cache_or_download",
    "_create_from_image_cache",
)
@compiled
def clone_from_cache(s: State, v: int) -> bool:
    """`_create_from_image_cache_or_download`: ask for space, then look for an entry."""
    r = s.volumes[v]
    if not has_space(s, v):
        fails_with(s, v, NO_FREE_SPACE)
        d = s.directories[directory_row(s, v)]
        r.error_gib = d.capacity - d.used
        return next_phase(s, v, UNLOCK, 0.0)
    if caches(s, v):
        slot = look_up_or_drop(s, v, True)
        if slot != NONE:
            r.cloned = slot
            r.cloned_serial = s.slots[r.cloned].serial
            return next_phase(s, v, CLONE_CACHED, 0.0)
    return download(s, v)


@repeats(
    "cinder.volume.flows.manager.create_volume:CreateVolumeFromSpecTask",
    "_create_from_image_cache",
    "_create_from_image_cache_or_download",
    "_create_from_source_volume",
)
@compiled
def clone_cached(s: State, v: int) -> bool:
    """The clone of `_create_from_image_cache`. If it fails, the create downloads: not at the clone limit."""
    r = s.volumes[v]
    slot = cloned(s, v)
    if not may_clone(s, v, slot):
        return False
    error, seconds = clone(s, slot, v, r.pool, r.size_gib, USER, r.tier)
    if error == 0:
        return clone_lasts(s, v, STORE_CLONED if s.options[0].on_demand else CACHE_CLONED, seconds)
    clone_over(s, v)
    evicts, seconds = make_place(s, v, error)
    if evicts:
        return next_phase(s, v, r.phase, seconds)
    limited = error in (CLONE_LIMIT, FAMILY_LIMIT)
    if limited and not s.options[0].on_demand and delete_at_limit(s, v, slot):
        fails_with(s, v, error)
        return next_phase(s, v, UNLOCK, 0.0)
    return download(s, v)


@repeats("cinder.volume.flows.manager.create_volume:CreateVolumeFromSpecTask", "_create_from_image_cache")
@repeats("cinder.image.cache:ImageVolumeCache", "delete_cached_volume")
@repeats("cinder.volume.api:API", "delete")
@compiled
def delete_at_limit(s: State, v: int, slot: int) -> bool:
    """`delete_cached_volume` of an image-volume at its clone limit. False: its delete has begun already.

    Its entry may have gone while the create waited for a place.
    """
    r = s.volumes[v]
    entry = s.entry_of[s.slots[slot].pool, r.image]
    while entry != NONE and s.entries[entry].slot != slot:
        entry = s.entries[entry].same
    if entry != NONE:
        delete_cached_volume(s, v, entry, AT_CLONE_LIMIT)
        return True
    read_clock(s)
    if s.slots[slot].deleting:
        return False
    s.slots[slot].deleting = True
    cast(s, BEGIN_IMAGE_DELETE, slot, NONE)
    return True
