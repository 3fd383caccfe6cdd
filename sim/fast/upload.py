"""One upload, step by step: `VolumeManager.copy_volume_to_image` of a user's volume, and what is proposed.

The phases go on from those of a create, which the volume has behind it:

    UPLOAD: a clone as a location (LOCATED), or a copy: CONVERTING on a write stream, CONVERTED, KEEP (the
    Cinder store's image-volumes; KEPT: a look at one that Cinder makes), SENDING on Glance's stream, SENT (a
    part, if the image-volume must grow for the rest; EXTENDING: a look at it meanwhile); then, as proposals,
    TWIN: a clone as a marked location (TWINNED) or as an entry of the cache (HELD, ENTER, ENTERED: the
    image's lock, the entry); UPLOADED.
"""

from __future__ import annotations

import math

from sim.fast.arrays import begin_delete, create, end_delete, write
from sim.fast.cache import add_location, create_entry, ensure_space, look_up_or_drop, note
from sim.fast.deletes import delete_image
from sim.fast.directories import drop_file, keep_file
from sim.fast.events import (
    RESUME,
    USER_DELETES,
    acquire_lock,
    cast,
    give_glance,
    give_stream_back,
    next_phase,
    read_clock,
    release_lock,
    take_glance,
    take_stream,
)
from sim.fast.extending import DONE, OVER, UNDER_WAY, ask_to_extend, glance_deletes
from sim.fast.fill import clone_image_volume
from sim.fast.jit import compiled
from sim.fast.links import carry
from sim.fast.nodes import allocate, fill_lock_row, lock_row
from sim.fast.phases import HANDLE
from sim.fast.places import end_image_delete
from sim.fast.quotas import give_back, reserve
from sim.fast.reading import hash_image
from sim.fast.rules import part_of
from sim.fast.state import (
    CACHE,
    DISK_FULL,
    INTERNAL,
    NO_CONVERSION,
    NO_KEY,
    NO_OP,
    NO_STORE,
    NO_VOLUME,
    NONE,
    NOT_AVAILABLE,
    NOT_RAW,
    OVER_QUOTA,
    REFUSED,
    SKIPPED,
    STORE,
    STORE_FULL,
    TWIN_CACHE,
    TWIN_LOCATION,
    State,
)
from sim.fast.storing import GIVEN_UP, ask_for_volume, fits, next_look_s
from sim.fast.threads import give_thread, take_thread
from sim.model.repeats import repeats
from sim.model.rules import NO_SPACE

UPLOAD, LOCATED, CONVERTING, CONVERTED, KEEP, SENDING, SENT = range(33, 40)
TWIN, TWINNED, UNWANTED, HELD, ENTER, ENTERED, UPLOADED = range(40, 47)
KEPT, EXTENDING = 47, 48


@repeats("cinder.volume.api:API", "copy_volume_to_image", "_merge_volume_image_meta")
@compiled
def begin_upload(s: State, u: int, v: int) -> bool:
    """`_volume_upload_image` of the API. Returns whether it casts the upload to the volume's node."""
    row = s.uploads[u]
    if v == NONE:
        row.end, row.error = s.world[0].now, NO_VOLUME
        return False
    r = s.volumes[v]
    row.pool = r.pool
    error = refusal(s, u, v)
    if error != 0:
        row.end, row.error = s.world[0].now, error
        if r.upload == u:
            s.images[row.image].saving = s.images[row.image].delete_wanted = False
            volume_over(s, v)
        return False
    r.upload, r.image, r.row = u, row.image, NONE  # the create's row is written
    read_clock(s)
    i = s.images[r.image]
    i.deleted, i.saving, i.stored_first = False, True, False
    i.version += 1
    r.phase = UPLOAD
    return True


@repeats("cinder.api.contrib.volume_actions:VolumeActionsController", "_volume_upload_image")
@compiled
def refusal(s: State, u: int, v: int) -> int:
    """Why the API refuses an upload (0: it does not). It looks at what is encrypted first."""
    r, i = s.volumes[v], s.images[s.uploads[u].image]
    if r.encrypted and not (i.raw and i.bare):
        return NOT_RAW
    if r.encrypted and r.keyless:
        return NO_KEY
    if r.under_way or not r.ready or (r.upload != NONE and r.upload != u):
        return NOT_AVAILABLE
    return 0


@compiled
def upload_step(s: State, v: int) -> bool:
    """Run a phase of an upload. Returns whether the upload goes on at once."""
    r = s.volumes[v]
    phase = r.phase
    if phase == UPLOAD:
        r.phase = HANDLE
        return take_thread(s, r.pool, r.node, RESUME, v)
    backend = s.pools[r.pool].backend
    if phase == CONVERTING:
        if keep_file(s, v):
            return next_phase(s, v, CONVERTED, s.convert_s[r.image, backend])
        give_stream_back(s, s.backends[backend], s.backends[backend].write_streams, backend)
        return upload_fails(s, v, DISK_FULL)
    if phase == CONVERTED:
        give_stream_back(s, s.backends[backend], s.backends[backend].write_streams, backend)
        r.phase = KEEP
        return True
    if phase == KEEP:
        return keep(s, v)
    if phase == KEPT:
        return kept(s, v)
    if phase == EXTENDING:
        return extended(s, v)
    if phase == SENDING:
        return send(s, v)
    if phase == SENT:
        return sent(s, v)
    if phase == TWIN:
        return twin(s, v)
    if phase == TWINNED:
        return twinned(s, v)
    if phase == HELD:
        r.phase = ENTER
        return not s.options[0].fill_lock or acquire_lock(s, v, s.fill_locks[fill_lock_row(s, v)])
    if phase == ENTER:
        return enter(s, v)
    if phase == LOCATED:
        if r.fill_error != 0:
            return upload_fails(s, v, OVER_QUOTA) if r.fill_error == OVER_QUOTA else copy_out(s, v)
        located(s, v)
    elif phase == UNWANTED:
        end_image_delete(s, r.fill)
    elif phase == ENTERED:
        entered(s, v)
    upload_over(s, v)
    return False


@repeats(
    "cinder.volume.manager:VolumeManager", "copy_volume_to_image", "_clone_image_volume_and_add_location"
)
@compiled
def make_image(s: State, v: int) -> bool:
    """A clone of the volume becomes a location, or its data are copied, converted first if need be."""
    r, o = s.volumes[v], s.options[0]
    i = s.images[r.image]
    if i.raw and i.bare and (o.upload == NO_OP or o.upload == TWIN_LOCATION):
        return clone_image_volume(s, v, STORE, INTERNAL if o.uploads_to_tenant else r.tenant, LOCATED)
    return copy_out(s, v)


@compiled
def copy_out(s: State, v: int) -> bool:
    """Copy the volume's data to Glance, converted first if the image is not raw."""
    r, o = s.volumes[v], s.options[0]
    if s.images[r.image].raw:
        return next_phase(s, v, KEEP, 0.0)
    if o.no_conversion:
        return upload_fails(s, v, NO_CONVERSION)
    b = s.backends[s.pools[r.pool].backend]
    r.phase = CONVERTING
    return take_stream(s, b, b.write_streams, v)


@repeats("cinder.volume.manager:VolumeManager", "_clone_image_volume_and_add_location")
@repeats("cinder.volume.flows.manager.create_volume:CreateVolumeFromSpecTask", "_rekey_volume")
@repeats("cinder.volume.volume_utils", "delete_encryption_key")
@compiled
def located(s: State, v: int) -> None:
    """The clone of a volume is there: add its location, marked if the image is not raw and bare.

    The clone of an encrypted volume gets a key of its own; `_rekey_volume` deletes the one that it had, which
    is its source's.
    """
    r = s.volumes[v]
    r.keyless = r.encrypted
    i = s.images[r.image]
    read_clock(s)
    s.slots[r.fill].marked = not (i.raw and i.bare)
    add_location(s, r.image, r.fill)
    if i.saving:
        i.saving, i.stored_first = False, True
        if s.options[0].hashes:
            hash_image(s, r.image)


@compiled
def keep(s: State, v: int) -> bool:
    """Glance's Cinder store takes its space, on all its pools or none; then the data are sent."""
    r, o = s.volumes[v], s.options[0]
    r.fill = last = NONE
    if scheduled(s, v):
        wanted = ask_for_volume(s, r.image, 1, s.asked_tiers[r.tier], o.store_zone)
        if wanted == NONE:
            return no_store(s, v, NO_STORE)
        w = s.volumes[wanted]
        w.awaited_by, w.pinned, w.under_way = v, False, True
        s.world[0].under_way += 1
        cast(s, RESUME, wanted, NONE)
        r.awaits, r.asked_s = wanted, w.asked_s
        return next_phase(s, v, KEPT, next_look_s(s, v))
    for place in range(s.store_start[r.image], s.store_start[r.image + 1]):
        error = put_file(s, r.image, s.store_pools[place])
        if error != 0:
            slot = r.fill
            while slot != NONE:
                following = s.slots[slot].next
                give_back(s, s.slots[slot].tenant, s.slots[slot].tier, s.slots[slot].size_gib)
                end_delete(s, slot)
                slot = following
            if not s.images[r.image].raw:
                drop_file(s, v)
            return upload_fails(s, v, error)
        slot = s.world[0].made
        if last == NONE:
            r.fill = slot
        else:
            s.slots[last].next = slot
        last = slot
    slot = r.fill
    while slot != NONE:
        allocate(s, s.slots[slot].pool, 0, s.slots[slot].size_gib)
        s.pools[s.slots[slot].pool].rows += 1
        slot = s.slots[slot].next
    return take_glance_stream(s, v)


@compiled
def kept(s: State, v: int) -> bool:
    """glance_store looks at the volume that Cinder makes."""
    r = s.volumes[v]
    if r.awaits != NONE:
        seconds = next_look_s(s, v)
        if seconds < math.inf:
            return next_phase(s, v, KEPT, seconds)
        s.volumes[r.awaits].awaited_by = GIVEN_UP
    elif r.fill != NONE and fits(s, v):
        return take_glance_stream(s, v)
    return no_store(s, v, NO_STORE)


@compiled
def take_glance_stream(s: State, v: int) -> bool:
    """Wait for one of Glance's streams."""
    s.volumes[v].phase = SENDING
    return take_glance(s, v)


@compiled
def no_store(s: State, v: int, error: int) -> bool:
    """Glance has got no volume for the data from Cinder, or no room for all."""
    if not s.images[s.volumes[v].image].raw:
        drop_file(s, v)
    return upload_fails(s, v, error)


@compiled
def scheduled(s: State, v: int) -> bool:
    """Whether Glance asks Cinder for the image-volume of an upload, which the scheduler places."""
    r = s.volumes[v]
    return s.asked_tiers[r.tier] != NONE and not s.images[r.image].chosen


@compiled
def put_file(s: State, image: int, pool: int) -> int:
    """Put an image's file on a pool, in the slot `world.made`. Returns why it is refused, or 0."""
    i = s.images[image]
    tier = s.backends[s.pools[pool].backend].tier
    tenant = INTERNAL if s.options[0].tenant_owns_store else NONE
    size_gib = max(1, i.size_gib)
    error = reserve(s, tenant, tier, size_gib)
    if error != 0:
        return error
    if create(s, NONE, pool, size_gib, STORE, tier)[0] == 0:
        slot = s.world[0].made
        s.slots[slot].tenant = tenant
        if write(s, slot, image, True, i.version)[0] == 0:
            return 0
        end_delete(s, slot)
    give_back(s, tenant, tier, size_gib)
    return NO_SPACE


@compiled
def send(s: State, v: int) -> bool:
    """Send the data to Glance, or as much of them as the image-volume that it asked for has room for."""
    r = s.volumes[v]
    backend, route = s.pools[r.pool].backend, s.glance_routes[r.pool, r.node]
    mib = s.images[r.image].size_mib
    part = part_of(mib, s.slots[r.fill].size_gib - 1) if scheduled(s, v) else 1.0
    if route == NONE:
        return next_phase(s, v, SENT, s.send_s[r.image, backend] * part)
    return carry(s, v, SENT, mib * part, s.send_mib_s[r.image, backend], route)


@compiled
def extended(s: State, v: int) -> bool:
    """glance_store looks at the volume that is extended. Without room it deletes it, if Cinder lets it."""
    r = s.volumes[v]
    d = s.slots[r.fill]
    if d.extension == UNDER_WAY:
        seconds = next_look_s(s, v)
        if seconds < math.inf:
            return next_phase(s, v, EXTENDING, seconds)
    if d.extension == DONE:
        r.phase = SENDING
        return True
    glance_deletes(s, r.fill)
    give_glance(s, v)
    return no_store(s, v, NO_STORE if d.extension == OVER else STORE_FULL)


@compiled
def sent(s: State, v: int) -> bool:
    """The data are in Glance, and the image is active; or a part, and the image-volume must be extended."""
    r = s.volumes[v]
    i = s.images[r.image]
    if scheduled(s, v) and s.slots[r.fill].size_gib < i.size_gib:
        ask_to_extend(s, r.fill)
        r.asked_s = s.world[0].now
        return extended(s, v)
    give_glance(s, v)
    if not i.raw:
        drop_file(s, v)
    i.stored_first = r.fill != NONE
    slot = r.fill
    if scheduled(s, v):  # it is among the slots of its own volume
        add_location(s, r.image, slot)
        slot = NONE
    while slot != NONE:
        following, s.slots[slot].next = s.slots[slot].next, NONE
        add_location(s, r.image, slot)
        slot = following
    i.saving = False
    return next_phase(s, v, TWIN, 0.0)


@compiled
def twin(s: State, v: int) -> bool:
    """`raw-twin-location` and `raw-twin-cache`: see sim/cinder/uploads.py."""
    r, o = s.volumes[v], s.options[0]
    i = s.images[r.image]
    b = s.backends[s.pools[r.pool].backend]
    if o.upload == TWIN_LOCATION and not (i.raw and i.bare):
        return clone_image_volume(s, v, STORE, INTERNAL if o.uploads_to_tenant else r.tenant, TWINNED)
    if o.upload == TWIN_CACHE and b.cache and not i.deleted and not r.encrypted:
        r.version = i.version
        r.phase = HELD
        return acquire_lock(s, v, s.locks[lock_row(s, v), r.image])
    return next_phase(s, v, UPLOADED, 0.0)


@compiled
def twinned(s: State, v: int) -> bool:
    """The clone is there: a location, unless its image is gone."""
    r = s.volumes[v]
    if r.fill_error != 0:
        return next_phase(s, v, UPLOADED, 0.0)
    if not s.images[r.image].deleted:
        located(s, v)
        return next_phase(s, v, UPLOADED, 0.0)
    read_clock(s)
    return next_phase(s, v, UNWANTED, begin_delete(s, r.fill)[1])


@repeats("cinder.volume.manager:VolumeManager", "_create_image_cache_volume_entry")
@compiled
def enter(s: State, v: int) -> bool:
    """`_create_image_cache_volume_entry`, with its locks."""
    r = s.volumes[v]
    if look_up_or_drop(s, v, False) == NONE:
        if ensure_space(s, v):
            return clone_image_volume(s, v, CACHE, INTERNAL, ENTERED)
        note(s, v, r.pool, r.image, SKIPPED, r.size_gib, REFUSED)
    release_locks(s, v)
    return next_phase(s, v, UPLOADED, 0.0)


@compiled
def entered(s: State, v: int) -> None:
    """The clone is there: it becomes an entry."""
    r = s.volumes[v]
    if r.fill_error == 0:
        read_clock(s)
        create_entry(s, v, r.fill)
    else:
        note(s, v, r.pool, r.image, SKIPPED, r.size_gib, r.fill_error)
    release_locks(s, v)


@compiled
def release_locks(s: State, v: int) -> None:
    if s.options[0].fill_lock:
        release_lock(s, s.fill_locks[fill_lock_row(s, v)])
    release_lock(s, s.locks[lock_row(s, v), s.volumes[v].image])


@repeats("cinder.volume.manager:VolumeManager", "_delete_image")
@compiled
def upload_fails(s: State, v: int, error: int) -> bool:
    """`_delete_image`: what is not active goes."""
    r = s.volumes[v]
    s.uploads[r.upload].error = error
    i = s.images[r.image]
    i.saving = i.delete_wanted = False
    i.deleted = True
    return next_phase(s, v, UPLOADED, 0.0)


@compiled
def upload_over(s: State, v: int) -> None:
    """End an upload: write its row, and start the deletes that waited for its end."""
    r = s.volumes[v]
    give_thread(s, r.pool, r.node)
    s.uploads[r.upload].end = s.world[0].now
    i = s.images[r.image]
    if i.delete_wanted:
        i.delete_wanted = False
        delete_image(s, r.image)
    volume_over(s, v)


@compiled
def volume_over(s: State, v: int) -> None:
    """Let the volume be uploaded again, or deleted."""
    r = s.volumes[v]
    r.upload = NONE
    if r.delete_wanted:
        r.delete_wanted = False
        cast(s, USER_DELETES, v, NONE)
