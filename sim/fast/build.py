"""A case as the arrays of a run: what is fixed, what exists at the start, and the trace."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import numpy.typing as npt

from sim.fast import state
from sim.fast.cache import UNLIMITED
from sim.fast.jit import table_of
from sim.fast.kernel import put_all
from sim.fast.names import Names
from sim.fast.node_rows import directories_of, lock_rows_of
from sim.fast.scheduler import available_gib
from sim.fast.shared import as_records, glance_routes, limit_of, threads_of
from sim.fast.state import ACCOUNTS, KIND_BITS, NO_LIMIT, NONE, State
from sim.fast.tenants import with_tenants
from sim.inputs.backend import Backend
from sim.inputs.hosts import backend_of, host_of
from sim.inputs.scenario import Case, Scenario
from sim.inputs.strategies import Strategy
from sim.inputs.units import MIB_PER_GIB
from sim.model.initial import Placed, asked_type, store_hosts
from sim.model.links import Links, links_of
from sim.model.lottery import LOCKS, SCHEDULER, first_state
from sim.model.repeats import repeats
from sim.model.rules import PAYERS, bound_of, directory_bytes, provision_limit_gib, rate_over

EVICTIONS = {"lru": state.LRU, "sieve": state.SIEVE, "gdsf": state.GDSF, "belady": state.BELADY}
UPLOADS = {
    "copy": state.COPY_DATA,
    "no-op": state.NO_OP,
    "raw-twin-location": state.TWIN_LOCATION,
    "raw-twin-cache": state.TWIN_CACHE,
}
OPTION_SWITCHES = (
    *("refused_without_lock", "retry_clone_limit", "limits_per_backend", "fill_lock", "evict_for_users"),
)
WEIGHERS = {
    "CapacityWeigher": state.BY_CAPACITY,
    "AllocatedCapacityWeigher": state.BY_ALLOCATED,
    "VolumeNumberWeigher": state.BY_NUMBER,
}
START = 1024  # records of an array that grows
LONG_START = 8 * START  # and of one that a single event may use much of
NO_EDGES = np.zeros(0)


def build(
    case: Case,
    strategy: Strategy,
    names: Names,
    trace: dict[str, state.Array],
    codes: int,
    rows: int,
    edges: state.Array = NO_EDGES,
) -> State:
    """The state at time 0, before anything exists; with `codes` volumes told apart, and `rows` of creates."""
    scenario = case.scenario
    backends, pools, images = len(names.backends), len(names.hosts), len(names.images)
    tiers = len(names.tiers)
    uploads = int((trace["trace_event"] == state.UPLOAD_VOLUME).sum())
    nodes = max(len(backend.node_names) for backend in scenario.backends.values())
    lock_rows, fill_lock_rows = lock_rows_of(scenario, nodes)
    shared = links_of(scenario)
    length = power_of_two(rows + 1)  # one more: they never fill
    s = State(
        options=np.zeros(1, state.OPTIONS),
        world=np.zeros(1, state.WORLD),
        backends=np.zeros(backends, state.BACKENDS),
        pools=np.zeros(pools, state.POOLS),
        images=np.zeros(images, state.IMAGE),
        volumes=np.zeros(START, state.VOLUMES),
        slots=np.zeros(START, state.SLOTS),
        lineages=np.zeros(START, state.LINEAGES),
        members=np.zeros((START, tiers << KIND_BITS), np.int64),
        member_since=np.zeros((START, tiers << KIND_BITS), np.int64),
        entries=np.zeros(START, state.ENTRIES),
        entry_of=np.full((pools, images), NONE, np.int64),
        allocated=np.zeros((pools, nodes), state.ALLOCATED),
        lock_rows=lock_rows,
        locks=np.zeros((lock_rows.max() + 1, images), state.LOCKS),
        fill_lock_rows=fill_lock_rows,
        fill_locks=np.zeros(fill_lock_rows.max() + 1, state.LOCKS),
        directory_of=directories_of(scenario, names.nodes, nodes),
        directories=np.zeros(len(names.nodes), state.DIRECTORIES),
        events=np.zeros(START, state.EVENTS),
        casts=np.zeros(LONG_START, state.EVENTS),
        accounts=np.zeros((pools + tiers + 1) * ACCOUNTS, state.ACCOUNT),
        rows=np.zeros(length, state.ROWS),
        queued=np.zeros(length if scenario.queues else 1, state.QUEUED),
        cache_events=np.zeros(LONG_START, state.CACHE_EVENTS),
        by_code=np.full(max(codes, 1), NONE, np.int32),
        write_s=np.zeros((images, backends)),
        content_gib=np.zeros((images, backends)),
        file_is_content=np.zeros((images, backends), np.bool_),
        same_data=np.full((1, 1, 2), NONE, np.int64),
        tier_start=np.zeros(tiers + 1, np.int64),
        tier_pools=np.zeros(0, np.int64),
        serves=np.zeros((backends, tiers), np.bool_),
        one_at_a_time=np.array([not tier.multiattach for tier in scenario.tiers.values()], np.bool_),
        may_use=names.may_use,
        zone_breaks=_zone_breaks(case, names),
        passing=np.zeros(pools, np.int64),
        weights=np.zeros(pools),
        raw_weights=np.zeros(pools),
        weighers=_weighers(case),
        use_start=np.zeros(1, np.int64),
        next_use=np.zeros(1, np.int64),
        uses=np.zeros(0, np.int64),
        edges=edges,
        edge_accounts=np.zeros((len(edges), (pools + tiers + 1) * ACCOUNTS), state.ACCOUNT),
        edge_directories=np.zeros((len(edges), len(names.nodes)), state.EDGE_DIRECTORIES),
        uploads=np.zeros(uploads, state.UPLOADS),
        convert_s=np.zeros((images, backends)),
        send_s=np.zeros((images, backends)),
        send_mib_s=np.zeros((images, backends)),
        links=as_records(shared.links, state.LINKS),
        routes=as_records(shared.routes, state.ROUTES),
        components=as_records(shared.components, state.COMPONENTS),
        flows=np.zeros(START, state.FLOWS),
        threads=threads_of(scenario, nodes),
        messages=np.zeros(START, state.MESSAGES),
        glances=np.zeros(scenario.glance.nodes, state.GLANCES),
        steps=np.zeros(START, state.STEPS),
        turns=np.zeros(START + backends, state.TURNS),
        families=np.zeros(START, state.FAMILIES),
        glance_routes=glance_routes(scenario, shared, nodes),
        store_start=np.zeros(images + 1, np.int64),
        store_pools=np.zeros(0, np.int64),
        asked_tiers=np.full(tiers, NONE, np.int64),
        placed=np.zeros(0, state.PLACED),
        quota_limits=np.zeros((0, state.OF_TYPES + 2 * tiers), np.int64),
        quota_used=np.zeros((0, state.OF_TYPES + 2 * tiers), np.int64),
        snapshots=np.zeros(len(names.snapshots), state.SNAPSHOTS),
        **trace,
    )
    if any(backend.dedupe for backend in scenario.backends.values()):
        s = s._replace(same_data=np.full((pools, images, 2), NONE, np.int64))
    s = with_tenants(_tiers(s, case, names), scenario, names.tenants)
    if scenario.what_if.eviction == "belady":
        s = _uses(s)
    if uploads:
        s = _uploads(s, case, names, strategy)
    _fill_options(s, case, strategy, shared)
    _fill_world(s)
    _fill_weighing(s, case)
    for number, (name, backend) in enumerate(scenario.backends.items()):
        _fill_backend(s, names, number, name, backend)
        s.backends[number]["route"] = shared.of_array.get(name, NONE)
    fill_caches(s, scenario, strategy)
    s.backends["reports_after"] = np.cumsum(s.backends["nodes"]) - 1
    _fill_images(s, case, names)
    limits = scenario.conversion_limits()
    s.directories["capacity"] = [directory_bytes(limits.get(node)) for node in names.nodes]
    s.snapshots["volume"] = s.snapshots["slot"] = NONE
    s.snapshots["code"] = np.arange(codes - len(names.snapshots), codes)  # the last ones
    return s


def power_of_two(count: int) -> int:
    """The least power of two that is not smaller."""
    return 1 << max(count - 1, 0).bit_length()


@repeats(
    "cinder.scheduler.filters.capabilities_filter:CapabilitiesFilter",
    "backend_passes",
    "_satisfies_extra_specs",
)
@repeats("cinder.scheduler.filters.extra_specs_ops", "match")
def _tiers(s: State, case: Case, names: Names) -> State:
    for number, backend in enumerate(case.scenario.backends.values()):
        for tier in backend.volume_types:
            s.serves[number, names.tiers.index(tier)] = True
    # Cinder's scheduler knows pools by `backend.pool`, with the name of their cluster before it if they have
    # one: of two that are called the same it sees the last.
    seen = {
        (case.scenario.backend_at(host).cluster, host.replace("#", ".")): pool
        for pool, host in enumerate(names.hosts)
    }
    backends = [names.backends.index(backend_of(host)) for host in names.hosts]
    served = [
        [pool for pool in seen.values() if s.serves[backends[pool], tier]] for tier in range(len(names.tiers))
    ]
    s.tier_start[1:] = np.cumsum([len(pools) for pools in served])
    return s._replace(tier_pools=np.array([pool for pools in served for pool in pools], np.int64))


def _uses(s: State) -> State:
    """Note when each image is asked for, by host, or by tier and zone if no host is named."""
    images, pools, tiers, zones = len(s.images), len(s.pools), len(s.tier_start) - 1, len(s.zone_breaks)
    known = (s.terms["zone"] != NONE) & ~s.terms["encrypted"]  # the API refuses an unknown zone
    create = (s.trace_event == state.CREATE) & (s.trace_image != NONE)
    asks = np.flatnonzero(create & known[s.trace_terms])
    pool, unplaced = s.terms["pool"], pools + s.terms["tier"] * zones + s.terms["zone"]
    place = np.where(pool != NONE, pool, unplaced).astype(np.int64)[s.trace_terms[asks]]
    key = place * images + s.trace_image[asks]
    start = np.zeros((pools + tiers * zones) * images + 1, np.int64)
    np.add.at(start, key + 1, 1)
    start = np.cumsum(start)
    return s._replace(
        use_start=start,
        next_use=start[:-1].copy(),
        uses=asks[np.argsort(key, kind="stable")].astype(np.int64),
    )


def _uploads(s: State, case: Case, names: Names, strategy: Strategy) -> State:
    """Note how long uploads take, and where the Cinder store keeps the images that they make."""
    s.uploads["image"] = s.trace_image[s.trace_event == state.UPLOAD_VOLUME]
    s.uploads["pool"] = NONE
    rate = case.scenario.glance.stream_mib_s
    sent_s = np.zeros(len(names.images)) if rate is None else names.size_mib / rate
    raw = names.rows["raw"]
    for number, backend in enumerate(case.scenario.backends.values()):
        s.convert_s[:, number] = read_s = names.read_s(backend)
        s.send_s[:, number] = np.where(raw, np.maximum(sent_s, read_s), sent_s)
        least_s = np.where(raw, read_s, 0.0)
        s.send_mib_s[:, number] = [
            rate_over(mib, bound_of(rate), of_image)
            for mib, of_image in zip(names.size_mib.tolist(), least_s.tolist(), strict=True)
        ]
    uploaded = case.uploaded
    kept = [
        [names.hosts.index(host) for host in store_hosts(case, strategy, image)]
        if image.image_id in uploaded
        else []
        for image in case.images.values()
    ]
    s.store_start[1:] = np.cumsum([len(pools) for pools in kept])
    asked = [asked_type(case, strategy, tier.image_service_store_id) for tier in case.scenario.tiers.values()]
    s.asked_tiers[:] = [NONE if tier is None else names.tiers.index(tier) for tier in asked]
    s.options[0]["store_zone"] = names.default_zone
    return s._replace(store_pools=np.array([pool for pools in kept for pool in pools], np.int64))


def _fill_options(s: State, case: Case, strategy: Strategy, shared: Links) -> None:
    o, scenario = s.options[0], case.scenario
    o["uses_store"], o["on_demand"] = strategy.uses_store, strategy.on_demand
    o["schedules"], o["stores_later"] = case.schedules, strategy.stores_later
    o["eviction"] = EVICTIONS[scenario.what_if.eviction]
    o["upload"] = UPLOADS[scenario.upload]
    o["uploads_to_tenant"] = scenario.cinder.image_upload_use_internal_tenant
    o["max_attempts"] = scenario.cinder.scheduler_max_attempts
    o["polling_interval"] = scenario.cinder.backend_stats_polling_interval
    o["hashes"] = scenario.glance.do_secure_hash
    o["no_conversion"] = scenario.cinder.image_conversion_disable
    o["tenant_owns_store"] = scenario.cinder.internal_tenant_owns_store
    o["streams"] = limit_of(scenario.glance.streams)
    o["stream_mib_s"], o["of_glance"] = bound_of(scenario.glance.stream_mib_s), shared.of_glance
    o["glance_takes_time"] = math.isfinite(o["stream_mib_s"]) or (s.glance_routes != NONE).any()
    o["directories"] = bool(scenario.nodes)
    o["families"] = any(each.clone_family_limit is not None for each in scenario.backends.values())
    o["threads"] = (s.threads["limit"] != NO_LIMIT).any()
    o["tiers"], o["pools"], o["nodes"] = len(scenario.tiers), *s.allocated.shape
    for switch in OPTION_SWITCHES:
        o[switch] = getattr(scenario.what_if, switch)


@repeats("cinder.scheduler.host_manager:HostManager", "_choose_backend_weighers")
def _weighers(case: Case) -> npt.NDArray[np.int64]:
    """The scheduler's weighers (`HostManager._choose_backend_weighers`)."""
    first = [state.BY_CLONES] if case.scenario.what_if.prefer_clones else []
    return np.array([*first, *(WEIGHERS[name] for name in case.scenario.acting_weighers())], np.int64)


def _fill_weighing(s: State, case: Case) -> None:
    o, cinder = s.options[0], case.scenario.cinder
    o["capacity_multiplier"] = cinder.capacity_weight_multiplier
    o["allocated_multiplier"] = cinder.allocated_capacity_weight_multiplier
    o["number_multiplier"] = cinder.volume_number_multiplier
    o["preference"] = cinder.preference()
    o["stochastic"] = cinder.scheduler_weight_handler == "StochasticHostWeightHandler"
    s.world[0]["lottery"] = first_state(case, SCHEDULER)
    o["locks_by_chance"] = cinder.lock_order == "chance"
    s.world[0]["locks_lottery"] = first_state(case, LOCKS)


def _zone_breaks(case: Case, names: Names) -> npt.NDArray[np.bool_]:
    """For each zone, whether `CapacityFilter` raises there: it looks at pools of all volume types."""
    breaks = np.zeros(len(names.zones), np.bool_)
    for backend in case.scenario.backends.values():
        if any(_no_capacity(backend, pool.capacity_gib) for pool in backend.pools.values()):
            breaks[names.zones.index(backend.availability_zone)] = True
    return breaks


def _no_capacity(backend: Backend, capacity_gib: float | None) -> bool:
    """Whether `CapacityFilter` divides by zero: nothing to provision on a thin pool, to two decimals."""
    return backend.thin and round(_available_gib(backend, capacity_gib), 2) == 0


def _available_gib(backend: Backend, capacity_gib: float | None) -> float:
    """What a pool makes available."""
    if capacity_gib is None:
        return math.inf
    ratio = backend.max_over_subscription_ratio
    return available_gib(capacity_gib, backend.reserved_percentage, ratio, backend.thin)


def _fill_world(s: State) -> None:
    w = s.world[0]
    w["reading_us"], w["used_turns"] = -1, len(s.backends)
    for name in (
        "free_volume",
        "free_slot",
        "free_lineage",
        "free_entry",
        "free_family",
        "free_turn",
        "free_message",
        "made",
    ):
        w[name] = NONE
    s.glances["first"] = s.glances["last"] = NONE
    w["next_edge"] = s.edges[0] if len(s.edges) else math.inf
    w["report_at"] = 0.0 if s.options[0]["schedules"] else math.inf


def fill_caches(s: State, scenario: Scenario, strategy: Strategy) -> None:
    """Set which backends have a cache, and its limits."""
    cached = strategy.image_volume_cache_enabled
    for number, backend in enumerate(scenario.backends.values()):
        b = s.backends[number]
        b["cache"] = cached and backend.image_volume_cache_enabled
        b["max_size_gb"] = backend.image_volume_cache_max_size_gb
        b["max_count"] = backend.image_volume_cache_max_count


def _fill_backend(s: State, names: Names, number: int, name: str, backend: Backend) -> None:
    first = names.hosts.index(host_of(name, next(iter(backend.pools))))
    values = {
        "nodes": len(backend.node_names), "first_pool": first, "pools": len(backend.pools),
        "max_volumes": limit_of(backend.max_volumes), "copies": backend.clone_mib_s is not None,
        "clone_mib_s": bound_of(None if backend.copies_apart else backend.clone_mib_s),
        "copies_apart": backend.copies_apart, "copied_by_node": backend.clone_copied_by == "node",
        "copy_mib_s": bound_of(backend.clone_mib_s), "write_mib_s": bound_of(backend.write_mib_s),
        "busy": backend.delete_with_clones == "busy",
        "max_clones": limit_of(backend.max_clones_per_volume), "ratio": backend.max_over_subscription_ratio,
        "clone_lock": backend.clone_lock == "source", "clone_streams": limit_of(backend.clone_streams),
        "max_family": limit_of(backend.clone_family_limit),
        "write_streams": limit_of(backend.write_streams),
        "first": NONE, "last": NONE, "reported_us": -1,
        "size_below": UNLIMITED + 1, "count_below": UNLIMITED + 1,
        "tier": names.tiers.index(backend.volume_types[0]), "store_across": backend.clone_across_pools,
        "cache_across": backend.clone_across_pools and not backend.cluster,
        "snapshots": backend.snapshots == "volumes",
    }  # fmt: skip
    same = (
        *("create_s", "clone_s", "delete_s", "extend_s", "thin", "dedupe", "cluster"),
        *("driver_clones_raw", "imports_raw_file"),
    )
    values |= {field: getattr(backend, field) for field in same}
    for field, value in values.items():
        s.backends[number][field] = value
    for pool, spec in enumerate(backend.pools.values(), first):
        p = s.pools[pool]
        capacity = bound_of(spec.capacity_gib)
        p["backend"], p["capacity"], p["max_volumes"] = number, capacity, limit_of(spec.max_volumes)
        p["available"] = _available_gib(backend, spec.capacity_gib)
        p["available_rounded"] = round(float(p["available"]), 2)
        p["zone"] = names.zones.index(backend.availability_zone)
        p["provision_limit"] = provision_limit_gib(capacity, values["ratio"], backend.thin)
        for field in ("least_used", "last_used", "oldest", "newest", "hand", "first_entry", "seen_us"):
            p[field] = NONE


def _fill_images(s: State, case: Case, names: Names) -> None:
    s.images[:] = names.rows
    s.images["deleted"][s.uploads["image"]] = True  # not yet there
    rate = case.scenario.glance.stream_mib_s
    if rate is not None:
        s.images["fetch_s"] = names.size_mib / rate
    for number, backend in enumerate(case.scenario.backends.values()):
        gib, s.file_is_content[:, number] = names.content(backend)
        s.content_gib[:, number] = gib
        s.write_s[:, number] = names.write_s(backend, gib * MIB_PER_GIB)


def records_of(names: Names, placed: list[Placed], codes: Sequence[int], owns_store: bool) -> state.Array:
    """Make `State.placed` of the volumes that exist at time 0; `codes` tell them apart.

    `owns_store`: whether the internal tenant owns the store's.
    """
    of_image = {"cache": state.INTERNAL, "store": state.INTERNAL if owns_store else NONE}
    hosts, tiers, images = (
        {name: number for number, name in enumerate(known)}
        for known in (names.hosts, names.tiers, names.images)
    )
    rows = np.zeros(len(placed), state.PLACED)
    for row, volume, code in zip(rows, placed, codes, strict=True):
        row["code"], row["pool"], row["tier"] = code, hosts[volume.host], tiers[volume.tier]
        row["kind"], row["size_gib"], row["image"] = PAYERS.index(volume.kind), volume.size_gib, NONE
        if volume.image is not None:
            row["image"] = images[volume.image.image_id]
            row["file"] = volume.kind == "store"
        row["tenant"] = of_image.get(volume.kind, names.tenants.number(volume.project))
        if volume.kind == "cache":
            row["used_us"] = microseconds(volume.last_used)
    return rows


def exists(s: State, placed: state.Array) -> None:
    """Put in place what exists at time 0 (see `records_of`)."""
    if len(placed):
        put_all(table_of(s._replace(placed=placed)))


def microseconds(seconds: float) -> int:
    """Seconds as Python's `timedelta` rounds them."""
    return timedelta(seconds=seconds) // timedelta(microseconds=1)
