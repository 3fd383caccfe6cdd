"""A download, which may fill the cache: `_create_from_image_cache_or_download`."""

from __future__ import annotations

from sim.fast.arrays import create, extend, find, write
from sim.fast.cache import add_location, create_entry, ensure_space, look_up_or_drop, note
from sim.fast.directories import drop_file, drop_raw_file, keep_raw_file
from sim.fast.events import (
    BEGIN_IMAGE_DELETE,
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
from sim.fast.fill import clone_image_volume
from sim.fast.jit import compiled, inlined
from sim.fast.links import carry
from sim.fast.nodes import fill_lock_row
from sim.fast.phases import (
    ATTACHING,
    CONVERTED,
    CREATE_TO_WRITE,
    CREATED,
    EXTEND,
    EXTENDED,
    FETCHED,
    FETCHING,
    FILLED,
    FILLING,
    HASHING,
    UNLOCK,
    WRITING,
    WRITTEN,
    fails_with,
)
from sim.fast.places import make_place, note_cache_held
from sim.fast.reading import attach, detach, hashed, read, send
from sim.fast.state import (
    CACHE,
    COPY,
    DOWNLOAD,
    INTERNAL,
    NO_CONVERSION,
    NONE,
    RAW_FULL,
    REFUSED,
    SKIPPED,
    STORE,
    USER,
    VIRTUAL_TOO_LARGE,
    State,
)
from sim.inputs.units import MIB_PER_GIB
from sim.model.repeats import repeats


@inlined
def download_step(s: State, v: int, phase: int) -> bool:
    """Run a phase of a download (or of Glance's reading of an image). Returns whether it goes on at once."""
    if phase < FETCHED:
        return read_step(s, v, phase)
    if phase == FETCHED:
        return fetched(s, v)
    if phase == CREATE_TO_WRITE:
        return create_to_write(s, v)
    if phase == CREATED:
        return copy_image(s, v)
    if phase == WRITING:
        return write_image(s, v)
    if phase == CONVERTED:
        return converted(s, v)
    if phase == WRITTEN:
        return written(s, v)
    if phase == FILLING:
        return fill(s, v)
    if phase == FILLED:
        return filled(s, v)
    if phase == EXTEND:
        return extend_back(s, v)
    r = s.volumes[v]
    r.size_gib, r.phase = r.asked_gib, UNLOCK
    return True


@inlined
def read_step(s: State, v: int, phase: int) -> bool:
    """The phases up to the end of the transfer."""
    if phase == FETCHING:
        return fetch(s, v)
    if phase == ATTACHING:
        return attach(s, v)
    return read(s, v) if phase == HASHING else hashed(s, v)


@repeats(
    "cinder.volume.flows.manager.create_volume:CreateVolumeFromSpecTask",
    "_create_from_image_cache_or_download",
)
@repeats("cinder.image.image_utils:TemporaryImages", "fetch")
@compiled
def download(s: State, v: int) -> bool:
    """Start a download."""
    r = s.volumes[v]
    r.phase = FETCHING  # `TemporaryImages.fetch`
    r.since = s.world[0].now
    return take_glance(s, v)


@repeats("cinder.image.image_utils", "fetch")
@compiled
def fetch(s: State, v: int) -> bool:
    """Fetch the image on one of Glance's streams, unless the node's disk is full."""
    r = s.volumes[v]
    r.stream_wait_s += s.world[0].now - r.since
    return read(s, v) if s.options[0].glance_takes_time else send(s, v)


@repeats(
    "cinder.volume.flows.manager.create_volume:CreateVolumeFromSpecTask",
    "_create_from_image_cache_or_download",
)
@repeats("cinder.image.image_utils", "check_virtual_size")
@compiled
def fetched(s: State, v: int) -> bool:
    """`_create_from_image_cache_or_download`: make the volume at the minimal size, if it fills the cache."""
    r = s.volumes[v]
    if s.options[0].glance_takes_time:
        detach(s, v)
        give_glance(s, v)
    r.verified = True
    if s.images[r.image].virtual_gib > r.size_gib:
        return give_up(s, v, VIRTUAL_TOO_LARGE)
    if r.fills:
        r.size_gib = s.images[r.image].virtual_gib
    r.cloned = NONE
    return next_phase(s, v, CREATE_TO_WRITE, 0.0)


@repeats("cinder.volume.flows.manager.create_volume:CreateVolumeFromSpecTask", "_create_from_image_download")
@compiled
def create_to_write(s: State, v: int) -> bool:
    """The driver's volume of `_create_from_image_download`."""
    r = s.volumes[v]
    error, seconds = create(s, v, r.pool, r.size_gib, USER, r.tier)
    if error == 0:
        return next_phase(s, v, CREATED, seconds)
    evicts, seconds = make_place(s, v, error)
    if evicts:
        return next_phase(s, v, r.phase, seconds)
    return give_up(s, v, error)


@compiled
def give_up(s: State, v: int, error: int) -> bool:
    """After an error: the file of the download goes, as at the end of `TemporaryImages`, and its metadata."""
    drop_file(s, v)
    s.volumes[v].verified = False
    fails_with(s, v, error)
    return next_phase(s, v, EXTEND, 0.0)


@repeats("cinder.volume.flows.manager.create_volume:CreateVolumeFromSpecTask", "_create_from_image_download")
@repeats("cinder.volume.volume_utils", "copy_image_to_volume")
@repeats("cinder.image.image_utils", "check_image_conversion_disable")
@compiled
def copy_image(s: State, v: int) -> bool:
    """`copy_image_to_volume`: take the space and one of the backend's write streams."""
    r = s.volumes[v]
    backend = s.pools[r.pool].backend
    if s.options[0].no_conversion and not s.images[r.image].raw:
        return give_up(s, v, NO_CONVERSION)
    if not s.backends[backend].imports_raw_file:
        error, _ = write(s, find(s, v, backend), r.image, False, r.version)
        if error != 0:
            note_cache_held(s, v)
            return give_up(s, v, COPY + error)
    r.phase = WRITING
    r.since = s.world[0].now
    return take_stream(s, s.backends[backend], s.backends[backend].write_streams, v)


@compiled
def write_image(s: State, v: int) -> bool:
    """Convert and write. Where writes share a rate, `write_s` has the conversion alone."""
    r = s.volumes[v]
    r.write_wait_s += s.world[0].now - r.since
    backend = s.pools[r.pool].backend
    b = s.backends[backend]
    if b.imports_raw_file:
        error = import_refused(s, v)
        if error != 0:
            give_stream_back(s, b, b.write_streams, backend)
            return give_up(s, v, error)
    after = WRITTEN if b.route == NONE else CONVERTED
    return next_phase(s, v, after, s.write_s[r.image, backend])


@compiled
def import_refused(s: State, v: int) -> int:
    """Convert to a raw file first, then take the volume's space. Why this is not possible, or 0."""
    r = s.volumes[v]
    if not keep_raw_file(s, v):
        return RAW_FULL
    error, _ = write(s, find(s, v, s.pools[r.pool].backend), r.image, False, r.version)
    if error == 0:
        return 0
    note_cache_held(s, v)
    drop_raw_file(s, v)
    return COPY + error


@compiled
def converted(s: State, v: int) -> bool:
    """Write over the array's shared link."""
    r = s.volumes[v]
    b = s.backends[s.pools[r.pool].backend]
    mib = s.content_gib[r.image, s.pools[r.pool].backend] * MIB_PER_GIB
    return carry(s, v, WRITTEN, mib, b.write_mib_s, b.route)


@compiled
def written(s: State, v: int) -> bool:
    """The image is written. Fill the cache, if the image's lock was kept for that."""
    r = s.volumes[v]
    backend = s.pools[r.pool].backend
    if s.backends[backend].imports_raw_file:
        drop_raw_file(s, v)
    give_stream_back(s, s.backends[backend], s.backends[backend].write_streams, backend)
    drop_file(s, v)
    r.source = DOWNLOAD
    if not r.fills:
        return next_phase(s, v, EXTEND, 0.0)
    r.phase = FILLING
    r.since = s.world[0].now
    return not s.options[0].fill_lock or acquire_lock(s, v, s.fill_locks[fill_lock_row(s, v)])


@repeats("cinder.volume.manager:VolumeManager", "_create_image_cache_volume_entry")
@compiled
def fill(s: State, v: int) -> bool:
    """`_create_image_cache_volume_entry`: room, quota, and a clone of the user's new volume."""
    r = s.volumes[v]
    w, o = s.world[0], s.options[0]
    r.lock_wait_s += w.now - r.since
    if look_up_or_drop(s, v, False) != NONE:
        return end_fill(s, v)
    if not o.on_demand and not ensure_space(s, v):
        return not_filled(s, v, REFUSED)
    return clone_image_volume(s, v, STORE if o.on_demand else CACHE, INTERNAL, FILLED)


@compiled
def not_filled(s: State, v: int, reason: int) -> bool:
    r = s.volumes[v]
    note(s, v, r.pool, r.image, SKIPPED, r.size_gib, reason)
    return end_fill(s, v)


@repeats("cinder.volume.manager:VolumeManager", "_create_image_cache_volume_entry")
@repeats("cinder.volume.flows.manager.create_volume:CreateVolumeOnFinishTask", "execute")
@compiled
def filled(s: State, v: int) -> bool:
    """The image-volume is there (`CreateVolumeOnFinishTask`): enter it."""
    r = s.volumes[v]
    if r.fill_error != 0:
        return not_filled(s, v, r.fill_error)
    read_clock(s)
    if not s.options[0].on_demand:
        create_entry(s, v, r.fill)
    elif not s.images[r.image].deleted:
        add_location(s, r.image, r.fill)
    else:  # its location is refused
        read_clock(s)
        cast(s, BEGIN_IMAGE_DELETE, r.fill, NONE)
    return end_fill(s, v)


@compiled
def end_fill(s: State, v: int) -> bool:
    if s.options[0].fill_lock:
        release_lock(s, s.fill_locks[fill_lock_row(s, v)])
    return next_phase(s, v, EXTEND, 0.0)


@repeats(
    "cinder.volume.flows.manager.create_volume:CreateVolumeFromSpecTask",
    "_create_from_image_cache_or_download",
)
@compiled
def extend_back(s: State, v: int) -> bool:
    """The `finally` of `_create_from_image_cache_or_download`: the size asked for, on failures too."""
    r = s.volumes[v]
    if r.size_gib == r.asked_gib:
        return next_phase(s, v, UNLOCK, 0.0)
    error, seconds = extend(s, find(s, v, s.pools[r.pool].backend), r.asked_gib)
    if error != 0:
        note_cache_held(s, v)
        fails_with(s, v, error)
    return next_phase(s, v, EXTENDED, seconds)
