"""Joins the sources into one scenario and records every value that no source gives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pandas as pd

from sim.importers import assumptions, cinder_options, cloning, hosts, pooled, store, tiers
from sim.importers.assumptions import Assumed
from sim.importers.cloud import Backend, Cloud, Placement, Sources
from sim.importers.conf_files import CACHE_OPTIONS
from sim.importers.hosts import Hosts
from sim.importers.names import Place
from sim.importers.notes import Note, shortened
from sim.importers.settings import Section
from sim.importers.values import MAX_BYTES
from sim.inputs.backend import NOVA
from sim.inputs.trace import MAX_GIB
from sim.inputs.units import GIB

FORMAT = re.compile("[a-z0-9_-]+")  # as `sim.inputs.images` has them
NO_CLUSTERS = pd.DataFrame({"host": pd.Series(dtype="str"), "cluster": pd.Series(dtype="str")})

NO_SERVICES = pd.DataFrame(columns=["host", "cluster", "why"], dtype="str")


def assemble(sources: Sources, placement: Placement = "first-host") -> Cloud:
    """Make the scenario from what was read; `sources` has at least one source."""
    history = sources.history
    clusters = NO_CLUSTERS if history is None else history.clusters
    services = NO_SERVICES if history is None else history.services
    found = hosts.find(_seen(sources), clusters, services, sources.configuration)
    if sources.pools is not None:
        pooled.name(sources.pools, found.places)
    names = {host: place.host for host, place in found.places.items()}
    types = pd.DataFrame(columns=["volume_type", "volume_backend_name", "thick"])
    types = types if history is None else history.volume_types
    reported = {} if sources.pools is None else pooled.names(sources.pools, found.places)
    served, notes = tiers.served(
        found.places,
        found.sections if sources.configuration else None,
        types,
        _lying(sources),
        reported,
    )
    notes += hosts.tell(services, found)
    notes += tiers.unplaced(served, _unplaced(sources))
    backends = _backends(sources, found, served)
    if sources.pools is not None:
        notes += pooled.tell(sources.pools, found.places, backends)
    notes += _thick(backends, set(types.loc[types["thick"].astype(bool), "volume_type"]))
    cloud = Cloud(
        sources,
        found.places,
        backends,
        tiers=list(dict.fromkeys(tier for of in served.values() for tier in tiers.names(of))),
        images=_images(sources, names),
        initial=_initial(sources, names),
        store_home=None,
        placement=placement,
    )
    notes += store.place(cloud)
    notes += store.name(cloud)
    cloud.notes = [*_told(sources), *notes, *store.notes(cloud), *cinder_options.notes(cloud), *_said(cloud)]
    return cloud


def _seen(sources: Sources) -> Iterator[str]:
    """Cinder's hosts that hold or held a volume, an image-volume or a cache entry."""
    history, telemetry = sources.history, sources.telemetry
    columns = []
    if history is not None:
        tables = history.placements, history.initial, history.fills, history.entries, history.stored
        columns = [table["host"] for table in tables]
    if telemetry is not None:
        columns += [telemetry.events["host"], telemetry.counts["host"]]
        columns += [] if telemetry.initial is None else [telemetry.initial["host"]]
        columns.append(telemetry.images["store_hosts"].explode().dropna())
    if sources.pools is not None:
        yield from (pool.host for pool in sources.pools.pools)
    for column in columns:
        yield from sorted({host for host in column if host})


def _lying(sources: Sources) -> Iterator[tuple[str, str]]:
    """Pairs of a host and a type of the volumes on it."""
    tables = []
    if sources.history is not None:
        tables += [sources.history.placements, sources.history.stored]
    elif sources.telemetry is not None:
        tables.append(sources.telemetry.events)
    for table in tables:
        pairs = table.loc[(table["host"] != "") & (table["volume_type"] != ""), ["host", "volume_type"]]
        yield from (
            pairs.drop_duplicates().sort_values(["host", "volume_type"]).itertuples(index=False, name=None)
        )


def _unplaced(sources: Sources) -> list[str]:
    """The volume types of creates for which no source gives a host."""
    if sources.history is not None or sources.telemetry is None:
        return []
    events = sources.telemetry.events
    found = events.loc[(events["event"] == "create") & (events["host"] == ""), "volume_type"]
    return sorted({tier for tier in found if tier})


def _backends(sources: Sources, found: Hosts, served: tiers.Tiers) -> dict[str, Backend]:
    backends: dict[str, Backend] = {}
    configuration = sources.configuration
    volumes = _volumes_by_host(sources)
    source = sources.history or sources.telemetry
    zones = {} if source is None else source.zones
    for host, place in found.places.items():
        section = found.sections[place.backend]
        if place.backend not in backends:
            keys, remark = _keys(section), ""
            zone = zones.get(host, NOVA) if section is None else section.availability_zone
            keys |= {} if zone == NOVA else {"availability_zone": zone}
            if section is None and configuration is not None:
                remark = "none of the cinder.conf files read has this backend: it gets no cache"
            if configuration is not None and configuration.caches:
                keys["image_volume_cache_enabled"] = section is not None and section.caches
            cluster = place.backend in found.clusters or bool(section and section.cluster)
            nodes = _nodes(place, section, found)
            backends[place.backend] = Backend(served[place.backend], nodes, keys, {}, remark, cluster)
        backends[place.backend].pools[place.pool] = _pool(section, volumes.get(host, 0))
    for name, backend in backends.items():
        on = [host for host, place in found.places.items() if place.backend == name]
        _drop_exceeded(backend, sum(volumes.get(host, 0) for host in on))
    return backends


def _thick(backends: dict[str, Backend], types: set[str]) -> Iterator[Note]:
    """Backends whose volumes are all thick: Cinder's scheduler looks at their free space alone.

    `types`: those with the extra spec `provisioning:type` = thick.
    """
    for name, backend in backends.items():
        served = tiers.names(backend.volume_types)
        thick = [tier for tier in served if tier in types]
        if thick == served:
            backend.keys["thin"] = False
        elif thick and backend.keys.get("thin", True):
            what = f"volume types {', '.join(thick)} are thick (provisioning:type), its others are not"
            yield Note("assumed", f"backend {name}: {what}: all its volumes are taken as thin")


def _nodes(place: Place, section: Section | None, found: Hosts) -> list[str] | Assumed:
    """The nodes on which a backend's services run. A name taken from backend_host is not a node."""
    members = found.clusters.get(place.backend, [])
    if section is None or place.node not in (section.host, *section.nodes, *members):
        return members or [place.node]
    if section.node_told:
        return list(dict.fromkeys([*section.nodes, *members]))
    if members or (place.backend in found.seen and not section.host_told):
        return members or list(section.nodes)
    what = "cinder.conf does not set host; this is the name of the importing machine"
    return Assumed(list(section.nodes), what)


def _volumes_by_host(sources: Sources) -> dict[str, int]:
    """Number of volumes and image-volumes per host at the start of the period."""
    initial = initial_of(sources)
    if initial is None:
        return {}
    return {str(host): int(count) for host, count in initial["host"].value_counts().items()}


def _keys(section: Section | None) -> dict[str, Any]:
    keys: dict[str, Any] = dict(assumptions.times())
    if section is None:
        return keys
    keys |= cloning.keys(section, keys["write_mib_s"])
    ratio = section.max_over_subscription_ratio
    keys["max_over_subscription_ratio"] = Assumed(20.0, "cinder.conf says auto") if ratio is None else ratio
    for name in ("reserved_percentage", *CACHE_OPTIONS[1:]):
        keys[name] = getattr(section, name)
    functions = {name: getattr(section, name) for name in ("filter_function", "goodness_function")}
    return keys | {name: function for name, function in functions.items() if function}


def _pool(section: Section | None, volumes: int) -> dict[str, Any]:
    limit = cloning.pool_limit(section) if section else None
    return {"max_volumes": limit} if limit and int(limit.value) > volumes else {}


def _drop_exceeded(backend: Backend, volumes: int) -> None:
    """Drop a published limit that the array already exceeds: it cannot be this array's limit."""
    limit = backend.keys.get("max_volumes")
    if limit is not None and int(limit.value) <= volumes:
        del backend.keys["max_volumes"]


def _images(sources: Sources, hosts: dict[str, str]) -> pd.DataFrame:
    """The image list with a column `why`: what was assumed for the row ('' if nothing)."""
    tables = [source.images for source in (sources.history, sources.telemetry) if source is not None]
    known = pd.concat(tables).drop_duplicates("image_id") if tables else None
    rows: dict[str, dict[str, Any]] = {}
    for row in [] if known is None else known.to_dict("records"):
        rows[row["image_id"]] = {str(key): value for key, value in row.items() if not _missing(value)}
    for row in [] if sources.glance is None else sources.glance.to_dict("records"):
        there = rows.setdefault(row["image_id"], {})
        there |= {str(key): value for key, value in row.items() if not _missing(value)}
    images = pd.DataFrame(
        [_image(row, hosts) for row in rows.values()],
        columns=[
            *("image_id", "name", "disk_format", "container_format", "size_bytes", "virtual_size_bytes"),
            *("store_hosts", "owner", "min_disk", "virtual_size_unknown", "why"),
        ],
    )
    absent = [name for name in ("min_disk", "virtual_size_unknown") if not images[name].any()]
    return images.drop(columns=absent).sort_values("image_id", ignore_index=True)


def _missing(value: Any) -> bool:
    return not isinstance(value, list) and (value == "" or bool(pd.isna(value)))


def _image(row: dict[str, Any], hosts: dict[str, str]) -> dict[str, Any]:
    why = []
    formats = {"disk_format": "raw", "container_format": "bare"}
    for key in formats:
        found = str(row.get(key, "")).lower()
        if FORMAT.fullmatch(found):
            formats[key] = found
        elif found:  # users may change the metadata that volumes keep
            why.append("format")
    raw = formats["disk_format"] == "raw"
    size = row.get("size_bytes")
    ceiling = min(MAX_BYTES, int(row.get("smallest_gib", 1)) * GIB)
    if size is None:
        size = ceiling
        why.append("size")
    virtual = row.get("virtual_size_bytes") or (size if raw else None)
    if not virtual and "virtual_gib" in row:  # size of a cache fill, rounded up to GiB
        virtual = min(MAX_BYTES, int(row["virtual_gib"]) * GIB)
    if not virtual:
        virtual = max(int(size), ceiling)
        why.append("virtual size")
    private = row.get("visibility") == "private"
    return {
        "image_id": row["image_id"],
        "name": str(row.get("name", row["image_id"])).replace("\0", ""),
        **formats,
        "size_bytes": max(1, int(size)),
        "virtual_size_bytes": max(1, int(virtual)),
        "store_hosts": ";".join(dict.fromkeys(hosts[host] for host in row.get("store_hosts", ()))),
        "owner": row.get("owner", "") if private else "",
        # One that was set later must not refuse what was made before.
        "min_disk": max(0, min(int(row.get("min_disk", 0)), int(row.get("smallest_gib", MAX_GIB)))),
        "virtual_size_unknown": "true" if row.get("virtual_size_unknown") and not raw else "",
        "why": " and ".join(dict.fromkeys(why)),
    }


def initial_of(sources: Sources) -> pd.DataFrame | None:
    """The initial state at the start of the period; None if no source has a period."""
    source = sources.history or sources.telemetry
    return None if source is None else source.initial


def _initial(sources: Sources, names: dict[str, str]) -> pd.DataFrame | None:
    """The initial state in the scenario's names; of two entries of an image on a pool, the one used last.

    A cache looks no further than one entry; the other is a volume that takes space.
    """
    initial = initial_of(sources)
    if initial is None:
        return None
    named = initial.assign(host=initial["host"].astype("str").map(names))
    cache = named["kind"] == "cache"
    ordered = named[cache].sort_values("last_used", kind="stable")
    again = ordered.index[ordered.duplicated(["host", "image_id"], keep="last")]
    named.loc[again, ["kind", "image_id"]] = ["volume", ""]
    return named


def _told(sources: Sources) -> Iterator[Note]:
    for source in (sources.configuration, sources.history, sources.telemetry):
        yield from source.notes if source is not None else ()
    yield from sources.notes
    yield from sources.pools.notes if sources.pools is not None else ()


def _said(cloud: Cloud) -> Iterator[Note]:
    """Notes on what the scenario assumes."""
    images = cloud.images
    for what, remedy in (
        ("format", "the metadata of their volumes has none that Glance knows; Glance has it (--glance)"),
        ("size", "the database has lost their metadata; Glance has it (--glance)"),
        ("virtual size", "the database does not store them; Glance does (--glance)"),
    ):
        guessed = images[images["why"].str.split(" and ").map(lambda parts, what=what: what in parts)]
        if len(guessed):
            ids = shortened(guessed["image_id"])
            rule = (
                "raw in bare is used"
                if what == "format"
                else "the size of the smallest volume made from each is used"
            )
            yield Note(
                "assumed", f"{what} of {len(guessed)} of {len(images)} images: {rule}; {remedy}: {ids}"
            )
    for name, backend in cloud.backends.items():
        limits = [
            f"{key} {one.value} ({one.why})"
            for key, one in (*backend.keys.items(), *next(iter(backend.pools.values())).items())
            if key.startswith("max_") and key != "max_over_subscription_ratio" and isinstance(one, Assumed)
        ]
        if limits:
            yield Note("assumed", f"backend {name}: {', '.join(limits)}")
        if backend.remark:
            yield Note("read", f"backend {name}: {backend.remark}")
    if cloud.has_trace and cloud.placement == "first-host":
        what = "each create is first attempted on the host that has its volume"
        known = "the database keeps only the last host and does not show earlier attempts"
        how = f"{what}, and is rescheduled if it fails there"
        then = "with --placement scheduler, the scheduler also chooses the first host"
        last = f"; {known}" if cloud.sources.history is not None else ""
        yield Note("assumed", f"{how}{last}; {then}")
    shared = [name for name, one in cloud.backends.items() if "nodes" in one.placing]
    if shared and cloud.sources.configuration is None:
        what = "whether their nodes share the locks of images: they do until you set cinder.lock_scope"
        yield Note("unknown", f"{', '.join(shared)}: {what}; cinder.conf has it ([coordination] backend_url)")
    sections = cloud.sources.configuration.sections.values() if cloud.sources.configuration else ()
    yield from cloning.notes(sections)
    yield from _space(cloud)
    timed = "create_s, clone_s, delete_s, write_mib_s, convert_mib_s, glance.stream_mib_s"
    yield Note(
        "assumed", f"{timed}: published or guessed values; `cinder-cache calibrate` fits them to your history"
    )
    yield Note("unknown", "prices: 0 until you set price_gib_month of each tier in scenario.yaml")
    if cloud.sources.configuration is None:
        yield Note("unknown", "today's cache limits and strategy; import cinder.conf too (--conf)")


def _space(cloud: Cloud) -> Iterator[Note]:
    endless = [
        f"{name}#{pool}"
        for name, backend in cloud.backends.items()
        for pool, keys in backend.pools.items()
        if "capacity_gib" not in keys
    ]
    if endless:
        told = "no limit until you set it in scenario.yaml"
        how = "`cinder get-pools --detail` shows it (--pools)"
        yield Note("unknown", f"capacity_gib of {', '.join(endless)}: {told}; {how}")
    if cloud.has_trace and cloud.placement == "first-host":
        return
    # `CapacityWeigher` gives unlimited pools the same weight, and the scheduler takes the first of equals.
    hosts_of = {
        tier: list(
            dict.fromkeys(
                place.host
                for place in cloud.places.values()
                if tier in tiers.names(cloud.backends[place.backend].volume_types)
            )
        )
        for tier in cloud.tiers
    }
    for tier, pools_of in hosts_of.items():
        if len(pools_of) > 1 and set(pools_of) <= set(endless):
            what = f"without capacity_gib, the scheduler places every create on the first one, {pools_of[0]}"
            then = "set the capacity of each before you compare"
            yield Note("unknown", f"tier {tier} has {len(pools_of)} pools: {what}; {then}")
