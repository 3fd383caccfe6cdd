"""What is simulated: frozen specs of a scenario."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pandas as pd
from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from sim.images import Image
from sim.problems import BadInput, quoted
from sim.spec import (
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
from sim.strategies import STRATEGIES
from sim.trace import Known, Trace
from sim.workload.spec import Duration, Generate

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
    """Where images are downloaded from: concurrent sends (null: no limit), and the rate of each."""

    streams: Count | None = 16
    stream_mib_s: Rate | None = None


Weigher = Literal["CapacityWeigher", "AllocatedCapacityWeigher", "VolumeNumberWeigher"]
Multiplier = Annotated[float, Field(ge=-1e9, le=1e9)]


class CinderOptions(Spec):
    """Options of the whole of Cinder; quotas are the internal tenant's (null: unlimited).

    `image_upload_use_internal_tenant`: whose the image-volumes of uploads are (see `Scenario.upload`).
    `scheduler_weight_handler` is the last part of what Cinder's option is, a class's full name.
    """

    lock_scope: Literal["cloud", "node"] = "cloud"
    scheduler_max_attempts: Count = 3
    backend_stats_polling_interval: Annotated[float, Field(ge=1, le=1e9)] = 60
    internal_tenant_quota_volumes: Quota = None
    internal_tenant_quota_gigabytes: Quota = None
    image_upload_use_internal_tenant: bool = False
    scheduler_default_weighers: Annotated[tuple[Weigher, ...], Field(strict=False), AfterValidator(once)] = (
        "CapacityWeigher",
    )
    capacity_weight_multiplier: Multiplier = 1.0
    allocated_capacity_weight_multiplier: Multiplier = -1.0
    volume_number_multiplier: Multiplier = -1.0
    scheduler_weight_handler: Literal["OrderedHostWeightHandler", "StochasticHostWeightHandler"] = (
        "OrderedHostWeightHandler"
    )

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
    """A volume type and its prices a month."""

    price_gib_month: Price = 0.0
    price_volume_month: Price = 0.0


class Pool(Spec):
    """Limits of a pool; null: unlimited."""

    capacity_gib: Annotated[float, Field(gt=0)] | None = None
    max_volumes: Annotated[int, Field(gt=0)] | None = None


class Backend(Spec):
    """An array with its pools, how long it takes and what it allows (units are in the names).

    A rate of null is a step that takes no time, a limit of null none. `read_mib_s` is of uploads.
    `volume_types` is the key `volume_type`: the tiers it serves.
    """

    volume_types: Annotated[
        Names,
        BeforeValidator(partial(listed, None)),
        AfterValidator(some),
        Field(alias="volume_type"),
    ]
    pools: Annotated[dict[HostPart, Pool], AfterValidator(some)]
    node: Name = "c1"
    max_volumes: Annotated[int, Field(gt=0)] | None = None
    create_s: Seconds = 0.0
    clone_s: Seconds = 0.0
    clone_mib_s: Rate | None = None
    delete_s: Seconds = 0.0
    extend_s: Seconds = 0.0
    write_mib_s: Rate | None = None
    convert_mib_s: Rate | None = None
    read_mib_s: Rate | None = None
    write_streams: Count | None = None
    max_clones_per_volume: Count | None = None
    delete_with_clones: Literal["allowed", "busy"] = "allowed"
    driver_clones_raw: bool = False
    thin: bool = True
    dedupe: bool = False
    max_over_subscription_ratio: Annotated[float, Field(ge=1)] = 20.0
    reserved_percentage: Annotated[int, Field(ge=0, le=100)] = 0
    image_volume_cache_enabled: bool = True
    image_volume_cache_max_size_gb: Limit = 0
    image_volume_cache_max_count: Limit = 0


class Store(Spec):
    """The Cinder store: the pool for image-volumes of images that name no pool."""

    home: Host


class WhatIf(Spec):
    """Changes to Cinder that Cinder as released does not have.

    `eviction` is how the image-volume cache chooses the entry that it gives up (`lru`: Cinder's own).

    `prefer_clones` is a weigher that Cinder's scheduler lacks (a new one in cinder/scheduler/weights/): of
    the pools that pass, those that can clone the image now come first.

    The others are off by default. CreateVolumeFromSpecTask is in volume/flows/manager/create_volume.py.

    - `lock_per_pool`: the lock under which an image is cached is named by image and pool, not by image alone
      (`coordination.synchronized` of CreateVolumeFromSpecTask._prepare_image_cache_entry).
    - `refused_without_lock`: an image larger than image_volume_cache_max_size_gb, which the cache refuses,
      is downloaded as if there were no cache, without the lock (CreateVolumeFromSpecTask._create_from_image).
    - `retry_clone_limit`: a create that meets the clone limit of a cached image-volume (which is given up) is
      tried again, once, after a second (`retries` of CreateVolumeFromSpecTask._create_from_image: 2, not 1).
    - `limits_per_backend`: image_volume_cache_max_size_gb and image_volume_cache_max_count bound a backend's
      pools together, and what was used least recently goes, wherever it is; with `eviction: lru` only
      (ImageVolumeCache._get_query_filters in image/cache.py, as ensure_space asks it).
    - `fill_lock`: a lock per pool (per backend with `limits_per_backend`) from ensure_space to the entry, so
      that fills at the same time keep the limits (VolumeManager._create_image_cache_volume_entry in
      volume/manager.py).
    - `prefetch`: an image's release (an event `release` or `update_image`) makes a volume of it on every pool
      whose cache would keep it, and deletes that, so that the cache is filled before users ask. It needs no
      change to Cinder: a script can do it. Its creates are in no table of requests.
    - `evict_for_users`: a user's create that meets the volume limit of its pool or array evicts what was used
      least recently of the cache there (not what it is cloned from), waits until it is deleted and tries
      again, until an image-volume is busy or none is left (the driver that CreateVolumeFromSpecTask calls).
    """

    eviction: Literal["lru", "sieve", "gdsf", "belady"] = "lru"
    lock_per_pool: bool = False
    refused_without_lock: bool = False
    retry_clone_limit: bool = False
    limits_per_backend: bool = False
    fill_lock: bool = False
    evict_for_users: bool = False
    prefetch: bool = False
    prefer_clones: bool = False

    @model_validator(mode="after")
    def _of_lru(self) -> Self:
        if self.limits_per_backend and self.eviction != "lru":
            raise ValueError(f"limits_per_backend needs eviction lru, not {self.eviction}")
        return self


class Workload(Spec):
    """The events, a file or generated, and a file of what exists at the start, relative to the scenario.

    The others change what is read or generated: see `sim.workload.changes.Changes`.
    """

    trace: Name | None = None
    generate: Generate | None = None
    initial: Name | None = None
    growth: Annotated[float, Field(gt=0, le=1000)] = 1.0
    image_size_factor: Annotated[float, Field(gt=0, le=1000)] = 1.0
    update_every: Duration | None = None
    until: Duration | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.trace is None) == (self.generate is None):
            raise ValueError("either trace or generate is needed")
        return self


def _images_kind(images: object) -> str:
    return "file" if isinstance(images, str) else "list"


class Scenario(Spec):
    """A whole scenario.

    `images` is a file, relative to the scenario, or the images themselves; a generated workload has its own,
    if there are none here. `today` is the strategy of today's settings (null: `cache-only` if a backend has
    its cache on, else `none`).

    `upload` is what makes an image of a volume. `copy`: its data go to Glance. `no-op`: raw and bare images
    are clones of the volume, with a location (Cinder's `image_upload_use_cinder_backend`). The others are
    proposals. `raw-twin-location`: as `no-op`, and a copy to Glance in another format keeps a clone beside
    it, found by a marked location. `raw-twin-cache`: every copy to Glance keeps a clone as a cache entry.
    """

    name: Name = "scenario"
    seed: Annotated[int, Field(ge=0)] = 7
    glance: Glance = Glance()
    cinder: CinderOptions = CinderOptions()
    what_if: WhatIf = WhatIf()
    tiers: Annotated[dict[Name, Tier], AfterValidator(some)]
    backends: Annotated[dict[HostPart, Backend], AfterValidator(some)]
    images: (
        Annotated[
            Annotated[Name, Tag("file")]
            | Annotated[tuple[Image, ...], Field(strict=False), AfterValidator(some), Tag("list")],
            Discriminator(_images_kind),
        ]
        | None
    ) = None
    store: Store | None = None
    upload: Literal["copy", "no-op", "raw-twin-location", "raw-twin-cache"] = "copy"
    workload: Workload
    boot_timeout_s: Seconds = 180.0
    today: Annotated[str, AfterValidator(_strategy)] | None = None
    strategies: Annotated[
        tuple[Annotated[str, AfterValidator(_strategy)], ...],
        Field(strict=False),
        AfterValidator(some),
        AfterValidator(once),
    ] = STRATEGY_NAMES

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
