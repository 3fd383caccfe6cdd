"""What Cinder stands on, simulated: the driver, Glance, the message bus.

Everything here only stands in for the outside world; whatever decides is Cinder's own code.
"""

from __future__ import annotations

import contextlib
import copy
import datetime
import math
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from cinder import exception
from cinder.image import image_utils
from cinder.volume import driver as volume_driver
from cinder.volume import volume_utils
from glanceclient.exc import HTTPInternalServerError
from os_brick.initiator.connectors.iscsi import ISCSIConnector
from oslo_concurrency import processutils

from . import simtime
from .arrays import GIB, Array
from .disks import Disks

MIB = 2**20
KEY = ("cinder_encryption_key_id", "cinder_encryption_key_deletion_policy")
INTERNAL_PROJECT = "internal-tenant"
STORE_PROJECT = "glance"  # not the internal tenant, or the store would take the cache's quota
PUBLIC_OWNER = "image-owner"
ATTACHED = "/attached/"  # where a node finds the volumes that it attaches


def image_uuid(image_id: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, image_id))


def image_gib(size_bytes: int) -> int:
    return max(1, math.ceil(size_bytes / GIB))


def volume_in(url: str) -> str:
    """The volume of a location, which may name its store: `cinder://STORE/VOLUME`."""
    return url.rpartition("/")[2]


@dataclass
class GlanceImage:
    """An image as Glance has it now."""

    spec: Any  # sim.inputs.scenario.Image
    updated_at: datetime.datetime
    urls: list[str] = field(default_factory=list)
    status: str = "active"
    uploader: str = ""  # the project that uploaded it, if a trace's upload made it
    version: int = 0  # of its data: how often it was updated
    stored_first: bool = False  # its first location is in the Cinder store
    key: dict[str, Any] = field(default_factory=dict)  # of its data, if it was made of an encrypted volume

    @property
    def virtual_gib(self) -> float:
        return float(self.spec.virtual_size_bytes) / GIB

    @property
    def owner(self) -> str:
        return self.spec.owner or self.uploader or PUBLIC_OWNER

    def meta(self) -> dict[str, Any]:
        return {
            "id": image_uuid(self.spec.image_id),
            "name": self.spec.name,
            "status": self.status,
            "owner": self.owner,
            "disk_format": self.spec.disk_format,
            "container_format": self.spec.container_format,
            "size": self.spec.size_bytes,
            "virtual_size": None if self.spec.virtual_size_unknown else self.spec.virtual_size_bytes,
            "min_disk": self.spec.min_disk,
            "min_ram": 0,
            "checksum": None,
            "properties": {},
            "updated_at": self.updated_at,
            "created_at": self.updated_at,
            **self.key,
        }


class Glance:
    """The image list, and the streams on which images are sent.

    `to_come`: the images that uploads make. `keep` makes the image-volumes of an image that comes.
    """

    def __init__(
        self, cloud: Cloud, spec: Any, images: dict[str, Any], uploaded: frozenset[str], start: Any
    ) -> None:
        self.cloud = cloud
        self.rate = spec.stream_mib_s
        self.hashes = spec.do_secure_hash
        self.streams = simtime.Slots(cloud.time, spec.streams)
        known = {image_uuid(image_id): GlanceImage(image, start) for image_id, image in images.items()}
        self.to_come = {uuid: image for uuid, image in known.items() if image.spec.image_id in uploaded}
        self.images = {uuid: image for uuid, image in known.items() if uuid not in self.to_come}
        self.located: set[str] = set()  # all volumes that ever were a location

    def find(self, context: Any, image_id: str) -> GlanceImage:
        image = self.images.get(image_id)
        private = image is not None and bool(image.spec.owner)
        if image is None or (private and not context.is_admin and context.project_id != image.owner):
            raise exception.ImageNotFound(image_id=image_id)
        return image

    def send(self, size_bytes: int, at_least: float = 0.0) -> None:
        self.streams.use(self._seconds(size_bytes, at_least))

    def _seconds(self, size_bytes: int, at_least: float) -> float:
        return max(size_bytes / MIB / self.rate if self.rate else 0.0, at_least)

    def read(self, uuid: str, size_bytes: int, begin: Callable[[], None]) -> None:
        """Send an image, which is read where it is."""
        with self.streams.held(), self.cloud.attached(uuid):
            begin()
            self.cloud.time.sleep(size_bytes / MIB / self.rate if self.rate else 0.0)

    def hash(self, uuid: str) -> None:
        """Read an image in a task, and save it."""
        image = self.images.get(uuid)
        if image is None:
            return
        with contextlib.suppress(HTTPInternalServerError), self.cloud.attached(uuid):
            self.cloud.time.sleep(image.spec.size_bytes / MIB / self.rate if self.rate else 0.0)
        if self.images.get(uuid) is image:
            self.cloud.save(image)

    def create(self, uuid: str, project: str) -> GlanceImage:
        image = self.images[uuid] = self.to_come.pop(uuid)
        image.status, image.uploader = "saving", project
        return image

    def receive(self, image: GlanceImage, read_s: float, store_id: str | None) -> None:
        """The data of an image for a store, which take `read_s` to read where they are.

        Cinder does not tell the size. So a volume that Glance asks for has 1 GiB, and grows GiB by GiB.
        """
        size_bytes = image.spec.size_bytes
        if (tier := self.cloud.asks(image, store_id)) is None:
            volumes = self.cloud.keep(image, store_id)
            self.send(size_bytes, read_s)
        else:
            volumes = [self.cloud.asked(image, tier)]
            with self.streams.held():
                for sent in range(0, max(1, size_bytes), GIB):
                    if sent:
                        self.cloud.grow(volumes[0])
                    part = min(GIB, size_bytes - sent) / max(1, size_bytes)
                    self.cloud.time.sleep(self._seconds(size_bytes, read_s) * part)
        for volume_id in volumes:
            self.locate(image, volume_id, first=True)
        self.activate(image)

    def locate(self, image: GlanceImage, volume_id: str, first: bool = False, url: str = "") -> None:
        """`first`: nothing else is before it, but for others of the Cinder store."""
        image.stored_first |= first
        image.urls.append(url or f"cinder://{volume_id}")
        self.located.add(volume_id)

    def activate(self, image: GlanceImage) -> None:
        image.status = "active"
        image.updated_at = self.cloud.clock.pop().replace(tzinfo=datetime.UTC)


class ImageService:
    """Glance as one attempt at a create sees it: real Cinder makes one for each attempt.

    It keeps what it read first, so that a create goes on when its image is deleted meanwhile. `to_make`: the
    uuid of the image that an upload makes, which Glance would choose.
    """

    def __init__(self, glance_: Glance, to_make: str = "") -> None:
        self.glance, self.to_make = glance_, to_make
        self.temp_images: Any = None
        self.read: GlanceImage | None = None

    def show(self, context: Any, image_id: str) -> dict[str, Any]:
        if self.read is None:
            self.read = copy.copy(self.glance.find(context, image_id))
        return self.read.meta()

    def download(self, context: Any, image_id: str, data: Any) -> None:
        assert self.read is not None
        size_bytes, disks = self.read.spec.size_bytes, self.glance.cloud.disks
        self.glance.read(image_id, size_bytes, lambda: disks.write(data.name, size_bytes))

    def get_location(self, context: Any, image_id: str) -> tuple[str | None, list[Any]]:
        urls = self.glance.find(context, image_id).urls
        return (urls[0] if urls else None), [{"url": url, "metadata": {}} for url in urls]

    def create(self, context: Any, image_meta: dict[str, Any]) -> dict[str, Any]:
        image = self.glance.create(self.to_make, context.project_id)
        image.key = {name: image_meta[name] for name in KEY if name in image_meta}
        return image.meta()

    def update(
        self,
        context: Any,
        image_id: str,
        image_meta: dict[str, Any],
        data: float,
        store_id: str | None = None,
    ) -> None:
        """`data`: the seconds that it takes to read them."""
        self.glance.receive(self.glance.images[image_id], data, store_id)

    def add_location(self, context: Any, image_id: str, url: str, metadata: dict[str, Any]) -> dict[str, Any]:
        image = self.glance.images[image_id]
        saving = image.status == "saving"
        self.glance.locate(image, volume_in(url), saving, url)
        self.glance.activate(image)
        if saving and self.glance.hashes:
            time = self.glance.cloud.time  # after a delete that has waited for the upload
            time.cast(lambda: time.cast(lambda: self.glance.hash(image_id)))
        return image.meta()

    def delete(self, context: Any, image_id: str) -> None:
        del self.glance.images[image_id]


class Queues:
    """What the requests of a backend wait for, on whichever node: write streams and turns to clone."""

    def __init__(self, time: simtime.Time, spec: Any) -> None:
        self.time, self.spec = time, spec
        self.writes = simtime.Slots(time, spec.write_streams)
        self.clone_streams = simtime.Turns(time, spec.clone_streams)
        self.of_source: dict[str, simtime.Turns] = {}

    @contextlib.contextmanager
    def of_clones(self, source: str | None) -> Iterator[None]:
        """The turns for a clone; None: its source is not there, and it fails at once."""
        if source is None:
            yield
            return
        most = 1 if self.spec.clone_lock == "source" else None
        lock = self.of_source.setdefault(source, simtime.Turns(self.time, most))
        with lock.held(), self.clone_streams.held():
            yield


class SimDriver(volume_driver.VolumeDriver):
    """A driver whose array is simulated; `connect` gives it one before the service starts."""

    VERSION = "1"
    SUPPORTS_ACTIVE_ACTIVE = True

    def connect(self, array: Array, tiers: tuple[str, ...], cloud: Cloud, node: int, queues: Queues) -> None:
        """`node`: the position of its node; the nodes have array and queues in common."""
        self.array, self.tiers, self.cloud, self.time = array, tiers, cloud, cloud.time
        self.node, self.queues = node, queues

    def do_setup(self, context: Any) -> None: ...

    def check_for_setup_error(self) -> None: ...

    def remove_export(self, context: Any, volume: Any) -> None: ...

    def _attach_volume(self, context: Any, volume: Any, properties: Any, **_: Any) -> tuple[Any, Any]:
        """Attach by iSCSI, in no time."""
        return {"connector": ISCSIConnector(""), "device": {"path": f"{ATTACHED}{volume.id}"}}, volume

    def _detach_volume(self, *_: Any, **__: Any) -> None: ...

    def get_volume_stats(self, refresh: bool = False) -> dict[str, Any]:
        tiers = list(self.tiers)
        return {
            "volume_backend_name": tiers[0] if len(tiers) == 1 else tiers,
            "vendor_name": "sim",
            "driver_version": self.VERSION,
            "storage_protocol": "sim",
            "clone_across_pools": self.array.spec.clone_across_pools,
            "pools": [
                {
                    **self.array.report(pool),
                    "filter_function": self.get_filter_function(),
                    "goodness_function": self.get_goodness_function(),
                }
                for pool in self.array.spec.pools
            ],
        }

    @staticmethod
    def _pool(volume: Any) -> str:
        return str(volume["host"]).partition("#")[2]

    def create_volume(self, volume: Any) -> None:
        self.array.create(volume["id"], self._pool(volume), volume["size"])
        self.time.sleep(self.array.spec.create_s)

    def create_cloned_volume(self, volume: Any, source: Any) -> None:
        spec = self.array.spec
        self.cloud.makers[volume["id"]] = self.node
        copy_s = source["size"] * 1024 / spec.clone_mib_s if spec.clone_mib_s else 0.0
        with self.queues.of_clones(source["id"] if source["id"] in self.array.volumes else None):
            self.array.clone(volume["id"], self._pool(volume), volume["size"], source["id"])
            self._copy(copy_s)
        stored = source["id"] in self.cloud.glance.located
        self.cloud.made(volume, "store" if stored else "cache")

    def clone_image(
        self, context: Any, volume: Any, location: Any, meta: dict[str, Any], service: Any
    ) -> tuple[None, bool]:
        if not self.array.spec.driver_clones_raw or meta["disk_format"] != "raw":
            return None, False
        spec, image = self.array.spec, service.read
        copied = image.virtual_gib if spec.clone_mib_s else 0.0  # else it shares Glance's data
        copy_s = copied * 1024 / spec.clone_mib_s if spec.clone_mib_s else 0.0
        key = (meta["id"], image.version)
        with self.queues.clone_streams.held():
            self.array.put(volume["id"], self._pool(volume), volume["size"], copied, key)
            self._copy(copy_s)
        self.cloud.made(volume, "driver")
        return None, True

    def _copy(self, copy_s: float) -> None:
        """Clone, and copy if it is a full copy: on a write stream, if the node does it."""
        spec = self.array.spec
        if spec.clone_copied_by == "array" or not copy_s:
            self.time.sleep(spec.clone_s + copy_s)
            return
        self.time.sleep(spec.clone_s)
        self.queues.writes.use(copy_s)

    def copy_image_to_volume(
        self, context: Any, volume: Any, service: ImageService, image_id: str, **_: Any
    ) -> None:
        spec, image = self.array.spec, service.read
        assert image is not None
        image_utils.check_image_conversion_disable(image.spec.disk_format, "raw", image_id)
        mib = image.virtual_gib * 1024
        converted = image.spec.disk_format != "raw" and spec.convert_mib_s
        convert_s = mib / spec.convert_mib_s if converted else 0.0
        write_s = mib / spec.write_mib_s if spec.write_mib_s else 0.0

        def take_space() -> None:
            self.array.write(volume["id"], image.virtual_gib, (image_id, image.version))

        if spec.imports_raw_file:  # as `_copy_image_to_volume` of RBD's driver
            with (
                self.queues.writes.held(),
                tempfile.NamedTemporaryFile(dir=volume_utils.image_conversion_dir()) as raw,
            ):
                self._write(raw.name, image.spec.virtual_size_bytes)
                take_space()
                self.time.sleep(convert_s)
                self.time.sleep(write_s)
        else:
            take_space()
            self.queues.writes.use(convert_s, write_s)
        self.cloud.made(volume, "download")

    copy_image_to_encrypted_volume = copy_image_to_volume

    def copy_volume_to_image(
        self, context: Any, volume: Any, service: ImageService, meta: dict[str, Any]
    ) -> None:
        spec, image = self.array.spec, self.cloud.all_images[meta["id"]]
        image_utils.check_image_conversion_disable(image.spec.disk_format, "raw", meta["id"], upload=True)
        mib = image.virtual_gib * 1024
        read_s = mib / spec.read_mib_s if spec.read_mib_s else 0.0
        store_id = volume.volume_type.extra_specs.get("image_service:store_id")  # as `upload_volume` does
        if image.spec.disk_format == "raw":
            service.update(context, meta["id"], {}, read_s, store_id)
            return
        with image_utils.temporary_file(prefix="vol_upload_") as path:
            convert_s = mib / spec.convert_mib_s if spec.convert_mib_s else 0.0
            self.queues.writes.use(read_s, convert_s, begin=lambda: self._write(path, image.spec.size_bytes))
            service.update(context, meta["id"], {}, 0.0, store_id)

    def _write(self, path: str, size_bytes: int) -> None:
        """What `qemu-img convert` writes."""
        try:
            self.cloud.disks.write(path, size_bytes)
        except OSError as error:
            raise processutils.ProcessExecutionError(stderr=str(error)) from None

    def create_snapshot(self, snapshot: Any) -> None:
        if self.array.spec.snapshots == "volumes":
            self.array.snapshot(snapshot.id, snapshot.volume_id)
        self.time.sleep(self.array.spec.clone_s)

    def delete_snapshot(self, snapshot: Any) -> None:
        if self.array.spec.snapshots == "apart" or snapshot.id in self.array.volumes:
            self.time.sleep(self.array.spec.delete_s)
        self.array.remove(snapshot.id)

    def extend_volume(self, volume: Any, new_size: int) -> None:
        self.array.extend(volume["id"], new_size)
        self.time.sleep(self.array.spec.extend_s)

    def delete_volume(self, volume: Any) -> None:
        if volume["id"] not in self.array.volumes:
            return
        self.array.check_delete(volume["id"])
        self.time.sleep(self.array.spec.delete_s)
        self.array.remove(volume["id"])


class Cloud:
    """What the stand-ins need of a run; `reference.Run` fills it in."""

    current: Any = None
    time: simtime.Time
    clock: simtime.Clock
    glance: Glance
    disks: Disks
    makers: dict[str, int]  # by volume: the position of the node that made it
    all_images: dict[str, GlanceImage]  # by uuid, those that are not in Glance now, too

    def made(self, volume: Any, source: str) -> None:
        raise NotImplementedError

    def keep(self, image: GlanceImage, store_id: str | None = None) -> list[str]:
        raise NotImplementedError

    def asks(self, image: GlanceImage, store_id: str | None) -> str | None:
        raise NotImplementedError

    def asked(self, image: GlanceImage, tier: str) -> str:
        raise NotImplementedError

    def grow(self, volume_id: str) -> None:
        raise NotImplementedError

    def save(self, image: GlanceImage) -> None:
        raise NotImplementedError

    def attached(self, uuid: str) -> contextlib.AbstractContextManager[None]:
        raise NotImplementedError
