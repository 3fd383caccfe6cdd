"""Simulated Glance: images, their metadata and locations, and a limited number of concurrent transfers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC as datetime_utc
from datetime import datetime, tzinfo
from functools import cached_property, lru_cache
from itertools import cycle, takewhile
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import simpy
from cinder import exception
from glanceclient.exc import HTTPInternalServerError

from sim.cinder.attachments import Attachments
from sim.cinder.clock import Clock, current_process
from sim.cinder.database import Context, Volume
from sim.cinder.directories import Directories
from sim.cinder.links import Transfers
from sim.inputs.scenario import Glance as GlanceSpec
from sim.inputs.scenario import Image
from sim.inputs.units import MIB
from sim.model.links import NONE
from sim.model.repeats import repeats
from sim.model.rules import bound_of, part_of, rate_over

MARKED = "cinder-raw"  # scheme of locations that are raw, though the image is not
# What the metadata of an image tell of the key of its data.
KEY = ("cinder_encryption_key_id", "cinder_encryption_key_deletion_policy")
UTC: tzinfo = datetime_utc
with suppress(ZoneInfoNotFoundError):  # without the system's time zones, older releases of Cinder run, too
    UTC = ZoneInfo("UTC")  # as Cinder names it: it converts and compares such times in half of the time
PUBLIC_OWNER = "(image owner)"  # the project that owns public images
# The volumes of a file in a store, and what makes them larger by 1 GiB (None: they have their size).
Kept = tuple[list[Volume], Callable[[], None] | None]


class Version(datetime):
    """When an image was updated.

    Cinder makes its text for the log at each look-up in the cache, which takes longer than the look-up.
    """

    _text = cached_property(datetime.__str__)
    _replaced = cached_property[dict[Any, "Version"]](lambda self: {})

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:  # as that of other times
        return repr(datetime.combine(self.date(), self.timetz()))

    def replace(self, *values: Any, **changes: Any) -> Version:
        key = values, *changes.items()
        if key not in self._replaced:
            self._replaced[key] = super().replace(*values, **changes)
        return self._replaced[key]


@lru_cache(4096)
def _in_utc(time: datetime) -> Version:
    return Version.combine(time.date(), time.time(), UTC)


def owner_of(image: Image) -> str:
    """The project that owns an image in Glance."""
    return image.owner or PUBLIC_OWNER


@dataclass
class Registered:
    """An image as Glance has it now."""

    image: Image
    updated_at: datetime
    owner: str
    status: str = "active"
    delete_wanted: bool = False
    elsewhere: bool = True  # its first location, which Glance reads, is not in the Cinder store
    store_volumes: list[Volume] = field(default_factory=list)  # its locations in the Cinder store
    marked: set[str] = field(default_factory=set)  # locations that are raw, though the image is not
    key: dict[str, str] = field(default_factory=dict)  # metadata of an image of encrypted data

    @cached_property
    def fixed(self) -> dict[str, Any]:
        """The metadata that Cinder gets, with those that may change as they are now."""
        image = self.image
        return {
            "id": image.image_id,
            "name": image.name,
            "status": self.status,
            "disk_format": image.disk_format,
            "container_format": image.container_format,
            "size": image.size_bytes,
            "virtual_size": None if image.virtual_size_unknown else image.virtual_size_bytes,
            "min_disk": image.min_disk,
            "min_ram": 0,
            "owner": self.owner,
            "updated_at": self.updated_at,
            "properties": {},
        }


class Glance:
    """All images; `service()` returns the image service for Cinder.

    The `uploaded` images come later. `volumes` are Cinder's by id; `store` puts the file of an image, with
    its version, into one of the stores (None: the default one); with the volumes comes what makes them 1 GiB
    larger, if they must grow. `transfers` go over shared links. Volumes of the types `one_at_a_time` are
    attached once at most. `directories` are the nodes' conversion directories.
    """

    def __init__(
        self,
        clock: Clock,
        spec: GlanceSpec,
        images: dict[str, Image],
        updated_at: datetime,
        uploaded: frozenset[str],
        volumes: Mapping[str, Volume],
        store: Callable[[Image, datetime, str | None], Kept],
        transfers: Transfers,
        one_at_a_time: frozenset[str],
        directories: Directories,
    ) -> None:
        self.images = {
            image_id: Registered(image, updated_at, owner_of(image))
            for image_id, image in images.items()
            if image_id not in uploaded
        }
        self.catalogue = images  # all images, deleted ones too, because creates in progress go on
        self.volumes = volumes
        self._store = store
        self._attachments = Attachments(clock, volumes, one_at_a_time)
        self.clock = clock
        self.directories = directories
        self._spec = spec
        nodes = [simpy.Resource(clock, spec.streams) for _ in range(spec.nodes)] if spec.streams else []
        self._nodes = cycle(nodes) if nodes else None
        self._transfers = transfers
        shared = transfers.shared
        self._takes_time = spec.stream_mib_s is not None or shared.of_glance != NONE or bool(shared.of_node)
        self._files: dict[str, Image] = {}
        self._downloads = 0

    def update(self, image_id: str) -> None:
        """Change the image's metadata, and with them `updated_at`."""
        if image_id in self.images:
            self.images[image_id].updated_at = self.clock.utcnow()

    def delete(self, image_id: str) -> list[Volume]:
        """Delete the image; return its volumes in the Cinder store, which must be deleted.

        An image that is being uploaded is deleted after its upload (see `uploaded`). Cinder refuses to delete
        a volume that is attached: Glance deletes the locations before it, and the image stays with the rest
        (`ImageProxy.delete` in glance/location.py).
        """
        if image_id in self.images and self.images[image_id].status == "saving":
            self.images[image_id].delete_wanted = True
            return []
        found = self.images.get(image_id)
        if found is None:
            return []
        gone = list(takewhile(lambda volume: volume not in self._attachments, found.store_volumes))
        found.store_volumes = found.store_volumes[len(gone) :]
        if not found.store_volumes:
            del self.images[image_id]
        return gone

    @repeats("cinder.volume.flows.manager.create_volume:CreateVolumeFromSpecTask", "_clone_image_volume")
    def locations(self, image_id: str, project: str) -> list[Volume]:
        """The image's volumes in the Cinder store that a project may clone; none if the image is gone.

        The check is that of `CreateVolumeFromSpecTask._clone_image_volume` (create_volume.py).
        """
        found = self.images.get(image_id)
        if found is None:
            return []
        owner = {"key": "image_owner", "value": found.owner}
        return [
            each for each in found.store_volumes if found.owner == project or owner in each.volume_metadata
        ]

    def uploaded(self, image_id: str, wanted: bool) -> list[Volume]:
        """End an upload, failed or not; return the volumes to delete if the image is not wanted."""
        found = self.images.get(image_id)
        return self.delete(image_id) if found and (found.delete_wanted or not wanted) else []

    def add_location(self, image_id: str, volume: Volume, owner: str, first: bool = False) -> bool:
        """Make a volume a location of an image with `image_owner` = `owner`; False if the image is gone.

        `first`: no location is before it.
        """
        if image_id not in self.images:
            return False
        if first:
            self.images[image_id].elsewhere = False
        volume.volume_metadata = [{"key": "image_owner", "value": owner}]
        self.images[image_id].store_volumes.append(volume)
        return True

    def service(self, to_make: str = "") -> ImageService:
        """A new image service; each of Cinder's requests gets its own.

        `to_make`: the image that an upload makes, whose id Glance would choose.
        """
        return ImageService(self, to_make)

    def remote_service(self, context: Context, image_href: str) -> tuple[ImageService, str]:
        """`cinder.image.glance.get_remote_image_service`."""
        return self.service(), image_href

    # -- the node's conversion directory (cinder.image.image_utils) ---------------------------

    @contextmanager
    def temporary_file(self, prefix: str = "", suffix: str = "") -> Iterator[str]:
        """`image_utils.temporary_file`: a name in the node's conversion directory."""
        self._downloads += 1
        name = f"{prefix}{self._downloads}{suffix}"
        try:
            yield name
        finally:
            image = self._files.pop(name, None)
            if image is not None:
                self.directories.here().remove(image.size_bytes)

    def send(self, image_id: str, least_s: float, store_id: str | None) -> None:
        """Receive an image's file on one of the streams, in no less than `least_s`, for one of the stores.

        An image that goes into the Cinder store takes its space there first.
        """
        image = self.images[image_id]
        volumes, grow = self._store(image.image, image.updated_at, store_id)
        with self._stream():
            if grow is None:
                self._send(image.image, least_s)
            for step in range(max(1, image.image.size_gib) if grow else 0):
                if grow and step:
                    grow()
                self._send(image.image, least_s, part_of(image.image.size_bytes / MIB, step))
        for volume in volumes:
            self.add_location(image_id, volume, image.owner, first=True)
        image.status = "active"

    def located(self, found: Registered) -> None:
        """An image has got its first location, from Cinder: it is active. Glance may hash it, in a task."""
        found.elsewhere, found.status = False, "active"
        if self._spec.do_secure_hash:
            self.clock.cast(self._hash, found)

    def _hash(self, found: Registered) -> None:
        """Read an image to hash it, on no stream, and save it, whether it could be read or not.

        This is `_CalculateHash` in glance/async_/flows/location_import.py.
        """
        image = found.image
        with suppress(HTTPInternalServerError), self._read(image.image_id):
            self.clock.sleep(image.size_bytes / MIB / bound_of(self._spec.stream_mib_s))
        if self.images.get(image.image_id) is found:
            self.update(image.image_id)

    def fetch_verify_image(
        self, context: Context, image_service: ImageService, image_id: str, dest: str
    ) -> None:
        """`image_utils.fetch_verify_image`: the download, on one of Glance's streams."""
        image = self.catalogue[image_id]
        with self._stream(), self._read(image_id):
            self.directories.keep(image)
            self._files[dest] = image
            self._send(image)

    def transfer(self, image: Image) -> None:
        """Let the time of an image's file on one of the streams pass."""
        with self._stream():
            self._send(image)

    def _send(self, image: Image, least_s: float = 0.0, part: float = 1.0) -> None:
        """Send a part of a file; all of it takes `least_s` at least."""
        if not self._takes_time:
            self.clock.sleep(least_s * part)
            return
        mib, own_mib_s = image.size_bytes / MIB, bound_of(self._spec.stream_mib_s)
        shared = self._transfers.shared
        route = shared.of_node.get(current_process().node, shared.of_glance)
        if route == NONE:
            self.clock.sleep(max(mib / own_mib_s, least_s) * part)
        else:
            self._transfers.carry(route, mib * part, rate_over(mib, own_mib_s, least_s))

    def _read(self, image_id: str) -> AbstractContextManager[None]:
        """Read an image that is in the Cinder store alone: attach one of its locations, in their order."""
        found = self.images.get(image_id)
        if found is None or found.elsewhere or not self._takes_time:
            return nullcontext()
        known = list(found.store_volumes)
        return self._attachments.one_of(volume for volume in known if self._has(image_id, volume))

    def _has(self, image_id: str, volume: Volume) -> bool:
        found = self.images.get(image_id)
        return found is not None and volume in found.store_volumes

    @contextmanager
    def _stream(self) -> Iterator[None]:
        """One of the streams of Glance's next node, first come, first served; in no time none is needed."""
        if self._nodes is None or not self._takes_time:
            yield
            return
        with next(self._nodes).request() as turn:
            if not turn.triggered:
                since = self.clock.now
                self.clock.wait(turn)
                current_process().request.stream_wait_s += self.clock.now - since
            yield

    def qemu_img_info(self, path: str, *_: Any, **__: Any) -> SimpleNamespace:
        """`image_utils.qemu_img_info` of a downloaded file, or of an encrypted volume on the node."""
        if path not in self._files:
            return SimpleNamespace(file_format="raw", encrypted=True)
        image = self._files[path]
        return SimpleNamespace(virtual_size=image.virtual_size_bytes, file_format=image.disk_format)


class ImageService:
    """Cinder's image service (`cinder.image.glance.GlanceImageService`), for one attempt of one request.

    It keeps the image that it found first: creates in progress go on when their image is deleted.
    """

    def __init__(self, glance: Glance, to_make: str) -> None:
        self._glance = glance
        self._to_make = to_make
        self._found: Registered | None = None
        self.temp_images = None  # cinder.image.image_utils.TemporaryImages keeps its state here

    def show(self, context: Context, image_id: str) -> dict[str, Any]:
        """An image's metadata; `ImageNotFound` if it is gone or belongs to another project."""
        found = self._find(context, image_id)
        meta = found.fixed.copy()
        meta["status"], meta["updated_at"] = found.status, _in_utc(found.updated_at)
        meta["properties"] = {}
        meta.update(found.key)
        return meta

    def get_location(self, context: Context, image_id: str) -> tuple[str | None, list[dict[str, Any]]]:
        """The direct URL (none) and the locations: the image's volumes in the Cinder store."""
        found = self._find(context, image_id)
        locations = []
        for volume in found.store_volumes:
            scheme = MARKED if volume.id in found.marked else "cinder"
            locations.append({"url": f"{scheme}://{volume.id}", "metadata": {}})
        return None, locations

    # -- uploads ------------------------------------------------------------------------------

    def create(self, context: Context, image_meta: dict[str, Any]) -> dict[str, Any]:
        """A new image without data, of the requester's project."""
        glance, image_id = self._glance, self._to_make
        image = glance.catalogue[image_id]
        owner = image.owner or context.project_id
        key = {name: image_meta[name] for name in KEY if name in image_meta}
        glance.images[image_id] = Registered(image, glance.clock.utcnow(), owner, "saving", key=key)
        return {**image_meta, "id": image_id}

    def update(
        self,
        context: Context,
        image_id: str,
        image_meta: dict[str, Any],
        least_s: float,
        store_id: str | None = None,
    ) -> None:
        """Send the image's data, in no less than `least_s`, to one of Glance's stores."""
        self._glance.send(image_id, least_s, store_id)

    def add_location(
        self, context: Context, image_id: str, url: str, metadata: dict[str, Any]
    ) -> dict[str, Any]:
        """Make a volume a location of an image; the first location makes the image active."""
        found = self._glance.images.get(image_id)
        if found is None:
            raise exception.ImageNotFound(image_id=image_id)
        scheme, volume_id = url.partition("://")[0], url.rpartition("/")[2]  # a store's name may be between
        found.store_volumes.append(self._glance.volumes[volume_id])
        if scheme == MARKED:
            found.marked.add(volume_id)
        if found.status == "saving":
            self._glance.located(found)
        return {"id": image_id}

    def delete(self, context: Context, image_id: str) -> None:
        """Delete an image whose upload failed."""
        self._glance.images.pop(image_id)

    def _find(self, context: Context, image_id: str) -> Registered:
        if self._found is None:
            found = self._glance.images.get(image_id)
            if found is None or (not context.is_admin and not found.image.usable_by(context.project_id)):
                raise exception.ImageNotFound(image_id=image_id)
            self._found = found
            current_process().request.image_version = found.updated_at
        return self._found
