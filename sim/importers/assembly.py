"""Joins what the sources told into one scenario, and keeps book of what nobody told."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd
from cinder.scheduler.filters import extra_specs_ops

from sim.importers import assumptions, cloning
from sim.importers.assumptions import Assumed
from sim.importers.configuration import Section
from sim.importers.names import Place, places
from sim.importers.notes import Note
from sim.model.arrays import GIB

if TYPE_CHECKING:
    from sim.importers.configuration import Configuration
    from sim.importers.database import History
    from sim.importers.notifications import Telemetry


@dataclass(frozen=True)
class Sources:
    """What was read; None what was not asked for. `glance`: rows of `sim.importers.glance.read`."""

    configuration: Configuration | None = None
    history: History | None = None
    glance: pd.DataFrame | None = None
    telemetry: Telemetry | None = None
    glance_notes: tuple[Note, ...] = ()


@dataclass
class Backend:
    """A backend of the scenario: keys with values that were told, or `Assumed`; `pools` likewise."""

    volume_types: list[str]
    node: str
    keys: dict[str, Any]
    pools: dict[str, dict[str, Assumed]]
    remark: str = ""


@dataclass
class Cloud:
    """A scenario in the making. `hosts`: the scenario's name of each of Cinder's."""

    sources: Sources
    places: dict[str, Place]
    backends: dict[str, Backend]
    tiers: list[str]
    images: pd.DataFrame
    initial: pd.DataFrame | None
    store_home: str | Assumed
    notes: list[Note] = field(default_factory=list)

    @property
    def hosts(self) -> dict[str, str]:
        return {raw: place.host for raw, place in self.places.items()}

    @property
    def has_trace(self) -> bool:
        """Whether a source tells what was created when."""
        return self.sources.history is not None or self.sources.telemetry is not None

    @property
    def strategy(self) -> str | None:
        """The strategy that describes today's settings, if they are known."""
        return self.sources.configuration.strategy if self.sources.configuration else None

    def assumed(self) -> dict[tuple[str, ...], Assumed]:
        """Every assumed value by its key's path in the scenario."""
        found: dict[tuple[str, ...], Assumed] = {("glance", "stream_mib_s"): assumptions.stream_mib_s()}
        for name, backend in self.backends.items():
            for key, one in backend.keys.items():
                if isinstance(one, Assumed):
                    found["backends", name, key] = one
            for pool, keys in backend.pools.items():
                found |= {("backends", name, "pools", pool, key): one for key, one in keys.items()}
        return found


def assemble(sources: Sources) -> Cloud:
    """The scenario of what was read; at least one source is there."""
    raw = _hosts(sources)
    found = places(raw)
    served = _served(sources, found)
    backends = _backends(sources, found, served)
    cloud = Cloud(
        sources,
        found,
        backends,
        tiers=list(dict.fromkeys(tier for backend in backends.values() for tier in backend.volume_types)),
        images=_images(sources, {host: place.host for host, place in found.items()}),
        initial=None if sources.history is None else _initial(sources.history, found),
        store_home="",
    )
    cloud.store_home = _store_home(cloud)
    cloud.notes = [*_told(sources), *_said(cloud)]
    return cloud


def _hosts(sources: Sources) -> list[str]:
    """All of Cinder's hosts, those of cinder.conf first; a section that has no volume gets a pool."""
    history, telemetry = sources.history, sources.telemetry
    seen: list[str] = []
    if history is not None:
        for table in (history.placements, history.initial, history.fills, history.entries):
            seen += sorted({host for host in table["host"] if host})
        seen += sorted({host for hosts in history.images["store_hosts"] for host in hosts})
    if telemetry is not None:
        seen += sorted(
            {host for table in (telemetry.events, telemetry.counts) for host in table["host"] if host}
        )
    enabled = sources.configuration.sections if sources.configuration else {}
    parts = places(seen)
    ordered = [host for name in enabled for host, place in parts.items() if place.section == name]
    idle = [
        section
        for name, section in enabled.items()
        if name not in {place.section for place in parts.values()}
    ]
    if not seen and not enabled:
        return ["cloud@backend#pool"]  # only Glance was read
    return list(dict.fromkeys([*ordered, *(f"{section.node}@{section.name}" for section in idle), *seen]))


def _served(sources: Sources, found: dict[str, Place]) -> dict[str, list[str]]:
    """The volume types of each backend: those that lie there, and those of its `volume_backend_name`.

    A type without that extra spec may be anywhere, but counts only if it is used.
    """
    served: dict[str, list[str]] = {place.backend: [] for place in found.values()}
    lying = list(_lying(sources))
    for host, tier in lying:
        served[found[host].backend].append(tier)
    sections = sources.configuration.sections if sources.configuration else {}
    types = sources.history.volume_types.to_dict("records") if sources.history is not None else []
    anywhere = {row["volume_type"] for row in types if not row["volume_backend_name"]}
    for place in found.values():
        if (section := sections.get(place.section)) is None:
            continue
        name = section.volume_backend_name
        own = [row for row in types if row["volume_backend_name"]]
        served[place.backend] += [
            row["volume_type"] for row in own if extra_specs_ops.match(name, row["volume_backend_name"])
        ]
        served[place.backend] += [tier for _, tier in lying if tier in anywhere]
        if not types:
            served[place.backend].append(name)
    everything = list(dict.fromkeys(tier for tiers in served.values() for tier in tiers)) or ["volumes"]
    return {name: list(dict.fromkeys(tiers)) or everything for name, tiers in served.items()}


def _lying(sources: Sources) -> Iterator[tuple[str, str]]:
    """Pairs of a host and a volume type of volumes there."""
    tables = []
    if sources.history is not None:
        tables.append(sources.history.placements)
    elif sources.telemetry is not None:
        tables.append(sources.telemetry.events)
    for table in tables:
        pairs = table.loc[(table["host"] != "") & (table["volume_type"] != ""), ["host", "volume_type"]]
        yield from (
            pairs.drop_duplicates().sort_values(["host", "volume_type"]).itertuples(index=False, name=None)
        )


def _backends(sources: Sources, found: dict[str, Place], served: dict[str, list[str]]) -> dict[str, Backend]:
    backends: dict[str, Backend] = {}
    sections = sources.configuration.sections if sources.configuration else None
    volumes = _volumes_by_host(sources)
    for host, place in found.items():
        section = sections.get(place.section) if sections is not None else None
        if place.backend not in backends:
            keys, remark = _keys(section), ""
            if sections is not None and section is None:
                remark = "not in enabled_backends: no cache"
                keys["image_volume_cache_enabled"] = False
            backends[place.backend] = Backend(served[place.backend], place.node, keys, {}, remark)
        backends[place.backend].pools[place.pool] = _pool(section, volumes.get(host, 0))
    for name, backend in backends.items():
        _drop_exceeded(backend, sum(volumes.get(host, 0) for host in found if found[host].backend == name))
    return backends


def _volumes_by_host(sources: Sources) -> dict[str, int]:
    """How many volumes and image-volumes there are at the start of the period."""
    if sources.history is None:
        return {}
    return {str(host): int(count) for host, count in sources.history.initial["host"].value_counts().items()}


def _keys(section: Section | None) -> dict[str, Any]:
    keys: dict[str, Any] = dict(assumptions.times())
    if section is None:
        return keys
    keys |= cloning.keys(section, keys["write_mib_s"])
    ratio = section.max_over_subscription_ratio
    keys["max_over_subscription_ratio"] = Assumed(20.0, "cinder.conf says auto") if ratio is None else ratio
    for name in (
        "reserved_percentage",
        "image_volume_cache_enabled",
        "image_volume_cache_max_size_gb",
        "image_volume_cache_max_count",
    ):
        keys[name] = getattr(section, name)
    return keys


def _pool(section: Section | None, volumes: int) -> dict[str, Assumed]:
    limit = cloning.pool_limit(section) if section else None
    return {"max_volumes": limit} if limit and int(limit.value) > volumes else {}


def _drop_exceeded(backend: Backend, volumes: int) -> None:
    """A published limit that the array is beyond already is not its limit."""
    limit = backend.keys.get("max_volumes")
    if limit is not None and int(limit.value) <= volumes:
        del backend.keys["max_volumes"]


def _images(sources: Sources, hosts: dict[str, str]) -> pd.DataFrame:
    """The image list and `why`: what had to be assumed of a row ('' nothing)."""
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
            *("store_hosts", "owner", "why"),
        ],
    )
    return images.sort_values("image_id", ignore_index=True)


def _missing(value: Any) -> bool:
    return not isinstance(value, list) and (value == "" or bool(pd.isna(value)))


def _image(row: dict[str, Any], hosts: dict[str, str]) -> dict[str, Any]:
    raw = row.setdefault("disk_format", "raw") == "raw"
    size, why = row.get("size_bytes"), []
    ceiling = int(row.get("smallest_gib", 1)) * GIB
    if size is None:
        size = ceiling
        why.append("size")
    virtual = row.get("virtual_size_bytes") or (size if raw else None)
    if not virtual and "virtual_gib" in row:  # the image-volume of a cache fill: rounded up to GiB
        virtual = int(row["virtual_gib"]) * GIB
    if not virtual:
        virtual = max(int(size), ceiling)
        why.append("virtual size")
    private = row.get("visibility") == "private"
    return {
        "image_id": row["image_id"],
        "name": row.get("name", row["image_id"]),
        "disk_format": row["disk_format"],
        "container_format": row.get("container_format", "bare"),
        "size_bytes": max(1, int(size)),
        "virtual_size_bytes": max(1, int(virtual)),
        "store_hosts": ";".join(hosts[host] for host in row.get("store_hosts", ())),
        "owner": row.get("owner", "") if private else "",
        "why": " and ".join(why),
    }


def _initial(history: History, found: dict[str, Place]) -> pd.DataFrame:
    initial: pd.DataFrame = history.initial.copy()
    initial["host"] = initial["host"].map({host: place.host for host, place in found.items()})
    return initial


def _store_home(cloud: Cloud) -> str | Assumed:
    """The pool with most of the store's image-volumes, else the first one."""
    hosts: list[str] = [host for cell in cloud.images["store_hosts"] for host in cell.split(";") if host]
    if hosts:
        return max(dict.fromkeys(hosts), key=hosts.count)
    return Assumed(next(iter(cloud.places.values())).host, "no image is in a Cinder store today")


def _told(sources: Sources) -> Iterator[Note]:
    for source in (sources.configuration, sources.history, sources.telemetry):
        yield from source.notes if source is not None else ()
    yield from sources.glance_notes


def _said(cloud: Cloud) -> Iterator[Note]:
    """What the scenario has to assume."""
    images = cloud.images
    for what, remedy in (
        ("size", "the database lost their metadata; Glance tells (--glance)"),
        ("virtual size", "the database does not hold them; Glance tells (--glance)"),
    ):
        guessed = images[images["why"].str.split(" and ").map(lambda parts, what=what: what in parts)]
        if len(guessed):
            ids = shortened(guessed["image_id"])
            rule = "the smallest volume made of each is taken"
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
    if not cloud.has_trace:
        why = "no source has a history; the database (--db) and notifications (--notifications) have"
        yield Note("assumed", f"workload: drawn like a month of real creations in another cloud: {why}")
    placed = pd.DataFrame() if cloud.sources.history is None else cloud.sources.history.placements
    if (placed.get("cluster", pd.Series(dtype="str")) != "").any():
        what = "services of one cluster count as nodes of their own, each with a cache of its own"
        yield Note("unknown", f"clustered services are not simulated: {what}")
    sections = cloud.sources.configuration.sections.values() if cloud.sources.configuration else ()
    yield from cloning.notes(sections)
    pools = ", ".join(cloud.hosts.values())
    yield Note("unknown", f"capacity_gib of {pools}: no limit until you write it into scenario.yaml")
    timed = "create_s, clone_s, delete_s, write_mib_s, convert_mib_s, glance.stream_mib_s"
    yield Note(
        "assumed", f"{timed}: published or guessed; `cinder-cache calibrate` fits them to what was seen"
    )
    yield Note("unknown", "prices: 0 until you write price_gib_month of each tier into scenario.yaml")
    if cloud.sources.configuration is None:
        yield Note("unknown", "today's cache limits and strategy: cinder.conf tells (--conf)")


def shortened(names: Iterable[str], most: int = 5) -> str:
    """Some names, and how many more there are."""
    every = list(map(str, names))
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def quota(cloud: Cloud, resource: str) -> int | None:
    """The internal tenant's hard limit ('volumes' or 'gigabytes'); None: unlimited, or nobody told."""
    history, configuration = cloud.sources.history, cloud.sources.configuration
    limit = history.quotas.get(resource) if history is not None else None
    if limit is None and configuration is not None:
        limit = getattr(configuration, f"quota_{resource}")
    return None if limit is None or limit < 0 or math.isnan(limit) else int(limit)
