"""The state of a run: records in named arrays, one `State` of them.

Numbers stand for names: pools, backends, images, tiers and projects by their position, -1 for none. Sizes
are GiB, times seconds, unless a name says otherwise. A limit that is not set is `NO_LIMIT` or infinite.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sim.inputs.trace import EVENTS as TRACE_EVENTS
from sim.model.records import SOURCES, WAITS
from sim.model.rules import PAYERS
from sim.model.usage import KINDS, QUANTITIES

Array = npt.NDArray[Any]
Step = tuple[int, float]  # why it failed, 0 if it did not, and the seconds that it takes

NONE = -1
NO_LIMIT = 2**62

# Who a volume belongs to, in the order in which they pay for shared data.
USER, STORE, CACHE = map(PAYERS.index, ("user", "store", "cache"))
KIND_BITS = 2  # of a member's number, behind its tier: no division finds them
# Accounts of space, and the fields of each by quantity.
USERS, CACHED, STORED, IMAGES, ORPHANS = map(KINDS.index, ("user", "cache", "store", "image", "orphan"))
ACCOUNTS = len(KINDS)
FIELDS = {quantity: quantity.removesuffix("_gib") for quantity in QUANTITIES}

# Where a create's data came from.
NO_SOURCE, DOWNLOAD, FROM_CACHE, FROM_STORE, FROM_DRIVER = map(
    SOURCES.index, ("none", "download", "cache", "store", "driver")
)

# Which entry `ensure_space` gives up.
LRU, SIEVE, GDSF, BELADY = range(4)

# What weighs a pool.
BY_CAPACITY, BY_ALLOCATED, BY_NUMBER, BY_CLONES = range(4)

# Events of the trace.
CREATE, DELETE, UPDATE_IMAGE, DELETE_IMAGE, UPLOAD_VOLUME, STORE_IMAGE, RELEASE, PREFETCH = map(
    TRACE_EVENTS.index,
    ("create", "delete", "update_image", "delete_image", "upload", "store_image", "release", "prefetch"),
)
TAKE_SNAPSHOT, DROP_SNAPSHOT = map(TRACE_EVENTS.index, ("snapshot", "delete_snapshot"))

# How images are made of volumes (sim.inputs.scenario.Scenario.upload).
COPY_DATA, NO_OP, TWIN_LOCATION, TWIN_CACHE = range(4)

# Events of the cache.
MADE, EVICTED, SKIPPED, STALE, AT_CLONE_LIMIT, FOR_USER = range(6)

# Why a step failed, besides what makes an array refuse (sim/model/rules.py). An error of a copy
# (`ImageCopyFailure`, which is final) is COPY + the array's.
IMAGE_GONE, IMAGE_TOO_LARGE, VIRTUAL_TOO_LARGE, OVER_QUOTA, REFUSED, BROKEN = range(9, 15)
NOT_ACTIVE = 15
COPY = 20  # FAMILY_LIMIT, which is not final either, lies below
# Of uploads, besides.
NO_VOLUME, NOT_AVAILABLE = range(32, 34)
NO_STORE, STORE_FULL = range(38, 40)  # Glance has no volume for the data, or no room for all
# Of the scheduler, besides.
NO_MAXIMUM = 34
# Of the API, besides.
INVALID_ZONE = 35
# Of uploads of encrypted volumes, besides.
NOT_RAW, NO_KEY = range(36, 38)
# Of quotas, besides: what the API refuses, by the quota that is exceeded (`_TYPE`: of the volume type).
OVER_SIZE, OVER_GIGABYTES, OVER_GIGABYTES_TYPE, OVER_VOLUMES, OVER_VOLUMES_TYPE = OVER_ANY = range(64, 69)

# Of an image that would have to be converted, or needs a larger volume.
NO_CONVERSION, BELOW_MINIMUM = range(69, 71)
# Of conversion directories: what `check_available_space` refuses, and a disk that is full, for the file of a
# download or an upload, or for the raw file that a driver imports.
NO_FREE_SPACE, DISK_FULL, RAW_FULL = range(71, 74)

# No location in the Cinder store can be attached. It is not final.
NOT_ATTACHED = 80
# That, and a disk that is full, of a volume that has metadata of an earlier download: Cinder shows why.
NOT_ATTACHED_SHOWN, DISK_FULL_SHOWN = range(81, 83)

INTERNAL = 0  # the internal tenant; users' projects follow
# Columns of quotas: of a tenant in all, then from OF_TYPES on, for each volume type, GiB and volumes.
PER_VOLUME, ALL_GIGABYTES, ALL_VOLUMES, OF_TYPES = range(4)

OPTIONS = np.dtype(
    [
        ("uses_store", "?"), ("schedules", "?"),
        ("eviction", "i8"), ("max_attempts", "i8"), ("polling_interval", "f8"),
        ("streams", "i8"), ("tiers", "i8"), ("pools", "i8"),
        ("nodes", "i8"),  # of the backend that has most
        ("on_demand", "?"),
        ("upload", "i8"), ("no_conversion", "?"), ("uploads_to_tenant", "?"), ("tenant_owns_store", "?"),
        ("refused_without_lock", "?"), ("retry_clone_limit", "?"),
        ("limits_per_backend", "?"), ("fill_lock", "?"), ("evict_for_users", "?"),
        ("capacity_multiplier", "f8"), ("allocated_multiplier", "f8"), ("number_multiplier", "f8"),
        ("preference", "f8"), ("stochastic", "?"), ("locks_by_chance", "?"),
        ("stores_later", "?"), ("hashes", "?"),
        ("noted", "?"),  # the steps of creates are noted
        ("store_zone", "i8"),  # of the volumes that Glance asks Cinder for, in uploads
        ("glance_takes_time", "?"),  # else a fetch takes none, and no transfer a stream
        ("directories", "?"),  # measures the conversion directories, because the scenario has nodes
        # counts the volumes of families, threads, and what projects have, because some array, service or
        # project has a limit
        ("families", "?"), ("threads", "?"), ("quotas", "?"),
        ("stream_mib_s", "f8"), ("of_glance", "i8"),  # of a transfer's own; the route of one without a node
    ], align=True,
)  # fmt: skip
QUEUE = [("in_use", "i8"), ("first", "i8"), ("last", "i8")]
WORLD = np.dtype(
    [
        ("now", "f8"), ("sequence", "i8"), ("reading_us", "i8"), ("read_at", "f8"), ("last_change", "f8"),
        ("stamp", "i8"),
        ("position", "i8"), ("happened", "i8"), ("report_at", "f8"), ("report_index", "f8"),
        ("reports", "i8"), ("reported_us", "i8"),  # of all backends; the first reading of the last
        ("events", "i8"), ("first_cast", "i8"), ("casts", "i8"),
        ("used_volumes", "i8"), ("free_volume", "i8"), ("under_way", "i8"),
        ("used_slots", "i8"), ("free_slot", "i8"), ("used_lineages", "i8"), ("free_lineage", "i8"),
        ("used_entries", "i8"), ("free_entry", "i8"), ("entries", "i8"), ("made", "i8"),
        ("next_glance", "i8"),  # the node that the next transfer asks
        ("begun", "i8"), ("flushed", "i8"), ("cache_events", "i8"),
        ("next_edge", "f8"), ("edges", "i8"), ("uploads", "i8"), ("lottery", "i8"), ("locks_lottery", "i8"),
        ("used_messages", "i8"), ("free_message", "i8"), ("used_turns", "i8"), ("free_turn", "i8"),
        ("used_families", "i8"), ("free_family", "i8"),
        ("steps", "i8"),
        ("flows", "i8"), ("copy_mib", "f8"),  # under way; what the clone that has just begun still copies
    ], align=True,
)  # fmt: skip
BACKENDS = np.dtype(
    [
        ("nodes", "i8"), ("next_node", "i8"), ("first_pool", "i8"), ("pools", "i8"),
        ("max_volumes", "i8"), ("volumes", "i8"),
        ("create_s", "f8"), ("clone_s", "f8"), ("delete_s", "f8"), ("extend_s", "f8"),
        ("clone_mib_s", "f8"), ("copies", "?"), ("busy", "?"), ("driver_clones_raw", "?"),
        ("imports_raw_file", "?"), ("thin", "?"), ("dedupe", "?"), ("cache", "?"),
        ("max_clones", "i8"), ("max_family", "i8"), ("ratio", "f8"),
        ("write_streams", "i8"), *QUEUE, ("max_size_gb", "i8"), ("max_count", "i8"), ("reported_us", "i8"),
        ("reports_after", "i8"),  # when all nodes report: so many do before its last
        # the limits of its cache, from the first to below the second, with which the run would be the same
        ("size_from", "i8"), ("size_below", "i8"), ("count_from", "i8"), ("count_below", "i8"),
        ("volumes_peak", "i8"), ("tier", "i8"), ("cluster", "?"),
        ("store_across", "?"), ("cache_across", "?"),  # whether it clones from any pool
        ("snapshots", "?"),  # takes places for snapshots: they are volumes
        ("clone_lock", "?"), ("clone_streams", "i8"),
        # whether a full copy comes after the other seconds of a clone, and whether a node makes it
        ("copies_apart", "?"), ("copied_by_node", "?"),
        # over the array's shared link, if it has one: its route, and rates of a stream's own
        ("route", "i8"), ("write_mib_s", "f8"), ("copy_mib_s", "f8"),
    ], align=True,
)  # fmt: skip
POOLS = np.dtype(
    [
        ("backend", "i8"), ("capacity", "f8"), ("provision_limit", "f8"), ("max_volumes", "i8"),
        ("available", "f8"), ("available_rounded", "f8"), ("free", "f8"),  # to the scheduler; free: just now
        ("volumes", "i8"), ("cached", "i8"), ("provisioned", "i8"), ("physical", "f8"),
        ("volumes_peak", "i8"),
        # its cache: entries by use and by age, each a list from oldest to newest
        ("entries", "i8"), ("cache_gib", "i8"), ("least_used", "i8"), ("last_used", "i8"),
        ("oldest", "i8"), ("newest", "i8"), ("hand", "i8"), ("inflation", "f8"), ("first_entry", "i8"),
        # What it last reported, and the scheduler's picture of it. No two that are copied lie side by side:
        # the processor waits for memory when it reads two at once that were just written one by one.
        ("reported_physical", "f8"), ("reported_provisioned", "i8"), ("reports", "i8"),
        ("reported_allocated", "i8"),
        ("seen_provisioned", "i8"), ("seen_free", "f8"), ("seen_allocated", "i8"), ("seen_us", "i8"),
        ("rows", "i8"),  # of the table `volumes`
        ("zone", "i8"),
    ], align=True,
)  # fmt: skip
# What a node has counted of a pool, if anything.
ALLOCATED = np.dtype([("gib", "i8"), ("known", "?")], align=True)
IMAGE = np.dtype(
    [
        ("raw", "?"), ("bare", "?"), ("deleted", "?"), ("known", "?"),  # known: its virtual size, to Glance
        ("owner", "i8"),
        ("size_gib", "i8"), ("virtual_gib", "i8"), ("min_gib", "i8"), ("file_gib", "f8"),
        ("size_bytes", "f8"), ("data_bytes", "f8"),
        ("fetch_s", "f8"), ("version", "i8"), ("first_location", "i8"),
        ("saving", "?"), ("delete_wanted", "?"),
        ("size_mib", "f8"),
        ("foreign", "?"),  # its image-volumes at the start name another project than its owner
        ("stored_first", "?"),  # its first location, which Glance reads, is in the Cinder store
        ("chosen", "?"),  # the image list says where its image-volumes lie
    ], align=True,
)  # fmt: skip
# A volume of a user (a row of Cinder's table) and, while it is being created, its request. What is NONE in a
# new row comes first, then what is 0: the compiler clears what lies side by side at once.
VOLUMES = np.dtype(
    [
        ("first_slot", "i8"), ("first_pool", "i8"), ("last_pool", "i8"), ("fill", "i8"), ("next", "i8"),
        ("error_pool", "i8"), ("upload", "i8"), ("clone_lock", "i8"),
        ("holds", "i8"), ("read", "i8"),  # of an image-volume of the store, its image; the slot Glance reads
        ("awaited_by", "i8"), ("awaits", "i8"),  # the volume whose upload waits for it; and the other way
        ("source", "i8"), ("error", "i8"), ("attempts", "i8"), ("tries", "i8"), ("deletes", "i8"),
        ("error_gib", "f8"), ("lock_wait_s", "f8"), ("stream_wait_s", "f8"), ("cache_held", "i8"),
        ("thread_wait_s", "f8"), ("clone_wait_s", "f8"), ("write_wait_s", "f8"),
        ("node", "i8"),  # of its backend's, the one that made it
        ("snapshots", "i8"), ("running", "i8"),  # how many it has; of these, whose create or delete runs
        ("turns", "i8"), ("fill_error", "i8"),  # what its clone has of its turns
        ("delete_wanted", "?"), ("fills", "?"), ("locks", "?"), ("failed", "?"), ("ready", "?"),
        ("keyless", "?"),  # encrypted, and Cinder has deleted its key
        ("verified", "?"),  # has the metadata of a download that has ended, `signature_verified`
        ("retried", "?"), ("hashes", "?"),  # hashes: no volume, but the hash of an image
        ("encrypted", "?"), ("pinned", "?"), ("under_way", "?"), ("kept", "?"),
        ("code", "i8"), ("row", "i8"), ("image", "i8"), ("tier", "i8"), ("pool", "i8"),
        ("asked_gib", "i8"), ("size_gib", "i8"), ("phase", "i8"), ("version", "i8"), ("since", "f8"),
        ("glance", "i8"),  # the node of Glance that serves its transfer
        ("project", "i8"), ("zone", "i8"), ("tenant", "i8"),
        ("made", "i8"),  # the order in which they are made
        ("stored", "i8"), ("stored_serial", "i8"), ("cloned", "i8"), ("cloned_serial", "i8"),
        ("asked_s", "f8"),  # when an image-volume of the store was asked for
        # its stream over shared links, in the heap of a flow; what a clone copies, and the phase after that
        ("ends_mib", "f8"), ("order", "i8"), ("left", "i8"), ("right", "i8"),
        ("copy_mib", "f8"), ("after", "i8"),
        ("fill_kind", "i8"), ("fill_tenant", "i8"),  # of an image-volume made of it
        # The location that Glance attaches: its serial, the newest that Glance knows, and tries.
        ("read_serial", "i8"), ("read_located", "i8"), ("newest", "i8"), ("refused", "i8"),
    ], align=True,
)  # fmt: skip
# A volume on an array. One that is gone keeps its slot while clones of it live.
SLOTS = np.dtype(
    [
        ("code", "i8"), ("pool", "i8"), ("size_gib", "i8"), ("tier", "i8"), ("source", "i8"),
        ("lineage", "i8"), ("clones", "i8"), ("owner", "i8"), ("next", "i8"), ("kind", "i8"), ("there", "?"),
        ("tenant", "i8"),  # of an image-volume: whose quota it takes
        ("marked", "?"),  # a location that is raw, whatever its image is
        ("foreign", "?"),  # a location that the image's owner alone may clone
        ("serial", "i8"),  # of the volumes that have had the slot
        ("deleting", "?"), ("attached", "?"), ("extension", "i8"),  # of an image-volume: its status
        ("located", "i8"),  # the order of locations
        ("node", "i8"), ("made", "i8"),  # the node that made it; the order of the rows
        ("clone_lock", "i8"),  # the turn to clone it, if anybody does
        ("family", "i8"),  # of a volume and what descends from it, if families count
    ], align=True,
)  # fmt: skip
LINEAGES = np.dtype(
    [
        ("gib", "f8"), ("pool", "i8"), ("image", "i8"), ("version", "i8"), ("payer", "i8"), ("members", "i8"),
        ("next", "i8"), ("file", "?"),
    ], align=True,
)  # fmt: skip
# Streams of backends for clones, by backend; then locks of the volumes that are cloned now (slot, serial).
TURNS = np.dtype(
    [*QUEUE, ("slot", "i8"), ("serial", "i8"), ("next", "i8")], align=True
)  # fmt: skip
GLANCES = np.dtype(QUEUE, align=True)  # Glance's nodes
THREADS = np.dtype([("limit", "i8"), *QUEUE], align=True)  # of a cinder-volume
MESSAGES = np.dtype([("what", "i8"), ("who", "i8"), ("next", "i8")], align=True)  # that wait for a thread
FAMILIES = np.dtype([("volumes", "i8"), ("next", "i8")], align=True)
ENTRIES = np.dtype(
    [
        ("last_used_us", "i8"), ("priority", "f8"), ("pool", "i8"), ("image", "i8"), ("version", "i8"),
        ("slot", "i8"), ("size_gib", "i8"), ("look_ups", "i8"), ("less_used", "i8"), ("more_used", "i8"),
        ("older", "i8"), ("newer", "i8"), ("visited", "?"),
        ("same", "i8"),  # the entry of the same image and pool that was used before it
        ("uses", "i8"),  # of all entries, up to its last one
    ], align=True,
)  # fmt: skip
LOCKS = np.dtype([("held", "?"), ("first", "i8"), ("last", "i8")], align=True)
# A node's conversion directory, in bytes (see sim/model/directories.py).
DIRECTORIES = np.dtype(
    [
        ("capacity", "f8"), ("used", "f8"), ("peak", "f8"), ("needed", "f8"), ("area", "f8"), ("since", "f8"),
        ("refused", "i8"),
        ("edge_peak", "f8"),  # since the last edge
    ], align=True,
)  # fmt: skip
EDGE_DIRECTORIES = np.dtype([("used", "f8"), ("peak", "f8")], align=True)
EVENTS = np.dtype(
    [("time", "f8"), ("sequence", "i8"), ("what", "i4"), ("who", "i4"), ("pool", "i4")], align=True
)
# Levels, areas and peaks, each in four places, which one instruction of the processor changes at once. What
# the fourth has besides `since` means nothing.
ACCOUNT = np.dtype(
    [(f"{of}{stat}", "f8") for stat in ("", "_area", "_peak") for of in (*FIELDS.values(), "since")],
    align=True,
)
# What becomes of a create; row r of the run lies at r modulo the array's length, a power of two. If a quota
# refuses it, error_pool is the quota and error_gib what is used of it.
ROWS = np.dtype(
    [
        ("end", "f8"), ("lock_wait_s", "f8"), ("stream_wait_s", "f8"), ("error_gib", "f8"),
        ("cache_held", "i4"), ("host", "i4"), ("error_pool", "i4"), ("attempts", "i2"), ("source", "i1"),
        ("error", "i1"), ("available", "?"), ("unplaced", "?"), ("done", "?"),
    ], align=True,
)  # fmt: skip
# And what it waited besides, in an array as long as that of `ROWS` if the scenario has queues, else of one.
QUEUED = np.dtype([(name, "f8") for name in WAITS], align=True)
CACHE_EVENTS = np.dtype(
    [
        ("time", "f8"), ("row", "i8"), ("pool", "i4"), ("image", "i4"), ("size_gib", "i4"),
        ("event", "i1"), ("reason", "i1"),
    ], align=True,
)  # fmt: skip


# A volume that exists at time 0. It holds `image`'s content, or its `file`, or nothing.
PLACED = np.dtype(
    [
        ("code", "i8"), ("pool", "i8"), ("tier", "i8"), ("kind", "i8"), ("size_gib", "i8"), ("image", "i8"),
        ("file", "?"), ("used_us", "i8"),  # used_us: when its entry of the cache was last used
        ("tenant", "i8"),
    ], align=True,
)  # fmt: skip
# A snapshot of the trace: the volume (NONE: there is no such snapshot) and its slot, if the array has one.
SNAPSHOTS = np.dtype(
    [("code", "i8"), ("volume", "i8"), ("slot", "i8"), ("running", "?"), ("delete_wanted", "?")], align=True
)
# Shared links: see sim/model/links.py. A flow's `top` is the volume whose stream is the first to end.
LINKS = np.dtype(
    [
        ("total_mib_s", "f8"), ("free_mib_s", "f8"), ("streams", "i8"),
        ("transfers", "i8"), ("asked_mib", "f8"), ("carried_mib", "f8"),
    ], align=True,
)  # fmt: skip
ROUTES = np.dtype(
    [
        ("first", "i8"), ("second", "i8"), ("component", "i8"), ("streams", "i8"), ("share_mib_s", "f8"),
        ("filling", "?"),
    ], align=True,
)  # fmt: skip
COMPONENTS = np.dtype(
    [
        ("first_route", "i8"), ("routes", "i8"), ("first_flow", "i8"), ("since", "f8"), ("due", "f8"),
        ("due_flow", "i8"), ("looks_at", "f8"),
    ], align=True,
)  # fmt: skip
FLOWS = np.dtype(
    [
        ("route", "i8"), ("own_mib_s", "f8"), ("streams", "i8"), ("moved_mib", "f8"),
        ("first_end_mib", "f8"), ("next", "i8"), ("top", "i8"),
    ], align=True,
)  # fmt: skip
# A step of a create, if they are noted: its phase, what its clone has of its turns, and where it is.
STEPS = np.dtype(
    [
        ("time", "f8"), ("row", "i4"), ("pool", "i4"), ("node", "i2"), ("phase", "i2"), ("turns", "i2"),
    ], align=True,
)  # fmt: skip
UPLOADS = np.dtype([("end", "f8"), ("image", "i8"), ("pool", "i8"), ("error", "i8")], align=True)
# What events of the trace ask for besides an image and a size: few of them differ. `first`: the pool of the
# first attempt.
TERMS = np.dtype(
    [
        ("tier", "i4"), ("pool", "i4"), ("first", "i4"), ("zone", "i4"), ("project", "i4"), ("tenant", "i4"),
        ("encrypted", "?"),
    ], align=True,
)  # fmt: skip


class State(NamedTuple):
    """All of a run. Arrays of one record: options and world. Shapes: B backends, P pools, I images, T tiers.

    entry_of (P, I) is the last used cache entry of an image; allocated (P, nodes); the images' locks (L, I),
    in row lock_rows (P, nodes) for a backend's node; fill_locks, of which fill_lock_rows (P, nodes);
    directories, of which directory_of (P, nodes); members (lineages, 4 T) counts the volumes that share
    data, by tier and kind (tier * 4 + kind), member_since when those of that tier and kind came;
    write_s (I, B), content_gib (I, B) what is written, file_is_content (I, B);
    same_data (P, I, 2), if an array deduplicates, the lineages of an image's content and of its file;
    by_code the volume of a code of the trace; tier_pools the pools of tier t from tier_start[t] on; passing
    the pools that pass the filters, with their weights and raw_weights; weighers in Cinder's order; serves
    (B, T); one_at_a_time (T,) says of which tiers a volume is attached once at most; may_use (I, projects +
    1), the last column for all others; zone_breaks, for each of Z zones, whether CapacityFilter raises
    there. For Belady: uses, positions in the trace by image and host (key host
    * I + image) or, without a host, by image, tier and zone (key (P + tier * Z + zone) * I + image), each
    from use_start[key], of which next_use[key] is the first that has not happened yet. At each of the times
    `edges`, ascending, the accounts are noted, but for the peaks: edge_accounts (edges, accounts); and what
    lies in the directories, with the peak since the edge before: edge_directories (edges, directories).
    quota_limits and quota_used (tenants, OF_TYPES + 2 T): NONE has no quota. uploads are those of the trace,
    convert_s and send_s (I, B) what they take, store_pools the pools of the Cinder store that get a new
    image i, from store_start[i] on, asked_tiers (T,) the tier of the image-volume that Glance asks for when a
    volume of tier t is uploaded. `send_mib_s` (I, B) are the rates of uploads' own; links, routes,
    components and flows are those of sim/model/links.py, glance_routes (P, nodes) the routes between Glance
    and a backend's node, NONE without.
    `placed`: what exists at time 0. The trace_ arrays are a stretch of the trace, a row an event (see
    sim.inputs.trace): names as numbers, the volume as its code, and which of `terms` it has; trace_snapshot
    has no rows if the trace has no snapshots.
    """

    options: Array
    world: Array
    backends: Array
    pools: Array
    images: Array
    volumes: Array
    slots: Array
    lineages: Array
    members: Array
    member_since: Array
    entries: Array
    entry_of: Array
    allocated: Array
    lock_rows: Array
    locks: Array
    fill_lock_rows: Array
    fill_locks: Array
    directory_of: Array
    directories: Array
    events: Array
    casts: Array
    accounts: Array
    rows: Array
    queued: Array
    cache_events: Array
    by_code: Array
    write_s: Array
    content_gib: Array
    file_is_content: Array
    same_data: Array
    tier_start: Array
    tier_pools: Array
    serves: Array
    one_at_a_time: Array
    may_use: Array
    zone_breaks: Array
    passing: Array
    weights: Array
    raw_weights: Array
    weighers: Array
    use_start: Array
    next_use: Array
    uses: Array
    edges: Array
    edge_accounts: Array
    edge_directories: Array
    quota_limits: Array
    quota_used: Array
    uploads: Array
    convert_s: Array
    send_s: Array
    send_mib_s: Array
    links: Array
    routes: Array
    components: Array
    flows: Array
    glance_routes: Array
    families: Array
    turns: Array
    threads: Array
    messages: Array
    glances: Array
    store_start: Array
    store_pools: Array
    asked_tiers: Array
    placed: Array
    trace_time: Array
    trace_event: Array
    trace_code: Array
    trace_image: Array
    trace_size_gib: Array
    trace_terms: Array
    trace_snapshot: Array
    terms: Array
    snapshots: Array
    steps: Array


# The type and the number of dimensions of each array; one dimension where nothing is said.
TYPES: dict[str, npt.DTypeLike] = {
    "options": OPTIONS, "world": WORLD, "backends": BACKENDS, "pools": POOLS, "images": IMAGE,
    "volumes": VOLUMES, "slots": SLOTS, "lineages": LINEAGES, "members": "i8", "member_since": "i8",
    "entries": ENTRIES, "entry_of": "i8", "locks": LOCKS, "events": EVENTS, "casts": EVENTS,
    "accounts": ACCOUNT, "rows": ROWS, "queued": QUEUED, "cache_events": CACHE_EVENTS, "by_code": "i4",
    "write_s": "f8", "content_gib": "f8", "file_is_content": "?",
    "same_data": "i8", "tier_start": "i8", "tier_pools": "i8", "serves": "?", "may_use": "?", "passing": "i8",
    "weights": "f8", "raw_weights": "f8", "weighers": "i8", "placed": PLACED, "use_start": "i8",
    "next_use": "i8", "uses": "i8", "edges": "f8", "edge_accounts": ACCOUNT,
    "edge_directories": EDGE_DIRECTORIES, "uploads": UPLOADS, "convert_s": "f8", "send_s": "f8",
    "store_start": "i8", "store_pools": "i8", "asked_tiers": "i8",
    # Of a trace there is a value for each of millions of events: these are small.
    "trace_time": "f8", "trace_event": "i1",
    "trace_code": "i4", "trace_image": "i4", "trace_size_gib": "i8", "trace_terms": "i4",
    "trace_snapshot": "i4", "terms": TERMS, "snapshots": SNAPSHOTS,
    "steps": STEPS, "zone_breaks": "?", "one_at_a_time": "?",
    "fill_locks": LOCKS, "directory_of": "i8", "directories": DIRECTORIES,
    "allocated": ALLOCATED, "lock_rows": "i8", "fill_lock_rows": "i8",
    "quota_limits": "i8", "quota_used": "i8",
    "send_mib_s": "f8", "links": LINKS, "routes": ROUTES, "components": COMPONENTS, "flows": FLOWS,
    "glance_routes": "i8", "families": FAMILIES, "turns": TURNS,
    "threads": THREADS, "messages": MESSAGES, "glances": GLANCES,
}  # fmt: skip
DIMENSIONS = {"same_data": 3} | dict.fromkeys(
    (
        *("members", "member_since", "entry_of", "allocated", "lock_rows", "fill_lock_rows", "directory_of"),
        *("locks", "write_s", "content_gib", "file_is_content", "convert_s", "send_s", "send_mib_s"),
        *("glance_routes", "threads", "serves", "may_use", "edge_accounts", "edge_directories"),
        *("quota_limits", "quota_used"),
    ),
    2,
)
