"""What Cinder stands on, simulated: the driver, Glance, the message bus.

Everything here only stands in for the outside world; whatever decides is Cinder's own code.
"""

from __future__ import annotations

import contextlib
import copy
import datetime
import math
import uuid
from dataclasses import dataclass, field
from typing import Any

from cinder import exception, objects
from cinder.volume import driver as volume_driver

from . import simtime
from .arrays import GIB, Array

MIB = 2**20
INTERNAL_PROJECT = "internal-tenant"
STORE_PROJECT = "glance"  # not the internal tenant, or the store would take the cache's quota
PUBLIC_OWNER = "image-owner"


def image_uuid(image_id: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, image_id))


def image_gib(size_bytes: int) -> int:
    return max(1, math.ceil(size_bytes / GIB))


@dataclass
class GlanceImage:
    """An image as Glance has it now."""

    spec: Any  # sim.scenario.Image
    updated_at: datetime.datetime
    urls: list[str] = field(default_factory=list)

    @property
    def virtual_gib(self) -> float:
        return float(self.spec.virtual_size_bytes) / GIB

    @property
    def owner(self) -> str:
        return self.spec.owner or PUBLIC_OWNER

    def meta(self) -> dict[str, Any]:
        return {
            "id": image_uuid(self.spec.image_id),
            "name": self.spec.name,
            "status": "active",
            "owner": self.owner,
            "disk_format": self.spec.disk_format,
            "container_format": self.spec.container_format,
            "size": self.spec.size_bytes,
            "virtual_size": self.spec.virtual_size_bytes or None,
            "min_disk": 0,
            "min_ram": 0,
            "checksum": None,
            "properties": {},
            "updated_at": self.updated_at,
            "created_at": self.updated_at,
        }


class Glance:
    """The image list, and the streams on which images are sent."""

    def __init__(self, time: simtime.Time, spec: Any, images: dict[str, Any], start: Any) -> None:
        self.time = time
        self.rate = spec.stream_mib_s
        self.streams = simtime.Slots(time, spec.streams)
        self.images = {image_uuid(image_id): GlanceImage(image, start) for image_id, image in images.items()}

    def find(self, context: Any, image_id: str) -> GlanceImage:
        image = self.images.get(image_id)
        private = image is not None and bool(image.spec.owner)
        if image is None or (private and not context.is_admin and context.project_id != image.owner):
            raise exception.ImageNotFound(image_id=image_id)
        return image

    def send(self, size_bytes: int) -> None:
        self.streams.use(size_bytes / MIB / self.rate if self.rate else 0.0)


class ImageService:
    """Glance as one attempt at a create sees it: real Cinder makes one for each attempt.

    It keeps what it read first, so that a create goes on when its image is deleted meanwhile.
    """

    def __init__(self, glance_: Glance) -> None:
        self.glance = glance_
        self.temp_images: Any = None
        self.read: GlanceImage | None = None

    def show(self, context: Any, image_id: str) -> dict[str, Any]:
        if self.read is None:
            self.read = copy.copy(self.glance.find(context, image_id))
        return self.read.meta()

    def get_location(self, context: Any, image_id: str) -> tuple[str | None, list[Any]]:
        urls = self.glance.find(context, image_id).urls
        return (urls[0] if urls else None), [{"url": url, "metadata": {}} for url in urls]


class SimDriver(volume_driver.VolumeDriver):
    """A driver whose array is simulated; `connect` gives it one before the service starts."""

    VERSION = "1"

    def connect(self, array: Array, tiers: tuple[str, ...], cloud: Cloud) -> None:
        spec = array.spec
        self.array, self.tiers, self.cloud, self.time = array, tiers, cloud, cloud.time
        self.write_slots = simtime.Slots(cloud.time, spec.write_streams)

    def do_setup(self, context: Any) -> None: ...

    def check_for_setup_error(self) -> None: ...

    def remove_export(self, context: Any, volume: Any) -> None: ...

    def get_volume_stats(self, refresh: bool = False) -> dict[str, Any]:
        tiers = list(self.tiers)
        return {
            "volume_backend_name": tiers[0] if len(tiers) == 1 else tiers,
            "vendor_name": "sim",
            "driver_version": self.VERSION,
            "storage_protocol": "sim",
            "pools": [self.array.report(pool) for pool in self.array.spec.pools],
        }

    @staticmethod
    def _pool(volume: Any) -> str:
        return str(volume["host"]).partition("#")[2]

    def create_volume(self, volume: Any) -> None:
        self.array.create(volume["id"], self._pool(volume), volume["size"])
        self.time.sleep(self.array.spec.create_s)

    def create_cloned_volume(self, volume: Any, source: Any) -> None:
        spec = self.array.spec
        self.array.clone(volume["id"], volume["size"], source["id"])
        copy_s = source["size"] * 1024 / spec.clone_mib_s if spec.clone_mib_s else 0.0
        self.time.sleep(spec.clone_s + copy_s)
        stored = source["id"] in self.cloud.store_volumes
        self.cloud.made(volume, "store" if stored else "cache")

    def clone_image(
        self, context: Any, volume: Any, location: Any, meta: dict[str, Any], service: Any
    ) -> tuple[None, bool]:
        if not self.array.spec.driver_clones_raw or meta["disk_format"] != "raw":
            return None, False
        spec, image = self.array.spec, service.read
        copied = image.virtual_gib if spec.clone_mib_s else 0.0  # else it shares Glance's data
        self.array.put(
            volume["id"], self._pool(volume), volume["size"], copied, (meta["id"], image.updated_at)
        )
        copy_s = copied * 1024 / spec.clone_mib_s if spec.clone_mib_s else 0.0
        self.time.sleep(spec.clone_s + copy_s)
        self.cloud.made(volume, "driver")
        return None, True

    def copy_image_to_volume(
        self, context: Any, volume: Any, service: ImageService, image_id: str, **_: Any
    ) -> None:
        spec, image = self.array.spec, service.read
        assert image is not None
        self.array.write(volume["id"], image.virtual_gib, (image_id, image.updated_at))
        mib = image.virtual_gib * 1024
        converted = image.spec.disk_format != "raw" and spec.convert_mib_s
        convert_s = mib / spec.convert_mib_s if converted else 0.0
        self.write_slots.use(convert_s, mib / spec.write_mib_s if spec.write_mib_s else 0.0)
        self.cloud.made(volume, "download")

    copy_image_to_encrypted_volume = copy_image_to_volume

    def extend_volume(self, volume: Any, new_size: int) -> None:
        self.array.extend(volume["id"], new_size)
        self.time.sleep(self.array.spec.extend_s)

    def delete_volume(self, volume: Any) -> None:
        if volume["id"] not in self.array.volumes:
            return
        self.array.check_delete(volume["id"])
        self.time.sleep(self.array.spec.delete_s)
        self.array.remove(volume["id"])


def through_rpc(context: Any, value: Any) -> Any:
    """A copy, as an argument of a message arrives at the other end of the bus."""
    if isinstance(value, objects.base.CinderObject):
        return type(value).obj_from_primitive(value.obj_to_primitive(), context)
    if isinstance(value, dict):
        return {name: through_rpc(context, part) for name, part in value.items()}
    return copy.deepcopy(value)


class SchedulerAPI:
    """`cinder.scheduler.rpcapi.SchedulerAPI` over the simulated bus."""

    def __init__(self) -> None:
        self.cloud = Cloud.current

    def create_volume(self, context: Any, volume: Any, **kwargs: Any) -> None:
        self.cloud.cast_schedule(context, through_rpc(context, volume), through_rpc(context, kwargs))

    def update_service_capabilities(
        self, context: Any, service: str, host: str, capabilities: Any, cluster: Any, **_: Any
    ) -> None:
        self.cloud.scheduler.update_service_capabilities(
            context, service, host, copy.deepcopy(capabilities), cluster
        )

    def notify_service_capabilities(
        self, context: Any, service: str, backend: str, capabilities: Any, **_: Any
    ) -> None:
        # Cinder cannot tell the usage of pools that are "infinite": a KeyError, which stays at
        # the other end of a cast.
        with contextlib.suppress(KeyError):
            self.cloud.scheduler.notify_service_capabilities(
                context, service, copy.deepcopy(capabilities), backend=backend
            )


class VolumeAPI:
    """`cinder.volume.rpcapi.VolumeAPI` over the simulated bus."""

    def __init__(self) -> None:
        self.cloud = Cloud.current

    def create_volume(
        self, context: Any, volume: Any, spec: Any, properties: Any, allow_reschedule: bool
    ) -> None:
        args = {"request_spec": spec, "filter_properties": properties}
        volume, args = through_rpc(context, volume), through_rpc(context, args)
        self.cloud.placed(context, volume, args, allow_reschedule)

    def delete_volume(
        self, context: Any, volume: Any, unmanage_only: bool = False, cascade: bool = False
    ) -> None:
        self.cloud.cast_delete(context, through_rpc(context, volume))


class Cloud:
    """What the stand-ins need of a run; `sim_run.Run` fills it in."""

    current: Any = None
    time: simtime.Time
    store_volumes: set[str]

    def made(self, volume: Any, source: str) -> None:
        raise NotImplementedError
