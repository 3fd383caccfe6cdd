"""The classes from which a run of engine `cinder` is built, so that subclasses can replace them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sim.cinder.database import Database
from sim.cinder.driver import Driver
from sim.cinder.glance import Glance
from sim.cinder.links import Transfers
from sim.cinder.manager import VolumeManager
from sim.cinder.policies import CACHES, ObservedCache
from sim.cinder.quotas import Quotas
from sim.cinder.recorder import Recorder
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


PARTS = Parts()
