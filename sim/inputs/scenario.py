"""The keys of a scenario, as frozen specs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pandas as pd
from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from sim.inputs.backend import NOVA, Backend, Pool, Tier, Zone
from sim.inputs.generator import Duration, Generate
from sim.inputs.hosts import backend_of, host_of
from sim.inputs.images import Image
from sim.inputs.nodes import Node
from sim.inputs.problems import BadInput, quoted
from sim.inputs.schedulers import FILTERS, ON_HINTS, WEIGHERS, Filters, Weighers
from sim.inputs.spec import (
    Count,
    Host,
    HostPart,
    Name,
    Quota,
    Rate,
    Seconds,
    Seed,
    Spec,
    TierName,
    once,
    some,
)
from sim.inputs.strategies import STRATEGIES
from sim.inputs.trace import Known, Trace

__all__ = [
    "STRATEGY_NAMES",
    "BadInput",
    "Case",
    "CinderOptions",
    "Glance",
    "Image",
    "NamedStore",
    "Scenario",
    "Store",
    "WhatIf",
    "Workload",
]

MOST_ATTEMPTS = 1000
STRATEGY_NAMES = ("none", "store-only", "cache-only", "combined")  # of a scenario that names none


def _strategy(name: str) -> str:
    if name not in STRATEGIES:
        known = ", ".join(STRATEGIES)
        raise ValueError(f"unknown strategy {quoted(name)}: must be one of {known}")
    return name


def _attempts(count: int) -> int:
    if count > MOST_ATTEMPTS:
        what = "each of them is simulated for each create that fails"
        raise ValueError(f"at most {MOST_ATTEMPTS} attempts: {what}")
    return count


class Glance(Spec):
    """Glance, from which Cinder downloads images."""

    streams: Count | None = 16
    """Downloads and uploads that Glance serves at the same time, for the whole cloud or on each of its
    `nodes`; null: no limit."""
    nodes: Annotated[int, Field(ge=1, le=1000)] = 1
    """API nodes of Glance, each with `streams` of its own. Transfers go to them in turn, as a proxy sends
    them, and wait there even if another node has a stream free."""
    stream_mib_s: Rate | None = None
    """Largest rate of each download and upload; null: they take no time, unless they share a rate."""
    total_mib_s: Rate | None = None
    """Rate that all downloads and uploads of the cloud share; null: no limit."""
    convert_on_import: Literal["raw"] | None = None
    """`raw`: Glance keeps every image as raw data of its virtual size, whatever the image list says (its
    plugin `image_conversion`). Null: images are as in the list."""
    do_secure_hash: bool = False
    """Whether Glance reads the image of a no-op upload once to hash it. When the hash is there, `updated_at`
    changes, and what the cache has of the image is stale. Glance's own default is true since 2024.2."""


Multiplier = Annotated[float, Field(ge=-1e9, le=1e9)]


class CinderOptions(Spec):
    """Options of Cinder as a whole. A key has the name of Cinder's option where there is one."""

    lock_scope: Literal["cloud", "node"] = "cloud"
    """Scope of the lock of an image. `cloud`: all nodes share a `[coordination] backend_url`. `node`: each
    node has lock files, which is Cinder's default."""
    lock_order: Literal["arrival", "chance"] = "arrival"
    """Which of those who wait for a lock gets it. `arrival`: who has waited longest. `chance`: anybody, as
    with tooz's locks in MySQL, etcd, memcached and Redis, which have no queue."""
    default_availability_zone: Zone = NOVA
    """Zone of a create that asks for none. If it is neither `nova` nor the zone of a backend, Cinder refuses
    the create."""
    image_conversion_disable: bool = False
    """Whether Cinder refuses to convert images. A create that downloads an image that is not raw then ends in
    an error, and so does the upload of such an image."""
    scheduler_max_attempts: Annotated[int, Field(ge=1), AfterValidator(_attempts)] = 3
    """How many times the scheduler tries a create, each time on another pool."""
    backend_stats_polling_interval: Annotated[float, Field(ge=1, le=1e9)] = 60
    """Seconds between a backend's reports of its space to the scheduler."""
    internal_tenant_quota_volumes: Quota = None
    """Quota of volumes for the internal tenant, which owns the image-volumes of the cache; null or -1:
    unlimited."""
    internal_tenant_quota_gigabytes: Quota = None
    """Quota of GiB for the internal tenant; null or -1: unlimited."""
    internal_tenant_quotas: dict[Name, Quota] = Field(default={})
    """Quotas of the internal tenant by volume type: `volumes_TYPE` and `gigabytes_TYPE`. Absent, null or -1:
    unlimited."""
    internal_tenant_owns_store: bool = False
    """Whether image-volumes of the Cinder store belong to the internal tenant, and count against its quotas
    (Glance's `cinder_store_project_name`). False: they belong to a project without quotas."""
    quotas: dict[Name, dict[Name, Quota]] = Field(default={})
    """Quotas of users' projects by project, named as in `openstack quota set`: `volumes`, `gigabytes`,
    `per_volume_gigabytes`, and for a volume type `volumes_TYPE` and `gigabytes_TYPE`. The project `default`
    has the values of all projects that lack one. Creates without a project belong to `project`. Absent, null
    or -1: unlimited."""
    image_upload_use_internal_tenant: bool = False
    """Whether image-volumes of uploads belong to the internal tenant, not to the uploading project (see
    `upload`)."""
    scheduler_default_filters: Filters = FILTERS
    """Filters that the scheduler asks about each pool, in this order."""
    scheduler_default_weighers: Weighers = WEIGHERS
    """Weighers that the scheduler uses to choose a pool."""
    capacity_weight_multiplier: Multiplier = 1.0
    """Multiplier of `CapacityWeigher`; a negative value stacks volumes instead of spreading them."""
    allocated_capacity_weight_multiplier: Multiplier = -1.0
    """Multiplier of `AllocatedCapacityWeigher`."""
    volume_number_multiplier: Multiplier = -1.0
    """Multiplier of `VolumeNumberWeigher`."""
    scheduler_weight_handler: Literal["OrderedHostWeightHandler", "StochasticHostWeightHandler"] = (
        "OrderedHostWeightHandler"
    )
    """Class that chooses a pool by weight: the best one, or a lottery. Give the class name without its
    module."""

    def weigher_multipliers(self) -> dict[str, float]:
        """The multiplier of each weigher that weighs, in the order in which they do; those without an option
        have 1."""
        of = {
            "CapacityWeigher": self.capacity_weight_multiplier,
            "AllocatedCapacityWeigher": self.allocated_capacity_weight_multiplier,
            "VolumeNumberWeigher": self.volume_number_multiplier,
        }
        return {weigher: of.get(weigher, 1.0) for weigher in self.scheduler_default_weighers}

    def tenant_limits(self) -> dict[str, int]:
        """What limits the internal tenant, by resource as in `quotas`."""
        whole = {
            "volumes": self.internal_tenant_quota_volumes,
            "gigabytes": self.internal_tenant_quota_gigabytes,
        }
        limits = {**whole, **self.internal_tenant_quotas}
        return {resource: limit for resource, limit in limits.items() if limit is not None}

    def preference(self) -> float:
        """A multiplier that outweighs all other weighers: more than their weights can differ by."""
        return 1.0 + sum(map(abs, self.weigher_multipliers().values()))


class Store(Spec):
    """The Cinder store of Glance: either `home` or `volume_type`."""

    home: Host | None = None
    """The pool (`backend#pool`) that holds the image-volume of each image without `store_hosts`."""
    volume_type: TierName | None = None
    """The tier of the image-volumes that Glance asks Cinder for when an upload sends it the data of an image
    without `store_hosts` (`cinder_volume_type` of Glance's default store): the scheduler places them. Images
    that are there from the start are in the store only if they have `store_hosts`."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.home is None) == (self.volume_type is None):
            raise ValueError("either home or volume_type")
        return self


class NamedStore(Spec):
    """A Cinder store of Glance that is not its default store."""

    volume_type: TierName
    """The tier of its image-volumes (`cinder_volume_type`); the scheduler places them."""


class WhatIf(Spec):
    """Changes that no release of Cinder has, with the code that each would change.

    All are off by default. CreateVolumeFromSpecTask is in volume/flows/manager/create_volume.py.
    """

    eviction: Literal["lru", "sieve", "gdsf", "belady"] = "lru"
    """Eviction policy of the image-volume cache; `lru` is Cinder's own (`ensure_space` of ImageVolumeCache in
    image/cache.py)."""
    lock_per_pool: bool = False
    """The lock for filling the cache has the image and the pool in its name, not the image alone
    (`coordination.synchronized` of CreateVolumeFromSpecTask._prepare_image_cache_entry)."""
    refused_without_lock: bool = False
    """If the cache refuses an image (it is larger than image_volume_cache_max_size_gb), Cinder downloads it
    without the lock, as if there were no cache (CreateVolumeFromSpecTask._create_from_image)."""
    retry_clone_limit: bool = False
    """If a create meets the clone limit of a cached image-volume, Cinder tries the create once more after a
    second. The cache drops that image-volume as before (`retries` of
    CreateVolumeFromSpecTask._create_from_image: 2, not 1)."""
    limits_per_backend: bool = False
    """image_volume_cache_max_size_gb and image_volume_cache_max_count limit all pools of a backend together.
    The least recently used entry goes, on whichever pool it is. Needs `eviction: lru`
    (ImageVolumeCache._get_query_filters in image/cache.py, called by ensure_space)."""
    fill_lock: bool = False
    """Fills at the same time keep the limits, because a lock per pool (per backend with `limits_per_backend`)
    is held from ensure_space until the entry exists (VolumeManager._create_image_cache_volume_entry in
    volume/manager.py)."""
    evict_for_users: bool = False
    """If a user's create meets the volume limit of its pool or array, it evicts the least recently used entry
    there, except the one that it clones. It waits for the delete and tries again, until it succeeds, an
    image-volume is busy, or no entry is left (the driver that CreateVolumeFromSpecTask calls)."""
    prefetch: bool = False
    """At each release of an image (an event `release` or `update_image`), a script creates a volume from it
    on every pool whose cache would keep it, and deletes that volume. So the cache has the image before users
    ask. This needs no change to Cinder. No table of requests has these creates."""
    prefer_clones: bool = False
    """A new weigher for Cinder's scheduler (in cinder/scheduler/weights/). Among the pools that pass the
    filters, it prefers those that can clone the image now."""

    @model_validator(mode="after")
    def _of_lru(self) -> Self:
        if self.limits_per_backend and self.eviction != "lru":
            raise ValueError(f"limits_per_backend needs eviction lru, not {self.eviction}")
        return self


class Workload(Spec):
    """The events (`trace` or `generate`), the state at the start, and changes to both."""

    trace: Name | None = None
    """A file of events, CSV or Parquet, relative to the scenario."""
    generate: Generate | None = None
    """The parameters of a generated workload."""
    initial: Name | None = None
    """A CSV file of the volumes and cache entries that exist at the start, relative to the scenario."""
    growth: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Multiplies the number of volumes; each new one is near its original in time. A larger load contains a
    smaller one."""
    image_size_factor: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Multiplies the sizes of all images."""
    update_every: Duration | None = None
    """Time between additional updates of each image; null: none."""
    until: Duration | None = None
    """Leaves out all events after this time; null: none."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.trace is None) == (self.generate is None):
            raise ValueError("either trace or generate is needed")
        return self


def _images_kind(images: object) -> str:
    return "file" if isinstance(images, str) else "list"


class Scenario(Spec):
    """A whole scenario: the keys at the top of its file."""

    name: Name = "scenario"
    """Name of the scenario in results; default: the name of the file."""
    seed: Seed = 7
    """Seed of all random draws."""
    glance: Glance = Glance()
    """Glance, from which Cinder downloads images."""
    nodes: dict[Name, Node] = Field(default={})
    """Limits of cinder-volume nodes, by the names that `node` and `nodes` of backends give them. A node that
    is not here has none."""
    cinder: CinderOptions = CinderOptions()
    """Options of Cinder as a whole."""
    what_if: WhatIf = WhatIf()
    """Changes to Cinder, all off by default."""
    tiers: Annotated[dict[TierName, Tier], AfterValidator(some)]
    """Volume types by name."""
    backends: Annotated[dict[HostPart, Backend], AfterValidator(some)]
    """Arrays by the name of their backend."""
    images: (
        Annotated[
            Annotated[Name, Tag("file")]
            | Annotated[tuple[Image, ...], Field(strict=False), AfterValidator(some), Tag("list")],
            Discriminator(_images_kind),
        ]
        | None
    ) = None
    """The image list: a CSV file, relative to the scenario, or the images themselves. Without it, a generated
    workload makes its own images."""
    store: Store | None = None
    """Glance's default store, if it is a Cinder store; null: only images with `store_hosts` have
    image-volumes."""
    stores: dict[Name, NamedStore] = Field(default={})
    """Other Cinder stores of Glance, by name (in `enabled_backends`). `image_service_store_id` of tiers says
    which uploads go there."""
    upload: Literal["copy", "no-op", "raw-twin-location", "raw-twin-cache"] = "copy"
    """How Cinder makes an image from a volume. `copy`: it copies the data to Glance. `no-op`: it clones the
    volume for raw and bare images and adds a location (Cinder's `image_upload_use_cinder_backend`). The other
    two are proposals. `raw-twin-location`: like `no-op`; an image in another format is copied to Glance, and
    a raw clone stays as a marked location. `raw-twin-cache`: every copy to Glance also leaves a clone as a
    cache entry."""
    workload: Workload
    """The events of the simulation."""
    boot_timeout_s: Seconds = 180.0
    """A server gives up its boot after this time. Results count the creates that take longer."""
    today: Annotated[str, AfterValidator(_strategy)] | None = None
    """The strategy that the cloud uses today; null: `cache-only` if a backend has its cache on, else
    `none`."""
    strategies: Annotated[
        tuple[Annotated[str, AfterValidator(_strategy)], ...],
        Field(strict=False),
        AfterValidator(some),
        AfterValidator(once),
    ] = STRATEGY_NAMES
    """The strategies that `compare` simulates."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.what_if.prefer_clones and self.cinder.scheduler_weight_handler != "OrderedHostWeightHandler":
            raise ValueError("what_if.prefer_clones needs OrderedHostWeightHandler: a lottery has no first")
        return self

    def varied(self, values: Mapping[tuple[str, ...], object]) -> Self:
        """A copy of the scenario with other values, each at the path of its key. Raises pydantic's
        ValidationError."""
        return self.model_validate(put(self.model_dump(by_alias=True), values))

    def todays_strategy(self) -> str:
        """The strategy that the cloud uses today: `today`, or else by the caches of the backends."""
        if self.today is not None:
            return self.today
        cached = any(backend.image_volume_cache_enabled for backend in self.backends.values())
        return "cache-only" if cached else "none"

    def asked_type(self, store_id: str | None) -> str | None:
        """The volume type of the image-volume that a store of Glance, None the default one, asks Cinder for
        when it gets an upload; None: it asks for none."""
        store = self.store if store_id is None else self.stores[store_id]
        return store.volume_type if store else None

    @property
    def asks(self) -> bool:
        """Whether Glance asks Cinder for the image-volumes of some uploads."""
        return any(self.asked_type(tier.image_service_store_id) is not None for tier in self.tiers.values())

    def zones(self) -> tuple[str, ...]:
        """The availability zones that Cinder's API knows: `nova`, and those of the backends in their order.

        `nova` is Cinder's `storage_availability_zone`, which the API always knows (`volume.API.create`).
        """
        return tuple(dict.fromkeys((NOVA, *(one.availability_zone for one in self.backends.values()))))

    @property
    def queues(self) -> bool:
        """Whether requests wait for more than locks of images, Glance's streams and streams of writes."""
        return (
            self.glance.nodes > 1
            or any(node.executor_thread_pool_size is not None for node in self.nodes.values())
            or any(backend.queues for backend in self.backends.values())
        )

    def conversion_limits(self) -> dict[str, float | None]:
        """GiB of the conversion directory of each of `nodes`; None: unlimited."""
        return {name: node.image_conversion_gib for name, node in self.nodes.items()}

    def pools(self) -> dict[str, Pool]:
        """Every pool by its host (backend#pool), in the scenario's order."""
        return {
            host_of(name, pool): spec
            for name, backend in self.backends.items()
            for pool, spec in backend.pools.items()
        }

    def acting_filters(self) -> tuple[str, ...]:
        """The scheduler's filters without those that pass every pool here."""
        passing = ON_HINTS
        if all(backend.filter_function is None for backend in self.backends.values()):
            passing |= {"DriverFilter"}
        return tuple(name for name in self.cinder.scheduler_default_filters if name not in passing)

    def acting_weighers(self) -> tuple[str, ...]:
        """The scheduler's weighers without those that give every pool the weight 0 here."""
        rated = any(backend.goodness_function is not None for backend in self.backends.values())
        weighers = self.cinder.scheduler_default_weighers
        return tuple(name for name in weighers if rated or name != "GoodnessWeigher")

    def backend_at(self, host: str) -> Backend:
        """The backend that a host is a pool of."""
        return self.backends[backend_of(host)]

    def hosts_of(self, volume_type: str) -> tuple[str, ...]:
        """The hosts of the pools that serve a volume type, in the scenario's order."""
        return tuple(
            host_of(name, pool)
            for name, backend in self.backends.items()
            if volume_type in backend.volume_types
            for pool in backend.pools
        )


@dataclass(frozen=True)
class Case:
    """A checked scenario with the contents of all its files. `images` are by ID, in the order of the file.

    `replication` is the number of the draw of a generated workload, else 0.
    """

    path: Path
    scenario: Scenario
    images: dict[str, Image]
    trace: Trace
    initial: pd.DataFrame
    replication: int = 0

    @property
    def uploaded(self) -> frozenset[str]:
        """The images that uploads make from volumes; they do not exist at the start."""
        events = self.trace.events
        return frozenset(events.loc[events["event"] == "upload", "image_id"])

    @property
    def stored_later(self) -> frozenset[str]:
        """The images that come into the Cinder store during the trace."""
        events = self.trace.events
        return frozenset(events.loc[events["event"] == "store_image", "image_id"])

    @property
    def schedules(self) -> bool:
        """Whether the scheduler places a volume: of the trace, or the image-volume of an upload."""
        return self.trace.schedules or (self.scenario.asks and bool(self.uploaded))

    @property
    def creates(self) -> int:
        """The number of creates, from an image or not; 0 if the trace is not in memory."""
        return int((self.trace.events["event"] == "create").sum())

    @property
    def last_create_s(self) -> float:
        """Time of the last create, in seconds; NaN without creates, or if the trace is not in memory."""
        events = self.trace.events
        return float(events.loc[events["event"] == "create", "time"].max())

    @property
    def known(self) -> Known:
        """The names that its trace may use."""
        hosts = {
            host: frozenset(self.scenario.backend_at(host).volume_types) for host in self.scenario.pools()
        }
        return Known(frozenset(self.images), frozenset(self.scenario.tiers), hosts)


def put(raw: Mapping[Any, Any], values: Mapping[tuple[str, ...], object]) -> dict[Any, Any]:
    """`raw` with other values, each at the path of its key; parts on the way that it lacks are made.

    The parts on the paths are copied, the rest is shared.
    """
    found = dict(raw)
    own: dict[tuple[str, ...], dict[Any, Any]] = {(): found}
    for path, value in values.items():
        for depth, part in enumerate(path[:-1]):
            if path[: depth + 1] not in own:
                own[path[:depth]][part] = own[path[: depth + 1]] = dict(own[path[:depth]].get(part, {}))
        own[path[:-1]][path[-1]] = value
    return found
