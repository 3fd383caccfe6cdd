"""Glance, simulated: images, their metadata and locations, and a limited number of concurrent sends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import simpy
from cinder import exception

from sim.arrays import MIB
from sim.cinder.clock import Clock, current_process
from sim.cinder.database import Context, Volume
from sim.scenario import Glance as GlanceSpec
from sim.scenario import Image

PUBLIC_OWNER = "image-owner"  # the project that uploaded the images which everyone may use


def owner_of(image: Image) -> str:
    """The project that owns an image in Glance."""
    return image.owner or PUBLIC_OWNER


@dataclass
class Registered:
    """An image as Glance has it now."""

    image: Image
    updated_at: datetime
    store_volumes: list[Volume] = field(default_factory=list)  # its locations in the Cinder store


class Glance:
    """All images; `service()` is what Cinder gets as its image service."""

    def __init__(
        self, clock: Clock, spec: GlanceSpec, images: dict[str, Image], updated_at: datetime
    ) -> None:
        self.images = {image_id: Registered(image, updated_at) for image_id, image in images.items()}
        self.catalogue = images  # deleted ones too: creates under way go on
        self._clock = clock
        self._spec = spec
        self._streams = simpy.Resource(clock, spec.streams) if spec.streams else None
        self._files: dict[str, Image] = {}
        self._downloads = 0

    def update(self, image_id: str) -> None:
        """The image's metadata change, and with them `updated_at`."""
        if image_id in self.images:
            self.images[image_id].updated_at = self._clock.utcnow()

    def delete(self, image_id: str) -> list[Volume]:
        """The image is gone; the volumes that it had in the Cinder store are to be deleted."""
        deleted = self.images.pop(image_id, None)
        return deleted.store_volumes if deleted else []

    def locations(self, image_id: str) -> list[Volume]:
        """The image's volumes in the Cinder store; none if it is gone."""
        found = self.images.get(image_id)
        return found.store_volumes if found else []

    def add_location(self, image_id: str, volume: Volume, owner: str) -> bool:
        """Make a volume a location of an image that `owner` owns; False if the image is gone."""
        if image_id not in self.images:
            return False
        volume.volume_metadata = [{"key": "image_owner", "value": owner}]
        self.images[image_id].store_volumes.append(volume)
        return True

    def service(self) -> ImageService:
        """A new image service, as each of Cinder's requests gets one of its own."""
        return ImageService(self)

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
            self._files.pop(name, None)

    def fetch_verify_image(
        self, context: Context, image_service: ImageService, image_id: str, dest: str
    ) -> None:
        """`image_utils.fetch_verify_image`: the download, on one of Glance's streams."""
        image = self._files[dest] = self.catalogue[image_id]
        if self._spec.stream_mib_s is None:
            return
        seconds = image.size_bytes / MIB / self._spec.stream_mib_s
        if self._streams is None:
            self._clock.sleep(seconds)
            return
        with self._streams.request() as turn:
            if not turn.triggered:
                since = self._clock.now
                self._clock.wait(turn)
                current_process().request.stream_wait_s += self._clock.now - since
            self._clock.sleep(seconds)

    def qemu_img_info(self, path: str, *_: Any, **__: Any) -> SimpleNamespace:
        """`image_utils.qemu_img_info` of a downloaded file."""
        image = self._files[path]
        return SimpleNamespace(virtual_size=image.virtual_size_bytes, file_format=image.disk_format)


class ImageService:
    """Cinder's image service (`cinder.image.glance.GlanceImageService`), for one attempt of one request.

    It keeps the image that it found first: creates under way go on when their image is deleted.
    """

    def __init__(self, glance: Glance) -> None:
        self._glance = glance
        self._found: Registered | None = None
        self.temp_images = None  # cinder.image.image_utils.TemporaryImages keeps its own here

    def show(self, context: Context, image_id: str) -> dict[str, Any]:
        """An image's metadata; `ImageNotFound` if it is gone or another project's."""
        found = self._find(context, image_id)
        image = found.image
        return {
            "id": image_id,
            "name": image.name,
            "status": "active",
            "disk_format": image.disk_format,
            "container_format": image.container_format,
            "size": image.size_bytes,
            "virtual_size": image.virtual_size_bytes,
            "min_disk": 0,
            "min_ram": 0,
            "owner": owner_of(image),
            "updated_at": found.updated_at.replace(tzinfo=UTC),
            "properties": {},
        }

    def get_location(self, context: Context, image_id: str) -> tuple[str | None, list[dict[str, Any]]]:
        """The direct URL (none) and the locations: the image's volumes in the Cinder store."""
        volumes = self._find(context, image_id).store_volumes
        return None, [{"url": f"cinder://{volume.id}", "metadata": {}} for volume in volumes]

    def _find(self, context: Context, image_id: str) -> Registered:
        if self._found is None:
            found = self._glance.images.get(image_id)
            if found is None or (
                found.image.owner and context.project_id != found.image.owner and not context.is_admin
            ):
                raise exception.ImageNotFound(image_id=image_id)
            self._found = found
            current_process().request.image_version = found.updated_at
        return self._found
