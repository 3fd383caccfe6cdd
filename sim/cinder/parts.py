"""The classes from which a run of engine `cinder` is built, so that subclasses can replace them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from sim.cinder.addresses import scope
from sim.cinder.api import VolumeAPI
from sim.cinder.database import Database
from sim.cinder.driver import Driver
from sim.cinder.glance import Glance
from sim.cinder.links import Transfers
from sim.cinder.manager import VolumeManager
from sim.cinder.ondemand import OnDemandStore
from sim.cinder.policies import CACHES, BackendCache, BeladyCache, ObservedCache
from sim.cinder.quotas import Quotas
from sim.cinder.recorder import Recorder
from sim.inputs.scenario import WhatIf
from sim.inputs.strategies import Strategy
from sim.model.arrays import Array
from sim.model.usage import UsageMeter


@dataclass(frozen=True)
class Parts:
    """The classes of the objects in `sim.cinder.engine.run`. A subclass may watch its parent.

    `caches` are the classes of the image-volume cache by `what_if.eviction`.
    """

    array: type[Array] = Array
    caches: Mapping[str, type[ObservedCache]] = field(default_factory=lambda: CACHES)
    database: type[Database] = Database
    driver: type[Driver] = Driver
    glance: type[Glance] = Glance
    manager: type[VolumeManager] = VolumeManager
    meter: type[UsageMeter] = UsageMeter
    quotas: type[Quotas] = Quotas
    recorder: type[Recorder] = Recorder
    transfers: type[Transfers] = Transfers

    def cache(
        self,
        array: Array,
        strategy: Strategy,
        what_if: WhatIf,
        db: Database,
        volume_api: VolumeAPI,
        glance: Glance,
        next_use: Callable[[str, str], int],
    ) -> ObservedCache | None:
        """The image-volume cache of a backend, if it has one. `next_use`: see `BeladyCache`."""
        spec = array.spec
        if strategy.on_demand:
            return OnDemandStore(db, volume_api, glance)
        if not (strategy.image_volume_cache_enabled and spec.image_volume_cache_enabled):
            return None
        kind = self.caches[what_if.eviction]
        cache: Callable[..., ObservedCache] = kind
        if issubclass(kind, BeladyCache):
            cache = partial(kind, next_use)
        elif what_if.limits_per_backend:
            cache = partial(BackendCache, [scope(host, spec) for host in array.pools])
        return cache(db, volume_api, spec.image_volume_cache_max_size_gb, spec.image_volume_cache_max_count)


PARTS = Parts()
