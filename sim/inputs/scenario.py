"""What is simulated: frozen specs of a scenario."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pandas as pd
from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from sim.inputs.generator import Duration, Generate
from sim.inputs.images import Image
from sim.inputs.problems import BadInput, quoted
from sim.inputs.spec import (
    Count,
    Host,
    HostPart,
    Limit,
    Name,
    Names,
    Price,
    Quota,
    Rate,
    Seconds,
    Spec,
    listed,
    once,
    some,
)
from sim.inputs.strategies import STRATEGIES
from sim.inputs.trace import Known, Trace

__all__ = [
    "STRATEGY_NAMES",
    "Backend",
    "BadInput",
    "Case",
    "CinderOptions",
    "Glance",
    "Image",
    "Pool",
    "Scenario",
    "Store",
    "Tier",
    "WhatIf",
    "Workload",
]

STRATEGY_NAMES = ("none", "store-only", "cache-only", "combined")  # of a scenario that names none


def _strategy(name: str) -> str:
    if name not in STRATEGIES:
        known = ", ".join(STRATEGIES)
        raise ValueError(f"unknown strategy {quoted(name)}: must be one of {known}")
    return name


class Glance(Spec):
    """Where images are downloaded from."""

    streams: Count | None = 16
    """Downloads and uploads that Glance serves at once, for all of the cloud; null: no limit."""
    stream_mib_s: Rate | None = None
    """The rate of each of them; null: a download takes no time."""


Weigher = Literal["CapacityWeigher", "AllocatedCapacityWeigher", "VolumeNumberWeigher"]
Multiplier = Annotated[float, Field(ge=-1e9, le=1e9)]


class CinderOptions(Spec):
    """Options of the whole of Cinder, by its own names where it has them."""

    lock_scope: Literal["cloud", "node"] = "cloud"
    """How far the lock of an image reaches: `cloud` with a `[coordination] backend_url` that all nodes share,
    `node` with files, Cinder's default."""
    scheduler_max_attempts: Count = 3
    """How often a create is tried, on as many pools."""
    backend_stats_polling_interval: Annotated[float, Field(ge=1, le=1e9)] = 60
    """Seconds between a backend's reports of its space to the scheduler."""
    internal_tenant_quota_volumes: Quota = None
    """How many volumes the internal tenant, who owns the cache's image-volumes, may have; null or -1:
    unlimited."""
    internal_tenant_quota_gigabytes: Quota = None
    """How many GiB they may have; null or -1: unlimited."""
    image_upload_use_internal_tenant: bool = False
    """Whether image-volumes of uploads belong to the internal tenant, not to who uploads (see `upload`)."""
    scheduler_default_weighers: Annotated[tuple[Weigher, ...], Field(strict=False), AfterValidator(once)] = (
        "CapacityWeigher",
    )
    """What the scheduler weighs pools by."""
    capacity_weight_multiplier: Multiplier = 1.0
    """Of `CapacityWeigher`: negative stacks volumes instead of spreading them."""
    allocated_capacity_weight_multiplier: Multiplier = -1.0
    """Of `AllocatedCapacityWeigher`."""
    volume_number_multiplier: Multiplier = -1.0
    """Of `VolumeNumberWeigher`."""
    scheduler_weight_handler: Literal["OrderedHostWeightHandler", "StochasticHostWeightHandler"] = (
        "OrderedHostWeightHandler"
    )
    """How weights choose: the best, or a lottery. The last part of Cinder's option, a class's full name."""

    def weigher_multipliers(self) -> dict[str, float]:
        """The multiplier of each weigher that weighs, in the order in which they do."""
        of = {
            "CapacityWeigher": self.capacity_weight_multiplier,
            "AllocatedCapacityWeigher": self.allocated_capacity_weight_multiplier,
            "VolumeNumberWeigher": self.volume_number_multiplier,
        }
        return {weigher: of[weigher] for weigher in self.scheduler_default_weighers}

    def preference(self) -> float:
        """A multiplier that outweighs all other weighers: more than their weights can differ by."""
        return 1.0 + sum(map(abs, self.weigher_multipliers().values()))


class Tier(Spec):
    """A volume type, and what image-volumes of it cost, in any currency."""

    price_gib_month: Price = 0.0
    """Of a GiB of physical space, a month."""
    price_volume_month: Price = 0.0
    """Of a volume, whatever its size, a month."""


class Pool(Spec):
    """Limits of a pool."""

    capacity_gib: Annotated[float, Field(gt=0)] | None = None
    """Its physical space; null: unlimited."""
    max_volumes: Annotated[int, Field(gt=0)] | None = None
    """How many volumes it may hold, of users and image-volumes together; null: any number."""


class Backend(Spec):
    """An array with its pools, how long it takes and what it allows (units are in the names).

    A rate of null is a step that takes no time, a limit of null none.
    """

    volume_types: Annotated[
        Names,
        BeforeValidator(partial(listed, None)),
        AfterValidator(some),
        Field(alias="volume_type"),
    ]
    """The tier that it serves, or a list of them; the first pays for image-volumes of the store."""
    pools: Annotated[dict[HostPart, Pool], AfterValidator(some)]
    """Its pools by name; a pool's host is `backend#pool`."""
    node: Name = "c1"
    """The node on which its cinder-volume runs; with `lock_scope: node` each has locks of its own."""
    max_volumes: Annotated[int, Field(gt=0)] | None = None
    """How many volumes the whole array may hold, of users and image-volumes together."""
    create_s: Seconds = 0.0
    """What an empty volume takes."""
    clone_s: Seconds = 0.0
    """What a clone takes."""
    clone_mib_s: Rate | None = None
    """Set: clones are full copies at this rate, after `clone_s`. Null: they are copy-on-write."""
    delete_s: Seconds = 0.0
    """What a delete takes; space and place come back at its end."""
    extend_s: Seconds = 0.0
    """What it takes to grow a volume."""
    write_mib_s: Rate | None = None
    """At which an image's virtual size is written to a volume."""
    convert_mib_s: Rate | None = None
    """At which its virtual size is converted, if it is not raw."""
    read_mib_s: Rate | None = None
    """At which an upload reads a volume."""
    write_streams: Count | None = None
    """Conversions and writes at once; null: any number."""
    max_clones_per_volume: Count | None = None
    """Live copy-on-write clones that a volume may have."""
    delete_with_clones: Literal["allowed", "busy"] = "allowed"
    """Whether the array deletes a volume that has clones, or refuses (`VolumeIsBusy`)."""
    driver_clones_raw: bool = False
    """Whether the driver itself clones raw images, which Glance keeps beside the pool (as RBD does)."""
    thin: bool = True
    """Whether volumes take the space of their data, shared with their clones, or all of their size."""
    dedupe: bool = False
    """Whether equal versions of an image are held once on a thin pool."""
    max_over_subscription_ratio: Annotated[float, Field(ge=1)] = 20.0
    """Cinder's; a thin pool provisions `capacity_gib` times this and no more."""
    reserved_percentage: Annotated[int, Field(ge=0, le=100)] = 0
    """Cinder's: of a pool's space, what the scheduler leaves free."""
    image_volume_cache_enabled: bool = True
    """Whether it has a cache, in strategies that have one."""
    image_volume_cache_max_size_gb: Limit = 0
    """The cache's limit for each pool, in GiB; 0: unlimited. What is larger is never kept."""
    image_volume_cache_max_count: Limit = 0
    """The cache's limit for each pool, in entries; 0: unlimited."""


class Store(Spec):
    """The Cinder store of Glance."""

    home: Host
    """The pool (`backend#pool`) of image-volumes of images that name no pool in `store_hosts`."""


class WhatIf(Spec):
    """Changes to Cinder that Cinder as released does not have, with the code that each would change.

    CreateVolumeFromSpecTask is in volume/flows/manager/create_volume.py. All are off by default.
    """

    eviction: Literal["lru", "sieve", "gdsf", "belady"] = "lru"
    """How the image-volume cache chooses the entry that it gives up; `lru` is Cinder's own (`ensure_space` of
    ImageVolumeCache in image/cache.py)."""
    lock_per_pool: bool = False
    """The lock under which an image is cached is named by image and pool, not by image alone
    (`coordination.synchronized` of CreateVolumeFromSpecTask._prepare_image_cache_entry)."""
    refused_without_lock: bool = False
    """An image larger than image_volume_cache_max_size_gb, which the cache refuses, is downloaded as if there
    were no cache, without the lock (CreateVolumeFromSpecTask._create_from_image)."""
    retry_clone_limit: bool = False
    """A create that meets the clone limit of a cached image-volume (which is given up) is tried again, once,
    after a second (`retries` of CreateVolumeFromSpecTask._create_from_image: 2, not 1)."""
    limits_per_backend: bool = False
    """image_volume_cache_max_size_gb and image_volume_cache_max_count bound a backend's pools together, and
    what was used least recently goes, wherever it is; with `eviction: lru` only
    (ImageVolumeCache._get_query_filters in image/cache.py, as ensure_space asks it)."""
    fill_lock: bool = False
    """A lock per pool (per backend with `limits_per_backend`) from ensure_space to the entry, so that fills
    at the same time keep the limits (VolumeManager._create_image_cache_volume_entry in volume/manager.py)."""
    evict_for_users: bool = False
    """A user's create that meets the volume limit of its pool or array evicts what was used least recently of
    the cache there (not what it is cloned from), waits until it is deleted and tries again, until an
    image-volume is busy or none is left (the driver that CreateVolumeFromSpecTask calls)."""
    prefetch: bool = False
    """An image's release (an event `release` or `update_image`) makes a volume of it on every pool whose
    cache would keep it, and deletes that, so that the cache is filled before users ask. It needs no change to
    Cinder: a script can do it. Its creates are in no table of requests."""
    prefer_clones: bool = False
    """A weigher that Cinder's scheduler lacks (a new one in cinder/scheduler/weights/): of the pools that
    pass, those that can clone the image now come first."""

    @model_validator(mode="after")
    def _of_lru(self) -> Self:
        if self.limits_per_backend and self.eviction != "lru":
            raise ValueError(f"limits_per_backend needs eviction lru, not {self.eviction}")
        return self


class Workload(Spec):
    """The events, either `trace` or `generate`, what exists at the start, and changes of what is given."""

    trace: Name | None = None
    """A file of events, CSV or Parquet, relative to the scenario."""
    generate: Generate | None = None
    """The parameters of a workload that is drawn."""
    initial: Name | None = None
    """A CSV file of the volumes and cache entries that exist at the start, relative to the scenario."""
    growth: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """So many times the volumes, near their originals in time; a larger load has all of a smaller one."""
    image_size_factor: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """All images' sizes times this."""
    update_every: Duration | None = None
    """Time between updates of each image, besides those that there are; null: none."""
    until: Duration | None = None
    """What is later is left out; null: nothing is."""

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
    """What results call it; the file's name if it has none."""
    seed: Annotated[int, Field(ge=0)] = 7
    """Of all that is drawn."""
    glance: Glance = Glance()
    """Where images are downloaded from."""
    cinder: CinderOptions = CinderOptions()
    """Options of the whole of Cinder."""
    what_if: WhatIf = WhatIf()
    """Changes to Cinder, all off."""
    tiers: Annotated[dict[Name, Tier], AfterValidator(some)]
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
    """A CSV file, relative to the scenario, or the images themselves, as a list; a generated workload has its
    own, if there are none here."""
    store: Store | None = None
    """The Cinder store; null: no image is in it but those with `store_hosts`."""
    upload: Literal["copy", "no-op", "raw-twin-location", "raw-twin-cache"] = "copy"
    """What makes an image of a volume. `copy`: its data go to Glance. `no-op`: raw and bare images are clones
    of the volume, with a location (Cinder's `image_upload_use_cinder_backend`). The others are proposals.
    `raw-twin-location`: as `no-op`, and a copy to Glance in another format keeps a clone beside it, found by
    a marked location. `raw-twin-cache`: every copy to Glance keeps a clone as a cache entry."""
    workload: Workload
    """What happens."""
    boot_timeout_s: Seconds = 180.0
    """Creates that take longer are counted: whoever boots from them has given up."""
    today: Annotated[str, AfterValidator(_strategy)] | None = None
    """The strategy of today's settings; null: `cache-only` if a backend has its cache on, else `none`."""
    strategies: Annotated[
        tuple[Annotated[str, AfterValidator(_strategy)], ...],
        Field(strict=False),
        AfterValidator(some),
        AfterValidator(once),
    ] = STRATEGY_NAMES
    """What `compare` simulates."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.what_if.prefer_clones and self.cinder.scheduler_weight_handler != "OrderedHostWeightHandler":
            raise ValueError("what_if.prefer_clones needs OrderedHostWeightHandler: a lottery has no first")
        return self

    def varied(self, values: Mapping[tuple[str, ...], object]) -> Self:
        """A scenario with other values, each at the path of its key. Raises pydantic's ValidationError."""
        return self.model_validate(put(self.model_dump(by_alias=True), values))

    def todays_strategy(self) -> str:
        """The strategy of today's settings: `today`, or what the backends' caches say."""
        if self.today is not None:
            return self.today
        cached = any(backend.image_volume_cache_enabled for backend in self.backends.values())
        return "cache-only" if cached else "none"

    def pools(self) -> dict[str, Pool]:
        """Every pool by its host (backend#pool), in the scenario's order."""
        return {
            f"{name}#{pool}": spec
            for name, backend in self.backends.items()
            for pool, spec in backend.pools.items()
        }

    def hosts_of(self, volume_type: str) -> tuple[str, ...]:
        """The hosts of the pools that serve a volume type, in the scenario's order."""
        return tuple(
            f"{name}#{pool}"
            for name, backend in self.backends.items()
            if volume_type in backend.volume_types
            for pool in backend.pools
        )


@dataclass(frozen=True)
class Case:
    """A scenario with all that its files hold, checked; images by id, in the file's order.

    `replication` is that of a generated workload, else 0.
    """

    path: Path
    scenario: Scenario
    images: dict[str, Image]
    trace: Trace
    initial: pd.DataFrame
    replication: int = 0

    @property
    def uploaded(self) -> frozenset[str]:
        """The images that are made of volumes: they are not there at the start."""
        events = self.trace.events
        return frozenset(events.loc[events["event"] == "upload", "image_id"])

    @property
    def last_create_s(self) -> float:
        """When the last volume is asked for, in seconds; NaN if none is, or the trace is not read."""
        events = self.trace.events
        return float(events.loc[events["event"] == "create", "time"].max())

    @property
    def known(self) -> Known:
        """The names that its trace may use."""
        hosts = {
            host: frozenset(self.scenario.backends[host.partition("#")[0]].volume_types)
            for host in self.scenario.pools()
        }
        return Known(frozenset(self.images), frozenset(self.scenario.tiers), hosts)


def put(raw: Mapping[Any, Any], values: Mapping[tuple[str, ...], object]) -> dict[Any, Any]:
    """`raw` with other values, each at the path of its key; parts on the way that it lacks are made.

    What is on the way is copied, the rest is shared.
    """
    found = dict(raw)
    own: dict[tuple[str, ...], dict[Any, Any]] = {(): found}
    for path, value in values.items():
        for depth, part in enumerate(path[:-1]):
            if path[: depth + 1] not in own:
                own[path[:depth]][part] = own[path[: depth + 1]] = dict(own[path[:depth]].get(part, {}))
        own[path[:-1]][path[-1]] = value
    return found
