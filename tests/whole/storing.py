"""Images that come into the Cinder store: `Store.add` of glance_store, with its looks at the volume."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

from cinder import exception, objects
from cinder.objects import fields
from glanceclient.exc import HTTPInternalServerError, HTTPOverLimit

from .arrays import GIB
from .cloud import GlanceImage, image_gib, image_uuid
from .process import admin, user
from .records import Request
from .start import StartedCloud


class Storing(StartedCloud):
    """Glance's side of it. The rest of a run has Cinder's."""

    by_uuid: dict[str, Request]

    def _api_task(self) -> Any:
        raise NotImplementedError

    def _cast(
        self,
        context: Any,
        image_id: str | None,
        volume: Any,
        properties: dict[str, Any],
        zones: list[str],
    ) -> None:
        raise NotImplementedError

    def _api_delete(self, context: Any, uuid: str) -> None:
        raise NotImplementedError

    def save(self, image: GlanceImage) -> None:
        raise NotImplementedError

    def _store(self, event: Any) -> None:
        image = self.glance.images.get(image_uuid(event.image_id))
        if image is None or image.status != "active" or self.strategy not in ("store-only", "combined"):
            return
        self.save(image)
        backend = event.host.partition("#")[0]
        tier = event.volume_type or self.scenario.backends[backend].volume_types[0]
        try:
            size = image_gib(image.spec.size_bytes)
            volume, begin = self._asked(image, event, tier, event.availability_zone, event.host, size)
        except exception.CinderException:
            self.save(image)
            return
        self.time.cast(lambda: self._write(image, volume.id))
        begin()

    def asked(self, image: GlanceImage, tier: str) -> str:
        """Of an upload: have Cinder make a volume, and take the space of the file on it."""
        event = SimpleNamespace(host="", first_host="", availability_zone="", volume_type=tier)
        try:
            volume, begin = self._asked(image, event, tier, "", "", 1)
        except exception.CinderException:
            raise HTTPInternalServerError from None
        self.time.cast(begin)
        volume = self._seen(volume.id, "creating")
        if volume.status != "available":
            raise HTTPInternalServerError
        if not self._fits(image, volume):
            self._api_delete(admin(), volume.id)
            raise HTTPInternalServerError
        return str(volume.id)

    def grow(self, volume_id: str) -> None:
        """`_call_offline_extend`, and the write after it. If either fails, the volume is deleted."""
        context = user(self.store_project)
        volume = objects.Volume.get_by_id(context, volume_id)
        size = volume.size + 1
        failed: type[Exception] | None = None
        try:
            self.api.extend(context, volume, size)
        except exception.CinderException:
            failed = HTTPInternalServerError
        else:
            volume = self._seen(volume_id, "extending")
            if volume.status != "available" or volume.size < size:  # ENOSPC beyond the end of a device
                failed = HTTPOverLimit
        if failed:
            self._api_delete(context, volume_id)
            raise failed

    def cast_extend(self, context: Any, volume: Any, size: int, reservations: Any, spec: Any) -> None:
        def schedule() -> None:
            with suppress(ZeroDivisionError, ValueError):  # the service would log it
                self.scheduler.extend_volume(context, volume, size, reservations, spec)

        self.time.cast(schedule)

    def extended(self, context: Any, volume: Any, size: int, reservations: Any) -> None:
        def extend() -> None:
            service = self._on_node(self._at(volume))
            with service.threads.held():
                service.manager.extend_volume(context, volume, size, reservations)

        self.time.cast(extend)

    def _asked(
        self, image: GlanceImage, event: Any, tier: str, zone: str, host: str, size: int
    ) -> tuple[Any, Callable[[], None]]:
        """A volume for an image's file, as Cinder's API accepts it, and what has it made."""
        zones, _ = self._api_task()._extract_availability_zones(zone or None, None, None, None)
        self.take_quota(self.store_project, size, self.types[tier])
        properties = {
            "size": size,
            "user_id": self.store_project,
            "project_id": self.store_project,
            "status": "creating",
            "attach_status": fields.VolumeAttachStatus.DETACHED,
            "volume_type_id": self.types[tier],
            "availability_zone": zones[0],
        }
        named = {
            "display_name": f"image-{image_uuid(image.spec.image_id)}",
            "metadata": {"image_owner": image.owner, "glance_image_id": image_uuid(image.spec.image_id)},
            **(self._inside(host) if host else {}),
        }
        context = user(self.store_project)
        volume = objects.Volume(context=context, **properties, **named)
        volume.create()
        self.by_uuid[volume.id] = Request(event, self.time.env.event())
        return volume, lambda: self._cast(context, None, volume, properties, zones)

    def _write(self, image: GlanceImage, volume_id: str) -> None:
        """Of a volume that is being created: wait for it, write the file, register the location."""
        volume = self._seen(volume_id, "creating")
        stored = False
        if volume.status == "available":
            stored = self._written(image, volume)
            if not stored:
                self._api_delete(admin(), volume_id)
        if image_uuid(image.spec.image_id) in self.glance.images:
            self.save(image)

    def _seen(self, volume_id: str, changing: str) -> Any:
        """A volume when glance_store sees that it is not in this status any more, or gives up."""
        wait, waited = 0.5, 0.0
        volume = objects.Volume.get_by_id(admin(), volume_id)
        while volume.status == changing and waited < 300:
            self.time.sleep(min(wait, 15))
            waited += min(wait, 15)
            wait *= 2
            volume = objects.Volume.get_by_id(admin(), volume_id)
        return volume

    def _fits(self, image: GlanceImage, volume: Any) -> bool:
        uuid, spec = image_uuid(image.spec.image_id), image.spec
        version = (uuid, image.version) if spec.disk_format == "raw" else (uuid, image.version, "file")
        try:
            self._at(volume).array.write(volume.id, spec.size_bytes / GIB, version)
        except exception.VolumeBackendAPIException:
            return False
        return True

    def _written(self, image: GlanceImage, volume: Any) -> bool:
        uuid, spec = image_uuid(image.spec.image_id), image.spec
        if not self._fits(image, volume):
            return False
        self.glance.send(spec.size_bytes)
        if uuid in self.glance.images:
            self.glance.locate(image, volume.id)
            return True
        return False
